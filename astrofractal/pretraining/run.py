"""Pretraining runs: a folder each, with the resolved recipe, a checkpoint and a log."""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, TQDMProgressBar
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.utilities import rank_zero_only

from astrofractal._utils.atomic import atomic_path
from astrofractal._utils.lightning import quiet_lightning
from astrofractal.data import data_path
from astrofractal.encoder import ChannelNormalization, create_backbone, load_weights, save_weights
from astrofractal.encoder.encoder import BUNDLED_WEIGHTS
from astrofractal.encoder.weights import HEADS
from astrofractal.pretraining.data import flame_loader
from astrofractal.pretraining.maps import cut_maps
from astrofractal.pretraining.module import DINOv2
from astrofractal.pretraining.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from astrofractal._utils.annotations import PathLike


__all__ = ["export_run", "fastest_precision", "pretrain"]

log = logging.getLogger(__name__)

CHECKPOINT, RECIPE, MAPS = "checkpoint.ckpt", "recipe.json", "maps.npy"

#: What the names of the heads that are kept begin with in the module, by their pooling.
_HEADS = {"structure": "to_structure.", "hidden_mass": "to_mass."}


def fastest_precision(recipe, *, repeats=3):
    """
    Time one transformer block in 32-bit and in bfloat16 on this machine.

    CPUs with bfloat16 instructions train up to twice as fast with them; others emulate them, ten
    times slower.

    Parameters
    ----------
    recipe : `~astrofractal.pretraining.Recipe`
        Gives the model.

    repeats : int, optional
        Timed passes of each precision; the fastest counts.

    Returns
    -------
    precision : {"32-true", "bf16-mixed"}
        Lightning's name of the faster one.
    """
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    block = create_backbone(recipe.model).blocks[0]
    tokens = torch.randn(recipe.batch_size, 32, block.norm1.normalized_shape[0])
    seconds = {}
    for precision in ("32-true", "bf16-mixed"):
        times = []
        for _ in range(repeats + 1):
            start = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision != "32-true"):
                out = block(tokens)
            out.float().sum().backward()
            times.append(time.perf_counter() - start)
        seconds[precision] = min(times[1:])
    best = min(seconds, key=seconds.get)
    log.info(
        "one block takes %.1f ms in 32 bit and %.1f ms in bfloat16: %s",
        1e3 * seconds["32-true"],
        1e3 * seconds["bf16-mixed"],
        best,
    )
    return best


class _Checkpoint(Callback):
    """Replace the run's checkpoint after every ``steps_per_checkpoint`` steps, or at the end."""

    def __init__(self, folder):
        self.path = Path(folder) / CHECKPOINT

    def on_train_epoch_end(self, trainer, _module):
        temporary = self.path.with_suffix(".tmp")
        trainer.save_checkpoint(temporary)
        if trainer.is_global_zero:
            os.replace(temporary, self.path)


def _csv_logger(folder):
    """Log to ``folder/metrics-N.csv``, N counting the times that the run was started."""
    n_starts = len(list(Path(folder).glob("log-*")))
    return CSVLogger(folder, name="", version=f"log-{n_starts}")


