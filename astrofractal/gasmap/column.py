"""From what telescopes measure to N(H2): integrated lines, extinction, dust, other molecules."""

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from astropy import constants as const
from astropy import units as u
from radio_beam import Beam

from astrofractal._utils.validation import warn
from astrofractal.gasmap import wcs as _wcs
from astrofractal.gasmap.channel import check_logarithm, from_log10, good_columns
from astrofractal.gasmap.checks import check_quantity
from astrofractal.gasmap.units import (
    H2_MEAN_MOLECULAR_WEIGHT,
    HYDROGEN_MASS,
    to_column_density,
    typical,
)

_COLUMN = u.cm**-2
_BRIGHTNESS = u.Jy / u.sr
_VELOCITY = u.km / u.s

#: Frequencies, and what is equivalent to them.
_SPECTRAL = (u.Hz, u.m, u.m**-1, u.J)


def hildebrand_opacity(frequency: u.Quantity, *, beta: float = 2.0) -> u.Quantity:
    """
    Return the opacity of dust, per gram of gas and dust, after Hildebrand (1983, QJRAS 24, 267).

    .. math:: \\kappa_\\nu = 0.1\\,\\mathrm{cm^2\\,g^{-1}}
              \\left(\\frac{250\\,\\mu\\mathrm{m}}{\\lambda}\\right)^\\beta

    A gas-to-dust mass ratio of 100 is part of it.  It is uncertain by a factor of about two.

    Parameters
    ----------
    frequency : `~astropy.units.Quantity`
        Frequency or wavelength.
    beta : float, optional
        The emissivity index.

    Returns
    -------
    opacity : `~astropy.units.Quantity`
        Opacity in cm2/g.
    """
    wavelength = frequency.to(u.um, u.spectral())
    return 0.1 * u.cm**2 / u.g * (250 * u.um / wavelength).to_value(u.one) ** beta


class _Conversion:
    """What the four conversions share."""

    def _factor(self, unit, beam, pixel_solid_angle, rest_frequency):
        """Return N(H2) in cm-2 of a value of 1 in a unit."""
        raise NotImplementedError

    def to_column_density(
        self,
        values: u.Quantity,
        *,
        beam: Beam | None = None,
        pixel_solid_angle: u.Quantity | None = None,
        rest_frequency: u.Quantity | None = None,
    ) -> u.Quantity:
        """
        Return the column density of a measurement.

        Parameters
        ----------
        values : `~astropy.units.Quantity`
            What was measured: a number or a map.
        beam : `~radio_beam.Beam`, optional
            The beam, for values per beam.
        pixel_solid_angle : `~astropy.units.Quantity`, optional
            The solid angle of a pixel, for values per pixel.
        rest_frequency : `~astropy.units.Quantity`, optional
            Rest frequency of the line, for a line in Jy/beam or MJy/sr.

        Returns
        -------
        column_density : `~astropy.units.Quantity`
            N(H2) in cm-2.
        """
        factor = self._factor(values.unit, beam, pixel_solid_angle, rest_frequency)
        if values.shape and np.shape(factor) not in ((), values.shape):
            name = type(self).__name__
            msg = f"{name}: temperature has shape {np.shape(factor)}, the map has {values.shape}"
            raise ValueError(msg)
        return (values.value * factor) << _COLUMN


@dataclass(frozen=True)
class XFactor(_Conversion):
    """
    N(H2) per integrated intensity of a line.

    Parameters
    ----------
    value : `~astropy.units.Quantity`
        Column density per integrated intensity, e.g. in cm-2 / (K km/s).  There is no default: it
        depends on the line.  `optically_thin_x_factor` computes it for an optically thin one.
    rest_frequency : `~astropy.units.Quantity`, optional
        Rest frequency (or wavelength) of the line; replaces that of the header.
    """

    value: u.Quantity
    rest_frequency: u.Quantity | None = None

    def __post_init__(self):
        check_quantity("XFactor: value", self.value, None, "2e20 * u.cm**-2 / (u.K * u.km / u.s)")
        lines = (u.K, u.Jy / u.beam, _BRIGHTNESS, u.Jy)
        if all(self._per(line * _VELOCITY) is None for line in lines):
            msg = f"XFactor: value must be a column density per integrated intensity, got {self.value}"
            raise u.UnitConversionError(msg)
        if self.rest_frequency is not None:
            example = "110.2 * u.GHz"
            check_quantity("XFactor: rest_frequency", self.rest_frequency, _SPECTRAL, example)

    def fits(self, unit) -> bool:
        """Return whether the factor is one per this unit, without a beam or a frequency."""
        return self._per(unit) is not None

    def _per(self, unit):
        try:
            return to_column_density(self.value * (1.0 * unit), name="XFactor: value").value
        except u.UnitConversionError:
            return None

    def _factor(self, unit, beam, _, rest_frequency):
        direct, per_kelvin = self._per(unit), self._per(u.K * _VELOCITY)
        if direct is not None:
            return direct
        intensity, bright = unit / _VELOCITY, (_BRIGHTNESS, u.Jy / u.beam)
        if any(map(intensity.is_equivalent, bright)) and per_kelvin is not None:
            rest = rest_frequency if self.rest_frequency is None else self.rest_frequency
            area = None if beam is None else beam.sr
            return kelvin_per_intensity(intensity, rest, beam_area=area) * per_kelvin
        hint = ""
        if any(map(unit.is_equivalent, (u.K, *bright))):
            hint = f" (a map that was integrated over velocity: give unit='{unit} km/s')"
        elif intensity.is_equivalent(u.Jy):
            hint = " (a map in Jy/beam km/s: give unit='Jy/beam km/s')"
        msg = f"XFactor: value is {self.value}, but the map is in {unit.to_string()!r}{hint}"
        raise u.UnitConversionError(msg)


