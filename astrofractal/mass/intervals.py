"""The domain of a calibration: how unlike its reference maps a map is, and how these disagree."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from astrofractal.mass.weights import check_training, weighted_quantile

__all__ = [
    "ConformalIntervals",
    "Domain",
    "PublishedKNN",
    "Scaler",
    "Whitener",
    "nearest",
    "squared_distances",
]

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import ArrayLike


class PublishedKNN(RegressorMixin, BaseEstimator):
    """
    Distance-weighted nearest neighbors on whitened principal components.

    This is the published head: Hirashima, Nozaki & Harada 2025, arXiv:2510.24159.

    Parameters
    ----------
    n_neighbors : int, optional
        The number of neighbors.

    n_components : int, optional
        The largest number of principal components.

    whiten : bool, optional
        Whether the components are scaled to unit variance; without it the features are taken as
        they are.
    """

    def __init__(self, n_neighbors: int = 5, n_components: int = 64, whiten: bool = True) -> None:
        self.n_neighbors = n_neighbors
        self.n_components = n_components
        self.whiten = whiten

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Keep the projected features; a weight multiplies the vote of its map."""
        X, y, weights, _ = check_training(self, X, y, sample_weight, groups)
        self.mean_ = np.average(X, axis=0, weights=weights)
        self.projection_ = np.eye(X.shape[1])
        if self.whiten:
            # Of the covariances: many maps make the decomposition of the features themselves slow.
            centered = X - self.mean_
            variances, axes = np.linalg.eigh((centered * weights[:, None]).T @ centered / len(X))
            k = min(self.n_components, int((variances > 1e-12 * variances[-1]).sum()))
            self.projection_ = axes[:, ::-1][:, :k] / np.sqrt(variances[::-1][:k])
        self.reference_ = (X - self.mean_) @ self.projection_
        self.y_, self.weights_ = y, weights
        return self

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return the mean of the neighbors' values, weighted by inverse distance."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        projected = (X - self.mean_) @ self.projection_
        distance, index = nearest(projected, self.reference_, self.n_neighbors)
        weight = self.weights_[index] / np.maximum(distance, 1e-6)
        return (weight * self.y_[index]).sum(1) / weight.sum(1)


def squared_distances(a, b):
    """Return the (len(a), len(b)) squared Euclidean distances, by one matrix product."""
    squared = (-2 * a) @ b.T
    squared += (a**2).sum(1)[:, None]
    squared += (b**2).sum(1)
    return np.maximum(squared, 0, out=squared)


def nearest(queries, reference, k):
    """Find the nearest of ``reference``."""
    # queries, reference 2D
    k = min(k, len(reference))
    distances, indices = [], []
    for start in range(0, max(len(queries), 1), 1024):
        squared = squared_distances(queries[start : start + 1024], reference)
        index = np.argpartition(squared, k - 1, axis=1)[:, :k]
        indices.append(index)
        distances.append(np.sqrt(np.take_along_axis(squared, index, axis=1)))
    return np.concatenate(distances), np.concatenate(indices)


_N_NEIGHBORS = 15

_N_COMPONENTS = 32


