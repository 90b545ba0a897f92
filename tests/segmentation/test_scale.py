"""The map at the encoder's scale, and areas in all units."""

import numpy as np
import pytest
from astropy import units as u
from astropy.wcs import WCS

from astrofractal import FeatureSegmenter, GasMap
from astrofractal.gasmap.moments import mean_velocity
from astrofractal.segmentation.measures import area_in_pixels
from astrofractal.segmentation.working_map import (
    Scale,
    background_level,
    beam_width,
    find_scale,
    fixed_scale,
    gas_of,
    pixel_channels,
    smooth_lines,
    working_map,
)


@pytest.fixture
def at(make_gas):
    """The function that makes a map at a distance in pc."""

    def make(distance, shape=(40, 40), **options):
        return make_gas(shape, distance=distance * u.pc, **options)

    return make


def test_a_token_covers_a_beam_or_two_pixels(at):
    gas = at(300)
    assert beam_width(gas) == 0
    assert find_scale(gas).token == find_scale(at(100)).token == 2
    width = np.sqrt(gas.pixel_solid_angle.to_value(u.arcsec**2)) * u.arcsec
    wide = gas.replace(beam=4 * width)
    assert beam_width(wide) == pytest.approx(4)
    assert find_scale(wide).token == pytest.approx(4)
    assert find_scale(gas.replace(beam=40 * width)).token == 5  # a window is no wider than the map
    assert find_scale(gas, 0.03125 * u.pc).token == pytest.approx(4, rel=1e-3)
    assert find_scale(gas, 3 * u.pix).token == 3
    with pytest.raises(ValueError, match="needs a WCS"):
        find_scale(at(300, wcs=False), 0.1 * u.pc)


def test_noise_makes_tokens_wider(at):
    gas = at(300)
    assert find_scale(gas).smoothing == 0
    column = gas.column_density
    noisy = find_scale(
        gas.replace(column_density_uncertainty=0.3 * np.nanmedian(column) + 0 * column)
    )
    assert noisy.smoothing == pytest.approx(3 / np.sqrt(4 * np.pi))
    assert noisy.token == pytest.approx(4 * noisy.smoothing)


def test_velocities_are_relative_to_half_a_parsec(at):
    assert find_scale(at(300)).mean == pytest.approx(64, rel=1e-3)
    assert find_scale(at(300, wcs=False)).mean == 64  # of tokens, where the scale is unknown
    assert find_scale(at(9000)).mean == 16


def test_a_fitted_scale_is_a_length_where_it_can_be(at):
    fitted = {"token_width": 0.03, "token_pixels": 3.0, "smoothing": 0.5}
    assert fixed_scale(at(300), **fitted).token == pytest.approx(0.03 / 0.0078125, rel=1e-3)
    assert fixed_scale(at(300, wcs=False), **fitted).token == 3
    assert fixed_scale(at(300), **{**fitted, "token_width": np.nan}).smoothing == 1.5


def field(background, spread=0.02, shape=(120, 120)):
    """A filament of gas over a background."""
    y = np.indices(shape)[0]
    noise = np.random.default_rng(0).normal(0, spread, shape)
    return background * 10**noise + 3e22 * np.exp(-((y - 60) ** 2) / 2 / 8**2)


def test_background_level():
    gas = GasMap(field(8e20) / u.cm**2)
    assert background_level(gas) == pytest.approx(1.6e21, rel=0.05)
    noisy = background_level(GasMap(field(8e20, 0.12) / u.cm**2))
    assert 2e21 < noisy < 5e21
    only_gas = 10 ** np.random.default_rng(1).normal(22, 0.4, (100, 100))
    assert background_level(GasMap(only_gas / u.cm**2)) == 0
    assert background_level(GasMap(np.full((20, 20), 1e22) / u.cm**2)) == 0


