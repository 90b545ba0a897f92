"""One channel of a map: numbers, unit, mask and error, whatever class they came in."""

from __future__ import annotations

import numbers
from dataclasses import dataclass, replace

import numpy as np
from astropy import units as u
from astropy.nddata import Cutout2D, NDData, StdDevUncertainty
from radio_beam import Beam

from astrofractal._utils.validation import warn
from astrofractal.gasmap.unit_text import parse_unit
from astrofractal.gasmap.units import logarithmic, to_column_density, to_velocity

__all__ = [
    "MAX_COLUMN_DENSITY",
    "Channel",
    "blank",
    "check_beam",
    "check_distance",
    "check_length",
    "check_logarithm",
    "check_pixels",
    "check_quantity",
    "clean_numbers",
    "column_channel",
    "error_factor",
    "from_log10",
    "is_lazy",
    "need_distance",
    "need_wcs",
    "of_cutout",
    "subtract_line_width",
    "velocity_channel",
]

#: No column density of gas (cm-2) comes near: what is above stands for "nothing here".
MAX_COLUMN_DENSITY = 1e29

#: What is said to be log10 of a column density, and lies above this, is none.
_MAX_LOGARITHM = 30

_SPEED_OF_LIGHT = 299792.458


@dataclass
class Channel:
    """Numbers with their unit, mask and standard deviation."""

    values: np.ndarray  #: native float64
    unit: object
    mask: np.ndarray | None = None  #: `True` is masked
    error: np.ndarray | None = None  #: in the unit of the values; in dex where that is a dex unit
    wcs: object = None
    meta: dict | None = None

    @classmethod
    def of(cls, data, name):
        """Return the channel of a Quantity, NDData, CCDData, Cutout2D or Channel; refuse the rest."""
        if isinstance(data, cls):
            return data
        if isinstance(data, Cutout2D):
            data = of_cutout(data)
        if isinstance(data, u.Quantity):
            mask, wcs = getattr(data, "mask", None), getattr(data, "wcs", None)
            if hasattr(mask, "include"):  # of spectral-cube, where True is not masked
                mask = ~mask.include()
            data = getattr(data, "unmasked", data)
            values = clean_numbers(data.value, name)
            return cls(values, data.unit, _mask(mask, data.shape, name), wcs=wcs)
        if isinstance(data, NDData):
            if data.unit is None:
                msg = f"{name} has no unit; give the {type(data).__name__} a unit, or pass unit="
                raise ValueError(msg)
            return cls(
                clean_numbers(data.data, name),
                parse_unit(data.unit, name=name),
                _mask(data.mask, np.shape(data.data), name),
                _nddata_error(data, name),
                data.wcs,
                dict(data.meta),
            )
        if np.ndim(data) and not isinstance(data, str | bytes):
            msg = f"{name} has no unit: it must be a Quantity or NDData, got {type(data).__name__}"
            raise TypeError(msg)
        msg = f"{name} must be a Quantity or NDData, got {type(data).__name__}: {data!r}"
        raise TypeError(msg)

    def squeezed(self, name):
        """Return the channel as 2D, with axes of one pixel dropped; refuse any other shape."""
        shape = self.values.shape
        axes = tuple(axis for axis, n in enumerate(shape) if n == 1)
        surplus = max(len(shape) - 2, 0)
        if len(shape) < 2 or len(axes) < surplus or 0 in shape:
            msg = f"{name} must be a 2D map, got {len(shape)}D data of shape {shape}"
            raise ValueError(msg)
        if not surplus:
            return self

        def squeeze(array):
            return None if array is None else np.squeeze(array, axes[:surplus])

        planes = {name: squeeze(getattr(self, name)) for name in ("values", "mask", "error")}
        return replace(self, **planes)


def clean_numbers(data, name):
    """Return any real array (integer, float16, big-endian, masked) as native float64."""
    array = np.asarray(data)  # of a masked array, without its mask
    if array.dtype.kind not in "iuf":
        msg = f"{name} must hold real numbers, got data of type {array.dtype}"
        raise TypeError(msg)
    array = array.astype(np.float64)
    if isinstance(data, np.ma.MaskedArray):
        array[np.ma.getmaskarray(data)] = np.nan
    return array


def is_lazy(data):
    """Return whether data are an array that is computed when it is asked for, as those of dask."""
    return hasattr(data, "__array__") and hasattr(data, "compute")


def blank(values, no_data):
    """Make NaN of a value that means "nothing here", also as single precision holds it, in place."""
    with np.errstate(over="ignore"):
        stored = np.float64(np.float32(no_data))
    values[(values == no_data) | (values == stored)] = np.nan


