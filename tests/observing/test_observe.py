"""Noise statistics, distance, pixels and footprints."""

import pickle

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord

from astrofractal import GasMap
from astrofractal.observing import Telescope
from tests.factories import make_gas, make_wcs

COLUMN = 1e22


@pytest.fixture
def gas():
    """A flat map with a WCS at 300 pc, pixels of 0.01 pc."""
    shape = (100, 120)
    x = np.arange(120) * np.ones((100, 1))
    step = np.degrees(0.01 / 300)
    return make_gas(
        np.full(shape, COLUMN),
        0.01 * (x - 59.5),
        np.full(shape, 0.5),
        wcs=make_wcs(shape, step=step),
    )


@pytest.fixture
def images():
    """Flat images."""
    images = np.empty((40, 3, 32, 32))
    images[:, 0], images[:, 1], images[:, 2] = 22, 0, 0.5
    return images


def test_noise_has_the_stated_level(gas):
    seen = Telescope(
        noise=2e21 / u.cm**2, velocity_noise=50 * u.m / u.s, dispersion_noise=0.03 * u.km / u.s
    ).observe(gas)
    difference = seen.column_density.value - COLUMN
    n = difference.size
    assert difference.std() == pytest.approx(2e21, rel=4 / np.sqrt(2 * n))
    assert abs(difference.mean()) < 4 * 2e21 / np.sqrt(n)
    shift = (seen.velocity - gas.velocity).value
    assert shift.std() == pytest.approx(0.05, rel=4 / np.sqrt(2 * n))
    assert (seen.dispersion - gas.dispersion).value.std() == pytest.approx(0.03, rel=0.03)
    np.testing.assert_allclose(seen.column_density_uncertainty.value, 2e21, rtol=1e-6)
    np.testing.assert_allclose(seen.velocity_uncertainty.value, 0.05, rtol=1e-6)
    # the channels are independent
    assert abs(np.corrcoef(difference.ravel(), shift.ravel())[0, 1]) < 0.05


def test_relative_noise_follows_the_column_density():
    column = np.repeat([1e21, 1e23], 5000).reshape(100, 100)
    seen = Telescope(noise=0.1).observe(GasMap(column / u.cm**2))
    ratio = seen.column_density.value / column
    for part in (ratio[:50], ratio[50:]):
        assert part.std() == pytest.approx(0.1, rel=0.05)
    np.testing.assert_allclose(seen.column_density_uncertainty.value, 0.1 * column, rtol=1e-5)


def test_noise_in_other_units(gas):
    level = (1e21 / u.cm**2 * 2.8 * 1.6735e-24 * u.g).to(u.Msun / u.pc**2)
    seen = Telescope(noise=level).observe(gas)
    assert seen.column_density.value.std() == pytest.approx(1e21, rel=0.03)


def test_negative_column_densities_are_masked(gas):
    seen = Telescope(noise=COLUMN / u.cm**2).observe(gas)
    assert seen.mask.mean() == pytest.approx(0.1587, abs=0.02)  # below -1 sigma
    assert (seen.column_density.value[~seen.mask] > 0).all()


def test_seed(gas):
    options = {"noise": 0.1, "velocity_noise": 0.1 * u.km / u.s}
    first = Telescope(**options).observe(gas, random_state=3).to_array()
    np.testing.assert_array_equal(
        first, Telescope(**options).observe(gas, random_state=3).to_array()
    )
    assert (first != Telescope(**options).observe(gas, random_state=4).to_array()).any()
    generator = np.random.default_rng(3)
    np.testing.assert_array_equal(
        first, Telescope(**options).observe(gas, random_state=generator).to_array()
    )


def test_correlated_noise_keeps_its_level(gas, images):
    seen = Telescope(beam=0.05 * u.pc, noise=1e21 / u.cm**2, correlated=True).observe(gas)
    noise = seen.column_density.value - COLUMN
    assert noise.std() == pytest.approx(1e21, rel=0.1)
    neighbors = np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1]
    sigma = 5 / np.sqrt(8 * np.log(2))
    assert neighbors == pytest.approx(np.exp(-1 / (4 * sigma**2)), abs=0.03)
    seen = Telescope(beam=0.05 * u.pc, noise=1e21 / u.cm**2, correlated=True).observe_images(
        images, size=0.32 * u.pc
    )
    assert (10.0 ** seen[:, 0].astype(float)).std() == pytest.approx(1e21, rel=0.05)
    border = 10.0 ** seen[:, 0, 0].astype(float)
    assert border.std() == pytest.approx(1e21, rel=0.15)


def test_distance_changes_angles_only(gas):
    far = Telescope(distance=600 * u.pc).observe(gas)
    assert far.distance == 600 * u.pc
    assert far.pixel_scale.to_value(u.pc) == pytest.approx(0.01, rel=1e-6)
    assert far.mass.value == pytest.approx(gas.mass.value, rel=1e-5)
    ratio = (far.pixel_solid_angle / gas.pixel_solid_angle).value
    assert ratio == pytest.approx(0.25, rel=1e-5)
    beam = 20 * u.arcsec
    near = Telescope(beam=beam).observe(gas)
    beyond = Telescope(distance=600 * u.pc, beam=beam).observe(gas)
    inner = (slice(30, 70), slice(30, 90))
    growth = [np.mean(seen.dispersion.value[inner] ** 2 - 0.25) for seen in (near, beyond)]
    assert growth[1] / growth[0] == pytest.approx(4, rel=0.02)


