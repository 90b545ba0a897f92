"""Checks of the arguments of a map."""

import numbers

import numpy as np
from astropy import units as u

__all__ = ["check_beam", "check_distance", "check_length", "check_pixels"]


def check_distance(distance):
    """Return a distance in pc, or `None`; refuse what is none."""
    if distance is None:
        return None
    if getattr(distance, "distance", None) is not None:  # a SkyCoord is no distance
        msg = f"distance must be a Quantity such as 300 * u.pc, got {type(distance).__name__}"
        raise TypeError(msg)
    return check_length("distance", distance)


def check_length(name, value):
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
    """Return the FWHM of a beam as an angle, or `None`; refuse what is none."""
    if beam is None:
        return None
    if not isinstance(beam, u.Quantity):
        msg = f"beam must be a Quantity such as 18 * u.arcsec, got {beam!r}"
        raise TypeError(msg)
    if not beam.unit.is_equivalent(u.arcsec):
        msg = f"beam must be an angle (FWHM) such as 18 * u.arcsec, got {beam}"
        raise u.UnitConversionError(msg)
    if beam.size != 1 or not np.isfinite(beam).all() or not np.all(beam > 0):
        msg = f"beam must be one positive, finite angle (FWHM), got {beam}"
        raise ValueError(msg)
    return u.Quantity(float(np.squeeze(beam.to_value(u.arcsec))), u.arcsec)


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
