"""One method on one protocol: calibrate, predict, evaluate."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from astrofractal._utils.random import keyed_generator
from astrofractal._utils.validation import one_of
from astrofractal.gasmap.moments import CHANNELS, keep_channels
from astrofractal.mass import Calibration, make_regressor
from astrofractal.mass.intervals import Scaler
from astrofractal.mass.measures import appearance
from astrofractal.mass.regressors import fit_regressor, takes_weights
from astrofractal.mass.weights import protostar_weights, scores

if TYPE_CHECKING:
    from collections.abc import Callable

    from astrofractal.benchmark.encoded import FeatureStore
    from astrofractal.benchmark.methods import Method
    from astrofractal.mapset import MapSet


@dataclass
class Prediction:
    """The masses that a method predicts for the maps that its protocol tests."""

    log_mass: np.ndarray  # log10 masses of all maps; NaN for those that are not tested
    n_labels: float = 0.0  # protostars that calibrate, the mean over the splits
    half_68: np.ndarray | None = None  # half the widths of the intervals in dex
    half_90: np.ndarray | None = None


class Scorer:
    """
    Calibrates methods on some labeled maps and predicts the masses of others.

    At most ``n_per_protostar`` maps of a protostar calibrate, which stand for the others.  All maps
    are tested.
    """

    def __init__(
        self,
        maps: MapSet,
        store: FeatureStore,
        *,
        channels: tuple[str, ...] = CHANNELS,
        n_per_protostar: int | None = None,
    ) -> None:
        self.maps, self.store, self.channels = maps, store, tuple(channels)
        self.n_per_protostar = n_per_protostar
        self._images = keep_channels(maps.images, self.channels)
        self._features: dict[tuple[str | None, Any], Any] = {}

    def features(self, method: Method) -> tuple[np.ndarray, list[int] | None]:
        """Return the features of all maps and the number of each kind; see `Method.compute`."""
        key = (method.source, method.features)
        if key not in self._features:
            self._features[key] = method.compute(self.store, self._images, self.channels)
        return self._features[key]

    @cached_property
    def appearance(self) -> np.ndarray:
        """The measures of what the maps look like, of `~astrofractal.mass.measures`."""
        return appearance(self._images)

    def calibrate(
        self,
        method: Method,
        train: np.ndarray,
        groups: np.ndarray,
        represents: np.ndarray | None = None,
    ) -> Callable[..., Any]:
        """Fit a method to some maps; return a function from features to log10 masses."""
        # Hyperparameters are chosen over groups, one for each of the maps; represents is the number
        # of maps for which each of them stands.
        X, blocks = self.features(method)
        regressor, weights = make_regressor(method.regressor), None
        if method.weight_exponent or takes_weights(regressor):  # neighbors count every map once
            of = self.maps.protostars[train]
            weights = protostar_weights(of, method.weight_exponent, represents)
        scaler = Scaler(blocks).fit(X[train]) if blocks is not None else None

        def scale(X):
            return X if scaler is None else np.nan_to_num(scaler.transform(X))

        model = fit_regressor(
            regressor, scale(X[train]), self.maps.log_masses[train],
            sample_weight=weights, groups=groups,
        )  # fmt: skip
        return lambda X: model.predict(scale(X))

    def evaluate(
        self,
        method: Method,
        protocol: Protocol,
        *,
        choose: Callable[..., Any] | None = None,
        intervals: bool = False,
    ) -> Prediction:
        """Predict all test maps of a protocol; ``intervals`` take many more fits."""
        # choose returns, of the maps that may calibrate, those that do and the group of each.
        X, blocks = self.features(method)
        log_mass, half_68, half_90 = np.full((3, len(self.maps)), np.nan)
        result = Prediction(log_mass, half_68=half_68, half_90=half_90)
        for train, test in protocol.splits:
            train, represents = self._limited(train)
            groups = protocol.groups[train]
            if choose is not None:
                limited, (train, groups) = train, choose(train)
                represents = represents[np.searchsorted(limited, train)]
                if len(np.unique(self.maps.protostars[train])) == len(train):
                    represents = None  # single maps stand for themselves
            if intervals:
                calibration = Calibration(
                    self.channels, method.features, method.regressor,
                    weight_exponent=method.weight_exponent,
                ).fit(
                    X[train], self.maps.log_masses[train], blocks=blocks,
                    appearance=self.appearance[train], clouds=groups,
                    protostars=self.maps.protostars[train], represents=represents,
                )  # fmt: skip
                log_mass[test], difficulty, _ = calibration.evaluate(X[test], self.appearance[test])
                half_68[test] = calibration.half_width(0.68, difficulty)
                half_90[test] = calibration.half_width(0.9, difficulty)
            else:
                log_mass[test] = self.calibrate(method, train, groups, represents)(X[test])
            result.n_labels += len(np.unique(self.maps.protostars[train])) / len(protocol.splits)
        return result

    def _limited(self, train):
        """Return the maps of a split that calibrate, and how many maps each of them stands for."""
        represents = self.maps.represents[train]
        if self.n_per_protostar is None:
            return train, represents
        _, index, counts = np.unique(
            self.maps.protostars[train], return_inverse=True, return_counts=True
        )
        order = keyed_generator(0, "maps that calibrate").permutation(len(train))
        order = order[np.argsort(index[order], kind="stable")]
        place = np.arange(len(train)) - np.repeat(counts.cumsum() - counts, counts)
        kept = np.sort(order[place < self.n_per_protostar])
        total, left = (np.bincount(index[i], represents[i]) for i in (slice(None), kept))
        return train[kept], represents[kept] * (total / left)[index[kept]]


def scores_of(maps, log_mass, rows):
    """Return the scores of the predicted log10 masses of some maps."""
    protostars, represents = maps.protostars[rows], maps.represents[rows]
    return scores(maps.log_masses[rows], log_mass[rows], protostars, represents)


#: The protocols; the first one is the headline.
PROTOCOLS = ("leave-cloud-out", "random")


@dataclass(frozen=True)
class Protocol:
    """Splits of a set of maps."""

    name: str
    splits: list  # indices of the maps that calibrate, and of those that test
    groups: np.ndarray  # over which hyperparameters are chosen and intervals calibrated


def make_protocol(name: str, maps: MapSet, *, random_state: int = 0) -> Protocol:
    """
    Make the splits of a protocol.

    ``"leave-cloud-out"`` tests each cloud in turn, ``"random"`` a quarter of the maps at random: the
    published split, in which near-copies of a map, those of its protostar at neighboring times, stand
    on the other side.
    """
    one_of("protocol", name, PROTOCOLS)
    if name == "random":
        order = keyed_generator(random_state, "random split").permutation(len(maps))
        n_test = max(1, len(maps) // 4)
        splits = [(np.sort(order[n_test:]), np.sort(order[:n_test]))]
        return Protocol(name, splits, np.arange(len(maps)) % 8)
    clouds = np.unique(maps.clouds)
    if len(clouds) < 2:
        msg = f"protocol {name!r} needs at least two clouds, the maps have one"
        raise ValueError(msg)
    splits = [(np.flatnonzero(maps.clouds != c), np.flatnonzero(maps.clouds == c)) for c in clouds]
    return Protocol(name, splits, maps.clouds)