@pytest.mark.parametrize("pixel", [0.02 * u.pc, (0.02 / 300) * u.rad])
def test_pixel_grid(gas, pixel):
    seen = Telescope(pixel_scale=pixel).observe(gas)
    assert seen.shape == (50, 60)
    assert seen.pixel_scale.to_value(u.pc) == pytest.approx(0.02, rel=1e-4)
    np.testing.assert_allclose(seen.column_density.value, COLUMN, rtol=1e-5)
    # two columns of pixels, 0.01 km/s apart
    np.testing.assert_allclose(seen.dispersion.value, np.sqrt(0.25 + 0.005**2), rtol=1e-4)
    assert seen.to_sky(29.5, 24.5).separation(gas.to_sky(59.5, 49.5)).arcsec < 1e-3
    with pytest.raises(TypeError, match="pixel_scale must be a Quantity such as 6"):
        Telescope(pixel_scale=3).observe(gas)


def test_pixels_of_images_are_those_of_maps(images):
    rng = np.random.default_rng(0)
    images = images + rng.normal(0, 0.1, images.shape)
    seen = Telescope(pixel_scale=0.04 * u.pc).observe_images(images[:2], size=0.32 * u.pc)
    gas = GasMap(
        10.0 ** images[0, 0] / u.cm**2,
        images[0, 1] * u.km / u.s,
        images[0, 2] * u.km / u.s,
        pixel_scale=0.01 * u.pc,
    )
    coarse = Telescope(pixel_scale=0.04 * u.pc).observe(gas)
    assert coarse.shape == (8, 8)
    fine = coarse.cutout((3.5, 3.5), size=0.32 * u.pc, shape=(32, 32)).to_array()
    inner = (slice(4, 28), slice(4, 28))
    np.testing.assert_allclose(seen[0, 0][inner], fine[0][inner], atol=0.01)
    np.testing.assert_allclose(seen[0, 2][inner], fine[2][inner], atol=0.02)


def test_footprint(gas, images):
    footprint = np.zeros(gas.shape, bool)
    footprint[10:60, 20:80] = True
    seen = Telescope(footprint=footprint).observe(gas)
    np.testing.assert_array_equal(seen.mask, ~footprint)
    assert np.isnan(seen.velocity.value[0, 0])
    with pytest.raises(ValueError, match=r"footprint must be .* shape \(100, 120\)"):
        Telescope(footprint=footprint[1:]).observe(gas)
    part = np.zeros((32, 32), bool)
    part[:, :16] = True
    many = Telescope(footprint=part).observe_images(images)
    assert np.isnan(many[:, :, :, 16:]).all()
    assert np.isfinite(many[:, :, :, :16]).all()
    each = np.broadcast_to(part, (40, 32, 32)).copy()
    each[0] = False
    many = Telescope(footprint=each).observe_images(images)
    assert np.isnan(many[0]).all()
    assert np.isfinite(many[1, 0, 0, 0])
    with pytest.raises(ValueError, match="footprint must be .* boolean array"):
        Telescope(footprint=part[1:]).observe_images(images)


def test_footprint_of_a_region(gas):
    regions = pytest.importorskip("regions")
    circle = regions.CircleSkyRegion(SkyCoord(52, 31, unit="deg"), 0.2 / 300 * u.rad)
    seen = Telescope(footprint=circle).observe(gas)
    assert (~seen.mask).sum() == pytest.approx(np.pi * 20**2, rel=0.02)


def test_images_keep_the_model_conventions(images):
    images[:, 1] += 5  # a shift that the observer's frame has
    images[3, 1] = np.nan  # no velocities known
    images[4, 2] = np.nan
    seen = Telescope(beam=0.05 * u.pc, noise=0.05).observe_images(images.astype(np.float32))
    assert seen.dtype == np.float32
    weighted = np.nansum(10.0 ** seen[:, 0] * seen[:, 1], axis=(1, 2))
    assert np.abs(weighted[[0, 1, 2, 5]]).max() < 1e-3 * 1e22
    assert np.isnan(seen[3, 1]).all()
    assert np.isfinite(seen[3, 2]).all()
    assert np.isnan(seen[4, 2]).all()
    assert np.isfinite(seen[4, 1]).all()


def test_it_travels_between_processes(images):
    telescope = Telescope(beam=0.05 * u.pc, noise=0.05)
    again = pickle.loads(pickle.dumps(telescope))
    np.testing.assert_array_equal(
        again.observe_images(images[:2]), telescope.observe_images(images[:2])
    )


def test_nothing_asked_nothing_done(gas, images):
    same = Telescope().observe(gas)
    np.testing.assert_array_equal(same.to_array(), gas.to_array())
    np.testing.assert_allclose(Telescope().observe_images(images), images, atol=1e-6)


def test_wrong_arguments(gas, images):
    with pytest.raises(TypeError, match="noise must be a column density or a fraction"):
        Telescope(noise="much").observe(gas)
    with pytest.raises(u.UnitsError, match="noise must be a column density"):
        Telescope(noise=1 * u.K).observe(gas)
    with pytest.raises(ValueError, match="noise must be one number that is not negative"):
        Telescope(noise=-0.1).observe(gas)
    with pytest.raises(TypeError, match="velocity_noise must be a velocity"):
        Telescope(velocity_noise=0.1).observe(gas)
    with pytest.raises(u.UnitsError, match="dispersion_noise must be a velocity"):
        Telescope(dispersion_noise=0.1 * u.s).observe(gas)
    with pytest.raises(ValueError, match=r"images must be a float array of shape \(n, 3, ny, nx\)"):
        Telescope().observe_images(images[:, :2])
    with pytest.raises(u.UnitsError, match="size must be a length"):
        Telescope().observe_images(images, size=3 * u.s)
    with pytest.raises(ValueError, match="distance="):
        Telescope(beam=0.1 * u.pc).observe(GasMap(np.ones((9, 9)) * 1e22 / u.cm**2, wcs=gas.wcs))
