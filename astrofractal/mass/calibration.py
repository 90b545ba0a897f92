"""One calibration: from the features of one combination of channels to masses with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u

from astrofractal._utils.identity import fingerprint
from astrofractal._utils.validation import at_least, one_of
from astrofractal.exceptions import AstrofractalWarning
from astrofractal.gasmap.moments import CHANNEL_SETS, CHANNELS, channels_of, keep_channels
from astrofractal.mass.features import FeatureSet, for_encoder
from astrofractal.mass.intervals import ConformalIntervals, Domain, Scaler
from astrofractal.mass.measures import CONTRAST, appearance
from astrofractal.mass.regressors import fit_regressor, make_regressor, spec_from_json, spec_to_json
from astrofractal.mass.weights import (
    Prior,
    as_prior,
    grouped_folds,
    importance,
    protostar_weights,
    scores,
    weighted_quantile,
)

__all__ = [
    "MIN_R2",
    "Calibration",
    "NoSkillWarning",
    "References",
    "check_options",
    "default_options",
    "fit_calibrations",
    "log_solar",
    "options_for",
]

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Self

    from astropy.table import Table
    from numpy.typing import ArrayLike
    from sklearn.base import BaseEstimator

#: A calibration whose R2 on clouds left out is below this has no skill that anybody should use.
#: The error of R2 over a few clouds is 0.06, so that less is within three errors of zero; and even
#: a true 0.2 makes the error of a mass only 11 % smaller than the spread of all masses.
MIN_R2 = 0.2

_DOMAIN_QUANTILE = 0.99

_N_CHECKED = 16


class NoSkillWarning(AstrofractalWarning):
    """The masses are hardly better than the mean of the reference masses on an unseen cloud."""


class Calibration:
    """
    A regressor with its skill, its conformal intervals and its domain, for one set of channels.

    Parameters
    ----------
    channels : tuple of str
        The channels that the maps have.

    features : `~astrofractal.mass.FeatureSet`
        What the maps are described by.

    regressor : str, estimator or tuple of these
        As `~astrofractal.mass.make_regressor` takes it.

    weight_exponent : float, optional
        A map has the weight ``n ** -weight_exponent`` where its protostar has n maps, in the
        regressor and in the intervals: with 0 each map counts the same, with 1 each protostar.

    prior : str, table or `~astrofractal.mass.Prior`, optional
        The distribution of masses that regressor and intervals are made for, as
        `~astrofractal.StellarMassEstimator` takes it; that of the reference masses by default.
        ``skill_`` counts the reference protostars as they are.

    Attributes
    ----------
    skill_ : dict
        Of predictions of each cloud by a calibration on the others: ``r2``, ``rmse``, ``mae`` (dex;
        the mean absolute error), ``coverage_68`` and ``coverage_90`` (with the interval widths of
        the other clouds) per map; the same but ``mae`` with ``_protostar`` appended, in which each
        protostar has the same weight, and by the thirds of the predicted mass
        ``coverage_68_thirds`` and ``bias_thirds`` (dex, predicted less true); ``n_maps``,
        ``n_protostars``, ``n_groups``.

    X_, y_, appearance_, groups_, protostars_, represents_, weights_, folds_ : `~numpy.ndarray`
        The reference maps: scaled features, log10 masses, appearance, cloud (or `None`), protostar,
        number of maps stood for, weight and fold of each.
    """

    def __init__(
        self,
        channels: tuple[str, ...],
        features: FeatureSet,
        regressor: str | BaseEstimator | tuple[str | BaseEstimator, ...],
        weight_exponent: float = 0.5,
        prior: Prior | str | Table | None = None,
    ) -> None:
        self.channels = tuple(channels)
        self.features = features
        self.regressor = regressor
        self.weight_exponent = weight_exponent
        self.prior = as_prior(prior)

    def fit(
        self,
        X: np.ndarray,
        y: np.ndarray,
        *,
        blocks: list[int],
        appearance: np.ndarray,
        groups: ArrayLike | None = None,
        protostars: ArrayLike | None = None,
        represents: ArrayLike | None = None,
    ) -> Self:
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
            See `~astrofractal.mass.measures`.

        groups : array-like, optional
            The cloud of each map.  Without it every map is its own group: the intervals are then
            valid for maps like these only, and too narrow for another cloud.

        protostars : array-like, optional
            The protostar of each map; without it each map has its own.

        represents : array-like, optional
            How many maps each map stands for; see `~astrofractal.mapset.MapSet.limit`.

        Returns
        -------
        self : `Calibration`
            Fitted.
        """
        scaler = Scaler(blocks).fit(X)
        groups = None if groups is None else np.asarray(groups).astype(str)
        protostars = np.arange(len(y)) if protostars is None else protostars
        return self._fit_scaled(
            scaler,
            scaler.transform(X),
            y,
            appearance,
            groups,
            np.asarray(protostars).astype(str),
            np.ones(len(y)) if represents is None else np.asarray(represents, float),
        )

    def leave_out(self, groups: Iterable[str]) -> Calibration:
        """
        Calibrate again without some groups, the scaling of the features included.

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
        known = [] if self.groups_ is None else sorted(set(self.groups_.tolist()))
        unknown = [str(g) for g in groups if str(g) not in known]
        if unknown:
            msg = f"groups must be among {', '.join(known) or 'none'}, got {unknown[0]!r}"
            raise ValueError(msg)
        keep = ~np.isin(self.groups_, [str(g) for g in groups])
        if keep.sum() < 10:
            msg = f"groups: {keep.sum()} maps remain, a calibration needs 10"
            raise ValueError(msg)
        scaler = Scaler(self.scaler_.blocks).fit(self.X_[keep])
        return self._refitted(
            self.prior, scaler.after(self.scaler_), scaler.transform(self.X_[keep]), keep
        )

    def with_prior(self, prior: Prior | str | Table | None) -> Calibration:
        """
        Calibrate again for another distribution of masses.

        Parameters
        ----------
        prior : str, table, `~astrofractal.mass.Prior` or None
            As the class takes it.

        Returns
        -------
        calibration : `Calibration`
            A new one.
        """
        return self._refitted(prior, self.scaler_, self.X_, slice(None))

    def _refitted(self, prior, scaler, X, rows):
        """Return a calibration on some of the reference maps, whose features are scaled."""
        options = (self.channels, self.features, self.regressor, self.weight_exponent)
        return Calibration(*options, prior)._fit_scaled(
            scaler,
            X,
            self.y_[rows],
            self.appearance_[rows],
            None if self.groups_ is None else self.groups_[rows],
            self.protostars_[rows],
            self.represents_[rows],
        )

    def _fit_scaled(self, scaler, X, y, appearance, groups, protostars, represents):
        self.scaler_ = scaler
        # Kept in 16 bit on disk: the fit sees what a loaded calibration will see.
        self.X_ = X.astype(np.float16).astype(np.float32)
        self.y_ = np.asarray(y, dtype=float)
        self.appearance_ = np.asarray(appearance).astype(np.float16).astype(np.float32)
        self.groups_, self.protostars_, self.represents_ = groups, protostars, represents
        self._derive()
        n = len(self.y_)
        self.predicted_, spread, distance = np.full(n, self.y_.mean()), np.ones(n), np.ones((n, 2))
        for fold in np.unique(self.folds_) if self.folds_.max() > 0 else ():
            test = self.folds_ == fold
            others = _Reference(self, ~test)
            X_test = others.scale(self.X_[test])
            self.predicted_[test] = others.model.predict(X_test)
            spread[test], distance[test] = others.domain.measure(X_test, self.appearance_[test])
        if self.folds_.max() == 0:
            spread, distance = self._reference.domain.measure(self._filled, self.appearance_)
        self.domain_scale_ = np.array(
            [max(self._cloud_quantile(d, _DOMAIN_QUANTILE), 1e-6) for d in distance.T]
        )
        self.spread_scale_ = float(np.median(spread)) or 1.0
        self.difficulty_ = self._difficulty(spread)
        self.intervals_ = self._intervals()
        self.check_ = self._reference.model.predict(self._filled[:_N_CHECKED])
        self.skill_ = self._skill()
        return self

    def _derive(self):
        """Set what follows from what is stored."""
        self._importance = 1.0
        if self.prior is not None:
            reference = (self.y_, self.protostars_, self.represents_)
            self._importance = importance(self.prior, *reference)
        weights = self._protostar_weights(self.weight_exponent) * self._importance
        self.weights_ = weights / weights.mean()
        groups = np.arange(len(self.y_)) if self.groups_ is None else self.groups_
        self.folds_ = grouped_folds(groups)
        self._filled = np.nan_to_num(self.X_)
        self._model_checked = False
        self._fingerprint = self._cached_reference = None

    def _intervals(self):
        errors = np.abs(self.y_ - self.predicted_)
        weights = self._protostar_weights(1) * self._importance
        return ConformalIntervals(errors, self.difficulty_, self.predicted_, self.folds_, weights)

    def _protostar_weights(self, exponent):
        return protostar_weights(self.protostars_, exponent, self.represents_)

    def _cloud_quantile(self, values, level):
        """Quantile in which each cloud has the same total weight."""
        return weighted_quantile(values, 1 / np.bincount(self.folds_)[self.folds_], level)

    @property
    def _reference(self):
        """The regressor and the domain; after loading they are fitted at the first use."""
        if self._cached_reference is None:
            self._cached_reference = _Reference(self, slice(None))
        return self._cached_reference

    @property
    def has_skill(self) -> bool:
        """
        Whether R2 on clouds left out reaches ``MIN_R2`` (0.2) per map and is above 0 per protostar.

        The protostars of many maps are the massive ones: a score per map alone may rest on them.
        """
        return bool(self.skill_["r2"] >= MIN_R2 and self.skill_["r2_protostar"] > 0)

    @property
    def mass_range(self) -> np.ndarray:
        """The log10 masses between which all but 1 % at each end of the reference maps lie."""
        return np.percentile(self.y_, [1, 99])

    @property
    def end_bias(self) -> list[float]:
        """
        Predicted less true log10 mass in the lower, middle and upper third of true masses (list).

        In dex, of clouds that are left out, each protostar with the same weight: predictions regress
        to the mean.
        """
        equal = self._protostar_weights(1)
        edges = [weighted_quantile(self.y_, equal, k / 3) for k in (1, 2)]
        third = np.searchsorted(edges, self.y_)
        error = self.predicted_ - self.y_
        return [
            float(np.average(error[third == k], weights=equal[third == k]))
            for k in np.unique(third)
        ]

    def _skill(self):
        skill = scores(self.y_, self.predicted_, self.protostars_, self.represents_)
        equal = self._protostar_weights(1)
        for level in (0.68, 0.9):
            held = self.intervals_.held(level)
            name = f"coverage_{level * 100:.0f}"
            skill[name] = float(np.average(held, weights=self.represents_))
            skill[f"{name}_protostar"] = float(np.average(held, weights=equal))
        edges = [weighted_quantile(self.predicted_, equal, k / 3) for k in (1, 2)]
        third = np.searchsorted(edges, self.predicted_)
        held, error = self.intervals_.held(0.68), self.predicted_ - self.y_
        thirds = [third == k if (third == k).any() else np.ones(len(third), bool) for k in range(3)]
        for name, values in (("coverage_68_thirds", held), ("bias_thirds", error)):
            skill[name] = [float(np.average(values[t], weights=equal[t])) for t in thirds]
        return {
            **skill,
            "n_maps": len(self.y_),
            "n_protostars": len(np.unique(self.protostars_)),
            "n_groups": int(self.folds_.max()) + 1,
        }

    def verify(self) -> None:
        """
        Check that the regressor predicts what it did when the calibration was saved.

        Raises
        ------
        ValueError
            If it does not.
        """
        if self._model_checked:
            return
        found = self._reference.model.predict(self._filled[:_N_CHECKED])
        if not np.allclose(found, self.check_, atol=5e-3):
            msg = (
                f"the regressor {self.regressor!r} predicts other masses than when the file "
                "was saved: another version of scikit-learn fits it otherwise; calibrate again"
            )
            raise ValueError(msg)
        self._model_checked = True

    def evaluate(
        self, X: np.ndarray, appearance: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """
        Predict masses and tell how far they can be trusted.

        Parameters
        ----------
        X : 2D `~numpy.ndarray`
            Features, not scaled.

        appearance : 2D `~numpy.ndarray`
            See `~astrofractal.mass.measures`.

        Returns
        -------
        log_mass, difficulty, ood_score : 1D `~numpy.ndarray`
            log10 masses; the widths of their intervals relative to the others; the distances to
            the reference maps, 1 at the threshold, infinite for a map without data in its central
            quarter or beyond it, as no reference map is.

        Raises
        ------
        ValueError
            If a calibration that was loaded predicts other masses than when it was saved.
        """
        self.verify()
        reference = self._reference
        X = np.nan_to_num(self.scaler_.transform(X))
        appearance = np.asarray(appearance, np.float32)
        spread, distance = reference.domain.measure(X, appearance)
        ood = (distance / self.domain_scale_).max(1)
        ood[np.isnan(appearance[:, CONTRAST])] = np.inf
        # A map beyond the domain is harder than its nearest neighbors tell.
        predicted = np.asarray(reference.model.predict(X), dtype=float)
        difficulty = self._difficulty(spread) * np.clip(ood, 1, 3)
        return predicted, difficulty * self.intervals_.relative_width(predicted), ood

    def half_width(self, level: float, difficulty: ArrayLike) -> np.ndarray:
        """Return half the width of the interval in dex."""
        return self.intervals_.quantile(level) * np.asarray(difficulty)

    def _difficulty(self, spread):
        return 0.5 + 0.5 * spread / self.spread_scale_

    def fingerprint(self) -> str:
        """Return a digest of the options and the reference maps."""
        if self._fingerprint is None:
            options = (
                self.channels, self.features, self.regressor, self.weight_exponent, self.prior
            )  # fmt: skip
            self._fingerprint = fingerprint(options, self.spread_scale_, self._arrays())
        return self._fingerprint

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """
        Return all that is needed to make this calibration again.

        Returns
        -------
        arrays : dict of `~numpy.ndarray`
            Numbers.

        card : dict
            Plain values.
        """
        arrays, names = self._arrays(), {}
        for name in ("groups", "protostars"):
            values = getattr(self, f"{name}_")
            if values is not None:
                labels, index = np.unique(values, return_inverse=True)
                arrays[name], names[name] = index.astype(np.int32), labels.tolist()
        card = {
            "names": names,
            "channels": list(self.channels),
            "features": self.features.to_dict(),
            "regressor": spec_to_json(self.regressor),
            "weight_exponent": self.weight_exponent,
            "blocks": [int(b) for b in self.scaler_.blocks],
            "spread_scale": self.spread_scale_,
            "skill": self.skill_,
            "prior": None if self.prior is None else self.prior.to_dict(),
        }
        return arrays, card

    def _arrays(self):
        return {
            "X": self.X_.astype(np.float16),
            "y": self.y_,
            "appearance": self.appearance_.astype(np.float16),
            "represents": self.represents_,
            "predicted": self.predicted_,
            "difficulty": self.difficulty_,
            "domain_scale": self.domain_scale_,
            "center": self.scaler_.center_,
            "factor": self.scaler_.factor_,
            "check": self.check_,
        }

    @classmethod
    def from_state(cls, arrays: dict[str, np.ndarray], card: dict[str, Any]) -> Calibration:
        """
        Make the calibration of `state` again.

        Raises
        ------
        ValueError
            If the arrays do not fit together, or are not finite.
        """
        _check_arrays(arrays)
        new = cls(
            card["channels"],
            FeatureSet(**card["features"]),
            spec_from_json(card["regressor"]),
            card["weight_exponent"],
            Prior(**card["prior"]) if card.get("prior") else None,
        )
        for name in ("y", "represents", "predicted", "difficulty", "domain_scale", "check"):
            setattr(new, f"{name}_", arrays[name])
        for name in ("X", "appearance"):
            setattr(new, f"{name}_", arrays[name].astype(np.float32))
        for name in ("groups", "protostars"):
            labels = card["names"].get(name)
            setattr(new, f"{name}_", None if labels is None else np.array(labels)[arrays[name]])
        new.scaler_ = Scaler(card["blocks"])
        new.scaler_.center_, new.scaler_.factor_ = arrays["center"], arrays["factor"]
        new.spread_scale_ = card["spread_scale"]
        new._derive()
        new.intervals_ = new._intervals()
        new.skill_ = card["skill"]
        return new


def _check_arrays(arrays):
    """Refuse the arrays of a state that no calibration has: a file may come from anybody."""
    n_maps, n_features = arrays["X"].shape
    shapes = {
        **dict.fromkeys(("y", "represents", "predicted", "difficulty"), (n_maps,)),
        **dict.fromkeys(("center", "factor"), (n_features,)),
        "domain_scale": (2,),
    }
    for name, shape in shapes.items():
        values = arrays[name]
        if values.shape != shape or values.dtype.kind != "f" or not np.isfinite(values).all():
            msg = f"{name} must have {shape} finite numbers, got {values.dtype} {values.shape}"
            raise ValueError(msg)
    if arrays["appearance"].ndim != 2 or len(arrays["appearance"]) != n_maps:
        msg = f"appearance must have {n_maps} rows, got the shape {arrays['appearance'].shape}"
        raise ValueError(msg)


class _Reference:
    """Scaler, regressor and domain of some of the reference maps of a calibration."""

    def __init__(self, calibration, rows):
        everything = isinstance(rows, slice)
        # All of them are scaled already.
        self.scaler = None if everything else Scaler(calibration.scaler_.blocks)
        if self.scaler is not None:
            self.scaler.fit(calibration.X_[rows])
        X, y = self.scale(calibration.X_[rows]), calibration.y_[rows]
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


_WEIGHT_EXPONENT = 0.5

_CONTRASTS = FeatureSet(pooling=("central", "scatter"), contrasts=True)

_PROFILES = FeatureSet(pooling=("central", "scatter"), profiles="all")

# Channels to (features, regressor).
_DEFAULTS = {
    ("column_density",): (_CONTRASTS, ("ridge", "svr")),
    ("column_density", "velocity"): (_PROFILES, ("ridge", "svr")),
    ("column_density", "dispersion"): (_CONTRASTS, "svr"),
    CHANNELS: (_CONTRASTS, "svr"),
}


def default_options(channels):
    """Return the default features, regressor and weights."""
    return *_DEFAULTS[channels], _WEIGHT_EXPONENT


def check_options(*, encoder, features, regressor, weight_exponent, prior):
    """Refuse options that an estimator cannot have."""
    if features is not None and not isinstance(features, FeatureSet):
        msg = f"features must be a FeatureSet, got {type(features).__name__}"
        raise TypeError(msg)
    if encoder is not None and not hasattr(encoder, "encode"):
        msg = f"encoder must be a FractalEncoder, got {type(encoder).__name__}"
        raise TypeError(msg)
    if weight_exponent is not None:
        at_least("weight_exponent", weight_exponent, 0)
    if regressor is not None:
        make_regressor(regressor)
    as_prior(prior)


def options_for(channels, *, encoder, features, regressor, weight_exponent, prior):
    """Return the options of one calibration: those that are given, defaults for the others."""
    found, head, exponent = default_options(channels)
    if features is not None:
        found = features
    elif encoder is not None:
        found = for_encoder(found, encoder)
    return (
        found,
        head if regressor is None else regressor,
        exponent if weight_exponent is None else weight_exponent,
        as_prior(prior),
    )


_LEAST_MAPS = 10


def log_solar(masses):
    """Return the decimal logarithms of masses in solar masses."""
    if not isinstance(masses, u.Quantity):
        msg = f"masses must be a Quantity such as [0.3, 2] * u.solMass, got {type(masses).__name__}"
        raise TypeError(msg)
    if not masses.unit.is_equivalent(u.solMass):
        msg = f"masses must be in units of mass, got {masses.unit}"
        raise u.UnitConversionError(msg)
    values = np.atleast_1d(masses.to_value(u.solMass)).astype(float)
    if not (np.isfinite(values) & (values > 0)).all():
        msg = "masses must be finite and positive"
        raise ValueError(msg)
    return np.log10(values)


@dataclass(frozen=True)
class References:
    """
    Maps of known masses.

    Parameters
    ----------
    images : 4D float32 `~numpy.ndarray`, shape (n_maps, 3, ny, nx)
        The model's channels.

    log_masses : 1D `~numpy.ndarray`
        log10 masses.

    groups, protostars : array-like or None
        The cloud and the protostar of each map.

    represents : 1D `~numpy.ndarray` or None
        How many maps each map stands for.

    Raises
    ------
    ValueError
        If they are too few, or not of one length.
    """

    images: np.ndarray
    log_masses: np.ndarray
    groups: object = None
    protostars: object = None
    represents: np.ndarray | None = None

    def __post_init__(self):
        n = len(self.images)
        if n < _LEAST_MAPS:
            msg = f"maps must be at least {_LEAST_MAPS} for a calibration, got {n}"
            raise ValueError(msg)
        given = {"masses": self.log_masses, "groups": self.groups, "protostars": self.protostars}
        for name, values in given.items():
            if values is not None and len(values) != n:
                msg = f"{name} must have one entry per map, got {len(values)} for {n}"
                raise ValueError(msg)

    @property
    def id(self):
        """The number and the digest of the maps (`str`)."""
        values = (np.asarray(self.images, np.float32), self.log_masses.astype(np.float32))
        return f"{len(self.images)}maps-{fingerprint(*values, self.represents)[:8]}"


def fit_calibrations(reference, options, *, channels, encoder, progress_bar):
    """Calibrate on maps of known masses, once for each combination of channels."""
    images = reference.images
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
        calibrations[wanted] = Calibration(wanted, features, *others).fit(
            X,
            reference.log_masses,
            blocks=blocks,
            appearance=appearance(keep_channels(images, wanted)),
            groups=reference.groups,
            protostars=reference.protostars,
            represents=reference.represents,
        )
    return calibrations
