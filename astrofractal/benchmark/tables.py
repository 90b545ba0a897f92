"""Rows and predictions made into tables."""

import numpy as np
from astropy import units as u
from astropy.table import QTable

__all__ = ["COLUMNS", "Total", "degradation_table", "scores_table", "symmetry_table"]

#: The columns of the table of scores.
COLUMNS = {
    "protocol": "how the maps were split",
    "method": "what was scored",
    "features": "what the regressor was given",
    "regressor": "the regressor",
    "channels": "the channels that the method saw",
    "n_labels": "the number of labeled maps (the mean over the splits, or as many as were drawn)",
    "r2": "coefficient of determination of log10 mass",
    "r2_err": "its standard deviation over bootstraps of clouds or protostars",
    "rmse": "root-mean-square error of log10 mass",
    "rmse_err": "its standard deviation over bootstraps of clouds or protostars",
    "median_absolute_error": "median absolute error of log10 mass",
    "coverage_68": "part of the masses within the 68 % intervals",
    "coverage_90": "part of the masses within the 90 % intervals",
    "fit_time": "time of the fits, without the features",
    "predict_time": "time of the predictions, without the features",
}
_UNITS = {
    "rmse": u.dex, "rmse_err": u.dex, "median_absolute_error": u.dex, "fit_time": u.s,
    "predict_time": u.s,
}  # fmt: skip


class Total:
    """
    Collects the predictions of several splits.

    Parameters
    ----------
    n : int
        The number of maps.
    """

    def __init__(self, n):
        self.arrays = {k: np.full(n, np.nan) for k in ("predicted", "half_68", "half_90")}
        self.times = {"fit_time": 0.0, "predict_time": 0.0}
        self.sizes = []

    def add(self, test, n_train, result):
        """Add the predictions for the maps ``test`` by a calibration on ``n_train`` maps."""
        for name, array in self.arrays.items():
            array[test] = result[name]
        for name in self.times:
            self.times[name] += result[name]
        self.sizes.append(n_train)

    def result(self):
        """Return all predictions, times and the mean number of labels (`dict`)."""
        return {**self.arrays, **self.times, "n_labels": int(np.mean(self.sizes))}


def scores_table(rows):
    """
    Make the table of scores.

    Parameters
    ----------
    rows : list of dict
        With the keys of ``COLUMNS``.

    Returns
    -------
    table : `~astropy.table.QTable`
        With units and descriptions; without columns if there are no rows.
    """
    table = QTable(rows=rows, names=list(COLUMNS)) if rows else QTable()
    for name in table.colnames:
        if name in _UNITS:
            table[name] = u.Quantity(table[name], _UNITS[name])
        table[name].info.description = COLUMNS[name]
        if table[name].dtype.kind == "f":
            table[name].info.format = ".3f"
    return table


def degradation_table(rows):
    """
    Make the table of scores against beam and noise.

    Parameters
    ----------
    rows : list of dict
        As `~astrofractal.benchmark.studies.degradation_rows` returns them.

    Returns
    -------
    table : `~astropy.table.QTable`
        With descriptions; without columns if there are no rows.
    """
    table = QTable(rows=rows) if rows else QTable()
    if rows:
        table["level"].info.description = "FWHM of the beam in pixels, or signal-to-noise ratio"
        table["matched"].info.description = "whether the reference maps were degraded alike"
    return table


def symmetry_table(rows):
    """
    Make the table of symmetrized features.

    Parameters
    ----------
    rows : list of dict
        As `~astrofractal.benchmark.studies.symmetry_rows` returns them.

    Returns
    -------
    table : `~astropy.table.QTable`
        With units and descriptions; without columns if there are no rows.
    """
    table = QTable(rows=rows) if rows else QTable()
    if rows:
        table["encode_time"].unit = u.s
        table["n_views"].info.description = "views of a map whose features are averaged"
        table["encode_time"].info.description = "time of the forward passes of all maps"
    return table
