"""Reading a map from FITS files, HDUs, NDData: which array is which channel; what is refused."""

import os
import re
from dataclasses import replace

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import Cutout2D, NDData

from astrofractal.gasmap import wcs as _wcs
from astrofractal.gasmap.channel import (
    Channel,
    blank,
    check_beam,
    clean_numbers,
    error_factor,
    of_cutout,
)
from astrofractal.gasmap.column import (
    check_abundance,
    check_rest_frequency,
    choose_converter,
    column_of,
    subtract_from_dispersion,
    variance_to_dispersion,
    warn_if_faint,
)
from astrofractal.gasmap.io.companions import find_error, find_mask, main_images
from astrofractal.gasmap.io.cubes import read_cube
from astrofractal.gasmap.io.fits import (
    channel_name,
    check_shape,
    describe_cube,
    describe_extensions,
    file_wcs,
    hdu_data,
    header_beam,
    header_distance,
    header_length,
    header_rest_frequency,
    header_unit,
    image_hdus,
    is_hdu,
    label,
    opened,
    parameter_names,
    pick,
    spectral_length,
    wide_axes,
)
from astrofractal.gasmap.io.planes import channels_of_planes
from astrofractal.gasmap.io.registry import MapParts, refuse_unused
from astrofractal.gasmap.moments import CHANNELS
from astrofractal.gasmap.resample import grid_offset, regrid_motions
from astrofractal.gasmap.unit_text import parse_unit

__all__ = [
    "add_header",
    "cube_hdu",
    "header_parts",
    "read_line_maps",
    "read_parts",
]

#: Above this median a dispersion said to be in km/s is taken to be in m/s, and refused.
_FAST = 50.0


