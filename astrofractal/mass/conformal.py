"""Conformal intervals: widths that held the masses of whole clouds left out."""

import numpy as np

from astrofractal.mass.validation import weighted_quantile

__all__ = ["ConformalIntervals"]

_N_BINS = 5
_SHAPE_LEVEL = 0.68


class ConformalIntervals:
    """
    Widths of intervals, from the errors of predictions for clouds that were left out.

    Half the width is a quantile of the scores times what is expected of a map: its difficulty times
    the typical score at its predicted mass (a normalized conformal score), so that the intervals
    hold at small and at large masses alike.  In the quantiles each cloud has the same total weight,
    and within a cloud each protostar, as hierarchical exchangeability asks for (Lee, Barber &
    Willett 2023, arXiv:2306.06342).

    Parameters
    ----------
    errors : 1D `~numpy.ndarray`
        The absolute errors of log10 mass.

    difficulty : 1D `~numpy.ndarray`
        What was expected of them, in any unit.

    predicted : 1D `~numpy.ndarray`
        The predicted log10 masses.

    folds : 1D `~numpy.ndarray`
        The cloud of each map.

    weights : 1D `~numpy.ndarray`
        The weight of each map within its cloud.

    Notes
    -----
    With n clouds, intervals of level L from the errors of a fixed predictor would hold the mass of a
    random protostar of a random new cloud with a probability of at least L n / (n + 1), if clouds
    are exchangeable.  Here the predictor is fitted again without each cloud, so that this is what
    to expect rather than a theorem; `coverage` measures it.
    """

    def __init__(self, errors, difficulty, predicted, folds, weights):
        self.scores = np.asarray(errors, float) / np.asarray(difficulty, float)
        self.predicted, self.folds = np.asarray(predicted, float), np.asarray(folds)
        _, index = np.unique(self.folds, return_inverse=True)
        self.weights = np.asarray(weights, float) / np.bincount(index, weights)[index]
        self._known = {}

    def relative_width(self, predicted):
        """
        Return the typical score at a predicted mass.

        Parameters
        ----------
        predicted : 1D `~numpy.ndarray`
            Predicted log10 masses.

        Returns
        -------
        width : 1D `~numpy.ndarray`
            Interpolated between the middles of five bins of equal weight.
        """
        return np.interp(predicted, *self._shape())

    def quantile(self, level):
        """
        Return half the width of an interval where difficulty and relative width are one.

        Parameters
        ----------
        level : float
            The probability.

        Returns
        -------
        quantile : float
            In dex.
        """
        if level not in self._known:
            self._known[level] = self._quantile(level)
        return self._known[level]

    def _shape(self, rows=slice(None)):
        predicted, scores, weights = self.predicted[rows], self.scores[rows], self.weights[rows]
        n_bins = min(_N_BINS, max(1, len(scores) // 20))
        edges = [weighted_quantile(predicted, weights, k / n_bins) for k in range(1, n_bins)]
        bins = np.searchsorted(edges, predicted)
        middles, typical = [], []
        for number in np.unique(bins):
            own = bins == number
            middles.append(weighted_quantile(predicted[own], weights[own], 0.5))
            typical.append(weighted_quantile(scores[own], weights[own], _SHAPE_LEVEL))
        return middles, np.maximum(typical, 1e-6)

    def _quantile(self, level, rows=slice(None)):
        scores = self.scores[rows] / np.interp(self.predicted[rows], *self._shape(rows))
        level = min(1.0, level * (1 + 1 / len(scores)))
        return weighted_quantile(scores, self.weights[rows], level)

    def held(self, level):
        """
        Tell which masses are within the intervals from the other clouds.

        Parameters
        ----------
        level : float
            The nominal share.

        Returns
        -------
        held : 1D `~numpy.ndarray` of bool
            One entry per map; all `False` where there is one cloud only.
        """
        held = np.zeros(len(self.scores), bool)
        for fold in np.unique(self.folds):
            test = self.folds == fold
            if (~test).any():
                shape = np.interp(self.predicted[test], *self._shape(~test))
                held[test] = self.scores[test] <= self._quantile(level, ~test) * shape
        return held
