"""Types of what stands for a map or for positions, for readers and type checkers."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D, NDData
from astropy.table import Table
from regions import Region, Regions

from astrofractal._utils.annotations import PathLike

__all__ = ["MapSource", "Positions"]

#: What a map is read from: whatever takes a `GasMap` takes these as well.
MapSource: TypeAlias = NDData | Cutout2D | fits.HDUList | fits.PrimaryHDU | fits.ImageHDU | PathLike

#: Where protostars are: on the sky, in pixels, or in a file.
Positions: TypeAlias = SkyCoord | Table | Regions | Region | np.ndarray | Sequence[Any] | PathLike
