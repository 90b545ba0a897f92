"""The methods that are compared: an encoder or none, features, a regressor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression

from astrofractal.gasmap.moments import CHANNELS, STANDARD_WIDTH
from astrofractal.mass import FeatureSet, aperture_mass, virial_mass
from astrofractal.mass.calibration import default_options

if TYPE_CHECKING:
    from astrofractal.benchmark.encoded import FeatureStore

_MASSES = {"virial": virial_mass, "aperture": aperture_mass}


@dataclass(frozen=True)
class ClassicalMasses:
    """log10 of a classical mass, "virial" or "aperture", in apertures with radii in pixels."""

    kind: str
    radii: tuple = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0)
    pooling = ()

    def __str__(self):
        return f"{self.kind} masses, {len(self.radii)} radii"

    def compute(self, images, channels, *, encoded=None):
        """Compute the masses of maps of the standard width."""
        # images 4D
        if self.kind == "virial" and set(channels) != set(CHANNELS):
            msg = f"a virial mass needs velocities and dispersions, got the channels {channels}"
            raise ValueError(msg)
        scale = STANDARD_WIDTH / images.shape[-1]
        masses = [_MASSES[self.kind](images, scale, radius=r * scale) for r in self.radii]
        found = np.log10(np.maximum(u.Quantity(masses).to_value(u.solMass).T, 1e-6))
        return np.nan_to_num(found, nan=np.nanmean(found)), None


class BestRadius(RegressorMixin, BaseEstimator):
    """One classical mass times a constant: the aperture and the constant that fit best."""

    def fit(self, X, y, sample_weight=None, groups=None):
        """Choose the column of least scatter about ``y``, and the mean difference."""
        difference = np.asarray(y)[:, None] - X
        offset = np.average(difference, axis=0, weights=sample_weight)
        error = np.average((difference - offset) ** 2, axis=0, weights=sample_weight)
        self.best_ = int(np.argmin(error))
        self.offset_ = float(offset[self.best_])
        return self

    def predict(self, X):
        """Return the chosen column and the constant."""
        return np.asarray(X)[:, self.best_] + self.offset_


#: The method without a network that all others are compared with.
HAND_MADE = "contrasts + profiles"

#: The default with an untrained network.
UNTRAINED = "default, untrained network"

#: The features of ``HAND_MADE``.
HAND_MADE_FEATURES = FeatureSet(pooling=None, profiles=True, contrasts=True)

_ZOOM = 4.0

_TOKENS = ("central", "scatter")


@dataclass(frozen=True)
class Method:
    """A regressor on named features."""

    name: str  # in the tables; no two methods share it
    features: Any  # a FeatureSet or ClassicalMasses; what a network learns from, in words
    regressor: object  # as make_regressor takes it
    source: str | None = None  # the name of the encoder, where the features have poolings
    twin: str | None = None  # the method that differs in the encoder alone
    weight_exponent: float = 0.5  # a map of a protostar with n maps has the weight n^-x

    @property
    def regressor_label(self) -> str:
        """The name of the regressor in the tables."""
        if isinstance(self.regressor, str):
            return self.regressor
        if isinstance(self.regressor, tuple):
            return " + ".join(self.regressor)
        return type(self.regressor).__name__

    def compute(
        self, store: FeatureStore, images: np.ndarray, channels: tuple[str, ...]
    ) -> tuple[np.ndarray, list[int] | None]:
        """Return the features (n_maps, n) of maps, and the number of each kind; `None`: not scaled."""
        encoded, features = None, self.features
        if features.pooling and self.source:
            options = {"zoom": features.zoom, "symmetrize": features.symmetrize}
            encoded = store.encode(self.source, images, features.pooling, **options)
        return features.compute(images, channels, encoded=encoded)


def default_method(channels: tuple[str, ...]) -> Method:
    """Return the default of the package as a method."""
    features, regressor, exponent = default_options(channels)
    return Method("default", features, regressor, "fractal", UNTRAINED, exponent)


def list_methods(store: FeatureStore, channels: tuple[str, ...]) -> list[Method]:
    """List the methods, the default first; its regressor serves all features."""
    default = default_method(channels)
    own: dict[str, Any] = {
        "regressor": default.regressor,
        "weight_exponent": default.weight_exponent,
    }
    methods = [
        default,
        replace(default, name=UNTRAINED, source="random", twin=None),
        Method(HAND_MADE, HAND_MADE_FEATURES, **own),
        Method("contrasts", FeatureSet(pooling=None, contrasts=True), **own),
        Method("profiles", FeatureSet(pooling=None, profiles=True, contrasts=False), **own),
        Method("virial mass, best radius", ClassicalMasses("virial"), BestRadius()),
        Method("aperture gas mass, best radius", ClassicalMasses("aperture"), BestRadius()),
        Method("nested virial masses", ClassicalMasses("virial"), LinearRegression()),
        Method("mean mass", HAND_MADE_FEATURES, DummyRegressor()),
    ]
    plain = {"zoom": 1.0, "symmetrize": False, "contrasts": False}
    tokens = {"pooling": _TOKENS, "zoom": _ZOOM, "contrasts": False}
    structure = {"pooling": ("structure",), "zoom": _ZOOM, "symmetrize": False, "contrasts": False}
    kinds = {
        "tokens, symmetrized": FeatureSet(**tokens),
        "tokens, symmetrized, + contrasts + profiles": FeatureSet(
            pooling=_TOKENS, zoom=_ZOOM, profiles=True, contrasts=True
        ),
        "tokens, symmetrized, neighbors": FeatureSet(**tokens),
        "class token, symmetrized": FeatureSet(**tokens | {"pooling": ("class",)}),
        "tokens": FeatureSet(**tokens | {"symmetrize": False}),
        "structure + profiles": FeatureSet(**structure, profiles=True),
        "structure": FeatureSet(**structure),
        "class token, neighbors (of the paper)": FeatureSet(pooling=("class",), **plain),
    }
    heads = store.encoder("fractal").heads
    for kind, features in kinds.items():
        # Neighbors take no weights.
        how = {"regressor": "knn", "weight_exponent": 0} if "neighbors" in kind else own
        if "structure" not in features.pooling:
            twin = Method(f"random {kind}", features, source="random", **how)
            own_name = f"fractal {kind}"
            methods += [Method(own_name, features, source="fractal", twin=twin.name, **how), twin]
        elif "structure" in heads:  # an untrained network has none
            methods.append(Method(f"fractal {kind}", features, source="fractal", **how))
    return methods
