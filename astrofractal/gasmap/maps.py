"""Maps that come one file a quantity: fitted lines, extinction, dust, integrated intensity."""

import os
import warnings

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import NDData

from ..exceptions import AstrofractalWarning
from . import wcs as _wcs
from .channels import HIGHEST, Channel, check_logarithm, clean_numbers, exponential, narrow
from .conversions import (
    check_abundance,
    dust_column_factor,
    extinction_factor,
    surface_brightness,
    x_factor_unit,
)
from .fits_files import (
    channel_name,
    check_shape,
    describe_cube,
    file_wcs,
    hdu_data,
    header_beam,
    header_distance,
    header_unit,
    image_hdus,
    is_hdu,
    label,
    opened,
    wide_axes,
)
from .reading import (
    _bunit,
    _only_image,
    _units,
    cube_hdu,
    file_channels,
    find_channels,
    image_channel,
)
from .units import to_column_density

__all__ = ["from_maps"]

#: Below this median (cm-2) a column density is hardly one of H2.
_FAINT = 1e17

#: Below this median (cm-2) numbers are not in the unit that they are said to be in.
_TOO_FAINT = 1e6

#: As many pixels of one value, off the others by this factor, seem to mean "nothing here".
_N_BLANKS, _FAR = 10, 1e6


def from_maps(
    cls,
    column_density,
    velocity=None,
    dispersion=None,
    *,
    column_density_error=None,
    velocity_error=None,
    dispersion_error=None,
    unit=None,
    hdu=None,
    log10=False,
    no_data=None,
    abundance=None,
    variance=False,
    extinction_ratio=None,
    x_factor=None,
    dust_temperature=None,
    dust_opacity=None,
    frequency=None,
    line_width=None,
    distance=None,
    wcs=None,
    pixel_scale=None,
    beam=None,
    mask=None,
    meta=None,
):
    """
    Make a `~astrofractal.GasMap` of separate maps, all on one grid.

    Parameters
    ----------
    column_density : path-like, HDU, NDData or Quantity
        Map of the column density, or of what one of the arguments below converts to it.  The
        velocities, errors and mask of a file with named extensions (see
        `~astrofractal.GasMap.read`) are taken as well, where they are not given.

    velocity, dispersion : path-like, HDU, NDData or Quantity, optional
        Maps of the mean velocity and of the velocity dispersion.

    column_density_error, velocity_error, dispersion_error : path-like, HDU, NDData or Quantity
        Standard deviations, in the unit of their maps (in dex if ``log10``).

    unit : unit, str, or sequence or dict of these, optional
        Unit of the column density, or of each map (in order, or by the names
        ``"column_density"``, ``"velocity"``, ``"dispersion"``); replaces ``BUNIT``.

    hdu : int or str, optional
        The extension that holds the column density, where its file has several.

    log10 : bool, optional
        Whether the column density is given as its decimal logarithm.

    no_data : float, optional
        A value that means "no fit here", in all maps and errors.

    abundance : float, optional
        Molecules per H2, if the column density is that of another molecule: N(H2) is the column
        divided by it.

    variance : bool, optional
        Whether ``dispersion`` is a variance (moment 2): its root is taken.  Its unit is the square
        of a velocity; numbers called km/s are taken as (km/s)2.

    extinction_ratio : `~astropy.units.Quantity`, optional
        N(H2) per magnitude: the map is an extinction, A_V or A_K as the ratio says.  For A_V,
        9.4e20 cm-2/mag is in use (Bohlin et al. 1978, R_V = 3.1).

    x_factor : `~astropy.units.Quantity`, optional
        N(H2) per integrated intensity: the map is an integrated line, e.g. in K km/s.

    dust_temperature : `~astropy.units.Quantity`, path-like, HDU or NDData, optional
        Dust temperature, one value or a map: the map is dust continuum.

    dust_opacity : `~astropy.units.Quantity`, optional
        Opacity per mass of gas and dust, e.g. of `~astrofractal.gasmap.hildebrand_opacity`.

    frequency : `~astropy.units.Quantity`, optional
        Frequency or wavelength of the continuum.

    line_width : `~astropy.units.Quantity`, optional
        A dispersion that is taken out of the dispersions in quadrature, that of the molecule's
        thermal motion: see `~astrofractal.GasMap.from_cube`.

    distance, wcs, pixel_scale, beam, mask, meta : optional
        See `~astrofractal.GasMap.read`.

    Returns
    -------
    gas : `~astrofractal.GasMap`
        The map.

    Raises
    ------
    ValueError
        If the maps are on different grids, if values called cm-2 look like logarithms, or as
        in `~astrofractal.GasMap.read`.

    astropy.units.UnitsError
        If a unit does not fit.

    Notes
    -----
    Errors of the conversions themselves (abundance, ratio, X-factor, temperature, opacity) are
    systematic and not part of the uncertainties.
    """
    given = {"column_density": column_density, "velocity": velocity, "dispersion": dispersion}
    errors = {
        "column_density": column_density_error,
        "velocity": velocity_error,
        "dispersion": dispersion_error,
    }
    for name, error in errors.items():
        if error is not None and given[name] is None:
            msg = f"{name}_error is given but {name} is not"
            raise ValueError(msg)
    needed = wcs is None and pixel_scale is None
    units, loaded = _load_first(given, unit, hdu=hdu, needed=needed)
    for name, data in given.items():
        if data is not None and name not in loaded:
            loaded[name] = _load(data, name, units.get(name), needed=False)
    if dust_temperature is not None and not isinstance(dust_temperature, u.Quantity):
        loaded["dust_temperature"] = _load(dust_temperature, "dust_temperature", None, needed=False)
    first = loaded["column_density"]
    _same_grid(loaded)
    for name, part in loaded.items():
        if errors.get(name) is not None:
            part.channel.error = _load_error(errors[name], name, part.channel, no_data, log10=log10)
        if no_data is not None:
            part.channel.values[part.channel.values == no_data] = np.nan
    temperature = loaded.pop("dust_temperature", None)
    if temperature is not None:
        dust_temperature = temperature.channel.values << temperature.channel.unit
    wcs = first.wcs if wcs is None else _wcs.celestial_wcs(wcs)
    beam = first.beam if beam is None else beam
    converter = _converter(
        extinction_ratio=extinction_ratio,
        x_factor=x_factor,
        dust=(dust_temperature, dust_opacity, frequency),
    )
    channels = {name: part.channel for name, part in loaded.items()}
    column = column_of(channels["column_density"], log10, converter, wcs=wcs, beam=beam)
    if abundance is not None:
        fraction = check_abundance(abundance)
        column.values = column.values / fraction
        column.error = None if column.error is None else column.error / fraction
    warn_if_faint(column, abundance)
    channels["column_density"] = column
    if variance:
        channels["dispersion"] = _root(channels.get("dispersion"))
    narrow_dispersion(channels, line_width)
    meta = dict(meta or {})
    if pixel_scale is not None:
        meta["pixel_scale"] = pixel_scale
    if first.axes is not None and beam is first.beam:
        meta.setdefault("beam_axes", first.axes)
    return cls(
        column,
        channels.get("velocity"),
        channels.get("dispersion"),
        wcs=wcs,
        distance=first.distance if distance is None else distance,
        mask=mask,
        beam=beam,
        meta=meta,
    )


