"""One calibration: from the features of one combination of channels to masses with intervals."""

import warnings

import numpy as np

from astrofractal.exceptions import AstrofractalWarning
from astrofractal.mass.regressors import make_regressor, nearest, spec_from_json, spec_to_json

__all__ = [
    "LEAST_SKILL",
    "Calibration",
    "NoSkillWarning",
    "grouped_folds",
    "leave_out_predictions",
    "r2_score",
]

#: A calibration whose R2 on clouds left out is below this has no skill that anybody should use.
#: The error of R2 over five clouds is 0.06, so that less is within three errors of zero; and even
#: a true 0.2 makes the error of a mass only 11 % smaller than the spread of all masses.
LEAST_SKILL = 0.2

_N_NEIGHBORS = 15
_N_COMPONENTS = 32
_QUANTILE = 0.99


class NoSkillWarning(AstrofractalWarning):
    """The masses are hardly better than the mean of the reference masses on a cloud unseen."""


def r2_score(true, predicted):
    """Return the coefficient of determination of log10 masses."""
    true, predicted = np.asarray(true), np.asarray(predicted)
    return float(1 - ((true - predicted) ** 2).sum() / ((true - true.mean()) ** 2).sum())


def grouped_folds(groups, *, max_folds=8):
    """
    Number the folds so that no group is divided.

    Parameters
    ----------
    groups : array-like
        The group of each map.

    max_folds : int, optional
        With more groups than this, several share a fold.

    Returns
    -------
    folds : 1D `~numpy.ndarray` of int
        The fold of each map.
    """
    _, index, counts = np.unique(groups, return_inverse=True, return_counts=True)
    if len(counts) <= max_folds:
        return index
    # Large groups first, each to the fold that has the fewest maps: deterministic and balanced.
    fold_of, sizes = np.zeros(len(counts), int), np.zeros(max_folds, int)
    for group in np.argsort(-counts, kind="stable"):
        fold_of[group] = np.argmin(sizes)
        sizes[fold_of[group]] += counts[group]
    return fold_of[index]


def leave_out_predictions(spec, X, y, folds, groups=None):
    """
    Predict each fold by a regressor fitted on all the others.

    Parameters
    ----------
    spec : object
        As `~astrofractal.mass.make_regressor` takes it.

    X, y : `~numpy.ndarray`
        Features and log10 masses.

    folds : 1D `~numpy.ndarray` of int
        The fold of each map.

    groups : 1D `~numpy.ndarray`, optional
        The groups that regressors may use to choose their hyperparameters; ``folds`` by default.

    Returns
    -------
    predicted : 1D `~numpy.ndarray`
        The predictions, in order.
    """
    groups = folds if groups is None else groups
    predicted = np.empty(len(y))
    for fold in np.unique(folds):
        test = folds == fold
        model = make_regressor(spec).fit(X[~test], y[~test], groups=groups[~test])
        predicted[test] = model.predict(X[test])
    return predicted


