"""Segments do not depend on how a map is written, nor on threads."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from astropy import units as u
from numpy.testing import assert_array_equal

from astrofractal import FeatureSegmenter, GasMap
from tests.factories import DISTANCE, make_column, make_wcs
from tests.segmentation.conftest import PatchMeans

SHAPE = (72, 88)
UNITS = ("cm-2", "km/s", "km/s")


@pytest.fixture(scope="module")
def planes():
    """Column density, velocity and dispersion, exact in 32 bit."""
    column = make_column(SHAPE, [(30, 30, 1e23, 6), (60, 45, 3e22, 9)], roughness=0.2)
    y, x = np.indices(SHAPE)
    planes = (column, np.sin(x / 12), 0.3 + 0.1 * np.cos(y / 9))
    return [plane.astype(np.float32) for plane in planes]


def labels(planes, units=UNITS, **options):
    options = {"wcs": make_wcs(SHAPE), "distance": DISTANCE, **options}
    gas = GasMap(*(p * u.Unit(unit) for p, unit in zip(planes, units)), **options)
    segmenter = FeatureSegmenter(4, background=None, encoder=PatchMeans())
    return segmenter.segment(gas).labels.data


@pytest.fixture(scope="module")
def expected(planes):
    found = labels(planes)
    assert set(np.unique(found)) >= {1, 2, 3, 4}
    return found


@pytest.mark.parametrize(
    "units", [("m-2", "m/s", "cm/s"), ("1e20 cm-2", "pc/Myr", "km/h")], ids=str
)
def test_units(planes, expected, units):
    own = [p.astype(float) * u.Unit(unit) for p, unit in zip(planes, UNITS)]
    own = [plane.to_value(unit) for plane, unit in zip(own, units)]
    assert (labels(own, units) != expected).mean() < 1e-3  # rounding may move a boundary


@pytest.mark.parametrize("dtype", [">f4", "<f8", ">f8"])
def test_byte_order_and_precision(planes, expected, dtype):
    assert_array_equal(labels([np.asfortranarray(p, dtype=dtype) for p in planes]), expected)


@pytest.mark.parametrize("garbage", [np.nan, np.inf, -1e30, 1e30, 0.0])
def test_what_is_under_a_mask(planes, garbage):
    mask = np.zeros(SHAPE, bool)
    mask[20:28, 50:60] = True
    with np.errstate(all="ignore"):
        dirty = [np.where(mask, np.float32(garbage), p) for p in planes]
    assert_array_equal(labels(dirty, mask=mask), labels(planes, mask=mask))


def test_four_threads(planes, expected):
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(labels, [planes] * 4):
            assert_array_equal(found, expected)
