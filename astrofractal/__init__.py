"""Estimate masses of protostars hidden in dense gas, and map the structure around them.

The two flagship classes, the map class and the encoder are imported on first use, so that
``import astrofractal`` stays fast and does not import torch.
"""

from astrofractal._utils.optional import lazy_names

__all__ = ["FeatureSegmenter", "FractalEncoder", "GasMap", "StellarMassEstimator", "__version__"]

_HOMES = {
    "FeatureSegmenter": "astrofractal.segmentation",
    "FractalEncoder": "astrofractal.encoder",
    "GasMap": "astrofractal.gasmap",
    "StellarMassEstimator": "astrofractal.mass",
    "__version__": "astrofractal._utils.version",
    "conf": "astrofractal._utils.limits",
}


__getattr__, __dir__ = lazy_names(__name__, _HOMES)
