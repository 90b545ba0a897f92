"""What a survey is made of: files, maps and parts of large maps."""

from pathlib import Path

from astropy.io import fits
from astropy.nddata import NDData

from astrofractal.gasmap import GasMap
from astrofractal.surveys.lazymap import LazyMap

__all__ = ["is_lazy", "is_small", "named_maps", "open_map"]

#: Files below this size (bytes) take little time: cutouts around protostars.
_SMALL_FILE = 2**20


def is_lazy(item):
    """Whether a map is to be read part by part: a LazyMap, Zarr, or an NDData around Dask."""
    if isinstance(item, LazyMap):
        return True
    if isinstance(item, (str, Path)):
        return Path(item).suffix == ".zarr"
    data = item.data if isinstance(item, NDData) else item
    return hasattr(data, "dask")


def is_small(item):
    """Whether a map is a small file."""
    return (
        isinstance(item, (str, Path))
        and Path(item).is_file()
        and Path(item).stat().st_size < _SMALL_FILE
    )


def open_map(item, *, distance=None):
    """Return a `GasMap` or a `LazyMap`."""
    if isinstance(item, LazyMap):
        return item
    if is_lazy(item):
        if isinstance(item, (str, Path)):
            return LazyMap.open_zarr(item, distance=distance)
        return LazyMap(item, distance=distance)
    return GasMap.read(item, distance=distance)


def named_maps(maps):
    """
    Give each map of a survey a name of its own.

    Parameters
    ----------
    maps : map, path of a folder, or iterable of maps
        Files are named by what follows their common folder, without the suffix.

    Returns
    -------
    named : dict
        Name to map.

    Raises
    ------
    ValueError
        If there is no map.
    """
    if isinstance(maps, (str, Path)) and Path(maps).is_dir() and not is_lazy(maps):
        folder = Path(maps)
        maps = sorted(
            p for p in folder.iterdir() if p.name.endswith((".fits", ".fits.gz", ".zarr"))
        )
        if not maps:
            msg = f"folder {str(folder)!r} has no FITS file and no Zarr map"
            raise ValueError(msg)
    elif is_lazy(maps) or (
        isinstance(maps, (str, Path, GasMap, NDData, fits.HDUList)) or not hasattr(maps, "__iter__")
    ):
        maps = [maps]
    maps = list(maps)
    if not maps:
        msg = "maps must hold at least one map, got none"
        raise ValueError(msg)
    named = {}
    for number, item in enumerate(maps):
        if isinstance(item, (str, Path)):
            name = Path(item).name.removesuffix(".gz").removesuffix(".fits").removesuffix(".zarr")
        else:
            name = getattr(item, "name", None) or f"map{number:05d}"
        unique, copies = name, 1
        while unique in named:
            copies += 1
            unique = f"{name}_{copies}"
        named[unique] = item
    return named
