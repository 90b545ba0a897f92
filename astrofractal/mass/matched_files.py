"""Matched calibrations on disk: found again for the same observation, in a folder of the user's own."""

import os

from astrofractal._utils.own_folder import own_folder

__all__ = ["read_matched", "write_matched"]

#: Files that are kept, of some 0.2 MB each.
_MOST_FILES = 64


def _path(key):
    folder = own_folder("matched")
    return None if folder is None else folder / f"{key}.astrofractal"


def read_matched(key, load):
    """
    Find a calibration that was written before.

    Parameters
    ----------
    key : str
        Digest of all that decides the calibration.

    load : callable
        Takes a path and returns an estimator.

    Returns
    -------
    estimator : `~astrofractal.StellarMassEstimator` or None
        `None` where there is none, or it predicts other masses than when it was written.
    """
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
    """
    Write a calibration for `read_matched`, where there is room for it.

    Parameters
    ----------
    estimator : `~astrofractal.StellarMassEstimator`
        Calibrated.

    key : str
        Digest of all that decides the calibration.
    """
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
