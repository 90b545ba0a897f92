"""Observations as found in the wild: what should work does, what should not is refused by name."""

import re
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits

from astrofractal import GasMap
from astrofractal.cli import main
from astrofractal.exceptions import AstrofractalWarning
from astrofractal.gasmap import Abundance, DustEmission, Extinction, XFactor, hildebrand_opacity

X_FACTOR = XFactor(1e21 * u.cm**-2 / (u.K * u.km / u.s))
DISTANCE = 300 * u.pc


@pytest.fixture
def real(shared_data):
    """Give the path of an observed file."""
    return lambda name: shared_data / "real" / f"{name}.fits"


@pytest.mark.parametrize(
    ("name", "error", "match"),
    [
        ("astrodendro_L1551_scuba_850mu", ValueError, "no BUNIT: give the unit"),
        ("astrodendro_PerA_Extn2MASS_F_Gal", ValueError, "no BUNIT: give the unit"),
        ("b5_NH3_11_TdV", u.UnitsError, "XFactor"),
        ("b5_NH3_Vlsr", u.UnitsError, "must be a column density.*km / s.*as velocity= or"),
        ("b5_NH3_sigma_v", u.UnitsError, "column_density must be a column density.*km / s"),
        ("droplets_L1688_N_NH3", ValueError, "looks like log10.*unit=.dex"),
        ("droplets_L1688_eVlsr", u.UnitsError, "column_density must be"),
        ("ngc1333_13CO_TdV", u.UnitsError, "XFactor"),
        ("pyspeckit_n2hp_cube", ValueError, "no celestial WCS.*VELOCITY.*name its axes"),
        ("reproject_equatorial_3d", ValueError, "position-position-velocity cube.*column=XFactor"),
        ("reproject_galactic_2d", ValueError, "no BUNIT: give the unit"),
        ("reproject_image_with_distortion_map", ValueError, "no celestial WCS"),
        (
            "spectralcube_example_cube",
            ValueError,
            "position-position-velocity cube.*column=XFactor",
        ),
    ],
)
def test_refused_by_name_of_the_reason(real, name, error, match):
    with pytest.raises(error, match=match):
        GasMap.read(real(name), distance=DISTANCE)


def test_the_command_says_what_helps(shared_data, tmp_path, capsys):
    """Errors are one line that names the file and options, without the words of Python."""
    names = {}
    for path in sorted((shared_data / "real").glob("*.fits")):
        if path.name == "ngc1333_SE_H2.fits":  # N(H2)
            continue
        arguments = ["mass", str(path), "--distance", "300", "--output", str(tmp_path / "m.ecsv")]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an equinox
            assert main(arguments) == 1
        message = capsys.readouterr().err
        assert message.count("\n") == 1, message
        assert path.name in message
        assert not re.search(r"GasMap|(?<!\w)u\.[A-Za-z]|\w=(?!=)", message), message
        names[path.stem] = message
    assert "give --x-factor, " in names["glue_l1448_13co"]
    assert "'2e20 cm-2 / (K km s-1)'" in names["glue_l1448_13co"]
    assert "as --velocity or as --dispersion" in names["b5_NH3_sigma_v"]
    assert "needs --x-factor" in names["peremb2_HC3N_10-9_TdV"]
    assert "give --unit 'dex(cm-2)'" in names["droplets_L1688_N_NH3"]
    assert not list(tmp_path.iterdir())


