"""The frozen Vision Transformer: architecture, weights and the features taken from it."""

from .architecture import BUNDLED_MODEL, create_backbone
from .encoder import FractalEncoder
from .normalization import ChannelNormalization
from .weights import load_weights, read_card, save_weights

__all__ = [
    "BUNDLED_MODEL",
    "ChannelNormalization",
    "FractalEncoder",
    "create_backbone",
    "load_weights",
    "read_card",
    "save_weights",
]
