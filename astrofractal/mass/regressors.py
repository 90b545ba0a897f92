"""Regressors from features to log10 mass behind one small interface: ``fit`` and ``predict``."""

import json
import warnings

import numpy as np

__all__ = ["REGRESSORS", "GroupRidge", "KernelSVR", "MLPEnsemble", "PublishedKNN", "make_regressor"]


_ALPHAS = tuple(float(alpha) for alpha in 10 ** np.arange(-5, 2.1, 0.5))


class PublishedKNN:
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

    def __init__(self, n_neighbors=5, n_components=64, whiten=True):
        self.n_neighbors = n_neighbors
        self.n_components = n_components
        self.whiten = whiten

    def fit(self, X, y, groups=None):
        """Keep the projected features; ``groups`` are not used."""
        X = np.asarray(X, dtype=np.float64)
        self.mean_ = X.mean(0)
        self.projection_ = np.eye(X.shape[1])
        if self.whiten:
            # Of the covariances: many maps make the decomposition of the features themselves slow.
            covariance = np.cov(X, rowvar=False, bias=True).reshape(X.shape[1], -1)
            variances, axes = np.linalg.eigh(covariance)
            k = min(self.n_components, int((variances > 1e-12 * variances[-1]).sum()))
            self.projection_ = axes[:, ::-1][:, :k] / np.sqrt(variances[::-1][:k])
        self.reference_ = self._project(X)
        self.y_ = np.asarray(y, dtype=float)
        return self

    def _project(self, X):
        return ((X - self.mean_) @ self.projection_).astype(np.float32)

    def predict(self, X):
        """Return the mean of the neighbors' values, weighted by inverse distance."""
        distance, index = nearest(self._project(X), self.reference_, self.n_neighbors)
        weight = 1 / np.maximum(distance, 1e-6)
        return (weight * self.y_[index]).sum(1) / weight.sum(1)


class GroupRidge:
    """
    Ridge regression within groups, whose penalty is chosen by leaving whole groups out.

    The slopes are those of the maps of one cloud about that cloud's mean (the fixed-effects
    estimator): how a few clouds differ from one another in features and in mass is chance, and
    does not carry over to the next cloud.

    Parameters
    ----------
    alphas : array-like, optional
        The penalties to choose from, relative to the mean of the diagonal of the Gram matrix.
    """

    def __init__(self, alphas=_ALPHAS):
        self.alphas = alphas

    def fit(self, X, y, groups=None):
        """Fit; without ``groups`` the penalty is chosen by five interleaved folds."""
        X, y = np.asarray(X, dtype=np.float64), np.asarray(y, dtype=float)
        groups = np.arange(len(y)) % 5 if groups is None else groups
        members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
        centerd, targets = X.copy(), y.copy()
        for rows in members:
            centerd[rows] -= X[rows].mean(0)
            targets[rows] -= y[rows].mean()
        gram, cross = centerd.T @ centerd, centerd.T @ targets
        total, n = X.sum(0), len(y)
        alphas = np.asarray(self.alphas)
        errors = np.zeros(len(alphas))
        for rows in members if len(members) > 1 else ():
            # Without a group the sums lack its own part: each product is taken once.
            own = centerd[rows]
            coefs = self._path(gram - own.T @ own, cross - own.T @ targets[rows], alphas)
            mean = (total - X[rows].sum(0)) / (n - len(rows))
            offset = (y.sum() - y[rows].sum()) / (n - len(rows))
            errors += (((X[rows] - mean) @ coefs + offset - y[rows, None]) ** 2).sum(0)
        if len(members) == 1:
            errors = np.abs(np.log(alphas / 0.01))
        self.alpha_ = float(alphas[np.argmin(errors)])
        self.coef_ = self._path(gram, cross, np.array([self.alpha_]))[:, 0]
        self.intercept_ = float(y.mean() - total / n @ self.coef_)
        return self

    @staticmethod
    def _path(gram, cross, alphas):
        values, vectors = np.linalg.eigh(gram)
        values = np.maximum(values, 0)
        scale = max(values.mean(), 1e-12)
        return vectors @ ((vectors.T @ cross)[:, None] / (values[:, None] + scale * alphas))

    def predict(self, X):
        """Return the linear prediction."""
        return np.asarray(X) @ self.coef_ + self.intercept_


