"""FITS files as they are met: damaged ones, images among other extensions, headers."""

import os
import re
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits

from . import wcs as _wcs

__all__ = ["opened"]


@contextmanager
def opened(data):
    """Give the HDUList of a path, an HDU or an HDUList; close what was opened here."""
    if isinstance(data, fits.HDUList):
        yield data
    elif is_hdu(data):
        yield fits.HDUList([data])
    else:
        name = _existing(data)
        # the file is opened here, so that it is closed also where astropy gives up on it
        with Path(name).open("rb") as file:
            with _strict(name):
                hdus = fits.open(file, lazy_load_hdus=False)
            yield hdus
            hdus.close()


def _existing(path):
    name = os.fspath(path)
    if not Path(name).exists():
        msg = f"no such file: {name!r}"
        raise FileNotFoundError(msg)
    if Path(name).is_dir():
        msg = f"{name!r} is a folder, not a FITS file"
        raise IsADirectoryError(msg)
    return name


@contextmanager
def _strict(name):
    """Turn whatever a damaged file provokes into one OSError that names the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message=".*truncated.*")
            warnings.filterwarnings("error", message=".*Error validating header.*")
            yield
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if "SIMPLE" in reason or "Empty or corrupt" in reason:
            reason = "it is empty, or no FITS file"
        elif not isinstance(error, OSError) or "truncated" in reason or "END card" in reason:
            reason = f"it is truncated or damaged ({reason})"
        msg = f"cannot read {name!r}: {reason}"
        raise OSError(msg) from error


def is_hdu(data):
    """Return whether ``data`` is an image HDU of astropy."""
    return isinstance(data, fits.PrimaryHDU | fits.ImageHDU | fits.CompImageHDU)


def hdu_data(hdu, hdus=None):
    """Return the data of an HDU; a damaged one is an OSError."""
    name = (hdus.filename() if hdus is not None else None) or hdu.name or "the HDU"
    with _strict(name):
        data = hdu.data
        return None if data is None else np.asarray(data)


def label(hdu, hdus):
    """Return how messages call an HDU."""
    name = hdu.name or f"HDU {hdus.index_of(hdu) if hdu in hdus else 0}"
    file = hdus.filename() if hdus is not None else None
    return f"{Path(file).name}[{name}]" if file else f"HDU {name}"


def image_hdus(hdus):
    """Return the HDUs that hold images, distortion tables left out."""
    return [
        hdu
        for hdu in hdus
        if (is_hdu(hdu) or getattr(hdu, "is_image", False))
        and hdu.header.get("NAXIS", 0) > 0
        and hdu.name not in ("WCSDVARR", "D2IMARR", "TEL_COORD")
        and 0 not in hdu.shape
    ]


def pick(hdus, key):
    try:
        return hdus[key]
    except (KeyError, IndexError):
        names = [hdu.name for hdu in hdus]
        msg = f"hdu {key!r} is not in the file, which has {names}"
        raise ValueError(msg) from None


def wide_axes(hdu):
    """Return the lengths of the axes of more than one pixel."""
    return [n for n in hdu.shape if n > 1]


def check_shape(hdu, where, *, three_planes=False):
    """Refuse an image that is neither a map nor, if these are allowed, three planes."""
    if len(hdu.shape) < 2:
        msg = f"{where} must be a 2D map, got {len(hdu.shape)}D data of shape {hdu.shape}"
        raise ValueError(msg)
    if len(wide_axes(hdu)) <= 2 or (three_planes and is_three_planes(hdu)):
        return
    raise ValueError(describe_cube(hdu, where))


def is_three_planes(hdu):
    shape = [n for n in hdu.shape[:-2] if n > 1]
    parameters = [key for key in hdu.header if re.fullmatch(r"PLANE\d+", key)]
    return shape == [3] and len(parameters) <= 3


def describe_cube(hdu, where):
    """Say what an image of more than two axes is."""
    header = hdu.header
    parameters = [header[key] for key in header if re.fullmatch(r"PLANE\d+", key)]
    named = f" (planes {', '.join(map(str, parameters))})" if parameters else ""
    wide = len(wide_axes(hdu))
    if wide == 3 or parameters:
        return (
            f"{where} is a cube of parameters of shape {hdu.shape}{named}, neither a map nor a "
            "cube of three planes: pass the planes to GasMap.from_maps one by one"
        )
    return f"{where} must be a 2D map, got {wide}D data of shape {hdu.shape}"


def file_wcs(header, hdus, *, needed):
    """Return the celestial WCS of a header, or of another HDU over the same pixels."""
    where = Path(hdus.filename()).name if hdus.filename() else "data"
    try:
        return _wcs.celestial_wcs(header, hdus=hdus, name=where)
    except ValueError as error:
        first = error
    size = [header.get(f"NAXIS{axis}") for axis in (1, 2)]
    own_axes = any(str(header.get(f"CTYPE{axis}", "")).strip() for axis in (1, 2))
    if not own_axes:
        for hdu in hdus:
            other = [hdu.header.get(f"NAXIS{axis}") for axis in (1, 2)]
            if hdu.header is header or (hdu.header.get("NAXIS", 0) > 0 and other != size):
                continue
            try:
                return _wcs.celestial_wcs(hdu.header, hdus=hdus, name=where)
            except ValueError:
                continue
    if needed:
        raise first
    return None


def header_distance(header, hdus):
    return header_length("DISTANCE", header, hdus)


def header_length(key, header, hdus):
    """Return a card whose comment names the unit in brackets, as the FITS standard proposes."""
    for candidate in [header] + [hdu.header for hdu in hdus[:1]]:
        if key not in candidate:
            continue
        found = re.match(r"\s*\[\s*(k?pc|Mpc|lyr|AU)\s*\]", candidate.comments[key])
        value = candidate[key]
        if found and isinstance(value, int | float) and np.isfinite(value) and value > 0:
            return value * u.Unit(found[1])
    return None


def header_beam(header):
    """Return the FWHM (geometric mean) and the axes (major, minor, angle) of a header's beam."""
    try:
        major = float(header["BMAJ"])
        minor = float(header.get("BMIN", major))
        angle = float(header.get("BPA", 0.0))
    except (KeyError, TypeError, ValueError):
        return None, None
    if not (np.isfinite([major, minor]).all() and major > 0 and minor > 0):
        return None, None
    axes = ((major * u.deg).to(u.arcsec), (minor * u.deg).to(u.arcsec), angle * u.deg)
    return np.sqrt(axes[0] * axes[1]).to(u.arcsec), axes
