"""The map at the encoder's scale, and areas in all units."""

import numpy as np
import pytest
from astropy import units as u
from astropy.wcs import WCS

from astrofractal import GasMap
from astrofractal.exceptions import AstrofractalWarning
from astrofractal.gasmap.moments import mean_velocity
from astrofractal.segmentation.working_map import (
    area_in_pixels,
    beam_width,
    check_area,
    scale_factor,
    smooth_lines,
    subtract_local_mean,
    working_map,
)


@pytest.fixture
def at(make_gas):
    """The function that makes a map at a distance in pc."""

    def make(distance, shape=(40, 40), **options):
        return make_gas(shape, distance=distance * u.pc, **options)

    return make


def test_factor_follows_the_distance(at):
    assert scale_factor(at(300), "auto", 64) == 1
    assert scale_factor(at(400), "auto", 64) == 1
    assert scale_factor(at(100, (200, 192)), "auto", 64) == pytest.approx(3, rel=1e-3)
    assert scale_factor(at(900), "auto", 64) == pytest.approx(1 / 3, rel=1e-3)
    assert scale_factor(at(900), None, 64) == 1
    assert scale_factor(at(300), 0.1 * u.pc, 64) == pytest.approx(12.8, rel=1e-3)
    assert scale_factor(at(300, wcs=False), "auto", 64) == 1


def test_small_maps_are_magnified_to_a_window_of_what_they_show(at):
    """A map of 0.33 pc at 100 pc, whose pixels are a third of the encoder's."""
    gas = at(100, (128, 140))
    assert scale_factor(gas, "auto", 64) == pytest.approx(2)
    assert scale_factor(gas[:50], "auto", 64) == 1  # nothing lies between the pixels
    width = np.sqrt(gas.pixel_solid_angle.to_value(u.arcsec**2)) * u.arcsec
    assert beam_width(gas) == 0
    wide = gas.replace(beam=20 * width)
    assert beam_width(wide) == pytest.approx(20)
    assert scale_factor(wide, "auto", 64) == pytest.approx(2.5)
    widest = gas.replace(beam=40 * width)
    assert scale_factor(widest, "auto", 64) == pytest.approx(3, rel=1e-3)


def test_coarse_maps_warn(at):
    with pytest.warns(AstrofractalWarning, match="much wider than those of the encoder"):
        assert scale_factor(at(6000), "auto", 64) == pytest.approx(1 / 6)
    with pytest.raises(ValueError, match="needs a WCS"):
        scale_factor(at(300, wcs=False), 0.1 * u.pc, 64)


@pytest.mark.parametrize("factor", [3.0, 2.3, 1 / 2.7])
def test_resampling_keeps_the_column(at, factor):
    gas = at(300, nan=False)
    array = gas.to_array()
    working = working_map(gas, array, factor)
    mean = (10.0 ** working.array[0].astype(float)).mean()
    assert mean == pytest.approx(gas.column_density.value.mean(), rel=0.1)
    rows = (np.arange(40) + 0.5 - working.origin[0]) / factor
    assert rows.min() >= 0
    assert rows.max() <= working.array.shape[1]
    assert np.isfinite(working.array).mean() > 0.9


def test_wide_pixels_take_up_the_spread_of_velocities():
    velocity = np.where(np.arange(40) % 2, 1.0, -1.0) * np.ones((40, 1)) * u.km / u.s
    gas = GasMap(np.full((40, 40), 1e22) / u.cm**2, velocity, np.full((40, 40), 0.5) * u.km / u.s)
    working = working_map(gas, gas.to_array(), 2.0)
    np.testing.assert_allclose(working.array[1], 0, atol=1e-6)
    np.testing.assert_allclose(working.array[2], np.hypot(1, 0.5), rtol=1e-5)


def test_grids_of_parts_coincide(at):
    gas = at(300, nan=False)
    whole = working_map(gas, gas.to_array(), 2.3)
    part = gas[7:, 11:]
    other = working_map(part, part.to_array(), 2.3)
    shift = (np.array(other.origin) + (7, 11) - whole.origin) / 2.3
    np.testing.assert_allclose(shift, np.rint(shift), atol=1e-9)
    rows, columns = np.rint(shift).astype(int)
    same = whole.array[0, rows:, columns:]
    np.testing.assert_allclose(same[1:, 1:], other.array[0, 1:, 1:], rtol=1e-6)
    assert [a - b for a, b in zip(whole.anchor, other.anchor, strict=True)] == [rows, columns]


