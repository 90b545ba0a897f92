"""Pretraining runs: a folder each, with the resolved recipe, a checkpoint and a log."""

import json
import logging
import os
import shutil
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from timeit import repeat
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, TQDMProgressBar
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.utilities import rank_zero_only

from astrofractal._utils.annotations import PathLike
from astrofractal._utils.atomic import atomic_path, only_writer, remove_dead
from astrofractal._utils.progress import quiet_lightning, safe_workers
from astrofractal._utils.validation import positive_int
from astrofractal.encoder import create_backbone
from astrofractal.pretraining.images import Flames, cut_maps, flame_loader
from astrofractal.pretraining.lineage import (
    CHECKPOINT,
    RECIPE,
    check_fit,
    origin_of,
    read_checkpoint,
    read_run,
    take_over,
)
from astrofractal.pretraining.module import DINOv2
from astrofractal.pretraining.recipe import Recipe

log = logging.getLogger(__name__)

_MAPS, _METRICS = "maps.npy", "metrics.csv"


@dataclass
class RunFolder:
    """The folder of a run to start or to continue, in each process, of which the first one writes."""

    path: Path
    recipe: Recipe  # as it was resolved
    settings: dict  # precision, strategy, where images and networks come from
    is_new: bool  # whether the run is to start

    @classmethod
    def new(cls, path, recipe, *, maps, **settings):
        """Return the folder of a new run, whose ``settings`` may have paths."""
        if (maps is not None) != (recipe.images.source == "maps"):
            got = f"{maps and str(maps)!r} and source={recipe.images.source!r}"
            msg = f"maps must be a folder with the recipe's source='maps' or None with others, got {got}"
            raise ValueError(msg)
        run = cls(Path(path or f"runs/{recipe.name}"), recipe, settings, is_new=True)
        run.refuse_other()
        return run

    @classmethod
    def resumed(cls, path, overrides, **changes):
        """Return the folder of a run to continue; ``changes`` that are None leave its settings."""
        path, settings = Path(path), read_run(path)
        recipe = Recipe.of((before := settings.pop("recipe")).to_dict(), **overrides)
        old, new = before.images.source, recipe.images.source
        if new != old:
            msg = f"source must be {old!r} to continue, got {new!r}"
            raise ValueError(msg)
        sharded_now = changes["strategy"] == "fsdp" and settings.get("strategy") != "fsdp"
        if sharded_now and (path / CHECKPOINT).exists():
            msg = f"strategy must be the one that {str(path)!r} began with to continue, got 'fsdp'"
            raise ValueError(msg)
        settings |= {name: value for name, value in changes.items() if value is not None}
        return cls(path, recipe, settings, is_new=False)

    @property
    def checkpoint(self):
        """The checkpoint to continue from, or None."""
        path = self.path / CHECKPOINT
        return path if path.exists() and not self.is_new else None

    def refuse_other(self):
        """Refuse to write into the folder of another run."""
        if rank_zero_only.rank == 0 and self.is_new and (self.path / RECIPE).exists():
            msg = f"output: {str(self.path)!r} already has a run; continue it by resume="
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
        while self.recipe.images.source == "maps" and rank_zero_only.rank and not path.exists():
            time.sleep(0.1)  # until the first process has cut them out
        return Flames(self.recipe, self.settings.get("shards"), path)

    def begin(self, maps):
        """Clear away what failed starts have left, and write images and settings."""
        self.refuse_other()
        remove_dead(self.path, alone=True)
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
        names = [path.parent.name[4:] for path in self.path.glob(f"log-*/{_METRICS}")]
        last = max((int(name) for name in names if name.isdecimal()), default=-1)
        return CSVLogger(self.path, name="", version=f"log-{last + 1}")

    def remove_empty_logs(self):
        """Remove the logs of starts that failed before anything was logged."""
        for folder in self.path.glob("log-*"):
            if not (folder / _METRICS).exists():
                shutil.rmtree(folder, ignore_errors=True)


