"""The domain of a calibration: how unlike its reference maps a map is, and how these disagree."""

import warnings

import numpy as np

from astrofractal.mass.neighbors import nearest

__all__ = ["Domain", "Scaler", "Whitener"]

_N_NEIGHBORS = 15
_N_COMPONENTS = 32


class Scaler:
    """
    Standardize each feature and give each kind of feature the same weight.

    Parameters
    ----------
    blocks : list of int
        The number of features of each kind.
    """

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
    """
    The reference maps as points, by their features and by their appearance.

    Parameters
    ----------
    X : 2D `~numpy.ndarray`
        Scaled features.

    appearance : 2D `~numpy.ndarray`
        See `~astrofractal.mass.appearance`.

    y : 1D `~numpy.ndarray`
        log10 masses.
    """

    def __init__(self, X, appearance, y):
        self.features, self.appearance, self.y = Whitener(X), Whitener(appearance), y

    def measure(self, X, appearance):
        """
        Compare maps with the nearest reference maps.

        Parameters
        ----------
        X, appearance : 2D `~numpy.ndarray`
            Of the maps.

        Returns
        -------
        spread : 1D `~numpy.ndarray`
            The standard deviation of the log10 masses of the nearest reference maps.

        distance : 2D `~numpy.ndarray`, shape (n_maps, 2)
            The distances by features and by appearance.
        """
        far, index = nearest(self.features(X), self.features.reference, _N_NEIGHBORS)
        unlike, _ = nearest(self.appearance(appearance), self.appearance.reference, 5)
        return self.y[index].std(1), np.column_stack([far.mean(1), unlike.mean(1)])


class Whitener:
    """
    Principal components of unit variance, and the rest of the features as one more component.

    The rest is what tells a map from another world: it may lie at the center of the components.

    Parameters
    ----------
    X : 2D `~numpy.ndarray`
        The reference points; what is NaN lies at the center.
    """

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