class Scaler:
    """
    Fill what is missing, standardize each feature and give each kind of feature the same weight.

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
        constant = scale < 1e-6
        self.factor_ = np.where(constant, 0, weight / np.where(constant, 1, scale))
        self.factor_ = self.factor_.astype(np.float32)
        return self

    def transform(self, X):
        """Return ``X`` scaled; what is missing lies at the center."""
        return np.nan_to_num((X - self.center_) * self.factor_).astype(np.float32)


class Calibration:
    """
    A regressor with its skill, its conformal intervals and its domain, for one set of channels.

    Parameters
    ----------
    channels : tuple of str
        The channels that the maps have.

    features : `~astrofractal.mass.FeatureSet`
        What the maps are described by.

    regressor : object
        As `~astrofractal.mass.make_regressor` takes it.

    Attributes
    ----------
    skill : dict
        Of predictions of each group by the others: ``r2``, ``rmse``, ``mae`` (dex; the median
        absolute error), ``coverage_68``, ``coverage_90`` (each group with the interval widths of
        the others), ``n_maps``, ``n_groups``.
    """

    def __init__(self, channels, features, regressor):
        self.channels = tuple(channels)
        self.features = features
        self.regressor = regressor
        self._model = None
        self._domain = None

    def fit(self, X, y, *, blocks, appearance, groups=None):
        """
        Fit on the reference maps.

        Parameters
        ----------
        X : 2D `~numpy.ndarray`
            Features.

        y : 1D `~numpy.ndarray`
            log10 masses.

        blocks : list of int
            The number of features of each kind.

        appearance : 2D `~numpy.ndarray`
            See `~astrofractal.mass.appearance`.

        groups : array-like, optional
            The cloud of each map.  Without it every map is its own group: the intervals are then
            valid for maps like these only, and too narrow for another cloud.
        """
        self.scaler = Scaler(blocks).fit(X)
        groups = None if groups is None else np.asarray(groups).astype(str)
        return self._calibrate(
            self.scaler.transform(X), np.asarray(y, dtype=float), np.asarray(appearance), groups
        )

    def leave_out(self, groups):
        """
        Calibrate again without some groups.

        Parameters
        ----------
        groups : iterable of str
            The groups to leave out.

        Returns
        -------
        calibration : `Calibration`
            A new one.

        Raises
        ------
        ValueError
            If there is no such group, or too little remains.
        """
        known = [] if self.groups is None else sorted(set(self.groups.tolist()))
        unknown = [str(g) for g in groups if str(g) not in known]
        if unknown:
            msg = f"groups must be among {', '.join(known) or 'none'}, got {unknown[0]!r}"
            raise ValueError(msg)
        keep = ~np.isin(self.groups, [str(g) for g in groups])
        if keep.sum() < 10:
            msg = f"groups: {keep.sum()} maps remain, a calibration needs 10"
            raise ValueError(msg)
        new = Calibration(self.channels, self.features, self.regressor)
        new.scaler = self.scaler
        return new._calibrate(self.X[keep], self.y[keep], self.look[keep], self.groups[keep])

    def _calibrate(self, X, y, look, groups):
        # Kept in 16 bit on disk: the fit sees what a loaded calibration will see.
        self.X = X.astype(np.float16).astype(np.float32)
        self.y = y
        self.look = look.astype(np.float16).astype(np.float32)
        self.groups = groups
        self.folds = grouped_folds(np.arange(len(y)) if groups is None else groups)
        self._fit_model()
        predicted = (
            leave_out_predictions(self.regressor, self.X, self.y, self.folds)
            if self.folds.max() > 0
            else np.full(len(y), np.mean(y))
        )
        self.residuals = np.abs(self.y - predicted)
        spread, ratio = self._neighborhood(self.X, self.look, self.folds)
        self.domain_scale = np.maximum(_quantile_by_group(ratio, self.folds, _QUANTILE), 1e-6)
        self.spread_scale = float(np.median(spread)) or 1.0
        self.scores = self.residuals / self._difficulty(spread)
        self.check = self.predict_scaled(self.X[:16])
        self.skill = self._skill(predicted)
        return self

    @property
    def has_skill(self):
        """Whether R2 on groups left out reaches ``LEAST_SKILL`` (0.2)."""
        return bool(self.skill["r2"] >= LEAST_SKILL)

    def _fit_model(self):
        self._model = make_regressor(self.regressor).fit(self.X, self.y, groups=self.folds)

    def _skill(self, predicted):
        skill = {
            "r2": r2_score(self.y, predicted),
            "rmse": float(np.sqrt(np.mean((self.y - predicted) ** 2))),
            "mae": float(np.median(self.residuals)),
            "n_maps": len(self.y),
            "n_groups": int(self.folds.max()) + 1,
        }
        for level in (0.68, 0.9):
            covered = np.zeros(len(self.y))
            for fold in np.unique(self.folds):
                test = self.folds == fold
                if (~test).any():
                    covered[test] = self.scores[test] <= self._quantile(level, ~test)
            skill[f"coverage_{level * 100:.0f}"] = float(covered.mean())
        return skill

    def _quantile(self, level, rows=slice(None)):
        """Quantile of the conformal scores in which each group has the same weight."""
        n = len(self.scores[rows])
        level = min(1.0, level * (1 + 1 / n))
        return float(_quantile_by_group(self.scores[rows, None], self.folds[rows], level)[0])

    @property
    def model(self):
        """The fitted regressor; after loading it is fitted again at the first use."""
        if self._model is None:
            self._fit_model()
            if not np.allclose(self.predict_scaled(self.X[:16]), self.check, atol=5e-3):
                msg = (
                    f"the regressor {self.regressor!r} gives other masses than when the file was "
                    "saved: another version of scikit-learn fits it otherwise; calibrate again"
                )
                raise ValueError(msg)
        return self._model

    def predict_scaled(self, X):
        """Return log10 masses for scaled features."""
        return np.asarray(self.model.predict(X), dtype=float)

    def evaluate(self, X, appearance):
        """
        Predict masses and tell how far they can be trusted.

        Parameters
        ----------
        X : 2D `~numpy.ndarray`
            Features, not scaled.

        appearance : 2D `~numpy.ndarray`
            See `~astrofractal.mass.appearance`.

        Returns
        -------
        log_mass, difficulty, ood_score : 1D `~numpy.ndarray`
            log10 masses; the widths of their intervals relative to the others; the distances to
            the reference maps, 1 at the threshold.
        """
        X = self.scaler.transform(X)
        spread, ratio = self._neighborhood(X, np.asarray(appearance, np.float32))
        ood = (ratio / self.domain_scale).max(1)
        # A map beyond the domain is harder than its nearest neighbors tell.
        difficulty = self._difficulty(spread) * np.clip(ood, 1, 3)
        return self.predict_scaled(X), difficulty, ood

    def half_width(self, level, difficulty):
        """Return half the width of the interval in dex."""
        return self._quantile(level) * np.asarray(difficulty)

    def _difficulty(self, spread):
        return 0.5 + 0.5 * spread / self.spread_scale

    def _neighborhood(self, X, look, folds=None):
        """Spread of the neighbors' masses, and distances of the features and of the look."""
        if self._domain is None:
            self._domain = _Whitener(self.X), _Whitener(self.look)
        queries = [w(v) for w, v in zip(self._domain, (X, look))]
        reference = [w.reference for w in self._domain]
        spread, ratio = np.empty(len(X)), np.empty((len(X), 2))
        parts = [(slice(None), slice(None))]
        if folds is not None and folds.max() > 0:
            parts = [(folds == fold, folds != fold) for fold in np.unique(folds)]
        for test, known in parts:
            distance, index = nearest(queries[0][test], reference[0][known], _N_NEIGHBORS)
            spread[test] = self.y[known][index].std(1)
            ratio[test, 0] = distance.mean(1)
            distance, _ = nearest(queries[1][test], reference[1][known], 5)
            ratio[test, 1] = distance.mean(1)
        return spread, ratio

    def state(self):
        """
        Return all that is needed to make this calibration again.

        Returns
        -------
        arrays : dict of `~numpy.ndarray`
            Numbers.

        card : dict
            Plain values.
        """
        arrays = {
            "X": self.X.astype(np.float16),
            "y": self.y,
            "look": self.look.astype(np.float16),
            "folds": self.folds.astype(np.int32),
            "scores": self.scores,
            "residuals": self.residuals,
            "domain_scale": np.asarray(self.domain_scale, dtype=float),
            "center": self.scaler.center_,
            "factor": self.scaler.factor_,
            "check": self.check,
        }
        names = None
        if self.groups is not None:
            names, index = np.unique(self.groups, return_inverse=True)
            arrays["groups"], names = index.astype(np.int32), names.tolist()
        card = {
            "groups": names,
            "channels": list(self.channels),
            "features": self.features.to_dict(),
            "regressor": spec_to_json(self.regressor),
            "blocks": [int(b) for b in self.scaler.blocks],
            "spread_scale": self.spread_scale,
            "skill": self.skill,
        }
        return arrays, card

    @classmethod
    def from_state(cls, arrays, card):
        """Make the calibration of `state` again."""
        from astrofractal.mass.features import FeatureSet

        features = FeatureSet(**card["features"])
        new = cls(card["channels"], features, spec_from_json(card["regressor"]))
        new.X = arrays["X"].astype(np.float32)
        new.look = arrays["look"].astype(np.float32)
        for name in ("y", "folds", "scores", "residuals", "domain_scale", "check"):
            setattr(new, name, arrays[name])
        new.groups = None
        if card["groups"] is not None:
            new.groups = np.array(card["groups"])[arrays["groups"]]
        new.scaler = Scaler(card["blocks"])
        new.scaler.center_, new.scaler.factor_ = arrays["center"], arrays["factor"]
        new.spread_scale = card["spread_scale"]
        new.skill = card["skill"]
        return new


