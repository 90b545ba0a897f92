"""The celestial WCS of a map: found, reduced to two axes, or refused by name of what it is."""

import re
import warnings

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning
from astropy.wcs.utils import wcs_to_celestial_frame
from astropy.wcs.wcsapi import SlicedLowLevelWCS

from astrofractal._utils.limits import check_wcs_cards
from astrofractal._utils.reading import reading
from astrofractal._utils.validation import warn
from astrofractal.gasmap.unit_text import parse_unit

__all__ = ["celestial_wcs", "pixel_solid_angle", "pixel_to_sky", "sky_to_pixel", "tangent_wcs"]

_SPECTRAL = re.compile(r"^(FREQ|ENER|WAVN|VRAD|WAVE|VOPT|ZOPT|AWAV|VELO|BETA|FELO|VLSR|VEL)", re.I)
_CELESTIAL = re.compile(r"^(RA|DEC|.LON|.LAT|..LN|..LT)(-|$)", re.I)
_CYLINDRICAL = ("CAR", "CEA", "MER", "CYP")


def is_spectral(ctype):
    """Return whether a CTYPE is that of a spectral axis."""
    return bool(_SPECTRAL.match(str(ctype).strip()))


def celestial_wcs(source, *, name="wcs", hdus=None):
    """Return the celestial part of a WCS, with distortions, as a WCS of two axes."""
    wcs = read_wcs(source, hdus=hdus, name=name)
    with reading(name, "the WCS"):  # these invert the matrix
        has_celestial = wcs.has_celestial
    if not has_celestial:
        msg = f"{name} {describe_axes(wcs)}"
        raise ValueError(msg)
    if isinstance(source, fits.Header) and not _has_scale(source, wcs.wcs.lng + 1):
        msg = f"{name} has no pixel scale (neither CDELT nor CD or PC): give wcs= or pixel_scale="
        raise ValueError(msg)
    with reading(name, "the WCS"):
        celestial = wcs if wcs.naxis == 2 else wcs.celestial
        celestial.wcs.set()
    return celestial


def read_wcs(source, *, hdus=None, name="wcs"):
    """Return the full WCS of a header, or a WCS as it is, or say why not."""
    if isinstance(source, WCS):
        return source
    if not isinstance(source, fits.Header):
        low_level = getattr(source, "low_level_wcs", source)
        if isinstance(low_level, WCS):
            return low_level
        if isinstance(low_level, SlicedLowLevelWCS) and isinstance(low_level._wcs, WCS):
            return _sliced(low_level)
        msg = f"{name} must be an astropy.wcs.WCS or a FITS header, got {type(source).__name__}"
        raise TypeError(msg)
    with reading(name, "the WCS"):
        return _header_wcs(source, hdus, name)


def _header_wcs(source, hdus, name):
    """Return the full WCS of a header; what is wrong with it raises many classes."""
    for key in ("EQUINOX", "EPOCH"):
        if source.get(key) == 0:  # would be a frame some 30 degrees off
            msg = f"{name} has {key} = 0, which is no equinox: it is left out"
            warn(msg)
            source = source.copy()
            del source[key]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        warnings.filterwarnings("ignore", message=".*RADECSYS.*")
        warnings.filterwarnings("ignore", message="Some non-standard WCS keywords")
        try:
            check_wcs_cards(source)
            return WCS(source, fobj=hdus)
        except Exception as error:
            usual = _usual_cards(source)
            if usual is not None:
                return _header_wcs(usual, hdus, name)
            ctypes = [source.get(f"CTYPE{axis}", "") for axis in (1, 2)]
            if source.get("NAXIS", 2) == 2 and any(map(_SPECTRAL.match, map(str, ctypes))):
                msg = f"{name} {describe_ctypes(ctypes)}"
                raise ValueError(msg) from error
            raise


def _has_scale(header, axis):
    """Return whether a header gives the scale of an axis (1-based)."""
    keys = re.compile(rf"CDELT{axis}|(?:CD|PC){axis}_\d+|(?:CD|PC)00{axis}00\d")
    return any(keys.fullmatch(key) for key in header)


def _usual_cards(header):
    """Return a header with CTYPE in capitals and CUNIT in the usual letters; `None` if it is so."""
    changed = {}
    for key in header:
        if re.fullmatch(r"CTYPE\d+", key) and str(header[key]) != str(header[key]).upper():
            changed[key] = str(header[key]).upper()
        if re.fullmatch(r"CUNIT\d+", key):
            if _has_one_pixel(header, int(key[5:])) and str(header[key]).strip():
                changed[key] = ""  # of an axis that is dropped
                continue
            try:
                text = parse_unit(str(header[key])).to_string("fits")
            except (ValueError, TypeError):
                continue
            if text != str(header[key]).strip():
                changed[key] = text
    if not changed:
        return None
    header = header.copy()
    header.update(changed)
    return header


def _has_one_pixel(header, axis):
    """Return whether an axis (1-based) that is not celestial has one pixel, or none in the data."""
    if _CELESTIAL.match(str(header.get(f"CTYPE{axis}", "")).strip()):
        return False
    return header.get(f"NAXIS{axis}") == 1 or 2 <= header.get("NAXIS", 0) < axis


