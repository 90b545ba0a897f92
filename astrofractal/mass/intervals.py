"""The domain of a calibration: how unlike its reference maps a map is, and how these disagree."""

import warnings
from dataclasses import dataclass, field

import numpy as np
from sklearn.neighbors import NearestNeighbors

from astrofractal.mass.weights import weighted_quantile

_FARTHEST = 1e6


@dataclass
class Scaler:
    """Standardize each feature and give each kind of feature the same weight."""

    blocks: list[int]
    center_: np.ndarray = field(init=False)
    factor_: np.ndarray = field(init=False)

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
        shift = np.where(known, self.center_ / np.where(known, first.factor_, 1), 0)
        new.center_ = first.center_ + shift
        new.factor_ = first.factor_ * self.factor_
        return new


class Domain:
    """The reference maps as points, by their features and by their appearance."""

    def __init__(self, X, appearance, y):
        self.features, self.appearance, self.y = Whitener(X), Whitener(appearance), y

    def measure(self, X, appearance):
        """Return the scatter of the masses of the nearest reference maps, and both distances."""
        far, index = self.features.nearest(X, 15)
        unlike, _ = self.appearance.nearest(appearance, 5)
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
        keep = max(1, int((s[:32] > 1e-4 * max(s[0], 1e-12)).sum()))
        self.projection = v[:keep].T * (np.sqrt(len(X)) / np.maximum(s[:keep], 1e-12))
        self.back = (v[:keep] * (s[:keep, None] / np.sqrt(len(X)))).astype(np.float32)
        self.center = self.center.astype(np.float32)
        self.projection = self.projection.astype(np.float32)
        self.rest_scale = 1.0
        _, rest = self._split(filled.astype(np.float32))
        self.rest_scale = max(float(np.sqrt(np.mean(rest**2))), 1e-3 * float(s[0]) / len(X) ** 0.5)
        self._neighbors = NearestNeighbors(algorithm="brute").fit(self(X))

    def nearest(self, X, n_neighbors):
        """Return the distances and the numbers of the nearest reference maps."""
        if not len(X):
            return np.empty((0, n_neighbors)), np.empty((0, n_neighbors), int)
        n_neighbors = min(n_neighbors, self._neighbors.n_samples_fit_)
        return self._neighbors.kneighbors(self(X), n_neighbors)

    def _split(self, filled):
        """Return the components of features, and the length of what they leave over."""
        # BLAS now and then flags products of finite numbers as invalid, and absurd features overflow.
        with np.errstate(all="ignore"):
            components = filled @ self.projection
            return components, np.sqrt(((filled - components @ self.back) ** 2).sum(1))

    def __call__(self, X):
        """Return the whitened components of ``X`` and its rest."""
        components, rest = self._split(np.nan_to_num(np.asarray(X, np.float32) - self.center))
        whitened = np.column_stack([components, rest / max(self.rest_scale, 1e-12)])
        # What overflowed is far; the squares of distances must stay finite in 32 bit.
        whitened = np.nan_to_num(whitened, nan=_FARTHEST)
        return np.clip(whitened, -_FARTHEST, _FARTHEST).astype(np.float32)


class ConformalIntervals:
    """Widths of intervals, from the errors of predictions for clouds that were left out."""

    def __init__(self, errors, difficulty, predicted, folds, weights):
        self.scores = np.asarray(errors, float) / np.asarray(difficulty, float)
        self.predicted, self.folds = np.asarray(predicted, float), np.asarray(folds)
        _, index = np.unique(self.folds, return_inverse=True)
        self.weights = np.asarray(weights, float) / np.bincount(index, weights)[index]

    def relative_width(self, predicted):
        """Return the typical scores at predicted masses."""
        return np.interp(predicted, *self._shape())

    def _shape(self, rows=slice(None)):
        predicted, scores, weights = self.predicted[rows], self.scores[rows], self.weights[rows]
        n_bins = min(5, max(1, len(scores) // 20))
        edges = [weighted_quantile(predicted, weights, k / n_bins) for k in range(1, n_bins)]
        bins = np.searchsorted(edges, predicted)
        middles, typical = [], []
        for number in np.unique(bins):
            own = bins == number
            middles.append(weighted_quantile(predicted[own], weights[own], 0.5))
            typical.append(weighted_quantile(scores[own], weights[own], 0.68))
        return middles, np.maximum(typical, 1e-6)

    def quantile(self, level, rows=slice(None)):
        """Return half the width of an interval where difficulty and relative width are one."""
        scores = self.scores[rows] / np.interp(self.predicted[rows], *self._shape(rows))
        level = min(1.0, level * (1 + 1 / len(scores)))
        return weighted_quantile(scores, self.weights[rows], level)

    def held(self, level):
        """Return which masses are within the intervals from the other clouds."""
        held = np.zeros(len(self.scores), bool)
        for fold in np.unique(self.folds):
            test = self.folds == fold
            if (~test).any():
                shape = np.interp(self.predicted[test], *self._shape(~test))
                held[test] = self.scores[test] <= self.quantile(level, ~test) * shape
        return held