class _Whitener:
    """
    Principal components of unit variance, and the rest of the features as one more component.

    The rest is what tells a map from another world: it may lie at the center of the components.
    """

    def __init__(self, X):
        X = np.asarray(X, dtype=np.float64)
        self.center = np.nan_to_num(_nanmean(X))
        filled = np.nan_to_num(X - self.center)
        _, s, v = np.linalg.svd(filled, full_matrices=False)
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
        filled = np.nan_to_num(np.asarray(X, np.float32) - self.center)
        rest = self._rest(filled) / max(self.rest_scale, 1e-12)
        # Clipped: the squares of the distances must stay finite in 32 bit.
        whitened = np.column_stack([filled @ self.projection, rest])
        return np.clip(whitened, -1e6, 1e6).astype(np.float32)


def _nanmean(X):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmean(X, axis=0)


def _quantile_by_group(values, groups, level):
    """Quantiles of the columns of ``values`` in which each group has the same total weight."""
    _, index, counts = np.unique(groups, return_inverse=True, return_counts=True)
    weights = 1 / counts[index]
    result = np.empty(values.shape[1])
    for column in range(values.shape[1]):
        order = np.argsort(values[:, column])
        cumulative = np.cumsum(weights[order])
        place = np.searchsorted(cumulative, level * cumulative[-1] * (1 - 1e-9))
        result[column] = values[order[min(place, len(order) - 1)], column]
    return result
