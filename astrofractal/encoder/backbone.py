"""The Vision Transformers of astrofractal, registered with timm."""

import re
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import create_model, register_model
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn

from astrofractal._utils.annotations import PathLike
from astrofractal._utils.reading import reading, reason_of

#: Name of the bundled architecture, as registered with timm.
BUNDLED_MODEL = "astrofractal_vit_tiny_patch8_64"

_OPTIONS = {"reg_tokens": 4, "num_classes": 0, "dynamic_img_size": True, "dynamic_img_pad": True}

#: What each architecture gives timm's ``VisionTransformer``.
DEFAULTS = {
    "astrofractal_vit_tiny_patch8_64": {
        "img_size": 64,
        "patch_size": 8,
        "embed_dim": 192,
        "depth": 12,
        "num_heads": 3,
        **_OPTIONS,
    },
    "astrofractal_vit_large_patch16_336": {
        "img_size": 336,
        "patch_size": 16,
        "embed_dim": 1024,
        "depth": 24,
        "num_heads": 16,
        "init_values": 1e-5,
        **_OPTIONS,
    },
}


@register_model
def astrofractal_vit_tiny_patch8_64(**options):
    """Build the compact model: ViT-Ti with 8 px patches for 64 px maps, 5.4 million parameters."""
    return _vision_transformer("astrofractal_vit_tiny_patch8_64", **options)


@register_model
def astrofractal_vit_large_patch16_336(**options):
    """Build the published model: ViT-L with 16 px patches for 336 px images."""
    return _vision_transformer("astrofractal_vit_large_patch16_336", **options)


def _vision_transformer(name, *, pretrained=False, **options):
    if pretrained:
        msg = "pretrained must be False: astrofractal.FractalEncoder() loads the bundled weights"
        raise ValueError(msg)
    # create_model passes these for models of a hub; they have no meaning for these ones.
    for option in ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"):
        options.pop(option, None)
    return VisionTransformer(**DEFAULTS[name] | options)


def create_backbone(name: str, *, in_chans: int = 3, **kwargs: Any) -> torch.nn.Module:
    """
    Create a timm backbone without its classifier, with random weights.

    A leading ``"timm:"`` of the name is allowed; ``kwargs`` are passed to the model.
    """
    timm_name = name.removeprefix("timm:")
    if not timm.is_model(timm_name):
        close = timm.list_models(f"*{timm_name}*")[:5]
        hint = f"; close names: {', '.join(close)}" if close else ""
        msg = f"model must be the name of a timm model, got {name!r}{hint}"
        raise ValueError(msg)
    options = {"in_chans": in_chans, "num_classes": 0, **kwargs}
    try:
        return create_model(timm_name, dynamic_img_size=True, dynamic_img_pad=True, **options)
    except TypeError:  # not a Vision Transformer
        return create_model(timm_name, **options)


def suit_attention(blocks, n_tokens):
    """Use timm's plain attention for short sequences, with which training on CPUs is faster."""
    # In half precision the backward pass of the fused kernel takes half of a step of 64 patches.
    for block in blocks:
        block.attn.fused_attn = block.attn.fused_attn and n_tokens > 144


# Where trainers put the weights inside a checkpoint, the best first.
_CONTAINERS = ("teacher", "state_dict", "model", "model_state_dict", "student")

# The first layer of a Vision Transformer, by which its prefix is found: timm and DINOv2, torchvision.
_FIRST_LAYERS = ("patch_embed.proj.weight", "conv_proj.weight", "stem.0.weight", "conv1.weight")

# Wrappers that are not part of a backbone.
_NOT_WEIGHTS = re.compile(r"^(heads?\.|dino_head\.|ibot_head\.)")

# DINOv2 saves blocks in chunks while it trains, for FSDP; the other names are torchvision's.
_RULES = (
    (re.compile(r"^blocks\.\d+\.(\d+)\."), r"blocks.\1."),
    (re.compile(r"^class_token$"), "cls_token"),
    (re.compile(r"^conv_proj\."), "patch_embed.proj."),
    (re.compile(r"^encoder\.pos_embedding$"), "pos_embed"),
    (re.compile(r"^encoder\.ln\."), "norm."),
    (re.compile(r"^encoder\.layers\.encoder_layer_(\d+)\."), r"blocks.\1."),
    (re.compile(r"\.ln_([12])\."), r".norm\1."),
    (re.compile(r"\.self_attention\.in_proj_"), ".attn.qkv."),
    (re.compile(r"\.self_attention\.out_proj\."), ".attn.proj."),
    (re.compile(r"(?<=\.mlp)\.(?:0|linear_1)\."), ".fc1."),
    (re.compile(r"(?<=\.mlp)\.(?:3|linear_2)\."), ".fc2."),
)


def read_checkpoint(path: PathLike) -> dict[str, torch.Tensor]:
    """Return the content of a checkpoint without a card, which is read without executing code."""
    path = Path(path)
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        with reading(path):
            return load_file(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes can ask the unpickler for anything
        why = f"cannot be read without executing code ({reason_of(error)})"
        msg = f"weights: {str(path)!r} {why}: save its state dict alone as .safetensors"
        raise ValueError(msg) from error


def convert_state_dict(state: dict[str, Any], model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Convert the weights of a vision backbone to the names of a timm model, without heads."""
    # Layouts of timm, DINOv2 (released or from training), lightly and torchvision, also inside the
    # dictionaries of trainers; of a teacher and a student the teacher is taken. timm's
    # checkpoint_filter_fn does the rest, and interpolates position embeddings.
    tensors = _tensors(state)
    prefix = _prefix(tensors)
    renamed = {}
    for name, value in tensors.items():
        new_name = name.removeprefix(prefix)
        if not name.startswith(prefix) or _NOT_WEIGHTS.match(new_name):
            continue
        for pattern, replacement in _RULES:
            new_name = pattern.sub(replacement, new_name)
        renamed[new_name] = value
    if not isinstance(model, VisionTransformer):
        return renamed
    # timm recognizes DINOv2's layout by its mask token.
    if "register_tokens" in renamed or any(".mlp.w12." in name for name in renamed):
        renamed.setdefault("mask_token", torch.empty(0))
    converted = checkpoint_filter_fn(renamed, model)
    converted.pop("mask_token", None)
    return converted


def _tensors(state):
    """Return the flat dictionary of tensors inside a checkpoint."""
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
    """Return the prefix of the names of the backbone's weights."""
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


@contextmanager
def full_precision(device):
    """Compute in 32 bits while the block runs: neither in half precision nor in TF32."""
    # A protostar leaves contrasts of one per cent: too small for half precision, and for TF32, ten
    # bits with which GPUs replace 32-bit products.
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