def _mask(mask, shape, name):
    if mask is None or mask is np.ma.nomask:
        return None
    mask = np.asarray(mask)
    if mask.dtype.kind not in "biu":
        msg = f"the mask of {name} must be boolean, got data of type {mask.dtype}"
        raise TypeError(msg)
    try:
        return np.broadcast_to(mask.astype(bool), shape).copy()
    except ValueError:
        msg = f"the mask of {name} has shape {mask.shape}, the data have {tuple(shape)}"
        raise ValueError(msg) from None


def _nddata_error(data, name):
    if data.uncertainty is None or data.uncertainty.array is None:
        return None
    deviation = data.uncertainty
    try:
        if not isinstance(deviation, StdDevUncertainty):  # no conversion, which dex units refuse
            deviation = deviation.represent_as(StdDevUncertainty)
    except Exception:  # each class raises its own
        msg = (
            f"{name} has an uncertainty of class {type(deviation).__name__}, which gives no "
            "standard deviation; it is dropped"
        )
        warn(msg)
        return None
    error = clean_numbers(deviation.array, name)
    if isinstance(deviation.unit, u.UnitBase) and deviation.unit != data.unit:
        error = error * deviation.unit.to(data.unit)
    return np.broadcast_to(error, np.shape(data.data)).copy()


def error_factor(text, channel, *, name):
    """Return what errors are multiplied by to be in the unit of their channel."""
    plain = str(text).strip().lower()
    unit = u.dex(u.one) if plain == "dex" else parse_unit(text, name=name)
    if isinstance(unit, u.function.FunctionUnitBase):
        if isinstance(channel.unit, u.function.FunctionUnitBase) or logarithmic(channel.values):
            return 1.0
        return np.log(10) * channel.values
    own = channel.unit
    if isinstance(own, u.function.FunctionUnitBase):  # an error of the column, not of its logarithm
        with np.errstate(over="ignore", invalid="ignore"):
            return unit.to(own.physical_unit) / (np.log(10) * 10.0**channel.values)
    try:
        return unit.to(own)
    except u.UnitConversionError:
        msg = f"{name} is in {unit}, which is not the {own} of its map"
        raise u.UnitConversionError(msg) from None


def of_cutout(cutout, unit=None):
    """Return a `~astropy.nddata.Cutout2D` as NDData; what lies beyond the image is masked."""
    values = cutout.data
    unit = getattr(values, "unit", unit)
    mask = np.ones(np.shape(values), bool)
    mask[cutout.slices_cutout] = False
    mask |= getattr(values, "mask", False)
    numbers = np.asarray(getattr(values, "unmasked", values))
    return NDData(numbers, unit=unit, wcs=cutout.wcs, mask=mask)


def column_channel(channel, name):
    """
    Return the values, mask and error of a column density in cm-2.

    Masked, non-finite and non-positive values, and those above `MAX_COLUMN_DENSITY`, are NaN.
    """
    channel = channel.squeezed(name)
    unit, values, error = channel.unit, channel.values, channel.error
    logarithm = isinstance(unit, u.function.FunctionUnitBase)
    if logarithm:
        values, error = from_log10(values, error, name)
        unit = unit.physical_unit
    factor = to_column_density(1.0 * unit, name=name).value
    column = values * factor
    error = None if error is None else error * factor
    if channel.mask is not None:
        column = np.where(channel.mask, np.nan, column)
    column = np.where(np.isfinite(column) & (column > 0), column, np.nan)
    column[(column < np.finfo(np.float32).tiny) | (column > MAX_COLUMN_DENSITY)] = np.nan
    if not logarithm:
        check_logarithm(column, channel.unit, name)
    return column, error


def from_log10(values, error, name):
    """Return values and errors of which the decimal logarithm is given."""
    good = values[np.isfinite(values) & (values > 0)]
    if good.size and np.quantile(good, 0.02) > _MAX_LOGARITHM:
        msg = (
            f"{name} is said to be a logarithm (by its unit), but its values have a "
            f"median of {np.median(good):.4g}: they are no logarithms of a column density"
        )
        raise ValueError(msg)
    with np.errstate(over="ignore"):
        values = 10.0**values
    return values, None if error is None else error * np.log(10) * values


def why_empty(channel):
    """Say why a channel holds no usable column density."""
    values = channel.values[np.isfinite(channel.values)]
    if not values.size:
        return "all its values are NaN"
    if isinstance(channel.unit, u.function.FunctionUnitBase):
        return "all its values are masked, or no logarithms of a column density"
    if not (values > 0).any():
        return (
            f"none of its values is positive (they lie from {values.min():g} to {values.max():g})"
        )
    reached = values.max() * to_column_density(1.0 * channel.unit).value
    if reached > MAX_COLUMN_DENSITY:
        return f"its values, taken to be in {channel.unit}, reach {reached:.2g} cm-2: see its unit"
    return "all that is positive is masked"