def _sliced(view):
    """Return the WCS of a slice of NDData, which holds the whole and the slices."""
    parts = [
        part if isinstance(part, slice) else slice(part, part + 1) for part in view._slices_array
    ]
    whole, known = view._wcs, view._wcs.pixel_shape
    if known is None:  # astropy before 7 cannot slice three axes of unknown length
        whole = whole.deepcopy()
        whole.pixel_shape = (2**31 - 1,) * whole.naxis
    wcs = whole.slice(parts)
    if known is None:
        wcs.pixel_shape = None
    kept = [
        axis + 1 for axis, part in enumerate(view._slices_array[::-1]) if isinstance(part, slice)
    ]
    return wcs if len(kept) == wcs.naxis else wcs.sub(kept)


def describe_axes(wcs):
    """Say what a WCS without two celestial axes is."""
    return describe_ctypes(wcs.wcs.ctype)


def describe_cube_axes(wcs):
    """Say what a cube without two celestial axes is."""
    instead = "name its axes in its header (CTYPE), if it is one of the sky"
    return describe_axes(wcs).replace("give wcs= or pixel_scale=", instead)


def describe_ctypes(ctypes):
    """Say what an image is whose axes, as named by CTYPE, are not two celestial ones."""
    ctypes = [str(ctype).strip() for ctype in ctypes]
    shown = ", ".join(repr(ctype) for ctype in ctypes)
    spectral = [is_spectral(ctype) for ctype in ctypes]
    if sum(spectral) == 1 and len(ctypes) == 2:
        return describe_diagram(shown)
    if not any(ctypes) or not any(re.search("[A-Za-z]", ctype) for ctype in ctypes):
        return "has no celestial WCS (no CTYPE): give wcs= or pixel_scale="
    return f"has no celestial WCS (CTYPE {shown}): give wcs= or pixel_scale="


def describe_diagram(shown):
    """Say what an image with one spectral axis is."""
    return (
        f"is a position-velocity diagram (CTYPE {shown}), not a map of the sky: a map needs "
        "two celestial axes"
    )


def has_velocity(header, axis):
    """Return whether an axis (1-based) is spectral, by its CTYPE or else by its CUNIT."""
    ctype, unit = (str(header.get(f"{key}{axis}", "")).strip() for key in ("CTYPE", "CUNIT"))
    if is_spectral(ctype) or ctype.upper() in ("V", "KM/S", "M/S"):
        return True
    try:
        unit = parse_unit(unit) if unit and not _CELESTIAL.match(ctype) else u.one
    except ValueError:
        return False
    return unit.is_equivalent(u.km / u.s) or unit.is_equivalent(u.Hz)


def spectral_axis(wcs):
    """Return the number (0-based, FITS order) of the spectral axis of a WCS, or `None`."""
    if wcs.wcs.spec >= 0:
        return wcs.wcs.spec
    for axis, ctype in enumerate(wcs.wcs.ctype):
        if is_spectral(ctype):
            return axis
    return None


def frame_of(wcs):
    """Return the celestial frame of a WCS, `None` when it has none that astropy knows."""
    try:
        return wcs_to_celestial_frame(wcs)
    except ValueError:
        return None


def sky_to_pixel(wcs, positions, *, shape=None):
    """
    Return the pixels (x, y), 0-based, of sky positions; NaN where the projection does not reach.
    """
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
    if str(wcs.wcs.ctype[axis])[-3:] not in _CYLINDRICAL or axis != 0 or matrix[0, 0] == 0:
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


def unit_vectors(longitude, latitude):
    """Return unit vectors (..., 3) of longitudes and latitudes in degrees."""
    longitude, latitude = np.radians(longitude), np.radians(latitude)
    return np.stack(
        [
            np.cos(latitude) * np.cos(longitude),
            np.cos(latitude) * np.sin(longitude),
            np.sin(latitude),
        ],
        axis=-1,
    )


def pixel_solid_angle(wcs, x, y):
    """Return the solid angle in steradian of the pixels centered on (x, y), with distortions."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    left, right, down, up = (
        unit_vectors(*pixel_to_degrees(wcs, x + dx, y + dy))
        for dx, dy in ((-0.5, 0), (0.5, 0), (0, -0.5), (0, 0.5))
    )
    with np.errstate(invalid="ignore"):  # where the projection does not reach
        return np.linalg.norm(np.cross(right - left, up - down), axis=-1)


def tangent_wcs(template, longitude, latitude, step, shape):
    """Return a TAN WCS in the frame of ``template``, north up and east to the left."""
    prefix = [str(template.wcs.ctype[axis]) for axis in (template.wcs.lng, template.wcs.lat)]
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [_head(prefix[0]) + "-TAN", _head(prefix[1]) + "-TAN"]
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


def _head(ctype):
    """Return the first four characters of a CTYPE, padded by '-' (as in 'RA--', 'GLON')."""
    return ctype[:4].ljust(4, "-")


def content(wcs):
    """Return all that a WCS says, distortions included, as text and arrays; `None` without one."""
    if wcs is None:
        return None
    tables = [wcs.cpdis1, wcs.cpdis2, wcs.det2im1, wcs.det2im2]
    return [wcs.to_header_string(relax=True)] + [
        [np.array(table.data), table.crpix, table.crval, table.cdelt]
        for table in tables
        if table is not None
    ]
