"""The celestial WCS of a map: found, reduced to two axes, or refused by name of what it is."""

import re
import warnings

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning, wcsapi
from astropy.wcs.utils import fit_wcs_from_points, wcs_to_celestial_frame

from astrofractal._utils.limits import check_wcs_cards
from astrofractal._utils.reading import reading
from astrofractal.gasmap.header import spectral_ctype, standard_header

#: What an image with one spectral axis is.
DIAGRAM = "is a position-velocity diagram (CTYPE {}): a map needs two celestial axes"


def celestial_wcs(source, *, name="wcs", hdus=None):
    """Return the celestial part of a WCS, with distortions, as a WCS of two axes."""
    wcs = read_wcs(source, hdus=hdus, name=name)
    with reading(name, "the WCS"):  # these invert the matrix
        celestial = None
        if wcs.has_celestial:
            celestial = wcs if wcs.naxis == 2 else wcs.celestial
            celestial.wcs.set()
    if celestial is None:
        msg = f"{name} {describe_ctypes(wcs.wcs.ctype)}"
        raise ValueError(msg)
    with np.errstate(invalid="ignore"):
        matrix = celestial.pixel_scale_matrix
    own = celestial.wcs
    for what, values in (("CRPIX", own.crpix), ("CRVAL", own.crval), ("CD", matrix)):
        if not np.isfinite(values).all():
            msg = f"{name} has a WCS whose {what} must be finite, got {np.ravel(values)}"
            raise ValueError(msg)
    if str(own.ctype[own.lng]).startswith("RA") and frame_of(celestial) is None:
        msg = f"{name} has a WCS with RADESYS = {own.radesys!r}: set it to ICRS, FK5 or FK4"
        raise ValueError(msg)
    return celestial


def read_wcs(source, *, hdus=None, name="wcs"):
    """Return the full WCS of a header, or a WCS as it is; refuse the rest."""
    if isinstance(source, fits.Header):
        with reading(name, "the WCS"):
            return _header_wcs(source, hdus, name)
    low_level = getattr(source, "low_level_wcs", source)
    if isinstance(low_level, WCS):
        return low_level
    if isinstance(low_level, wcsapi.SlicedLowLevelWCS) and isinstance(low_level._wcs, WCS):
        return _sliced(low_level)
    msg = f"{name} must be an astropy.wcs.WCS or a FITS header, got {type(source).__name__}"
    raise TypeError(msg)


def _header_wcs(source, hdus, name):
    """Return the full WCS of a header."""
    header = standard_header(source, name)
    check_wcs_cards(header)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        warnings.filterwarnings("ignore", message=".*RADECSYS.*")
        warnings.filterwarnings("ignore", message="Some non-standard WCS keywords")
        try:
            return WCS(header, fobj=hdus)
        except Exception as error:
            if source.get("NAXIS", 2) == 2 and any(spectral_ctype(header, n) for n in (1, 2)):
                ctypes = [source.get(f"CTYPE{axis}", "") for axis in (1, 2)]
                msg = f"{name} {describe_ctypes(ctypes)}"
                raise ValueError(msg) from error
            raise


def _sliced(view):
    """Return the WCS of a slice of NDData, which holds the whole and the slices."""
    parts = [
        part if isinstance(part, slice) else slice(part, part + 1) for part in view._slices_array
    ]
    whole = view._wcs.deepcopy()
    whole.pixel_shape = (2**31 - 1,) * whole.naxis  # astropy 6 does not slice an unknown length
    wcs = whole.slice(parts)
    wcs.pixel_shape = None
    kept = [
        axis + 1 for axis, part in enumerate(view._slices_array[::-1]) if isinstance(part, slice)
    ]
    return wcs if len(kept) == wcs.naxis else wcs.sub(kept)


def describe_cube_axes(header):
    """Say what a cube without two celestial axes is."""
    ctypes = [header.get(f"CTYPE{axis}", "") for axis in range(1, header.get("NAXIS", 0) + 1)]
    return describe_ctypes(ctypes, "name its axes in its header (CTYPE), if it is one of the sky")


