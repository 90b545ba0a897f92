"""Calibrated estimators on disk: arrays and JSON in one safetensors file, never pickle."""

import hashlib
import json
from pathlib import Path

import numpy as np

import astrofractal
from astrofractal._utils.atomic import atomic_path
from astrofractal.encoder import FractalEncoder
from astrofractal.mass.calibration import Calibration

__all__ = ["FORMAT", "load_estimator", "save_estimator"]

#: The version of the format; a file of another one is refused.
FORMAT = 1


def _digest(arrays, text):
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        value = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {value.dtype.str} {value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def save_estimator(estimator, path, *, overwrite=False):
    """
    Save a calibrated estimator.

    Parameters
    ----------
    estimator : `~astrofractal.StellarMassEstimator`
        The estimator.

    path : path-like
        The file.

    overwrite : bool, optional
        Whether an existing file may be replaced.
    """
    from safetensors.numpy import save_file

    if not estimator.calibrations:
        msg = "this StellarMassEstimator is not calibrated: there is nothing to save"
        raise RuntimeError(msg)
    arrays, cards = {}, []
    for number, calibration in enumerate(estimator.calibrations.values()):
        own, card = calibration.state()
        arrays |= {f"{number}.{name}": np.ascontiguousarray(v) for name, v in own.items()}
        cards.append(card)
    encoder = None
    if estimator._needs_encoder():
        encoder = estimator.encoder
        encoder = {"model": encoder.model_name, "weights_id": encoder.weights_id}
    card = {
        "encoder": encoder,
        "reference_id": estimator.reference_id,
        "calibrations": cards,
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


def load_estimator(estimator, path):
    """
    Load a calibration into an estimator.

    Parameters
    ----------
    estimator : `~astrofractal.StellarMassEstimator`
        The estimator.

    path : path-like
        The file.

    Returns
    -------
    estimator : `~astrofractal.StellarMassEstimator`
        The same one.
    """
    card, arrays = read_card(path)
    if card["encoder"] is not None:
        _check_encoder(estimator, card["encoder"], path)
    estimator.calibrations = {}
    for number, own in enumerate(card["calibrations"]):
        prefix = f"{number}."
        state = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
        calibration = Calibration.from_state(state, own)
        estimator.calibrations[calibration.channels] = calibration
    estimator.reference_id = card["reference_id"]
    return estimator


def _check_encoder(estimator, wanted, path):
    if estimator._encoder is None:
        estimator._encoder = _encoder(wanted, path)
    found = estimator._encoder.weights_id
    if (found, estimator._encoder.model_name) != (wanted["weights_id"], wanted["model"]):
        msg = (
            f"{str(path)!r} was calibrated with the weights {wanted['weights_id']!r} of "
            f"{wanted['model']!r}, the encoder has {found!r} of {estimator._encoder.model_name!r}: "
            "give that encoder, or calibrate again"
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
