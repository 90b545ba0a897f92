"""What an interferometer filters out, against analytic transforms and the FFT."""

import numpy as np
import pytest
from astropy import units as u
from astropy.stats import gaussian_fwhm_to_sigma

from astrofractal import GasMap
from astrofractal.observing import Telescope
from astrofractal.observing.beam import beam_kernel, high_pass

SIZE, SCALE = 129, 0.01 * u.pc


def source(fwhm, center=(64, 64)):
    y, x = np.mgrid[:SIZE, :SIZE]
    square = (y - center[0]) ** 2 + (x - center[1]) ** 2
    return np.exp(-square / (2 * (fwhm * gaussian_fwhm_to_sigma) ** 2))


def filtered(column, largest_scale, velocity=0.0, dispersion=0.5):
    channels = (column, *(np.broadcast_to(c, column.shape) for c in (velocity, dispersion)))
    return high_pass(*channels, beam_kernel(largest_scale))


@pytest.mark.parametrize("fwhm", [4.0, 10.0, 20.0])
def test_gaussians_are_the_difference_of_two(fwhm):
    """A source of FWHM w less that of FWHM (w^2 + L^2)^0.5 with the same flux."""
    column, _, _ = filtered(source(fwhm), 10.0)
    wide = np.hypot(fwhm, 10)
    expected = source(fwhm) - source(wide) * (fwhm / wide) ** 2
    inner = np.s_[40:89, 40:89]  # far from the border
    np.testing.assert_allclose(column[inner], expected[inner], atol=2e-3)
    if fwhm == 10:
        assert column[64, 64] == pytest.approx(0.5, abs=0.003)  # half of the peak
    assert column.min() < 0  # the bowl


def test_the_taper_is_the_stated_one():
    """SciPy's FFT of the result, divided by that of the source."""
    column = source(3.0) + 0.5 * source(2.0, (70, 60))
    result, _, _ = filtered(column, 12.0)
    k = np.fft.fftfreq(SIZE)
    k = np.hypot(k[:, None], k)
    ratio = np.fft.fft2(result) / np.fft.fft2(column)
    expected = 1 - np.exp(-((np.pi * k * 12.0) ** 2) / (4 * np.log(2)))
    measured = k < 0.12
    np.testing.assert_allclose(ratio[measured], expected[measured], atol=0.01)


def test_a_flat_map_is_filtered_out_up_to_its_border():
    column, velocity, _ = filtered(np.full((SIZE, SIZE), 1e22), 30.0)
    assert np.abs(column).max() < 1e-6 * 1e22
    assert np.isnan(velocity).all()


def test_lines_are_those_of_the_filtered_channels():
    """A core on an even cloud that moves: only the core's line is left."""
    cloud, core = np.ones((SIZE, SIZE)), 2 * source(4.0)
    column = cloud + core
    velocity = (cloud * 1.0 + core * -0.5) / column
    square = (cloud * (0.6**2 + 1) + core * (0.2**2 + 0.25)) / column
    _, mean, width = filtered(column, 30.0, velocity, np.sqrt(square - velocity**2))
    assert mean[64, 64] == pytest.approx(-0.5, abs=0.01)
    assert width[64, 64] == pytest.approx(0.2, abs=0.02)
    assert np.isnan(mean[20, 20])


def test_maps_and_images_agree():
    column = 1e21 * (0.1 + source(200.0) + 20 * source(8.0))
    gas = GasMap(column / u.cm**2, pixel_scale=SCALE, distance=300 * u.pc)
    image = np.stack([np.log10(column), np.full_like(column, np.nan), np.full_like(column, np.nan)])
    lengths = {"beam": 0.03 * u.pc, "largest_scale": 0.3 * u.pc}
    angles = {"beam": (0.03 / 300) * u.rad, "largest_scale": (0.3 / 300) * u.rad}
    seen = Telescope(**lengths).observe(gas)
    assert seen.masked_fraction > 0.3
    for options in (lengths, angles | {"distance": 300 * u.pc}):
        (found,) = Telescope(**options).observe_images(image[None], size=SIZE * SCALE)
        np.testing.assert_allclose(found[0], seen.to_array()[0], atol=1e-4)
    with pytest.raises(
        ValueError, match="largest_scale must be one positive, finite angle or length"
    ):
        Telescope(largest_scale=-3 * u.arcsec)