def read_parts(
    data,
    *,
    distance=None,
    unit=None,
    hdu=None,
    wcs=None,
    pixel_scale=None,
    beam=None,
    mask=None,
    log10=False,
    no_data=None,
    x_factor=None,
    rest_frequency=None,
    line_width=None,
    meta=None,
):
    """
    Read a `~astrofractal.GasMap` from whatever holds one.

    Parameters
    ----------
    data : path-like, HDU, `~astropy.io.fits.HDUList`, `~astropy.nddata.NDData`, \
            `~astropy.nddata.Cutout2D`, Quantity, GasMap
        What is read:

        * an image of two axes (further axes of one pixel are dropped): column density;
        * an image of three planes without spectral axis: column density, velocity and dispersion,
          the latter two in km/s unless ``unit`` gives three units;
        * extensions named as channels, e.g. ``COLUMN_DENSITY``, ``V_LOS``, ``SIGMA_V``, with
          their errors (``..._ERROR``) and masks (``MASK``) where there are any;
        * a position-position-velocity cube, where ``x_factor`` is given;
        * a `~astrofractal.GasMap`, returned as it is (with ``distance``, ``beam``, ``pixel_scale``
          and ``meta`` if given).

    distance : `~astropy.units.Quantity`, optional
        Distance to the gas.  By default the header's ``DISTANCE``, if its comment names the unit
        in the form ``[pc]``.

    unit : unit, str, or sequence or dict of these, optional
        Unit of the column density, or of each channel; replaces the header's ``BUNIT``.

    hdu : int or str, optional
        The extension that holds the column density, where a file has several.

    wcs : `~astropy.wcs.WCS` or `~astropy.io.fits.Header`, optional
        Replaces the file's WCS.

    pixel_scale : `~astropy.units.Quantity`, optional
        Width of a pixel (a length), for a map that has no WCS.

    beam : `~radio_beam.Beam` or `~astropy.units.Quantity`, optional
        The beam, or the FWHM of a round one.  By default that of the header (``BMAJ``, ``BMIN``,
        ``BPA``).

    mask : 2D `~numpy.ndarray` of bool, optional
        `True` is masked.

    log10 : bool, optional
        Whether the values are the decimal logarithm of the column density.

    no_data : float, optional
        A value that means "nothing here".

    x_factor : `~astropy.units.Quantity`, optional
        Column density per integrated intensity, for a cube or the map of an integrated line: see
        `~astrofractal.GasMap.from_cube`.

    rest_frequency : `~astropy.units.Quantity`, optional
        Rest frequency (or wavelength) of the line, for a map in Jy/beam km/s or a cube; replaces the
        header's.

    line_width : `~astropy.units.Quantity`, optional
        A dispersion that is taken out of the dispersions in quadrature: see
        `~astrofractal.GasMap.from_cube`.

    meta : dict, optional
        See `~astrofractal.GasMap`.

    Returns
    -------
    gas : `~astrofractal.GasMap`
        The map.

    Raises
    ------
    OSError
        If a file is missing, truncated or no FITS; the message names it.

    ValueError
        If there is no map of the sky in the data: a spectrum, a position-velocity diagram, a cube
        of parameters, an image without celestial WCS; the message says what was found.  Also if
        the data cannot use one of the options, as a cube cannot use ``log10``.

    astropy.units.UnitsError
        If a unit does not fit.

    See Also
    --------
    from_maps : separate maps of a line or of dust.
    from_cube : a position-position-velocity cube.

    Examples
    --------
    >>> from astropy import units as u
    >>> from astrofractal import GasMap
    >>> from astrofractal.data import data_path
    >>> gas = GasMap.read(data_path("example_cloud.fits"), distance=140 * u.pc)
    >>> gas
    <GasMap 320 x 320 px, column_density + velocity + dispersion, 0.003646 pc/px, at 140 pc>
    """
    values = {"log10": log10, "no_data": no_data, "x_factor": x_factor, "line_width": line_width}
    if x_factor is None:
        refuse_unused("a map without x_factor", {"rest_frequency": rest_frequency})
    parts = MapParts(
        {},
        wcs=wcs,
        distance=distance,
        beam=check_beam(beam),
        pixel_scale=pixel_scale,
        mask=mask,
        rest_frequency=check_rest_frequency(rest_frequency),
        meta=dict(meta or {}),
    )
    if isinstance(data, Cutout2D):
        data = of_cutout(data)
    if isinstance(data, str | os.PathLike | fits.HDUList) or is_hdu(data):
        with opened(data) as hdus:
            cube = cube_hdu(hdus, hdu, one_row=x_factor is not None)
            if cube is not None:
                unused = {"wcs": wcs, "pixel_scale": pixel_scale, "mask": mask}
                unused |= {"log10": log10, "no_data": no_data}
                _check_cube(hdus, cube, x_factor, unused)
                return read_cube(
                    hdus,
                    x_factor=x_factor,
                    distance=distance,
                    unit=unit,
                    hdu=hdu,
                    beam=beam,
                    rest_frequency=rest_frequency,
                    line_width=line_width,
                    meta=meta,
                )
            found = find_channels(hdus, hdu)
            header = found["column_density"].header
            add_header(header, hdus, parts)
            parts.channels = file_channels(found, hdus, unit)
    elif isinstance(data, NDData | u.Quantity | np.ndarray):
        refuse_unused(f"a {type(data).__name__}", {"hdu": hdu})
        parts.channels = _in_memory(data, unit)
    else:
        msg = (
            "data must be a path, an HDU, an HDUList, NDData, Cutout2D, a Quantity or a GasMap, got "
            f"{type(data).__name__}: {data!r}"
        )
        raise TypeError(msg)
    return _converted(parts, **values)


def cube_hdu(hdus, key, *, one_row=False):
    """Return the HDU that is a position-position-velocity cube (also of one row), or `None`."""
    images = [pick(hdus, key)] if key is not None else image_hdus(hdus)
    if key is None and any(channel_name(hdu.name) for hdu in images):
        return None
    for hdu in images[:1]:
        n_wide = len(wide_axes(hdu)) + (one_row and len(hdu.shape) > 2)
        if n_wide >= 3 and not parameter_names(hdu) and spectral_length(hdu) > 1:
            return hdu
    return None


