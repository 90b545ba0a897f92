"""The Vision Transformers of astrofractal, registered with timm."""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from timm.models import create_model, register_model
from timm.models.vision_transformer import VisionTransformer

from astrofractal._utils.reading import reading, reason_of

__all__ = [
    "BUNDLED_MODEL",
    "astrofractal_vit_large_patch16_336",
    "astrofractal_vit_tiny_patch8_64",
    "convert_state_dict",
    "create_backbone",
    "full_precision",
    "read_checkpoint",
    "suit_attention",
]

if TYPE_CHECKING:
    from typing import Any

    import torch

#: Name of the bundled architecture, as registered with timm.
BUNDLED_MODEL = "astrofractal_vit_tiny_patch8_64"

#: What each architecture gives timm's ``VisionTransformer``.
DEFAULTS = {
    "astrofractal_vit_tiny_patch8_64": {
        "img_size": 64,
        "patch_size": 8,
        "embed_dim": 192,
        "depth": 12,
        "num_heads": 3,
        "reg_tokens": 4,
        "num_classes": 0,
        "dynamic_img_size": True,
        "dynamic_img_pad": True,
    },
    "astrofractal_vit_large_patch16_336": {
        "img_size": 336,
        "patch_size": 16,
        "embed_dim": 1024,
        "depth": 24,
        "num_heads": 16,
        "init_values": 1e-5,
        "reg_tokens": 4,
        "num_classes": 0,
        "dynamic_img_size": True,
        "dynamic_img_pad": True,
    },
}


def _vision_transformer(pretrained, defaults, kwargs):
    if pretrained:
        msg = (
            "pretrained=True is not for timm.create_model here: the bundled weights are loaded "
            "and verified by astrofractal.FractalEncoder()"
        )
        raise ValueError(msg)
    # create_model passes these for models of a hub; they have no meaning for these ones.
    for name in ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"):
        kwargs.pop(name, None)
    return VisionTransformer(**{**defaults, **kwargs})


@register_model
def astrofractal_vit_tiny_patch8_64(pretrained=False, **kwargs):
    """
    Build the compact model: ViT-Ti with 8 px patches for 64 px maps, 5.4 million parameters.

    Parameters
    ----------
    pretrained : bool, optional
        Must be `False`; see `~astrofractal.encoder.FractalEncoder` for the weights.

    **kwargs : dict
        Passed to timm's ``VisionTransformer``.

    Returns
    -------
    model : timm.models.vision_transformer.VisionTransformer
        The model, with random weights, without a classifier.
    """
    return _vision_transformer(pretrained, DEFAULTS["astrofractal_vit_tiny_patch8_64"], kwargs)


@register_model
def astrofractal_vit_large_patch16_336(pretrained=False, **kwargs):
    """
    Build the published model: ViT-L with 16 px patches for 336 px images.

    Parameters
    ----------
    pretrained : bool, optional
        Must be `False`; no weights of this model are bundled.

    **kwargs : dict
        Passed to timm's ``VisionTransformer``.

    Returns
    -------
    model : timm.models.vision_transformer.VisionTransformer
        The model, with random weights, without a classifier.
    """
    return _vision_transformer(pretrained, DEFAULTS["astrofractal_vit_large_patch16_336"], kwargs)


def create_backbone(name: str, *, in_chans: int = 3, **kwargs: Any) -> torch.nn.Module:
    """
    Create a timm backbone without its classifier.

    Parameters
    ----------
    name : str
        A model name known to timm; a leading ``"timm:"`` is allowed.

    in_chans : int, optional
        The number of input channels.

    **kwargs : dict
        Passed to the model.

    Returns
    -------
    model : `torch.nn.Module`
        The backbone with random weights.

    Raises
    ------
    ValueError
        If timm has no model of that name.
    """
    import timm

    timm_name = name.removeprefix("timm:")
    if not timm.is_model(timm_name):
        close = timm.list_models(f"*{timm_name}*")[:5]
        hint = f"; close names: {', '.join(close)}" if close else ""
        msg = f"model must be the name of a timm model, got {name!r}{hint}"
        raise ValueError(msg)
    options = {"in_chans": in_chans, "num_classes": 0, **kwargs}
    if "vit" in timm_name and not timm_name.startswith("astrofractal"):
        try:
            return create_model(timm_name, dynamic_img_size=True, dynamic_img_pad=True, **options)
        except TypeError:  # a hybrid that only looks like a ViT by name
            pass
    return create_model(timm_name, **options)


def suit_attention(blocks, n_tokens):
    """
    Take the plain attention of timm for short sequences, for which training on CPUs is then faster.

    The backward pass of the fused kernel in half precision takes half of a step of 64 patches.

    Parameters
    ----------
    blocks : iterable of `timm.models.vision_transformer.Block`
        The blocks, changed in place.

    n_tokens : int
        Patches of an image.
    """
    for block in blocks:
        block.attn.fused_attn = block.attn.fused_attn and n_tokens > 144


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
    >>> from astrofractal.encoder.backbone import convert_state_dict
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


@contextmanager
def full_precision(device):
    """
    Compute in 32 bits while the block runs: neither in half precision nor in TF32.

    A protostar leaves contrasts of one per cent, which half precision does not resolve, nor TF32,
    ten bits that GPUs put in the place of 32-bit products and convolutions.

    Parameters
    ----------
    device : `torch.device`
        Where the block computes.
    """
    with torch.autocast(device.type, enabled=False):
        if device.type != "cuda":
            yield
            return
        before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before[0])
            torch.backends.cudnn.allow_tf32 = before[1]
