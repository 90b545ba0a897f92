"""Weights on disk, with their card and normalization: one file in 16 bit, or a folder of timm."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import astrofractal
from astrofractal._utils.annotations import PathLike
from astrofractal._utils.atomic import atomic_path
from astrofractal._utils.reading import reading, reason_of, sha256
from astrofractal._utils.validation import positive_int

if TYPE_CHECKING:
    import torch

#: Linear maps that are kept with a backbone: the pooling that uses each, and the prefix of its tensors.
HEADS = {"structure": "structure_readout", "protostar_mass": "hidden_mass_head"}

#: The files of a folder of timm and the Hugging Face Hub.
CONFIG, WEIGHTS_FILE, HEADS_FILE = "config.json", "model.safetensors", "heads.safetensors"

#: The entries that each card has, and the types of those whose type matters.
_ENTRIES = {
    "architecture": str,
    "in_chans": int,
    "normalization": dict,
    "images_seen": int,
    "recipe": object,
    "seed": object,
}


@dataclass(frozen=True)
class ChannelNormalization:
    """
    Affine normalization of the physical channels, ``(value - center) / scale``.

    It is the same for every map, as amplitudes carry the mass.

    Examples
    --------
    >>> import numpy as np
    >>> from astrofractal.encoder import ChannelNormalization
    >>> images = np.full((1, 3, 8, 8), [[[22.5]], [[0.4]], [[0.4]]])
    >>> ChannelNormalization()(images)[0, :, 0, 0].tolist()
    [1.0, 1.0, 0.0]
    """

    #: One value per channel: log10 of N(H2) in cm-2, line-of-sight velocity and dispersion in km/s.
    center: tuple = (22.0, 0.0, 0.4)
    #: One positive value per channel, in the same units.
    scale: tuple = (0.5, 0.4, 0.25)

    def __post_init__(self):
        for name in ("center", "scale"):
            object.__setattr__(self, name, tuple(float(value) for value in getattr(self, name)))
        if len(self.center) != len(self.scale):
            msg = f"center and scale must have one length, got {self.center} and {self.scale}"
            raise ValueError(msg)
        if not all(value > 0 for value in self.scale):
            msg = f"scale must be positive, got {self.scale}"
            raise ValueError(msg)

    @property
    def n_channels(self) -> int:
        """The number of channels."""
        return len(self.center)

    def __call__(self, images):
        """Normalize a batch of maps; zero where there is no data."""
        # images (n_images, n_channels, height, width)
        images = np.asarray(images, dtype=np.float32)
        if images.ndim != 4 or images.shape[1] != self.n_channels:
            shape = f"(n_images, {self.n_channels}, height, width)"
            msg = f"images must have the shape {shape}, got {images.shape}"
            raise ValueError(msg)
        center, scale = np.array([self.center, self.scale], np.float32)[:, :, None, None]
        normalized = (images - center) / scale
        return np.where(np.isfinite(normalized), normalized, np.float32(0))

    def to_dict(self) -> dict[str, Any]:
        """Return the values as a dictionary for the weights' card."""
        return {"center": list(self.center), "scale": list(self.scale)}


def save_weights(
    state_dict: dict[str, torch.Tensor], path: PathLike, card: dict[str, Any]
) -> dict[str, Any]:
    """
    Write the weights of a backbone to a ``.safetensors`` file in 16 bit, and their card next to it.

    The card has ``architecture``, ``in_chans``, ``normalization``, ``images_seen``, ``recipe``,
    ``seed`` and whatever else describes the run.  It is returned with the package version and the
    file's SHA-256.
    """
    import torch
    from safetensors.torch import save_file

    path = Path(path)
    if path.suffix != ".safetensors":
        msg = f"path must end in '.safetensors', got {str(path)!r}"
        raise ValueError(msg)
    _check_card(card, path)
    tensors = {
        name: value.detach().cpu().to(torch.float16 if value.is_floating_point() else value.dtype)
        for name, value in state_dict.items()
    }
    with atomic_path(path) as temporary:
        save_file({name: value.contiguous() for name, value in tensors.items()}, temporary)
        temporary.chmod(0o644)  # safetensors makes files that only their owner can read
        card = {**card, "version": astrofractal.__version__, "sha256": sha256(temporary)}
        with atomic_path(path.with_suffix(".json")) as temporary_card:
            temporary_card.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return card