@dataclass(frozen=True)
class Extinction(_Conversion):
    """
    N(H2) per magnitude of extinction.

    Parameters
    ----------
    ratio : `~astropy.units.Quantity`
        N(H2) per magnitude, of A_V or A_K as the map is.  For A_V, 9.4e20 cm-2/mag is in use
        (Bohlin et al. 1978, R_V = 3.1).
    """

    ratio: u.Quantity

    def __post_init__(self):
        check_quantity("Extinction: ratio", self.ratio, None, "9.4e20 * u.cm**-2 / u.mag")
        to_column_density(self.ratio * u.mag, name="Extinction: ratio (times 1 mag)")

    def _factor(self, unit, *_):
        if unit != u.mag:
            msg = f"Extinction needs a map in mag, got the unit {unit.to_string()!r}"
            raise u.UnitConversionError(msg)
        return to_column_density(self.ratio * u.mag).value


@dataclass(frozen=True, eq=False)
class DustEmission(_Conversion):
    """
    Optically thin thermal emission of dust, a surface brightness.

    Parameters
    ----------
    temperature : `~astropy.units.Quantity` or path-like, HDU or `~astropy.nddata.NDData`
        Temperature of the dust: one value, or a map of it on the pixels of the emission.
    frequency : `~astropy.units.Quantity`
        Frequency or wavelength.
    opacity : `~astropy.units.Quantity`
        Opacity per mass of gas and dust, e.g. that of `hildebrand_opacity`.
    """

    temperature: Any
    frequency: u.Quantity
    opacity: u.Quantity

    def __post_init__(self):
        check_quantity("DustEmission: frequency", self.frequency, _SPECTRAL, "850 * u.um")
        example = "hildebrand_opacity(850 * u.um)"
        check_quantity("DustEmission: opacity", self.opacity, u.cm**2 / u.g, example)
        if isinstance(self.temperature, u.Quantity | int | float):  # else a map to be read
            check_quantity("DustEmission: temperature", self.temperature, u.K, "12 * u.K")

    def _factor(self, unit, beam, pixel_solid_angle, _):
        if not isinstance(self.temperature, u.Quantity):
            msg = "DustEmission: temperature must be read first: give it to GasMap.read as column="
            raise TypeError(msg)
        nu = self.frequency.to(u.Hz, u.spectral())
        exponent = (const.h * nu / (const.k_B * self.temperature)).to_value(u.one)
        with np.errstate(over="ignore", invalid="ignore"):
            planck = 2 * const.h * nu**3 / const.c**2 / np.expm1(exponent) / u.sr
        mass = H2_MEAN_MOLECULAR_WEIGHT * HYDROGEN_MASS
        per_brightness = (1 / (planck * self.opacity * mass)).to_value(_COLUMN / _BRIGHTNESS)
        area = None if beam is None else beam.sr
        return per_brightness * _surface_brightness(unit, beam=area, pixel=pixel_solid_angle)


@dataclass(frozen=True)
class Abundance(_Conversion):
    """
    Molecules per H2, for the column density of another molecule.

    Parameters
    ----------
    value : float
        Molecules per H2, between 0 and 1, e.g. 1e-8 for NH3.
    """

    value: float

    def __post_init__(self):
        try:
            value = float(u.Quantity(self.value).to_value(u.one))
        except (TypeError, ValueError):
            value = np.nan
        if not 0 < value <= 1:
            msg = f"abundance must be molecules per H2, between 0 and 1, as in 1e-8, got {self.value!r}"
            raise ValueError(msg)
        object.__setattr__(self, "value", value)

    def _factor(self, unit, *_):
        return to_column_density(1.0 * unit).value / self.value


#: What ``column=`` of `~astrofractal.GasMap.read` may be.
ColumnConversion: TypeAlias = XFactor | Extinction | DustEmission | Abundance


def _surface_brightness(unit, *, beam=None, pixel=None, name="column_density"):
    """Return the Jy/sr of 1 in a unit, which is per solid angle, per beam or per pixel."""
    # beam, pixel: their solid angles, or None
    areas = {u.sr: 1 * u.sr, u.beam: beam, u.pix: pixel, u.one: pixel}
    for per, area in areas.items():
        if (unit * per).is_equivalent(u.Jy):
            if area is None:
                hint = "has no beam: give beam=, its FWHM" if per == u.beam else "has no WCS"
                msg = f"{name} is in {unit}, but the map {hint}"
                raise ValueError(msg)
            return (unit * per).to(u.Jy) / area.to_value(u.sr)
    msg = f"{name} must be a surface brightness such as MJy/sr or Jy/beam, got the unit {unit}"
    raise u.UnitConversionError(msg)


