"""Checks of the arguments of a map."""

import numbers

import numpy as np
from astropy import units as u
from radio_beam import Beam

__all__ = [
    "check_beam",
    "check_distance",
    "check_length",
    "check_pixels",
    "need_distance",
    "need_wcs",
]


def check_distance(distance):
    """Return a distance in pc, or `None`; refuse what is not a distance."""
    if distance is None:
        return None
    if getattr(distance, "distance", None) is not None:  # a SkyCoord is no distance
        msg = f"distance must be a Quantity such as 300 * u.pc, got {type(distance).__name__}"
        raise TypeError(msg)
    return check_length("distance", distance)


def check_length(name, value):
    """Return a length in pc, or `None`; refuse what is not a positive length."""
    if value is None:
        return None
    if not isinstance(value, u.Quantity):
        msg = f"{name} must be a Quantity such as 300 * u.pc, got {value!r}"
        raise TypeError(msg)
    if not value.unit.is_equivalent(u.pc):
        msg = f"{name} must be a length such as 300 * u.pc, got {value}"
        raise u.UnitConversionError(msg)
    if value.size != 1 or not np.isfinite(value).all() or not np.all(value > 0):
        msg = f"{name} must be one positive, finite length, got {value}"
        raise ValueError(msg)
    return u.Quantity(float(np.squeeze(value.to_value(u.pc))), u.pc)


def check_beam(beam):
    """Return a `~radio_beam.Beam`, round where ``beam`` is a FWHM, or `None`; refuse the rest."""
    if beam is None:
        return None
    widths = beam
    if isinstance(beam, Beam):
        widths = u.Quantity([beam.major, beam.minor])
    elif not isinstance(beam, u.Quantity):
        msg = f"beam must be a radio_beam.Beam or a Quantity such as 18 * u.arcsec, got {beam!r}"
        raise TypeError(msg)
    elif not beam.unit.is_equivalent(u.arcsec):
        msg = f"beam must be an angle (FWHM) such as 18 * u.arcsec, got {beam}"
        raise u.UnitConversionError(msg)
    elif beam.size != 1:
        msg = f"beam must be one angle (FWHM), got {beam}"
        raise ValueError(msg)
    if not np.isfinite(widths).all() or not np.all(widths > 0):
        msg = f"beam must have a positive, finite FWHM, got {widths}"
        raise ValueError(msg)
    return beam if isinstance(beam, Beam) else Beam(np.squeeze(beam).to(u.arcsec))


def need_wcs(gas, what):
    """Refuse a map without WCS for something that needs one."""
    if gas.wcs is None:
        msg = f"{what} needs a WCS, the map has none: give wcs= (or pixel_scale=)"
        raise ValueError(msg)


def need_distance(gas, what):
    """Refuse a map without distance for something that needs it."""
    if gas.distance is None:
        msg = f"{what} needs the distance, the map has none: give distance=, e.g. 300 * u.pc"
        raise ValueError(msg)


def check_pixels(name, value):
    """Return pixel positions as floats; refuse quantities and words."""
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        array = None
    if array is None or isinstance(value, u.Quantity | str | numbers.Number):
        msg = f"{name} must be a SkyCoord or pixels (x, y), got {value!r}"
        raise TypeError(msg)
    return array
