"""Header cards of other programs, brought to the FITS standard before a WCS is made of them."""

import re

import numpy as np
from astropy import units as u

from astrofractal._utils.validation import warn
from astrofractal.gasmap.units import parse_unit

_CELESTIAL = re.compile(r"^(RA|DEC|.LON|.LAT|..LN|..LT)(-|$)", re.I)
_SPECTRAL = re.compile(r"^(FREQ|ENER|WAVN|VRAD|WAVE|VOPT|ZOPT|AWAV|VELO|BETA|FELO)(-|$)")

#: Names of spectral axes that are not in the standard, and the name of the standard.
_SPECTRAL_NAMES = {"VEL.*|VLSR.*|V|K?M/S": "VRAD", "FREQ.*": "FREQ", "WAVE.*|LAMBDA.*": "WAVE"}

_NUMBER = re.compile(
    r"(?:CRVAL|CRPIX|CDELT|CROTA)\d+|(?:CD|PC|PV)\d+_\d+|(?:CD|PC)00\d00\d|LONPOLE|LATPOLE|"
    r"BMAJ|BMIN|BPA|RESTFRE?Q|RESTWAV"
)
#: Cards that scale the numbers of an image.
SCALING = re.compile("BSCALE|BZERO")
_AXIS = re.compile(
    r"(?:CTYPE|CRVAL|CRPIX|CDELT|CUNIT|CROTA|CNAME)(\d+)|P[VS](\d+)_\d+|"
    r"(?:CD|PC)(\d+)_(\d+)|(?:CD|PC)00(\d)00(\d)"
)

#: Frames of right ascension and declination that astropy implements.
_FRAMES = ("ICRS", "FK5", "FK4", "FK4-NO-E")

#: Equinoxes that catalogs use; another one is mostly the date of an observation.
_EQUINOXES = (1855.0, 1875.0, 1900.0, 1925.0, 1950.0, 1975.0, 2000.0)


def is_celestial(header, axis):
    """Return whether an axis (1-based) is celestial, by its CTYPE."""
    return bool(_CELESTIAL.match(str(header.get(f"CTYPE{axis}", "")).strip()))


def spectral_ctype(header, axis):
    """Return the standard CTYPE of a spectral axis (1-based), by its CTYPE or its CUNIT, or `None`."""
    ctype, unit = (str(header.get(f"{key}{axis}", "")).strip() for key in ("CTYPE", "CUNIT"))
    if is_celestial(header, axis):
        return None
    ctype = ctype.upper()
    if _SPECTRAL.match(ctype):
        return ctype
    try:
        unit = parse_unit(unit) if unit else u.one
    except ValueError:
        unit = u.one
    if unit.is_equivalent(u.km / u.s):
        return "VRAD"
    if unit.is_equivalent(u.Hz):
        return "FREQ"
    value = header.get(f"CRVAL{axis}", 0.0)
    if unit.is_equivalent(u.m) and not isinstance(value, str) and abs(value * unit) < 1 * u.m:
        return "WAVE"
    names = (standard for name, standard in _SPECTRAL_NAMES.items() if re.fullmatch(name, ctype))
    return next(names, None)


def standard_header(header, where):
    """Return a copy of a header of which astropy makes the WCS that is meant; refuse the rest."""
    header = header.copy()
    _drop_axes_of_one_pixel(header)
    check_numbers(header, where)
    _check_equinox(header, where)
    for axis in _axes(header):
        _spell_axis(header, axis)
        _check_step(header, axis, where)
    return header


def _axes(header):
    """Return the numbers (1-based) of the axes that have a CTYPE or a CUNIT."""
    return sorted({int(key[5:]) for key in header if re.fullmatch(r"(?:CTYPE|CUNIT)\d+", key)})


def _drop_axes_of_one_pixel(header):
    """Remove the cards of axes that a map drops: other programs write anything there."""
    n_axes = header.get("NAXIS", 0)

    def dropped(axis):
        one_pixel = header.get(f"NAXIS{axis}") == 1 or 2 <= n_axes < axis
        return one_pixel and not is_celestial(header, axis)

    for key in list(header):
        found = _AXIS.fullmatch(key)
        if found and any(dropped(int(axis)) for axis in found.groups() if axis):
            header.remove(key, ignore_missing=True)


