"""Writing a map as FITS, so that reading gives the same map."""

import os
from contextlib import suppress

import numpy as np
from astropy import units as u
from astropy.io import fits

from astrofractal._utils.atomic import atomic_path

#: Endings of the files that are written.
_SUFFIXES = (".fits", ".fit", ".fts", ".fits.gz", ".fits.bz2")

_NAMES = {"column_density": "COLUMN_DENSITY", "velocity": "V_LOS", "dispersion": "SIGMA_V"}


def to_hdulist(gas):
    """Return a map as a `~astropy.io.fits.HDUList` of named extensions."""
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
    for channel, name in _NAMES.items():
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


def write(gas, path, *, overwrite=False):
    """Write a map to a FITS file with one extension per channel."""
    name = os.fspath(path)
    if not name.lower().endswith(_SUFFIXES):
        msg = f"path must end in one of {', '.join(_SUFFIXES)}, got {name!r}: a map is written as FITS"
        raise ValueError(msg)
    for card in ("crpix", "crval", "cdelt", "pc", "cd"):
        values = getattr(gas.wcs and gas.wcs.wcs, card, 0.0)  # a WCS has pc or cd
        if not np.isfinite(values).all():
            msg = f"the WCS of the map has {card.upper()} = {values}, which FITS cannot hold: correct it"
            raise ValueError(msg)
    with atomic_path(path, overwrite=overwrite) as temporary:
        to_hdulist(gas).writeto(temporary, checksum=True)
