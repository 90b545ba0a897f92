"""Telescopes with a spectrometer: each pixel is a line, and the map has the moments of its spectra."""

from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from astrofractal import GasMap
from astrofractal.gasmap import XFactor
from astrofractal.observing import Telescope
from tests.factories import make_wcs

KMS = u.km / u.s
SCALE = 0.5 * u.pc / 64


def smooth(generator, shape, width=6):
    """A Gaussian random field of unit variance."""
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(shape[1]), np.fft.fftfreq(shape[0])))
    field = np.fft.ifft2(np.fft.fft2(generator.normal(size=shape)) * np.exp(-((k * width) ** 2)))
    return field.real / field.real.std()


@pytest.fixture(scope="module")
def images():
    """Two images with structure in all channels."""
    generator = np.random.default_rng(1)
    images = np.array([[smooth(generator, (64, 64)) for _ in range(3)] for _ in range(2)])
    images *= np.array([0.3, 0.5, 0.1])[:, None, None]
    return images + np.array([22.0, 0.0, 0.4])[:, None, None]


@pytest.fixture(scope="module")
def gas(images):
    """The first image on the sky at 300 pc, moving away."""
    column, velocity, dispersion = images[0]
    step = (SCALE / (300 * u.pc)).value * 180 / np.pi
    return GasMap(
        10**column / u.cm**2, (velocity + 8) * KMS, dispersion * KMS,
        wcs=make_wcs((64, 64), step=step), distance=300 * u.pc,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "tolerance"),
    [
        ({}, 2e-4),
        ({"beam": 3 * SCALE}, 2e-4),
        ({"beam": (4 * SCALE, 2 * SCALE, 30 * u.deg), "pixel_scale": 1.6 * SCALE}, 2e-4),
        # cutouts of a map interpolate the moments of such pixels
        ({"beam": 3 * SCALE, "pixel_scale": SCALE}, 5e-3),
        ({"beam": 3 * SCALE, "pixel_scale": 0.5 * SCALE}, 2e-3),
    ],
)
def test_without_noise_the_moments_are_those_of_the_map(images, gas, steps, tolerance):
    spectra = Telescope(**steps, channel_width=0.1 * KMS, line_width=0.07 * KMS)
    plain = Telescope(**steps)
    inner = np.s_[..., 8:-8, 8:-8]
    found, expected = (one.observe_images(images)[inner] for one in (spectra, plain))
    np.testing.assert_allclose(found, expected, atol=tolerance)
    one, other = (telescope.observe(gas) for telescope in (spectra, plain))
    np.testing.assert_allclose(one.column_density, other.column_density, rtol=1e-3)
    for name in ("velocity", "dispersion"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-3)
    assert one.beam == other.beam


def test_channels_and_thermal_motion_widen_lines(images):
    """Nothing is subtracted without ``line_width``: a channel of 0.5 km/s leaves its width."""
    images = images.copy()
    images[:, 2] = 0.3
    seen = Telescope(channel_width=0.5 * KMS).observe_images(images)[:, 2]
    assert np.mean(seen**2) == pytest.approx(0.3**2 + 0.5**2 / 12, rel=0.005)


def test_errors_are_those_of_moments():
    """Their scatter is that of sums over a window of half width h, known in closed form."""
    sigma, width, ratio, column = 0.4, 0.1, 40.0, 1e22
    noise = column * width / (np.sqrt(2 * np.pi) * sigma) / ratio
    h = 1.5 * sigma * np.sqrt(2 * np.log(ratio / 1.5))  # of channels above 1.5 times the noise
    flat = np.ones((64, 64))
    gas = GasMap(column * flat / u.cm**2, 3 * flat * KMS, sigma * flat * KMS, pixel_scale=SCALE)
    telescope = Telescope(channel_width=width * KMS, channel_noise=noise / u.cm**2)
    seen = telescope.observe(gas)
    of_sum = noise / column
    expected = {
        "column_density": noise * np.sqrt(2 * h / width),
        "velocity": of_sum * np.sqrt(2 * h**3 / 3 / width),
        "dispersion": of_sum / (2 * sigma)
        * np.sqrt(2 * (h**5 / 5 - 2 * h**3 * sigma**2 / 3 + h * sigma**4) / width),
    }  # fmt: skip
    for name, error in expected.items():
        scatter = (getattr(seen, name) - getattr(gas, name)).value.std()
        assert scatter == pytest.approx(error, rel=0.1)
        stated = np.median(getattr(seen, f"{name}_uncertainty")).value
        assert stated == pytest.approx(error, rel=0.1)
    image = np.stack([np.log10(column) * flat, 0 * flat, sigma * flat])[None]
    found = telescope.observe_images(image)[0]
    assert found[1].std() == pytest.approx(expected["velocity"], rel=0.1)
    assert found[2].std() == pytest.approx(expected["dispersion"], rel=0.1)


