"""Regressors from features to log10 mass, as estimators of scikit-learn with groups."""

import json
import numbers
from collections.abc import Callable
from functools import partial
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.decomposition import PCA
from sklearn.dummy import DummyRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import BayesianRidge, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVR
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    has_fit_parameter,
    validate_data,
)

_ALPHAS = tuple(float(alpha) for alpha in 10 ** np.arange(-5, 2.1, 0.5))


class _Regressor(RegressorMixin, BaseEstimator):
    """A regressor with weights and groups of its maps."""

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Fit, with weights and groups (clouds) of the maps where they are given."""
        x, target = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        weights = np.ones(len(target))
        if sample_weight is not None and not isinstance(sample_weight, numbers.Real):
            weights = check_array(sample_weight, ensure_2d=False, dtype=np.float64)
        check_consistent_length(target, weights)
        keep = weights > 0
        if weights.ndim != 1 or not keep.any() or (weights < 0).any():
            msg = "sample_weight must have one dimension and be positive or, for some maps, zero"
            raise ValueError(msg)
        groups = None if groups is None else np.asarray(groups)[keep]
        weights = weights[keep]
        self._fit(x[keep], target[keep].astype(float), weights / weights.mean(), groups)
        return self

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return the predictions."""
        check_is_fitted(self)
        return self._predict(validate_data(self, X, reset=False, dtype=np.float64))


class GroupRidge(_Regressor):
    """
    Ridge regression within groups, whose penalty is chosen by leaving whole groups out.

    The slopes are those of the maps of one cloud about that cloud's mean (the fixed-effects
    estimator): how a few clouds differ from one another in features and in mass is chance, and
    does not carry over to the next cloud.  Without groups five interleaved folds are left out.

    Parameters
    ----------
    alphas : array-like, optional
        The penalties to choose from, relative to the mean of the diagonal of the Gram matrix.
    """

    def __init__(self, alphas: ArrayLike = _ALPHAS) -> None:
        self.alphas = alphas

    def _fit(self, x, target, weights, labels):
        labels = np.arange(len(target)) % 5 if labels is None else labels
        members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        centered, targets = x.copy(), target.copy()
        for rows in members:
            centered[rows] -= np.average(x[rows], axis=0, weights=weights[rows])
            targets[rows] -= np.average(target[rows], weights=weights[rows])
        weighted = centered * weights[:, None]
        gram, cross = weighted.T @ centered, weighted.T @ targets
        sums, total = weights @ x, weights @ target
        alphas = np.asarray(self.alphas, dtype=float)
        errors = np.zeros(len(alphas))
        for rows in members if len(members) > 1 else ():
            # Without a group the sums lack its own part: each product is taken once.
            w = weights[rows]
            coefs = self._path(
                gram - weighted[rows].T @ centered[rows],
                cross - weighted[rows].T @ targets[rows],
                alphas,
            )
            n = weights.sum() - w.sum()
            mean, offset = (sums - w @ x[rows]) / n, (total - w @ target[rows]) / n
            errors += w @ ((x[rows] - mean) @ coefs + offset - target[rows, None]) ** 2
        if len(members) == 1:
            errors = np.abs(np.log(alphas / 0.01))
        self.alpha_ = float(alphas[np.argmin(errors)])
        self.coef_ = self._path(gram, cross, np.array([self.alpha_]))[:, 0]
        self.intercept_ = float((total - sums @ self.coef_) / weights.sum())

    @staticmethod
    def _path(gram, cross, alphas):
        values, vectors = np.linalg.eigh(gram)
        values = np.maximum(values, 0)
        scale = max(values.mean(), 1e-12)
        return vectors @ ((vectors.T @ cross)[:, None] / (values[:, None] + scale * alphas))

    def _predict(self, X):
        return X @ self.coef_ + self.intercept_


class KernelRidgeRegression(_Regressor):
    """
    Kernel ridge regression with a Gaussian kernel and an offset, the mean of a Gaussian process.

    Parameters
    ----------
    alpha : float, optional
        The variance of the noise, in units of that of the process.
    gamma : float, optional
        The inverse square width of the kernel, in units of the inverse total variance of ``X``.
    """

    def __init__(self, alpha: float = 0.3, gamma: float = 0.2) -> None:
        self.alpha = alpha
        self.gamma = gamma

    def _fit(self, x, target, weights, _):
        mean = np.average(x, axis=0, weights=weights)
        variance = np.average((x - mean) ** 2, axis=0, weights=weights).sum()
        self.gamma_ = self.gamma / max(variance, 1e-12)
        self.intercept_ = float(np.average(target, weights=weights))
        self.model_ = KernelRidge(alpha=self.alpha, kernel="rbf", gamma=self.gamma_)
        self.model_.fit(x, target - self.intercept_, sample_weight=weights)

    def _predict(self, X):
        return self.model_.predict(X) + self.intercept_


class AveragedRegressor(_Regressor):
    """
    The mean of the predictions of several regressors.

    Parameters
    ----------
    members : tuple of estimator
        The regressors.
    """

    def __init__(self, members: tuple[BaseEstimator, ...]) -> None:
        self.members = members

    def _fit(self, x, target, weights, groups):
        self.members_ = [
            fit_regressor(clone(member), x, target, sample_weight=weights, groups=groups)
            for member in self.members
        ]

    def _predict(self, X):
        return np.mean([member.predict(X) for member in self.members_], axis=0)


