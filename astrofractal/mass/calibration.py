"""One calibration: from the features of one combination of channels to masses with intervals."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
from astropy import units as u
from astropy.table import Table
from numpy.typing import ArrayLike

from astrofractal._utils.identity import fingerprint
from astrofractal._utils.validation import one_of, warn
from astrofractal.catalogs.columns import positive_masses
from astrofractal.exceptions import AstrofractalWarning
from astrofractal.gasmap.moments import CHANNEL_SETS, channels_of, keep_channels
from astrofractal.mass.features import FeatureSet
from astrofractal.mass.intervals import ConformalIntervals, Domain, Scaler
from astrofractal.mass.measures import CONTRAST, appearance
from astrofractal.mass.regressors import fit_regressor, make_regressor
from astrofractal.mass.weights import (
    LEVELS,
    Prior,
    as_prior,
    folds_of,
    importance,
    protostar_weights,
    r2_error,
    scores,
    weighted_quantile,
)

_DOMAIN_QUANTILE = 0.99

_N_CHECKED = 16

#: Features are kept in these steps, a 26th of the scatter of a token: half of the bits are then zero,
#: which wheels compress.
_STEP = 2.0**-9

#: log10 of 0.05 and 30 solMass: sinks beyond are in no reference map.
_MASS_RANGE = np.log10([0.05, 30])

_LEAST_MAPS = 10


class NoSkillWarning(AstrofractalWarning):
    """The masses are hardly better than the mean of the reference masses on an unseen cloud."""


@dataclass(eq=False, repr=False)
class Calibration:
    """
    A regressor with its scores, its conformal intervals and its domain, for one set of channels.

    Parameters
    ----------
    channels : tuple of str
        The channels that the maps have.
    features : `~astrofractal.mass.FeatureSet`
        What the maps are described by.
    regressor, weight_exponent, prior
        As `~astrofractal.StellarMassEstimator` takes them, for regressor and intervals; ``skill_``
        counts the reference protostars as they are.

    Attributes
    ----------
    skill_ : dict
        Scores of predictions of each cloud by a calibration on the others: those of
        `Evaluation.scores`; ``r2_protostar_err``, the standard deviation of R2 over draws of clouds and
        of the protostars in them; ``coverage_68_thirds`` and ``bias_thirds`` (dex, predicted less true)
        by the thirds of the predicted mass; ``n_clouds``.
    X_, y_, appearance_, clouds_, protostars_, represents_ : `~numpy.ndarray`
        The reference maps: scaled features (16 bit), log10 masses, appearance, cloud (or `None`),
        protostar and number of maps stood for.
    """

    channels: tuple[str, ...]
    features: FeatureSet
    regressor: Any
    weight_exponent: float = 0.5
    prior: Prior | None = None
    X_: np.ndarray = field(init=False)
    y_: np.ndarray = field(init=False)
    appearance_: np.ndarray = field(init=False)
    clouds_: np.ndarray | None = field(init=False)
    protostars_: np.ndarray = field(init=False)
    represents_: np.ndarray = field(init=False)
    scaler_: Scaler = field(init=False)
    predicted_: np.ndarray = field(init=False)
    difficulty_: np.ndarray = field(init=False)
    spread_scale_: float = field(init=False)
    domain_scale_: np.ndarray = field(init=False)
    check_: np.ndarray = field(init=False)
    skill_: dict = field(init=False)

    def __post_init__(self):
        self.channels, self.prior = tuple(self.channels), as_prior(self.prior)

    def __repr__(self):
        known = "not fitted"
        if "skill_" in vars(self):
            skill = self.skill_
            r2 = f"R2 {skill['r2_protostar']:.2f} +- {skill['r2_protostar_err']:.2f}"
            maps = f"{skill['n_maps']} maps of {skill['n_protostars']} protostars"
            known = f"{r2} per protostar on clouds left out, {maps} in {skill['n_clouds']} clouds"
        return f"<Calibration for {' + '.join(self.channels)}: {known}>"

    def fit(
        self,
        X: np.ndarray,
        y: np.ndarray,
        *,
        blocks: list[int],
        appearance: np.ndarray,
        clouds: ArrayLike | None = None,
        protostars: ArrayLike | None = None,
        represents: ArrayLike | None = None,
    ) -> Self:
        """Fit on the reference maps; without ``clouds`` each protostar is left out by itself."""
        # X features, y log10 masses, blocks the number of features of each kind; the rest as in a MapSet
        self.scaler_ = Scaler(list(blocks)).fit(X)
        self.X_ = _rounded(self.scaler_.transform(X))
        self.y_ = np.asarray(y, dtype=float)
        self.appearance_ = np.asarray(appearance).astype(np.float16)
        self.clouds_ = None if clouds is None else np.asarray(clouds)
        self.protostars_ = np.arange(len(y)) if protostars is None else np.asarray(protostars)
        self.represents_ = np.ones(len(y)) if represents is None else np.asarray(represents, float)
        return self._fit()

    def leave_out(self, clouds: Iterable[str]) -> Calibration:
        """Return a new calibration without some clouds, the scaling of the features included."""
        own = np.array([]) if self.clouds_ is None else self.clouds_
        known = sorted(set(own.tolist()))
        clouds = [str(cloud) for cloud in clouds]
        if not known:
            msg = f"clouds must be none: the calibration was fitted without clouds, got {clouds}"
            raise ValueError(msg)
        for cloud in clouds:
            one_of("clouds", cloud, known)
        keep = ~np.isin(own, clouds)
        if keep.sum() < _LEAST_MAPS:
            msg = f"clouds: {keep.sum()} maps remain, a calibration needs {_LEAST_MAPS}"
            raise ValueError(msg)
        new = copy.copy(self)
        for name in ("y_", "appearance_", "clouds_", "protostars_", "represents_"):
            setattr(new, name, getattr(self, name)[keep])
        X = self.X_[keep].astype(np.float32)
        scaler = Scaler(self.scaler_.blocks).fit(X)
        new.scaler_, new.X_ = scaler.after(self.scaler_), _rounded(scaler.transform(X))
        return new._fit()

    def with_prior(self, prior: Prior | str | Table | None) -> Calibration:
        """Return a new calibration for another distribution of masses, as the class takes it."""
        new = copy.copy(self)
        new.prior = as_prior(prior)
        return new._fit()

    def _fit(self):
        """Fit on the reference maps, which are set."""
        self.protostars_ = _labels(self.protostars_)
        self.clouds_ = None if self.clouds_ is None else _labels(self.clouds_)
        self.derive()
        n = len(self.y_)
        predicted, spread, distance = np.full(n, self.y_.mean()), np.ones(n), np.ones((n, 2))
        for fold in np.unique(self.folds_) if self.folds_.max() > 0 else ():
            test = self.folds_ == fold
            others = _Reference(self, ~test)
            X_test = others.scale(self.X_[test].astype(np.float32))
            predicted[test] = others.model.predict(X_test)
            spread[test], distance[test] = others.domain.measure(X_test, self.appearance_[test])
        if self.folds_.max() == 0:
            spread, distance = self._reference.domain.measure(self._filled, self.appearance_)
        self.domain_scale_ = self._domain_scale(distance)
        self.predicted_ = predicted
        self.spread_scale_ = float(np.median(spread)) or 1.0
        self.difficulty_ = self._difficulty(spread)
        self.check_ = self._reference.model.predict(self._filled[:_N_CHECKED])
        self.skill_ = self._skill()
        return self

    def _domain_scale(self, distance):
        """Return the scales of both distances: the larger one is above 1 for one map in a hundred."""
        alike = self._protostar_weights(1)  # each cloud, and in it each protostar, counts the same
        alike = alike / np.bincount(self.folds_, alike)[self.folds_]
        scales = [weighted_quantile(column, alike, _DOMAIN_QUANTILE) for column in distance.T]
        scales = np.maximum(scales, 1e-6)
        return scales * weighted_quantile((distance / scales).max(1), alike, _DOMAIN_QUANTILE)

    def derive(self):
        """Set what follows from the fields: after a fit, and when a file is read."""
        self._importance = 1.0
        if self.prior is not None:
            reference = (self.y_, self.protostars_, self.represents_)
            self._importance = importance(self.prior, *reference)
        weights = self._protostar_weights(self.weight_exponent) * self._importance
        self.weights_ = weights / weights.mean()
        self.folds_ = folds_of(self._groups)
        self._filled = np.nan_to_num(self.X_.astype(np.float32))
        self._model_checked = False
        for name in ("intervals_", "_reference"):  # those of another fit
            vars(self).pop(name, None)

    @cached_property
    def intervals_(self) -> ConformalIntervals:
        """The widths of the intervals."""
        errors = np.abs(self.y_ - self.predicted_)
        weights = self._protostar_weights(1) * self._importance
        return ConformalIntervals(errors, self.difficulty_, self.predicted_, self.folds_, weights)

    @property
    def _groups(self):
        """What is left out as a whole."""
        return self.protostars_ if self.clouds_ is None else self.clouds_

    def _protostar_weights(self, exponent):
        return protostar_weights(self.protostars_, exponent, self.represents_)

    @cached_property
    def _reference(self):
        """The regressor and the domain; after loading they are fitted at the first use."""
        return _Reference(self, slice(None))

    @property
    def mass_range(self) -> np.ndarray:
        """The log10 masses at which estimates are cut: the reference masses, at least 0.05 to 30."""
        return np.array([min(self.y_.min(), _MASS_RANGE[0]), max(self.y_.max(), _MASS_RANGE[1])])

    @property
    def end_bias(self) -> list[float]:
        """Predicted less true log10 mass in the thirds of true masses, in dex (list)."""
        return self._in_thirds(self.predicted_ - self.y_, of=self.y_)

    def _in_thirds(self, values, of):
        """Return the means of values in the lower, middle and upper third of others."""
        equal = self._protostar_weights(1)
        edges = [weighted_quantile(of, equal, k / 3) for k in (1, 2)]
        third = np.searchsorted(edges, of)
        return [
            float(np.average(values[third == k], weights=equal[third == k]))
            for k in np.unique(third)
        ]

    def _skill(self):
        known = (self.y_, self.predicted_, self.protostars_)
        held = {level: self.intervals_.held(level) for level in LEVELS}
        return {
            **scores(*known, self.represents_, held=held),
            "r2_protostar_err": r2_error(*known, self._groups, self.represents_),
            "coverage_68_thirds": self._in_thirds(held[0.68], of=self.predicted_),
            "bias_thirds": self._in_thirds(self.predicted_ - self.y_, of=self.predicted_),
            "n_clouds": int(self.folds_.max()) + 1,
        }

    def verify(self) -> None:
        """Raise `ValueError` if the regressor predicts otherwise than when it was saved."""
        if self._model_checked:
            return
        found = self._reference.model.predict(self._filled[:_N_CHECKED])
        if not np.allclose(found, self.check_, atol=5e-3):
            why = "another version of scikit-learn fits it otherwise; calibrate again"
            msg = f"the regressor {self.regressor!r} predicts other masses than when saved: {why}"
            raise ValueError(msg)
        self._model_checked = True

    def evaluate(
        self, X: np.ndarray, appearance: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return log10 masses, relative widths of their intervals, and scores (1 at the threshold)."""
        # X 2D, not scaled; without data in its central quarter, or beyond it, a map's score is infinite
        self.verify()
        reference = self._reference
        X = np.nan_to_num(self.scaler_.transform(X))
        appearance = np.asarray(appearance, np.float32)
        spread, distance = reference.domain.measure(X, appearance)
        ood = (distance / self.domain_scale_).max(1)
        ood[np.isnan(appearance[:, CONTRAST])] = np.inf
        # A map beyond the domain is harder than its nearest neighbors suggest.
        predicted = np.asarray(reference.model.predict(X), dtype=float)
        difficulty = self._difficulty(spread) * np.clip(ood, 1, 3)
        return predicted, difficulty * self.intervals_.relative_width(predicted), ood

    def evaluate_images(self, images, encoder, *, progress_bar=False):
        """Return what `evaluate` does, for images of the model (n_maps, 3, ny, nx)."""
        X, _ = self.features.compute(
            images, self.channels, encoder=encoder, progress_bar=progress_bar
        )
        return self.evaluate(X, appearance(keep_channels(images, self.channels)))

    def nearest(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return all reference maps, the nearest to each map first, and their distances."""
        # X 2D, not scaled; the distances are those of the whitened features, in units of the score
        X = np.nan_to_num(self.scaler_.transform(X))
        distance, index = self._reference.domain.features.nearest(X, len(self.y_))
        return index, distance / self.domain_scale_[0]

    def half_width(self, level: float, difficulty: ArrayLike) -> np.ndarray:
        """Return half the width of the interval in dex."""
        return self.intervals_.quantile(level) * np.asarray(difficulty)

    def _difficulty(self, spread):
        return 0.5 + 0.5 * spread / self.spread_scale_

    def check(self):
        """Refuse arrays that no calibration has: a file may come from anybody."""
        n_maps, n_features = self.X_.shape
        shapes = {
            **dict.fromkeys(("y_", "represents_", "predicted_", "difficulty_"), (n_maps,)),
            "domain_scale_": (2,),
            "appearance_": (n_maps, self.appearance_.shape[-1]),
        }
        given = [(name, getattr(self, name), shape) for name, shape in shapes.items()]
        given += [(n, getattr(self.scaler_, n), (n_features,)) for n in ("center_", "factor_")]
        for name, values, shape in given:
            finite = name == "appearance_" or np.isfinite(values).all()
            if values.shape != shape or values.dtype.kind != "f" or not finite:
                msg = f"{name} must have {shape} finite numbers, got {values.dtype} {values.shape}"
                raise ValueError(msg)


def _rounded(X):
    """Return features as a file holds them, so that the fit uses what a loaded calibration contains."""
    return (np.rint(X / _STEP) * _STEP).astype(np.float16)


def _labels(values):
    """Return names as an array as narrow as they allow, so that a copy has the same digest."""
    return np.array([str(value) for value in np.asarray(values).tolist()])


class _Reference:
    """Scaler, regressor and domain of some of the reference maps of a calibration."""

    def __init__(self, calibration, rows):
        everything = isinstance(rows, slice)
        X, y = calibration.X_[rows].astype(np.float32), calibration.y_[rows]
        # All of them are scaled already.
        self.scaler = None if everything else Scaler(calibration.scaler_.blocks).fit(X)
        X = self.scale(X)
        self.model = fit_regressor(
            make_regressor(calibration.regressor),
            X,
            y,
            sample_weight=calibration.weights_[rows],
            groups=calibration.folds_[rows],
        )
        self.domain = Domain(X, calibration.appearance_[rows], y)

    def scale(self, X):
        return np.nan_to_num(X if self.scaler is None else self.scaler.transform(X))


def default_options(channels):
    """Return the best features, regressor and exponent by the study "defaults"."""
    regressor = ("ridge", "kernel_ridge") if channels == ("column_density",) else "kernel_ridge"
    return FeatureSet(contrasts=True), regressor, 0.6


def log_solar(masses):
    """Return the decimal logarithms of masses in solar masses."""
    if not isinstance(masses, u.Quantity):
        msg = f"masses must be a Quantity such as [0.3, 2] * u.solMass, got {type(masses).__name__}"
        raise TypeError(msg)
    return np.log10(positive_masses(masses))


def reference_id(images, log_masses, represents):
    """Return the number and the digest of maps."""
    values = (np.asarray(images, np.float32), log_masses.astype(np.float32))
    return f"{len(images)}maps-{fingerprint(*values, represents)[:8]}"


def _several(clouds):
    """Return the clouds of maps, `None` where there are fewer than two, with a warning."""
    n_clouds = 0 if clouds is None else len(np.unique(np.asarray(clouds, str)))
    if n_clouds > 1:
        return clouds
    found = "all maps are of one cloud" if n_clouds else "clouds= is not given"
    result = "protostars are left out in turn, so that scores and intervals are too good for"
    warn(f"{found}: {result} another cloud; add maps of other clouds (simulations), with clouds=")
    return None


def fit_calibrations(images, log_masses, options, *, channels, encoder, progress_bar, **known):
    """Calibrate on maps of known masses, once for each combination of channels."""
    # images (n_maps, 3, ny, nx); known: clouds, protostars and represents, or None
    n = len(images)
    if n < _LEAST_MAPS:
        msg = f"maps must be at least {_LEAST_MAPS} for a calibration, got {n}"
        raise ValueError(msg)
    for name, values in {"masses": log_masses, **known}.items():
        if values is not None and len(values) != n:
            msg = f"{name} must have one entry per map, got {len(values)} for {n}"
            raise ValueError(msg)
    known["clouds"] = _several(known["clouds"])
    common = set.intersection(*(set(found) for found in set(channels_of(images))))
    if channels is None:
        channels = [c for c in CHANNEL_SETS if common.issuperset(c)]
    calibrations = {}
    for wanted in map(tuple, channels):
        one_of("channels", wanted, CHANNEL_SETS)
        if not common.issuperset(wanted):
            absent = ", ".join(c for c in wanted if c not in common)
            msg = f"channels {wanted} cannot be calibrated: not all maps have {absent}"
            raise ValueError(msg)
        features, *others = options(wanted)
        X, blocks = features.compute(images, wanted, encoder=encoder, progress_bar=progress_bar)
        known["appearance"] = appearance(keep_channels(images, wanted))
        calibration = Calibration(wanted, features, *others)
        calibrations[wanted] = calibration.fit(X, log_masses, blocks=blocks, **known)
    return calibrations
