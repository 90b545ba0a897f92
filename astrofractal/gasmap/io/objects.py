"""Maps in memory: NDData, CCDData, Projections, Quantities, arrays, and their metadata."""

from collections.abc import Mapping

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import Cutout2D, NDData

from astrofractal.gasmap.channel import is_lazy
from astrofractal.gasmap.checks import check_beam, check_length
from astrofractal.gasmap.column import XFactor
from astrofractal.gasmap.io.cubes import read_cube
from astrofractal.gasmap.io.line_cube import is_casa_image
from astrofractal.gasmap.io.maps import add_header, finish, load_map, split_planes, units_of
from astrofractal.gasmap.io.registry import register
from astrofractal.gasmap.moments import CHANNELS

#: Cards that are used where a dictionary holds them.
_CARDS = (
    "DISTANCE", "PIXSCALE", "BMAJ", "BMIN", "BPA", "RESTFRQ", "RESTFREQ", "RESTWAV", "OBJECT",
    "TELESCOP",
)  # fmt: skip


_KINDS = NDData | Cutout2D | u.Quantity | np.ndarray


@register("arrays", identify=lambda x: isinstance(x, _KINDS) or is_lazy(x), unused=("hdu",))
def read_arrays(source, options):
    """
    Data in memory: NDData, CCDData, Cutout2D, Projection, Quantity, array.

    Unit, mask, uncertainty, WCS, beam, distance and header are taken from the object as far as it
    has them; ``(data, wcs)`` and ``(data, header)`` give the WCS.  Three planes are column density,
    velocity and dispersion.  An array needs ``unit=``.
    """
    parts = options.parts()
    given = [name for name in CHANNELS[1:] if getattr(options, name) is not None]
    shape = np.shape(source.data if isinstance(source, NDData | Cutout2D) else source)
    planes = [n for n in shape[:-2] if n > 1]
    three = planes == [3]
    if planes and not three and isinstance(options.column, XFactor):
        return read_line_cube(source, options)
    units = units_of(options.unit, CHANNELS if three else ["column_density", *given])
    first = load_map(source, "column_density", units.get("column_density"), planes=1 + 2 * three)
    channels = split_planes(first, units) if three else {"column_density": first}
    parts.channels = {name: one for name, one in channels.items() if name not in given}
    if parts.wcs is None:
        parts.wcs = first.wcs
    add_object(source, parts, first.values.shape[-2:])
    return finish(parts, options, units)


def add_object(data, parts, shape):
    """Fill in beam, distance and scale from the attributes and the meta of an object."""
    sources = [getattr(data, name, None) for name in ("header", "meta")]
    found = {}
    for source in sources:
        if isinstance(source, Mapping) and not isinstance(source, fits.Header):
            found = {str(key).lower(): value for key, value in source.items()} | found
    try:
        beam = getattr(data, "beam", None)
    except Exception:  # spectral-cube raises a class of its own where there is none
        beam = None
    if parts.beam is None:
        parts.beam = check_beam(found.get("beam") if beam is None else beam)
    for name in ("distance", "pixel_scale"):
        if getattr(parts, name) is None and isinstance(found.get(name), u.Quantity):
            setattr(parts, name, check_length(name, found[name]))
    header = fits.Header()
    for card in _CARDS:
        value = found.get(card.lower())
        if isinstance(value, str | int | float | np.number):
            header[card] = value
    for source in sources:
        if isinstance(source, fits.Header):
            header.extend(source, unique=True)
    header["NAXIS1"], header["NAXIS2"] = shape[::-1]
    add_header(header, fits.HDUList(), parts)
    first = parts.channels["column_density"]
    own = ("BEAM", "PIXEL_SCALE", *_CARDS)  # what the map has as properties
    meta = first.meta or {}
    first.meta = {key: value for key, value in meta.items() if str(key).upper() not in own}


def _is_cube(source):
    if isinstance(source, NDData) and source.data.ndim >= 3 and source.wcs is not None:
        kinds = source.wcs.low_level_wcs.world_axis_physical_types
        return any(str(kind).startswith(("spect", "em.")) for kind in kinds)
    return is_casa_image(source) or (hasattr(source, "spectral_axis") and hasattr(source, "hdu"))


@register(
    "cube",
    identify=_is_cube,
    unused=("velocity", "dispersion", "uncertainty", "pixel_scale", "no_data", "dispersion_kind"),
)
def read_line_cube(source, options):
    """
    Position-position-velocity cubes: SpectralCube, NDCube, CASA's .image folders.

    They need ``column=XFactor(...)``: see `~astrofractal.GasMap.from_cube`.
    """
    return read_cube(source, options)