class _Loaded:
    """A channel and what its file says beside it."""

    def __init__(self, channel, *, wcs=None, beam=None, axes=None, distance=None):
        self.channel = channel
        self.wcs = wcs
        self.beam = beam
        self.axes = axes
        self.distance = distance


def _is_file(data):
    return isinstance(data, str | os.PathLike | fits.HDUList) or is_hdu(data)


def _load_first(given, unit, *, hdu, needed):
    """Return the units, and the column density with what comes along in its file."""
    data = given["column_density"]
    asked = [name for name, value in given.items() if value is not None]
    if not _is_file(data):
        if hdu is not None:
            msg = f"hdu is for files, column_density is a {type(data).__name__}"
            raise ValueError(msg)
        units = _units(unit, asked)
        name = "column_density"
        return units, {name: _load(data, name, units.get(name), needed=needed)}
    with opened(data) as hdus:
        found = _found(hdus, hdu)
        planes = len(wide_axes(found["column_density"])) > 2
        names = [name for name in given if planes or name in found or name in asked]
        units = _units(unit, names)
        first = found["column_density"]
        wcs = file_wcs(first.header, hdus, needed=needed)
        beam, axes = header_beam(first.header)
        found = {name: one for name, one in found.items() if one is first or given[name] is None}
        channels = file_channels(found, hdus, units)
        loaded = {name: _Loaded(channel) for name, channel in channels.items()}
        loaded = {name: one for name, one in loaded.items() if name not in asked[1:]}
        loaded["column_density"] = _Loaded(
            channels["column_density"],
            wcs=wcs,
            beam=beam,
            axes=axes,
            distance=header_distance(first.header, hdus),
        )
        return units, loaded


def _found(hdus, key):
    """Return the HDU of each channel in a file that is no cube."""
    images = image_hdus(hdus)
    if cube_hdu(hdus, key) is not None:
        image = cube_hdu(hdus, key)
        raise ValueError(describe_cube(image, f"column_density: {label(image, hdus)}"))
    if key is None and len(images) == 1:
        check_shape(images[0], f"column_density: {label(images[0], hdus)}", three_planes=True)
        return {"column_density": images[0]}
    return find_channels(hdus, key)


def _load(data, name, unit, *, needed):
    """Return the channel of a map, in its own unit."""
    if _is_file(data):
        with opened(data) as hdus:
            hdu = _image(hdus, name)
            wcs = file_wcs(hdu.header, hdus, needed=needed)
            return _Loaded(image_channel(hdu, hdus, unit, name), wcs=wcs)
    if unit is not None and isinstance(data, NDData) and data.unit is None:
        data = NDData(data, unit=unit)
    if unit is not None and type(data) is np.ndarray:
        data = Channel(clean_numbers(data, name), unit)
    channel = Channel.of(data, name).squeezed(name)
    channel = Channel(channel.values.copy(), channel.unit, channel.mask, channel.error, channel.wcs)
    wcs = None if channel.wcs is None else _wcs.celestial_wcs(channel.wcs, name=name)
    return _Loaded(channel, wcs=wcs)