def _check_cube(hdus, cube, x_factor, unused):
    """Refuse what is not a cube of the sky, or options that a cube cannot use."""
    where = label(cube, hdus)
    wcs = _wcs.read_wcs(cube.header, hdus=hdus, name=where)
    if not wcs.has_celestial:
        msg = f"{where} {_wcs.describe_cube_axes(cube.header)}"
        raise ValueError(msg)
    if x_factor is None:
        msg = (
            f"{where} is a position-position-velocity cube of shape {cube.shape}: give x_factor=, "
            "the column density per integrated intensity, e.g. "
            "u.Quantity('2e20 cm-2 / (K km s-1)') (see GasMap.from_cube)"
        )
        raise ValueError(msg)
    refuse_unused(f"{where}, a position-position-velocity cube,", unused)


def find_channels(hdus, key):
    """Return the HDU of each channel, the column density first; refuse what is no map."""
    images = image_hdus(hdus)
    if key is not None:
        first = pick(hdus, key)
        if not is_hdu(first) or not first.shape:
            msg = f"hdu {key!r} ({first.name}) holds no image"
            raise ValueError(msg)
        found = {"column_density": first}
    else:
        found = {}
        for hdu in images:
            name = channel_name(hdu.name)
            if name is not None:
                found.setdefault(name, hdu)
        if "column_density" not in found:
            found = {"column_density": only_image(hdus, images, found)} | found
    first = found["column_density"]
    check_shape(first, label(first, hdus), three_planes=len(found) == 1)
    return found


def file_channels(found, hdus, unit):
    """Return the channel of each HDU, with its error and mask."""
    first = found["column_density"]
    if len(wide_axes(first)) > 2:
        return _three_planes(first, hdus, unit)
    units = units_of(unit, tuple(found))
    channels = {}
    for name, hdu in found.items():
        channels[name] = image_channel(hdu, hdus, units.get(name), name)
        channels[name].error = find_error(hdus, hdu, name, channels[name], units.get(name))
        channels[name].mask = find_mask(hdus, hdu, channels[name].values.shape)
    return channels


def only_image(hdus, images, found):
    """Return the one image of a file whose extensions have no telling names."""
    others = [hdu for hdu in images if hdu not in found.values()]
    main = [hdu for hdu in main_images(hdus) if hdu in others]
    if len(main) > 1:
        units = {id(hdu): str(hdu.header.get("BUNIT", "")).lower() for hdu in main}
        columns = [hdu for hdu in main if re.search(r"cm\^?\(?-2|/ ?(cm|pc)", units[id(hdu)])]
        main = columns if len(columns) == 1 else main
    if len(main) == 1:
        return main[0]
    if not main:
        msg = f"data holds no image of a column density; {describe_extensions(hdus)}"
    else:
        msg = (
            f"data holds {len(main)} images and none is named COLUMN_DENSITY; "
            f"{describe_extensions(hdus)}: give hdu="
        )
    raise ValueError(msg)


def _three_planes(hdu, hdus, unit):
    """Return the channels of a cube of three planes."""
    data = hdu_data(hdu, hdus)
    data = data.reshape(-1, *data.shape[-2:])
    names = CHANNELS
    if unit is None and "," in str(hdu.header.get("BUNIT", "")):
        unit = [part.strip() for part in hdu.header["BUNIT"].split(",")]
    units = units_of(unit, names)
    default = {"velocity": u.km / u.s, "dispersion": u.km / u.s}
    channels = {}
    for plane, name in enumerate(names):
        chosen = units.get(name) or default.get(name) or bunit(hdu, hdus)
        channels[name] = Channel(clean_numbers(data[plane], name), chosen)
    if "dispersion" not in units:
        with np.errstate(invalid="ignore"):
            values = np.abs(channels["dispersion"].values)
            values = values[np.isfinite(values)]
        if values.size and np.median(values) > _FAST:
            msg = (
                f"the third plane has a median of {np.median(values):.4g}, too much for a velocity "
                "dispersion in km/s: give three units, as in unit=('cm-2', 'm/s', 'm/s')"
            )
            raise u.UnitsError(msg)
    return channels


