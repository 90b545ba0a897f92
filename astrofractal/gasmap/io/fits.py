"""FITS: files as they are met, images among other extensions, headers; and maps as FITS files."""

from __future__ import annotations

import math
import os
import re
import shutil
import tempfile
import warnings
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from radio_beam import Beam
from radio_beam.beam import NoBeamException

import astrofractal
from astrofractal._utils.annotations import PathLike
from astrofractal._utils.atomic import atomic_path
from astrofractal._utils.limits import check_size, open_bounded
from astrofractal._utils.reading import reading, reason_of
from astrofractal._utils.validation import warn
from astrofractal.gasmap import wcs as _wcs
from astrofractal.gasmap.channel import clean_numbers
from astrofractal.gasmap.header import SCALING, check_numbers
from astrofractal.gasmap.moments import CHANNELS

#: How files begin that are taken for FITS now and then (lower case).
_MARKS = {
    b"\x89png": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"%pdf": "a PDF document",
    b"\x89hdf": "an HDF5 file",
    b"<!doctype html": "a web page (HTML)",
    b"<html": "a web page (HTML)",
    b"<?xml": "an XML file",
    b"version https://git-lfs": "a pointer of Git LFS (fetch the file itself)",
    b"pk\x03\x04": "a ZIP archive",
}


@contextmanager
def opened(data):
    """Return the HDUList of a path, file object, HDU or HDUList; close what was opened here."""
    if isinstance(data, fits.HDUList) or is_hdu(data):
        hdus = data if isinstance(data, fits.HDUList) else fits.HDUList([data])
        with reading(hdus.filename()):
            yield hdus
    elif is_open_file(data):
        with tempfile.NamedTemporaryFile(suffix=".fits") as copy:
            shutil.copyfileobj(data, copy)
            copy.flush()
            with opened(copy.name) as hdus:
                yield hdus
    else:
        name = os.fspath(data)
        if not Path(name).exists():
            msg = f"no such file: {name!r}"
            raise FileNotFoundError(msg)
        if is_folder(name):
            msg = f"{name!r} is a folder, not a FITS file"
            raise IsADirectoryError(msg)
        # the file is opened here, so that it is closed also where astropy gives up on it
        with ExitStack() as stack:
            with _strict(name):
                file = stack.enter_context(open_bounded(name))
                hdus = fits.open(file, lazy_load_hdus=False)
            with reading(name):
                yield hdus
            hdus.close()


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
        reason = reason_of(error)
        if "SIMPLE" in reason or "Empty or corrupt" in reason:
            reason = _kind_of_file(name)
        elif re.search("truncated|END card", reason) or isinstance(error, (ValueError, Warning)):
            reason = f"it is truncated or damaged ({reason})"
        msg = f"cannot read {name!r}: {reason}"
        raise OSError(msg) from error


def _kind_of_file(name):
    """Say what a file is that is not FITS, by its first bytes."""
    try:
        with Path(name).open("rb") as file:
            start = file.read(64)
    except OSError:  # the name of an HDU
        start = b""
    if not start:
        return "it is empty, or no FITS file"
    kinds = (kind for mark, kind in _MARKS.items() if start.lstrip().lower().startswith(mark))
    return next((f"it is {kind}, no FITS file" for kind in kinds), "it is no FITS file")


def is_open_file(data):
    """Return whether ``data`` is an open file of bytes."""
    return hasattr(data, "read") and hasattr(data, "seek")


def is_file(data):
    """Return whether ``data`` is a path, an open file, an HDU or an HDUList."""
    return isinstance(data, str | os.PathLike | fits.HDUList) or is_hdu(data) or is_open_file(data)


def is_folder(data):
    """Return whether ``data`` is the path of a folder."""
    return isinstance(data, str | os.PathLike) and os.path.isdir(data)


def is_hdu(data):
    """Return whether ``data`` is an image HDU of astropy."""
    return isinstance(data, fits.PrimaryHDU | fits.ImageHDU | fits.CompImageHDU)


def hdu_data(hdu, hdus):
    """Return the data of an HDU as native float64; a damaged one is an OSError."""
    check_numbers(hdu.header.copy(), label(hdu, hdus), SCALING)
    with _strict(hdus.filename() or hdu.name or "the HDU"):
        check_size(math.prod(hdu.shape) * 40, "the image")  # bytes: its numbers, copies, errors
        data = np.asarray(hdu.data)
    return clean_numbers(data, label(hdu, hdus))


def label(hdu, hdus):
    """Return how messages call an HDU."""
    name = hdu.name or f"HDU {hdus.index_of(hdu) if hdu in hdus else 0}"
    file = hdus.filename()
    return f"{Path(file).name}[{name}]" if file else f"HDU {name}"


def file_wcs(header, hdus, *, needed):
    """Return the celestial WCS of a header, or of another HDU over the same pixels."""
    where = Path(hdus.filename()).name if hdus.filename() else "data"
    headers = [header]
    if not any(str(header.get(f"CTYPE{axis}", "")).strip() for axis in (1, 2)):
        size = [header.get("NAXIS1"), header.get("NAXIS2")]
        others = [hdu.header for hdu in hdus if hdu.header is not header]
        headers += [
            other
            for other in others
            if not other.get("NAXIS", 0) or [other.get("NAXIS1"), other.get("NAXIS2")] == size
        ]
    errors = []
    for one in headers:
        try:
            return _wcs.celestial_wcs(one, hdus=hdus, name=where)
        except ValueError as error:
            errors.append(error)
    if needed:
        raise errors[0]
    return None


def header_unit(hdu, hdus):
    """Return BUNIT of an image, or of the header alone that comes before all extensions."""
    headers = [hdu.header] + [one.header for one in hdus[:1] if not one.header.get("NAXIS", 0)]
    texts = [str(header.get("BUNIT", "") or "").strip() for header in headers]
    return next(filter(None, texts), "")