def read_card(path: PathLike) -> dict[str, Any]:
    """Return the entries of the card of a ``.safetensors`` file, which lies next to it."""
    path = Path(path)
    card_path = path.with_suffix(".json")
    for needed in (path, card_path):
        if not needed.is_file():
            msg = f"weights: no file {str(needed)!r}"
            raise FileNotFoundError(msg)
    with reading(card_path, "the card of weights"):
        card = json.loads(card_path.read_text(encoding="utf-8"))
    return _check_card(card, card_path, sha256=str)


def _check_card(card, path, **further):
    """Return a card from the file ``path`` that has all entries, of the right types."""
    entries = _ENTRIES | further
    missing = [key for key in entries if not isinstance(card, dict) or key not in card]
    if missing:
        msg = f"weights: the card {str(path)!r} lacks {', '.join(missing)}"
        raise ValueError(msg)
    with reading(path, "the card of weights"):
        positive_int("in_chans", card["in_chans"])
        for key, kind in entries.items():
            if not isinstance(card[key], kind):
                msg = f"{key} must be of type {kind.__name__}, got {card[key]!r}"
                raise ValueError(msg)
        ChannelNormalization(**card["normalization"])
    return card


def load_weights(path: PathLike) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return the 32-bit tensors of a ``.safetensors`` file, after checking them, and its card."""
    card = read_card(path)
    state = _load_tensors(path, card["sha256"])
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}, card


def _load_tensors(path, checksum):
    """Return the tensors of a file, whose SHA-256 must be the one that its card has, if any."""
    from safetensors.torch import load_file

    with reading(path):
        if checksum is not None and sha256(path) != checksum:
            msg = f"weights: {str(path)!r} is damaged or not the file of its card"
            raise ValueError(msg)
        return load_file(path)


def find_pretrained(source):
    """Return the local file or folder of weights, from the cache of the hub or the hub if need be."""
    path, name = Path(source), str(source)
    if path.exists():
        return path
    if isinstance(source, Path) or name.count("/") != 1 or path.suffix == ".safetensors":
        msg = f"source: no file or folder {name!r}, and it is not the owner/name of a model on the hub"
        raise FileNotFoundError(msg)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    wanted = [CONFIG, WEIGHTS_FILE, HEADS_FILE]
    try:
        folder = Path(snapshot_download(name, allow_patterns=wanted, local_files_only=True))
        if (folder / CONFIG).is_file() and (folder / WEIGHTS_FILE).is_file():
            return folder
    except LocalEntryNotFoundError:
        pass
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except Exception as error:  # the hub's, the network's and those of names that it does not allow
        why = reason_of(error)
        msg = f"source: no folder {name!r}, no model of that name on the hub ({why}): give the path"
        raise FileNotFoundError(msg) from error


def read_folder(folder):
    """Return the state, the card and the id of the weights in a folder of `export_timm`."""
    path = Path(folder) / CONFIG
    if not path.is_file():
        msg = f"weights: no {CONFIG} in the folder {str(folder)!r}: it must be one of export_timm"
        raise FileNotFoundError(msg)
    with reading(path):
        config = json.loads(path.read_text(encoding="utf-8"))
        own = config.get("astrofractal") if isinstance(config, dict) else None
        if not isinstance(own, dict) or not isinstance(own.get("card"), dict):
            msg = f"'{path}' has no card of astrofractal: use FractalEncoder('timm:NAME', weights=...)"
            raise ValueError(msg)
        checksums = dict(own.get("sha256", {}))
    card, state = _check_card(own["card"], path), {}
    for name in {WEIGHTS_FILE, *checksums} & {WEIGHTS_FILE, HEADS_FILE}:
        state |= _load_tensors(Path(folder) / name, checksums.get(name))
    return state, card, str(own.get("weights_id"))
