"""Maps that come as one file per quantity: fitted lines, extinction, dust, integrated intensity."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import Cutout2D, NDData

from astrofractal.gasmap import wcs as _wcs
from astrofractal.gasmap.channels import (
    Channel,
    blank,
    clean_numbers,
    error_factor,
    of_cutout,
)
from astrofractal.gasmap.checks import check_beam
from astrofractal.gasmap.columns import (
    choose_converter,
    column_of,
    subtract_from_dispersion,
    variance_to_dispersion,
    warn_if_faint,
)
from astrofractal.gasmap.conversions import check_abundance, check_rest_frequency
from astrofractal.gasmap.io.fits_files import (
    channel_name,
    check_shape,
    describe_cube,
    file_wcs,
    hdu_data,
    header_unit,
    image_hdus,
    is_hdu,
    label,
    opened,
    wide_axes,
)
from astrofractal.gasmap.io.fitted_lines import channels_of_planes, survey_files
from astrofractal.gasmap.io.parts import MapParts, refuse_unused
from astrofractal.gasmap.io.reading import (
    add_header,
    cube_hdu,
    extension_error,
    file_channels,
    find_channels,
    image_channel,
    only_image,
    units_of,
)
from astrofractal.gasmap.regridding import grid_offset, regrid_motions
from astrofractal.gasmap.units import logarithmic

__all__ = ["read_gas_survey", "read_line_maps"]


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


def read_gas_survey(
    data,
    *,
    abundance,
    region=None,
    release=None,
    line_width=None,
    distance=None,
    beam=None,
    meta=None,
):
    """
    Make a `~astrofractal.GasMap` of the ammonia maps of the GBT Ammonia Survey (GAS).

    Parameters
    ----------
    data : path-like or HDU
        A folder of maps, named as in the releases of the survey (``L1688_N_NH3_DR1_rebase3_flag.fits``,
        ``L1688_NH3_N_all_rebase3_masked.fits``; ``Vlsr``, ``Sigma``; the errors ``eN``, ``eVlsr``,
        ``eSigma`` where they are there), or a cube of fitted parameters
        (``L1688_parameter_maps_...fits``), whose header names its planes.

    abundance : float
        NH3 molecules per H2, e.g. 1e-8: the maps hold N(NH3).  There is no default.

    region : str, optional
        The region, where the folder holds several.

    release : str, optional
        Part of the names of files behind the quantity, such as ``"DR1"``, where the folder holds
        several.

    line_width : `~astropy.units.Quantity`, optional
        A dispersion that is taken out of the dispersions in quadrature, that of the ammonia's
        thermal motion: see `~astrofractal.GasMap.from_cube`.

    distance, beam, meta : optional
        See `~astrofractal.GasMap.read`.

    Returns
    -------
    gas : `~astrofractal.GasMap`
        The map, with the errors.  Where nothing was fitted (zero) it is masked.

    Raises
    ------
    ValueError
        If the folder holds no such maps or several sets of them, or without an abundance.

    Notes
    -----
    The releases give logarithms of the column density in maps that say cm-2; they are recognized by
    their values.  See `Friesen et al. (2017) <https://doi.org/10.3847/1538-4357/aa6d58>`_.
    """
    if abundance is None:
        msg = "the maps hold N(NH3), not N(H2): give abundance=, NH3 molecules per H2 as in 1e-8"
        raise ValueError(msg)
    files, log10 = {"column_density": data}, False
    if isinstance(data, str | os.PathLike) and Path(data).is_dir():
        files = survey_files(data, region=region, release=release)
    else:
        refuse_unused("one file", {"region": region, "release": release})
    if len(files) > 1:
        log10 = _is_logarithm(files["column_density"])
    else:
        _check_planes(files["column_density"])
    return read_line_maps(
        **files,
        log10=log10,
        no_data=0,
        abundance=abundance,
        line_width=line_width,
        distance=distance,
        beam=beam,
        meta=meta,
    )


def _is_logarithm(path):
    """Return whether a map holds logarithms of a column density."""
    with opened(path) as hdus:
        values = clean_numbers(hdu_data(_image(hdus, "column_density"), hdus), str(path))
    return logarithmic(values[values != 0])


def _check_planes(data):
    """Refuse what is not a cube of parameters with a column density."""
    with opened(data) as hdus:
        planes = channels_of_planes(hdus)
        if planes is None or "COLUMN_DENSITY" not in planes:
            msg = (
                f"{hdus.filename() or 'data'} is no cube of fitted parameters with a column density "
                "(no PLANE card of its header is COLUMN or NTOT): give a folder of maps, or the maps "
                "to GasMap.from_maps one by one"
            )
            raise ValueError(msg)


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
            hdu = _image(hdus, name)
            channel = image_channel(hdu, hdus, unit, name)
            channel.error = extension_error(hdus, hdu, name, channel, unit)
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


def _image(hdus, name):
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
            hdu = _image(hdus, f"{name}_uncertainty")
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