def test_faint_lines_are_masked(images):
    """As in a cube: where less than two channels reach four times the noise."""
    noise, line_width = 1e21, 0.1
    images = images.copy()
    images[:, 2] = 0.3
    telescope = Telescope(
        channel_width=0.2 * KMS, channel_noise=noise / u.cm**2, line_width=line_width * KMS
    )
    seen = telescope.observe_images(images)
    peak = 10 ** images[:, 0] * 0.2 / (np.sqrt(2 * np.pi) * np.hypot(0.3, line_width))
    known = np.isfinite(seen)
    assert known[:, 0][peak > 10 * noise].all()
    assert known[:, 0][peak < 2 * noise].mean() < 0.02
    np.testing.assert_array_equal(known[:, 0], known[:, 1])
    lower = Telescope(
        channel_width=0.2 * KMS, channel_noise=noise / u.cm**2, line_width=line_width * KMS, snr=2
    )
    assert np.isfinite(lower.observe_images(images)).sum() > known.sum()


def test_a_map_keeps_how_its_cube_was_observed(gas):
    """The telescope of a map of `from_cube` has its channels; N(H2) in one is T dv X."""
    velocities = np.arange(4, 12, 0.2)
    offset = velocities[:, None, None] - gas.velocity.value
    cube = 5 * np.exp(-((offset / gas.dispersion.value) ** 2) / 2)
    cube += np.random.default_rng(0).normal(scale=0.2, size=cube.shape)
    cube[:, :5] = np.nan
    header = gas.wcs.to_header()
    header.update(
        WCSAXES=3, CTYPE3="VRAD", CUNIT3="km/s", CRPIX3=1, CRVAL3=4, CDELT3=0.2, BUNIT="K"
    )
    options = {"distance": 300 * u.pc, "line_width": 0.1 * KMS, "beam": 4 * u.arcsec, "snr": 3.0}
    factor = 2e21 / u.cm**2 / (u.K * KMS)
    mapped = GasMap.from_cube(fits.PrimaryHDU(cube, header), column=XFactor(factor), **options)
    telescope = Telescope.measure(mapped, [(31.5, 31.5)])
    assert telescope.noise is telescope.velocity_noise is telescope.dispersion_noise is None
    assert u.isclose(telescope.channel_width, 0.2 * KMS)
    assert u.isclose(telescope.channel_noise, 0.2 * u.K * 0.2 * KMS * factor, rtol=0.1)
    assert (telescope.line_width, telescope.snr) == (0.1 * KMS, 3.0)
    # where spectra are, also those without a line
    assert telescope.footprint.mean() == pytest.approx(59 / 64)
    seen = replace(telescope, footprint=None).observe(gas)
    assert Telescope.measure(seen).channel_noise == telescope.channel_noise
    plain = Telescope(beam=60 * u.arcsec).observe(seen)
    wide = seen.cutout((31.5, 31.5), size=0.4 * u.pc, shape=(16, 16))
    for other in (plain, wide):  # the pixels are not those of the cube
        assert Telescope.measure(other).channel_width is None


def test_wrong_spectrometers(gas):
    with pytest.raises(ValueError, match=r"noise=0.1 cannot be used with channel_width=0.1 km / s"):
        Telescope(noise=0.1, channel_width=0.1 * KMS)
    with pytest.raises(ValueError, match="line_width=0.1 km / s cannot be used with .*=None"):
        Telescope(line_width=0.1 * KMS)
    with pytest.raises(u.UnitsError, match="channel_width must be a velocity"):
        Telescope(channel_width=0.1 * u.m)
    with pytest.raises(u.UnitsError, match="channel_noise must be a column density"):
        Telescope(channel_width=0.1 * KMS, channel_noise=0.1 * u.K)
    with pytest.raises(ValueError, match="channel_width needs a map of all channels, got"):
        Telescope(channel_width=0.1 * KMS).observe(gas.replace(velocity=None))
    with pytest.raises(OSError, match=r"channel_width=1e-07 km/s: the cube of lines takes"):
        Telescope(channel_width=1e-7 * KMS).observe(gas)
