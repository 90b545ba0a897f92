"""Nearest neighbors: the search, and the published head."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from astrofractal.mass.validation import check_training

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import ArrayLike


__all__ = ["PublishedKNN", "nearest", "squared_distances"]


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
    """
    Find the nearest of ``reference``.

    Parameters
    ----------
    queries, reference : 2D `~numpy.ndarray`
        One point per row.

    k : int
        How many; with fewer in ``reference`` all of them.

    Returns
    -------
    distance, index : 2D `~numpy.ndarray`
        Of shape (len(queries), k), in no particular order.
    """
    k = min(k, len(reference))
    distances, indices = [], []
    for start in range(0, max(len(queries), 1), 1024):
        squared = squared_distances(queries[start : start + 1024], reference)
        index = np.argpartition(squared, k - 1, axis=1)[:, :k]
        indices.append(index)
        distances.append(np.sqrt(np.take_along_axis(squared, index, axis=1)))
    return np.concatenate(distances), np.concatenate(indices)
