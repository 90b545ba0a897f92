"""What no map of gas in our neighborhood has: beams wider than the map, velocities of stars."""

import numpy as np
from astropy import units as u

from astrofractal._utils.validation import warn
from astrofractal.gasmap.wcs import central_solid_angle

__all__ = ["check_band", "check_line", "check_motions", "check_scale", "plausible_beam"]

#: Above these medians (km/s) numbers called km/s are mostly m/s.
_FASTEST = {"velocity": 1000.0, "dispersion": 100.0}

#: A beam of more pixels than this is wider than the map by an error of its unit.
_PIXELS_PER_BEAM = 100

#: Pixel scales that are given twice agree within this factor.
_SAME_SCALE = 1.01

#: Channels narrower than this (m/s) are not in use, nor narrow ones in a band narrower than this.
_NARROWEST, _NARROWEST_BAND = 2.0, 3000.0

#: Channels wider than this (km/s) do not resolve a line; wider bands hold several.
_WIDEST, _WIDEST_BAND = 100.0, 10_000.0


def plausible_beam(beam, wcs, shape, *, where="the map"):
    """Return a beam, or `None` with a warning where it is wider than the map."""
    if beam is None or wcs is None:
        return beam
    pixel = (np.sqrt(central_solid_angle(wcs, shape)) * u.rad).to(u.arcsec)
    width = max(shape) * pixel
    # a cutout may be smaller than a beam; NaN is where the projection does not reach
    if not beam.major > max(width, _PIXELS_PER_BEAM * pixel):
        return beam
    msg = (
        f"the beam of {where} is {beam.major.to(u.arcsec):.5g} wide, the map {width:.3g}: it is left "
        "out (BMAJ is in degrees); give beam=, its FWHM"
    )
    warn(msg)
    return None


def check_scale(scale, wcs, distance, shape):
    """Suspect a header whose PIXSCALE, DISTANCE and WCS do not fit together."""
    if scale is None:
        return
    expected = np.sqrt(central_solid_angle(wcs, shape)) * distance
    if not 1 / _SAME_SCALE < (scale / expected).to_value(u.one) < _SAME_SCALE:
        msg = (
            f"PIXSCALE of the header is {scale:.4g}, but its WCS and DISTANCE give {expected:.4g}, "
            "which is used: give distance= if that is wrong"
        )
        warn(msg)


def check_motions(arrays):
    """Refuse dispersions, and suspect velocities, that are too large for km/s."""
    # arrays of a name: 2D, in km/s
    for name, fastest in _FASTEST.items():
        values = np.abs(arrays[name]) if arrays.get(name) is not None else np.array([])
        values = values[np.isfinite(values)]
        median = np.median(values) if values.size else 0.0
        if median <= fastest:
            continue
        msg = f"{name} has a median of {median:.4g} km/s, too much for gas: is it in m/s? "
        if name == "dispersion":
            msg += "Give its unit, as in unit={'dispersion': 'm/s'}"
            raise u.UnitsError(msg)
        msg += "Then give its unit, as in unit={'velocity': 'm/s'}"
        warn(msg)


def check_band(axis, *, unit_card, stated, where):
    """Refuse a spectral axis whose numbers cannot be in the unit that they are read in."""
    # axis: 1D Quantity, a velocity, frequency or wavelength of each channel
    low, high = np.sort(np.abs(u.Quantity([axis[0], axis[-1]])))
    set_unit = f"set {unit_card} in its header, e.g. to "
    problem = None
    if axis.unit.is_equivalent(u.m / u.s):
        width = np.abs(np.median(np.diff(axis.to_value(u.m / u.s))))
        band = width * axis.size
        unclear = width < 10 or (width < 50 and band < _NARROWEST_BAND)
        if width < _NARROWEST or (unclear and not stated):
            problem = f"its channels would be {width:g} m/s wide (a band of {band:g} m/s)"
            set_unit += "'km/s'"
    elif axis.unit.is_equivalent(u.Hz) and high < 1 * u.MHz:
        problem = f"its frequencies would be {high:g}"
        set_unit += "'GHz'"
    elif axis.unit.is_equivalent(u.m) and low > 100 * u.m:
        problem = f"its wavelengths would be {low:g}"
        set_unit += "'Angstrom'"
    if problem:
        missing = "" if stated else f"no {unit_card}, and "
        msg = f"{where} has {missing}{'' if missing else 'a wrong unit: '}{problem}: {set_unit}"
        raise ValueError(msg)


def check_line(velocity, *, velocity_range, where="cube"):
    """Refuse a band that is no line: one of a continuum, or one of many lines."""
    # velocity: 1D, km/s
    width = np.median(np.abs(np.diff(velocity)))
    band = np.ptp(velocity)
    if width > _WIDEST:
        msg = (
            f"{where} has channels that are {width:.4g} km/s wide, which resolve no line of cold gas: "
            "it is a cube of a continuum, or its rest frequency is that of another line"
        )
        raise ValueError(msg)
    if band > _WIDEST_BAND and velocity_range is None:
        msg = (
            f"{where} spans {band:.4g} km/s, which holds more than one line: give velocity_range=, "
            "the velocities of the line, and subtract a continuum before"
        )
        raise ValueError(msg)