class _Components(PCA):
    """Principal components: 64, or half as many as there are samples."""

    def fit_transform(self, X, y=None):
        asked = self.n_components  # a fit leaves parameters as they are
        self.n_components = max(1, min(asked, len(X) // 2, np.shape(X)[1]))
        try:
            return super().fit_transform(X, y)
        finally:
            self.n_components = asked


def _published_knn():
    """Whitened principal components and their five nearest neighbors: arXiv:2510.24159."""
    components = _Components(64, whiten=True, svd_solver="covariance_eigh")
    return make_pipeline(components, KNeighborsRegressor(5, weights="distance"))


REGRESSORS: dict[str, Callable[[], BaseEstimator]] = {
    "knn": _published_knn,
    "ridge": GroupRidge,
    # The features of each kind have a total variance of one.
    "svr": partial(SVR, C=1.0, epsilon=0.1, gamma=0.1, cache_size=500),
    "kernel_ridge": KernelRidgeRegression,
}

#: What a file of a calibration may name: regressors whose cost does not depend on their options.
_OWN = {
    c.__name__: c
    for c in (GroupRidge, KernelRidgeRegression, SVR, Ridge, BayesianRidge, DummyRegressor)
}

_MOST_VALUES, _LARGEST_OPTION = 100, 1e4


def make_regressor(spec: str | BaseEstimator | tuple[str | BaseEstimator, ...]) -> BaseEstimator:
    """
    Make an unfitted regressor.

    Parameters
    ----------
    spec : str, estimator or tuple of these
        The name of one of ``REGRESSORS``; any regressor with scikit-learn's interface, which is
        cloned; or several of both, whose predictions are averaged.

    Returns
    -------
    regressor : estimator
        With ``fit(X, y)`` and ``predict(X)``.

    Raises
    ------
    ValueError, TypeError
        If a name is unknown, a tuple is empty, or ``spec`` is of another kind.
    """
    if isinstance(spec, str) and spec in REGRESSORS:
        return REGRESSORS[spec]()
    if isinstance(spec, (tuple, list)) and spec:
        return AveragedRegressor(tuple(make_regressor(member) for member in spec))
    if all(callable(getattr(spec, name, None)) for name in ("fit", "predict", "get_params")):
        return clone(spec)
    kinds = f"one of {', '.join(map(repr, REGRESSORS))}, an estimator with fit and predict"
    msg = f"regressor must be {kinds}, or a tuple of these, got {spec!r}"
    raise (ValueError if isinstance(spec, (str, tuple, list)) else TypeError)(msg)


def takes_weights(regressor):
    """Return whether a regressor, or each member of an average, can weigh maps."""
    members = getattr(regressor, "members", (regressor,))
    return all(has_fit_parameter(member, "sample_weight") for member in members)


def fit_regressor(regressor, X, y, *, sample_weight=None, groups=None):
    """Fit a regressor, with weights and groups where it takes them."""
    from threadpoolctl import threadpool_limits

    options = {}
    if sample_weight is not None and takes_weights(regressor):
        weights = np.asarray(sample_weight)
        options["sample_weight"] = weights / (np.mean(weights) or 1.0)
    elif sample_weight is not None and np.ptp(sample_weight) > 0:
        lack = "takes no sample_weight, so that protostars cannot be weighted"
        msg = f"regressor={regressor!r} {lack}: set weight_exponent=0, or take another one"
        raise ValueError(msg)
    if groups is not None and has_fit_parameter(regressor, "groups"):
        options["groups"] = groups
    # A few thousand maps: the threads of an ensemble would wait for one another.
    with threadpool_limits(1, user_api="openmp"):
        return regressor.fit(X, y, **options)


def spec_to_json(spec):
    """Describe a regressor by plain values, so that it can be made again without pickle."""
    if spec is None or isinstance(spec, str):
        return spec
    if isinstance(spec, (tuple, list)):
        return [spec_to_json(member) for member in spec]
    name = type(spec).__name__
    options = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in spec.get_params(deep=False).items()
    }
    plain = json.loads(json.dumps(options, default=lambda _: None)) == options
    if _OWN.get(name) is not type(spec) or not plain:
        kinds = f"a named one, or one of {', '.join(_OWN)} whose hyperparameters are plain values"
        msg = f"regressor={spec!r} cannot be saved without pickle: take {kinds}"
        raise TypeError(msg)
    return {"class": name, "options": options}


def spec_from_json(description):
    """Return what `spec_to_json` was given: a file may come from anybody."""
    if description is None or isinstance(description, str):
        return description
    if isinstance(description, list):
        return tuple(spec_from_json(member) for member in description)
    name, options = description["class"], description["options"]
    if name not in _OWN:
        msg = f"the regressor {name!r} is none of {', '.join(_OWN)}"
        raise ValueError(msg)
    for key, value in options.items():
        values = value if isinstance(value, list) else [value]
        numbers = [v for v in values if isinstance(v, (int, float))]
        if len(values) > _MOST_VALUES or any(not -1 <= v <= _LARGEST_OPTION for v in numbers):
            msg = f"the option {key} of {name} must be between -1 and {_LARGEST_OPTION:g}"
            raise ValueError(msg)
    return _OWN[name](**options)
