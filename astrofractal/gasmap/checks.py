"""Checks of arguments, and of values that no gas in our neighborhood has."""

from numbers import Number

import numpy as np
from astropy import units as u
from radio_beam import Beam

from astrofractal._utils.validation import warn
from astrofractal.gasmap.units import typical
from astrofractal.gasmap.wcs import central_solid_angle


def plausible_beam(beam, wcs, shape, *, where="the map"):
    """Return a beam, or `None` with a warning where it is wider than the map."""
    if beam is None or wcs is None:
        return beam
    pixel = (np.sqrt(central_solid_angle(wcs, shape)) * u.rad).to(u.arcsec)
    width = max(shape) * pixel
    # a cutout may be smaller than a beam, of up to 100 pixels; NaN is beyond the projection
    if not beam.major > max(width, 100 * pixel):
        return beam
    wide = f"{beam.major.to(u.arcsec):.5g} wide, the map {width:.3g}"
    warn(f"the beam of {where} is {wide}: it is left out (BMAJ is in degrees); give beam=")
    return None


def same_scale(one, other):
    """Return whether two pixel scales agree within 1 %."""
    return 1 / 1.01 < (one / other).to_value(u.one) < 1.01


def check_scale(scale, wcs, distance, shape):
    """Suspect a header whose PIXSCALE, DISTANCE and WCS do not fit together."""
    if scale is None:
        return
    expected = np.sqrt(central_solid_angle(wcs, shape)) * distance
    if not same_scale(scale, expected):
        given = f"WCS and DISTANCE give {expected:.4g}, which is used"
        warn(f"PIXSCALE of the header is {scale:.4g}, but its {given}")


def check_motions(arrays):
    """Refuse dispersions, and suspect velocities, that are too large for km/s."""
    # arrays of a name: 2D, in km/s
    for name, fastest in (("velocity", 1000), ("dispersion", 100)):
        median = np.nan if arrays.get(name) is None else typical(np.abs(arrays[name]))
        if not median > fastest:
            continue
        remedy = f"is it in m/s? Then give its unit, as in unit={{{name!r}: 'm/s'}}"
        msg = f"{name} has a median of {median:.4g} km/s, too much for gas: {remedy}"
        if name == "dispersion":
            raise u.UnitsError(msg)
        warn(msg)


def check_band(axis, *, unit_card, stated, where):
    """Refuse a spectral axis whose numbers cannot be in the unit that they are read in."""
    # axis: 1D Quantity, a velocity, frequency or wavelength of each channel
    low, high = np.sort(np.abs(u.Quantity([axis[0], axis[-1]])))
    problem = unit = None
    if axis.unit.is_equivalent(u.m / u.s):
        width = np.abs(np.median(np.diff(axis.to_value(u.m / u.s))))
        band = width * axis.size
        unclear = width < 10 or (width < 50 and band < 3000)
        if width < 2 or (unclear and not stated):
            problem = f"its channels would be {width:g} m/s wide (a band of {band:g} m/s)"
            unit = "km/s"
    elif axis.unit.is_equivalent(u.Hz) and high < 1 * u.MHz:
        problem, unit = f"its frequencies would be {high:g}", "GHz"
    elif axis.unit.is_equivalent(u.m) and low > 100 * u.m:
        problem, unit = f"its wavelengths would be {low:g}", "Angstrom"
    if problem:
        fault = "a wrong unit: " if stated else f"no {unit_card}, and "
        msg = f"{where} has {fault}{problem}: set {unit_card} in its header, e.g. to {unit!r}"
        raise ValueError(msg)


def check_line(velocity, *, velocity_range):
    """Refuse a band that is no line: one of a continuum, or one of many lines."""
    # velocity: 1D, km/s
    width = np.median(np.abs(np.diff(velocity)))
    band = np.ptp(velocity)
    if width > 100:
        msg = f"cube has channels that are {width:.4g} km/s wide: is it of a continuum?"
        raise ValueError(msg)
    if band > 10_000 and velocity_range is None:
        msg = f"cube spans {band:.4g} km/s, more than one line: give velocity_range= of one"
        raise ValueError(msg)


def check_quantity(name, value, units, example, *, what="a Quantity", one=False):
    """Return positive numbers (or ``one``) in one of some units, if any are given; refuse the rest."""
    if not isinstance(value, u.Quantity):
        msg = f"{name} must be a Quantity such as {example}, got {value!r}"
        raise TypeError(msg)
    units = units if isinstance(units, tuple) else (units,)
    if units != (None,) and not any(value.unit.is_equivalent(unit) for unit in units):
        msg = f"{name} must be {what} such as {example}, got {value}"
        raise u.UnitConversionError(msg)
    numbers = np.asarray(value.value)
    if one and (numbers.size != 1 or not np.isfinite(numbers).all() or not (numbers > 0).all()):
        msg = f"{name} must be one positive, finite {what.partition(' ')[2]}, got {value}"
        raise ValueError(msg)
    if not (numbers > 0).any() or (numbers <= 0).any():
        msg = f"{name} must be positive, got {value}"
        raise ValueError(msg)
    return value


def check_length(name, value):
    """Return a length in pc, or `None`; refuse what is not a positive length."""
    if value is None:
        return None
    check_quantity(name, value, u.pc, "300 * u.pc", what="a length", one=True)
    return float(np.squeeze(value.to_value(u.pc))) * u.pc


def check_beam(beam):
    """Return a `~radio_beam.Beam`, round where ``beam`` is a FWHM, or `None`; refuse the rest."""
    if beam is None:
        return None
    if isinstance(beam, Beam):
        for width in (beam.major, beam.minor):
            check_quantity("beam", width, u.arcsec, "18 * u.arcsec", what="a FWHM", one=True)
        return beam
    check_quantity("beam", beam, u.arcsec, "18 * u.arcsec", what="an angle (FWHM)", one=True)
    return Beam(np.squeeze(beam).to(u.arcsec))


def need_wcs(gas, what):
    """Refuse a map without WCS for something that needs one."""
    if gas.wcs is None:
        msg = f"the map has no WCS, and {what} needs a WCS: give (data, wcs) or pixel_scale="
        raise ValueError(msg)


def need_distance(gas, what):
    """Refuse a map without distance for something that needs it."""
    if gas.distance is None:
        msg = f"the map has no distance, and {what} needs the distance: give distance=, e.g. 300 * u.pc"
        raise ValueError(msg)


def in_pixels(name, width, *, length=None, angle=None, distance=None):
    """Return a length, an angle or a number of pixels in pixels of a length or an angle."""
    what = "a length or an angle"
    check_quantity(name, width, (u.pc, u.rad, u.pix), "18 * u.arcsec", what=what)
    if width.unit == u.pix:
        return width.value
    is_angle = width.unit.is_equivalent(u.rad)
    if is_angle and angle is not None:
        return (width / angle).to_value(u.one)
    if length is None or (is_angle and distance is None):
        msg = f"{name} is {width}, which in pixels needs the distance: give distance="
        raise ValueError(msg)
    if is_angle:
        width = width.to_value(u.rad) * distance
    return (width / length).to_value(u.one)


def check_pixels(name, value):
    """Return pixel positions as floats; refuse quantities and words."""
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        array = None
    if array is None or isinstance(value, u.Quantity | str | Number):
        msg = f"{name} must be a SkyCoord or pixels (x, y), got {value!r}"
        raise TypeError(msg)
    return array
