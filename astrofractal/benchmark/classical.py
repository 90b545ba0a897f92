"""The classical estimates: a physical quantity and one constant."""

import time

import numpy as np
from astropy import units as u

from astrofractal.mass import aperture_mass, virial_mass
from astrofractal.mass.validation import grouped_folds

__all__ = ["CLASSICAL", "classical_predictions"]

_MASSES = {"virial mass": virial_mass, "aperture gas mass": aperture_mass}

#: The classical estimates.
CLASSICAL = tuple(_MASSES)


def classical_predictions(name, maps, train, test, groups):
    """
    Fit the constant of a classical estimate and apply it.

    Parameters
    ----------
    name : str
        One of ``CLASSICAL``.

    maps : `~astrofractal.mapset.MapSet`
        The labeled maps.

    train, test : `~numpy.ndarray`
        Indices of the maps that calibrate and of those that test.

    groups : `~numpy.ndarray`
        The groups over which the width of the intervals is calibrated.

    Returns
    -------
    result : dict
        ``predicted`` (log10 masses), ``half_68``, ``half_90`` (dex), ``fit_time``,
        ``predict_time`` (s).
    """
    start = time.perf_counter()
    mass = _MASSES[name](maps.images, maps.pixel_scale).to_value(u.solMass)
    log_mass = np.log10(np.maximum(mass, 1e-6))
    computed = time.perf_counter() - start
    offset = maps.log_masses - log_mass
    folds = grouped_folds(groups[train])
    residual = np.empty(len(train))
    for fold in np.unique(folds):
        own = folds == fold
        others = offset[train][~own] if (~own).any() else offset[train]
        residual[own] = np.abs(offset[train][own] - others.mean())
    return {
        "predicted": log_mass[test] + offset[train].mean(),
        "half_68": np.full(len(test), np.quantile(residual, 0.68)),
        "half_90": np.full(len(test), np.quantile(residual, 0.90)),
        "fit_time": computed * len(train) / len(maps),
        "predict_time": computed * len(test) / len(maps),
    }