def test_gas_is_what_exceeds_the_background():
    gas = GasMap(field(8e20) / u.cm**2)
    scale = find_scale(gas)
    array = gas_of(gas, 2e21, scale)
    np.testing.assert_array_equal(np.isfinite(gas_of(gas, 0, scale)[0]), True)
    away = np.abs(np.indices(gas.shape)[0] - 60)
    assert np.isfinite(array[0, away < 18]).all()
    assert np.isnan(array[0, away > 20]).all()
    channels = pixel_channels(gas, array, scale)
    np.testing.assert_array_equal(np.isfinite(channels[0]), np.isfinite(array[0]))
    assert (channels[:3, 60, 60] > 0).all()  # the filament stands out from its surroundings
    assert (np.diff(channels[:3, 60, 60]) > 0).all()  # more so from wider ones


@pytest.mark.parametrize("factor", [3.0, 2.3, 1 / 2.7])
def test_resampling_keeps_the_column(at, factor):
    gas = at(300, nan=False)
    array = gas.to_array()
    working = working_map(gas, array, factor, smoothing=0)
    mean = (10.0 ** working.array[0].astype(float)).mean()
    assert mean == pytest.approx(gas.column_density.value.mean(), rel=0.1)
    rows = (np.arange(40) + 0.5 - working.origin[0]) / factor
    assert rows.min() >= 0
    assert rows.max() <= working.array.shape[1]
    assert np.isfinite(working.array).mean() > 0.9


def test_wide_pixels_take_up_the_spread_of_velocities():
    velocity = np.where(np.arange(40) % 2, 1.0, -1.0) * np.ones((40, 1)) * u.km / u.s
    gas = GasMap(np.full((40, 40), 1e22) / u.cm**2, velocity, np.full((40, 40), 0.5) * u.km / u.s)
    working = working_map(gas, gas.to_array(), 2.0, smoothing=0)
    np.testing.assert_allclose(working.array[1], 0, atol=1e-6)
    np.testing.assert_allclose(working.array[2], np.hypot(1, 0.5), rtol=1e-5)


def test_grids_of_parts_coincide(at):
    gas = at(300, nan=False)
    whole = working_map(gas, gas.to_array(), 2.3, smoothing=0)
    part = gas[7:, 11:]
    other = working_map(part, part.to_array(), 2.3, smoothing=0)
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
    working = working_map(rough, rough.to_array(), factor, smoothing=0)
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


def test_velocities_are_relative_to_their_surroundings(rough):
    """A gradient over the map leaves, a step within a token does not."""
    x = np.indices(rough.shape)[1]
    moved = rough.replace(velocity=rough.velocity + 0.001 * x * u.km / u.s + 7 * u.km / u.s)
    scale = Scale(token=2, smoothing=0, mean=50)
    one, other = (gas_of(gas, 0, scale)[1] for gas in (rough, moved))
    assert np.nanstd(one) == pytest.approx(np.nanstd(rough.velocity.value), rel=0.05)
    np.testing.assert_allclose(one, other, rtol=0, atol=0.03)


@pytest.mark.parametrize("token", [2.0, 3.7])
def test_cells_and_pixels(rough, token):
    """What is constant stays, on cells and back on pixels; a slope stays where nothing is missing."""

    class Cells:
        stride, origin = 4, (-3, -2)
        valid = None

    working = working_map(rough, rough.to_array(), token / 8, smoothing=0)
    cells = Cells()
    n = [-(-(size + 3) // 4) for size in working.array.shape[1:]]
    cells.valid = np.ones(n, bool)
    y, x = np.indices(rough.shape, dtype=float)
    x[rough.mask] = np.nan
    planes = working.to_cells(np.stack([x * 0 + 5, x, y]), cells)
    back = working.to_pixels(planes, cells, rough.shape)
    np.testing.assert_allclose(back[0][~rough.mask], 5, rtol=1e-5)
    np.testing.assert_allclose(back[2][4:-4], y[4:-4], atol=0.04)
    assert np.nanmax(np.abs(back[1] - x)[4:-4, 4:-4]) < token


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
def test_wrong_areas(gas, area, error):
    with pytest.raises(error, match="min_area"):
        FeatureSegmenter(min_area=area).segment(gas)
