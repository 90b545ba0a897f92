"""Maps of gas without labels as images to pretrain on: cut out once, and kept with the run."""

from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits

from astrofractal._utils.atomic import atomic_path
from astrofractal.encoder import ChannelNormalization
from astrofractal.fractals.hidden_masses import PIXEL_SCALE
from astrofractal.gasmap import GasMap
from astrofractal.mapset import MapSet

__all__ = ["CutMaps", "cut_maps"]

# Subtracted before the images are rounded to 16 bits, which hold numbers near zero best.
_OFFSET = np.array(ChannelNormalization().center, np.float32)[:, None, None]

#: Cutouts of a map lie half their width apart; those with less gas than this share are left out.
_LEAST_SHARE = 0.5


class CutMaps:
    """
    Images that `cut_maps` wrote, in the manner of a torch map-style dataset.

    Parameters
    ----------
    path : path-like
        The file.
    """

    def __init__(self, path):
        self.path = Path(path)
        self._n_images = len(self._images())

    def _images(self):
        # Mapped anew each time, so that a dataset can be pickled and keeps no files open.
        return np.load(self.path, mmap_mode="r", allow_pickle=False)

    def __len__(self):
        return self._n_images

    def __getitem__(self, index):
        return self._images()[index].astype(np.float32) + _OFFSET


def cut_maps(path, folder, recipe):
    """
    Write all images that a folder of maps has to a file.

    Masses of map sets are not looked at.

    Parameters
    ----------
    path : path-like
        The file to write.

    folder : path-like
        Folder of FITS files, or one file: map sets, or maps that `~astrofractal.GasMap.read` can read
        and whose header tells WCS and ``DISTANCE``.

    recipe : `~astrofractal.pretraining.Recipe`
        Gives ``source_size``, ``center`` and the seed of the order.

    Returns
    -------
    n_images : int
        The number of images.

    Raises
    ------
    FileNotFoundError
        If there are no FITS files.

    ValueError
        If a file has no scale or another one than the model's, or nothing can be cut out of all of them.
    """
    folder = Path(folder)
    files = [folder]
    if folder.is_dir():
        files = sorted(p for p in folder.iterdir() if p.name.endswith((".fits", ".fits.gz")))
    if not files:
        msg = f"maps: no .fits files in the folder {str(folder)!r}"
        raise FileNotFoundError(msg)
    images = []
    for file in files:
        with fits.open(file) as hdus:
            is_set = "SINKS" in hdus
        found = _of_set(file, recipe) if is_set else _of_map(file, recipe)
        images.append((found - _OFFSET).astype("<f2"))
    images = np.concatenate(images)
    if not len(images):
        msg = f"maps: nothing to cut out of {str(folder)!r}: less than half of every place has data"
        raise ValueError(msg)
    # Neighbors in a file are often of one protostar: a batch mixes them.
    random = np.random.Generator(np.random.Philox(key=recipe.seed, counter=[0, 0, 5, 0]))
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, images[random.permutation(len(images))], allow_pickle=False)
    return len(images)


def _of_set(file, recipe):
    """The middle of each map of a set."""
    maps = MapSet.read(file)
    size, shape = recipe.source_size, maps.images.shape[2:]
    if min(shape) < size or not np.isclose(maps.pixel_scale.to_value(u.pc), PIXEL_SCALE, rtol=0.02):
        msg = (
            f"maps: the maps of {str(file)!r} must have at least {size} x {size} pixels of "
            f"{PIXEL_SCALE:.4g} pc (source_size of the recipe), got {shape[0]} x {shape[1]} of "
            f"{maps.pixel_scale:.4g}"
        )
        raise ValueError(msg)
    row, column = ((n - size) // 2 for n in shape)
    return maps.images[:, :, row : row + size, column : column + size]


def _of_map(file, recipe):
    """Cutouts all over a map, half their width apart."""
    gas = GasMap.read(file)
    if not gas.has_pixel_scale:
        msg = (
            f"maps: the map {str(file)!r} has no scale: write it with its distance, "
            "GasMap.read(file, distance=...).write(...)"
        )
        raise ValueError(msg)
    width = recipe.source_size * PIXEL_SCALE * u.pc
    step = (0.5 * width / gas.pixel_scale).to_value(u.one)
    y, x = (_places(n, step) for n in gas.shape)
    places = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    if recipe.center == "peak":
        places = _to_peaks(gas, places, step)
    cutouts = gas.cutouts(places, size=width, shape=(recipe.source_size,) * 2)
    kept = [cutout.to_array() for cutout in cutouts if cutout.masked_fraction <= 1 - _LEAST_SHARE]
    return np.array(kept, np.float32).reshape(-1, 3, *(recipe.source_size,) * 2)


def _places(n, step):
    """Pixels about ``step`` apart, as far from the edges as from each other where there is room."""
    count = max(1, round(n / step) - 1)
    return (np.arange(count) + 1) * n / (count + 1) - 0.5


def _to_peaks(gas, places, step):
    """Move each place to the highest column density less than half a step away; each peak once."""
    column = np.where(gas.mask, -np.inf, gas.column_density.value)
    peaks = set()
    for x, y in places:
        rows, columns = (
            slice(max(0, round(c - step / 2)), max(0, round(c + step / 2)) + 1) for c in (y, x)
        )
        part = column[rows, columns]
        row, col = np.unravel_index(part.argmax(), part.shape)
        if np.isfinite(part[row, col]):
            peaks.add((columns.start + col, rows.start + row))
    return np.array(sorted(peaks), float).reshape(-1, 2)
