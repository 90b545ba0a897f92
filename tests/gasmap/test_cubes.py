"""Moments of position-position-velocity cubes."""

import numpy as np
import pytest
from astropy import constants as const
from astropy import units as u
from astropy.io import fits

from astrofractal import GasMap
from astrofractal.gasmap import XFactor
from astrofractal.gasmap.io import cubes
from astrofractal.gasmap.io.cubes import signal_mask, spectrum_noise
from tests.factories import make_header

pytest.importorskip("spectral_cube", reason="needs the extra cube", exc_type=ImportError)

LINE = u.K * u.km / u.s
X_FACTOR = XFactor(1e21 * u.cm**-2 / LINE)
NOISE = 0.05
REST = 110.201354 * u.GHz


@pytest.fixture
def truth():
    """Integrated intensity (K km/s), mean velocity and dispersion of 12 x 10 spectra."""
    y, x = np.mgrid[:12, :10]
    line = 4.0 + 0.2 * x
    line[0] = 0  # no emission here
    return line, 0.1 * x - 0.05 * y + 1, 0.3 + 0.02 * y


@pytest.fixture
def cube(truth):
    """A cube in K with radio velocities in m/s."""
    velocity = np.arange(-8, 10.01, 0.1)
    line, mean, sigma = (array[None] for array in truth)
    profile = np.exp(-((velocity[:, None, None] - mean) ** 2) / (2 * sigma**2))
    data = line / np.sqrt(2 * np.pi) / sigma * profile
    data = data + np.random.default_rng(3).normal(0, NOISE, data.shape)
    header = make_header(
        (12, 10), step=0.002, CTYPE3="VRAD", CRVAL3=-8e3, CRPIX3=1.0, CDELT3=100.0, CUNIT3="m/s",
        RESTFRQ=REST.to_value(u.Hz), SPECSYS="LSRK", BUNIT="K", BMAJ=0.004, BMIN=0.003, BPA=10.0,
    )  # fmt: skip
    return fits.PrimaryHDU(data.astype(">f4"), header)


def compare(gas, truth, *, tolerance=4.0):
    """Compare with the truth within the errors that the map itself gives."""
    line, mean, sigma = truth
    assert gas.mask[0].all()
    assert not gas.mask[1:].any()
    for name, expected in zip(
        gas.channels, (line * X_FACTOR.value.value, mean, sigma), strict=True
    ):
        error = getattr(gas, f"{name}_uncertainty").value[1:]
        pull = (getattr(gas, name).value[1:] - expected[1:]) / error
        assert np.abs(pull).max() < tolerance, name
        assert 0.5 < pull.std() < 1.6, name
        assert abs(pull.mean()) < 0.7, name


def test_moments(cube, truth):
    gas = GasMap.from_cube(cube, column=X_FACTOR, distance=300 * u.pc)
    compare(gas, truth)
    assert [axis.to_value(u.deg) for axis in (gas.beam.major, gas.beam.minor)] == [
        pytest.approx(0.004),
        pytest.approx(0.003),
    ]
    assert gas.to_sky(4.5, 5.5).ra.deg == pytest.approx(52.0)
    read = GasMap.read(cube, column=X_FACTOR, distance=300 * u.pc)
    np.testing.assert_array_equal(read.column_density, gas.column_density)


def test_files_and_chunks(tmp_path, cube, truth, monkeypatch):
    cube.writeto(tmp_path / "cube.fits")
    whole = GasMap.from_cube(tmp_path / "cube.fits", column=X_FACTOR)
    seen = []

    def bar(iterable, total=None, desc=None):
        for item in iterable:
            seen.append(item)
            yield item

    monkeypatch.setattr(cubes, "CHUNK_VOXELS", 5 * cube.data[:, 0].size)
    parts = GasMap.from_cube(tmp_path / "cube.fits", column=X_FACTOR, progress_bar=bar)
    assert seen == [0, 5, 10]
    for name in whole.channels:
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))


def test_spectral_cube(cube, truth):
    from spectral_cube import SpectralCube

    compare(GasMap.from_cube(SpectralCube.read(cube), column=X_FACTOR), truth)


@pytest.mark.parametrize("kind", ["FREQ", "WAVE"])
def test_frequencies_and_wavelengths(cube, truth, kind):
    """The same lines on another axis give the same velocities."""
    unit = u.Hz if kind == "FREQ" else u.m
    ends = ([-8, 10] * u.km / u.s).to(unit, u.doppler_radio(REST))
    cube.header.update(
        CTYPE3=kind,
        CUNIT3=unit.to_string(),
        CRVAL3=ends[0].value,
        CDELT3=(ends[1] - ends[0]).value / 180,
    )
    gas = GasMap.from_cube(cube, column=X_FACTOR)
    compare(gas, truth)
    del cube.header["RESTFRQ"]
    with pytest.raises(ValueError, match="no rest frequency: give the rest_frequency of XFactor"):
        GasMap.from_cube(cube, column=X_FACTOR)
    gas = GasMap.from_cube(cube, column=XFactor(X_FACTOR.value, REST))
    compare(gas, truth)


