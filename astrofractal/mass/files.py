"""Calibrations on disk."""

import os
from dataclasses import dataclass

from astrofractal._utils import identity
from astrofractal._utils.compiled import own_folder
from astrofractal._utils.reading import reading
from astrofractal.encoder import describe_encoder, find_encoder
from astrofractal.mass.calibration import Calibration
from astrofractal.mass.features import FeatureSet
from astrofractal.mass.intervals import Scaler
from astrofractal.mass.regressors import spec_from_json, spec_to_json
from astrofractal.mass.weights import Prior, as_prior

_VERSION = "calibration-4"

#: The dataclasses among the fields of a calibration.
_KINDS = {"features": FeatureSet, "prior": Prior, "scaler_": Scaler}


@dataclass(frozen=True)
class _Options:
    """The options of an estimator."""

    features: FeatureSet | None
    regressor: object
    weight_exponent: float | None
    prior: Prior | None


def write_calibrations(estimator, path, *, overwrite=False):
    """Write the options and the calibrations of an estimator."""
    arrays, cards = {}, []
    for number, calibration in enumerate(estimator.calibrations_.values()):
        own, card = identity.take_apart(calibration, f"{number}.")
        arrays |= own
        cards.append(card | {"regressor": spec_to_json(calibration.regressor)})
    options = _Options(
        estimator.features,
        spec_to_json(estimator.regressor),
        estimator.weight_exponent,
        as_prior(estimator.prior),
    )
    encoder = estimator.encoder_
    card = {
        "encoder": None if encoder is None else describe_encoder(encoder),
        "reference_id": estimator.reference_id_,
        "calibrations": cards,
        "choice": getattr(estimator, "choice_", None),
        "options": identity.take_apart(options)[1],
    }
    identity.write_archive(path, arrays, card, version=_VERSION, overwrite=overwrite)


def read_calibrations(path, encoder=None):
    """Return options, encoder, calibrations, identity of the maps, and the choice of a match."""
    arrays, card = identity.read_archive(
        path, version=_VERSION, what="a calibration", remedy="calibrate again"
    )
    with reading(path):
        calibrations = {}
        for number, own in enumerate(card["calibrations"]):
            with reading(path, f"calibration {number}"):
                own["regressor"] = spec_from_json(own["regressor"])
                calibration = identity.put_together(
                    Calibration, arrays, own, f"{number}.", **_KINDS
                )
                calibration.check()
                calibration.derive()
            calibrations[calibration.channels] = calibration
        options = identity.fields_of(identity.put_together(_Options, {}, card["options"], **_KINDS))
        options["regressor"] = spec_from_json(options["regressor"])
        if card["encoder"] is not None:
            encoder = find_encoder(
                card["encoder"], path, encoder, made="calibrated", remedy="calibrate again"
            )
        return options, encoder, calibrations, card["reference_id"], card.get("choice")


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
