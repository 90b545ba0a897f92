"""Maps of one quantity a file: fits, extinction, dust, integrated lines."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import NDData, StdDevUncertainty

from astrofractal import GasMap
from astrofractal.exceptions import AstrofractalWarning
from astrofractal.gasmap import hildebrand_opacity
from astrofractal.gasmap.column import dust_column_factor
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
    gas = GasMap.from_maps(
        files["N"],
        files["v"],
        files["s"],
        column_density_uncertainty=files["eN"],
        velocity_uncertainty=files["ev"],
        log10=True,
        no_data=0,
        abundance=1e-8,
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
    with pytest.raises(ValueError, match="looks like log10 of a column density: give log10=True"):
        GasMap.from_maps(files["N"], no_data=0, abundance=1e-8)


def test_another_molecule_is_suspected(files):
    with pytest.warns(AstrofractalWarning, match="give abundance="):
        GasMap.from_maps(files["N"], no_data=0, log10=True)
    for bad in (0, -1, 3, "much", np.nan):
        with pytest.raises(ValueError, match="abundance must be molecules per H2"):
            GasMap.from_maps(files["N"], no_data=0, log10=True, abundance=bad)


def test_variance(numbers):
    column, _, sigma = numbers
    column = column / u.cm**2
    squared = NDData(
        1e6 * sigma**2, unit="m2/s2", uncertainty=StdDevUncertainty(1e6 * 0.02 * sigma)
    )
    gas = GasMap.from_maps(column, None, squared, variance=True)
    np.testing.assert_allclose(gas.dispersion.value, sigma, rtol=1e-5)
    np.testing.assert_allclose(gas.dispersion_uncertainty.value, 0.01, rtol=1e-5)
    gas = GasMap.from_maps(column, None, sigma**2 * u.km / u.s, variance=True)  # CASA's label
    np.testing.assert_allclose(gas.dispersion.value, sigma, rtol=1e-5)
    with pytest.raises(u.UnitsError, match="variance=True"):
        GasMap.from_maps(column, None, squared)
    with pytest.raises(ValueError, match="variance=True needs dispersion"):
        GasMap.from_maps(column, variance=True)
    with pytest.raises(u.UnitsError, match="squared velocity"):
        GasMap.from_maps(column, None, sigma * u.K, variance=True)


def test_extinction(numbers):
    extinction = NDData(
        numbers[0] / 9.4e20, unit="mag", uncertainty=StdDevUncertainty(np.full((80, 100), 0.1))
    )
    gas = GasMap.from_maps(extinction, extinction_ratio=9.4e20 * u.cm**-2 / u.mag)
    np.testing.assert_allclose(gas.column_density.value, numbers[0], rtol=1e-5)
    np.testing.assert_allclose(gas.column_density_uncertainty.value, 9.4e19, rtol=1e-5)
    with pytest.raises(u.UnitsError, match="extinction_ratio"):
        GasMap.from_maps(extinction)
    with pytest.raises(TypeError, match="extinction_ratio must be a Quantity"):
        GasMap.from_maps(extinction, extinction_ratio=9.4e20)
    with pytest.raises(u.UnitsError, match="extinction_ratio"):
        GasMap.from_maps(extinction, extinction_ratio=9.4e20 / u.cm**2)
    with pytest.raises(u.UnitsError, match="extinction_ratio needs a map in mag"):
        GasMap.from_maps(numbers[0] / u.cm**2, extinction_ratio=9.4e20 * u.cm**-2 / u.mag)


def test_integrated_line(numbers):
    gas = GasMap.from_maps(numbers[0] / 2e20 * LINE, x_factor=2e20 * u.cm**-2 / LINE)
    np.testing.assert_allclose(gas.column_density.value, numbers[0], rtol=1e-5)
    with pytest.raises(u.UnitsError, match="x_factor must be a column density per integrated"):
        GasMap.from_maps(numbers[0] * LINE, x_factor=2e20 / u.cm**2)


@pytest.mark.parametrize("unit", ["MJy/sr", "Jy/beam", "mJy/arcsec2", "Jy/pix"])
def test_dust_continuum(numbers, wcs, unit):
    beam, wavelength = 14 * u.arcsec, 850 * u.um
    temperature = np.linspace(10, 20, 8000).reshape(80, 100) * u.K
    opacity = hildebrand_opacity(wavelength)
    brightness = numbers[0] / u.cm**2 / dust_column_factor(wavelength, temperature, opacity)
    areas = {"beam": np.pi / (4 * np.log(2)) * beam**2, "pix": (0.001 * u.deg) ** 2}
    per = unit.rsplit("/", 1)[1]
    if per in areas:
        values = (brightness * areas[per]).to_value(u.Jy) * u.Unit(unit)
    else:
        values = brightness.to(unit)
    gas = GasMap.from_maps(
        values,
        wcs=wcs,
        beam=beam,
        dust_temperature=temperature,
        dust_opacity=opacity,
        frequency=wavelength,
    )
    np.testing.assert_allclose(gas.column_density.value, numbers[0], rtol=1e-4)


def test_dust_needs_everything(numbers):
    options = {"dust_temperature": 10 * u.K, "dust_opacity": 0.01 * u.cm**2 / u.g}
    with pytest.raises(ValueError, match="dust continuum also needs frequency"):
        GasMap.from_maps(numbers[0] * u.MJy / u.sr, **options)
    options["frequency"] = 850 * u.um
    with pytest.raises(ValueError, match="solid angle is unknown: give beam="):
        GasMap.from_maps(numbers[0] * u.Jy / u.beam, **options)
    with pytest.raises(u.UnitsError, match="surface brightness"):
        GasMap.from_maps(numbers[0] * u.km, **options)
    cold = options | {"dust_temperature": [10, 11, 12] * u.K}
    with pytest.raises(ValueError, match=r"dust_temperature has shape \(3,\)"):
        GasMap.from_maps(np.ones((4, 3)) * u.MJy / u.sr, **cold)
    with pytest.raises(ValueError, match="only one of"):
        GasMap.from_maps(numbers[0] * LINE, x_factor=1 / LINE / u.cm**2, **options)


def test_different_grids_are_refused(numbers):
    column = NDData(numbers[0], unit="cm-2", wcs=make_wcs((80, 100), step=0.001))
    with pytest.raises(ValueError, match=r"velocity has shape \(3, 3\).*reproject"):
        GasMap.from_maps(column, np.ones((3, 3)) * u.km / u.s)
    with pytest.raises(ValueError, match=r"velocity_uncertainty has shape \(3, 3\)"):
        GasMap.from_maps(
            column, numbers[1] * u.km / u.s, velocity_uncertainty=np.ones((3, 3)) * u.km / u.s
        )
    with pytest.raises(ValueError, match="velocity_uncertainty is given but velocity is not"):
        GasMap.from_maps(column, velocity_uncertainty=numbers[1] * u.km / u.s)


def test_maps_of_fields_without_wcs_need_a_scale(tmp_path, numbers):
    hdu = fits.PrimaryHDU(numbers[0])
    hdu.header["BUNIT"] = "cm-2"
    hdu.writeto(tmp_path / "bare.fits")
    with pytest.raises(ValueError, match=r"bare.fits has no celestial WCS \(no CTYPE\)"):
        GasMap.from_maps(tmp_path / "bare.fits")
    gas = GasMap.from_maps(tmp_path / "bare.fits", pixel_scale=0.01 * u.pc)
    assert gas.pixel_scale == 0.01 * u.pc


def test_given_maps_are_not_changed(numbers):
    values = np.array(numbers[0])
    values[0] = 0
    quantity = values / u.cm**2
    GasMap.from_maps(quantity, no_data=0)
    assert (quantity[0] == 0).all()


def test_line_width(numbers):
    column, velocity, sigma = numbers
    column, velocity, sigma = column / u.cm**2, velocity * u.km / u.s, sigma * u.km / u.s
    wide = NDData(
        1e3 * np.hypot(numbers[2], 0.07),
        unit="m/s",
        uncertainty=StdDevUncertainty(np.full((80, 100), 5.0)),
    )
    gas = GasMap.from_maps(column, velocity, wide, line_width=0.07 * u.km / u.s)
    np.testing.assert_allclose(gas.dispersion.value, sigma.value, rtol=1e-5)
    assert (gas.dispersion_uncertainty.value > 0.005).all()
    gas = GasMap.from_maps(column, velocity, sigma, line_width=1 * u.km / u.s)
    assert (gas.dispersion.value == 0).all()
    with pytest.raises(ValueError, match="line_width=.* needs velocity dispersions"):
        GasMap.from_maps(column, velocity, line_width=0.07 * u.km / u.s)
    with pytest.raises(TypeError, match="line_width must be a Quantity"):
        GasMap.from_maps(column, velocity, sigma, line_width=0.07)
    with pytest.raises(u.UnitsError, match="line_width"):
        GasMap.from_maps(column, velocity, sigma, line_width=10 * u.K)


def test_header_is_read_as_by_read(tmp_path):
    gas = GasMap(np.full((9, 8), 1e22) / u.cm**2, pixel_scale=0.02 * u.pc, meta={"object": "B5"})
    gas.write(tmp_path / "gas.fits")
    again = GasMap.from_maps(tmp_path / "gas.fits")
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
    options = {"log10": True, "abundance": 1e-8}
    gas = GasMap.from_maps(tmp_path / "fit.fits", **options)
    for name, expected in zip(gas.channels, numbers, strict=True):
        np.testing.assert_allclose(getattr(gas, name).value, expected, rtol=1e-5, atol=1e-6)
    gas = GasMap.from_maps(tmp_path / "fit.fits", np.full((80, 100), 9.0) * u.km / u.s, **options)
    assert (gas.velocity == 9 * u.km / u.s).all()
    np.testing.assert_allclose(gas.dispersion.value, numbers[2], rtol=1e-5)
    gas = GasMap.from_maps(tmp_path / "fit.fits", hdu="N", **options)
    assert gas.channels == ("column_density",)
    alone = GasMap.from_maps(tmp_path / "fit.fits", tmp_path / "fit.fits", hdu="N", **options)
    np.testing.assert_allclose(alone.velocity.value, numbers[1], rtol=1e-5, atol=1e-6)


def test_temperature_from_a_file(tmp_path, numbers, wcs):
    temperature = np.linspace(10, 20, 8000).reshape(80, 100)
    options = {"dust_opacity": hildebrand_opacity(850 * u.um), "frequency": 850 * u.um}
    data = NDData(numbers[0] / 1e21, unit="MJy/sr", wcs=wcs)
    expected = GasMap.from_maps(data, dust_temperature=temperature * u.K, **options)
    hdu = fits.PrimaryHDU(temperature, wcs.to_header())
    hdu.data[0] = 0
    hdu.header["BUNIT"] = "K"
    hdu.writeto(tmp_path / "T.fits")
    gas = GasMap.from_maps(data, dust_temperature=tmp_path / "T.fits", no_data=0, **options)
    assert gas.mask[0].all()
    np.testing.assert_allclose(gas.column_density.value[1:], expected.column_density.value[1:])
    with pytest.raises(ValueError, match="dust_temperature must be positive"):
        GasMap.from_maps(data, dust_temperature=tmp_path / "T.fits", **options)
    shifted = make_wcs((80, 100), step=0.001, crval=(52.1, 31.0))
    other = NDData(temperature, unit="K", wcs=shifted)
    with pytest.raises(ValueError, match="dust_temperature is on another grid"):
        GasMap.from_maps(data, dust_temperature=other, **options)
