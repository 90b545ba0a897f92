"""Maps from FITS files, HDUs, NDData and arrays: which array is which channel; what is refused."""

import re
from dataclasses import replace

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import Cutout2D, NDData

from astrofractal._utils.validation import one_of
from astrofractal.gasmap import wcs as _wcs
from astrofractal.gasmap.channel import (
    Channel,
    blank,
    clean_numbers,
    error_factor,
    is_lazy,
    of_cutout,
    subtract_line_width,
    to_dispersion,
)
from astrofractal.gasmap.checks import check_scale, plausible_beam
from astrofractal.gasmap.column import Abundance, DustEmission, XFactor, column_of
from astrofractal.gasmap.io import fits as files
from astrofractal.gasmap.io import layout
from astrofractal.gasmap.io.cubes import read_cube
from astrofractal.gasmap.io.registry import MapParts, is_pair, refuse_unused, register
from astrofractal.gasmap.moments import CHANNEL_UNITS, CHANNELS
from astrofractal.gasmap.resample import grid_offset, regrid_motions
from astrofractal.gasmap.units import logarithmic, parse_unit, typical
from astrofractal.gasmap.wcs import as_fits_wcs


@register("fits", identify=lambda data: files.is_file(data) and not files.is_folder(data))
def read_fits(source, options):
    """
    FITS: a path, an HDU or an HDUList with images of the channels.

    * An image of two axes (further axes of one pixel are dropped): column density, or what
      ``column=`` converts to it.
    * An image of three planes without a spectral axis: column density, velocity and dispersion, the
      latter two in km/s unless ``unit`` gives three units.
    * Extensions named as channels, e.g. ``COLUMN_DENSITY``, ``V_LOS``, ``SIGMA_V``, with their
      errors (``..._ERROR``) and masks (``MASK``) where there are any.
    * A cube of fitted parameters whose header names its planes (``PLANE1`` and so on, as pyspeckit
      writes it), with ``column=Abundance(...)``.
    * A position-position-velocity cube, with ``column=XFactor(...)``: see
      `~astrofractal.GasMap.from_cube`.
    """
    with files.opened(source) as hdus:
        cube = cube_hdu(hdus, options.hdu, one_row=isinstance(options.column, XFactor))
        if cube is not None:
            return _read_line_cube(hdus, cube, options)
        parts = options.parts()
        key = options.hdu
        if isinstance(options.column, Abundance):
            planes = layout.channels_of_planes(hdus, key)
            if planes is not None and "COLUMN_DENSITY" in planes:
                hdus, key = planes, None
        found = find_channels(hdus, key)
        first = found["column_density"]
        given = {name for name in CHANNELS[1:] if getattr(options, name) is not None}
        three = len(layout.wide_axes(first)) > 2
        names = [name for name in CHANNELS if three or name in found or name in given]
        units = units_of(options.unit, names)
        replaced = parts.wcs is not None
        own_wcs = files.file_wcs(first.header, hdus, needed=False) if replaced else None
        add_header(first.header, hdus, parts)
        if three:
            channels = _three_planes(first, hdus, units)
        else:
            channels = {
                name: image_channel(hdu, hdus, units.get(name), name)
                for name, hdu in found.items()
                if name not in given
            }
        channels["column_density"].wcs = own_wcs if replaced else parts.wcs
        parts.channels = {name: one for name, one in channels.items() if name not in given}
    return finish(parts, options, units)


