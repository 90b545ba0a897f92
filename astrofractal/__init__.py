"""Estimate masses of protostars hidden in dense gas, and map the structure around them.

The two flagship classes, the map class and the encoder are imported on first use, so that
``import astrofractal`` stays fast and does not import torch.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

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


def __getattr__(name):
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__():
    return sorted(set(globals()) | set(_HOMES))
