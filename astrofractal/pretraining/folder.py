"""A run's folder before its first step: all is checked before anything is written."""

from __future__ import annotations

import json
import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.utilities import rank_zero_only

from astrofractal._utils.atomic import atomic_path, remove_leftovers
from astrofractal.pretraining.data import Flames
from astrofractal.pretraining.lineage import (
    CHECKPOINT,
    RECIPE,
    check_fit,
    origin_of,
    read_checkpoint,
    read_run,
    take_over,
)
from astrofractal.pretraining.maps import cut_maps
from astrofractal.pretraining.recipe import Recipe

__all__ = ["RunFolder"]

log = logging.getLogger(__name__)

_MAPS, _METRICS = "maps.npy", "metrics.csv"


@dataclass
class RunFolder:
    """
    The folder of a run that is about to start or to go on.

    Each process of a distributed run has one; only the first one compares it with what is there and
    writes.

    Parameters
    ----------
    path : `~pathlib.Path`
        The folder.

    recipe : `~astrofractal.pretraining.Recipe`
        The recipe as it was resolved.

    settings : dict
        What else is kept of the run: precision, strategy, where images and networks come from.

    is_new : bool
        Whether the run is to start.
    """

    path: Path
    recipe: Recipe
    settings: dict
    is_new: bool

    @classmethod
    def new(cls, path, recipe, *, maps, **settings):
        """Return the folder of a new run, whose ``settings`` may have paths."""
        if (maps is not None) != (recipe.source == "maps"):
            msg = (
                "maps must be a folder with the recipe's source='maps' (recipe 'adapt'), and None "
                f"with others, got {maps and str(maps)!r} and source={recipe.source!r}"
            )
            raise ValueError(msg)
        run = cls(Path(path or Path("runs") / recipe.name), recipe, settings, is_new=True)
        run.refuse_other()
        return run

    @classmethod
    def resumed(cls, path, overrides, **changes):
        """Return the folder of a run to go on with; ``changes`` that are None leave its settings."""
        path = Path(path)
        settings = read_run(path)
        values = settings.pop("recipe").to_dict()
        if overrides.get("source", values["source"]) != values["source"]:
            msg = f"source must be {values['source']!r} to go on, got {overrides['source']!r}"
            raise ValueError(msg)
        began, now = settings.get("strategy"), changes["strategy"]
        if now == "fsdp" and began != "fsdp" and (path / CHECKPOINT).exists():
            msg = f"strategy must be the one that {str(path)!r} began with to go on, got 'fsdp'"
            raise ValueError(msg)
        settings |= {name: value for name, value in changes.items() if value is not None}
        return cls(path, Recipe.of({**values, **overrides}), settings, is_new=False)

    @property
    def checkpoint(self):
        """The checkpoint to go on from, or None."""
        path = self.path / CHECKPOINT
        return path if path.exists() and not self.is_new else None

    @property
    def unfinished(self):
        """Where a checkpoint stands until it is complete."""
        return (self.path / CHECKPOINT).with_suffix(".tmp")

    def refuse_other(self):
        """Refuse to write into the folder of another run."""
        if rank_zero_only.rank == 0 and self.is_new and (self.path / RECIPE).exists():
            msg = f"output: {str(self.path)!r} already holds a run; go on with it by resume="
            raise FileExistsError(msg)

    def fill(self, module):
        """Give the networks that the run starts from to a module, or compare it with the checkpoint."""
        if self.checkpoint is not None:
            check_fit(module, read_checkpoint(self.path)[1], self.path)
            return
        start_from, origin = self.settings.get("start_from"), None
        if start_from is not None:
            origin, networks = origin_of(start_from)
            take_over(module, networks, start_from)
        if not self.is_new and origin != self.settings.get("origin"):
            msg = f"start_from: {start_from!r} is not what {str(self.path)!r} began with"
            raise ValueError(msg)
        self.settings["origin"] = origin

    def images(self):
        """Return the images to learn from, a dataset."""
        path = self.path / _MAPS
        while self.recipe.source == "maps" and rank_zero_only.rank and not path.exists():
            time.sleep(0.1)  # until the first process has cut them out
        return Flames(self.recipe, self.settings.get("shards"), path)

    def begin(self, maps):
        """Clear away what failed starts have left, and write images and settings."""
        self.refuse_other()
        remove_leftovers(self.path)
        self.unfinished.unlink(missing_ok=True)
        self.remove_empty_logs()
        if maps is not None:
            n_images = cut_maps(self.path / _MAPS, maps, self.recipe)
            log.info("%d images cut out of the maps in %s", n_images, maps)
        n_distinct = self.images().n_distinct
        values = {"recipe": self.recipe.to_dict(), **self.settings, "n_distinct": n_distinct}
        with atomic_path(self.path / RECIPE) as temporary:
            temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")

    def logger(self):
        """Return a logger to ``log-N/metrics.csv``, N counting the starts that logged something."""
        names = [path.parent.name for path in self.path.glob(f"log-*/{_METRICS}")]
        numbers = [int(name[4:]) for name in names if name[4:].isdecimal()]
        return CSVLogger(self.path, name="", version=f"log-{max(numbers, default=-1) + 1}")

    def remove_empty_logs(self):
        """Remove the logs of starts that failed before anything was logged."""
        for folder in self.path.glob("log-*"):
            if not (folder / _METRICS).exists():
                shutil.rmtree(folder, ignore_errors=True)
