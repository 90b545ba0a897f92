"""Masses and segments of whatever holds a map, with the distance as an argument."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import NDData

from astrofractal import FeatureSegmenter, GasMap, StellarMassEstimator
from astrofractal.data import data_path

DISTANCE = 300 * u.pc
POSITION = [[95.0, 97.0]]


@pytest.fixture(scope="module")
def gas():
    return GasMap.read(data_path("example_cloud.fits"))[96:286, 96:286].replace(
        velocity=None, dispersion=None
    )


def sources(gas, folder):
    column = gas.column_density
    hdu = fits.PrimaryHDU(column.value, gas.wcs.to_header())
    hdu.header["BUNIT"] = "cm-2"
    hdu.writeto(folder / "column.fits")
    return [
        NDData(column.value, unit="cm-2", wcs=gas.wcs),
        hdu,
        folder / "column.fits",
        (column, gas.wcs),
        (column, gas.wcs.to_header()),
    ]


@pytest.mark.filterwarnings("ignore:.*have no predictive power")
def test_catalogs_and_predictions_take_the_distance_of_any_source(gas, tmp_path):
    estimator = StellarMassEstimator()
    expected = estimator.catalog(gas, POSITION)["mass"][0]
    single = estimator.predict(gas)
    for source in sources(gas, tmp_path):
        table = estimator.catalog(source, POSITION, distance=DISTANCE)
        assert u.isclose(table["mass"][0], expected, rtol=1e-5)
        assert estimator.predict(source, distance=DISTANCE).value == pytest.approx(single.value)
    several = estimator.predict([gas, gas], distance=DISTANCE)
    assert u.allclose(several, single, rtol=1e-5)


def test_segmenters_take_the_distance_of_any_source(gas, tmp_path):
    small = gas[60:130, 60:130]
    segmenter = FeatureSegmenter(n_segments=2, n_views=1, random_state=0)
    expected = segmenter.segment(small).labels.data
    for source in sources(small, tmp_path)[-2:]:
        result = segmenter.segment(source, distance=DISTANCE)
        assert result.table["area"].unit.is_equivalent(u.pc**2)
        np.testing.assert_array_equal(result.labels.data, expected)