class KernelSVR:
    """
    Support vector regression with a Gaussian kernel, predicting by one matrix product.

    Parameters
    ----------
    C, epsilon : float, optional
        The penalty and the width of the tube without one.

    gamma : float, optional
        The inverse square width of the kernel, in units of the inverse total variance of ``X``.
    """

    def __init__(self, C=1.0, epsilon=0.1, gamma=0.2):
        self.C = C
        self.epsilon = epsilon
        self.gamma = gamma

    def fit(self, X, y, groups=None):
        """Fit; ``groups`` are not used."""
        from sklearn.svm import SVR

        X = np.asarray(X, dtype=np.float64)
        gamma = self.gamma / max(X.var(0).sum(), 1e-12)
        model = SVR(C=self.C, epsilon=self.epsilon, gamma=gamma, cache_size=500)
        model.fit(X, y)
        self.gamma_ = gamma
        self.support_ = model.support_vectors_.astype(np.float32)
        self.dual_ = model.dual_coef_[0]
        self.intercept_ = float(model.intercept_[0])
        return self

    def predict(self, X):
        """Return the prediction."""
        squared = squared_distances(np.asarray(X, np.float32), self.support_)
        return np.exp(-self.gamma_ * squared) @ self.dual_ + self.intercept_


class MLPEnsemble:
    """
    The mean of several small neural networks.

    Parameters
    ----------
    n_members : int, optional
        The number of networks.

    hidden : tuple of int, optional
        The widths of the hidden layers.

    alpha : float, optional
        The weight decay.

    max_iter : int, optional
        The number of epochs.

    random_state : int, optional
        The seed of the first network.
    """

    def __init__(self, n_members=5, hidden=(64,), alpha=1.0, max_iter=60, random_state=0):
        self.n_members = n_members
        self.hidden = hidden
        self.alpha = alpha
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X, y, groups=None):
        """Fit; ``groups`` are not used."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPRegressor

        X = np.asarray(X, dtype=np.float64)
        self.mean_ = X.mean(0)
        self.scale_ = max(np.sqrt(X.var(0).mean()), 1e-12)
        self.members_ = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            for member in range(self.n_members):
                model = MLPRegressor(
                    hidden_layer_sizes=tuple(self.hidden),
                    alpha=self.alpha,
                    max_iter=self.max_iter,
                    learning_rate_init=1e-3,
                    random_state=self.random_state + member,
                )
                self.members_.append(model.fit((X - self.mean_) / self.scale_, y))
        return self

    def predict(self, X):
        """Return the mean of the networks' predictions."""
        X = (np.asarray(X, dtype=np.float64) - self.mean_) / self.scale_
        return np.mean([model.predict(X) for model in self.members_], axis=0)


class _SklearnRegressor:
    """An estimator with scikit-learn's interface, given ``groups`` where it takes none."""

    def __init__(self, model, n_threads=None):
        self.model = model
        self.n_threads = n_threads

    def fit(self, X, y, groups=None):
        from sklearn.base import clone
        from threadpoolctl import threadpool_limits

        with threadpool_limits(self.n_threads):
            self.model_ = clone(self.model).fit(np.asarray(X, np.float64), y)
        return self

    def predict(self, X):
        return np.asarray(self.model_.predict(np.asarray(X, np.float64)), float).reshape(len(X))


def _gaussian_process(n_optimize=500, random_state=0):
    return _GaussianProcess(n_optimize, random_state)


class _GaussianProcess:
    """Gaussian process whose hyperparameters are fitted on a part of the maps."""

    def __init__(self, n_optimize, random_state):
        self.n_optimize = n_optimize
        self.random_state = random_state

    def fit(self, X, y, groups=None):
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

        X = np.asarray(X, dtype=np.float64)
        self.scale_ = max(np.sqrt(X.var(0).sum()), 1e-12)
        X = X / self.scale_
        rows = np.random.default_rng(self.random_state).permutation(len(X))[: self.n_optimize]
        kernel = ConstantKernel(1.0, (0.05, 20)) * RBF(1.5, (0.3, 20)) + WhiteKernel(0.5, (0.02, 5))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            first = GaussianProcessRegressor(kernel, normalize_y=True).fit(X[rows], y[rows])
            self.model_ = GaussianProcessRegressor(
                first.kernel_, normalize_y=True, optimizer=None
            ).fit(X, y)
        return self

    def predict(self, X):
        return self.model_.predict(np.asarray(X, np.float64) / self.scale_)


def _boosting(n_estimators=150, learning_rate=0.05, max_depth=3, random_state=0):
    from sklearn.ensemble import HistGradientBoostingRegressor

    return _SklearnRegressor(
        HistGradientBoostingRegressor(
            max_iter=n_estimators,
            learning_rate=learning_rate,
            max_depth=max_depth,
            early_stopping=False,
            random_state=random_state,
        ),
        n_threads=1,  # a few thousand maps: threads would wait for one another
    )