def finish(parts, options, units):
    """Return the parts with the other maps read, on one grid, and the column density in cm-2."""
    channels, no_data = parts.channels, options.no_data
    if parts.wcs is not None:
        shape = channels["column_density"].values.shape[-2:]
        parts.wcs, about_fit = as_fits_wcs(parts.wcs, shape, name="the WCS of the map")
        parts.meta |= about_fit
    for name in CHANNELS[1:]:
        data = getattr(options, name)
        if data is not None:
            channels[name] = load_map(data, name, units.get(name))
    for name, error in options.uncertainty.items():
        if name not in channels:
            msg = f"uncertainty has {name!r}, but the map has {', '.join(channels)}"
            raise ValueError(msg)
        channels[name].error = _load_error(error, name, channels[name])
    if no_data is not None:
        for channel in channels.values():
            blank(channel, no_data)
    channels["column_density"] = column_of(
        channels["column_density"],
        _with_temperature(options.column, channels["column_density"], no_data),
        wcs=parts.wcs,
        beam=parts.beam,
        rest_frequency=parts.rest_frequency,
    )
    if "dispersion" in channels:
        channels["dispersion"] = to_dispersion(channels["dispersion"], options.dispersion_kind)
    elif options.dispersion_kind is not None:
        msg = f"dispersion_kind={options.dispersion_kind!r} needs dispersion, got None"
        raise ValueError(msg)
    regridded = regrid_motions(channels, parts.beam)
    if regridded:
        parts.meta["regridded"] = ", ".join(regridded)
    if options.line_width is not None:
        if "dispersion" not in channels:
            msg = f"line_width={options.line_width} needs velocity dispersions, there are none"
            raise ValueError(msg)
        subtract_line_width(channels["dispersion"], options.line_width)
    return parts


def _with_temperature(conversion, first, no_data):
    """Return a conversion; a dust temperature that is a map is read."""
    if not isinstance(conversion, DustEmission) or isinstance(conversion.temperature, u.Quantity):
        return conversion
    channel = load_map(conversion.temperature, "temperature", None)
    if no_data is not None:
        blank(channel, no_data)
    if grid_offset(channel, first):
        msg = "DustEmission: temperature is on another grid than the map: reproject it to that grid"
        raise ValueError(msg)
    return replace(conversion, temperature=channel.values << channel.unit)


def _read_line_cube(hdus, cube, options):
    """Read a cube of a file, or refuse what is not one of the sky, and options that it cannot use."""
    where = files.label(cube, hdus)
    if not isinstance(options.column, XFactor):
        example = "such as '2e20 cm-2 / (K km s-1)'"
        msg = f"{where} is a position-position-velocity cube: give column=XFactor(...), {example}"
        if not _wcs.read_wcs(cube.header, hdus=hdus, name=where).has_celestial:
            msg = f"{where} {_wcs.describe_cube_axes(cube.header)}"
        raise ValueError(msg)
    used = ("column", "distance", "unit", "hdu", "beam", "line_width")
    unused = {name: value for name, value in options.given().items() if name not in used}
    refuse_unused(f"{where}, a position-position-velocity cube,", unused)
    return read_cube(hdus, options)


def cube_hdu(hdus, key, *, one_row=False):
    """Return the HDU that is a position-position-velocity cube (also of one row), or `None`."""
    images = layout.image_hdus(hdus, key)
    if key is None and any(layout.channel_name(hdu.name) for hdu in images):
        return None
    for hdu in images[:1]:
        n_wide = len(layout.wide_axes(hdu)) + (one_row and len(hdu.shape) > 2)
        if n_wide >= 3 and not layout.parameter_names(hdu) and layout.spectral_length(hdu) > 1:
            return hdu
    return None


def find_channels(hdus, key):
    """Return the HDU of each channel, the column density first; refuse what is no map."""
    images = layout.image_hdus(hdus, key)
    found = {layout.channel_name(hdu.name): hdu for hdu in images[::-1]}  # the first of a name
    found.pop(None, None)
    if images and (key is not None or len(hdus) == 1):
        found = {"column_density": images[0]}
    elif "column_density" not in found:
        found = {"column_density": only_image(hdus, images, found)} | found
    first = found["column_density"]
    layout.check_shape(first, files.label(first, hdus), three_planes=len(found) == 1)
    return found


def only_image(hdus, images, found):
    """Return the one image of a file whose extensions have no telling names."""
    others = [hdu for hdu in images if hdu not in found.values()]
    main = [hdu for hdu in layout.main_images(hdus) if hdu in others]
    if len(main) > 1:
        units = {id(hdu): str(hdu.header.get("BUNIT", "")).lower() for hdu in main}
        columns = [hdu for hdu in main if re.search(r"cm\^?\(?-2|/ ?(cm|pc)", units[id(hdu)])]
        main = columns if len(columns) == 1 else main
    if len(main) == 1:
        return main[0]
    what, remedy = "no image of a column density", ""
    if main:
        what, remedy = f"{len(main)} images, none named COLUMN_DENSITY", ": give hdu="
    msg = f"data holds {what}; {layout.describe_extensions(hdus)}{remedy}"
    raise ValueError(msg)


