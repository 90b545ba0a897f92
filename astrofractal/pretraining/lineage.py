"""Files of a run, and its networks as the start of another run or as weights."""

import json
from pathlib import Path
from typing import Any

import torch

from astrofractal._utils.annotations import PathLike
from astrofractal._utils.reading import reading
from astrofractal.data import data_path
from astrofractal.encoder import ChannelNormalization, load_weights, save_weights
from astrofractal.encoder.encoder import BUNDLED_WEIGHTS
from astrofractal.encoder.weights import HEADS
from astrofractal.pretraining.recipe import Recipe

CHECKPOINT, RECIPE = "checkpoint.ckpt", "recipe.json"

#: What the names of the heads that are kept begin with in the module, by their pooling.
_HEADS = {"structure": "to_structure.", "protostar_mass": "to_mass."}


def read_run(folder):
    """Return the settings of the run in a folder, with its `Recipe`."""
    path = Path(folder) / RECIPE
    if not path.is_file():
        msg = f"{str(folder)!r} has no pretraining run (no {RECIPE})"
        raise FileNotFoundError(msg)
    with reading(path, "the recipe of a run"):
        settings = json.loads(path.read_text(encoding="utf-8"))
        return {**settings, "recipe": Recipe.of(settings["recipe"])}


def read_checkpoint(folder):
    """Return steps and networks of the checkpoint of a run, without executing code."""
    path = Path(folder) / CHECKPOINT
    if not path.is_file():
        msg = f"{str(folder)!r} has no checkpoint yet"
        raise FileNotFoundError(msg)
    with reading(path, "the checkpoint of a run"):
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        return checkpoint["global_step"], checkpoint["state_dict"]


def check_fit(module, networks, folder):
    """Reject networks of other shapes than those of the checkpoint to resume from."""
    own = module.state_dict()
    for name in sorted(own.keys() | networks.keys()):
        new, old = (
            tuple(state[name].shape) if name in state else "absent" for state in (own, networks)
        )
        if new != old:
            msg = f"networks must stay as they are: {name} is {new} and {old} in {str(folder)!r}"
            raise ValueError(msg)


def take_over(module, state, folder):
    """Take over all networks of the run in a folder; what that run did not have stays as drawn."""
    own = module.state_dict()
    is_run = folder != "bundled" and Path(folder).suffix != ".safetensors"
    left = () if is_run else tuple(_HEADS.values())  # heads of weights that the recipe lacks
    state = {n: value for n, value in state.items() if n in own or not n.startswith(left)}
    strange = [n for n in state if n in own and own[n].shape != state[n].shape]
    strange += sorted(set(state) - set(own))
    if strange:
        msg = f"start_from: {strange[0]} of {str(folder)!r} does not fit recipe {module.recipe.name!r}"
        raise ValueError(msg)
    module.load_state_dict(state, strict=False)


def origin_of(start_from):
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
    """Return the entries of a card that describe a run, and its networks."""
    settings, (steps, networks) = read_run(folder), read_checkpoint(folder)
    recipe = settings["recipe"]
    origin = settings.get("origin")
    lineage = {
        "recipe": recipe.name,
        "recipe_values": recipe.to_dict(),
        "steps": steps,
        "images_seen": steps * recipe.batch_size + (origin["images_seen"] if origin else 0),
        "n_distinct": settings.get("n_distinct"),
        "origin": origin,
    }
    return lineage, networks


def export_run(run: PathLike, path: PathLike) -> dict[str, Any]:
    """Write the teacher of the run in a folder as ``.safetensors`` in 16 bit; return their card."""
    lineage, networks = _trained(run)
    recipe = Recipe.of(lineage["recipe_values"])
    kept = {"teacher.backbone.": ""} | {own: f"{HEADS[head]}." for head, own in _HEADS.items()}
    state = {
        prefix + name.removeprefix(own): value
        for own, prefix in kept.items()
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
