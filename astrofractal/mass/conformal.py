"""Conformal intervals: widths that held the masses of whole clouds left out."""

import numpy as np

from astrofractal.mass.validation import weighted_quantile

__all__ = ["ConformalScores"]


class ConformalScores:
    """
    Errors of predictions for clouds left out, in units of what was expected of each map.

    Parameters
    ----------
    scores : 1D `~numpy.ndarray`
        The absolute errors divided by the difficulties.

    folds : 1D `~numpy.ndarray`
        The cloud of each map; every cloud has the same total weight.

    weights : 1D `~numpy.ndarray`
        The weight of each map within its cloud.
    """

    def __init__(self, scores, folds, weights):
        self.scores, self.folds = np.asarray(scores, float), np.asarray(folds)
        _, index = np.unique(self.folds, return_inverse=True)
        self.weights = np.asarray(weights, float) / np.bincount(index, weights)[index]

    def quantile(self, level, rows=slice(None)):
        """
        Return the score that a share of the weight does not exceed.

        Parameters
        ----------
        level : float
            The share.

        rows : optional
            The scores to use.

        Returns
        -------
        quantile : float
            With the correction for a finite number of scores.
        """
        scores = self.scores[rows]
        level = min(1.0, level * (1 + 1 / len(scores)))
        return weighted_quantile(scores, self.weights[rows], level)

    def coverage(self, level, weights=None):
        """
        Return the share of the maps that intervals from the other clouds hold.

        Parameters
        ----------
        level : float
            The nominal share.

        weights : 1D `~numpy.ndarray`, optional
            The weight of each map.

        Returns
        -------
        coverage : float
            The share.
        """
        held = np.zeros(len(self.scores))
        for fold in np.unique(self.folds):
            test = self.folds == fold
            if (~test).any():
                held[test] = self.scores[test] <= self.quantile(level, ~test)
        return float(np.average(held, weights=weights))