def units_of(unit, names):
    """Return a dict of units from one, several or a dict of them."""
    if unit is None:
        return {}
    if isinstance(unit, dict):
        unknown = set(unit) - set(CHANNELS)
        if unknown:
            msg = f"unit has unknown channels {sorted(unknown)}, known are {list(CHANNELS)}"
            raise ValueError(msg)
        if unit and not set(unit) & set(names):
            refuse_unused(f"a map of {', '.join(names)}", {"unit": unit})
        return {name: parse_unit(value) for name, value in unit.items()}
    if isinstance(unit, list | tuple):
        if len(unit) != len(names):
            msg = f"unit must be one unit or {len(names)}, one for each of {names}, got {unit!r}"
            raise ValueError(msg)
        return {name: parse_unit(value) for name, value in zip(names, unit, strict=True)}
    return {"column_density": parse_unit(unit)}


def bunit(hdu, hdus, name="column_density"):
    text = header_unit(hdu, hdus)
    where = label(hdu, hdus)
    if not text:
        example = "unit='cm-2'" if name == "column_density" else f"unit={{{name!r}: 'km/s'}}"
        msg = f"{where} has no BUNIT: say what the values of {name} are with unit=, as in {example}"
        raise ValueError(msg)
    example = "cm-2" if name == "column_density" else "km/s"
    return parse_unit(text, name=f"BUNIT of {where}", example=example)


def image_channel(hdu, hdus, unit, name):
    """Return the channel of an image HDU, its axes of one pixel dropped."""
    if unit is None:
        unit = bunit(hdu, hdus, name)
    data = hdu_data(hdu, hdus)
    where = label(hdu, hdus)
    if data is None or data.ndim < 2:
        shape = None if data is None else data.shape
        msg = f"{where} must be a 2D map, got {0 if data is None else data.ndim}D data of {shape}"
        raise ValueError(msg)
    return Channel(clean_numbers(data, where), unit).squeezed(where)


def _in_memory(data, unit):
    units = units_of(unit, ("column_density",))
    if isinstance(data, u.Quantity) and unit is not None:
        refuse_unused(f"a {type(data).__name__} in {data.unit}", {"unit": unit})
    if isinstance(data, NDData) and "column_density" in units:
        if data.unit is not None and data.unit != units["column_density"]:
            msg = f"unit {unit!r} disagrees with the unit of the data, {data.unit}"
            raise u.UnitsError(msg)
        if data.unit is None:
            data = NDData(data, unit=units["column_density"])
    elif isinstance(data, np.ndarray) and not isinstance(data, u.Quantity):
        if "column_density" not in units:
            msg = "data is an array without a unit: give unit=, e.g. 'cm-2'"
            raise ValueError(msg)
        return {
            "column_density": Channel(
                clean_numbers(data, "data"), units["column_density"]
            ).squeezed("data")
        }
    return {"column_density": Channel.of(data, "column_density")}


def _converted(parts, *, log10, no_data, x_factor, line_width):
    """Return the parts with the column density in cm-2."""
    channels = parts.channels
    for name, channel in channels.items():
        if no_data is not None:
            blank(channel.values, no_data)
        channels[name] = channel.squeezed(name)
    converter = (None, None) if x_factor is None else ("x_factor", x_factor)
    column = column_of(
        channels["column_density"],
        log10,
        converter,
        wcs=parts.wcs,
        beam=parts.beam,
        rest_frequency=parts.rest_frequency,
    )
    channels["column_density"] = column
    warn_if_faint(column)
    subtract_from_dispersion(channels, line_width)
    return parts


def header_parts(header, *, distance=None):
    """Return what a header without data says of WCS, distance (if not given), scale and beam."""
    wcs = _wcs.celestial_wcs(header) if "CTYPE1" in header else None
    parts = MapParts({}, wcs=wcs, distance=distance)
    add_header(header, fits.HDUList(), parts)
    return parts