def kelvin_per_intensity(unit, frequency, *, beam_area=None, name="column_density"):
    """Return the brightness temperature (Rayleigh-Jeans, K) of a surface brightness of 1 ``unit``."""
    if unit.is_equivalent(u.K):
        return unit.to(u.K)
    brightness = _surface_brightness(unit, beam=beam_area, name=name)
    if frequency is None:
        msg = f"{name} is in {unit} and has no rest frequency: give the rest_frequency of XFactor"
        raise ValueError(msg)
    hertz = frequency.to(u.Hz, u.spectral())
    per_brightness = (np.ones(hertz.shape) * _BRIGHTNESS).to_value(
        u.K, u.brightness_temperature(hertz)
    )
    return brightness * per_brightness


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
    frequency, einstein_a : `~astropy.units.Quantity`
        Rest frequency and Einstein coefficient (1/s) of the line.
    upper_energy, upper_degeneracy : `~astropy.units.Quantity`, float
        Energy (as a temperature) and statistical weight of the upper level.
    partition_function, excitation_temperature : float, `~astropy.units.Quantity`
        Excitation temperature, and the partition function at it.
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
        got = f"{excitation_temperature} and {background_temperature}"
        msg = f"excitation_temperature must be above background_temperature, got {got}"
        raise ValueError(msg)
    factor = levels * population * contrast / Abundance(abundance).value
    return factor.to(_COLUMN / (u.K * u.km / u.s))


#: As many pixels of one value, off the others by this factor, seem to mean "nothing here".
_N_BLANKS, _FAR = 10, 1e6


def column_of(channel, conversion, *, wcs, beam, rest_frequency=None):
    """Return the channel of the column density in cm-2."""
    raw = channel
    if raw.is_logarithm:
        channel = from_log10(_in_dex(raw), "column_density")
    else:
        if raw.unit.is_equivalent(_COLUMN):
            check_logarithm(raw.values, "column_density")
        _check_errors(raw)
    if conversion is None or isinstance(conversion, Abundance):
        factor = to_column_density(1.0 * channel.unit).value
        column = channel.values * factor
        median = typical(column[raw.values != 0])
        if median < 1e6:
            what = f"column_density in {raw.unit} has a median of {median:.3g} cm-2"
            logarithm = "is it the map of its errors, or in unit='dex(1e21 cm-2)'?"
            remedy = logarithm if raw.is_logarithm else "give unit='1e21 cm-2', e.g."
            msg = f"{what}, too little for gas: {remedy}"
            raise ValueError(msg)
    if conversion is not None:
        factor = conversion.to_column_density(
            np.ones(channel.values.shape) << channel.unit,
            beam=beam,
            pixel_solid_angle=wcs and _wcs.central_solid_angle(wcs, channel.values.shape) * u.sr,
            rest_frequency=rest_frequency,
        ).value
    channel = replace(channel.scaled(factor), unit=_COLUMN)
    median = typical(channel.values)
    if conversion is None and median < 1e17:
        msg = f"column_density has a median of {median:.3g} cm-2, little for H2"
        msg += ": if it is of another molecule, give column=Abundance(...)"
        warn(msg)
    _warn_of_blanks(raw.values, channel)
    return channel


def _in_dex(channel):
    """Return a channel of logarithms with errors in dex, which may be errors of the column."""
    if channel.error is None or not typical(channel.error) > 100:  # no errors in dex
        return channel
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return replace(channel, error=channel.error / (np.log(10) * 10.0**channel.values))


def _check_errors(channel):
    """Refuse errors that are in dex although the column density is no logarithm."""
    if channel.error is None:
        return
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = typical(channel.error / channel.values)
    if relative < 1e-9:
        msg = f"column_density_uncertainty is only {relative:.2g} of the column density"
        msg += ": if it is the error of the logarithm, give it the unit dex(cm-2)"
        raise ValueError(msg)


def _warn_of_blanks(raw, channel):
    """Warn of one value in many pixels, far from all others, that seems to mean "nothing here"."""
    good = good_columns(channel)
    if good.sum() < 2 * _N_BLANKS:
        return
    raw, values = raw[good], channel.values[good]
    for pick in (np.argmin, np.argmax):
        odd = values == values[pick(values)]
        if odd.all() or odd.sum() < _N_BLANKS:
            continue
        ratio = values[odd][0] / np.median(values[~odd])
        if not 1 / _FAR < ratio < _FAR:
            value = f"{raw[odd][0]:g}"
            msg = f"{odd.sum()} pixels of column_density are {value}, far from all others"
            msg += f": if these are missing data, give no_data={value}"
            warn(msg)
