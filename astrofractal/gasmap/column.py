"""From what telescopes measure to N(H2): extinction, integrated lines, dust emission."""

from __future__ import annotations

import numpy as np
from astropy import constants as const
from astropy import units as u

from astrofractal._utils.validation import warn
from astrofractal.gasmap import wcs as _wcs
from astrofractal.gasmap.channel import (
    MAX_COLUMN_DENSITY,
    Channel,
    check_logarithm,
    check_quantity,
    from_log10,
    subtract_line_width,
)
from astrofractal.gasmap.units import H2_MEAN_MOLECULAR_WEIGHT, HYDROGEN_MASS, to_column_density

__all__ = [
    "check_abundance",
    "check_rest_frequency",
    "choose_converter",
    "column_of",
    "dust_column_factor",
    "extinction_factor",
    "hildebrand_opacity",
    "kelvin_per_intensity",
    "optically_thin_x_factor",
    "subtract_from_dispersion",
    "variance_to_dispersion",
    "warn_if_faint",
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
    """Return N(H2) per surface brightness of optically thin dust."""
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
    """Return N(H2) in cm-2 per integrated intensity of 1 in the unit ``intensity``, or raise."""
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


#: Below this median (cm-2) a column density is hardly one of H2.
_FAINT = 1e17

#: Below this median (cm-2) numbers are not in the unit that they are said to be in.
_TOO_FAINT = 1e6

#: Errors above this median are no errors in dex, and below this part of the values no errors of them.
_NO_DEX, _TOO_GOOD = 100.0, 1e-9

#: As many pixels of one value, off the others by this factor, seem to mean "nothing here".
_N_BLANKS, _FAR = 10, 1e6


def choose_converter(*, extinction_ratio, x_factor, dust):
    """Return the name of the one conversion asked for and its arguments."""
    asked = []
    if extinction_ratio is not None:
        asked.append(("extinction_ratio", extinction_ratio))
    if x_factor is not None:
        asked.append(("x_factor", x_factor))
    if any(value is not None for value in dust):
        missing = [
            name
            for name, value in zip(
                ("dust_temperature", "dust_opacity", "frequency"), dust, strict=True
            )
            if value is None
        ]
        if missing:
            msg = f"dust continuum also needs {' and '.join(missing)}"
            raise ValueError(msg)
        asked.append(("dust", dust))
    if len(asked) > 1:
        msg = f"give only one of {', '.join(name for name, _ in asked)}"
        raise ValueError(msg)
    return asked[0] if asked else (None, None)


def column_of(channel, log10, converter, *, wcs, beam, rest_frequency=None):
    """Return the channel of the column density in cm-2."""
    kind, argument = converter
    unit = channel.unit
    values, error = channel.values, channel.error
    dex = isinstance(unit, u.function.FunctionUnitBase)
    physical = unit.physical_unit if dex else unit
    if not dex and not log10 and physical.is_equivalent(u.cm**-2):
        check_logarithm(values, unit, "column_density")
        _check_unit(values, physical)
    if dex or log10:
        values, error = from_log10(values, _in_dex(values, error), "column_density")
    else:
        _check_errors(values, error, unit)
    if kind is None:
        factor = to_column_density(1.0 * physical, name="column_density").value
        if dex or log10:
            _check_magnitude(channel.values, values * factor)
    elif kind == "extinction_ratio":
        _expect(physical, u.mag, "extinction_ratio", "a map in mag")
        factor = extinction_factor(argument)
    elif kind == "x_factor":
        area = None if beam is None else beam.sr
        factor = x_factor_unit(argument, physical, frequency=rest_frequency, beam_area=area)
    else:
        temperature, opacity, frequency = argument
        per_brightness = dust_column_factor(frequency, temperature, opacity).value
        pixel = None if wcs is None else _map_pixel_angle(wcs, values.shape)
        area = None if beam is None else beam.sr
        factor = per_brightness * surface_brightness(physical, beam_area=area, pixel_angle=pixel)
        if np.shape(factor) not in ((), values.shape):
            msg = f"dust_temperature has shape {np.shape(factor)}, the map has {values.shape}"
            raise ValueError(msg)
    values = values * factor
    _warn_of_blanks(channel.values, values)
    error = None if error is None else error * factor
    return Channel(values, u.cm**-2, channel.mask, error, channel.wcs, channel.meta)


def _check_unit(values, unit):
    """Refuse numbers that are far too small for any column density in their unit."""
    good = values[np.isfinite(values) & (values > 0)]
    if good.size and np.median(good) * unit.to(u.cm**-2) < _TOO_FAINT:
        msg = (
            f"column_density is said to be in {unit}, but its values have a median of "
            f"{np.median(good):.3g}, too little for the gas of any molecule: give the unit that it "
            "is in, as in unit='1e21 cm-2'"
        )
        raise ValueError(msg)


def _check_magnitude(logarithms, values):
    """Refuse logarithms of what is far too little for a column density, as errors in dex are."""
    good = values[np.isfinite(values) & (values > 0) & (logarithms != 0)]
    if good.size and np.median(good) < _TOO_FAINT:
        msg = (
            "column_density is said to be a logarithm (log10=True, or by its unit), but its values, "
            f"with a median of {np.median(logarithms[np.isfinite(logarithms)]):.3g}, would be "
            f"{np.median(good):.3g} cm-2: is it the map of its errors (in dex), or the logarithm in "
            "another unit, as in unit='dex(1e21 cm-2)'?"
        )
        raise ValueError(msg)


def _in_dex(logarithms, error):
    """Return errors of logarithms in dex, also where they were given as errors of the column."""
    if error is None:
        return None
    good = error[np.isfinite(error) & (error > 0)]
    if good.size and np.median(good) > _NO_DEX:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return error / (np.log(10) * 10.0**logarithms)
    return error


def _check_errors(values, error, unit):
    """Refuse errors that are in dex although the column density is no logarithm."""
    if error is None:
        return
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = error / values
    relative = relative[np.isfinite(relative) & (relative > 0)]
    if relative.size and np.median(relative) < _TOO_GOOD:
        msg = (
            f"column_density_uncertainty is said to be in {unit}, but it is {np.median(relative):.2g} "
            "of the column density, which no telescope reaches: if it is the error of the logarithm, "
            "give it the unit dex(cm-2)"
        )
        raise ValueError(msg)


def _warn_of_blanks(raw, values):
    """Warn of one value in many pixels, far from all others, that seems to mean "nothing here"."""
    with np.errstate(invalid="ignore"):
        good = (values > np.finfo(np.float32).tiny) & (values < MAX_COLUMN_DENSITY)
    if good.sum() < 2 * _N_BLANKS:
        return
    raw, values = raw[good], values[good]
    for pick in (np.argmin, np.argmax):
        odd = values == values[pick(values)]
        if odd.all() or odd.sum() < _N_BLANKS:
            continue
        ratio = values[odd][0] / np.median(values[~odd])
        if not 1 / _FAR < ratio < _FAR:
            msg = (
                f"{odd.sum()} pixels of column_density have the value {raw[odd][0]:g}, far from all "
                f"others: if it means that there is nothing, give no_data={raw[odd][0]:g}"
            )
            warn(msg)


def _expect(unit, wanted, name, what):
    if unit != wanted:
        msg = f"{name} needs {what}, got the unit {unit.to_string()!r}"
        raise u.UnitConversionError(msg)


def _map_pixel_angle(wcs, shape):
    return float(_wcs.pixel_solid_angle(wcs, (shape[1] - 1) / 2, (shape[0] - 1) / 2)) * u.sr


def warn_if_faint(column, abundance=None):
    values = column.values[np.isfinite(column.values) & (column.values > 0)]
    if values.size and np.median(values) < _FAINT and abundance is None:
        msg = (
            f"column_density has a median of {np.median(values):.3g} cm-2, little for H2: if it is "
            "the column of another molecule, give abundance="
        )
        warn(msg)


def variance_to_dispersion(channel):
    """Return the dispersion of a channel of variances."""
    if channel is None:
        msg = "variance=True needs dispersion, got None"
        raise ValueError(msg)
    squared = u.km**2 / u.s**2
    if channel.unit.is_equivalent(squared):
        unit = channel.unit**0.5
    elif channel.unit.is_equivalent(u.km / u.s):
        unit = channel.unit
    else:
        msg = f"dispersion (variance=True) must be a squared velocity, got the unit {channel.unit}"
        raise u.UnitConversionError(msg)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.sqrt(channel.values)
        error = None if channel.error is None else channel.error / (2 * values)
    return Channel(values, unit, channel.mask, error, channel.wcs)


def subtract_from_dispersion(channels, line_width):
    """Take a line width out of the dispersions, which must be there."""
    if line_width is None:
        return
    if channels.get("dispersion") is None:
        msg = f"line_width={line_width} needs velocity dispersions, there are none"
        raise ValueError(msg)
    subtract_line_width(channels["dispersion"], line_width)
