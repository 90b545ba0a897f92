"""Weights on disk: a safetensors file in 16 bit and its card."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import astrofractal
from astrofractal._utils.atomic import atomic_path
from astrofractal._utils.reading import reading
from astrofractal._utils.validation import positive_int
from astrofractal.encoder.normalization import ChannelNormalization

if TYPE_CHECKING:
    from typing import Any

    import torch

    from astrofractal._utils.annotations import PathLike


__all__ = ["HEADS", "check_card", "load_weights", "read_card", "save_weights", "sha256"]

#: Linear maps that are kept with a backbone: the pooling that uses each, and the prefix of its tensors.
HEADS = {"structure": "structure_readout", "protostar_mass": "hidden_mass_head"}

_REQUIRED = ("architecture", "in_chans", "normalization", "images_seen", "recipe", "seed", "sha256")


def sha256(path):
    """Return the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_weights(
    state_dict: dict[str, torch.Tensor], path: PathLike, card: dict[str, Any]
) -> dict[str, Any]:
    """
    Write weights in 16 bit with their card.

    Parameters
    ----------
    state_dict : dict of str to `torch.Tensor`
        The backbone's state.

    path : path-like
        The ``.safetensors`` file; the card has the same name with ``.json``.

    card : dict
        ``architecture``, ``in_chans``, ``normalization``, ``images_seen``, ``recipe``, ``seed`` and
        whatever else describes the run.  The package version and the file's SHA-256 are added.

    Returns
    -------
    card : dict
        The card as written.
    """
    import torch
    from safetensors.torch import save_file

    path = Path(path)
    if path.suffix != ".safetensors":
        msg = f"path must end in '.safetensors', got {str(path)!r}"
        raise ValueError(msg)
    tensors = {
        name: value.detach().cpu().to(torch.float16 if value.is_floating_point() else value.dtype)
        for name, value in state_dict.items()
    }
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary)
        temporary.chmod(0o644)  # safetensors makes files that only their owner can read
        card = {**card, "version": astrofractal.__version__, "sha256": sha256(temporary)}
        missing = [key for key in _REQUIRED if key not in card]
        if missing:
            msg = f"card must have {', '.join(missing)}"
            raise ValueError(msg)
        with atomic_path(path.with_suffix(".json")) as temporary_card:
            temporary_card.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return card


def read_card(path: PathLike) -> dict[str, Any]:
    """
    Read the card of a weights file.

    Parameters
    ----------
    path : path-like
        The ``.safetensors`` file.

    Returns
    -------
    card : dict
        The entries of the card.

    Raises
    ------
    FileNotFoundError
        If the weights or the card do not exist.

    ValueError
        If the card is not JSON or lacks an entry.
    """
    path = Path(path)
    card_path = path.with_suffix(".json")
    for needed in (path, card_path):
        if not needed.is_file():
            msg = f"weights: no file {str(needed)!r}"
            raise FileNotFoundError(msg)
    with reading(card_path, "the card of weights"):
        card = json.loads(card_path.read_text(encoding="utf-8"))
    return check_card(card, card_path, _REQUIRED)


def check_card(card, path, required=_REQUIRED[:-1]):
    """Return a card from the file ``path`` that has all entries, of the right types."""
    missing = [key for key in required if not isinstance(card, dict) or key not in card]
    if missing:
        msg = f"weights: the card {str(path)!r} lacks {', '.join(missing)}"
        raise ValueError(msg)
    with reading(path, "the card of weights"):
        kinds = {"architecture": str, "sha256": str, "normalization": dict, "images_seen": int}
        for key, kind in kinds.items():
            if not isinstance(card.get(key, kind()), kind):
                msg = f"{key} must be of type {kind.__name__}, got {card[key]!r}"
                raise ValueError(msg)
        positive_int("in_chans", card["in_chans"])
        ChannelNormalization(**card["normalization"])
    return card


def load_weights(path: PathLike) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """
    Load weights after checking them against their card.

    Parameters
    ----------
    path : path-like
        The ``.safetensors`` file.

    Returns
    -------
    state_dict : dict of str to `torch.Tensor`
        32-bit tensors.

    card : dict
        The card.

    Raises
    ------
    ValueError
        If the file's SHA-256 is not the card's.
    """
    from safetensors.torch import load_file

    card = read_card(path)
    found = sha256(path)
    if found != card["sha256"]:
        msg = (
            f"weights: {str(path)!r} is damaged or not the file of its card "
            f"(SHA-256 {found[:12]}..., the card has {card['sha256'][:12]}...)"
        )
        raise ValueError(msg)
    with reading(path):
        state = load_file(path)
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}, card
