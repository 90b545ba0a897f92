"""An option that a source cannot use raises, and the message names it."""

import inspect

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import NDData

from astrofractal import GasMap
from astrofractal.gasmap import XFactor
from tests.factories import make_gas, make_header

SHAPE = (12, 10)
X_FACTOR = XFactor(2e20 * u.cm**-2 / (u.K * u.km / u.s))


def column():
    return np.full(SHAPE, 1e22)


def cube():
    cards = {
        "CTYPE3": "VRAD", "CUNIT3": "m/s", "CRVAL3": -1e3, "CRPIX3": 1.0, "CDELT3": 200.0,
        "BUNIT": "K",
    }  # fmt: skip
    data = np.random.default_rng(0).normal(0, 0.1, (20, *SHAPE))
    data[8:12] += 5
    return fits.PrimaryHDU(data, make_header(data.shape, **cards))


def spectral_cube():
    module = pytest.importorskip(
        "spectral_cube", reason="needs the extra cube", exc_type=ImportError
    )
    return module.SpectralCube.read(cube())


VALUES = {
    "unit": "cm-2",
    "hdu": 1,
    "pixel_scale": 0.01 * u.pc,
    "no_data": -999.0,
    "column": X_FACTOR,
    "line_width": 0.05 * u.km / u.s,
    "uncertainty": {"velocity": np.ones(SHAPE) * u.km / u.s},
    "velocity": np.ones(SHAPE) * u.km / u.s,
    "dispersion_kind": "variance",
}


@pytest.mark.parametrize(
    ("reader", "source", "unused"),
    [
        (
            "read",
            lambda: make_gas(column()),
            "unit hdu no_data column line_width uncertainty velocity dispersion_kind",
        ),
        ("read", cube, "pixel_scale no_data uncertainty velocity dispersion_kind"),
        (
            "read",
            lambda: column() / u.cm**2,
            "unit hdu line_width uncertainty dispersion_kind",
        ),
        ("read", lambda: NDData(column(), unit="cm-2"), "hdu line_width"),
        (
            "read",
            lambda: fits.PrimaryHDU(column(), make_header(SHAPE)),
            "line_width dispersion_kind",
        ),
        ("from_cube", spectral_cube, "unit hdu"),
    ],
)
def test_unused_options_are_named(reader, source, unused):
    read = getattr(GasMap, reader)
    needed = {"column": X_FACTOR} if source in (cube, spectral_cube) else {}
    assert isinstance(read(source(), **needed), GasMap)
    for name in unused.split():
        with pytest.raises(ValueError, match=rf"\b{name}\b"):
            read(source(), **needed | {name: VALUES[name]})


@pytest.mark.parametrize(
    "source",
    [NDData(column(), unit="cm-2"), fits.PrimaryHDU(column(), make_header(SHAPE, BUNIT="cm-2"))],
)
def test_units_of_absent_channels_are_refused(source):
    with pytest.raises(ValueError, match="map of column_density cannot use unit=.*velocity"):
        GasMap.read(source, unit={"velocity": "m/s"})


def test_a_map_takes_what_it_can_use():
    gas = make_gas(column(), wcs=None, distance=None)
    assert GasMap.read(gas) is gas
    again = GasMap.read(gas, pixel_scale=0.01 * u.pc, beam=20 * u.arcsec)
    assert again.pixel_scale == 0.01 * u.pc
    assert again.beam.major == 20 * u.arcsec


@pytest.mark.parametrize("name", ["read", "from_cube"])
def test_signatures_show_the_options(name):
    method = getattr(GasMap, name)
    assert "distance" in inspect.signature(method).parameters
    assert "cls" not in inspect.signature(method).parameters
    assert "Parameters" in method.__doc__
    assert len(inspect.signature(method).parameters) <= 14


def test_formats_are_listed_and_described(capsys):
    table = GasMap.read.list_formats()
    assert {"fits", "arrays", "gbt-ammonia"} <= set(table["Format"])
    for name in table["Format"]:
        GasMap.read.help(name)
        shown = capsys.readouterr().out
        assert f'format="{name}"' in shown
        assert "Options: " in shown
    with pytest.raises(ValueError, match="format must be one of 'fits'"):
        GasMap.read.help("hdf5")
    with pytest.raises(ValueError, match="format must be one of 'fits'"):
        GasMap.read(column() / u.cm**2, format="hdf5")