def fastest_precision(recipe):
    """Time one transformer block in 32-bit and in bfloat16 on this machine."""
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    block = create_backbone(recipe.model).blocks[0]
    tokens = torch.randn(recipe.batch_size, 32, block.norm1.normalized_shape[0])
    seconds = {}
    for precision in ("32-true", "bf16-mixed"):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision != "32-true"):
            times = repeat(lambda: block(tokens).float().sum().backward(), number=1, repeat=4)
        seconds[precision] = min(times[1:])
        log.info("one block takes %.1f ms in %s", 1e3 * seconds[precision], precision)
    return min(seconds, key=seconds.get)


class _Checkpoint(Callback):
    """Replace the run's checkpoint after every ``steps_per_checkpoint`` steps, or at the end."""

    def __init__(self, path):
        self.path = path

    def on_train_epoch_end(self, trainer, _module):
        # All processes come here; only the first one writes.
        own = atomic_path(self.path) if trainer.is_global_zero else nullcontext(self.path)
        with own as temporary:
            trainer.save_checkpoint(temporary)


def pretrain(
    recipe: PathLike | Recipe = "compact",
    *,
    output: PathLike | None = None,
    resume: PathLike | None = None,
    start_from: PathLike | None = None,
    shards: PathLike | None = None,
    maps: PathLike | None = None,
    precision: str | None = None,
    n_workers: int | None = None,
    devices: int | str | Sequence[int] = "auto",
    strategy: Any = "auto",
    n_nodes: int = 1,
    max_steps: int | None = None,
    callbacks: Sequence[Callback] = (),
    progress_bar: bool = False,
    **overrides: Any,
) -> Path:
    """
    Pretrain an encoder by DINOv2 on fractal flames, or continue on maps of your own.

    The run's folder contains ``recipe.json``, ``checkpoint.ckpt`` and the CSV logs.  An interrupted run
    continues from its checkpoint with ``resume`` and ends with the same weights.  Where something is
    wrong with the arguments, nothing is written.

    Parameters
    ----------
    recipe : str, path-like or `~astrofractal.pretraining.Recipe`, optional
        A recipe, its name or its file.
    output : path-like, optional
        The new run's folder; it must not contain a run.  Default ``runs/<recipe name>``.
    resume : path-like, optional
        The folder of a run to continue by its own recipe.
    start_from : path-like, optional
        The folder of a finished run, a ``.safetensors`` file of exported weights, or ``"bundled"``:
        networks that the new run starts from, with schedules of its own.  Weights have no projection
        heads: these start anew.
    shards : path-like, optional
        Flames rendered beforehand by ``astrofractal fractals`` with the settings of the recipe;
        otherwise they are rendered on the way.  A resumed run uses the same ones.
    maps : path-like, optional
        For recipes whose ``source`` is "maps", such as "adapt": a FITS file or a folder of them, map
        sets or maps of gas with WCS and ``DISTANCE``.  Images are cut out of them and kept in
        the run's folder.  No mass is read.
    precision : str, optional
        Lightning's precision; by default the faster one on this machine, measured at the start.
    n_workers : int, optional
        Processes that render flames for each process that trains; by default as many as the cores
        allow.
    devices, strategy, n_nodes, callbacks : optional
        Passed to `pytorch_lightning.Trainer`: several devices, several machines, ``"ddp"``.
        ``"fsdp"`` shards student, teacher and optimizer within each machine.
    max_steps : int, optional
        Stop after this step, without changing the schedules; ``resume`` continues.
    progress_bar : bool, optional
        Whether to show progress.
    **overrides : dict
        Values of the recipe to replace.

    Returns
    -------
    folder : `~pathlib.Path`
        The run's folder.

    Raises
    ------
    FileExistsError, FileNotFoundError
        If ``output`` already has a run, or ``resume`` or ``start_from`` has none.
    ValueError
        If a value is out of its range, or if ``start_from``, the checkpoint, ``shards`` or ``maps`` do
        not fit the recipe.
    BlockingIOError
        If another process trains in this folder.

    See Also
    --------
    export_run : writes the weights of a run for `~astrofractal.FractalEncoder`.
    Recipe : every number of a run.

    Examples
    --------
    One step on four small flames; a real run has 200,000 (``"compact"``):

    >>> import tempfile
    >>> from pathlib import Path
    >>> from astrofractal import FractalEncoder
    >>> from astrofractal.pretraining import export_run, pretrain
    >>> folder = Path(tempfile.mkdtemp())
    >>> run = pretrain(
    ...     "compact",
    ...     output=folder / "run",
    ...     n_images=4,
    ...     batch_size=4,
    ...     n_points=2000,
    ...     n_workers=0,
    ...     precision="32-true",
    ... )
    >>> weights = export_run(run, folder / "mine.safetensors")
    >>> FractalEncoder(weights=folder / "mine.safetensors").embed_dim
    192
    """
    if n_workers is not None:
        n_workers = positive_int("n_workers", n_workers, minimum=0)
    if max_steps is not None:
        max_steps = positive_int("max_steps", max_steps)
    settings = {
        "precision": precision,
        "strategy": strategy if isinstance(strategy, str) else type(strategy).__name__,
        "shards": _absolute(shards),
    }
    if resume is not None:
        for name, value in {"output": output, "start_from": start_from, "maps": maps}.items():
            if value is not None:
                msg = f"{name} is for a new run: a resumed one has its own, got {str(value)!r}"
                raise ValueError(msg)
        run = RunFolder.resumed(resume, overrides, **settings)
    else:
        if isinstance(recipe, Recipe):
            recipe = Recipe.of(recipe.to_dict(), **overrides)
        else:
            recipe = Recipe.load(recipe, **overrides)
        settings["start_from"] = "bundled" if start_from == "bundled" else _absolute(start_from)
        run = RunFolder.new(output, recipe, maps=maps, **settings)
    steps = min(max_steps or run.recipe.n_steps, run.recipe.n_steps)
    options = {"devices": devices, "strategy": _strategy(strategy), "num_nodes": n_nodes}
    options |= {"max_steps": steps, "callbacks": [*callbacks, _Checkpoint(run.path / CHECKPOINT)]}
    before = torch.get_float32_matmul_precision()
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            _train(run, maps, n_workers, progress_bar, options)
    finally:
        torch.set_float32_matmul_precision(before)
    return run.path