def used_distance(given, stated):
    """Return the given distance, or else that of the header; warn where the two differ."""
    if given is None or stated is None:
        return stated if given is None else given
    if abs((given / stated).to_value(u.one) - 1) > 1e-3:
        warn(f"the header has DISTANCE = {stated:.6g}, but distance={given:.6g} is used")
    return given


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
    """Return the beam of a header's BMAJ, BMIN and BPA, or of its HISTORY, or `None`."""
    header = fits.Header(header) if isinstance(header, dict) else header
    try:
        if header.get("BMIN", 0) > header.get("BMAJ", np.inf):
            # radio_beam refuses axes that are swapped, and with them the angle
            header = fits.Header(
                {"BMAJ": header["BMIN"], "BMIN": header["BMAJ"], "BPA": header.get("BPA", 0) + 90}
            )
        beam = Beam.from_fits_header(header)
    except (NoBeamException, IndexError, TypeError, ValueError):
        return None
    axes = u.Quantity([beam.major, beam.minor])
    good = (axes > 0 * u.deg) & (axes < 180 * u.deg)
    if not (good.all() and np.isfinite(beam.pa)):
        return None
    return Beam(*axes.to(u.arcsec), beam.pa)


def header_rest_frequency(header):
    """Return the rest frequency of a header (or of its rest wavelength), or `None`."""
    for key, unit in (("RESTFRQ", u.Hz), ("RESTFREQ", u.Hz), ("RESTWAV", u.m)):
        value = header.get(key)
        if isinstance(value, int | float) and np.isfinite(value) and value > 0:
            return (value * unit).to(u.Hz, u.spectral())
    return None


#: The extension of each channel.
EXTENSIONS = dict(zip(CHANNELS, ("COLUMN_DENSITY", "V_LOS", "SIGMA_V"), strict=True))


def to_hdulist(gas: astrofractal.GasMap) -> fits.HDUList:
    """
    Return the map as FITS extensions.

    Returns
    -------
    hdus : `~astropy.io.fits.HDUList`
        ``COLUMN_DENSITY``, ``V_LOS``, ``SIGMA_V`` and their ``..._ERROR``, as far as present.
    """
    header, tables = to_header(gas), []
    if gas.wcs is not None and (gas.wcs.cpdis1 is not None or gas.wcs.cpdis2 is not None):
        whole = gas.wcs.to_fits(relax=True)  # distortions that are tables
        header, tables = whole[0].header, whole[1:]
        header.extend(_cards(gas))
    primary = fits.PrimaryHDU()
    primary.header.extend(card for card in _cards(gas) if card[2] == "[pc]")
    for key in ("object", "telescop"):
        if isinstance(gas.meta.get(key), str):
            primary.header[key.upper()] = gas.meta[key]
    hdus = fits.HDUList([primary])
    for channel, name in EXTENSIONS.items():
        for part, extension in ((channel, name), (f"{channel}_uncertainty", f"{name}_ERROR")):
            quantity = getattr(gas, part)
            if quantity is not None:
                hdu = fits.ImageHDU(np.array(quantity.value), header.copy(), extension)
                hdu.header["BUNIT"] = quantity.unit.to_string("fits")
                hdus.append(hdu)
    hdus.extend(tables)
    return hdus


def to_header(gas):
    """Return WCS (distortions by tables left out), beam, distance and scale as one FITS header."""
    header = fits.Header() if gas.wcs is None else gas.wcs.to_header(relax=True)
    header.extend(_cards(gas))
    return header


def meta_header(gas):
    """Return beam, distance and scale, and numbers and texts of the meta, as a FITS header."""
    header = fits.Header()
    for key, value in gas.meta.items():
        if isinstance(value, str | int | float):
            with suppress(ValueError):  # characters or numbers that FITS cannot hold
                card = fits.Card(key if len(key) <= 8 else f"HIERARCH {key}", value)
                header.append(fits.Card.fromstring(card.image))
    header.extend(_cards(gas), update=True)
    return header


def _cards(gas):
    """Return beam, distance and, where these do not give it, the width of a pixel as cards."""
    keywords = {} if gas.beam is None else gas.beam.to_header_keywords()
    cards = [(key, value, "[deg]") for key, value in keywords.items()]
    if gas.distance is not None:
        cards.append(("DISTANCE", gas.distance.to_value(u.pc), "[pc]"))
    if gas.has_pixel_scale and (gas.wcs is None or gas.distance is None):
        cards.append(("PIXSCALE", gas.pixel_scale.to_value(u.pc), "[pc]"))
    return cards


def write(gas: astrofractal.GasMap, path: PathLike, *, overwrite: bool = False) -> None:
    """
    Write the map to a FITS file, which `read` reads.

    Parameters
    ----------
    path, overwrite : path-like and bool, optional
        The file, and whether an existing one may be replaced.
    """
    name, suffixes = os.fspath(path), (".fits", ".fit", ".fts", ".fits.gz", ".fits.bz2")
    if not name.lower().endswith(suffixes):
        msg = f"path must end in one of {', '.join(suffixes)} for a map, got {name!r}"
        raise ValueError(msg)
    for card in ("crpix", "crval", "cdelt", "pc", "cd"):
        values = getattr(gas.wcs and gas.wcs.wcs, card, 0.0)  # a WCS has pc or cd
        if not np.isfinite(values).all():
            msg = f"the WCS of the map has {card.upper()} = {values}, which FITS cannot hold: correct it"
            raise ValueError(msg)
    with atomic_path(path, overwrite=overwrite) as temporary:
        to_hdulist(gas).writeto(temporary, checksum=True)
