"""The methods that are compared: an encoder or none, features, a regressor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sklearn.linear_model import LinearRegression

from astrofractal.benchmark.classical import BestRadius, ClassicalMasses
from astrofractal.mass import FeatureSet, PublishedKNN
from astrofractal.mass.defaults import default_options
from astrofractal.mass.features import for_encoder

if TYPE_CHECKING:
    import numpy as np

    from astrofractal.benchmark.store import FeatureStore


__all__ = ["ALIKE", "FORMULAS", "OPPONENT", "Method", "list_methods"]

#: The method without a network that all others are compared with.
OPPONENT = "contrasts + profiles"

#: The same without a network, told by the regressor of the package's default.
ALIKE = f"{OPPONENT}, the default's regressor"

#: The features of these methods.
FORMULAS = FeatureSet(pooling=None, profiles="all", contrasts=True)

_BOTH = ("ridge", "svr")
_ZOOM = 4.0
_TOKENS = ("central", "spread")


@dataclass(frozen=True)
class Method:
    """
    A regressor on named features.

    Parameters
    ----------
    name : str
        What stands in the tables; no two methods share it.

    features : `~astrofractal.mass.FeatureSet` or `~astrofractal.benchmark.classical.ClassicalMasses`
        The features.

    regressor : object
        As `~astrofractal.mass.make_regressor` takes it.

    source : str, optional
        The name of the encoder, where ``features`` have poolings.

    twin : str, optional
        The method that differs in the encoder alone, or in that it has none.

    weight_exponent : float, optional
        A map of a protostar with n maps has the weight n to the minus this power.
    """

    name: str
    features: object
    regressor: object
    source: str | None = None
    twin: str | None = None
    weight_exponent: float = 0.5

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
        """
        Compute the features of maps.

        Parameters
        ----------
        store : `~astrofractal.benchmark.FeatureStore`
            The pooled tokens.

        images : 4D `~numpy.ndarray`
            The model's channels, the absent ones NaN.

        channels : tuple of str
            The channels to use.

        Returns
        -------
        X : 2D `~numpy.ndarray`
            One row per map.

        blocks : list of int or None
            The number of features of each kind; `None` if they are not to be scaled.
        """
        encoded, features = None, self.features
        if features.pooling:
            options = {"zoom": features.zoom, "symmetrize": features.symmetrize}
            encoded = store.encode(self.source, images, features.pooling, **options)
        return features.compute(images, channels, encoded=encoded)


def list_methods(store: FeatureStore, channels: tuple[str, ...]) -> list[Method]:
    """
    List the methods.

    Parameters
    ----------
    store : `~astrofractal.benchmark.FeatureStore`
        The encoders: what they do not have is left out.

    channels : tuple of str
        The channels, for the default of the package.

    Returns
    -------
    methods : list of `Method`
        The default first.
    """
    default, regressor, exponent = default_options(channels)
    default = for_encoder(default, store.encoder("fractal"))
    methods = [
        Method("default", default, regressor, "fractal", ALIKE, exponent),
        Method(OPPONENT, FORMULAS, _BOTH),
        Method(ALIKE, FORMULAS, regressor, weight_exponent=exponent),
        Method("contrasts", FeatureSet(pooling=None, contrasts=True), _BOTH),
        Method("profiles", FeatureSet(pooling=None, profiles="all", contrasts=False), _BOTH),
        Method("virial mass, best radius", ClassicalMasses("virial"), BestRadius()),
        Method("aperture gas mass, best radius", ClassicalMasses("aperture"), BestRadius()),
        Method("nested virial masses", ClassicalMasses("virial"), LinearRegression()),
        Method("mean mass", FORMULAS, "mean"),
    ]
    plain = {"zoom": 1.0, "symmetrize": False, "contrasts": False}
    tokens = {"pooling": _TOKENS, "zoom": _ZOOM, "contrasts": False}
    structure = {"pooling": ("structure",), "zoom": _ZOOM, "symmetrize": False, "contrasts": False}
    kinds = {
        "tokens, symmetrized": (FeatureSet(**tokens), _BOTH),
        "tokens, symmetrized, + contrasts + profiles": (
            FeatureSet(pooling=_TOKENS, zoom=_ZOOM, profiles="all", contrasts=True),
            _BOTH,
        ),
        "tokens, symmetrized, neighbors": (FeatureSet(**tokens), "knn"),
        "class token, symmetrized": (FeatureSet(**tokens | {"pooling": ("class",)}), "ridge"),
        "tokens": (FeatureSet(**tokens | {"symmetrize": False}), _BOTH),
        "readout + profiles": (FeatureSet(**structure, profiles="all"), _BOTH),
        "readout": (FeatureSet(**structure), _BOTH),
        "class token, neighbors (published head)": (
            FeatureSet(pooling=("class",), **plain),
            PublishedKNN(),
        ),
    }
    heads = store.encoder("fractal").heads
    for kind, (features, regressor) in kinds.items():
        if "structure" in features.pooling and "structure" not in heads:
            continue
        for source in ("fractal", "random"):
            fitted = source == "random" and "structure" in features.pooling
            encoder = "random, fitted readout" if fitted else source
            twin = None if source == "random" else f"random {kind}"
            methods.append(Method(f"{source} {kind}", features, regressor, encoder, twin))
    if store.has("natural"):
        features = FeatureSet(**tokens | {"pooling": ("mean",), "symmetrize": False})
        methods.append(Method("EfficientNet of natural images", features, "ridge", "natural"))
    return methods
