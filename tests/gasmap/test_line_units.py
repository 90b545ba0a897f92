"""Integrated lines in units of interferometers, beams and rest frequencies of headers."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from radio_beam import Beam

from astrofractal import GasMap
from astrofractal.gasmap import XFactor
from tests.factories import make_header

SHAPE = (12, 10)
REST = 90.979023 * u.GHz
BEAM = Beam(4 * u.arcsec, 3 * u.arcsec, 20 * u.deg)
X_FACTOR = XFactor(1e21 * u.cm**-2 / (u.K * u.km / u.s))
CARDS = {
    "RESTFRQ": REST.to_value(u.Hz), "BMAJ": 4 / 3600, "BMIN": 3 / 3600, "BPA": 20.0,
}  # fmt: skip
AIPS = "AIPS   CLEAN BMAJ=  1.0E-03 BMIN=  5.0E-04 BPA=   2.5"


def line(unit="Jy/beam km/s", **cards):
    """Return an integrated line of 2 of its unit."""
    return fits.PrimaryHDU(np.full(SHAPE, 2.0), make_header(SHAPE, BUNIT=unit, **CARDS | cards))


def column(factor):
    """Return what 2 of a unit of ``factor`` K km/s are in cm-2."""
    return 2 * factor * X_FACTOR.value.value


@pytest.mark.parametrize(
    ("unit", "scale"),
    [
        ("Jy/beam km/s", 1), ("JY/BEAM.KM/S", 1), ("JY/BEAM KM/S", 1), ("Jy/bm km/s", 1),
        ("(Jy/beam)(km/s)", 1), ("beam-1 Jy km s-1", 1), ("Jy km/s/beam", 1),
        ("mJy/beam km/s", 1e-3), ("Jy/beam.m/s", 1e-3),
    ],
)  # fmt: skip
def test_of_a_beam(unit, scale):
    # Rayleigh-Jeans: 1 Jy/beam is 1.222e6 K / (GHz^2 arcsec^2) of the axes
    kelvin = 1.222e6 / (REST.value**2 * 4 * 3)
    gas = GasMap.read(line(unit), column=X_FACTOR)
    np.testing.assert_allclose(gas.column_density.value, column(scale * kelvin), rtol=1e-3)


def test_of_a_solid_angle():
    per_beam = GasMap.read(line(), column=X_FACTOR)
    area = BEAM.sr.to_value(u.sr) * 1e6
    per_angle = GasMap.read(line("MJy/sr km/s"), column=X_FACTOR)
    np.testing.assert_allclose(per_angle.column_density, per_beam.column_density * area, rtol=1e-6)


def test_an_x_factor_of_the_same_unit_needs_no_beam():
    factor = 1e21 * u.cm**-2 / (u.Jy / u.beam * u.km / u.s)
    gas = GasMap.read(line(RESTFRQ=None, BMAJ=None), column=XFactor(factor))
    np.testing.assert_allclose(gas.column_density.value, 2e21)


@pytest.mark.parametrize(
    "cards", [{"RESTFRQ": None, "RESTFREQ": 90.979023e9}, {"RESTFRQ": None, "RESTWAV": 3.2952e-3}]
)
def test_other_names_of_the_rest_frequency(cards):
    expected = GasMap.read(line(), column=X_FACTOR).column_density
    gas = GasMap.read(line(**cards), column=X_FACTOR)
    np.testing.assert_allclose(gas.column_density, expected, rtol=1e-3)


def test_beam_and_rest_frequency_are_given():
    bare = line(RESTFRQ=None, BMAJ=None, BMIN=None, BPA=None)
    with pytest.raises(ValueError, match="no rest frequency.*give the rest_frequency of XFactor"):
        GasMap.read(bare, column=X_FACTOR, beam=BEAM)
    with pytest.raises(ValueError, match="no beam: give beam="):
        GasMap.read(bare, column=XFactor(X_FACTOR.value, REST))
    expected = GasMap.read(line(), column=X_FACTOR).column_density
    for frequency in (REST, REST.to(u.mm, u.spectral())):
        gas = GasMap.read(bare, column=XFactor(X_FACTOR.value, frequency), beam=BEAM)
        np.testing.assert_allclose(gas.column_density, expected)


@pytest.mark.parametrize(
    ("unit", "match"),
    [
        ("Jy/beam", "integrated over velocity: give unit='Jy / beam km/s'"),
        ("K", "integrated over velocity: give unit='K km/s'"),
        ("Jy km/s", "give unit='Jy/beam km/s'"),
    ],
)
def test_what_is_no_integrated_line(unit, match):
    with pytest.raises(u.UnitConversionError, match=match):
        GasMap.read(line(unit), column=X_FACTOR)


@pytest.mark.parametrize(
    ("cards", "major", "minor", "angle"),
    [
        ({}, 4, 3, 20),
        ({"BMAJ": 3 / 3600, "BMIN": 4 / 3600}, 4, 3, 110),
        ({"BMIN": None, "BPA": None}, 4, 4, 0),
        ({"BMAJ": None, "HISTORY": AIPS}, 3.6, 1.8, 2.5),
    ],
)  # fmt: skip
def test_beams_of_headers(cards, major, minor, angle):
    beam = GasMap.read(
        line(**cards), column=XFactor(1e21 * u.cm**-2 / u.Unit("Jy km/(s beam)"))
    ).beam
    found = [beam.major.value, beam.minor.value, beam.pa.to_value(u.deg)]
    np.testing.assert_allclose(found, [major, minor, angle], rtol=1e-6)


@pytest.mark.parametrize(
    "cards",
    [
        {"BMAJ": 0.0},
        {"BMAJ": "unknown"},
        {"BMAJ": 1e300},
        {"BMIN": -1.0},
        {"BMAJ": None, "HISTORY": "BMAJ"},
    ],
)
def test_beams_that_are_none(cards):
    assert GasMap.read(line("cm-2", **cards), unit="1e21 cm-2").beam is None
