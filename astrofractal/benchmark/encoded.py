"""Pooled tokens of maps: each map is encoded once, in this run or in an earlier one."""

import hashlib
import re
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from astrofractal._utils.annotations import PathLike, ProgressBar
from astrofractal._utils.atomic import atomic_path
from astrofractal._utils.progress import progress
from astrofractal.encoder import FractalEncoder

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
        self._encoders = {name: cache(make) for name, make in encoders.items()}
        self._tables: dict[tuple[str, str, float, bool], dict[str, np.ndarray]] = {}
        self.folder = None if folder is None else Path(folder)
        self.progress_bar = progress_bar

    def encoder(self, source: str) -> Any:
        """Return the encoder of a name."""
        return self._encoders[source]()

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
            names = dict.fromkeys((*pooling, *_POOLINGS))
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


def encoder_makers(weights="bundled"):
    """Return functions that make the encoder under test and the same one untrained, by name."""
    names = {"fractal": weights, "random": "random"}
    return {name: partial(FractalEncoder, weights=source) for name, source in names.items()}
