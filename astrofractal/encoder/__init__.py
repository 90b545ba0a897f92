"""The frozen Vision Transformer: architecture, weights and the features taken from it."""

from astrofractal.encoder.backbone import BUNDLED_MODEL, create_backbone
from astrofractal.encoder.encoder import FractalEncoder, describe_encoder, find_encoder
from astrofractal.encoder.weights import ChannelNormalization, load_weights, read_card, save_weights

__all__ = [
    "BUNDLED_MODEL",
    "ChannelNormalization",
    "FractalEncoder",
    "create_backbone",
    "describe_encoder",
    "find_encoder",
    "load_weights",
    "read_card",
    "save_weights",
]