def pretrain(
    recipe: PathLike | Recipe = "compact",
    *,
    output: PathLike | None = None,
    resume: PathLike | None = None,
    start_from: PathLike | None = None,
    shards: PathLike | None = None,
    maps: PathLike | None = None,
    precision: str | None = None,
    n_workers: int = 1,
    devices: int | str | Sequence[int] = "auto",
    strategy: Any = "auto",
    n_nodes: int = 1,
    max_steps: int | None = None,
    callbacks: Sequence[Callback] = (),
    progress_bar: bool = False,
    **overrides: Any,
) -> Path:
    """
    Pretrain an encoder by DINOv2 on fractal flames, or go on with it on maps of your own.

    The run's folder holds ``recipe.json``, ``checkpoint.ckpt`` and the CSV logs.  A run that was killed
    goes on from its checkpoint with ``resume`` and ends with the same weights as one that was not.

    Parameters
    ----------
    recipe : str or `~astrofractal.pretraining.Recipe`, optional
        ``"compact"``, ``"paper"``, a recipe or the path of its file.

    output : path-like, optional
        The new run's folder; it must not hold a run.  Default ``runs/<recipe name>``.

    resume : path-like, optional
        The folder of a run to go on with; ``recipe`` is then the run's own.

    start_from : path-like, optional
        The folder of a finished run, a ``.safetensors`` file of exported weights, or ``"bundled"``:
        networks that the new run starts from, with schedules of its own.  Weights have no projection
        heads: these start anew.

    shards : path-like, optional
        Flames rendered beforehand by ``astrofractal fractals``; otherwise they are rendered on the way.

    maps : path-like, optional
        For recipes whose ``source`` is "maps", such as "adapt": a FITS file or a folder of them, map
        sets or maps of gas with WCS and ``DISTANCE``.  Images are cut out of them and kept in
        the run's folder.  No mass is read.

    precision : str, optional
        Lightning's precision; by default the faster one on this machine, measured at the start.

    n_workers : int, optional
        Processes that render flames.

    devices, strategy, n_nodes : optional
        Passed to `pytorch_lightning.Trainer`: several devices, several machines, ``"ddp"``.
        ``"fsdp"`` shards student, teacher and optimizer within each machine.

    max_steps : int, optional
        Stop after this step, without changing the schedules; ``resume`` goes on.

    callbacks : sequence of `pytorch_lightning.Callback`, optional
        What else to do along the way.

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
    FileExistsError
        If ``output`` already holds a run.

    FileNotFoundError
        If ``resume`` or ``start_from`` holds none, or is no file.

    ValueError
        If both are given, the networks of ``start_from`` do not fit the recipe, or ``maps`` and the
        recipe's ``source`` do not go together.
    """
    if resume is not None and start_from is not None:
        msg = "start_from is for a new run: a resumed one has its networks already"
        raise ValueError(msg)
    if resume is not None and maps is not None:
        msg = "maps is for a new run: a resumed one has its images already"
        raise ValueError(msg)
    if resume is not None:
        folder = Path(resume)
        settings = _read_run(folder)
        recipe = Recipe(**{**settings["recipe"], **overrides})
        precision = precision or settings["precision"]
        origin = settings.get("origin")
        sharded = settings.get("strategy") == "fsdp"
        if strategy == "fsdp" and not sharded and (folder / CHECKPOINT).exists():
            msg = f"strategy must be the one that {str(folder)!r} began with to go on, got 'fsdp'"
            raise ValueError(msg)
    else:
        if not isinstance(recipe, Recipe):
            recipe = Recipe.load(recipe, **overrides)
        elif overrides:
            recipe = Recipe(**{**recipe.to_dict(), **overrides})
        folder = Path(output or Path("runs") / recipe.name)
        # Each process of a distributed run comes here; only the first one checks and writes.
        if (folder / RECIPE).exists() and rank_zero_only.rank == 0:
            msg = f"output: {str(folder)!r} already holds a run; go on with it by resume="
            raise FileExistsError(msg)
        if (maps is not None) != (recipe.source == "maps"):
            msg = (
                f"maps must be a folder with the recipe's source='maps' (recipe 'adapt'), and None with "
                f"others, got {maps and str(maps)!r} and source={recipe.source!r}"
            )
            raise ValueError(msg)
        precision = precision or fastest_precision(recipe)
        origin, networks = (None, None) if start_from is None else _origin(start_from)
    torch.set_float32_matmul_precision("high")
    if rank_zero_only.rank == 0:
        if maps is not None:
            n_images = cut_maps(folder / MAPS, maps, recipe)
            log.info("%d images cut out of the maps in %s", n_images, maps)
        with atomic_path(folder / RECIPE) as temporary:
            settings = {
                "recipe": recipe.to_dict(),
                "precision": precision,
                "strategy": strategy if isinstance(strategy, str) else type(strategy).__name__,
                "origin": origin,
            }
            temporary.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    torch.manual_seed(recipe.seed)
    module = DINOv2(recipe)
    if start_from is not None:
        _start_from(module, networks, start_from)
    callbacks = [*callbacks, _Checkpoint(folder)]
    if progress_bar:
        callbacks.append(TQDMProgressBar(refresh_rate=1))
    with quiet_lightning():
        trainer = pl.Trainer(
            max_steps=min(max_steps or recipe.n_steps, recipe.n_steps),
            max_epochs=-1,
            precision=precision,
            accelerator="auto",
            devices=devices,
            num_nodes=n_nodes,
            strategy=_strategy(strategy),
            gradient_clip_val=recipe.gradient_clip,
            logger=_csv_logger(folder),
            log_every_n_steps=min(10, recipe.steps_per_checkpoint),
            callbacks=callbacks,
            enable_progress_bar=bool(progress_bar),
            enable_model_summary=False,
            enable_checkpointing=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
        )
    loader = flame_loader(
        recipe,
        lambda: trainer.global_step,
        shards=shards,
        maps=folder / MAPS,
        n_workers=n_workers,
        rank=trainer.global_rank,
        world_size=trainer.world_size,
    )
    checkpoint = folder / CHECKPOINT
    with quiet_lightning():
        trainer.fit(
            module,
            loader,
            ckpt_path=checkpoint if resume is not None and checkpoint.exists() else None,
            weights_only=True,
        )
    return folder