def test_ammonia_of_l1688(real):
    """log10 N(NH3) that says cm-2, 0 for no fit, ragged borders."""
    name = "droplets_L1688_"
    gas = GasMap.read(
        real(name + "N_NH3"),
        real(name + "Vlsr"),
        real(name + "Sigma"),
        uncertainty={
            "column_density": real(name + "eN_NH3"),
            "velocity": real(name + "eVlsr"),
            "dispersion": real(name + "eSigma"),
        },
        unit="dex(cm-2)",
        no_data=0,
        column=Abundance(1e-8),
        distance=138 * u.pc,
    )
    assert gas.beam.major.to_value(u.arcsec) == pytest.approx(31.8, abs=0.1)
    assert 3 < np.nanmedian(gas.velocity.value) < 4
    assert 0.1 < np.nanmedian(gas.dispersion.value) < 0.5
    assert 21 < np.log10(np.nanmedian(gas.column_density.value)) < 23
    assert np.nanmin(gas.velocity_uncertainty.value) > 0
    # Oph A, dense and in the map
    cutout = gas.cutout(SkyCoord("16h26m27.5s -24d23m54s"), size=0.1 * u.pc)
    assert "other-pixel-scale" in cutout.flags
    assert np.isfinite(cutout.to_array()[:, 32, 32]).all()


def test_barnard_5(real):
    gas = GasMap.read(
        real("b5_NH3_11_TdV"),
        real("b5_NH3_Vlsr"),
        real("b5_NH3_sigma_v"),
        column=X_FACTOR,
        distance=DISTANCE,
    )
    assert gas.channels == ("column_density", "velocity", "dispersion")
    assert np.nanmedian(gas.velocity.value) == pytest.approx(10.2, abs=0.1)
    assert gas.to_sky(79.5, 99).ra.deg == pytest.approx(56.901, abs=1e-3)


def test_carbon_monoxide_of_ngc1333(real):
    gas = GasMap.read(real("ngc1333_13CO_TdV"), column=X_FACTOR, distance=DISTANCE)
    assert 0 < gas.mask.mean() < 0.05  # noise below zero
    assert gas.meta["object"] == "PERSEUS"
    assert gas.beam.major.to_value(u.arcsec) == pytest.approx(46)


def test_a_line_in_jansky_per_beam(real):
    """HC3N of Per-emb-2, with the beam and the rest frequency of its header."""
    name = "peremb2_HC3N_10-9_"
    maps = [real(name + quantity) for quantity in ("TdV", "Vc", "sigma_v")]
    gas = GasMap.read(*maps, column=X_FACTOR, distance=DISTANCE)
    assert gas.beam.major.to_value(u.arcsec) == pytest.approx(3.727, abs=1e-3)
    assert 6.5 < np.nanmedian(gas.velocity.value) < 7.5
    assert 0.1 < np.nanmedian(gas.dispersion.value) < 0.5
    given = GasMap.read(*maps, column=XFactor(X_FACTOR.value, 90.979023 * u.GHz), distance=DISTANCE)
    np.testing.assert_allclose(given.column_density, gas.column_density, rtol=1e-6)
    values = fits.getdata(maps[0]).squeeze()
    brightest = np.unravel_index(np.nanargmax(values), values.shape)
    kelvin = (values[brightest] * u.Jy / u.beam).to(
        u.K, u.brightness_temperature(90.979023 * u.GHz, gas.beam.sr)
    )
    expected = (kelvin * u.km / u.s * X_FACTOR.value).to_value(u.cm**-2)
    assert gas.column_density.value[brightest] == pytest.approx(expected, rel=1e-5)


def test_motions_of_a_core_on_the_grid_of_an_extinction_map(real):
    """Barnard 5 in ammonia, 2 arcsec a pixel, on 148 arcsec of 2MASS."""
    pytest.importorskip("reproject", reason="needs the extra cube", exc_type=ImportError)
    with pytest.warns(AstrofractalWarning, match="velocity and dispersion are on another grid"):
        gas = GasMap.read(
            real("astrodendro_PerA_Extn2MASS_F_Gal"),
            real("b5_NH3_Vlsr"),
            real("b5_NH3_sigma_v"),
            unit="mag",
            column=Extinction(9.4e20 * u.cm**-2 / u.mag),
            distance=DISTANCE,
        )
    known = np.isfinite(gas.velocity.value)
    assert 1 <= known.sum() < 30  # the map of ammonia is 7 arcmin wide
    y, x = np.argwhere(known).mean(axis=0)
    assert gas.to_sky(x, y).icrs.separation(SkyCoord("3h47m38s +32d52m")).arcmin < 4
    np.testing.assert_allclose(gas.velocity.value[known], 10.2, atol=0.2)
    assert gas.meta["regridded"] == "velocity, dispersion"


