"""From what telescopes measure to N(H2): extinction, integrated lines, dust emission."""

from __future__ import annotations

import numpy as np
from astropy import constants as const
from astropy import units as u

from astrofractal.gasmap.units import H2_MEAN_MOLECULAR_WEIGHT, HYDROGEN_MASS, to_column_density

__all__ = [
    "check_abundance",
    "check_quantity",
    "check_rest_frequency",
    "dust_column_factor",
    "extinction_factor",
    "hildebrand_opacity",
    "kelvin_per_intensity",
    "optically_thin_x_factor",
    "x_factor_unit",
]

_COLUMN = u.cm**-2
_BRIGHTNESS = u.Jy / u.sr
_VELOCITY = u.km / u.s

#: Hildebrand (1983, QJRAS 24, 267): 10 cm2 per gram of dust at 250 um, divided by his gas-to-dust
#: mass ratio of 100.
_HILDEBRAND_OPACITY = 0.1 * u.cm**2 / u.g
_HILDEBRAND_WAVELENGTH = 250 * u.um


def hildebrand_opacity(frequency: u.Quantity, *, beta: float = 2.0) -> u.Quantity:
    """
    Return the opacity of dust, per gram of gas and dust, after Hildebrand (1983).

    .. math:: \\kappa_\\nu = 0.1\\,\\mathrm{cm^2\\,g^{-1}}
              \\left(\\frac{250\\,\\mu\\mathrm{m}}{\\lambda}\\right)^\\beta

    A gas-to-dust mass ratio of 100 is part of it.  It is uncertain by a factor of about two, and
    the masses with it.

    Parameters
    ----------
    frequency : `~astropy.units.Quantity`
        Frequency or wavelength.

    beta : float, optional
        The emissivity index: 2 in Hildebrand's paper (beyond 250 um); 1.5 to 2 in use.

    Returns
    -------
    opacity : `~astropy.units.Quantity`
        Opacity in cm2/g.

    Examples
    --------
    >>> from astropy import units as u
    >>> from astrofractal.gasmap import hildebrand_opacity
    >>> print(f"{hildebrand_opacity(850 * u.um):.5f}")
    0.00865 cm2 / g
    """
    wavelength = frequency.to(u.um, u.spectral())
    return _HILDEBRAND_OPACITY * (_HILDEBRAND_WAVELENGTH / wavelength).to_value(u.one) ** beta


def dust_column_factor(frequency, temperature, opacity):
    """
    Return N(H2) per surface brightness of optically thin dust.

    .. math:: N(\\mathrm{H}_2) =
              \\frac{I_\\nu}{B_\\nu(T)\\,\\kappa_\\nu\\,\\mu_{\\mathrm{H}_2} m_\\mathrm{H}}

    (Hildebrand 1983; Kauffmann et al. 2008, equation A.10).

    Parameters
    ----------
    frequency : `~astropy.units.Quantity`
        Frequency or wavelength of the observation.

    temperature : `~astropy.units.Quantity`
        Dust temperature: one value or a map.

    opacity : `~astropy.units.Quantity`
        Opacity per mass of gas and dust at that frequency, e.g. `hildebrand_opacity`.

    Returns
    -------
    factor : `~astropy.units.Quantity`
        Column density per surface brightness, in cm-2 / (Jy / sr).
    """
    nu = check_quantity("frequency", frequency, u.Hz, "850 * u.um", u.spectral()).to(
        u.Hz, u.spectral()
    )
    kelvin = check_quantity("dust_temperature", temperature, u.K, "12 * u.K")
    kappa = check_quantity("dust_opacity", opacity, u.cm**2 / u.g, "hildebrand_opacity(850 * u.um)")
    exponent = (const.h * nu / (const.k_B * kelvin)).to_value(u.one)
    with np.errstate(over="ignore", invalid="ignore"):
        planck = 2 * const.h * nu**3 / const.c**2 / np.expm1(exponent) / u.sr
    return (1 / (planck * kappa * H2_MEAN_MOLECULAR_WEIGHT * HYDROGEN_MASS)).to(
        _COLUMN / _BRIGHTNESS
    )


def surface_brightness(unit, *, beam_area=None, pixel_angle=None):
    """Return the factor from a unit of continuum maps to Jy/sr."""
    if unit.is_equivalent(_BRIGHTNESS):
        return unit.to(_BRIGHTNESS)
    for per, angle, hint in (
        (u.beam, beam_area, "give beam=, its FWHM"),
        (u.pix, pixel_angle, "the map has no WCS"),
        (u.one, pixel_angle, "the map has no WCS"),
    ):
        if (unit * per).is_equivalent(u.Jy):
            if angle is None:
                msg = f"column_density is in {unit}, but the solid angle is unknown: {hint}"
                raise ValueError(msg)
            return (unit * per).to(u.Jy) / angle.to_value(u.sr)
    msg = (
        "column_density must be a surface brightness such as MJy/sr or Jy/beam for dust_opacity "
        f"and dust_temperature, got the unit {unit.to_string()!r}"
    )
    raise u.UnitConversionError(msg)