def check_logarithm(values, unit, name):
    """Refuse numbers that look like the logarithm of a column density without saying so."""
    if logarithmic(values):
        good = values[np.isfinite(values) & (values > 0)]
        msg = (
            f"{name} is said to be in {unit}, but its values lie between {good.min():.4g} and "
            f"{good.max():.4g}, which looks like log10 of a column density: give "
            "unit='dex(cm-2)'"
        )
        raise ValueError(msg)


def velocity_channel(channel, name, *, positive=False):
    """Return the values and error of a velocity or dispersion in km/s, NaN where there is none."""
    channel = channel.squeezed(name)
    factor = to_velocity(u.Quantity(1.0, channel.unit), name=name).value
    values = channel.values * factor
    error = None if channel.error is None else channel.error * factor
    bad = ~np.isfinite(values)
    if channel.mask is not None:
        bad |= channel.mask
    with np.errstate(invalid="ignore"):
        bad |= np.abs(values) > _SPEED_OF_LIGHT  # stands for "nothing here"
        if positive:
            bad |= values < 0
    return np.where(bad, np.nan, values), error


def subtract_line_width(channel, line_width):
    """Take a line width out of a channel of dispersions in quadrature."""
    check_quantity("line_width", line_width, u.km / u.s, "0.05 * u.km / u.s")
    if line_width.size != 1:
        msg = f"line_width must be one velocity, got {line_width.size}"
        raise ValueError(msg)
    width = float(np.squeeze(line_width.to_value(channel.unit)))
    measured = channel.values
    with np.errstate(invalid="ignore", divide="ignore"):
        channel.values = np.sqrt(np.maximum(measured**2 - width**2, 0))
        if channel.error is not None:
            stretched = channel.error * measured / channel.values
            channel.error = np.where(channel.values > 0, stretched, channel.error)


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


def check_distance(distance):
    """Return a distance in pc, or `None`; refuse what is not a distance."""
    if distance is None:
        return None
    if getattr(distance, "distance", None) is not None:  # a SkyCoord is no distance
        msg = f"distance must be a Quantity such as 300 * u.pc, got {type(distance).__name__}"
        raise TypeError(msg)
    return check_length("distance", distance)


def check_length(name, value):
    """Return a length in pc, or `None`; refuse what is not a positive length."""
    if value is None:
        return None
    if not isinstance(value, u.Quantity):
        msg = f"{name} must be a Quantity such as 300 * u.pc, got {value!r}"
        raise TypeError(msg)
    if not value.unit.is_equivalent(u.pc):
        msg = f"{name} must be a length such as 300 * u.pc, got {value}"
        raise u.UnitConversionError(msg)
    if value.size != 1 or not np.isfinite(value).all() or not np.all(value > 0):
        msg = f"{name} must be one positive, finite length, got {value}"
        raise ValueError(msg)
    return u.Quantity(float(np.squeeze(value.to_value(u.pc))), u.pc)


def check_beam(beam):
    """Return a `~radio_beam.Beam`, round where ``beam`` is a FWHM, or `None`; refuse the rest."""
    if beam is None:
        return None
    widths = beam
    if isinstance(beam, Beam):
        widths = u.Quantity([beam.major, beam.minor])
    elif not isinstance(beam, u.Quantity):
        msg = f"beam must be a radio_beam.Beam or a Quantity such as 18 * u.arcsec, got {beam!r}"
        raise TypeError(msg)
    elif not beam.unit.is_equivalent(u.arcsec):
        msg = f"beam must be an angle (FWHM) such as 18 * u.arcsec, got {beam}"
        raise u.UnitConversionError(msg)
    elif beam.size != 1:
        msg = f"beam must be one angle (FWHM), got {beam}"
        raise ValueError(msg)
    if not np.isfinite(widths).all() or not np.all(widths > 0):
        msg = f"beam must have a positive, finite FWHM, got {widths}"
        raise ValueError(msg)
    return beam if isinstance(beam, Beam) else Beam(np.squeeze(beam).to(u.arcsec))


def need_wcs(gas, what):
    """Refuse a map without WCS for something that needs one."""
    if gas.wcs is None:
        msg = f"the map has no WCS, and {what} needs a WCS: give (data, wcs) or pixel_scale="
        raise ValueError(msg)


def need_distance(gas, what):
    """Refuse a map without distance for something that needs it."""
    if gas.distance is None:
        msg = f"the map has no distance, and {what} needs the distance: give distance=, e.g. 300 * u.pc"
        raise ValueError(msg)


def check_pixels(name, value):
    """Return pixel positions as floats; refuse quantities and words."""
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        array = None
    if array is None or isinstance(value, u.Quantity | str | numbers.Number):
        msg = f"{name} must be a SkyCoord or pixels (x, y), got {value!r}"
        raise TypeError(msg)
    return array