def test_extinction_of_perseus(real):
    gas = GasMap.read(
        real("astrodendro_PerA_Extn2MASS_F_Gal"),
        unit="mag",
        column=Extinction(9.4e20 * u.cm**-2 / u.mag),
        distance=DISTANCE,
    )
    # IC 348 is in the cloud
    position = SkyCoord("3h44m34s +32d09.8m")
    assert gas.contains(position)[0]
    cutout = gas.cutout(position, size=8 * u.pc)
    assert np.nanmax(cutout.column_density.value) > 5e21
    assert 1e4 < gas.mass.value < 2e5  # the map is far wider than the cloud


def test_dust_of_l1551(real):
    """An old EPOCH header without unit and beam."""
    options = {
        "unit": "Jy/beam",
        "column": DustEmission(15 * u.K, 850 * u.um, hildebrand_opacity(850 * u.um)),
    }
    name = real("astrodendro_L1551_scuba_850mu")
    with pytest.raises(ValueError, match="give beam="):
        GasMap.read(name, **options)
    gas = GasMap.read(name, beam=14 * u.arcsec, distance=140 * u.pc, **options)
    y, x = np.unravel_index(np.nanargmax(gas.column_density.value), gas.shape)
    irs5 = SkyCoord("4h31m34.1s +18d08m05s")
    assert gas.to_sky(x, y).icrs.separation(irs5).arcsec < 15


def test_plate_carree_without_unit(real):
    gas = GasMap.read(real("reproject_galactic_2d"), unit="1e26 cm-2", distance=DISTANCE)
    center = gas.to_sky(19, 20.5)
    assert center.frame.name == "galactic"
    assert center.separation(SkyCoord(0, 0, unit="deg", frame="galactic")).arcsec < 1e-6
    assert gas.cutout(center, size=0.1 * u.pc).masked_fraction == 0


def test_cube_of_four_axes(real):
    pytest.importorskip("spectral_cube", reason="needs the extra cube", exc_type=ImportError)
    name = real("spectralcube_example_cube")
    gas = GasMap.from_cube(name, column=X_FACTOR, snr=0.5, noise=0.05 * u.K, distance=DISTANCE)
    assert gas.shape == fits.getdata(name).shape[-2:]
    assert gas.to_sky(0, 0).ra.deg == pytest.approx(52.2315, abs=1e-3)


def test_cube_of_optical_velocities(real):
    pytest.importorskip("spectral_cube", reason="needs the extra cube", exc_type=ImportError)
    with pytest.raises(ValueError, match="no BUNIT.*unit='K'"):
        GasMap.from_cube(real("reproject_equatorial_3d"), column=X_FACTOR)
    gas = GasMap.from_cube(real("reproject_equatorial_3d"), column=X_FACTOR, unit="K")
    assert gas.shape == (5, 7)
    assert np.nanmedian(gas.velocity.value) == pytest.approx(0.08, abs=0.05)


@pytest.mark.parametrize("name", ["cloud01_x", "cloud02_z", "cloud04_z"])
def test_simulated_fields(shared_data, name):
    path = shared_data / "fields" / f"{name}.fits"
    gas = GasMap.read(path)
    assert gas.distance == DISTANCE  # its header tells the unit
    mass = fits.getheader(path)["MCLOUD"]
    assert 1 < gas.mass.value / mass < 1.25  # the cloud and some of the warm medium around it
    sinks = fits.getdata(path, "SINKS")
    positions = SkyCoord(sinks["ra"], sinks["dec"], unit="deg")
    x, y = gas.to_pixel(positions)
    np.testing.assert_allclose(x, sinks["x"], atol=1e-6)
    np.testing.assert_allclose(y, sinks["y"], atol=1e-6)
