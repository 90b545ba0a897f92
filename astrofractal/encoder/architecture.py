"""The Vision Transformers of astrofractal, registered with timm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from timm.models import create_model, register_model
from timm.models.vision_transformer import VisionTransformer

if TYPE_CHECKING:
    from typing import Any

    import torch


__all__ = [
    "BUNDLED_MODEL",
    "astrofractal_vit_large_patch16_336",
    "astrofractal_vit_tiny_patch8_64",
    "create_backbone",
    "suit_attention",
]

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