def extinction_factor(ratio):
    """Return N(H2) in cm-2 per magnitude of a ratio given by the user."""
    ratio = check_quantity("extinction_ratio", ratio, None, "9.4e20 * u.cm**-2 / u.mag")
    return to_column_density(ratio * u.mag, name="extinction_ratio (times 1 mag)").value


def kelvin_per_intensity(unit, frequency, *, beam_area=None, name="column_density"):
    """
    Return the brightness temperature (Rayleigh-Jeans) in K of a surface brightness of 1 ``unit``.

    Parameters
    ----------
    unit : `~astropy.units.UnitBase`
        K, Jy/beam, MJy/sr or the like.

    frequency : `~astropy.units.Quantity` or `None`
        The frequency of the line, of each channel where there are several.

    beam_area : `~astropy.units.Quantity`, optional
        The solid angle of the beam, of each channel where there are several.

    name : str, optional
        What is in the unit, for the message.

    Raises
    ------
    ValueError
        If frequency or beam are needed and missing.

    astropy.units.UnitConversionError
        If the unit is no surface brightness.
    """
    if unit.is_equivalent(u.K):
        return unit.to(u.K)
    per_beam = unit.is_equivalent(u.Jy / u.beam)
    if not per_beam and not unit.is_equivalent(_BRIGHTNESS):
        msg = (
            f"{name} must be in K, Jy/beam or another surface brightness, got the unit "
            f"{unit.to_string()}"
        )
        raise u.UnitConversionError(msg)
    if frequency is None:
        msg = (
            f"{name} is in {unit} and its header has no rest frequency, which is needed for K: "
            "give rest_frequency=, e.g. 110.201354 * u.GHz"
        )
        raise ValueError(msg)
    if per_beam and beam_area is None:
        msg = f"{name} is in {unit} and its header has no beam: give beam=, its FWHM"
        raise ValueError(msg)
    hertz = frequency.to(u.Hz, u.spectral())
    temperature = u.brightness_temperature(hertz, beam_area if per_beam else None)
    return (np.ones(hertz.shape) * unit).to_value(u.K, temperature)


def x_factor_unit(x_factor, intensity, *, frequency=None, beam_area=None):
    """
    Return N(H2) in cm-2 per integrated intensity of 1 in the unit ``intensity``, or raise.

    Parameters
    ----------
    x_factor : `~astropy.units.Quantity`
        Column density per integrated intensity.

    intensity : `~astropy.units.UnitBase`
        Unit of the integrated intensity, e.g. K km/s; what is in Jy/beam km/s or MJy/sr km/s is
        converted to the K km/s of the factor through frequency and beam.

    frequency, beam_area : `~astropy.units.Quantity`, optional
        Rest frequency of the line and solid angle of the beam.
    """
    x_factor = check_quantity("x_factor", x_factor, None, "2e20 * u.cm**-2 / (u.K * u.km / u.s)")
    if _per(x_factor, intensity) is not None:
        return _per(x_factor, intensity)
    per_velocity = intensity / _VELOCITY
    surface = any(per_velocity.is_equivalent(one) for one in (_BRIGHTNESS, u.Jy / u.beam))
    if surface and _per(x_factor, u.K * _VELOCITY) is not None:
        kelvin = kelvin_per_intensity(per_velocity, frequency, beam_area=beam_area)
        return kelvin * _per(x_factor, u.K * _VELOCITY)
    hint = ""
    if any(intensity.is_equivalent(one) for one in (u.K, _BRIGHTNESS, u.Jy / u.beam)):
        hint = f" (a map that was integrated over velocity: give unit='{intensity} km/s')"
    elif per_velocity.is_equivalent(u.Jy):
        hint = " (a map in Jy/beam km/s: give unit='Jy/beam km/s')"
    msg = (
        "x_factor must be a column density per integrated intensity such as "
        f"cm-2 / (K km/s), for intensities in {intensity.to_string()!r}, got {x_factor}{hint}"
    )
    raise u.UnitConversionError(msg)


def _per(x_factor, intensity):
    """Return N(H2) in cm-2 of an intensity of 1 ``intensity``, or `None` where it does not fit."""
    try:
        return to_column_density(x_factor * (1.0 * intensity), name="x_factor").value
    except u.UnitConversionError:
        return None


