"""A small map of known content."""

import numpy as np
import pytest

from tests.factories import make_gas, make_wcs


@pytest.fixture
def numbers():
    """Column density (cm-2), velocity and dispersion (km/s), 80 x 100."""
    y, x = np.mgrid[:80, :100]
    column = 1e21 * (1 + 20 * np.exp(-((x - 45) ** 2 + (y - 40) ** 2) / 200))
    return column, 0.02 * x - 0.01 * y, 0.2 + 0.001 * y


@pytest.fixture
def wcs():
    """A plain TAN WCS for the numbers."""
    return make_wcs((80, 100), step=0.001)


@pytest.fixture
def gas(numbers, wcs):
    """A map with all channels, 300 pc away."""
    return make_gas(*numbers, wcs=wcs)
