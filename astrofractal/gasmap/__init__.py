"""GasMap, one validated map of gas, and the conversions from what telescopes measure."""

from astrofractal.gasmap.column import (
    Abundance,
    DustEmission,
    Extinction,
    XFactor,
    hildebrand_opacity,
    optically_thin_x_factor,
)
from astrofractal.gasmap.core import GasMap
from astrofractal.gasmap.units import H2_MEAN_MOLECULAR_WEIGHT, column_to_mass

__all__ = [
    "H2_MEAN_MOLECULAR_WEIGHT",
    "Abundance",
    "DustEmission",
    "Extinction",
    "GasMap",
    "XFactor",
    "column_to_mass",
    "hildebrand_opacity",
    "optically_thin_x_factor",
]