class _KernelRidge:
    """Kernel ridge regression with a Gaussian kernel and an intercept."""

    def __init__(self, alpha=1.0, gamma=0.2):
        self.alpha = alpha
        self.gamma = gamma

    def fit(self, X, y, groups=None):
        X = np.asarray(X, dtype=np.float64)
        self.gamma_ = self.gamma / max(X.var(0).sum(), 1e-12)
        self.reference_ = X.astype(np.float32)
        kernel = np.exp(-self.gamma_ * squared_distances(self.reference_, self.reference_))
        kernel = kernel.astype(np.float64)
        kernel[np.diag_indices(len(X))] += self.alpha
        self.intercept_ = float(np.mean(y))
        self.dual_ = np.linalg.solve(kernel, np.asarray(y) - self.intercept_)
        return self

    def predict(self, X):
        squared = squared_distances(np.asarray(X, np.float32), self.reference_)
        return np.exp(-self.gamma_ * squared) @ self.dual_ + self.intercept_


class _Average:
    """The mean of the predictions of several regressors."""

    def __init__(self, members):
        self.members = members

    def fit(self, X, y, groups=None):
        for member in self.members:
            member.fit(X, y, groups)
        return self

    def predict(self, X):
        return np.mean([member.predict(X) for member in self.members], axis=0)


class _Mean:
    """The mean of the training masses, whatever the map: the score of knowing nothing."""

    def fit(self, X, y, groups=None):
        self.mean_ = float(np.mean(y))
        return self

    def predict(self, X):
        return np.full(len(X), self.mean_)


#: The named regressors: name to a factory that takes the hyperparameters.
REGRESSORS = {
    "knn": PublishedKNN,
    "ridge": GroupRidge,
    "svr": KernelSVR,
    "kernel_ridge": _KernelRidge,
    "gp": _gaussian_process,
    "boosting": _boosting,
    "mlp": MLPEnsemble,
    "mean": _Mean,
}


def make_regressor(spec):
    """
    Make an unfitted regressor.

    Parameters
    ----------
    spec : str, tuple or estimator
        The name of one of ``REGRESSORS``, or several joined by ``"+"``, whose predictions are
        averaged; a pair of a name and a dict of its hyperparameters; or
        any estimator with scikit-learn's ``fit`` and ``predict``, which is cloned.

    Returns
    -------
    regressor : object
        With ``fit(X, y, groups=None)`` and ``predict(X)``.

    Raises
    ------
    ValueError
        If the name is unknown or a hyperparameter is.

    TypeError
        If ``spec`` is none of the above.
    """
    name, options = spec if isinstance(spec, (tuple, list)) and len(spec) == 2 else (spec, {})
    if isinstance(name, str):
        members = name.split("+")
        if len(members) > 1 and not options:
            return _Average([make_regressor(member) for member in members])
        if name not in REGRESSORS:
            msg = (
                f"regressor must be one of {', '.join(map(repr, REGRESSORS))}, several of them "
                f"joined by '+', or an estimator of scikit-learn, got {name!r}"
            )
            raise ValueError(msg)
        try:
            return REGRESSORS[name](**options)
        except TypeError as error:
            msg = f"regressor {name!r} does not take the hyperparameters {options!r}"
            raise ValueError(msg) from error
    if hasattr(spec, "fit") and hasattr(spec, "predict") and hasattr(spec, "get_params"):
        return _SklearnRegressor(spec)
    msg = f"regressor must be a name or an estimator with fit and predict, got {spec!r}"
    raise TypeError(msg)


def spec_to_json(spec):
    """
    Describe a regressor by plain values, so that it can be made again without pickle.

    Parameters
    ----------
    spec : str, tuple or estimator
        As `make_regressor` takes it.

    Returns
    -------
    description : list
        ``[name, hyperparameters]``, where the name of an estimator of scikit-learn has its module.

    Raises
    ------
    TypeError
        If the estimator is not of scikit-learn or its hyperparameters are not plain values.
    """
    if isinstance(spec, str):
        return [spec, {}]
    if isinstance(spec, (tuple, list)):
        return [spec[0], dict(spec[1])]
    kind = type(spec)
    try:
        if kind.__module__.split(".")[0] != "sklearn":
            raise TypeError
        options = spec.get_params(deep=False)
        if json.loads(json.dumps(options)) != options:
            raise TypeError
    except (TypeError, ValueError) as error:
        msg = (
            f"regressor={spec!r} cannot be saved without pickle: take a named regressor or an "
            "estimator of scikit-learn whose hyperparameters are plain values"
        )
        raise TypeError(msg) from error
    return [f"{kind.__module__}:{kind.__name__}", options]


def spec_from_json(description):
    """
    Return what `spec_to_json` was given.

    Parameters
    ----------
    description : list
        ``[name, hyperparameters]``.

    Returns
    -------
    spec : tuple or estimator
        For `make_regressor`.
    """
    name, options = description
    if ":" not in name:
        return (name, options) if options else name
    from sklearn.utils import all_estimators

    known = {f"{c.__module__}:{c.__name__}": c for _, c in all_estimators(type_filter="regressor")}
    if name not in known:
        msg = f"the installed scikit-learn has no regressor {name!r}"
        raise ValueError(msg)
    return known[name](**options)


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
        Points, one a row.

    k : int
        How many; at most ``len(reference)``.

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