def describe_ctypes(ctypes, remedy="give (data, wcs) or pixel_scale="):
    """Say what an image is whose axes, as named by CTYPE, are not two celestial ones."""
    header = {f"CTYPE{axis}": str(ctype).strip() for axis, ctype in enumerate(ctypes, start=1)}
    shown = ", ".join(map(repr, header.values()))
    spectral = [spectral_ctype(header, axis) for axis in range(1, len(ctypes) + 1)]
    if len(ctypes) == 2 and spectral.count(None) == 1:
        return DIAGRAM.format(shown)
    named = any(re.search("[A-Za-z]", ctype) for ctype in header.values())
    stated = f"CTYPE {shown}" if named else "no CTYPE"
    return f"has no celestial WCS ({stated}): {remedy}"


def frame_of(wcs):
    """Return the celestial frame of a WCS, `None` when it has none that astropy supports."""
    try:
        return wcs_to_celestial_frame(wcs)
    except ValueError:
        return None


def sky_to_pixel(wcs, positions, *, shape=None):
    """Return the pixels (x, y), 0-based, of sky positions; NaN out of reach of the projection."""
    frame = frame_of(wcs)
    if frame is not None:
        positions = positions.transform_to(frame)
    longitude = np.atleast_1d(positions.spherical.lon.deg)
    latitude = np.atleast_1d(positions.spherical.lat.deg)
    return degrees_to_pixel(wcs, longitude, latitude, shape=shape)


def degrees_to_pixel(wcs, longitude, latitude, *, shape=None):
    """Return pixels (x, y) of longitudes and latitudes, degrees in the frame of the WCS."""
    world = [None, None]
    world[wcs.wcs.lng], world[wcs.wcs.lat] = longitude, latitude
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            x, y = wcs.all_world2pix(*world, 0, quiet=True)
        except Exception:  # one position out of reach must not lose the others
            x, y = np.transpose(
                [_one_to_pixel(wcs, a, b) for a, b in zip(*np.broadcast_arrays(*world))]
            )
    if shape is not None:
        x = _unwrap(wcs, x, shape[1])
    return x, y


def _one_to_pixel(wcs, first, second):
    try:
        return [float(value) for value in wcs.all_world2pix(first, second, 0, quiet=True)]
    except Exception:
        return [np.nan, np.nan]


def _unwrap(wcs, x, nx):
    """Bring positions one turn off a cylindrical map back into it."""
    axis = wcs.wcs.lng
    matrix = wcs.pixel_scale_matrix
    cylindrical = str(wcs.wcs.ctype[axis])[-3:] in ("CAR", "CEA", "MER", "CYP")
    if not cylindrical or axis != 0 or matrix[0, 0] == 0:
        return x
    if abs(matrix[0, 1]) > 1e-9 * abs(matrix[0, 0]):
        return x
    turn = 360.0 / abs(matrix[0, 0])
    off = (x < -0.5) | (x > nx - 0.5)
    for shift in (turn, -turn):
        inside = off & (x + shift >= -0.5) & (x + shift <= nx - 0.5)
        x = np.where(inside, x + shift, x)
    return x


def pixel_to_degrees(wcs, x, y):
    """Return longitudes and latitudes in degrees, in the frame of the WCS, of pixels (x, y)."""
    with np.errstate(all="ignore"):
        world = wcs.all_pix2world(np.asarray(x, float), np.asarray(y, float), 0)
    return world[wcs.wcs.lng], world[wcs.wcs.lat]


def pixel_to_sky(wcs, x, y):
    """Return the sky positions of pixels (x, y), 0-based."""
    longitude, latitude = pixel_to_degrees(wcs, x, y)
    frame = frame_of(wcs)
    return SkyCoord(longitude, latitude, unit="deg", frame="icrs" if frame is None else frame)


