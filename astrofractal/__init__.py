"""Estimate masses of protostars hidden in dense gas, and map the structure around them.

The two flagship classes, the map class and the encoder are imported on first use, so that
``import astrofractal`` stays fast and does not import torch.
"""

from typing import TYPE_CHECKING

from astrofractal._utils.optional import lazy_names

if TYPE_CHECKING:
    from astrofractal._utils.identity import __version__
    from astrofractal._utils.limits import conf as conf
    from astrofractal.encoder.encoder import FractalEncoder
    from astrofractal.gasmap.core import GasMap
    from astrofractal.mass.estimator import StellarMassEstimator
    from astrofractal.segmentation.segmenter import FeatureSegmenter

__all__ = ["FeatureSegmenter", "FractalEncoder", "GasMap", "StellarMassEstimator", "__version__"]

_HOMES = {
    "FeatureSegmenter": "astrofractal.segmentation",
    "FractalEncoder": "astrofractal.encoder",
    "GasMap": "astrofractal.gasmap",
    "StellarMassEstimator": "astrofractal.mass",
    "__version__": "astrofractal._utils.identity",
    "conf": "astrofractal._utils.limits",
}


__getattr__, __dir__ = lazy_names(__name__, _HOMES)
