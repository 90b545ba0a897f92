"""The smallest area of an island, in whatever unit it was given."""

import numbers

import numpy as np
from astropy import units as u

__all__ = ["area_in_pixels", "check_area"]


def check_area(min_area):
    """
    Check an area given in pixels, pc2, a solid angle or beams.

    Parameters
    ----------
    min_area : `None`, number or `~astropy.units.Quantity`
        The area.

    Raises
    ------
    ValueError, TypeError, astropy.units.UnitConversionError
        If it is none of these.
    """
    if min_area is None:
        return
    value = min_area
    if isinstance(min_area, u.Quantity):
        if not any(
            min_area.unit.is_equivalent(unit) for unit in (u.pc**2, u.sr, u.beam, u.pix, u.one)
        ):
            msg = f"min_area must be pixels, an area, a solid angle or beams, got {min_area}"
            raise u.UnitConversionError(msg)
        value = min_area.value
    elif isinstance(min_area, bool) or not isinstance(min_area, numbers.Real):
        msg = f"min_area must be a number of pixels or a Quantity, got {min_area!r}"
        raise TypeError(msg)
    if np.ndim(value) or not np.isfinite(value) or value < 0:
        msg = f"min_area must be one area of at least 0, got {min_area!r}"
        raise ValueError(msg)


def area_in_pixels(area, gas):
    """
    Return an area in pixels of a map.

    Parameters
    ----------
    area : float or `~astropy.units.Quantity`
        The area.

    gas : `~astrofractal.GasMap`
        The map.

    Returns
    -------
    n_pixels : float
        The area in pixels.

    Raises
    ------
    ValueError
        If the map lacks the WCS, the distance or the beam that this needs.
    """
    if not isinstance(area, u.Quantity):
        return float(area)
    unit = area.unit
    if unit.is_equivalent(u.pc**2):
        return float((area / gas.pixel_area).to_value(u.one))
    if unit.is_equivalent(u.beam):
        if gas.beam is None:
            msg = (
                f"min_area={area} needs the beam, the map has none: give beam=, e.g. 18 * u.arcsec"
            )
            raise ValueError(msg)
        return float((area.to_value(u.beam) * gas.beam.sr / gas.pixel_solid_angle).to_value(u.one))
    if unit.is_equivalent(u.sr) and not unit.is_equivalent(u.one):
        return float((area / gas.pixel_solid_angle).to_value(u.one))
    return float(area.value)