def _three_planes(hdu, hdus, units):
    """Return the channels of an image of three planes."""
    text = str(hdu.header.get("BUNIT", ""))
    if not units and "," in text:
        units = units_of([part.strip() for part in text.split(",")], CHANNELS)
    unit = units.get("column_density") or bunit(hdu, hdus)
    whole = Channel(files.hdu_data(hdu, hdus), unit)
    channels = split_planes(whole, units)
    for plane, (name, channel) in enumerate(channels.items()):
        channel.error = layout.find_error(hdus, hdu, name, channel, units.get(name), plane=plane)
    return channels


def split_planes(channel, units):
    """Return the channels of data of three planes, v and sigma in km/s if no unit is given."""
    shape = (3, *channel.values.shape[-2:])
    channels = {}
    for plane, (name, usual) in enumerate(CHANNEL_UNITS.items()):
        values, error = (
            None if array is None else np.reshape(array, shape)[plane].copy()
            for array in (channel.values, channel.error)
        )
        unit = channel.unit if plane == 0 else units.get(name, usual)
        channels[name] = Channel(values, unit, error, channel.wcs, channel.meta)
    return channels


def units_of(unit, names):
    """Return a dict of units from one, several or a dict of them."""
    if unit is None:
        return {}
    if isinstance(unit, list | tuple):
        if len(unit) != len(names):
            msg = f"unit must be one unit or {len(names)}, one for each of {names}, got {unit!r}"
            raise ValueError(msg)
        unit = dict(zip(names, unit, strict=True))
    elif not isinstance(unit, dict):
        unit = {"column_density": unit}
    for name in unit:
        one_of("unit", name, CHANNELS)
    if unit and not set(unit) & set(names):
        refuse_unused(f"a map of {', '.join(names)}", {"unit": unit})
    return {name: parse_unit(value) for name, value in unit.items()}


def bunit(hdu, hdus, name="column_density"):
    """Return the unit of an image by its header."""
    text = files.header_unit(hdu, hdus)
    where = files.label(hdu, hdus)
    if not text:
        example = f"as in unit={{{name!r}: 'km/s'}}"
        if name == "column_density":
            values = files.hdu_data(hdu, hdus)
            example = "as in unit='cm-2', '1e21 cm-2', 'mag' or 'K km/s' "
            example += f"(their median is {typical(values):.3g})"
            if logarithmic(values):
                example = "as in unit='dex(cm-2)': they look like logarithms"
        msg = f"{where} has no BUNIT: give the unit of {name}, {example}"
        raise ValueError(msg)
    example = "cm-2" if name == "column_density" else "km/s"
    return parse_unit(text, name=f"BUNIT of {where}", example=example)


def image_channel(hdu, hdus, given, name):
    """Return the channel of an image HDU with its error and mask, axes of one pixel dropped."""
    unit = bunit(hdu, hdus, name) if given is None else given
    meta = {"header": hdu.header, "file": hdus.filename()} if name == "dispersion" else None
    channel = Channel(files.hdu_data(hdu, hdus), unit, meta=meta).squeezed(files.label(hdu, hdus))
    channel.error = layout.find_error(hdus, hdu, name, channel, given)
    channel.values[layout.find_mask(hdus, hdu, channel.values.shape)] = np.nan
    return channel


def header_parts(header, *, distance=None):
    """Return WCS, distance (if not given), scale and beam of a header without data."""
    wcs = _wcs.celestial_wcs(header) if "CTYPE1" in header else None
    parts = MapParts({}, wcs=wcs, distance=distance)
    add_header(header, fits.HDUList(), parts)
    return parts


