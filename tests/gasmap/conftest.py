"""A small map of known content."""

import numpy as np
import pytest
from astropy import units as u
from astropy.wcs import WCS

from astrofractal import GasMap


def _make_wcs(shape, *, step=0.001, ctype=("RA---TAN", "DEC--TAN"), crval=(72.0, 31.0)):
    """Return a WCS about the middle of a map; ``step`` in degrees."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = list(ctype)
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crval = list(crval)
    wcs.wcs.crpix = [(shape[1] + 1) / 2, (shape[0] + 1) / 2]
    wcs.wcs.cdelt = [-step, step]
    wcs.wcs.set()
    return wcs


@pytest.fixture
def make_wcs():
    """Give a function that makes a WCS about the middle of a map."""
    return _make_wcs


@pytest.fixture
def numbers():
    """Column density (cm-2), velocity and dispersion (km/s), 80 x 100."""
    y, x = np.mgrid[:80, :100]
    column = 1e21 * (1 + 20 * np.exp(-((x - 45) ** 2 + (y - 40) ** 2) / 200))
    return column, 0.02 * x - 0.01 * y, 0.2 + 0.001 * y


@pytest.fixture
def wcs():
    """A plain TAN WCS for the numbers."""
    return _make_wcs((80, 100))


@pytest.fixture
def gas(numbers, wcs):
    """A map with all channels, 300 pc away."""
    units = (u.cm**-2, u.km / u.s, u.km / u.s)
    channels = [value * unit for value, unit in zip(numbers, units, strict=True)]
    return GasMap(*channels, wcs=wcs, distance=300 * u.pc)
