"""The arguments that say what a map is: from the command line to the API."""

import argparse

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from astrofractal import GasMap
from astrofractal.cli.options import add_map_arguments, read_map
from astrofractal.gasmap import DustEmission, hildebrand_opacity
from tests.factories import make_header

X_FACTOR = "1e21 cm-2 / (K km/s)"
Y, X = np.mgrid[:20, :24]
COLUMN = 1e21 * (1 + 20 * np.exp(-((X - 12) ** 2 + (Y - 10) ** 2) / 30))


def header(unit, **cards):
    return make_header(COLUMN.shape, step=0.002, BUNIT=unit, **cards)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Maps and a cube of one cloud."""
    folder = tmp_path_factory.mktemp("maps")
    rows = np.linspace(10, 20, 20)[:, None] + 0 * X
    maps = {
        "N": (COLUMN, "cm-2"), "v": (3 + 0.01 * X, "km/s"), "s": (0.3 + 0.01 * Y, "km/s"),
        "var": ((0.3 + 0.01 * Y) ** 2, "km2/s2"), "eN": (COLUMN / 10, "cm-2"), "T": (rows, "K"),
        "av": (COLUMN / 9.4e20, "mag"), "w": (COLUMN / 1e21, "K km/s"),
        "dust": (COLUMN / 1e20, "MJy/sr"), "v_bare": (3e3 + 10.0 * X, ""),
    }  # fmt: skip
    for name, (data, unit) in maps.items():
        fits.writeto(folder / f"{name}.fits", data, header(unit))
    bare = fits.PrimaryHDU(COLUMN, fits.Header({"BUNIT": "cm-2"}))
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(X * 1.0, name="X"), fits.ImageHDU(
        bare.data, bare.header, "MINE")]).writeto(folder / "bare.fits")  # fmt: skip
    velocity = np.arange(-2, 8, 0.1)
    line = np.exp(-((velocity[:, None, None] - 3) ** 2) / (2 * 0.4**2))
    noise = np.random.default_rng(0).normal(0, 0.01, (velocity.size, 20, 24))
    axis = {"CTYPE3": "VRAD", "CRVAL3": -2e3, "CRPIX3": 1.0, "CDELT3": 100.0, "CUNIT3": "m/s"}
    line = (3 * line + noise).astype("f4")
    fits.writeto(folder / "cube.fits", line, header("K", **axis))
    rest = 110.201354e9
    step = rest / 299792.458
    axis = {"CTYPE3": "FREQ", "CRVAL3": rest + 2 * step, "CRPIX3": 1.0, "CDELT3": -0.1 * step}
    fits.writeto(folder / "freq.fits", line, header("K", **axis, CUNIT3="Hz"))
    return folder


def read(folder, name, *options):
    parser = argparse.ArgumentParser()
    add_map_arguments(parser)
    words = [str(folder / word) if word.endswith(".fits") else word for word in options]
    return read_map(parser.parse_args(words), str(folder / f"{name}.fits"))


@pytest.mark.parametrize("distance", ["140", "0.14 kpc"])
@pytest.mark.parametrize("beam", ["20", "0.3333333333333333 arcmin"])
def test_plain_map(folder, distance, beam):
    gas = read(folder, "N", "--distance", distance, "--beam", beam)
    assert u.isclose(gas.distance, 140 * u.pc)
    assert u.isclose(gas.beam.major, 20 * u.arcsec)
    np.testing.assert_allclose(gas.column_density.value, COLUMN)


def test_separate_maps(folder):
    options = ["--velocity", "v.fits", "--dispersion", "var.fits", "--dispersion-kind", "variance"]
    gas = read(folder, "N", *options, "--uncertainty", "eN.fits")
    np.testing.assert_allclose(gas.dispersion.value, 0.3 + 0.01 * Y, rtol=1e-5)
    np.testing.assert_allclose(gas.column_density_uncertainty.value, COLUMN / 10)
    narrow = read(folder, "N", "--dispersion", "s.fits", "--line-width", "200 m/s")
    expected = np.sqrt((0.3 + 0.01 * Y) ** 2 - 0.04)
    np.testing.assert_allclose(narrow.dispersion.value, expected, rtol=1e-5)
    gas = read(folder, "N", "--velocity", "v_bare.fits", "--unit", ",m/s")
    np.testing.assert_allclose(gas.velocity.value, 3 + 0.01 * X, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("av", ["--extinction", "9.4e20 cm-2 / mag"]),
        ("w", ["--x-factor", X_FACTOR]),
        ("w", ["--x-factor", "1e21 cm-2 (K km/s)^-1"]),
        ("w", ["--x-factor", "1e21 cm-2 K-1 km-1 s"]),
    ],
)
def test_conversions(folder, name, options):
    np.testing.assert_allclose(read(folder, name, *options).column_density.value, COLUMN)


@pytest.mark.parametrize("opacity", ["hildebrand:1.8", "0.0110494 cm2/g"])
def test_dust(folder, opacity):
    dust = DustEmission(15 * u.K, 850 * u.um, hildebrand_opacity(850 * u.um, beta=1.8))
    expected = GasMap.read(folder / "dust.fits", column=dust)
    gas = read(folder, "dust", "--dust", "15 K", "850 um", opacity)
    np.testing.assert_allclose(gas.column_density, expected.column_density, rtol=1e-4)
    gas = read(folder, "dust", "--dust", "T.fits", "850 um", opacity)
    assert gas.column_density[0, 0] > gas.column_density[-1, 0]


def test_extension_and_scale(folder):
    gas = read(folder, "bare", "--hdu", "MINE", "--pixel-scale", "0.01 pc")
    assert gas.pixel_scale == 0.01 * u.pc
    assert read(folder, "bare", "--hdu", "2", "--pixel-scale", "2000 AU").wcs is None


def test_cubes(folder):
    pytest.importorskip("spectral_cube", reason="needs the extra cube", exc_type=ImportError)
    gas = read(folder, "cube", "--x-factor", X_FACTOR, "--distance", "300")
    assert np.median(gas.velocity.value) == pytest.approx(3, abs=0.01)
    width = np.median(gas.dispersion.value)
    assert width == pytest.approx(0.4, abs=0.01)
    more = ["--line-width", "0.2 km/s", "--snr", "5"]
    gas = read(
        folder, "cube", "--x-factor", X_FACTOR, *more, "--velocity-range", "1 km/s", "5 km/s"
    )
    assert np.median(gas.dispersion.value) == pytest.approx(np.sqrt(width**2 - 0.04), abs=0.01)
    rest = ["--rest-frequency", "110.201354 GHz"]
    gas = read(folder, "freq", "--x-factor", X_FACTOR, *rest)
    assert np.median(gas.velocity.value) == pytest.approx(3, abs=0.01)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--pixel-scale", "0.01"], "number with a unit, such as '0.01 pc', got '0.01'"),
        (["--pixel-scale", "3 K"], "in a unit such as in '0.01 pc', got '3 K'"),
        (["--line-width", "0.1"], "--line-width: must be a number with a unit"),
        (["--distance", "near"], "--distance: must be a number with a unit"),
        (["--distance", "3 K"], "--distance: must be in a unit such as in '0.3 kpc'"),
        (["--extinction", "9e20"], "--extinction: must be a number with a unit"),
        (["--x-factor", "2e20"], "--x-factor: must be a number with a unit"),
        (["--rest-frequency", "3"], "--rest-frequency: must be a number with a unit"),
    ],
)
def test_values_need_their_unit(folder, capsys, options, match):
    with pytest.raises(SystemExit) as info:
        read(folder, "N", *options)
    assert info.value.code == 2
    assert match in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("N", ["--line-width", "0.1 km/s"], "line_width=0.1 km / s needs velocity"),
        ("av", [], "column=Extinction"),
        ("w", [], "column=XFactor"),
        (
            "dust",
            ["--dust", "15", "850 um", "hildebrand"],
            "must be a number with a unit, such as '15",
        ),
        ("dust", ["--dust", "15 K", "850 um", "hildebrand:x"], "hildebrand:BETA needs a number"),
        ("dust", ["--dust", "15 K", "3 s", "hildebrand"], "in a unit such as in '850 um'"),
        ("dust", ["--abundance", "1e-8", "--extinction", "1 cm-2 / mag"], "exclude one another"),
        ("N", ["--rest-frequency", "3 GHz"], "give --x-factor"),
        ("N", ["--velocity", "v_bare.fits"], "unit="),
        ("bare", ["--hdu", "MINE"], "pixel_scale"),
        ("cube", [], "column=XFactor"),
        ("cube", ["--abundance", "1e-8"], "cube"),
        (
            "cube",
            ["--snr", "5", "--velocity", "v.fits"],
            "--velocity describes maps and --snr",
        ),
        ("N", ["--snr", "5", "--x-factor", X_FACTOR], "cube"),
        ("freq", ["--x-factor", X_FACTOR], "no rest frequency"),
        (
            "cube",
            ["--x-factor", "1 cm-2"],
            "XFactor: value must be a column density per integrated",
        ),
        ("cube", ["--x-factor", X_FACTOR, "--snr", "9999"], "lower snr"),
    ],
)
def test_errors_name_the_parameter(folder, name, options, match):
    if name in ("cube", "freq"):
        pytest.importorskip("spectral_cube", reason="needs the extra cube", exc_type=ImportError)
    with pytest.raises((ValueError, TypeError), match=match) as info:
        read(folder, name, *options)
    assert "\n" not in str(info.value)


def test_a_folder_of_the_ammonia_survey(tmp_path):
    """``mass FOLDER --abundance 1e-8``."""
    maps = {"N_NH3": np.log10(COLUMN / 1e8), "Vlsr": 3 + 0.01 * X, "Sigma": 0.3 + 0.01 * Y}
    for quantity, data in maps.items():
        unit = "cm-2" if quantity == "N_NH3" else "km/s"
        fits.writeto(tmp_path / f"B18_{quantity}_DR1_rebase3_flag.fits", data, header(unit))
    parser = argparse.ArgumentParser()
    add_map_arguments(parser)
    options = ["--abundance", "1e-8", "--distance", "140"]
    gas = read_map(parser.parse_args(options), str(tmp_path))
    np.testing.assert_allclose(gas.column_density.value, COLUMN)
    assert gas.distance == 140 * u.pc
    with pytest.raises(ValueError, match="cannot use unit='cm-2'"):
        read_map(parser.parse_args([*options, "--unit", "cm-2"]), str(tmp_path))
    with pytest.raises(ValueError, match="give column=Abundance"):
        read_map(parser.parse_args([]), str(tmp_path))
