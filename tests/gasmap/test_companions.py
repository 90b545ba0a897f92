"""Uncertainties, masks and weights beside a map, as other programs name them."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, InverseVariance, StdDevUncertainty, VarianceUncertainty
from astropy.wcs import WCS

from astrofractal import GasMap
from astrofractal.exceptions import AstrofractalWarning
from tests.factories import make_header

SHAPE = (12, 10)
COLUMN = 1e22 * (1 + 0.1 * np.mgrid[:12, :10][0])
ERROR = 0.05 * COLUMN


def image(data=COLUMN, name="", unit="cm-2", **cards):
    return fits.ImageHDU(data, make_header(SHAPE, BUNIT=unit, **cards), name=name)


def primary(name=None, **cards):
    return fits.PrimaryHDU(COLUMN, make_header(SHAPE, EXTNAME=name, **cards))


def error_of(*hdus, **options):
    return GasMap.read(fits.HDUList(list(hdus)), **options).column_density_uncertainty


@pytest.mark.parametrize("owner", [None, "image", "DATA", "SCI", "IMAGE", "COLUMN_DENSITY"])
@pytest.mark.parametrize(
    ("name", "values", "unit"),
    [
        ("ERR", ERROR, "cm-2"),
        ("ERROR", ERROR, None),
        ("UNCERT", ERROR / 1e21, "1e21 cm-2"),
        ("UNCERTAINTY", ERROR, "cm-2"),
        ("error", ERROR, "cm-2"),
        ("STDDEV", ERROR, "cm-2"),
        ("RMS", ERROR, "cm-2"),
        ("VARIANCE", ERROR**2, "(cm-2)**2"),
        ("VARIANCE", ERROR**2, None),
        ("VAR", ERROR**2, "cm-4"),
        ("STAT", ERROR**2, "cm-4"),
        ("ERROR", ERROR**2, "cm-4"),
        ("IVAR", ERROR**-2, None),
        ("E_N", ERROR, "cm-2"),
        ("SIGMA_NH2", ERROR, "cm-2"),
        ("ERR_COLUMN_DENSITY", ERROR, "cm-2"),
    ],
)
def test_uncertainties_under_many_names(owner, name, values, unit):
    found = error_of(primary(owner), image(values, name, unit))
    np.testing.assert_allclose(found.value, ERROR, rtol=1e-6)


@pytest.mark.parametrize(
    ("data", "error"), [("DATA", "STAT"), ("DATA", "DATA_ERR"), ("FLUX", "FLUX_VAR"), ("A", "B")]
)
def test_uncertainties_by_the_name_of_their_image(data, error):
    variance = error != "DATA_ERR"
    cards = {"HDUCLAS2": "ERROR", "HDUCLAS3": "MSE", "SCIDATA": data} if error == "B" else {}
    hdus = [
        fits.PrimaryHDU(),
        image(name=data, ERRDATA=error),
        image(ERROR**2 if variance else ERROR, error, "cm-4" if variance else "cm-2", **cards),
    ]
    np.testing.assert_allclose(error_of(*hdus).value, ERROR)


@pytest.mark.parametrize("kind", [StdDevUncertainty, VarianceUncertainty, InverseVariance])
@pytest.mark.parametrize("name", [None, "image", "ORION"])
def test_files_of_ccddata(tmp_path, kind, name):
    ccd = CCDData(COLUMN, unit="cm-2", wcs=WCS(make_header(SHAPE)))
    ccd.uncertainty = StdDevUncertainty(ERROR).represent_as(kind)
    ccd.mask = COLUMN > 2e22
    if name is not None:
        ccd.header["EXTNAME"] = name
    ccd.write(tmp_path / "ccd.fits", key_uncertainty_type="UTYPE")
    gas = GasMap.read(tmp_path / "ccd.fits")
    np.testing.assert_array_equal(gas.mask, ccd.mask)
    good = ~gas.mask
    np.testing.assert_allclose(gas.column_density_uncertainty.value[good], ERROR[good], rtol=1e-6)


def test_layouts_of_pipelines():
    zeros = np.zeros(SHAPE)
    james_webb = [fits.PrimaryHDU(), image(name="SCI"), image(ERROR, "ERR")]
    james_webb += [image(zeros, name, None) for name in ("CON", "WHT", "VAR_POISSON", "VAR_FLAT")]
    james_webb[4].data = zeros + 1
    herschel = [fits.PrimaryHDU(), image(name="image"), image(ERROR, "error")]
    herschel += [image(zeros + 1, "coverage", "1")]
    for hdus in (james_webb, herschel):
        np.testing.assert_allclose(error_of(*hdus).value, ERROR)
    coverage = zeros + (COLUMN > 1.5e22)
    herschel[-1].data = coverage
    np.testing.assert_array_equal(GasMap.read(fits.HDUList(herschel)).mask, coverage == 0)


def test_each_channel_has_its_own_uncertainty():
    hdus = [fits.PrimaryHDU(), image(name="N"), image(ERROR, "E_N")]
    for channel, error, value in (("V_LOS", "V_LOS_VAR", 0.04), ("SIGMA_V", "ERR_SIGMA_V", 0.1)):
        unit = "m2 s-2" if channel == "V_LOS" else "m/s"
        factor = 1e6 if channel == "V_LOS" else 1e3
        hdus += [image(0 * COLUMN + 1, channel, "km/s")]
        hdus += [image(0 * COLUMN + value * factor, error, unit)]
    gas = GasMap.read(fits.HDUList(hdus))
    np.testing.assert_allclose(gas.column_density_uncertainty.value, ERROR)
    np.testing.assert_allclose(gas.velocity_uncertainty.value, 0.2)
    np.testing.assert_allclose(gas.dispersion_uncertainty.value, 0.1)
    assert (gas.dispersion.value == 1).all()


def test_velocities_with_variances_of_their_own_file():
    velocity = fits.HDUList([fits.PrimaryHDU(), image(0 * COLUMN + 5, "DATA", "km/s")])
    velocity.append(image(0 * COLUMN + 0.04, "STAT", "km2 s-2"))
    gas = GasMap.read(primary(), velocity)
    np.testing.assert_allclose(gas.velocity_uncertainty.value, 0.2)


@pytest.mark.parametrize(("name", "power"), [("ERROR", 1), ("VARIANCE", 2), ("IVAR", -2)])
def test_uncertainties_of_three_planes(name, power):
    planes = np.stack([COLUMN, 0 * COLUMN + 5, 0 * COLUMN + 0.5])
    errors = np.stack([ERROR, 0 * COLUMN + 0.2, 0 * COLUMN + 0.1])
    hdus = [fits.PrimaryHDU(planes, make_header(SHAPE)), fits.ImageHDU(errors**power, name=name)]
    gas = GasMap.read(fits.HDUList(hdus))
    for channel, error in zip(gas.channels, errors, strict=True):
        np.testing.assert_allclose(getattr(gas, f"{channel}_uncertainty").value, error, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "values", "unit"),
    [
        ("VARIANCE", ERROR**2, "cm-4"),
        ("", ERROR**2, "(cm-2)**2"),
        ("VAR", ERROR**2, None),
        ("IVAR", ERROR**-2, None),
        ("", ERROR / 1e21, "1e21 cm-2"),
    ],
)
def test_uncertainties_in_a_file_of_their_own(tmp_path, name, values, unit):
    fits.HDUList([fits.PrimaryHDU(), image(values, name, unit)]).writeto(tmp_path / "error.fits")
    errors = {"column_density": tmp_path / "error.fits"}
    gas = GasMap.read(primary(), uncertainty=errors)
    np.testing.assert_allclose(gas.column_density_uncertainty.value, ERROR)


@pytest.mark.parametrize(
    ("error", "match"),
    [
        (image(ERROR[:3], "ERROR"), r"HDU ERROR is not used: it has shape \(3, 10\)"),
        (image(ERROR, "ERROR", UTYPE="UnknownUncertainty"), "is of a class that is no standard"),
        (image(ERROR, "NOISE", "K"), "HDU NOISE is not used: it cannot be converted"),
        (image(ERROR, "ERROR", "nonsense"), "HDU ERROR is not used: it cannot be converted"),
        (image(ERROR, "ERR_FLUX"), "ERR_FLUX is not used: it has no name that belongs to"),
    ],
)
def test_no_uncertainty_is_dropped_without_a_warning(error, match):
    with pytest.warns(AstrofractalWarning, match=match):
        assert error_of(primary(), error) is None


def test_no_map_is_taken_for_an_uncertainty():
    """SIGMA_V is a dispersion, and a map of errors alone is refused."""
    hdus = [fits.PrimaryHDU(), image(name="N"), image(0 * COLUMN + 0.3, "SIGMA_V", "km/s")]
    gas = GasMap.read(fits.HDUList(hdus), distance=300 * u.pc)
    assert gas.channels == ("column_density", "dispersion")
    with pytest.raises(ValueError, match="no image of a column density"):
        GasMap.read(fits.HDUList([fits.PrimaryHDU(), image(ERROR, "ERROR")]))