def _image(hdus, name):
    """Return the image of a file that holds one quantity."""
    images = image_hdus(hdus)
    named = [hdu for hdu in images if channel_name(hdu.name) == name]
    if len(images) == 1 or len(named) == 1:
        hdu = (images if len(images) == 1 else named)[0]
    else:
        hdu = _only_image(hdus, images, {})
    check_shape(hdu, f"{name}: {label(hdu, hdus)}")
    return hdu


def _load_error(data, name, channel, no_data, *, log10):
    """Return the standard deviation of a channel in the channel's unit."""
    shape = channel.values.shape
    dex = name == "column_density" and log10
    if _is_file(data):
        with opened(data) as hdus:
            hdu = _image(hdus, f"{name}_error")
            values = clean_numbers(np.squeeze(hdu_data(hdu, hdus)), f"{name}_error")
            unit = _bunit(hdu, hdus) if header_unit(hdu, hdus) else channel.unit
    else:
        error = Channel.of(data, f"{name}_error").squeezed(f"{name}_error")
        values, unit = error.values.copy(), error.unit
    if values.shape != shape:
        msg = f"{name}_error has shape {values.shape}, {name} has {shape}"
        raise ValueError(msg)
    if not dex and unit != channel.unit:
        try:
            values = values * unit.to(channel.unit)
        except u.UnitConversionError:
            msg = f"{name}_error is in {unit}, which is not the {channel.unit} of {name}"
            raise u.UnitConversionError(msg) from None
    if no_data is not None:
        values[values == no_data] = np.nan
    return values


def _same_grid(loaded):
    """Refuse maps on different grids."""
    first = loaded["column_density"]
    shape = first.channel.values.shape
    for name, part in loaded.items():
        other = part.channel.values.shape
        if other != shape:
            msg = (
                f"{name} has shape {other}, column_density has {shape}: reproject them to one grid"
            )
            raise ValueError(msg)
        if part is first or part.wcs is None or first.wcs is None:
            continue
        y, x = np.meshgrid([0, (shape[0] - 1) / 2, shape[0] - 1], [0, shape[1] - 1])
        positions = _wcs.pixel_to_sky(part.wcs, x.ravel(), y.ravel())
        back = _wcs.sky_to_pixel(first.wcs, positions, shape=shape)
        offset = np.nanmax(np.hypot(back[0] - x.ravel(), back[1] - y.ravel()))
        if offset > 0.5:
            msg = (
                f"{name} is on another grid than column_density (off by up to {offset:.3g} pixels):"
                " reproject them to one grid"
            )
            raise ValueError(msg)


def _converter(*, extinction_ratio, x_factor, dust):
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


def column_of(channel, log10, converter, *, wcs, beam):
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
        values, error = exponential(values, error, "column_density")
    if kind is None:
        factor = to_column_density(1.0 * physical, name="column_density").value
    elif kind == "extinction_ratio":
        _expect(physical, u.mag, "extinction_ratio", "a map in mag")
        factor = extinction_factor(argument)
    elif kind == "x_factor":
        factor = x_factor_unit(argument, physical)
    else:
        temperature, opacity, frequency = argument
        per_brightness = dust_column_factor(frequency, temperature, opacity).value
        pixel = None if wcs is None else _map_pixel_angle(wcs, values.shape)
        area = None if beam is None else _wcs.beam_area(beam, beam)
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


def _warn_of_blanks(raw, values):
    """Warn of one value in many pixels, far from all others, that seems to mean "nothing here"."""
    with np.errstate(invalid="ignore"):
        good = (values > np.finfo(np.float32).tiny) & (values < HIGHEST)
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
            warnings.warn(msg, AstrofractalWarning, stacklevel=5)


def narrow_dispersion(channels, line_width):
    """Take a line width out of the dispersions, which must be there."""
    if line_width is None:
        return
    if channels.get("dispersion") is None:
        msg = f"line_width={line_width} needs velocity dispersions, there are none"
        raise ValueError(msg)
    narrow(channels["dispersion"], line_width)


def _map_pixel_angle(wcs, shape):
    return float(_wcs.pixel_solid_angle(wcs, (shape[1] - 1) / 2, (shape[0] - 1) / 2)) * u.sr


def _expect(unit, wanted, name, what):
    if unit != wanted:
        msg = f"{name} needs {what}, got the unit {unit.to_string()!r}"
        raise u.UnitConversionError(msg)


def _root(channel):
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
    return Channel(values, unit, channel.mask, error)


def warn_if_faint(column, abundance=None):
    values = column.values[np.isfinite(column.values) & (column.values > 0)]
    if values.size and np.median(values) < _FAINT and abundance is None:
        msg = (
            f"column_density has a median of {np.median(values):.3g} cm-2, little for H2: if it is "
            "the column of another molecule, give abundance="
        )
        warnings.warn(msg, AstrofractalWarning, stacklevel=4)
