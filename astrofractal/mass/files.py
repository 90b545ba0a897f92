"""Calibrations on disk."""

import os
from dataclasses import dataclass

from astrofractal._utils.compiled import own_folder
from astrofractal._utils.identity import read_archive, write_archive
from astrofractal._utils.reading import reading
from astrofractal.encoder import describe_encoder, find_encoder
from astrofractal.mass.calibration import Calibration
from astrofractal.mass.features import FeatureSet
from astrofractal.mass.regressors import spec_from_json, spec_to_json
from astrofractal.mass.weights import Prior, as_prior

__all__ = ["read_calibrations", "read_matched", "write_calibrations", "write_matched"]

_VERSION = "calibration-3"


def write_calibrations(estimator, path, *, overwrite=False):
    """Write the options and the calibrations of an estimator."""
    arrays, cards = {}, []
    for number, calibration in enumerate(estimator.calibrations_.values()):
        own, card = calibration.state()
        arrays |= {f"{number}.{name}": v for name, v in own.items()}
        cards.append(card)
    encoder, features = estimator.encoder_, estimator.features
    prior = as_prior(estimator.prior)
    card = {
        "encoder": None if encoder is None else describe_encoder(encoder),
        "reference_id": estimator.reference_id_,
        "calibrations": cards,
        "options": {
            "features": None if features is None else features.to_dict(),
            "regressor": spec_to_json(estimator.regressor),
            "weight_exponent": estimator.weight_exponent,
            "prior": None if prior is None else prior.to_dict(),
        },
    }
    write_archive(path, arrays, card, version=_VERSION, overwrite=overwrite)


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
    """Read the options and the calibrations of an estimator."""
    arrays, card = read_archive(
        path, version=_VERSION, what="a calibration", remedy="calibrate again"
    )
    with reading(path):
        return _from_archive(arrays, card, path, encoder)


def _from_archive(arrays, card, path, encoder):
    calibrations = {}
    for number, own in enumerate(card["calibrations"]):
        prefix = f"{number}."
        state = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
        with reading(path, f"calibration {number}"):
            calibration = Calibration.from_state(state, own)
        calibrations[calibration.channels] = calibration
    options = dict(card["options"])
    options["regressor"] = spec_from_json(options["regressor"])
    if options["features"] is not None:
        options["features"] = FeatureSet(**options["features"])
    if options.get("prior") is not None:
        options["prior"] = Prior(**options["prior"])
    if card["encoder"] is not None:
        encoder = find_encoder(
            card["encoder"], path, encoder, made="calibrated", remedy="calibrate again"
        )
    return StoredCalibrations(options, encoder, calibrations, card["reference_id"])


#: Files that are kept, of some 0.2 MB each.
_MOST_FILES = 64


def _path(key):
    folder = own_folder("matched")
    return None if folder is None else folder / f"{key}.astrofractal"


def read_matched(key, load):
    """Find a calibration that was written before."""
    path = _path(key)
    if path is None or not path.is_file():
        return None
    try:
        estimator = load(path)
        for calibration in estimator.calibrations_.values():
            calibration.verify()
        os.utime(path)  # the oldest are removed
    except (OSError, ValueError):
        return None
    return estimator


def write_matched(estimator, key):
    """Write a calibration for `read_matched`, where there is room for it."""
    path = _path(key)
    if path is None:
        return
    try:
        estimator.save(path, overwrite=True)
        files = sorted(path.parent.glob("*.astrofractal"), key=lambda file: file.stat().st_mtime)
        for old in files[:-_MOST_FILES]:
            old.unlink(missing_ok=True)
    except (OSError, TypeError):  # a full disk; a regressor that no file can describe
        return