class Scaler:
    """Standardize each feature and give each kind of feature the same weight."""

    def __init__(self, blocks):
        self.blocks = list(blocks)

    def fit(self, X):
        """Measure ``X``."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a feature that is missing everywhere
            self.center_ = np.nan_to_num(np.nanmean(X, axis=0, dtype=float)).astype(np.float32)
            scale = np.nan_to_num(np.nanstd(X, axis=0, dtype=float))
        weight = np.repeat(1 / np.sqrt(np.maximum(self.blocks, 1)), self.blocks)
        # In units of the weight, so that what was scaled already can be scaled again.
        constant = scale < 1e-6 * weight
        self.factor_ = np.where(constant, 0, weight / np.where(constant, 1, scale))
        self.factor_ = self.factor_.astype(np.float32)
        return self

    def transform(self, X):
        """Return ``X`` scaled; what is missing stays NaN."""
        return ((X - self.center_) * self.factor_).astype(np.float32)

    def after(self, first):
        """Return the scaler that does in one step what ``first`` and this one do in two."""
        new = Scaler(self.blocks)
        known = first.factor_ > 0
        new.center_ = first.center_ + np.where(
            known, self.center_ / np.where(known, first.factor_, 1), 0
        )
        new.factor_ = first.factor_ * self.factor_
        return new


class Domain:
    """The reference maps as points, by their features and by their appearance."""

    def __init__(self, X, appearance, y):
        self.features, self.appearance, self.y = Whitener(X), Whitener(appearance), y

    def measure(self, X, appearance):
        """Compare maps with the nearest reference maps."""
        # X, appearance 2D
        far, index = nearest(self.features(X), self.features.reference, _N_NEIGHBORS)
        unlike, _ = nearest(self.appearance(appearance), self.appearance.reference, 5)
        return self.y[index].std(1), np.column_stack([far.mean(1), unlike.mean(1)])


class Whitener:
    """Principal components of unit variance, and the rest of the features as one more component."""

    def __init__(self, X):
        X = np.asarray(X, dtype=np.float64)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            self.center = np.nan_to_num(np.nanmean(X, axis=0))
        filled = np.nan_to_num(X - self.center)
        variances, axes = np.linalg.eigh(filled.T @ filled)
        s, v = np.sqrt(np.maximum(variances[::-1], 0)), axes[:, ::-1].T
        keep = max(1, int((s[:_N_COMPONENTS] > 1e-4 * max(s[0], 1e-12)).sum()))
        self.projection = v[:keep].T * (np.sqrt(len(X)) / np.maximum(s[:keep], 1e-12))
        self.back = (v[:keep] * (s[:keep, None] / np.sqrt(len(X)))).astype(np.float32)
        self.center = self.center.astype(np.float32)
        self.projection = self.projection.astype(np.float32)
        self.rest_scale = 1.0
        rest = self._rest(filled.astype(np.float32))
        self.rest_scale = max(float(np.sqrt(np.mean(rest**2))), 1e-3 * float(s[0]) / len(X) ** 0.5)
        self.reference = self(X)

    def _rest(self, filled):
        return np.sqrt(((filled - filled @ self.projection @ self.back) ** 2).sum(1))

    def __call__(self, X):
        """Return the whitened components of ``X`` and its rest."""
        filled = np.nan_to_num(np.asarray(X, np.float32) - self.center)
        rest = self._rest(filled) / max(self.rest_scale, 1e-12)
        # Clipped: the squares of the distances must stay finite in 32 bit.
        whitened = np.column_stack([filled @ self.projection, rest])
        return np.clip(whitened, -1e6, 1e6).astype(np.float32)


_N_BINS = 5

_SHAPE_LEVEL = 0.68


class ConformalIntervals:
    """Widths of intervals, from the errors of predictions for clouds that were left out."""

    def __init__(self, errors, difficulty, predicted, folds, weights):
        self.scores = np.asarray(errors, float) / np.asarray(difficulty, float)
        self.predicted, self.folds = np.asarray(predicted, float), np.asarray(folds)
        _, index = np.unique(self.folds, return_inverse=True)
        self.weights = np.asarray(weights, float) / np.bincount(index, weights)[index]
        self._known = {}

    def relative_width(self, predicted):
        """Return the typical score at a predicted mass."""
        # predicted 1D
        return np.interp(predicted, *self._shape())

    def quantile(self, level):
        """Return half the width of an interval where difficulty and relative width are one."""
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
        """Tell which masses are within the intervals from the other clouds."""
        held = np.zeros(len(self.scores), bool)
        for fold in np.unique(self.folds):
            test = self.folds == fold
            if (~test).any():
                shape = np.interp(self.predicted[test], *self._shape(~test))
                held[test] = self.scores[test] <= self._quantile(level, ~test) * shape
        return held
