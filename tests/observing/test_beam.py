"""Beams against analytic values."""

import numpy as np
import pytest
from astropy import units as u
from astropy.stats import gaussian_fwhm_to_sigma
from radio_beam import Beam

from astrofractal import GasMap
from astrofractal.observing import Telescope
from astrofractal.observing.beam import beam_kernel
from tests.factories import make_gas, make_wcs

SCALE = 0.01 * u.pc


def blob(shape=(96, 96), sigma=5.0, center=None):
    y, x = np.mgrid[: shape[0], : shape[1]]
    cy, cx = center or [(n - 1) / 2 for n in shape]
    return np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2))


def second_moments(values):
    """Return <xx>, <yy>, <xy> about the center of mass."""
    y, x = np.mgrid[: values.shape[0], : values.shape[1]]
    total = values.sum()
    dx, dy = x - (values * x).sum() / total, y - (values * y).sum() / total
    return [(values * product).sum() / total for product in (dx * dx, dy * dy, dx * dy)]


def bare(column, velocity=None, dispersion=None, **options):
    return GasMap(
        column / u.cm**2,
        None if velocity is None else velocity * u.km / u.s,
        None if dispersion is None else dispersion * u.km / u.s,
        pixel_scale=SCALE,
        **options,
    )


def sky_map(column, *, turn=0.0, flip=False, distance=200 * u.pc):
    step = np.degrees((SCALE / distance).to_value(u.one))
    wcs = make_wcs(column.shape, step=step, turn=turn, flip=flip)
    return make_gas(column, wcs=wcs, distance=distance)


@pytest.mark.parametrize("fwhm", [2.0, 7.0, 15.0])
def test_round_beam_adds_in_quadrature(fwhm):
    seen = Telescope(beam=fwhm * SCALE).observe(bare(1e22 * blob() + 1e15))
    expected = 25 + (fwhm * gaussian_fwhm_to_sigma) ** 2
    xx, yy, xy = second_moments(np.nan_to_num(seen.column_density.value))
    assert xx == pytest.approx(expected, rel=0.01)
    assert yy == pytest.approx(expected, rel=0.01)
    assert abs(xy) < 0.05
    # the height falls as the area grows, the mass stays
    assert seen.column_density.value.max() == pytest.approx(1e22 * 25 / expected, rel=0.01)
    assert seen.mass.value == pytest.approx(bare(1e22 * blob() + 1e15).mass.value, rel=1e-3)


@pytest.mark.parametrize("turn", [0, 25])
@pytest.mark.parametrize("flip", [False, True])
def test_position_angle_is_from_north_to_east(turn, flip):
    """In the result, seen with north up, the blob is long to the north-east."""
    gas = sky_map(1e22 * blob(sigma=3.0) + 1.0, turn=turn, flip=flip)
    arcsec = (SCALE / gas.distance).to_value(u.one) * u.rad
    beam = (14 * arcsec, 5 * arcsec, 30 * u.deg)
    seen = Telescope(beam=beam).observe(gas)
    upright = seen.cutout((47.5, 47.5), size=71 * SCALE, shape=(71, 71))
    xx, yy, xy = second_moments(np.nan_to_num(upright.column_density.value))
    major, minor = ((width * gaussian_fwhm_to_sigma) ** 2 for width in (14, 5))
    s, c = np.sin(np.radians(30)), np.cos(np.radians(30))
    assert xx == pytest.approx(9 + major * s**2 + minor * c**2, rel=0.03)
    assert yy == pytest.approx(9 + major * c**2 + minor * s**2, rel=0.03)
    assert xy == pytest.approx(-(major - minor) * s * c, rel=0.05)  # east is left
    assert seen.beam == Beam(*beam)


def test_gradients_become_dispersion():
    """sigma^2 = sigma0^2 + (gradient x sigma of the beam)^2, for gas of one column density."""
    y, x = np.mgrid[:80, :80]
    velocity, dispersion = 0.1 * x - 0.05 * y + 7, np.full((80, 80), 0.2)
    seen = Telescope(beam=6 * SCALE).observe(bare(np.full((80, 80), 1e22), velocity, dispersion))
    inner = (slice(20, 60), slice(20, 60))
    expected = np.sqrt(0.2**2 + (0.1**2 + 0.05**2) * (6 * gaussian_fwhm_to_sigma) ** 2)
    np.testing.assert_allclose(seen.dispersion.value[inner], expected, rtol=2e-3)
    np.testing.assert_allclose(seen.velocity.value[inner], velocity[inner], atol=1e-4)
    images = np.stack([np.full((80, 80), 22.0), velocity, dispersion])[None]
    seen = Telescope(beam=6 * SCALE).observe_images(images, size=80 * SCALE)
    np.testing.assert_allclose(seen[0, 2][inner], expected, rtol=2e-3)


def test_moments_are_weighted_by_column_density():
    """Two clumps within one beam: mean and variance of the two lines together."""
    column = np.full((41, 41), 1e15)
    column[20, 20], column[20, 22] = 3e22, 1e22
    velocity = np.where(np.arange(41) > 21, 2.0, -1.0) * np.ones((41, 1))
    seen = Telescope(beam=60 * SCALE).observe(bare(column, velocity, np.full((41, 41), 0.3)))
    mean = (3 * -1 + 1 * 2) / 4
    spread = np.sqrt(0.09 + (3 * (-1 - mean) ** 2 + (2 - mean) ** 2) / 4)
    assert seen.velocity.value[20, 20] == pytest.approx(mean, abs=0.01)
    assert seen.dispersion.value[20, 20] == pytest.approx(spread, rel=0.01)