def _strategy(strategy):
    """Lightning's FSDP of PyTorch 2 (also on CPUs) for ``"fsdp"``: one checkpoint file, as elsewhere."""
    if strategy != "fsdp":
        return strategy
    from pytorch_lightning.strategies import ModelParallelStrategy

    return ModelParallelStrategy(save_distributed_checkpoint=False)


def _read_run(folder):
    path = Path(folder) / RECIPE
    if not path.is_file():
        msg = f"{str(folder)!r} holds no pretraining run (no {RECIPE})"
        raise FileNotFoundError(msg)
    return json.loads(path.read_text(encoding="utf-8"))


def _read_checkpoint(folder):
    path = Path(folder) / CHECKPOINT
    if not path.is_file():
        msg = f"{str(folder)!r} has no checkpoint yet"
        raise FileNotFoundError(msg)
    return torch.load(path, map_location="cpu", weights_only=True)


def _start_from(module, state, folder):
    """Take over all networks of the run in a folder; what that run did not have stays as drawn."""
    own = module.state_dict()
    strange = [
        name for name, value in state.items() if name in own and own[name].shape != value.shape
    ]
    is_run = folder != "bundled" and Path(folder).suffix != ".safetensors"
    left = () if is_run else tuple(_HEADS.values())
    state = {
        name: value for name, value in state.items() if name in own or not name.startswith(left)
    }
    strange = strange or sorted(set(state) - set(own))
    if strange:
        msg = f"start_from: {strange[0]} of {str(folder)!r} does not fit recipe {module.recipe.name!r}"
        raise ValueError(msg)
    module.load_state_dict(state, strict=False)


def _origin(start_from):
    """Lineage and networks of a run, or of weights, which have a backbone and heads alone."""
    if start_from == "bundled":
        start_from = data_path(BUNDLED_WEIGHTS)
    if Path(start_from).suffix != ".safetensors":
        return _trained(start_from)
    state, card = load_weights(start_from)
    networks = {}
    for name, value in state.items():
        first, _, rest = name.partition(".")
        head = next((head for head, prefix in HEADS.items() if prefix == first), None)
        if head is not None:
            networks[_HEADS[head] + rest] = value
        else:
            networks |= {f"{network}.backbone.{name}": value for network in ("student", "teacher")}
    lineage = ("recipe", "recipe_values", "steps", "images_seen", "origin")
    return {key: card.get(key) for key in lineage}, networks


def _trained(folder):
    """What a card says of a run, and its networks."""
    settings, checkpoint = _read_run(folder), _read_checkpoint(folder)
    steps = checkpoint["global_step"]
    recipe = Recipe(**settings["recipe"])
    origin = settings.get("origin")
    lineage = {
        "recipe": recipe.name,
        "recipe_values": recipe.to_dict(),
        "steps": steps,
        "images_seen": steps * recipe.batch_size + (origin["images_seen"] if origin else 0),
        "origin": origin,
    }
    return lineage, checkpoint["state_dict"]


def export_run(run: PathLike, path: PathLike) -> dict[str, Any]:
    """
    Write the teacher of a run as 16-bit weights with their card.

    Parameters
    ----------
    run : path-like
        The run's folder.

    path : path-like
        The ``.safetensors`` file to write.

    Returns
    -------
    card : dict
        The card, also written beside the weights.

    Raises
    ------
    FileNotFoundError
        If the folder holds no run or the run has no checkpoint yet.
    """
    lineage, networks = _trained(run)
    recipe = Recipe(**lineage["recipe_values"])
    prefix = "teacher.backbone."
    state = {
        name.removeprefix(prefix): value
        for name, value in networks.items()
        if name.startswith(prefix)
    }
    for head, own in _HEADS.items():
        state |= {
            f"{HEADS[head]}.{name.removeprefix(own)}": value
            for name, value in networks.items()
            if name.startswith(own)
        }
    card = {
        "architecture": recipe.model,
        "in_chans": 3,
        # Of the maps that the weights are for; palette images came with about the same spread.
        "normalization": ChannelNormalization().to_dict(),
        "heads": sorted(name for name, own in _HEADS.items() if f"{own}weight" in networks),
        "seed": recipe.seed,
        **lineage,
    }
    return save_weights(state, path, card)
