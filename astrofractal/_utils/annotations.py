"""Types that many signatures share, for readers and type checkers."""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D, NDData
from astropy.table import Table

if TYPE_CHECKING:
    from regions import Region, Regions

#: The path of a file or folder.
PathLike: TypeAlias = str | os.PathLike[str]

#: Whether to show progress, or a callable with the signature of tqdm.
ProgressBar: TypeAlias = bool | Callable[..., Any]

#: What a map is read from: whatever takes a `GasMap` takes these as well.
MapSource: TypeAlias = NDData | Cutout2D | fits.HDUList | fits.PrimaryHDU | fits.ImageHDU | PathLike

#: Where protostars are: on the sky, in pixels, or in a file.
Positions: TypeAlias = "SkyCoord | Table | Regions | Region | np.ndarray | Sequence[Any] | PathLike"
