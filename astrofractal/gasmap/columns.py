"""From the numbers of a map to N(H2), and what of them is suspect or impossible."""

import numpy as np
from astropy import units as u

from astrofractal._utils.warn import warn
from astrofractal.gasmap import wcs as _wcs
from astrofractal.gasmap.channels import (
    MAX_COLUMN_DENSITY,
    Channel,
    check_logarithm,
    from_log10,
    subtract_line_width,
)
from astrofractal.gasmap.conversions import (
    dust_column_factor,
    extinction_factor,
    surface_brightness,
    x_factor_unit,
)
from astrofractal.gasmap.units import to_column_density

__all__ = [
    "choose_converter",
    "column_of",
    "subtract_from_dispersion",
    "variance_to_dispersion",
    "warn_if_faint",
]

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