def test_jansky_per_beam(cube, truth):
    area = np.pi / (4 * np.log(2)) * 0.004 * 0.003 * u.deg**2
    factor = (2 * const.k_B * REST**2 / const.c**2 * u.K / u.sr * area).to_value(u.Jy)
    cube.data = (cube.data * factor).astype("f4")
    cube.header["BUNIT"] = "Jy/beam"
    compare(GasMap.from_cube(cube, column=X_FACTOR), truth)
    direct = XFactor(X_FACTOR.value * (1 * u.K) / (factor * u.Jy / u.beam))
    compare(GasMap.from_cube(cube, column=direct), truth)
    for key in ("BMAJ", "BMIN", "BPA"):
        del cube.header[key]
    with pytest.raises(ValueError, match="has no beam: give beam="):
        GasMap.from_cube(cube, column=X_FACTOR)
    beam = np.sqrt(0.004 * 0.003) * u.deg
    compare(GasMap.from_cube(cube, column=X_FACTOR, beam=beam), truth)


def test_degenerate_axis_and_other_order(cube, truth):
    data, header = cube.data, cube.header.copy()
    four = fits.PrimaryHDU(data[None], header)
    four.header.update(CTYPE4="STOKES", CRVAL4=1.0, CDELT4=1.0, CRPIX4=1.0)
    compare(GasMap.from_cube(four, column=X_FACTOR), truth)
    turned = fits.PrimaryHDU(np.moveaxis(data, 0, -1), header)
    for key in ("CTYPE", "CRVAL", "CRPIX", "CDELT", "CUNIT"):
        values = [header.get(f"{key}{axis}", "deg") for axis in (3, 1, 2)]
        for axis, value in enumerate(values, start=1):
            turned.header[f"{key}{axis}"] = value
    compare(GasMap.from_cube(turned, column=X_FACTOR), truth)


def test_velocity_range_and_line_width(cube, truth):
    cube.data = cube.data + 0  # a second line, far off
    cube.data[-20:-10] += 5
    gas = GasMap.from_cube(cube, column=X_FACTOR, velocity_range=[-3, 5] * u.km / u.s)
    compare(gas, truth)
    narrow = GasMap.from_cube(
        cube,
        column=X_FACTOR,
        velocity_range=[-3, 5] * u.km / u.s,
        line_width=200 * u.m / u.s,
    )
    expected = np.sqrt(gas.dispersion.value[1:] ** 2 - 0.04)
    np.testing.assert_allclose(narrow.dispersion.value[1:], expected, rtol=1e-4)
    with pytest.raises(ValueError, match="velocity_range .* holds 0 channels"):
        GasMap.from_cube(cube, column=X_FACTOR, velocity_range=[50, 60] * u.km / u.s)


def test_errors(cube):
    with pytest.raises(TypeError, match="column must be XFactor"):
        GasMap.from_cube(cube)
    with pytest.raises(TypeError, match="column must be an XFactor"):
        GasMap.from_cube(cube, column=2e20)
    with pytest.raises(
        u.UnitsError, match="XFactor: value must be a column density per integrated"
    ):
        GasMap.from_cube(cube, column=XFactor(2e20 / u.cm**2))
    with pytest.raises(ValueError, match="no spectrum with two adjacent channels above snr=1000"):
        GasMap.from_cube(cube, column=X_FACTOR, snr=1000.0)
    with pytest.raises(ValueError, match="position-position-velocity cube.*column=XFactor"):
        GasMap.read(cube)
    with pytest.raises(TypeError, match="cube must be a path"):
        GasMap.from_cube(np.ones((3, 4, 5)), column=X_FACTOR)
    with pytest.raises(u.UnitsError, match="noise must be in the unit"):
        GasMap.from_cube(cube, column=X_FACTOR, noise=1 * u.Jy)
    del cube.header["BUNIT"]
    with pytest.raises(ValueError, match="has no BUNIT.*unit='K'"):
        GasMap.from_cube(cube, column=X_FACTOR)
    flat = fits.PrimaryHDU(cube.data[0], cube.header)
    with pytest.raises(ValueError, match="2D map, not a cube"):
        GasMap.from_cube(flat, column=X_FACTOR, unit="K")


def test_noise_is_measured_beside_lines(cube):
    noise = spectrum_noise(np.asarray(cube.data, float))
    assert np.median(noise) == pytest.approx(NOISE, rel=0.05)
    assert (spectrum_noise(np.ones((9, 2, 2))) == 0).all()


def test_signal_mask():
    data = np.zeros((12, 2))
    data[3:7, 0] = [2, 5, 5, 2]  # a line
    data[9, 0] = 2  # not connected with it
    data[5, 1] = 9  # one channel alone is a spike
    mask = signal_mask(data, np.ones(2))
    np.testing.assert_array_equal(np.flatnonzero(mask[:, 0]), range(2, 8))  # a quarter wider
    assert not mask[:, 1].any()