@pytest.fixture(params=[False, True], ids=["pixel scale", "sky"])
def rough(request):
    """A map of which neighboring pixels have nothing in common, partly masked."""
    rng = np.random.default_rng(1)
    column = 10 ** rng.normal(22, 0.5, (60, 60))
    column[20:24, 30:37] = np.nan
    kms = u.km / u.s
    channels = (
        column / u.cm**2,
        rng.normal(0, 1, (60, 60)) * kms,
        rng.uniform(0.1, 1, (60, 60)) * kms,
    )
    if not request.param:
        return GasMap(*channels, pixel_scale=0.01 * u.pc)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ("RA---TAN", "DEC--TAN"), (52, 31), (30.5, 30.5)
    wcs.wcs.cdelt = np.array([-1, 1]) * np.degrees(0.01 / 300)
    return GasMap(*channels, wcs=wcs, distance=300 * u.pc)


@pytest.mark.parametrize("factor", [1 / 3, 1 / 2.7, 0.9, 1.04, 1.5, 2.3, 3.0, 6.0])
def test_masses_and_segments_see_the_same_gas(rough, factor):
    """Where their pixels coincide, a cutout and the working map are one, masked pixels included."""
    working = working_map(rough, rough.to_array(), factor)
    n = 2 * int(10 / factor)
    first = (2, 2) if rough.wcs is None else [part - n // 2 for part in working.anchor]
    center = [edge + (k + n // 2) * factor - 0.5 for edge, k in zip(working.origin, first)]
    cutout = rough.cutout(center[::-1], size=n * factor * 0.01 * u.pc, shape=(n, n))
    expected = np.stack(
        [
            np.log10(cutout.column_density.value),
            cutout.velocity.value - mean_velocity(rough.velocity.value, rough.column_density.value),
            cutout.dispersion.value,
        ]
    )
    found = working.array[:, first[0] : first[0] + n, first[1] : first[1] + n]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)


def test_velocities_have_the_zero_of_a_cutout(rough):
    array = rough.to_array()
    subtract_local_mean(array, 20)
    cutout = rough.cutout((29, 29), size=0.21 * u.pc, shape=(21, 21))
    assert np.isfinite(array[1]).sum() == np.isfinite(rough.column_density.value).sum()
    assert array[1, 29, 29] == pytest.approx(cutout.to_array()[1, 10, 10], abs=1e-3)


def test_smoothing_keeps_mass_momentum_and_energy():
    rng = np.random.default_rng(2)
    array = np.zeros((3, 60, 60), np.float32)
    array[0], array[2] = 20, 1e-3  # next to nothing around the gas, so that none leaves the map
    inner = (slice(None), slice(20, 40), slice(20, 40))
    array[inner] = rng.normal(22, 0.3, (20, 20)), rng.normal(0, 1, (20, 20)), np.full((20, 20), 0.5)
    smooth = smooth_lines(array, 2)

    def sums(channels):
        column, velocity, dispersion = 10.0 ** channels[0], *channels[1:].astype(float)
        return np.array([np.sum(column * q) for q in (1, velocity, velocity**2 + dispersion**2)])

    whole = sums(array)
    np.testing.assert_allclose(sums(smooth), whole, rtol=1e-3, atol=1e-3 * whole[0])
    assert smooth[0].max() < array[0].max()


def test_smoothing_leaves_masks_and_missing_channels(rough):
    array = rough.to_array()
    assert smooth_lines(array, 0) is array
    np.testing.assert_array_equal(np.isnan(smooth_lines(array, 2)), np.isnan(array))
    array[1:] = np.nan
    smooth = smooth_lines(array, 2)
    assert np.isnan(smooth[1:]).all()
    np.testing.assert_array_equal(np.isnan(smooth[0]), np.isnan(array[0]))


def test_areas(gas):
    pixel = gas.pixel_area
    assert area_in_pixels(12, gas) == 12
    assert area_in_pixels(4 * u.pix, gas) == 4
    assert area_in_pixels(5 * pixel, gas) == pytest.approx(5)
    assert area_in_pixels(3 * gas.pixel_solid_angle, gas) == pytest.approx(3)
    fwhm = 3 * np.sqrt(gas.pixel_solid_angle).to(u.arcsec, u.dimensionless_angles())
    beamed = GasMap(gas.column_density, wcs=gas.wcs, distance=gas.distance, beam=fwhm)
    assert area_in_pixels(2 * u.beam, beamed) == pytest.approx(2 * 1.1331 * 9, rel=1e-3)
    with pytest.raises(ValueError, match="needs the beam"):
        area_in_pixels(2 * u.beam, gas)
    without = GasMap(gas.column_density, wcs=gas.wcs)
    with pytest.raises(ValueError, match="needs the distance"):
        area_in_pixels(0.01 * u.pc**2, without)


@pytest.mark.parametrize(
    ("area", "error"),
    [
        (3 * u.km / u.s, u.UnitConversionError),
        ("big", TypeError),
        (True, TypeError),
        (-1, ValueError),
        (np.nan, ValueError),
        ([1, 2] * u.pc**2, ValueError),
    ],
)
def test_wrong_areas(area, error):
    with pytest.raises(error, match="min_area"):
        check_area(area)
