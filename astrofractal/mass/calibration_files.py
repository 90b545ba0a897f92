"""Calibrations on disk: arrays and JSON in one safetensors file, never pickle."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import astrofractal
from astrofractal._utils.atomic import atomic_path
from astrofractal.encoder import FractalEncoder
from astrofractal.mass.calibration import Calibration
from astrofractal.mass.features import FeatureSet
from astrofractal.mass.regressors import spec_from_json, spec_to_json

__all__ = ["FORMAT", "read_calibrations", "write_calibrations"]

#: The version of the format; a file of another one is refused.
FORMAT = 2


def _digest(arrays, text):
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        value = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {value.dtype.str} {value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def write_calibrations(estimator, path, *, overwrite=False):
    """
    Write the options and the calibrations of an estimator.

    Parameters
    ----------
    estimator : `~astrofractal.StellarMassEstimator`
        The estimator, calibrated.

    path : path-like
        The file.

    overwrite : bool, optional
        Whether an existing file may be replaced.
    """
    from safetensors.numpy import save_file

    arrays, cards = {}, []
    for number, calibration in enumerate(estimator.calibrations_.values()):
        own, card = calibration.state()
        arrays |= {f"{number}.{name}": np.ascontiguousarray(v) for name, v in own.items()}
        cards.append(card)
    encoder, features = estimator.encoder_, estimator.features
    if encoder is not None:
        encoder = {"model": encoder.model_name, "weights_id": encoder.weights_id}
    card = {
        "encoder": encoder,
        "reference_id": estimator.reference_id_,
        "calibrations": cards,
        "options": {
            "features": None if features is None else features.to_dict(),
            "regressor": spec_to_json(estimator.regressor),
            "weight_exponent": estimator.weight_exponent,
        },
    }
    text = json.dumps(card, sort_keys=True)
    metadata = {
        "format": str(FORMAT),
        "version": astrofractal.__version__,
        "card": text,
        "sha256": _digest(arrays, text),
    }
    with atomic_path(path, overwrite=overwrite) as temporary:
        save_file(arrays, temporary, metadata=metadata)


def read_card(path):
    """
    Read what a file says of itself.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    card : dict
        ``encoder``, ``reference_id``, ``calibrations``, ``version``.

    arrays : dict of `~numpy.ndarray`
        The numbers.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        msg = f"no such file: {str(path)!r}"
        raise FileNotFoundError(msg)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        msg = f"{str(path)!r} is not a calibration of astrofractal, or it is damaged: {error}"
        raise ValueError(msg) from error
    if "format" not in metadata or "card" not in metadata:
        msg = f"{str(path)!r} is not a calibration of astrofractal"
        raise ValueError(msg)
    if metadata["format"] != str(FORMAT):
        msg = (
            f"{str(path)!r} has the format {metadata['format']} of astrofractal "
            f"{metadata.get('version')}; this is astrofractal {astrofractal.__version__}, which "
            f"reads format {FORMAT}: calibrate again"
        )
        raise ValueError(msg)
    if metadata.get("sha256") != _digest(arrays, metadata["card"]):
        msg = f"{str(path)!r} was changed after it was saved: its SHA-256 does not agree"
        raise ValueError(msg)
    return {**json.loads(metadata["card"]), "version": metadata.get("version")}, arrays


@dataclass
class StoredCalibrations:
    """
    What a file of calibrations holds.

    Parameters
    ----------
    options : dict
        Of the estimator's constructor, without the encoder.

    encoder : `~astrofractal.FractalEncoder` or None
        The one that the calibrations were made with; `None` where none is needed.

    calibrations : dict
        The `~astrofractal.mass.Calibration` of each combination of channels.

    reference_id : str
        The identity of the reference maps.
    """

    options: dict
    encoder: object
    calibrations: dict
    reference_id: str


def read_calibrations(path, encoder=None):
    """
    Read the options and the calibrations of an estimator.

    Parameters
    ----------
    path : path-like
        The file.

    encoder : `~astrofractal.FractalEncoder`, optional
        The encoder that it was calibrated with; needed if that was neither the bundled nor a random
        one.

    Returns
    -------
    found : `StoredCalibrations`
        What it holds.

    Raises
    ------
    ValueError
        If the file is damaged, of another format version, or for another encoder.
    """
    card, arrays = read_card(path)
    calibrations = {}
    for number, own in enumerate(card["calibrations"]):
        prefix = f"{number}."
        state = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
        calibration = Calibration.from_state(state, own)
        calibrations[calibration.channels] = calibration
    options = dict(card["options"])
    options["regressor"] = spec_from_json(options["regressor"])
    if options["features"] is not None:
        options["features"] = FeatureSet(**options["features"])
    if card["encoder"] is not None:
        encoder = _encoder(card["encoder"], path) if encoder is None else encoder
        _check_encoder(encoder, card["encoder"], path)
    return StoredCalibrations(options, encoder, calibrations, card["reference_id"])


def _check_encoder(encoder, wanted, path):
    if (encoder.weights_id, encoder.model_name) != (wanted["weights_id"], wanted["model"]):
        msg = (
            f"{str(path)!r} was calibrated with the weights {wanted['weights_id']!r} of "
            f"{wanted['model']!r}, the encoder has {encoder.weights_id!r} of "
            f"{encoder.model_name!r}: give that encoder, or calibrate again"
        )
        raise ValueError(msg)


def _encoder(wanted, path):
    name = wanted["weights_id"]
    if name.startswith("random-") and name.removeprefix("random-").isdigit():
        seed = int(name.removeprefix("random-"))
        return FractalEncoder(wanted["model"], weights="random", random_state=seed)
    try:
        return FractalEncoder(wanted["model"])
    except (ValueError, FileNotFoundError) as error:
        msg = (
            f"{str(path)!r} was calibrated with the weights {name!r} of {wanted['model']!r}, which "
            "are not bundled: give encoder="
        )
        raise ValueError(msg) from error