def add_header(header, hdus, parts):
    """Fill in WCS, distance, scale, beam and names from a header."""
    own_distance = parts.distance is None
    stated = files.header_length("DISTANCE", header, hdus)
    parts.distance = files.used_distance(parts.distance, stated)
    scale = parts.pixel_scale
    if scale is None:
        scale = files.header_length("PIXSCALE", header, hdus)
    if parts.wcs is None and len(hdus):
        parts.wcs = files.file_wcs(header, hdus, needed=scale is None)
    shape = [header.get(f"NAXIS{axis}", 1) for axis in (2, 1)]
    if parts.wcs is None or parts.distance is None:  # these two replace the header's scale
        parts.pixel_scale = scale
    elif own_distance and parts.pixel_scale is None:
        check_scale(scale, parts.wcs, parts.distance, shape)
    if parts.beam is None:
        parts.beam = plausible_beam(files.header_beam(header), parts.wcs, shape)
    if parts.rest_frequency is None:
        parts.rest_frequency = files.header_rest_frequency(header)
    for key in ("OBJECT", "TELESCOP"):
        if header.get(key):
            parts.meta.setdefault(key.lower(), header[key])


def load_map(data, name, unit, *, planes=1):
    """Return the channel of a map (or of several planes of one array), in its own unit."""
    if files.is_file(data):
        with files.opened(data) as hdus:
            hdus = layout.channels_of_planes(hdus) or hdus
            hdu = image_of(hdus, name)
            channel = image_channel(hdu, hdus, unit, name)
            return replace(channel, wcs=files.file_wcs(hdu.header, hdus, needed=False))
    if is_pair(data):
        channel = load_map(data[0], name, unit, planes=planes)
        return _with_wcs(channel, data[1], name)
    if isinstance(data, Cutout2D):
        data = of_cutout(data)
    own = getattr(data, "unit", None)
    logarithm = own is not None and own == getattr(unit, "physical_unit", None)
    if isinstance(data, u.Quantity) and not logarithm:
        refuse_unused(f"{name}, a {type(data).__name__} in {own},", {"unit": unit})
    elif isinstance(data, NDData) and unit is not None and not logarithm:
        if own not in (None, unit):
            msg = f"unit {str(unit)!r} disagrees with the unit of the data, {own}"
            raise u.UnitsError(msg)
        data = NDData(data, unit=unit)
    elif (isinstance(data, np.ndarray) or is_lazy(data)) and not isinstance(data, u.Quantity):
        if unit is None:
            msg = f"{name} is an array without a unit: give unit=, e.g. 'cm-2'"
            raise ValueError(msg)
        data = Channel(clean_numbers(data, name), unit)
    channel = Channel.of(data, name)
    if planes == 1:
        channel = channel.squeezed(name)
    if logarithm:
        channel.unit = unit
    return channel if channel.wcs is None else _with_wcs(channel, channel.wcs, name)


def _with_wcs(channel, wcs, name):
    """Return a channel with a FITS WCS; the error of one that had to be fitted is in its meta."""
    wcs, about_fit = as_fits_wcs(wcs, channel.values.shape[-2:], name=f"the WCS of {name}")
    return replace(channel, wcs=wcs, meta=(channel.meta or {}) | about_fit)


def image_of(hdus, name):
    """Return the image of a file that holds one quantity."""
    images = layout.image_hdus(hdus)
    named = [hdu for hdu in images if len(images) == 1 or layout.channel_name(hdu.name) == name]
    hdu = named[0] if len(named) == 1 else only_image(hdus, images, {})
    layout.check_shape(hdu, f"{name}: {files.label(hdu, hdus)}")
    return hdu


def _load_error(data, name, channel):
    """Return the standard deviation of a channel in the channel's unit."""
    where = f"uncertainty of {name}"
    if files.is_file(data):
        with files.opened(data) as hdus:
            values = layout.as_deviation(image_of(hdus, where), hdus, channel)
            unit = channel.unit
    else:
        error = Channel.of(data, where).squeezed(where)
        values, unit = error.values, error.unit
    if values.shape != channel.values.shape:
        msg = f"the {where} has shape {values.shape}, {name} has {channel.values.shape}"
        raise ValueError(msg)
    if not (channel.is_logarithm and unit == channel.unit.physical_unit):
        values = values * error_factor(unit, channel, name=where)
    return values  # of a logarithm: in dex, or `column_of` finds that it is not
