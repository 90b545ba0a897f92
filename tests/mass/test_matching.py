"""Tests of calibrations that are matched to a map."""

import numpy as np
import pytest
from astropy import units as u

from astrofractal import GasMap, StellarMassEstimator
from astrofractal.observing import observe
from tests.factories import make_mapset


def seen(mapset, **options):
    column, velocity, dispersion = mapset.images[0]
    gas = GasMap(
        10**column / u.cm**2,
        velocity * u.km / u.s,
        dispersion * u.km / u.s,
        pixel_scale=mapset.pixel_scale,
        distance=140 * u.pc,
    )
    return observe(gas, beam=36 * u.arcsec, **options)


@pytest.fixture(scope="module")
def maps():
    return make_mapset(60, n_maps=1)


def test_reference_maps_look_as_the_map(maps):
    footprint = np.ones((64, 64), bool)
    footprint[:, 50:] = False
    gas = seen(
        maps, noise=0.1, velocity_noise=0.05 * u.km / u.s, footprint=footprint, random_state=1
    )
    matched = StellarMassEstimator().matched(gas, [(31.5, 31.5)], maps=maps)
    found = matched.observation_
    assert np.isclose(found.beam[0].to_value(u.pc), 36 / 206264.8 * 140, rtol=1e-3)
    assert np.isclose(found.noise, 0.1, rtol=0.3)
    assert np.isclose(found.velocity_noise.to_value(u.km / u.s), 0.05, rtol=0.01)
    assert list(matched.calibrations_) == [found.channels] == [gas.channels]
    images = found(maps.images)
    share = np.isfinite(images).mean((2, 3))
    assert np.allclose(share, 50 / 64, atol=0.01)
    assert not np.array_equal(images[0], images[1])
    assert matched.encoder_ is None
    assert matched.catalog(gas, [(31.5, 31.5)])["mass"][0] > 0 * u.solMass


def test_it_is_kept_for_the_same_map(maps):
    gas, estimator = seen(maps), StellarMassEstimator()
    first = estimator.matched(gas, [(31.5, 31.5)], maps=maps)
    assert estimator.matched(gas, [(31.5, 31.5)], maps=maps) is first
    other = estimator.matched(gas, [(31.5, 31.5)], maps=maps, random_state=1)
    assert other.fingerprint() != first.fingerprint()


def test_channels_that_the_map_lacks_are_left_out(maps):
    gas = GasMap(
        10 ** maps.images[0, 0] / u.cm**2, pixel_scale=maps.pixel_scale, distance=140 * u.pc
    )
    matched = StellarMassEstimator().matched(gas, [(31.5, 31.5)], maps=maps)
    assert list(matched.calibrations_) == [("column_density",)]


def test_positions_without_data(maps):
    with pytest.raises(ValueError, match="none of them has data"):
        StellarMassEstimator().matched(seen(maps), [(500.0, 500.0)], maps=maps)
