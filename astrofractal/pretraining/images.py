"""The images of a run, in an order that is a function of the step, so that runs resume exactly."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from astropy import units as u
from torch.utils.data import DataLoader, Dataset, Sampler

from astrofractal._utils.atomic import atomic_path
from astrofractal.encoder import ChannelNormalization
from astrofractal.fractals import FlameStream, RandomFieldStream, ShardedFlames
from astrofractal.fractals.protostars import PIXEL_SCALE, add_cusps, add_protostars
from astrofractal.gasmap import GasMap
from astrofractal.mapset import MapSet
from astrofractal.mapset.files import is_map_set

# Subtracted before the images are rounded to 16 bits, which are most precise near zero.
_OFFSET = np.array(ChannelNormalization().center, np.float32)[:, None, None]

#: Cutouts of a map lie half their width apart; those with less gas than this share are left out.
_LEAST_SHARE = 0.5


class CutMaps:
    """Images that `cut_maps` wrote, as a map-style dataset of torch."""

    def __init__(self, path):
        self.path = Path(path)

    def _images(self):
        # Mapped anew each time, so that a dataset can be pickled and keeps no files open.
        return np.load(self.path, mmap_mode="r", allow_pickle=False)

    def __len__(self):
        return len(self._images())

    def __getitem__(self, index):
        return self._images()[index].astype(np.float32) + _OFFSET


def cut_maps(path, folder, recipe):
    """Write all images that a folder of maps has to a file."""
    folder = Path(folder)
    files = [folder]
    if folder.is_dir():
        files = sorted(p for p in folder.iterdir() if p.name.endswith((".fits", ".fits.gz")))
    if not files:
        msg = f"maps: no .fits files in the folder {str(folder)!r}"
        raise FileNotFoundError(msg)
    images = []
    for file in files:
        found = _of_set(file, recipe) if is_map_set(file) else _of_map(file, recipe)
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
    size, shape = recipe.images.source_size, maps.images.shape[2:]
    if min(shape) < size or not np.isclose(maps.pixel_scale.to_value(u.pc), PIXEL_SCALE, rtol=0.02):
        got = f"{shape[0]} x {shape[1]} of {maps.pixel_scale:.4g}"
        wanted = f"at least {size} x {size} pixels of {PIXEL_SCALE:.4g} pc"
        msg = f"maps: {str(file)!r} must have {wanted} each, got {got}"
        raise ValueError(msg)
    row, column = ((n - size) // 2 for n in shape)
    return maps.images[:, :, row : row + size, column : column + size]


def _of_map(file, recipe):
    """Cutouts all over a map, half their width apart."""
    gas = GasMap.read(file)
    if not gas.has_pixel_scale:
        msg = f"maps: the map {str(file)!r} has no scale: write it with its distance"
        raise ValueError(msg)
    width = recipe.images.source_size * PIXEL_SCALE * u.pc
    step = (0.5 * width / gas.pixel_scale).to_value(u.one)
    y, x = (_places(n, step) for n in gas.shape)
    places = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    if recipe.images.center == "peak":
        places = _to_peaks(gas, places, step)
    shape = (recipe.images.source_size,) * 2
    cutouts = gas.cutouts(places, size=width, shape=shape)
    kept = [cutout.to_array() for cutout in cutouts if cutout.masked_fraction <= 1 - _LEAST_SHARE]
    return np.array(kept, np.float32).reshape(-1, 3, *shape)


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


def recipe_normalization(recipe):
    """Return the normalization of a recipe's images; those that are not gas have no units."""
    if recipe.images.rendering == "gas":
        return ChannelNormalization()
    return ChannelNormalization(center=(0.5,) * 3, scale=(0.25,) * 3)


class Flames(Dataset):
    """Normalized flames of a recipe, each with log10 of the mass of its protostar, if any, else NaN."""

    def __init__(self, recipe, shards=None, maps=None):
        self.recipe, values = recipe, recipe.images
        self.normalization = recipe_normalization(recipe)
        n_distinct = values.n_distinct or recipe.n_images
        if shards is not None and values.source != "flames":
            msg = f"shards must be None with source={values.source!r}, got {str(shards)!r}"
            raise ValueError(msg)
        if values.source == "random_fields":
            self.source = RandomFieldStream(recipe.seed, values.source_size, n_images=n_distinct)
        elif values.source == "maps":
            self.source = CutMaps(maps)
        elif shards is None:
            names = ("n_points", "rendering", "coverage", "center")
            own = {name: getattr(values, name) for name in names}
            self.source = FlameStream(recipe.seed, values.source_size, **own, n_images=n_distinct)
        else:
            self.source = ShardedFlames(shards)
            self._check(shards)
        self.n_distinct = min(n_distinct, len(self.source))

    def _check(self, shards):
        """Reject flames that the recipe would not have rendered."""
        values = {"seed": self.recipe.seed, **asdict(self.recipe.images)}
        for own in ("rendering", "seed", "source_size", "n_points", "center", "coverage"):
            name = own.removeprefix("source_")
            found, wanted = self.source.manifest[name], values[own]
            if found != wanted:
                msg = f"shards: {name} of {shards} must be the recipe's {own}={wanted!r}, got {found!r}"
                raise ValueError(msg)

    def __len__(self):
        return self.recipe.n_images

    def __getitem__(self, index):
        index = int(index) % self.n_distinct
        image, log_mass = np.asarray(self.source[index]), np.nan
        seed, cusps = self.recipe.seed, self.recipe.images.cusp_probability
        if self.recipe.images.protostars:
            image, log_mass = add_protostars(image, seed, index)
        elif cusps:
            image = add_cusps(image, seed, index, probability=cusps)
        return self.normalization(image[None])[0], np.float32(log_mass)


class StepSampler(Sampler):
    """Indices of the images of the steps between two checkpoints."""

    def __init__(self, recipe, current_step, *, rank=0, world_size=1):
        if recipe.batch_size % world_size:
            size = recipe.batch_size
            msg = f"batch_size must be a multiple of the {world_size} processes, got {size}"
            raise ValueError(msg)
        self.recipe, self.current_step = recipe, current_step
        self.rank, self.world_size = rank, world_size

    def __len__(self):
        return self.recipe.steps_per_checkpoint * self.recipe.batch_size // self.world_size

    def __iter__(self):
        first = self.current_step() * self.recipe.batch_size
        last = first + self.recipe.steps_per_checkpoint * self.recipe.batch_size
        return iter(range(first + self.rank, last, self.world_size))


def flame_loader(flames, current_step, *, n_workers=1, rank=0, world_size=1):
    """Create the loader of one process."""
    recipe = flames.recipe
    if n_workers > 1:
        flames[0]  # compiles the renderer, which the workers then find in the cache
    return DataLoader(
        flames,
        batch_size=recipe.batch_size // world_size,
        sampler=StepSampler(recipe, current_step, rank=rank, world_size=world_size),
        num_workers=n_workers,
        persistent_workers=n_workers > 0,
        prefetch_factor=4 if n_workers else None,
        multiprocessing_context="spawn" if n_workers else None,
        drop_last=True,
        pin_memory=torch.cuda.is_available(),
    )