def _train(run, maps, n_workers, progress_bar, options):
    """Train until the last step."""
    recipe = run.recipe
    precision = run.settings["precision"] = run.settings["precision"] or fastest_precision(recipe)
    torch.set_float32_matmul_precision("high")
    torch.manual_seed(recipe.seed)
    module = DINOv2(recipe)
    run.fill(module)
    if recipe.images.source != "maps":
        run.images()
    if progress_bar:
        options["callbacks"].append(TQDMProgressBar(refresh_rate=1))
    with quiet_lightning():
        trainer = pl.Trainer(
            **options,
            max_epochs=-1,
            precision=precision,
            accelerator="auto",
            gradient_clip_val=3.0,
            logger=run.logger(),
            log_every_n_steps=min(10, recipe.steps_per_checkpoint),
            enable_progress_bar=bool(progress_bar),
            enable_model_summary=False,
            enable_checkpointing=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
        )
    # Each process of a distributed run comes here; only the first one writes.
    is_first = rank_zero_only.rank == 0
    with only_writer(run.path) if is_first else nullcontext():
        if is_first:
            run.begin(maps)
        loader = flame_loader(
            run.images(),
            lambda: trainer.global_step,
            n_workers=_spare_cores(trainer) if n_workers is None else n_workers,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
        )
        try:
            with quiet_lightning(), safe_workers():
                trainer.fit(module, loader, ckpt_path=run.checkpoint, weights_only=True)
        finally:
            if is_first:
                run.remove_empty_logs()


def _spare_cores(trainer):
    """Cores of this machine that one of its processes may have for rendering."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    own = count // trainer.num_devices
    return max(1, own // 6 if trainer.strategy.root_device.type == "cpu" else own - 1)


def _absolute(path):
    return None if path is None else str(Path(path).resolve())


def _strategy(strategy):
    """Lightning's FSDP of PyTorch 2 (also on CPUs) for ``"fsdp"``: one checkpoint file, as elsewhere."""
    if strategy != "fsdp":
        return strategy
    from pytorch_lightning.strategies import ModelParallelStrategy

    return ModelParallelStrategy(save_distributed_checkpoint=False)