def test_simulated_cloud(shared_data):
    """The moments of the line give back the map that the line was made of."""
    gas = GasMap.from_cube(
        shared_data / "cubes" / "cloud02_z_ppv.fits",
        column=X_FACTOR,
        line_width=0.195 * u.km / u.s,
    )
    assert gas.distance == 300 * u.pc
    truth = GasMap.read(shared_data / "fields" / "cloud02_z.fits")
    truth = truth.cutout((159.5, 159.5), size=2.5 * u.pc, shape=gas.shape)
    assert gas.mass.value == pytest.approx(truth.mass.value, rel=0.01)
    dense = ~gas.mask & (truth.column_density.value > 3e21)
    ratio = (gas.column_density / truth.column_density).value[dense]
    assert np.median(ratio) == pytest.approx(1, abs=0.005)
    assert np.std(np.log10(ratio)) < 0.01
    shift = (gas.velocity - truth.velocity).value[dense]
    assert np.median(np.abs(shift)) < 0.01
    width = (gas.dispersion - truth.dispersion).value[dense]
    assert np.median(np.abs(width)) < 0.02


@pytest.mark.parametrize(
    ("name", "of_a_map", "factor", "power", "unit"),
    [
        ("VARIANCE", False, 1, 2, "K2"),  # Starlink
        ("STAT", False, 1, 2, ""),  # ESO
        ("UNCERT", False, 1e3, 1, "mK"),  # CCDData
        ("PRIMARY_IVAR", False, 1, -2, ""),
        ("ERR", True, 1, 1, "K"),
    ],
)
def test_errors_in_the_file_are_the_noise(tmp_path, cube, name, of_a_map, factor, power, unit):
    """They decide where signal is and how uncertain the moments are, as ``noise=`` does."""
    noise = NOISE * (1 + 0.5 * np.arange(10) / 9)  # other than what the channels tell
    expected = GasMap.from_cube(cube, column=X_FACTOR, noise=np.tile(noise, (12, 1)) * u.K)
    shape = cube.shape[1:] if of_a_map else cube.shape
    values = np.broadcast_to((factor * noise) ** power, shape).copy()
    errors = fits.ImageHDU(values, name=name)
    if unit:
        errors.header["BUNIT"] = unit
    fits.HDUList([cube, errors]).writeto(tmp_path / "cube.fits")
    for gas in (
        GasMap.from_cube(tmp_path / "cube.fits", column=X_FACTOR),
        GasMap.read(tmp_path / "cube.fits", column=X_FACTOR),
    ):
        for channel in gas.channels:
            for plane in (channel, f"{channel}_uncertainty"):
                found, truth = getattr(gas, plane).value, getattr(expected, plane).value
                np.testing.assert_allclose(found, truth, rtol=1e-5)
    given = GasMap.from_cube(tmp_path / "cube.fits", column=X_FACTOR, noise=NOISE * u.K)
    smaller = given.velocity_uncertainty[1:, 5:] < expected.velocity_uncertainty[1:, 5:]
    assert smaller.all()


def test_errors_of_ndcubes_are_the_noise(cube):
    from astropy.nddata import NDData, VarianceUncertainty
    from astropy.wcs import WCS

    variance = VarianceUncertainty(np.full(cube.shape, NOISE**2))
    data = NDData(cube.data, unit="K", wcs=WCS(cube.header), uncertainty=variance)
    gas = GasMap.from_cube(data, column=X_FACTOR)
    expected = GasMap.from_cube(cube, column=X_FACTOR, noise=NOISE * u.K)
    np.testing.assert_allclose(gas.velocity_uncertainty, expected.velocity_uncertainty, rtol=1e-5)


@pytest.mark.parametrize(
    ("unit", "part", "reason"),
    [("K", slice(1, None), "has shape"), ("m", slice(None), "cannot be converted")],
)
def test_errors_that_do_not_fit_a_cube_are_named(tmp_path, cube, unit, part, reason):
    errors = fits.ImageHDU(np.full(cube.shape, NOISE)[part], name="ERROR")
    errors.header["BUNIT"] = unit
    fits.HDUList([cube, errors]).writeto(tmp_path / "cube.fits")
    with pytest.warns(UserWarning, match=rf"cube.fits\[ERROR\] is not used: it {reason}"):
        gas = GasMap.from_cube(tmp_path / "cube.fits", column=X_FACTOR)
    expected = GasMap.from_cube(cube, column=X_FACTOR)
    np.testing.assert_array_equal(gas.velocity_uncertainty, expected.velocity_uncertainty)


def test_spectra_without_errors_have_the_noise_of_their_channels(cube):
    values = np.full(cube.shape, 3 * NOISE)
    values[:, :, :5] = np.nan
    values[:, :, 5:7] = 0
    gas = GasMap.from_cube(
        fits.HDUList([cube, fits.ImageHDU(values, name="ERROR")]), column=X_FACTOR
    )
    measured = GasMap.from_cube(cube, column=X_FACTOR)
    ratio = (gas.column_density_uncertainty / measured.column_density_uncertainty).value[1:]
    np.testing.assert_allclose(ratio[:, :7], 1)
    assert (ratio[:, 7:] > 1.5).all()
