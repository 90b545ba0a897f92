"""GasMap, the only door through which data come in: one validated map of gas.

The public names are `GasMap`, `H2_MEAN_MOLECULAR_WEIGHT` and `column_to_mass`.
"""

from astrofractal.gasmap.column import hildebrand_opacity, optically_thin_x_factor
from astrofractal.gasmap.core import GasMap
from astrofractal.gasmap.units import H2_MEAN_MOLECULAR_WEIGHT, column_to_mass

__all__ = [
    "H2_MEAN_MOLECULAR_WEIGHT",
    "GasMap",
    "column_to_mass",
    "hildebrand_opacity",
    "optically_thin_x_factor",
]