def add_header(header, hdus, parts):
    """Fill in what a header says of WCS, distance, scale, beam and names."""
    if parts.distance is None:
        parts.distance = header_distance(header, hdus)
    scale = parts.pixel_scale
    if scale is None:
        scale = header_length("PIXSCALE", header, hdus)
    if parts.wcs is None and len(hdus):
        parts.wcs = file_wcs(header, hdus, needed=scale is None)
    if parts.wcs is None or parts.distance is None:  # these two replace the header's scale
        parts.pixel_scale = scale
    if parts.beam is None:
        parts.beam = header_beam(header)
    if parts.rest_frequency is None:
        parts.rest_frequency = header_rest_frequency(header)
    for key in ("OBJECT", "TELESCOP"):
        if header.get(key):
            parts.meta.setdefault(key.lower(), header[key])


def read_line_maps(
    column_density,
    velocity=None,
    dispersion=None,
    *,
    column_density_uncertainty=None,
    velocity_uncertainty=None,
    dispersion_uncertainty=None,
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
    rest_frequency=None,
    line_width=None,
    distance=None,
    wcs=None,
    pixel_scale=None,
    beam=None,
    mask=None,
    meta=None,
):
    """
    Make a `~astrofractal.GasMap` of separate maps.

    Parameters
    ----------
    column_density : path-like, HDU, NDData or Quantity
        Map of the column density, or of what one of the arguments below converts to it.  The
        velocities, errors and mask of a file with named extensions (see
        `~astrofractal.GasMap.read`) are taken as well, where they are not given, and so are those of
        a cube of fitted parameters, whose header names its planes (``PLANE1`` and so on, as pyspeckit
        writes it); it needs ``abundance``.

    velocity, dispersion : path-like, HDU, NDData or Quantity, optional
        Maps of the mean velocity and of the velocity dispersion, or cubes of fitted parameters.  Those
        on another grid than the column density are regridded to it, with a warning (see Notes).

    column_density_uncertainty, velocity_uncertainty, dispersion_uncertainty : map, optional
        Standard deviations (path-like, HDU, NDData or Quantity), in the unit of their maps (in dex if
        ``log10``).

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
        N(H2) per integrated intensity: the map is an integrated line, e.g. in K km/s.  One in
        Jy/beam km/s is converted through the beam and the rest frequency.

    dust_temperature : `~astropy.units.Quantity`, path-like, HDU or NDData, optional
        Dust temperature, one value or a map: the map is dust continuum.

    dust_opacity : `~astropy.units.Quantity`, optional
        Opacity per mass of gas and dust, e.g. of `~astrofractal.gasmap.hildebrand_opacity`.

    frequency : `~astropy.units.Quantity`, optional
        Frequency or wavelength of the continuum.

    rest_frequency : `~astropy.units.Quantity`, optional
        Rest frequency (or wavelength) of an integrated line in Jy/beam km/s; replaces the header's.

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
        If velocities or dispersions do not overlap with the column density, if other maps are not on
        its grid, if values called cm-2 look like logarithms, or as
        in `~astrofractal.GasMap.read`.

    astropy.units.UnitsError
        If a unit does not fit.

    Notes
    -----
    Errors of the conversions themselves (abundance, ratio, X-factor, temperature, opacity) are
    systematic and not part of the uncertainties.

    Velocities and dispersions on another grid are brought to that of the column density once, by
    reproject (the extra ``cube``): N v and N (sigma^2 + v^2) are what is averaged over wider pixels or
    interpolated in finer ones, and where less than half of a pixel is covered there is no velocity.
    Beams are not matched: smooth the finer map before.  ``meta["regridded"]`` names the channels.

    See Also
    --------
    from_cube : a position-position-velocity cube.
    read : one file with all of it.

    Examples
    --------
    Maps of a fitted ammonia line, with zeros where no line was found:

    >>> import numpy as np
    >>> from astropy import units as u
    >>> from astrofractal import GasMap
    >>> found = np.ones((32, 32))
    >>> found[:8] = 0
    >>> gas = GasMap.from_maps(
    ...     2e14 * found / u.cm**2,
    ...     3.5 * found * u.km / u.s,
    ...     0.2 * found * u.km / u.s,
    ...     abundance=1e-8,
    ...     no_data=0,
    ...     line_width=0.085 * u.km / u.s,
    ... )
    >>> print(f"{gas.column_density[20, 20]:.1e}, {gas.dispersion[20, 20]:.3f}")
    2.0e+22 1 / cm2, 0.181 km / s
    >>> print(f"{gas.masked_fraction:.2f}")
    0.25
    """
    given = {"column_density": column_density, "velocity": velocity, "dispersion": dispersion}
    errors = {
        "column_density": column_density_uncertainty,
        "velocity": velocity_uncertainty,
        "dispersion": dispersion_uncertainty,
    }
    for name, error in errors.items():
        if error is not None and given[name] is None:
            msg = f"{name}_uncertainty is given but {name} is not"
            raise ValueError(msg)
    parts = MapParts(
        {},
        wcs=None if wcs is None else _wcs.celestial_wcs(wcs),
        distance=distance,
        beam=check_beam(beam),
        pixel_scale=pixel_scale,
        mask=mask,
        rest_frequency=check_rest_frequency(rest_frequency),
        meta=dict(meta or {}),
    )
    if x_factor is None:
        refuse_unused("a map without x_factor", {"rest_frequency": rest_frequency})
    units = _load_first(given, unit, hdu, parts, abundance)
    channels = parts.channels
    for name, data in given.items():
        if data is not None and name not in channels:
            channels[name] = _load(data, name, units.get(name))
    if dust_temperature is not None and not isinstance(dust_temperature, u.Quantity):
        channels["dust_temperature"] = _load(dust_temperature, "dust_temperature", None)
    for name, channel in channels.items():
        if errors.get(name) is not None:
            channel.error = _load_error(errors[name], name, channel, no_data, log10=log10)
        if no_data is not None:
            blank(channel.values, no_data)
    temperature = channels.pop("dust_temperature", None)
    if temperature is not None:
        _check_grid("dust_temperature", temperature, channels["column_density"])
        dust_temperature = temperature.values << temperature.unit
    converter = choose_converter(
        extinction_ratio=extinction_ratio,
        x_factor=x_factor,
        dust=(dust_temperature, dust_opacity, frequency),
    )
    column = column_of(
        channels["column_density"],
        log10,
        converter,
        wcs=parts.wcs,
        beam=parts.beam,
        rest_frequency=parts.rest_frequency,
    )
    if abundance is not None:
        fraction = check_abundance(abundance)
        column.values = column.values / fraction
        column.error = None if column.error is None else column.error / fraction
    warn_if_faint(column, abundance)
    channels["column_density"] = column
    if variance:
        channels["dispersion"] = variance_to_dispersion(channels.get("dispersion"))
    regridded = regrid_motions(channels)
    if regridded:
        parts.meta["regridded"] = ", ".join(regridded)
    subtract_from_dispersion(channels, line_width)
    return parts


