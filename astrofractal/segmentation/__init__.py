"""Segments of gas from the features of the frozen encoder, and what they hold."""

from astrofractal.segmentation.measures import measure
from astrofractal.segmentation.segmentation import Segmentation
from astrofractal.segmentation.segmenter import FeatureSegmenter

__all__ = ["FeatureSegmenter", "Segmentation", "measure"]
