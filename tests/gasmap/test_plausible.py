"""Numbers that no map of gas has, on every way into the package, and widths by their header."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import NDData
from astropy.wcs import WCS

import astrofractal
from astrofractal import GasMap
from astrofractal.exceptions import AstrofractalWarning
from astrofractal.gasmap import Abundance, XFactor
from tests.factories import make_header

SHAPE = (12, 10)
COLUMN = 1e22 * (1 + 0.1 * np.mgrid[:12, :10][0])


def image(data, unit, name="", **cards):
    return fits.ImageHDU(data, make_header(SHAPE, BUNIT=unit, **cards), name=name)


def full(value):
    return np.full(SHAPE, value)


def three_planes(velocity, dispersion):
    data = np.stack([COLUMN, full(velocity), full(dispersion)])
    return GasMap.read(fits.PrimaryHDU(data, make_header(SHAPE)))


def extensions(velocity, dispersion):
    hdus = [image(COLUMN, "cm-2", "N"), image(full(velocity), "km/s", "V_LOS")]
    hdus += [image(full(dispersion), "km/s", "SIGMA_V")]
    return GasMap.read(fits.HDUList([fits.PrimaryHDU(), *hdus]))


def separate(velocity, dispersion):
    return GasMap.read(
        image(COLUMN, "cm-2"),
        velocity=image(full(velocity), "km/s"),
        dispersion=image(full(dispersion), "km/s"),
    )


def fitted(velocity, dispersion):
    names = {"PLANE1": "COLUMN", "PLANE2": "VELOCITY", "PLANE3": "SIGMA"}
    data = np.stack([COLUMN / 1e8, full(velocity), full(dispersion)])
    return GasMap.read(fits.PrimaryHDU(data, make_header(SHAPE, **names)), column=Abundance(1e-8))


def nddata(velocity, dispersion):
    return GasMap(
        NDData(COLUMN, unit="cm-2"),
        NDData(full(velocity), unit="km/s"),
        NDData(full(dispersion), unit="km/s"),
    )


def quantities(velocity, dispersion):
    unit = u.km / u.s
    return GasMap(COLUMN / u.cm**2, full(velocity) * unit, full(dispersion) * unit)


WAYS = [three_planes, extensions, separate, fitted, nddata, quantities]


@pytest.mark.parametrize("way", WAYS)
def test_dispersions_in_meters_per_second_are_refused(way):
    assert way(5.0, 0.3).dispersion.value[0, 0] == pytest.approx(0.3)
    with pytest.raises(u.UnitsError, match="dispersion has a median of 300 km/s.*unit={'dispers"):
        way(5.0, 300.0)


@pytest.mark.parametrize("way", WAYS)
def test_velocities_in_meters_per_second_are_suspected(way):
    with pytest.warns(AstrofractalWarning, match="velocity has a median of 5000 km/s.*m/s"):
        assert way(5000.0, 0.3).velocity.value[0, 0] == 5000


def read_file(path, **cards):
    fits.writeto(path, COLUMN, make_header(SHAPE, **cards))
    return GasMap.read(path)


def read_nddata(path, **cards):
    return GasMap(
        NDData(COLUMN, unit="cm-2", wcs=WCS(make_header(SHAPE))),
        beam=cards["BMAJ"] * u.deg,
    )


@pytest.mark.parametrize("read", [read_file, read_nddata])
def test_beams_wider_than_the_map_are_left_out_with_a_warning(tmp_path, read):
    with pytest.warns(AstrofractalWarning, match="64800 arcsec wide, the map .* left out"):
        gas = read(tmp_path / "map.fits", BMAJ=18.0, BMIN=18.0)
    assert gas.beam is None
    gas = read(tmp_path / "good.fits", BMAJ=18 / 3600, BMIN=18 / 3600, BPA=0.0)
    assert gas.beam.major.to_value(u.arcsec) == pytest.approx(18)


def test_a_map_in_jansky_per_beam_needs_a_beam_that_is_one():
    header = make_header(SHAPE, BUNIT="Jy/beam km/s", BMAJ=18.0, BMIN=18.0, RESTFRQ=1.1e11)
    x_factor = XFactor(1e21 * u.cm**-2 / (u.K * u.km / u.s))
    with (
        pytest.warns(AstrofractalWarning, match="left out"),
        pytest.raises(ValueError, match="no beam"),
    ):
        GasMap.read(fits.PrimaryHDU(full(1.0), header), column=x_factor)


def test_a_pixel_scale_that_contradicts_wcs_and_distance_is_warned_of():
    header = make_header(SHAPE, step=0.001)
    header["DISTANCE"] = (300.0, "[pc]")
    header["PIXSCALE"] = (np.radians(0.001) * 300, "[pc]")
    expected = pytest.approx(np.radians(0.001) * 300, rel=1e-4)
    assert GasMap.read(fits.PrimaryHDU(COLUMN, header)).pixel_scale.value == expected
    header["PIXSCALE"] = (0.5, "[pc]")
    with pytest.warns(AstrofractalWarning, match="PIXSCALE of the header is 0.5 pc, but its WCS"):
        gas = GasMap.read(fits.PrimaryHDU(COLUMN, header))
    assert gas.pixel_scale.value == expected
    with pytest.warns(AstrofractalWarning, match="DISTANCE = 300 pc, but distance=150 pc is used"):
        gas = GasMap.read(fits.PrimaryHDU(COLUMN, header), distance=150 * u.pc)
    assert gas.pixel_scale.value == pytest.approx(np.radians(0.001) * 150, rel=1e-4)


FWHM = np.sqrt(8 * np.log(2))


@pytest.mark.parametrize("error", [None, 0.1])
@pytest.mark.parametrize(
    ("cards", "factor"),
    [
        ({"BTYPE": "Linewidth FWHM"}, FWHM),
        ({"EXTNAME": "FWHM"}, FWHM),
        ({"CTYPE3": "FWHM"}, FWHM),
        ({"HISTORY": "line width (FWHM) of the fitted Gaussian"}, FWHM),
        ({"COMMENT": "Full width at half maximum of the line in km/s"}, FWHM),
        ({"BTYPE": "Doppler parameter"}, np.sqrt(2)),
    ],
)
def test_widths_are_converted_by_their_header(cards, factor, error):
    hdus = [fits.PrimaryHDU(full(1.0), make_header(SHAPE, BUNIT="km/s", **cards))]
    if error is not None:
        hdus.append(fits.ImageHDU(full(error), name="ERROR"))
    with pytest.warns(AstrofractalWarning, match="by their header .* converted"):
        gas = GasMap.read(image(COLUMN, "cm-2"), dispersion=fits.HDUList(hdus))
    np.testing.assert_allclose(gas.dispersion.value, 1 / factor, rtol=1e-6)
    if error is not None:
        np.testing.assert_allclose(gas.dispersion_uncertainty.value, error / factor, rtol=1e-6)


def test_what_the_user_says_counts_more_than_the_header():
    width = fits.PrimaryHDU(full(1.0), make_header(SHAPE, BUNIT="km/s", BTYPE="FWHM"))
    for kind, factor in (("sigma", 1.0), ("fwhm", FWHM)):
        gas = GasMap.read(image(COLUMN, "cm-2"), dispersion=width, dispersion_kind=kind)
        np.testing.assert_allclose(gas.dispersion.value, 1 / factor, rtol=1e-6)


@pytest.mark.parametrize(
    "cards",
    [
        {"BTYPE": "Velocity dispersion"},
        {"EXTNAME": "MOM2"},
        {"BTYPE": "Intensity-weighted dispersion of the spectral coordinate"},
        {"HISTORY": "smoothed to a beam of 20 arcsec FWHM"},
        {"HISTORY": "convolved with a Gaussian, FWHM 2 pixels, before the line was fitted"},
    ],
)
def test_dispersions_are_taken_as_they_are(cards):
    sigma = fits.PrimaryHDU(full(0.5), make_header(SHAPE, BUNIT="km/s", **cards))
    gas = GasMap.read(image(COLUMN, "cm-2"), dispersion=sigma)
    np.testing.assert_allclose(gas.dispersion.value, 0.5)


@pytest.mark.parametrize("unit", ["km2/s2", "(km/s)**2", "m2 s-2"])
@pytest.mark.parametrize("name", ["MOM2", "SIGMA_V", "MOMENT2"])
def test_variances_are_recognized_by_their_unit(name, unit):
    values = full(0.25 * (1e6 if unit[0] == "m" else 1))
    hdus = [fits.PrimaryHDU(), image(COLUMN, "cm-2", "N"), image(values, unit, name)]
    for gas in (
        GasMap.read(fits.HDUList(hdus)),
        GasMap.read(hdus[1], dispersion=fits.HDUList([fits.PrimaryHDU(), hdus[2]])),
    ):
        np.testing.assert_allclose(gas.dispersion.value, 0.5)


def test_a_variance_by_its_type_in_km_s():
    variance = image(full(0.25), "km/s", BTYPE="Variance of the velocity")
    with pytest.warns(AstrofractalWarning, match="variance by their header"):
        gas = GasMap.read(image(COLUMN, "cm-2"), dispersion=variance)
    np.testing.assert_allclose(gas.dispersion.value, 0.5)


@pytest.mark.parametrize("name", ["FWHM", "LINEWIDTH"])
def test_extensions_with_widths_are_not_dropped(name):
    hdus = [fits.PrimaryHDU(), image(COLUMN, "cm-2", "N"), image(full(1.0), "km/s", name)]
    match = "FWHM by their header" if name == "FWHM" else "called a line width"
    with pytest.warns(AstrofractalWarning, match=match):
        gas = GasMap.read(fits.HDUList(hdus))
    expected = 1 / FWHM if name == "FWHM" else 1.0
    np.testing.assert_allclose(gas.dispersion.value, expected, rtol=1e-6)


def test_planes_that_are_named_fwhm():
    names = {"PLANE1": "COLUMN", "PLANE2": "VELOCITY", "PLANE3": "FWHM"}
    data = np.stack([COLUMN / 1e8, full(5.0), full(1.0)])
    hdu = fits.PrimaryHDU(data, make_header(SHAPE, **names))
    with pytest.warns(AstrofractalWarning, match="FWHM by their header"):
        gas = GasMap.read(hdu, column=Abundance(1e-8))
    np.testing.assert_allclose(gas.dispersion.value, 1 / FWHM, rtol=1e-6)


@pytest.mark.parametrize("three", [False, True])
def test_what_reading_allocates_is_limited(tmp_path, three):
    """Not the bytes of the file, which are a tenth of it."""
    data = np.broadcast_to(np.float32(1e22), (3, *SHAPE) if three else SHAPE)
    fits.writeto(tmp_path / "map.fits", data, make_header(SHAPE))
    size = data.size * 20 / 2**30
    with (
        astrofractal.conf.set_temp("max_image_size", size),
        pytest.raises(OSError, match=r"map.fits.*max_image_size"),
    ):
        GasMap.read(tmp_path / "map.fits")
