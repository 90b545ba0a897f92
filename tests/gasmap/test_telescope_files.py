"""What telescopes and their packages deliver."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits

from astrofractal import GasMap
from astrofractal.exceptions import AstrofractalWarning
from astrofractal.gasmap import Abundance
from tests.factories import make_header

SHAPE = (12, 10)


@pytest.mark.parametrize("key", ["EQUINOX", "EPOCH"])
def test_an_equinox_of_zero_is_none(key):
    hdu = fits.PrimaryHDU(np.full(SHAPE, 1e22), make_header(SHAPE, **{key: 0.0}))
    with pytest.warns(AstrofractalWarning, match=f"{key} = 0, which is no equinox") as caught:
        gas = GasMap.read(hdu)
    assert {one.filename for one in caught} == {__file__}
    center = gas.to_sky(4.5, 5.5)
    assert center.icrs.separation(SkyCoord(52.0, 31.0, unit="deg")) < 0.1 * u.arcsec


def test_projection_of_spectral_cube():
    module = pytest.importorskip(
        "spectral_cube", reason="needs the extra cube", exc_type=ImportError
    )
    values = np.full(SHAPE, 1e22)
    values[2, 3] = np.nan
    projection = module.Projection.from_hdu(fits.PrimaryHDU(values, make_header(SHAPE)))
    gas = GasMap(projection, distance=300 * u.pc)
    np.testing.assert_array_equal(gas.mask, np.isnan(values))
    assert gas.wcs is not None


@pytest.mark.parametrize("shape", [SHAPE, (1, *SHAPE), (1, 1, *SHAPE)])
def test_masks_with_axes_of_one_pixel_count(shape):
    mask = np.zeros(SHAPE, np.uint8)
    mask[3:5, 2] = 1
    hdus = fits.HDUList([fits.PrimaryHDU()])
    hdus.append(fits.ImageHDU(np.full(SHAPE, 1e22), make_header(SHAPE), name="COLUMN_DENSITY"))
    hdus.append(fits.ImageHDU(mask.reshape(shape), name="MASK"))
    np.testing.assert_array_equal(GasMap.read(hdus).mask, mask.astype(bool))


def test_a_mask_of_another_shape_warns():
    hdus = fits.HDUList([fits.PrimaryHDU()])
    hdus.append(fits.ImageHDU(np.full(SHAPE, 1e22), make_header(SHAPE), name="COLUMN_DENSITY"))
    hdus.append(fits.ImageHDU(np.ones((3, 3), np.uint8), name="MASK"))
    with pytest.warns(AstrofractalWarning, match="the mask is not used") as caught:
        GasMap.read(hdus)
    assert {one.filename for one in caught} == {__file__}


@pytest.mark.parametrize("no_data", [-999.9, 1.1e20, -1e300])
@pytest.mark.parametrize("dtype", [">f4", ">f8"])
def test_no_data_in_single_precision(no_data, dtype):
    values = np.full(SHAPE, 1e22)
    values[1, 2] = no_data
    with np.errstate(over="ignore"):
        hdu = fits.PrimaryHDU(values.astype(dtype), make_header(SHAPE))
    assert GasMap.read(hdu, no_data=no_data).mask.sum() == 1


def column(**cards):
    return fits.PrimaryHDU(np.full(SHAPE, 1e22), make_header(SHAPE, **cards))


@pytest.mark.parametrize("name", ["FOOTPRINT", "coverage", "WEIGHT", "WHT"])
@pytest.mark.parametrize("cards", [{"BUNIT": None}, {}])
def test_footprints_beside_a_map(name, cards):
    """What reproject and Herschel's pipeline write: zero where nothing was observed."""
    seen = np.ones(SHAPE, "f4")
    seen[:3] = 0
    seen[3, 3] = np.nan
    hdus = fits.HDUList([column(), fits.ImageHDU(seen, make_header(SHAPE, **cards), name=name)])
    expected = ~(seen > 0)
    np.testing.assert_array_equal(GasMap.read(hdus).mask, expected)
    np.testing.assert_array_equal(GasMap.read(hdus).mask, expected)


@pytest.mark.parametrize("name", ["RMS", "SNR", "CHI2", "FLAGS"])
def test_images_beside_a_map(name):
    hdus = fits.HDUList([column(), fits.ImageHDU(np.zeros(SHAPE), make_header(SHAPE), name=name)])
    assert not GasMap.read(hdus).mask.any()