def check_numbers(header, where, keys=_NUMBER):
    """Refuse numbers that are stored as text, or are infinite; remove texts without a number."""
    for key in [key for key in header if keys.fullmatch(key)]:
        value = header.get(key)
        words = isinstance(value, str) and not re.search(r"\d", value)
        if words and (not value.strip() or key[0] in "BR"):  # no beam, no rest frequency
            header.remove(key, ignore_missing=True)
        elif isinstance(value, str):
            msg = f"{where} has the text {key} = {value!r}: remove its quotes"
            raise ValueError(msg)
        elif isinstance(value, int | float) and not np.isfinite(value):
            msg = f"{where} has {key} = {value}, which must be finite"
            raise ValueError(msg)


def _check_equinox(header, where):
    """Refuse an unknown frame; leave out what is no equinox: it would move a map by minutes of arc."""
    if not any(str(header.get(f"CTYPE{axis}", "")).upper()[:2] == "RA" for axis in _axes(header)):
        return
    frame = str(header.get("RADESYS", header.get("RADECSYS", ""))).strip().upper()
    if frame and frame not in _FRAMES:
        msg = f"{where} has RADESYS = {frame!r}, which must be one of {', '.join(_FRAMES)}: correct it"
        raise ValueError(msg)
    if frame:
        header["RADESYS"] = frame
    for key in ("EQUINOX", "EPOCH"):
        if key not in header:
            continue
        stated = header[key]
        found = re.fullmatch(r"\s*[JB]?(-?\d+\.?\d*)\s*", str(stated))
        value = float(found[1]) if found else np.nan
        used = frame != "ICRS" and (key == "EQUINOX" or "EQUINOX" not in header)
        if used and 1800 <= value <= 2100 and (key == "EQUINOX" or value in _EQUINOXES):
            header[key] = value
            if value not in _EQUINOXES:
                msg = f"{where} has {key} = {value}: correct it, if that is the date of the observation"
                warn(msg)
            continue
        if used:
            shown = f"{value:g}" if found else repr(stated)
            warn(f"{where} has {key} = {shown}, which is no equinox: it is left out")
        if key == "EPOCH" or used:
            del header[key]


def _spell_axis(header, axis):
    """Write CTYPE and CUNIT of an axis as the standard does."""
    own = str(header.get(f"CTYPE{axis}", ""))
    ctype = spectral_ctype(header, axis) or own.upper()
    if ctype != own.rstrip():
        header[f"CTYPE{axis}"] = ctype
    unit = str(header.get(f"CUNIT{axis}", "")).strip()
    try:
        plain = parse_unit(unit).to_string("fits") if unit else ""
    except (ValueError, TypeError):
        return
    if plain != unit:
        header[f"CUNIT{axis}"] = plain


def _check_step(header, axis, where):
    """Give each axis one step: CDELT counts where there are CDi_j, but none of this axis."""
    celestial = is_celestial(header, axis)
    if not celestial and spectral_ctype(header, axis) is None:
        return
    matrix = {key: header[key] for key in header if re.fullmatch(r"CD\d+_\d+", key)}
    row = [value for key, value in matrix.items() if key.startswith(f"CD{axis}_")]
    step = header.get(f"CDELT{axis}")
    if matrix and not row and step:
        header[f"CD{axis}_{axis}"] = step
    elif row and step not in (None, 0, 1):
        width = np.linalg.norm(row)
        if not 1 / 1.01 < abs(step) / max(width, np.finfo(float).tiny) < 1.01:
            used = f"a step of {width:g} by its CD matrix, which is used"
            warn(f"{where} has CDELT{axis} = {step:g}, and {used}")
    elif not row:
        other = any(re.fullmatch(rf"PC{axis}_\d+|(?:CD|PC)00{axis}00\d", key) for key in header)
        if step == 0 or (step is None and (matrix or not other)):
            stated = "no pixel scale (neither CDELT nor CD or PC): give (data, wcs) or pixel_scale="
            if step == 0 or not celestial:
                stated = f"CDELT{axis} = 0" if step == 0 else f"no CDELT{axis}"
                stated += f": set it to the {'pixel scale' if celestial else 'width of a channel'}"
            msg = f"{where} has {stated}"
            raise ValueError(msg)
