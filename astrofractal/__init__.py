"""Estimate masses of protostars hidden in dense gas, and map the structure around them.

The two flagship classes, the map class and the encoder are imported on first use, so that
``import astrofractal`` stays fast and does not import torch.
"""

from importlib.metadata import PackageNotFoundError, version

from astrofractal._utils.lazy import lazy_names

__all__ = ["FeatureSegmenter", "FractalEncoder", "GasMap", "StellarMassEstimator", "__version__"]

try:
    __version__ = version("astrofractal")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0.dev0"

_HOMES = {
    "FeatureSegmenter": "astrofractal.segmentation",
    "FractalEncoder": "astrofractal.encoder",
    "GasMap": "astrofractal.gasmap",
    "StellarMassEstimator": "astrofractal.mass",
    "conf": "astrofractal._utils.limits",
}


__getattr__, __dir__ = lazy_names(__name__, _HOMES)
