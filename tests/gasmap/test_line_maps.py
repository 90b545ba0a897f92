"""Maps of one quantity a file: fits, extinction, dust, integrated lines."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import NDData, StdDevUncertainty

from astrofractal import GasMap
from astrofractal.exceptions import AstrofractalWarning
from astrofractal.gasmap import Abundance, DustEmission, Extinction, XFactor, hildebrand_opacity
from tests.factories import make_wcs

LINE = u.K * u.km / u.s


@pytest.fixture
def files(tmp_path, numbers, wcs):
    """Files of log10 N(NH3), v and sigma and their errors; 0 means no fit."""
    abundance = 1e-8
    log = np.log10(numbers[0] * abundance)
    data = {
        "N": (log, "cm-2"),
        "v": (numbers[1] + 3, "km/s"),
        "s": (1e3 * numbers[2], "m/s"),
        "eN": (np.full_like(log, 0.1), "cm-2"),
        "ev": (np.full_like(log, 0.02), "km/s"),
    }
    for name, (values, unit) in data.items():
        values[:4] = 0
        hdu = fits.PrimaryHDU(values, wcs.to_header())
        hdu.header["BUNIT"] = unit
        hdu.header["BMAJ"] = hdu.header["BMIN"] = 0.002
        hdu.writeto(tmp_path / f"{name}.fits")
    return {name: tmp_path / f"{name}.fits" for name in data}


def test_fitted_line(files, numbers):
    gas = GasMap.read(
        files["N"],
        files["v"],
        files["s"],
        uncertainty={"column_density": files["eN"], "velocity": files["ev"]},
        unit="dex(cm-2)",
        no_data=0,
        column=Abundance(1e-8),
        distance=140 * u.pc,
    )
    assert gas.mask[:4].all()
    assert not gas.mask[4:].any()
    np.testing.assert_allclose(gas.column_density.value[4:], numbers[0][4:], rtol=1e-5)
    np.testing.assert_allclose(gas.velocity.value[4:], numbers[1][4:] + 3, rtol=1e-5)
    np.testing.assert_allclose(gas.dispersion.value[4:], numbers[2][4:], rtol=1e-5)
    ratio = (gas.column_density_uncertainty / gas.column_density).value[4:]
    np.testing.assert_allclose(ratio, 0.1 * np.log(10), rtol=1e-4)
    np.testing.assert_allclose(gas.velocity_uncertainty.value[4:], 0.02)
    assert gas.beam.major.to_value(u.deg) == pytest.approx(0.002)
    assert gas.to_sky(49.5, 39.5).dec.deg == pytest.approx(31)


def test_undeclared_logarithm_is_refused(files):
    with pytest.raises(ValueError, match="looks like log10 of a column density: give unit=.dex"):
        GasMap.read(files["N"], no_data=0, column=Abundance(1e-8))


def test_another_molecule_is_suspected(files):
    with pytest.warns(AstrofractalWarning, match="give column=Abundance"):
        GasMap.read(files["N"], no_data=0, unit="dex(cm-2)")
    for bad in (0, -1, 3, "much", np.nan):
        with pytest.raises(ValueError, match="abundance must be molecules per H2"):
            GasMap.read(files["N"], no_data=0, unit="dex(cm-2)", column=Abundance(bad))


def test_variance(numbers):
    column, _, sigma = numbers
    column = column / u.cm**2
    squared = NDData(
        1e6 * sigma**2, unit="m2/s2", uncertainty=StdDevUncertainty(1e6 * 0.02 * sigma)
    )
    gas = GasMap.read(column, None, squared, dispersion_kind="variance")
    np.testing.assert_allclose(gas.dispersion.value, sigma, rtol=1e-5)
    np.testing.assert_allclose(gas.dispersion_uncertainty.value, 0.01, rtol=1e-5)
    gas = GasMap.read(
        column, None, sigma**2 * u.km / u.s, dispersion_kind="variance"
    )  # CASA's label
    np.testing.assert_allclose(gas.dispersion.value, sigma, rtol=1e-5)
    with pytest.raises(u.UnitsError, match="dispersion .sigma."):
        GasMap.read(column, None, squared, dispersion_kind="sigma")
    with pytest.raises(ValueError, match="dispersion_kind='variance' needs dispersion"):
        GasMap.read(column, dispersion_kind="variance")
    with pytest.raises(u.UnitsError, match="squared velocity"):
        GasMap.read(column, None, sigma * u.K, dispersion_kind="variance")


def test_extinction(numbers):
    extinction = NDData(
        numbers[0] / 9.4e20, unit="mag", uncertainty=StdDevUncertainty(np.full((80, 100), 0.1))
    )
    gas = GasMap.read(extinction, column=Extinction(9.4e20 * u.cm**-2 / u.mag))
    np.testing.assert_allclose(gas.column_density.value, numbers[0], rtol=1e-5)
    np.testing.assert_allclose(gas.column_density_uncertainty.value, 9.4e19, rtol=1e-5)
    with pytest.raises(u.UnitsError, match=r"column=Extinction\(...\)"):
        GasMap.read(extinction)
    with pytest.raises(TypeError, match="Extinction: ratio must be a Quantity"):
        Extinction(9.4e20)
    with pytest.raises(u.UnitsError, match="Extinction: ratio"):
        Extinction(9.4e20 / u.cm**2)
    with pytest.raises(u.UnitsError, match="Extinction needs a map in mag"):
        GasMap.read(numbers[0] / u.cm**2, column=Extinction(9.4e20 * u.cm**-2 / u.mag))


def test_integrated_line(numbers):
    gas = GasMap.read(numbers[0] / 2e20 * LINE, column=XFactor(2e20 * u.cm**-2 / LINE))
    np.testing.assert_allclose(gas.column_density.value, numbers[0], rtol=1e-5)
    with pytest.raises(
        u.UnitsError, match="XFactor: value must be a column density per integrated"
    ):
        XFactor(2e20 / u.cm**2)


@pytest.mark.parametrize("unit", ["MJy/sr", "Jy/beam", "mJy/arcsec2", "Jy/pix"])
def test_dust_continuum(numbers, wcs, unit):
    beam, wavelength = 14 * u.arcsec, 850 * u.um
    temperature = np.linspace(10, 20, 8000).reshape(80, 100) * u.K
    opacity = hildebrand_opacity(wavelength)
    dust = DustEmission(temperature, wavelength, opacity)
    brightness = (
        numbers[0] / dust.to_column_density(np.ones((80, 100)) * u.Jy / u.sr).value * u.Jy / u.sr
    )
    areas = {"beam": np.pi / (4 * np.log(2)) * beam**2, "pix": (0.001 * u.deg) ** 2}
    per = unit.rsplit("/", 1)[1]
    if per in areas:
        values = (brightness * areas[per]).to_value(u.Jy) * u.Unit(unit)
    else:
        values = brightness.to(unit)
    gas = GasMap.read((values, wcs), beam=beam, column=dust)
    np.testing.assert_allclose(gas.column_density.value, numbers[0], rtol=1e-4)


def test_dust_needs_everything(numbers):
    opacity = 0.01 * u.cm**2 / u.g
    with pytest.raises(TypeError, match="opacity"):
        DustEmission(10 * u.K, 850 * u.um)
    dust = DustEmission(10 * u.K, 850 * u.um, opacity)
    with pytest.raises(ValueError, match="no beam: give beam="):
        GasMap.read(numbers[0] * u.Jy / u.beam, column=dust)
    with pytest.raises(u.UnitsError, match="surface brightness"):
        GasMap.read(numbers[0] * u.km, column=dust)
    cold = DustEmission([10, 11, 12] * u.K, 850 * u.um, opacity)
    with pytest.raises(ValueError, match=r"temperature has shape \(3,\)"):
        GasMap.read(np.ones((4, 3)) * u.MJy / u.sr, column=cold)
    with pytest.raises(TypeError, match="column must be an XFactor, Extinction, DustEmission or"):
        GasMap.read(numbers[0] * LINE, column=1 / LINE / u.cm**2)


def test_different_grids_are_refused(numbers):
    column = NDData(numbers[0], unit="cm-2", wcs=make_wcs((80, 100), step=0.001))
    with pytest.raises(ValueError, match=r"velocity has shape \(3, 3\).*reproject"):
        GasMap.read(column, np.ones((3, 3)) * u.km / u.s)
    with pytest.raises(ValueError, match=r"uncertainty of velocity has shape \(3, 3\)"):
        GasMap.read(
            column, numbers[1] * u.km / u.s, uncertainty={"velocity": np.ones((3, 3)) * u.km / u.s}
        )
    with pytest.raises(
        ValueError, match="uncertainty has .velocity., but the map has column_density"
    ):
        GasMap.read(column, uncertainty={"velocity": numbers[1] * u.km / u.s})


def test_maps_of_fields_without_wcs_need_a_scale(tmp_path, numbers):
    hdu = fits.PrimaryHDU(numbers[0])
    hdu.header["BUNIT"] = "cm-2"
    hdu.writeto(tmp_path / "bare.fits")
    with pytest.raises(ValueError, match=r"bare.fits has no celestial WCS \(no CTYPE\)"):
        GasMap.read(tmp_path / "bare.fits")
    gas = GasMap.read(tmp_path / "bare.fits", pixel_scale=0.01 * u.pc)
    assert gas.pixel_scale == 0.01 * u.pc


def test_given_maps_are_not_changed(numbers):
    values = np.array(numbers[0])
    values[0] = 0
    quantity = values / u.cm**2
    GasMap.read(quantity, no_data=0)
    assert (quantity[0] == 0).all()


def test_line_width(numbers):
    column, velocity, sigma = numbers
    column, velocity, sigma = column / u.cm**2, velocity * u.km / u.s, sigma * u.km / u.s
    wide = NDData(
        1e3 * np.hypot(numbers[2], 0.07),
        unit="m/s",
        uncertainty=StdDevUncertainty(np.full((80, 100), 5.0)),
    )
    gas = GasMap.read(column, velocity, wide, line_width=0.07 * u.km / u.s)
    np.testing.assert_allclose(gas.dispersion.value, sigma.value, rtol=1e-5)
    assert (gas.dispersion_uncertainty.value > 0.005).all()
    gas = GasMap.read(column, velocity, sigma, line_width=1 * u.km / u.s)
    assert (gas.dispersion.value == 0).all()
    with pytest.raises(ValueError, match="line_width=.* needs velocity dispersions"):
        GasMap.read(column, velocity, line_width=0.07 * u.km / u.s)
    with pytest.raises(TypeError, match="line_width must be a Quantity"):
        GasMap.read(column, velocity, sigma, line_width=0.07)
    with pytest.raises(u.UnitsError, match="line_width"):
        GasMap.read(column, velocity, sigma, line_width=10 * u.K)


def test_header_is_read_as_by_read(tmp_path):
    gas = GasMap(np.full((9, 8), 1e22) / u.cm**2, pixel_scale=0.02 * u.pc, meta={"object": "B5"})
    gas.write(tmp_path / "gas.fits")
    again = GasMap.read(tmp_path / "gas.fits")
    assert again.pixel_scale == gas.pixel_scale
    assert again.fingerprint() == GasMap.read(tmp_path / "gas.fits").fingerprint()


def test_file_with_named_extensions(tmp_path, numbers, wcs):
    """The velocities of the file come along, unless others are given."""
    hdus = [fits.PrimaryHDU()]
    for name, unit, data in zip(
        ("N", "VLSR", "SIGMA"), ("cm-2", "km/s", "km/s"), numbers, strict=True
    ):
        hdus.append(fits.ImageHDU(data, wcs.to_header(), name))
        hdus[-1].header["BUNIT"] = unit
    hdus[1].data = np.log10(1e-8 * numbers[0])
    fits.HDUList(hdus).writeto(tmp_path / "fit.fits")
    options = {"unit": "dex(cm-2)", "column": Abundance(1e-8)}
    gas = GasMap.read(tmp_path / "fit.fits", **options)
    for name, expected in zip(gas.channels, numbers, strict=True):
        np.testing.assert_allclose(getattr(gas, name).value, expected, rtol=1e-5, atol=1e-6)
    gas = GasMap.read(tmp_path / "fit.fits", np.full((80, 100), 9.0) * u.km / u.s, **options)
    assert (gas.velocity == 9 * u.km / u.s).all()
    np.testing.assert_allclose(gas.dispersion.value, numbers[2], rtol=1e-5)
    gas = GasMap.read(tmp_path / "fit.fits", hdu="N", **options)
    assert gas.channels == ("column_density",)
    alone = GasMap.read(tmp_path / "fit.fits", tmp_path / "fit.fits", hdu="N", **options)
    np.testing.assert_allclose(alone.velocity.value, numbers[1], rtol=1e-5, atol=1e-6)


def test_temperature_from_a_file(tmp_path, numbers, wcs):
    temperature = np.linspace(10, 20, 8000).reshape(80, 100)

    def dust(temperature):
        return DustEmission(temperature, 850 * u.um, hildebrand_opacity(850 * u.um))

    data = NDData(numbers[0] / 1e21, unit="MJy/sr", wcs=wcs)
    expected = GasMap.read(data, column=dust(temperature * u.K))
    hdu = fits.PrimaryHDU(temperature, wcs.to_header())
    hdu.data[0] = 0
    hdu.header["BUNIT"] = "K"
    hdu.writeto(tmp_path / "T.fits")
    gas = GasMap.read(data, column=dust(tmp_path / "T.fits"), no_data=0)
    assert gas.mask[0].all()
    np.testing.assert_allclose(gas.column_density.value[1:], expected.column_density.value[1:])
    with pytest.raises(ValueError, match="temperature must be positive"):
        GasMap.read(data, column=dust(tmp_path / "T.fits"))
    shifted = make_wcs((80, 100), step=0.001, crval=(52.1, 31.0))
    other = NDData(temperature, unit="K", wcs=shifted)
    with pytest.raises(ValueError, match="temperature is on another grid"):
        GasMap.read(data, column=dust(other))