def _is_file(data):
    return isinstance(data, str | os.PathLike | fits.HDUList) or is_hdu(data)


def _load_first(given, unit, hdu, parts, abundance):
    """Add the column density and what comes along in its file to the parts; return the units."""
    data = given["column_density"]
    asked = [name for name, value in given.items() if value is not None]
    if not _is_file(data):
        refuse_unused(f"column_density, a {type(data).__name__},", {"hdu": hdu})
        units = units_of(unit, asked)
        first = _load(data, "column_density", units.get("column_density"))
        parts.channels["column_density"] = first
        if parts.wcs is None:
            parts.wcs = first.wcs
        return units
    with opened(data) as hdus:
        planes = channels_of_planes(hdus, hdu)
        if planes is not None and "COLUMN_DENSITY" in planes:
            if abundance is None:
                msg = (
                    f"{label(image_hdus(hdus)[0], hdus)} is a cube of fitted parameters: its column "
                    "density is that of the molecule, not of H2: give abundance= (molecules per H2)"
                )
                raise ValueError(msg)
            hdus, hdu = planes, None
        found = _found(hdus, hdu)
        planes = len(wide_axes(found["column_density"])) > 2
        names = [name for name in given if planes or name in found or name in asked]
        units = units_of(unit, names)
        first = found["column_density"]
        replaced = parts.wcs is not None
        own_wcs = file_wcs(first.header, hdus, needed=False) if replaced else None
        add_header(first.header, hdus, parts)
        found = {name: one for name, one in found.items() if one is first or given[name] is None}
        own = {name: one for name, one in units.items() if planes or name in found}
        channels = file_channels(found, hdus, own)
        channels["column_density"].wcs = own_wcs if replaced else parts.wcs
        parts.channels |= {name: one for name, one in channels.items() if name not in asked[1:]}
        return units


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


