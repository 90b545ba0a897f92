"""Checkpoints of other projects: read without executing code, brought into timm's names."""

import re
from pathlib import Path

from astrofractal._utils.reading import reading, reason_of

__all__ = ["convert_state_dict", "read_checkpoint"]

# Where trainers put the weights inside a checkpoint, the best first.
_CONTAINERS = ("teacher", "state_dict", "model", "model_state_dict", "student")
# The first layer of a backbone, by which its prefix is found: timm and DINOv2, torchvision.
_FIRST_LAYERS = ("patch_embed.proj.weight", "conv_proj.weight", "stem.0.weight", "conv1.weight")
# Wrappers that are not part of a backbone.
_NOT_WEIGHTS = re.compile(r"^(mask_token|heads?\.|dino_head\.|ibot_head\.)")

_DINOV2 = (
    (re.compile(r"^blocks\.\d+\.(\d+)\."), r"blocks.\1."),  # chunks of blocks, for FSDP
    (re.compile(r"\.mlp\.w12\."), ".mlp.fc1."),  # SwiGLU
    (re.compile(r"\.mlp\.w3\."), ".mlp.fc2."),
)
_TORCHVISION = (
    (re.compile(r"^class_token$"), "cls_token"),
    (re.compile(r"^conv_proj\."), "patch_embed.proj."),
    (re.compile(r"^encoder\.pos_embedding$"), "pos_embed"),
    (re.compile(r"^encoder\.ln\."), "norm."),
    (re.compile(r"^encoder\.layers\.encoder_layer_(\d+)\."), r"blocks.\1."),
    (re.compile(r"\.ln_([12])\."), r".norm\1."),
    (re.compile(r"\.self_attention\.in_proj_"), ".attn.qkv."),
    (re.compile(r"\.self_attention\.out_proj\."), ".attn.proj."),
    (re.compile(r"\.mlp\.(?:0|linear_1)\."), ".mlp.fc1."),
    (re.compile(r"\.mlp\.(?:3|linear_2)\."), ".mlp.fc2."),
)


def read_checkpoint(path):
    """
    Read a checkpoint without a card.

    Parameters
    ----------
    path : path-like
        A ``.safetensors`` file, or a checkpoint of PyTorch (``.pt``, ``.pth``, ``.ckpt``, ``.bin``)
        that holds tensors and plain values alone.

    Returns
    -------
    state : dict of str to `torch.Tensor`
        The backbone's state in timm's names, see `convert_state_dict`.

    Raises
    ------
    ValueError
        If the file is not a checkpoint, or would need code to be executed.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        with reading(path):
            return convert_state_dict(load_file(path))
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler meets whatever the file says
        msg = (
            f"weights: {str(path)!r} is not a checkpoint that can be read without executing code; "
            f"save its state dict alone as .safetensors ({reason_of(error)})"
        )
        raise ValueError(msg) from error
    with reading(path):
        return convert_state_dict(state)


def convert_state_dict(state):
    """
    Bring the weights of a vision backbone into timm's names.

    Understood are: timm's own layout; lightly's modules, which wrap a timm or torchvision Vision
    Transformer (``teacher_backbone.vit.blocks...``, ``backbone.encoder.layers...``); the original
    DINOv2 layout, released or from training (``teacher`` with ``backbone.`` keys, blocks in chunks,
    SwiGLU, register tokens); and any of these inside the dictionaries of trainers
    (``state_dict``, ``model``, ``module.``).  Of a teacher and a student the teacher is taken.

    Parameters
    ----------
    state : dict
        A state dict, or a checkpoint that contains one.

    Returns
    -------
    state : dict of str to `torch.Tensor`
        The backbone's weights in timm's names; projection heads and mask tokens are left out.

    Raises
    ------
    ValueError
        If no vision backbone is found in it.

    Examples
    --------
    >>> import torch
    >>> from astrofractal.encoder.checkpoints import convert_state_dict
    >>> state = {
    ...     "teacher": {
    ...         "backbone.patch_embed.proj.weight": torch.zeros(8, 3, 4, 4),
    ...         "backbone.blocks.0.3.norm1.weight": torch.ones(8),
    ...         "dino_head.mlp.0.weight": torch.ones(2, 2),
    ...     }
    ... }
    >>> sorted(convert_state_dict(state))
    ['blocks.3.norm1.weight', 'patch_embed.proj.weight']
    """
    tensors = _tensors(state)
    prefix = _prefix(tensors)
    backbone = {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
    rules = _TORCHVISION if "conv_proj.weight" in backbone else _DINOV2
    renamed = {}
    for name, value in backbone.items():
        if _NOT_WEIGHTS.match(name):
            continue
        new_name = name
        for pattern, replacement in rules:
            new_name = pattern.sub(replacement, new_name)
        renamed[new_name] = value
    return _registers(renamed)


def _tensors(state):
    """Return the flat dictionary of tensors inside a checkpoint."""
    import torch

    if not isinstance(state, dict):
        msg = f"weights: a checkpoint must be a dictionary, got {type(state).__name__}"
        raise ValueError(msg)
    tensors = {k: v for k, v in state.items() if isinstance(v, torch.Tensor)}
    if tensors:
        return tensors
    for container in _CONTAINERS:
        if isinstance(state.get(container), dict):
            return _tensors(state[container])
    msg = f"weights: found no tensors in a checkpoint with the entries {sorted(map(str, state))}"
    raise ValueError(msg)


def _prefix(tensors):
    """Return what stands before the names of the backbone's weights."""
    prefixes = {
        name.removesuffix(first)
        for name in tensors
        for first in _FIRST_LAYERS
        if name == first or name.endswith("." + first)
    }
    if not prefixes:
        shown = ", ".join(sorted(tensors)[:3])
        msg = f"weights: found no vision backbone among the tensors {shown}, ..."
        raise ValueError(msg)
    return min(prefixes, key=lambda p: ("teacher" not in p and "ema" not in p, len(p), p))


def _registers(state):
    """Bring DINOv2's register tokens to timm's form, where they and the class have no position."""
    if "register_tokens" in state and "pos_embed" in state:
        state["reg_token"] = state.pop("register_tokens")
        state["cls_token"] = state["cls_token"] + state["pos_embed"][:, :1]
        state["pos_embed"] = state["pos_embed"][:, 1:]
    return state
