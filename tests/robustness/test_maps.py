"""Damaged FITS files: a map, or one error that names the file; never a hang or a crash."""

import io
import warnings
from contextlib import suppress

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from hypothesis import given

from astrofractal import GasMap
from astrofractal.gasmap import XFactor
from tests.factories import make_column, make_header
from tests.robustness.cases import cases, enter
from tests.robustness.mutations import apply, fits_changes, mutated

SHAPE = (24, 28)
X_FACTOR = XFactor(2e20 * u.cm**-2 / (u.K * u.km / u.s))


def in_bytes(*hdus):
    file = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(file)
    return file.getvalue()


def sound_files():
    column = make_column(SHAPE, [(12, 14, 1e23, 3)], roughness=0.1).astype(">f4")
    velocity = np.random.default_rng(0).normal(0, 1, SHAPE).astype(">f4")
    planes = {"COLUMN_DENSITY": column, "V_LOS": velocity, "SIGMA_V": abs(velocity)}
    units = ("cm-2", "km/s", "km/s")
    sip = {"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-6, "B_0_2": 1e-6}
    sip |= {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"}
    line = {"CTYPE3": "VRAD", "CUNIT3": "km/s", "CRVAL3": 0.0, "CRPIX3": 3.0, "CDELT3": 0.5}
    line |= {"BUNIT": "K", "CUNIT1": "deg", "CUNIT2": "deg", "RESTFRQ": 1.1e11}
    cube = column / 1e22 * np.exp(-(np.arange(-3, 4)[:, None, None] ** 2))
    return {
        "map": in_bytes(fits.PrimaryHDU(column, make_header(SHAPE, BMAJ=1e-3, BMIN=1e-3))),
        "sip": in_bytes(fits.PrimaryHDU(column.astype(">f8"), make_header(SHAPE, **sip))),
        "planes": in_bytes(
            fits.PrimaryHDU(np.stack(list(planes.values())), make_header((3, *SHAPE)))
        ),
        "extensions": in_bytes(
            fits.PrimaryHDU(),
            *(
                fits.ImageHDU(values, make_header(SHAPE, BUNIT=unit), name=name)
                for (name, values), unit in zip(planes.items(), units, strict=True)
            ),
            fits.ImageHDU(np.zeros(SHAPE, "u1"), name="MASK"),
        ),
        "tiled": in_bytes(fits.PrimaryHDU(), fits.CompImageHDU(column, make_header(SHAPE))),
        "integers": in_bytes(
            fits.PrimaryHDU((column / 1e20).astype(">i2"), make_header(SHAPE, BUNIT="1e20 cm-2"))
        ),
        "cube": in_bytes(fits.PrimaryHDU(cube.astype(">f4"), make_header(cube.shape, **line))),
    }


FILES = sound_files()


def read(path, name):
    options = {"column": X_FACTOR} if name == "cube" else {}
    return GasMap.read(path, distance=300 * u.pc, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("maps")


@pytest.mark.parametrize("name", FILES)
def test_sound_files_are_maps(folder, name):
    path = folder / "cloud.fits"
    path.write_bytes(FILES[name])
    assert read(path, name).shape == SHAPE


@cases(900)
@given(mutated(FILES, fits_changes))
def test_damaged_maps(folder, case):
    name, steps = case
    path = folder / "cloud.fits"
    path.write_bytes(apply(FILES[name], steps))
    gas = enter(lambda path: read(path, name), path)
    if gas is None:
        return
    assert gas.fingerprint()
    assert repr(gas)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(ValueError):  # what only a valid WCS can do
            gas.cutouts([[14, 12]])
            gas.to_sky([14], [12])