def pixel_solid_angle(wcs, x, y):
    """Return the solid angle in steradian of the pixels centered on (x, y), with distortions."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    edges = []
    for dx, dy in ((-0.5, 0), (0.5, 0), (0, -0.5), (0, 0.5)):
        lon, lat = np.radians(pixel_to_degrees(wcs, x + dx, y + dy))
        vector = np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)
        edges.append(np.stack(vector, axis=-1))
    left, right, down, up = edges
    with np.errstate(invalid="ignore"):  # where the projection does not reach
        return np.linalg.norm(np.cross(right - left, up - down), axis=-1)


def central_solid_angle(wcs, shape):
    """Return the solid angle in steradian of the central pixel; 0 or NaN beyond a projection."""
    return float(pixel_solid_angle(wcs, (shape[1] - 1) / 2, (shape[0] - 1) / 2))


def tangent_wcs(template, longitude, latitude, step, shape):
    """Return a TAN WCS in the frame of ``template``, north up and east to the left."""
    kinds = [str(template.wcs.ctype[axis]) for axis in (template.wcs.lng, template.wcs.lat)]
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [f"{kind[:4]:-<4}-TAN" for kind in kinds]  # as in 'RA---TAN', 'GLON-TAN'
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crval = [longitude, latitude]
    wcs.wcs.crpix = [(shape[1] + 1) / 2, (shape[0] + 1) / 2]
    degrees = np.degrees(step)
    wcs.wcs.cdelt = [-degrees, degrees]
    wcs.wcs.radesys = template.wcs.radesys
    if np.isfinite(template.wcs.equinox):
        wcs.wcs.equinox = template.wcs.equinox
    wcs.array_shape = tuple(shape)
    wcs.wcs.set()
    return wcs


def content(wcs):
    """Return the content of a WCS, with distortions, as text and arrays; `None` without one."""
    if wcs is None:
        return None
    tables = [wcs.cpdis1, wcs.cpdis2, wcs.det2im1, wcs.det2im2]
    return [wcs.to_header_string(relax=True)] + [
        [np.array(table.data), table.crpix, table.crval, table.cdelt]
        for table in tables
        if table is not None
    ]


#: Degrees of the polynomial distortions (SIP) that are tried in turn.
_DEGREES = (None, 2, 3, 4, 5)


def as_fits_wcs(source, shape, *, name="wcs"):
    """Return a FITS WCS, or else the best fit over a shape (ny, nx) with its largest error for meta."""
    try:
        return celestial_wcs(source, name=name), {}
    except TypeError:
        if not isinstance(getattr(source, "low_level_wcs", source), wcsapi.BaseLowLevelWCS):
            raise
    if not isinstance(source, wcsapi.BaseHighLevelWCS):
        source = wcsapi.HighLevelWCSWrapper(source)
    kinds = source.low_level_wcs.world_axis_physical_types
    y, x = (grid.ravel() for grid in np.mgrid[0 : shape[0] - 1 : 15j, 0 : shape[1] - 1 : 15j])
    sky = source.pixel_to_world(x, y) if source.low_level_wcs.pixel_n_dim == 2 else None
    if not isinstance(sky, SkyCoord):
        msg = f"{name} has the axes {kinds}: a map needs two of the sky; give an astropy.wcs.WCS"
        raise ValueError(msg)
    known = np.isfinite(sky.spherical.lon) & np.isfinite(sky.spherical.lat)
    if known.sum() < 2 * _DEGREES[-1] ** 2:
        msg = f"{name} gives no position on the sky for most pixels of the map"
        raise ValueError(msg)
    x, y, sky = x[known], y[known], sky[known]
    best, error = None, np.inf
    for degree in _DEGREES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wcs = fit_wcs_from_points((x, y), sky, projection="TAN", sip_degree=degree)
            back = sky_to_pixel(wcs, sky)
        off = np.hypot(back[0] - x, back[1] - y)
        off = np.inf if not np.isfinite(off).all() else float(off.max())
        if off < error:
            best, error = wcs, off
        if error < 0.01:  # of a pixel: no more is needed
            break
    if not error < 0.2:
        msg = f"{name} is one that no FITS WCS fits: the best is off by {error:.2g} pixels"
        raise ValueError(msg)
    return celestial_wcs(best, name=name), {"wcs_fit_error": error}
