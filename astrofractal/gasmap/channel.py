"""One channel of a map: its numbers, whatever class they came in, as N(H2), v or sigma."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.nddata import Cutout2D, NDData, StdDevUncertainty

from astrofractal._utils.validation import warn
from astrofractal.gasmap.checks import check_quantity
from astrofractal.gasmap.units import logarithmic, parse_unit, to_column_density, to_velocity

#: No column density of gas (cm-2) comes near: what is above stands for "nothing here".
MAX_COLUMN_DENSITY = 1e29

_SPEED_OF_LIGHT = 299792.458


@dataclass
class Channel:
    """Numbers with their unit and standard deviation."""

    values: np.ndarray  #: native float64, NaN where masked
    unit: object
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
            return cls(clean_numbers(data.value, name, mask), data.unit, wcs=wcs)
        if isinstance(data, NDData):
            if data.unit is None:
                msg = f"{name} has no unit; give the {type(data).__name__} a unit, or pass unit="
                raise ValueError(msg)
            return cls(
                clean_numbers(data.data, name, data.mask),
                parse_unit(data.unit, name=name),
                nddata_error(data, name),
                data.wcs,
                dict(data.meta),
            )
        msg = f"{name} has no unit: it must be a Quantity or NDData, got {type(data).__name__}"
        raise TypeError(msg)

    @property
    def is_logarithm(self):
        """Whether the unit is that of a logarithm."""
        return isinstance(self.unit, u.function.FunctionUnitBase)

    def scaled(self, factor):
        """Return the channel with numbers and errors multiplied."""
        error = None if self.error is None else self.error * factor
        return replace(self, values=self.values * factor, error=error)

    def squeezed(self, name):
        """Return the channel as 2D, with axes of one pixel dropped; refuse any other shape."""
        shape = self.values.shape
        axes = tuple(axis for axis, n in enumerate(shape) if n == 1)
        surplus = max(len(shape) - 2, 0)
        if len(shape) < 2 or len(axes) < surplus or 0 in shape:
            msg = f"{name} must be a 2D map, got {len(shape)}D data of shape {shape}"
            raise ValueError(msg)
        values, error = (
            None if array is None else np.squeeze(array, axes[:surplus])
            for array in (self.values, self.error)
        )
        return replace(self, values=values, error=error)


def clean_numbers(data, name, mask=None):
    """Return any real array (integer, float16, big-endian) as native float64, NaN where masked."""
    array = np.asarray(data)  # of a masked array, without its mask
    if array.dtype.kind not in "iuf":
        msg = f"{name} must hold real numbers, got data of type {array.dtype}"
        raise TypeError(msg)
    array = array.astype(np.float64)
    if isinstance(data, np.ma.MaskedArray):
        array[np.ma.getmaskarray(data)] = np.nan
    if mask is not None and mask is not np.ma.nomask:
        array[_mask(mask, array.shape, name)] = np.nan
    return array


def is_lazy(data):
    """Return whether data are an array that is computed when it is asked for, as those of dask."""
    return hasattr(data, "__array__") and hasattr(data, "compute")


def blank(channel, no_data):
    """Make NaN of a value that means "nothing here", also as single precision holds it, in place."""
    with np.errstate(over="ignore"):
        marks = [no_data, np.float64(np.float32(no_data))]
    for array in (channel.values, channel.error):
        if array is not None:
            array[np.isin(array, marks)] = np.nan


def _mask(mask, shape, name):
    mask = np.asarray(mask)
    if mask.dtype.kind not in "biu":
        msg = f"the mask of {name} must be boolean, got data of type {mask.dtype}"
        raise TypeError(msg)
    try:
        return np.broadcast_to(mask.astype(bool), shape)
    except ValueError:
        msg = f"the mask of {name} has shape {mask.shape}, the data have {tuple(shape)}"
        raise ValueError(msg) from None


def nddata_error(data, name):
    """Return the standard deviations of NDData, or `None` where it has none."""
    if data.uncertainty is None or data.uncertainty.array is None:
        return None
    deviation = data.uncertainty
    try:
        if not isinstance(deviation, StdDevUncertainty):  # no conversion, which dex units refuse
            deviation = deviation.represent_as(StdDevUncertainty)
    except Exception:  # each class raises its own
        warn(f"{name} has an uncertainty that gives no standard deviation: it is dropped")
        return None
    error = clean_numbers(deviation.array, name)
    if isinstance(deviation.unit, u.UnitBase) and deviation.unit != data.unit:
        error = error * deviation.unit.to(data.unit)
    return np.broadcast_to(error, np.shape(data.data)).copy()


def error_factor(text, channel, *, name):
    """Return what errors are multiplied by to be in the unit of their channel."""
    dex = str(text).strip().lower() == "dex"
    unit = u.dex(u.one) if dex else parse_unit(text, name=name)
    if isinstance(unit, u.function.FunctionUnitBase):
        if channel.is_logarithm or logarithmic(channel.values):
            return 1.0
        return np.log(10) * channel.values
    if channel.is_logarithm:  # an error of the column, not of its logarithm
        with np.errstate(over="ignore", invalid="ignore"):
            return unit.to(channel.unit.physical_unit) / (np.log(10) * 10.0**channel.values)
    try:
        return unit.to(channel.unit)
    except u.UnitConversionError:
        msg = f"{name} is in {unit}, which is not the {channel.unit} of its map"
        raise u.UnitConversionError(msg) from None


def of_cutout(cutout):
    """Return a `~astropy.nddata.Cutout2D` as NDData; what lies beyond the image is masked."""
    values = cutout.data
    mask = np.ones(np.shape(values), bool)
    mask[cutout.slices_cutout] = False
    mask |= getattr(values, "mask", False)
    numbers = np.asarray(getattr(values, "unmasked", values))
    return NDData(numbers, unit=getattr(values, "unit", None), wcs=cutout.wcs, mask=mask)


def column_channel(channel, name):
    """Return values and errors of a column density in cm-2, NaN where it is masked or impossible."""
    channel = channel.squeezed(name)
    linear = from_log10(channel, name) if channel.is_logarithm else channel
    linear = linear.scaled(to_column_density(1.0 * linear.unit, name=name).value)
    column = np.where(good_columns(linear), linear.values, np.nan)
    if not channel.is_logarithm:
        check_logarithm(column, name)
    return column, linear.error


def good_columns(channel):
    """Return which values of a channel in cm-2 are column densities."""
    smallest = np.finfo(np.float32).tiny
    with np.errstate(invalid="ignore"):
        return (channel.values >= smallest) & (channel.values <= MAX_COLUMN_DENSITY)


def from_log10(channel, name):
    """Return a channel of which the decimal logarithm is given."""
    values, error = channel.values, channel.error
    good = values[np.isfinite(values) & (values > 0)]
    if good.size and np.quantile(good, 0.02) > 30:
        median = f"a median of {np.median(good):.4g}"
        msg = f"{name} is a logarithm by its unit, but has {median}: they are no logarithms"
        raise ValueError(msg)
    with np.errstate(over="ignore"):
        values = 10.0**values
    error = None if error is None else error * np.log(10) * values
    return replace(channel, values=values, error=error, unit=channel.unit.physical_unit)


def why_empty(channel):
    """Say why a channel holds no usable column density."""
    values = channel.values[np.isfinite(channel.values)]
    if not values.size:
        return "all its values are NaN or masked"
    if channel.is_logarithm:
        return "all its values are masked, or no logarithms of a column density"
    if not (values > 0).any():
        return f"none of its values is positive ({values.min():g} to {values.max():g})"
    reached = values.max() * to_column_density(1.0 * channel.unit).value
    if reached > MAX_COLUMN_DENSITY:
        return f"its values, taken to be in {channel.unit}, reach {reached:.2g} cm-2: see its unit"
    return "all that is positive is masked"


def check_logarithm(values, name):
    """Refuse numbers that look like the logarithm of a column density without saying so."""
    if logarithmic(values):
        good = values[np.isfinite(values) & (values > 0)]
        span = f"between {good.min():.4g} and {good.max():.4g}"
        msg = f"{name} is {span}, which looks like log10 of a column density: give unit='dex(cm-2)'"
        raise ValueError(msg)


def velocity_channel(channel, name):
    """Return the values and errors of a velocity or dispersion in km/s, NaN where there is none."""
    channel = channel.squeezed(name)
    channel = channel.scaled(to_velocity(u.Quantity(1.0, channel.unit), name=name).value)
    lowest = 0 if name == "dispersion" else -_SPEED_OF_LIGHT  # what is beyond means "nothing here"
    with np.errstate(invalid="ignore"):
        good = (channel.values >= lowest) & (channel.values <= _SPEED_OF_LIGHT)
    return np.where(good, channel.values, np.nan), channel.error


#: What a map of line widths may hold, and what it is divided by to be a standard deviation.
DISPERSION_KINDS = {
    "sigma": 1.0,
    "fwhm": np.sqrt(8 * np.log(2)),
    "variance": None,
    "doppler": np.sqrt(2),
}

#: Words for each kind of width, the clearest first.
_WORDS = {
    "fwhm": r"fwhm|full.?width|half.?max",
    "doppler": r"doppler|b.?parameter|b.?value",
    "variance": r"varian|squared",
    "sigma": r"dispersion|sigma|standard.?dev",
    "unclear": r"line.?width|velocity.?width",
}

#: Cards that name what an image holds.
_NAMES = re.compile(r"EXTNAME|BTYPE|OBJTYPE|DATATYPE|QUANTITY|CTYPE\d|TTYPE\d")

#: Lines of HISTORY on the width of a line, and on that of a beam.
_LINE = re.compile(r"line|veloc|width map|km\s*/\s*s", re.I)
_BEAM = re.compile(r"beam|resol|smooth|convol|psf|arcsec|kernel", re.I)


def to_dispersion(channel, kind):
    """Return a channel of line widths as standard deviations, by a kind, its unit or its header."""
    squared = channel.unit.is_equivalent(u.km**2 / u.s**2)
    if kind is None:
        kind = "variance" if squared else _header_kind(channel)
    if kind == "sigma" and squared:
        msg = f"dispersion (sigma) must be a velocity, got the unit {channel.unit}"
        raise u.UnitConversionError(msg)
    if kind != "variance":
        return channel.scaled(1 / DISPERSION_KINDS[kind])
    if not squared and not channel.unit.is_equivalent(u.km / u.s):
        msg = f"dispersion (variance) must be a squared velocity, got the unit {channel.unit}"
        raise u.UnitConversionError(msg)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.sqrt(channel.values)
        error = None if channel.error is None else channel.error / (2 * values)
    unit = channel.unit**0.5 if squared else channel.unit  # some call variances km/s
    return replace(channel, values=values, error=error, unit=unit)


def _header_kind(channel):
    """Return the kind of widths by the header in the meta of a channel; say what was found."""
    meta = channel.meta or {}
    kind, text = _stated_kind(meta.get("header", meta), Path(meta.get("file") or "").stem)
    if kind == "sigma":
        return kind
    if kind == "unclear":
        msg = f"the dispersions are called a line width ({text}): give dispersion_kind="
    else:
        stated = f"{kind.replace('fwhm', 'FWHM')} by their header ({text})"
        msg = f"the dispersions are a {stated}, and converted: else give dispersion_kind="
    warn(msg)
    return "sigma" if kind == "unclear" else kind


def _stated_kind(header, stem):
    """Return the kind of width that a header states, sigma without one, and where it does."""
    names = [f"{key} = {header[key]!r}" for key in header if _NAMES.fullmatch(str(key))]
    if "BUNIT" in header and hasattr(header, "comments"):
        names.append(f"BUNIT / {header.comments['BUNIT']}")
    lines = [str(line) for key in ("HISTORY", "COMMENT") for line in header.get(key, ())]
    about = [line for line in lines if _LINE.search(line) and not _BEAM.search(line)]
    for texts in (names, about):
        for kind, words in _WORDS.items():
            for text in texts:
                if re.search(words, text, re.I):
                    return kind, text
    if "bettermoments" in " ".join(lines) and re.search(r"_(?:g[thg]?)?dVb?$", stem):
        return "doppler", stem
    return "sigma", ""


def subtract_line_width(channel, line_width):
    """Take a line width out of a channel of dispersions in quadrature."""
    check_quantity("line_width", line_width, u.km / u.s, "0.05 * u.km / u.s", one=True)
    width = float(np.squeeze(line_width.to_value(channel.unit)))
    measured = channel.values
    with np.errstate(invalid="ignore", divide="ignore"):
        channel.values = np.sqrt(np.maximum(measured**2 - width**2, 0))
        if channel.error is not None:
            stretched = channel.error * measured / channel.values
            channel.error = np.where(channel.values > 0, stretched, channel.error)