def test_a_beam_is_added_to_the_beam_that_is_there():
    gas = sky_map(1e22 * blob() + 1e15)
    step = (SCALE / gas.distance).to_value(u.one) * u.rad
    twice = Telescope(beam=10 * step).observe(Telescope(beam=6 * step).observe(gas))
    once = Telescope(beam=10 * step).observe(gas)
    inner = (slice(20, 76), slice(20, 76))
    np.testing.assert_allclose(
        twice.column_density.value[inner], once.column_density.value[inner], rtol=5e-3, atol=1e18
    )
    with pytest.raises(ValueError, match="beam .* does not cover that of the map"):
        Telescope(beam=6 * step).observe(once)


def test_an_elliptical_beam_becomes_round():
    gas = sky_map(1e22 * blob(sigma=0.5) + 1e15)
    step = (SCALE / gas.distance).to_value(u.one) * u.rad
    long = Telescope(beam=(9 * step, 3 * step, 30 * u.deg)).observe(gas)
    seen = Telescope(beam=12 * step).observe(long)
    xx, yy, xy = second_moments(np.nan_to_num(seen.column_density.value) - 1e15)
    expected = 0.25 + (12 * gaussian_fwhm_to_sigma) ** 2
    assert [xx, yy] == pytest.approx([expected, expected], rel=0.02)
    assert abs(xy) < 0.02 * expected
    assert seen.beam == Beam(12 * step)
    for same in ((9 * step, 3 * step, 30 * u.deg), long.beam):
        again = Telescope(beam=same).observe(long)
        np.testing.assert_array_equal(again.column_density, long.column_density)
        assert again.beam == long.beam
    with pytest.raises(ValueError, match="no convolution leads to it"):
        Telescope(beam=6 * step).observe(long)  # narrower than the long axis


def test_masked_pixels_stay_masked_and_do_not_spread():
    column = np.full((40, 40), 1e22)
    column[10:14, 10:14] = np.nan
    seen = Telescope(beam=4 * SCALE).observe(bare(column))
    np.testing.assert_array_equal(seen.mask, ~np.isfinite(column))
    np.testing.assert_allclose(seen.column_density.value[~seen.mask], 1e22, rtol=1e-5)


def test_images_agree_with_maps():
    rng = np.random.default_rng(5)
    images = np.stack(
        [
            rng.normal(22, 0.3, (2, 48, 48)),
            rng.normal(0, 1, (2, 48, 48)),
            rng.uniform(0.1, 0.5, (2, 48, 48)),
        ],
        axis=1,
    )
    images[1, :, 5:9, 5:9] = np.nan
    beam = (7 * SCALE, 4 * SCALE, 40 * u.deg)
    seen = Telescope(beam=beam).observe_images(images, size=48 * SCALE)
    for image, expected in zip(seen, images, strict=True):
        gas = bare(10.0 ** expected[0], expected[1], expected[2])
        np.testing.assert_allclose(image, Telescope(beam=beam).observe(gas).to_array(), atol=1e-4)


def test_images_take_a_beam():
    image = np.stack([22 + np.log10(blob((64, 64)) + 0.01), np.zeros((64, 64)), np.ones((64, 64))])
    axes = (50 * u.arcsec, 30 * u.arcsec, 20 * u.deg)
    one, other = (
        Telescope(beam=beam, distance=200 * u.pc).observe_images(image[None])
        for beam in (axes, Beam(*axes))
    )
    np.testing.assert_allclose(one, other, rtol=1e-6)


def test_beam_in_other_units():
    images = np.stack([22 + np.log10(blob((64, 64)) + 0.01), np.zeros((64, 64)), np.ones((64, 64))])
    expected = Telescope(beam=0.05 * u.pc).observe_images(images[None], size=0.64 * u.pc)
    angle = (0.05 / 200) * u.rad
    for beam in (angle, 5 * u.pix):
        seen = Telescope(beam=beam, distance=200 * u.pc).observe_images(
            images[None], size=0.64 * u.pc
        )
        np.testing.assert_allclose(seen, expected, atol=1e-5)
    with pytest.raises(ValueError, match="beam is .* rad.*distance="):
        Telescope(beam=angle).observe_images(images[None])


@pytest.mark.parametrize(
    ("beam", "error"),
    [
        (3, TypeError),
        ((3 * u.pc, 4 * u.pc, 0 * u.deg), ValueError),
        ((3 * u.pc, 1 * u.arcsec, 0 * u.deg), TypeError),
        (-3 * u.pc, ValueError),
        (3 * u.s, u.UnitsError),
    ],
)
def test_wrong_beams(beam, error):
    with pytest.raises(error, match="beam"):
        Telescope(beam=beam).observe(bare(np.full((9, 9), 1e22)))


def test_kernel():
    assert beam_kernel(0.1) is None
    kernel = beam_kernel(8.0, 4.0, 0 * u.deg)
    xx, yy, _ = second_moments(kernel)
    assert xx == pytest.approx((8 * gaussian_fwhm_to_sigma) ** 2, rel=1e-3)
    assert yy == pytest.approx((4 * gaussian_fwhm_to_sigma) ** 2, rel=1e-3)
    narrow = second_moments(beam_kernel(1.0))[0]
    assert narrow == pytest.approx(gaussian_fwhm_to_sigma**2, abs=0.1)