def _load(data, name, unit):
    """Return the channel of a map, in its own unit."""
    if _is_file(data):
        with opened(data) as hdus:
            hdus = channels_of_planes(hdus) or hdus
            hdu = image_of(hdus, name)
            channel = image_channel(hdu, hdus, unit, name)
            channel.error = find_error(hdus, hdu, name, channel, unit)
            return replace(channel, wcs=file_wcs(hdu.header, hdus, needed=False))
    if isinstance(data, Cutout2D):
        data = of_cutout(data)
    if unit is not None and isinstance(data, NDData) and data.unit is None:
        data = NDData(data, unit=unit)
    if unit is not None and type(data) is np.ndarray:
        data = Channel(clean_numbers(data, name), unit)
    if isinstance(data, u.Quantity):
        refuse_unused(f"{name}, a {type(data).__name__} in {data.unit},", {"unit": unit})
    channel = Channel.of(data, name).squeezed(name)
    wcs = None if channel.wcs is None else _wcs.celestial_wcs(channel.wcs, name=name)
    return replace(channel, values=channel.values.copy(), wcs=wcs)


def image_of(hdus, name):
    """Return the image of a file that holds one quantity."""
    images = image_hdus(hdus)
    named = [hdu for hdu in images if channel_name(hdu.name) == name]
    if len(images) == 1 or len(named) == 1:
        hdu = (images if len(images) == 1 else named)[0]
    else:
        hdu = only_image(hdus, images, {})
    check_shape(hdu, f"{name}: {label(hdu, hdus)}")
    return hdu


def _load_error(data, name, channel, no_data, *, log10):
    """Return the standard deviation of a channel in the channel's unit."""
    shape = channel.values.shape
    as_it_is = name == "column_density" and log10  # in dex, or `column_of` finds that it is not
    if _is_file(data):
        with opened(data) as hdus:
            hdu = image_of(hdus, f"{name}_uncertainty")
            values = clean_numbers(np.squeeze(hdu_data(hdu, hdus)), f"{name}_uncertainty")
            unit = header_unit(hdu, hdus) or channel.unit
    else:
        error = Channel.of(data, f"{name}_uncertainty").squeezed(f"{name}_uncertainty")
        values, unit = error.values.copy(), error.unit
    if values.shape != shape:
        msg = f"{name}_uncertainty has shape {values.shape}, {name} has {shape}"
        raise ValueError(msg)
    if not as_it_is and unit != channel.unit:
        values = values * error_factor(unit, channel, name=f"{name}_uncertainty")
    if no_data is not None:
        blank(values, no_data)
    return values


def _check_grid(name, channel, first):
    """Refuse a map that is on another grid than the column density."""
    if grid_offset(channel, first):
        msg = (
            f"{name} is on another grid than column_density (shapes {channel.values.shape} and "
            f"{first.values.shape}): reproject it to that grid"
        )
        raise ValueError(msg)