def optically_thin_x_factor(
    frequency: u.Quantity,
    *,
    einstein_a: u.Quantity,
    upper_energy: u.Quantity,
    upper_degeneracy: float,
    partition_function: float,
    excitation_temperature: u.Quantity,
    abundance: float,
    background_temperature: u.Quantity = 2.725 * u.K,
) -> u.Quantity:
    """
    Return N(H2) per integrated intensity of an optically thin line in LTE.

    .. math:: \\frac{N}{W} = \\frac{1}{X}\\,\\frac{8\\pi k \\nu^2}{h c^3 A_{ul}}\\,
              \\frac{Q(T)}{g_u}\\,e^{E_u/kT}\\,\\frac{J(T)}{J(T) - J(T_\\mathrm{bg})}

    with the abundance X and :math:`J(T) = (h\\nu/k)/(e^{h\\nu/kT}-1)` (Mangum & Shirley 2015, PASP
    127, 266).

    Parameters
    ----------
    frequency : `~astropy.units.Quantity`
        Rest frequency.

    einstein_a : `~astropy.units.Quantity`
        Einstein coefficient, 1/s.

    upper_energy : `~astropy.units.Quantity`
        Energy of the upper level, as a temperature.

    upper_degeneracy : float
        Statistical weight of the upper level.

    partition_function : float
        Partition function at the excitation temperature.

    excitation_temperature : `~astropy.units.Quantity`
        Excitation temperature.

    abundance : float
        Molecules per H2.

    background_temperature : `~astropy.units.Quantity`, optional
        Temperature behind the gas: the cosmic microwave background.

    Returns
    -------
    x_factor : `~astropy.units.Quantity`
        Column density per integrated intensity in cm-2 / (K km/s).

    Examples
    --------
    13CO 1-0 at 10 K:

    >>> from astropy import units as u
    >>> from astrofractal.gasmap import optically_thin_x_factor
    >>> x_factor = optically_thin_x_factor(
    ...     110.201354 * u.GHz,
    ...     einstein_a=6.33e-8 / u.s,
    ...     upper_energy=5.29 * u.K,
    ...     upper_degeneracy=3,
    ...     partition_function=4.12,
    ...     excitation_temperature=10 * u.K,
    ...     abundance=1.6e-6,
    ... )
    >>> print(f"{x_factor:.2g}")
    6.2e+20 s / (K km cm2)
    """
    nu = frequency.to(u.Hz, u.spectral())
    energy = (const.h * nu / const.k_B).to(u.K)

    def brightness(temperature):
        return energy / np.expm1((energy / temperature).to_value(u.one))

    levels = 8 * np.pi * const.k_B * nu**2 / (const.h * const.c**3 * einstein_a)
    population = partition_function / upper_degeneracy
    population = population * np.exp((upper_energy / excitation_temperature).to_value(u.one))
    line = brightness(excitation_temperature)
    contrast = line / (line - brightness(background_temperature))
    if not contrast > 0:
        msg = (
            "excitation_temperature must be above background_temperature for a line in emission, "
            f"got {excitation_temperature} and {background_temperature}"
        )
        raise ValueError(msg)
    factor = levels * population * contrast / check_abundance(abundance)
    return factor.to(_COLUMN / (u.K * u.km / u.s))


def check_rest_frequency(value):
    """Return a rest frequency (or wavelength) as it was given, or `None`; refuse the rest."""
    if value is None:
        return None
    return check_quantity("rest_frequency", value, u.Hz, "110.2 * u.GHz", u.spectral())


def check_abundance(abundance):
    """Return an abundance (molecules per H2) as a float between 0 and 1."""
    try:
        value = u.Quantity(abundance).to_value(u.one)
        value = float(value)
    except (TypeError, ValueError):
        value = np.nan
    if not 0 < value <= 1:
        msg = f"abundance must be molecules per H2, between 0 and 1, as in 1e-8, got {abundance!r}"
        raise ValueError(msg)
    return value


def check_quantity(name, value, unit, example, equivalencies=()):
    """Return a positive Quantity of a unit, or raise an error that names the parameter."""
    if not isinstance(value, u.Quantity):
        msg = f"{name} must be a Quantity such as {example}, got {value!r}"
        raise TypeError(msg)
    if unit is not None and not value.unit.is_equivalent(unit, equivalencies):
        msg = f"{name} must be a Quantity such as {example}, got the unit {value.unit}"
        raise u.UnitConversionError(msg)
    with np.errstate(invalid="ignore"):
        if not (value.value > 0).any() or (value.value <= 0).any():
            msg = f"{name} must be positive, got {value}"
            raise ValueError(msg)
    return value
