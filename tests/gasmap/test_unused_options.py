"""An option that a source cannot use raises, and the message names it."""

import inspect

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import NDData

from astrofractal import GasMap
from tests.factories import make_gas, make_header, make_wcs

SHAPE = (12, 10)
X_FACTOR = 2e20 * u.cm**-2 / (u.K * u.km / u.s)


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
    "wcs": make_wcs(SHAPE),
    "pixel_scale": 0.01 * u.pc,
    "mask": np.zeros(SHAPE, bool),
    "log10": True,
    "no_data": -999.0,
    "x_factor": X_FACTOR,
    "line_width": 0.05 * u.km / u.s,
    "column_density_uncertainty": column() / u.cm**2,
    "velocity_uncertainty": np.ones(SHAPE) * u.km / u.s,
    "variance": True,
}


@pytest.mark.parametrize(
    ("reader", "source", "unused"),
    [
        (
            "read",
            lambda: make_gas(column()),
            "unit hdu wcs mask log10 no_data x_factor line_width",
        ),
        ("read", cube, "wcs pixel_scale mask log10 no_data"),
        ("read", lambda: column() / u.cm**2, "unit hdu line_width"),
        ("read", lambda: NDData(column(), unit="cm-2"), "hdu line_width"),
        ("read", lambda: fits.PrimaryHDU(column(), make_header(SHAPE)), "line_width"),
        (
            "from_maps",
            lambda: column() / u.cm**2,
            "unit hdu line_width variance velocity_uncertainty",
        ),
        ("from_maps", lambda: fits.PrimaryHDU(column(), make_header(SHAPE)), "line_width variance"),
        ("from_cube", spectral_cube, "unit hdu"),
    ],
)
def test_unused_options_are_named(reader, source, unused):
    read = getattr(GasMap, reader)
    needed = {"x_factor": X_FACTOR} if source in (cube, spectral_cube) else {}
    assert isinstance(read(source(), **needed), GasMap)
    for name in unused.split():
        with pytest.raises(ValueError, match=rf"\b{name}\b"):
            read(source(), **needed | {name: VALUES[name]})


@pytest.mark.parametrize(
    "source",
    [NDData(column(), unit="cm-2"), fits.PrimaryHDU(column(), make_header(SHAPE, BUNIT="cm-2"))],
)
@pytest.mark.parametrize("reader", [GasMap.read, GasMap.from_maps])
def test_units_of_absent_channels_are_refused(source, reader):
    with pytest.raises(ValueError, match="map of column_density cannot use unit=.*velocity"):
        reader(source, unit={"velocity": "m/s"})


def test_a_map_takes_what_it_can_use():
    gas = make_gas(column(), wcs=None, distance=None)
    assert GasMap.read(gas) is gas
    again = GasMap.read(gas, pixel_scale=0.01 * u.pc, beam=20 * u.arcsec, meta={"a": 1})
    assert again.pixel_scale == 0.01 * u.pc
    assert again.beam.major == 20 * u.arcsec
    assert again.meta == {"a": 1}


@pytest.mark.parametrize("name", ["read", "from_maps", "from_cube"])
def test_signatures_show_the_options(name):
    method = getattr(GasMap, name)
    assert "distance" in inspect.signature(method).parameters
    assert "cls" not in inspect.signature(method).parameters
    assert "Parameters" in method.__doc__
