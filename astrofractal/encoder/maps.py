"""What the encoder accepts as maps."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TypeAlias

import numpy as np
from astropy.io import fits

from astrofractal._utils.reading import reading
from astrofractal.gasmap import GasMap
from astrofractal.mapset import MapSet

__all__ = ["Maps", "as_images"]

Maps: TypeAlias = "GasMap | MapSet | str | PathLike[str] | np.ndarray | list[GasMap]"


def as_images(maps, n_channels):
    """Return maps as an array of physical channels."""
    # returns (n_maps, n_channels, height, width)
    if isinstance(maps, (str, PathLike)):
        path = Path(maps)
        maps = MapSet.read(path) if _is_map_set(path) else GasMap.read(path)
    if isinstance(maps, MapSet):
        return maps.images[:, :n_channels]
    if isinstance(maps, np.ndarray):
        return maps
    if type(maps) is list and isinstance(maps[0] if maps else 0, GasMap):
        return np.stack([gas.to_array()[:n_channels] for gas in maps])
    if type(maps) is list:
        return np.asarray(maps)
    return GasMap.read(maps).to_array()[None, :n_channels]


def _is_map_set(path):
    if path.is_dir():
        return any(path.glob("*.fits*"))
    with reading(path, otherwise=OSError), open(path, "rb") as file:
        if file.read(6) != b"SIMPLE":
            return False
        file.seek(0)
        with fits.open(file) as hdus:
            return "LOG_NH2" in hdus