@pytest.mark.parametrize("unit", ["pixel", "UNKNOWN", "channel", "lsr km/s", "Stokes"])
@pytest.mark.parametrize("ctype", ["VRAD", "FREQ", "VELO-LSR", "STOKES"])
def test_units_of_an_axis_of_one_pixel(unit, ctype):
    axis = {"CTYPE3": ctype, "CUNIT3": unit, "CRVAL3": 1.0, "CRPIX3": 1.0, "CDELT3": 1.0}
    data = np.full((1, *SHAPE), 1e22)
    gas = GasMap.read(fits.PrimaryHDU(data, make_header(SHAPE, **axis)), distance=300 * u.pc)
    center = gas.to_sky(4.5, 5.5)
    assert center.icrs.separation(SkyCoord(52.0, 31.0, unit="deg")) < 0.1 * u.arcsec


@pytest.mark.parametrize(
    "cards",
    [
        {"CTYPE1": "OFFSET", "CTYPE2": "VRAD"},
        {"CTYPE1": "VELO-LSR", "CTYPE2": "OFFSET"},
        {"CTYPE1": "offset", "CTYPE2": "velocity"},
        {"CTYPE1": "GLON-CAR", "CTYPE2": "VELOCITY"},
        {"CTYPE1": "X", "CTYPE2": "V"},
        {"CTYPE1": "OFFSET", "CTYPE2": "KM/S"},
        {"CTYPE1": "", "CTYPE2": "", "CUNIT1": "arcsec", "CUNIT2": "km/s"},
        {"CTYPE1": "DEC--SIN", "CTYPE2": "FREQ", "CTYPE3": "RA---SIN"},
    ],
)
@pytest.mark.parametrize("options", [{}, {"pixel_scale": 0.01 * u.pc}])
def test_position_velocity_diagrams(cards, options):
    for reader in (GasMap.read, GasMap.read):
        with pytest.raises(ValueError, match="is a position-velocity diagram"):
            reader(column(**cards), **options)


def errors(values, unit):
    return fits.ImageHDU(np.full(SHAPE, values), make_header(SHAPE, BUNIT=unit), name="ERROR")


@pytest.mark.parametrize(
    ("value", "unit", "options"),
    [
        (0.1, "cm-2", {"unit": "dex(cm-2)"}),
        (0.1, "cm-2", {"unit": "dex(cm-2)", "column": Abundance(1e-8), "no_data": 0}),
        (0.5, "dex(cm-2)", {}),
        (5.0, "dex(cm-2)", {}),
    ],
)
def test_maps_of_errors_in_dex_are_no_columns(value, unit, options):
    with pytest.raises(ValueError, match="is it the map of its errors"):
        GasMap.read(errors(value, unit), **options)


def test_logarithms_in_a_larger_unit():
    hdu = fits.PrimaryHDU(np.full(SHAPE, 0.5), make_header(SHAPE))
    gas = GasMap.read(hdu, unit="dex(1e21 cm-2)")
    np.testing.assert_allclose(gas.column_density.value, 10**21.5)


@pytest.mark.parametrize("unit", ["dex", "dex(cm-2)", "log10(cm-2)"])
def test_errors_in_dex_of_a_linear_map(unit):
    expected = 0.1 * np.log(10) * 1e22
    for gas in (
        GasMap.read(fits.HDUList([column(), errors(0.1, unit)])),
        GasMap.read(column(), uncertainty={"column_density": errors(0.1, unit)}),
    ):
        np.testing.assert_allclose(gas.column_density_uncertainty.value, expected)


@pytest.mark.parametrize(
    "options", [{"unit": "dex(cm-2)"}, {"unit": {"column_density": "dex(cm-2)"}}]
)
def test_linear_errors_of_a_logarithm(options):
    logarithm = fits.PrimaryHDU(np.full(SHAPE, 22.0), make_header(SHAPE))
    for gas in (
        GasMap.read(fits.HDUList([logarithm, errors(1e21, "cm-2")]), **options),
        GasMap.read(logarithm, uncertainty={"column_density": errors(1e21, "cm-2")}, **options),
    ):
        np.testing.assert_allclose(gas.column_density_uncertainty.value, 1e21)


def test_errors_that_are_too_good():
    """Errors in dex that say cm-2."""
    with pytest.raises(ValueError, match=r"1e-23 of the column.*unit dex\(cm-2\)"):
        GasMap.read(column(), uncertainty={"column_density": errors(0.1, "cm-2")})
