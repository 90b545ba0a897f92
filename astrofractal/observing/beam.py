"""The beam: an elliptical Gaussian, and what it does to moments."""

from __future__ import annotations

import numpy as np
from astropy import units as u
from astropy.convolution import Gaussian2DKernel
from astropy.stats import gaussian_fwhm_to_sigma
from radio_beam import Beam

from astrofractal.gasmap.moments import transform
from astrofractal.gasmap.units import to_column_density, to_velocity

__all__ = ["add_noise", "beam_kernel", "blurred", "column_level", "parse_beam", "velocity_level"]

#: A kernel whose sigma is below this many pixels changes nothing that the grid could show.
_NO_SIGMA = 0.1


def parse_beam(beam):
    """Return the beam as (major, minor, position angle), or `None`."""
    if beam is None:
        return None
    if isinstance(beam, Beam):
        beam = (beam.major, beam.minor, beam.pa)
    parts = beam if isinstance(beam, tuple | list) else (beam, beam, 0 * u.deg)
    if len(parts) == 3 and all(isinstance(part, u.Quantity) and part.isscalar for part in parts):
        major, minor, angle = parts
        if major.unit.is_equivalent(minor.unit) and angle.unit.is_equivalent(u.deg):
            if not (np.isfinite(major) and minor.value > 0 and major >= minor):
                msg = f"beam must have axes of positive FWHM, the major one first, got {beam}"
                raise ValueError(msg)
            return major, minor.to(major.unit), angle.to(u.deg)
    msg = (
        "beam must be a FWHM such as 18 * u.arcsec, or (major, minor, position angle), got "
        f"{beam!r}"
    )
    raise TypeError(msg)


def to_length(name, value, *, distance, pixel_scale=None):
    """Return a length, an angle seen from a distance, or pixels as a length in pc."""
    if value.unit.is_equivalent(u.pc):
        return value.to(u.pc)
    if value.unit.is_equivalent(u.rad):
        if distance is None:
            msg = f"{name} is an angle, {value}, which needs the distance: give distance="
            raise ValueError(msg)
        return value.to_value(u.rad) * distance.to(u.pc)
    if value.unit == u.pix and pixel_scale is not None:
        return value.value * pixel_scale
    msg = f"{name} must be an angle or a length such as 18 * u.arcsec or 0.02 * u.pc, got {value}"
    raise u.UnitConversionError(msg)


def beam_kernel(
    major: float, minor: float | None = None, angle: u.Quantity = 90 * u.deg
) -> Gaussian2DKernel | None:
    """
    Return the kernel of a Gaussian beam.

    Parameters
    ----------
    major : float
        FWHM along the major axis in pixels.

    minor : float, optional
        FWHM along the minor axis in pixels; by default that of the major axis.

    angle : `~astropy.units.Quantity`, optional
        Direction of the major axis, counter-clockwise from the x axis of the pixels.

    Returns
    -------
    kernel : `~astropy.convolution.Gaussian2DKernel` or `None`
        The kernel, normalized; `None` for a beam that the pixels do not resolve at all.

    Examples
    --------
    >>> from astrofractal.observing import beam_kernel
    >>> kernel = beam_kernel(4.0)
    >>> print(f"{kernel.array.sum():.3f}")
    1.000
    """
    minor = major if minor is None else minor
    sigmas = [max(width, 0.0) * gaussian_fwhm_to_sigma for width in (major, minor)]
    if sigmas[0] < _NO_SIGMA:
        return None
    sigmas = [max(sigma, _NO_SIGMA) for sigma in sigmas]
    size = 2 * int(np.ceil(5 * sigmas[0])) + 1
    # sampled at the center, narrow Gaussians would lose their width
    mode = "center" if sigmas[1] > 0.7 else "oversample"
    kernel = Gaussian2DKernel(
        *sigmas, theta=angle.to_value(u.rad), x_size=size, y_size=size, mode=mode
    )
    kernel.normalize()
    return kernel


def blurred(column, velocity, dispersion, spread):
    """Return channels as seen through a beam; pixels without column density stay without."""
    # column, velocity, dispersion (..., ny, nx)
    known = np.isfinite(column)
    channels = transform(column, velocity, dispersion, spread, full=0.0)
    return tuple(np.where(known, channel, np.nan) for channel in channels)


def column_level(noise):
    """Return the level of the noise in column density as (absolute in cm-2, relative)."""
    if noise is None:
        return 0.0, 0.0
    if isinstance(noise, u.Quantity) and noise.unit != u.one:
        level = to_column_density(noise, name="noise")
        return _level("noise", level.value), 0.0
    try:
        fraction = float(noise)
    except (TypeError, ValueError):
        msg = f"noise must be a column density or a fraction, got {noise!r}"
        raise TypeError(msg) from None
    return 0.0, _level("noise", fraction)


def velocity_level(name, noise):
    """Return the level of the noise in a velocity in km/s."""
    if noise is None:
        return 0.0
    if not isinstance(noise, u.Quantity):
        msg = f"{name} must be a velocity such as 0.05 * u.km / u.s, got {noise!r}"
        raise TypeError(msg)
    return _level(name, to_velocity(noise, name=name).value)


def _level(name, value):
    if np.ndim(value) or not (np.isfinite(value) and value >= 0):
        msg = f"{name} must be one number that is not negative, got {value}"
        raise ValueError(msg)
    return float(value)


def add_noise(channels, levels, random):
    """Return channels with noise."""
    # channels in cm-2
    column, velocity, dispersion = channels
    (absolute, relative), velocity_noise, dispersion_noise = levels
    column = column + random[0] * np.hypot(absolute, relative * column)
    velocity = velocity + random[1] * velocity_noise
    if dispersion_noise:
        dispersion = np.maximum(dispersion + random[2] * dispersion_noise, 0)
    return column, velocity, dispersion
