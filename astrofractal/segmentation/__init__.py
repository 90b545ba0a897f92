"""Segments of gas from the features of the frozen encoder, and what they hold."""

from .segmentation import Segmentation
from .segmenter import FeatureSegmenter

__all__ = ["FeatureSegmenter", "Segmentation"]
