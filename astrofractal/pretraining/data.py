"""The order of the flames in a run: a function of the step, so that a resumed run goes on exactly."""

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from astrofractal.encoder import ChannelNormalization
from astrofractal.fractals import FlameStream, RandomFieldStream
from astrofractal.fractals.cusps import add_cusps
from astrofractal.fractals.hidden_masses import add_hidden_masses
from astrofractal.pretraining.maps import CutMaps

__all__ = ["Flames", "StepSampler", "flame_loader"]

#: Normalization of palette images in [0, 1], which have no physical units.
PALETTE_NORMALIZATION = ChannelNormalization(center=(0.5,) * 3, scale=(0.25,) * 3)

#: Settings of shards, and the values of the recipe that they must equal.
_SHARED = {
    "rendering": "rendering",
    "seed": "seed",
    "size": "source_size",
    "n_points": "n_points",
    "center": "center",
    "coverage": "coverage",
}


def recipe_normalization(recipe):
    """Return the normalization of a recipe's images."""
    return ChannelNormalization() if recipe.rendering == "gas" else PALETTE_NORMALIZATION


class Flames(Dataset):
    """
    Normalized flames of a recipe, each with log10 of the mass hidden in its center (NaN where there is
    none).

    Parameters
    ----------
    recipe : `~astrofractal.pretraining.Recipe`
        Gives the stream's seed and settings.

    shards : path-like, optional
        Folder of images rendered beforehand by ``astrofractal fractals``.

    maps : path-like, optional
        File of `~astrofractal.pretraining.maps.cut_maps`, for recipes whose ``source`` is "maps".
    """

    def __init__(self, recipe, shards=None, maps=None):
        self.recipe = recipe
        self.normalization = recipe_normalization(recipe)
        n_distinct = recipe.n_distinct or recipe.n_images
        if shards is not None and recipe.source != "flames":
            msg = f"shards must be None with source={recipe.source!r}, got {str(shards)!r}"
            raise ValueError(msg)
        if recipe.source == "random_fields":
            self.source = RandomFieldStream(recipe.seed, recipe.source_size, n_images=n_distinct)
        elif recipe.source == "maps":
            self.source = CutMaps(maps)
        elif shards is None:
            self.source = FlameStream(
                recipe.seed,
                recipe.source_size,
                recipe.n_points,
                rendering=recipe.rendering,
                coverage=recipe.coverage,
                center=recipe.center,
                n_images=n_distinct,
            )
        else:
            from astrofractal.fractals import ShardedFlames

            self.source = ShardedFlames(shards)
            self._check(shards)
        self.n_distinct = min(n_distinct, len(self.source))

    def _check(self, shards):
        """Refuse flames that the recipe would not have rendered."""
        for name, own in _SHARED.items():
            wanted, found = getattr(self.recipe, own), self.source.manifest[name]
            if found != wanted:
                msg = (
                    f"shards: {name} of {str(shards)!r} must be the recipe's {own}={wanted!r}, "
                    f"got {found!r}"
                )
                raise ValueError(msg)

    def __len__(self):
        return self.recipe.n_images

    def __getitem__(self, index):
        index = int(index) % self.n_distinct
        image, log_mass = np.asarray(self.source[index]), np.nan
        if self.recipe.hidden_masses:
            image, log_mass = add_hidden_masses(image, self.recipe.seed, index)
        elif self.recipe.cusp_probability:
            image = add_cusps(
                image, self.recipe.seed, index, probability=self.recipe.cusp_probability
            )
        return self.normalization(image[None])[0], np.float32(log_mass)


class StepSampler(Sampler):
    """
    Indices of the images of the steps between two checkpoints.

    Parameters
    ----------
    recipe : `~astrofractal.pretraining.Recipe`
        Gives ``batch_size`` and ``steps_per_checkpoint``.

    current_step : callable
        Returns the optimizer step that comes next; asked whenever an iteration starts.

    rank, world_size : int, optional
        This process and the number of processes; process ``r`` takes the images ``r, r + n, ...`` of
        every global batch.
    """

    def __init__(self, recipe, current_step, *, rank=0, world_size=1):
        if recipe.batch_size % world_size:
            msg = (
                f"batch_size must be a multiple of the {world_size} processes, "
                f"got {recipe.batch_size}"
            )
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
    """
    Create the loader of one process.

    Parameters
    ----------
    flames : `Flames`
        The images.

    current_step : callable
        Returns the optimizer step that comes next.

    n_workers : int, optional
        Processes that render flames beside the training.

    rank, world_size : int, optional
        This process and the number of processes.

    Returns
    -------
    loader : `torch.utils.data.DataLoader`
        Batches of this process's share of the global batch.
    """
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
