"""The conversions to N(H2)."""

import numpy as np
import pytest
from astropy import constants as const
from astropy import units as u

from astrofractal.gasmap import DustEmission, hildebrand_opacity, optically_thin_x_factor
from astrofractal.gasmap.units import to_column_density


@pytest.mark.parametrize(
    ("unit", "hint"),
    [
        (u.mag, "column=Extinction"),
        (u.K * u.km / u.s, "column=XFactor"),
        (u.Jy / u.beam * u.km / u.s, "column=XFactor"),
        (u.Jy / u.beam, "DustEmission"),
        (u.Jy / u.pix, "DustEmission"),
        (u.MJy / u.sr, "column=DustEmission"),
        (u.km / u.s, "velocity= or as dispersion="),
        (u.one, "unit="),
    ],
)
def test_errors_name_the_way_out(unit, hint):
    with pytest.raises(u.UnitConversionError, match=hint):
        to_column_density(1 * unit)


def test_hildebrand_opacity():
    assert hildebrand_opacity(250 * u.um).to_value(u.cm**2 / u.g) == pytest.approx(0.1)
    assert hildebrand_opacity(0.5 * u.mm).to_value(u.cm**2 / u.g) == pytest.approx(0.025)
    by_frequency = hildebrand_opacity((500 * u.um).to(u.GHz, u.spectral()), beta=1)
    assert by_frequency.to_value(u.cm**2 / u.g) == pytest.approx(0.05)


def test_dust_column():
    """Kauffmann et al. (2008), equation A.27, in their round numbers."""
    opacity, temperature, wavelength = 0.0182 * u.cm**2 / u.g, 10 * u.K, 870 * u.um
    brightness = 1 * u.mJy / (np.pi / (4 * np.log(2)) * (10 * u.arcsec) ** 2)
    column = DustEmission(temperature, wavelength, opacity).to_column_density(brightness)
    exponent = 1.439 * (0.87) ** -1 * (10 / 10) ** -1
    expected = 2.02e20 * (np.exp(exponent) - 1) / (0.0182 / 0.01) * 0.87**3
    assert column.value == pytest.approx(expected * 1.0, rel=0.01)
    dust = DustEmission([[10, 20]] * u.K, wavelength, opacity)
    warmer = dust.to_column_density(brightness)
    assert warmer.shape == (1, 2)
    assert warmer[0, 0] > warmer[0, 1]


@pytest.mark.parametrize(
    ("bad", "error", "match"),
    [
        ({"temperature": 10}, TypeError, "temperature must be a Quantity"),
        ({"temperature": 10 * u.s}, u.UnitsError, "temperature"),
        ({"temperature": -1 * u.K}, ValueError, "temperature must be positive"),
        ({"opacity": 0.01 * u.cm**2}, u.UnitsError, "opacity"),
        ({"frequency": 1 * u.kg}, u.UnitsError, "frequency"),
    ],
)
def test_dust_arguments(bad, error, match):
    good = {"frequency": 850 * u.um, "temperature": 10 * u.K, "opacity": 0.01 * u.cm**2 / u.g}
    with pytest.raises(error, match=match):
        DustEmission(**(good | bad))


def test_optically_thin_line_obeys_the_radiative_transfer():
    """The column that gives a weak line its intensity is what the factor returns."""
    nu, einstein, temperature = 110.201354 * u.GHz, 6.33e-8 / u.s, 12 * u.K
    upper, weight, partition = 5.29 * u.K, 3, 4.9
    factor = optically_thin_x_factor(
        nu,
        einstein_a=einstein,
        upper_energy=upper,
        upper_degeneracy=weight,
        partition_function=partition,
        excitation_temperature=temperature,
        abundance=1e-6,
    )
    column = 1e12 / u.cm**2
    in_upper = column * weight / partition * np.exp(-(upper / temperature).value)
    energy = (const.h * nu / const.k_B).to(u.K)
    depth = (
        const.c**3
        / (8 * np.pi * nu**3)
        * einstein
        * in_upper
        * np.expm1((energy / temperature).value)
    ).to(u.km / u.s)  # integrated over velocity
    contrast = energy / np.expm1((energy / temperature).value)
    contrast = contrast - energy / np.expm1((energy / (2.725 * u.K)).value)
    assert (factor * depth * contrast).to_value(u.cm**-2) == pytest.approx(1e18, rel=1e-6)


def test_optically_thin_arguments():
    options = {
        "einstein_a": 6.33e-8 / u.s,
        "upper_energy": 5.29 * u.K,
        "upper_degeneracy": 3,
        "partition_function": 4.9,
        "excitation_temperature": 10 * u.K,
        "abundance": 1e-6,
    }
    with pytest.raises(ValueError, match="abundance must be molecules per H2.*got 3"):
        optically_thin_x_factor(110 * u.GHz, **(options | {"abundance": 3}))
    with pytest.raises(ValueError, match="excitation_temperature must be above"):
        optically_thin_x_factor(110 * u.GHz, **(options | {"excitation_temperature": 2 * u.K}))
