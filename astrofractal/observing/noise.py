"""Noise of a stated level in column density, velocity and dispersion."""

import numpy as np
from astropy import units as u

from astrofractal.gasmap.units import to_column_density, to_velocity

__all__ = ["add_noise", "column_level", "velocity_level"]


def column_level(noise):
    """
    Return the level of the noise in column density as (absolute in cm-2, relative).

    Parameters
    ----------
    noise : `~astropy.units.Quantity`, float or `None`
        Standard deviation: a column density, or a fraction of each pixel's value.
    """
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
    """
    Return channels with noise.

    Parameters
    ----------
    channels : tuple of `~numpy.ndarray`
        Column density (cm-2), velocity and dispersion (km/s).

    levels : tuple
        What `column_level` gives, and two of `velocity_level`.

    random : tuple of `~numpy.ndarray`
        Normal deviates of variance 1, for each channel.

    Returns
    -------
    channels : tuple of `~numpy.ndarray`
        A dispersion does not fall below 0; column densities may.
    """
    column, velocity, dispersion = channels
    (absolute, relative), velocity_noise, dispersion_noise = levels
    column = column + random[0] * np.hypot(absolute, relative * column)
    velocity = velocity + random[1] * velocity_noise
    if dispersion_noise:
        dispersion = np.maximum(dispersion + random[2] * dispersion_noise, 0)
    return column, velocity, dispersion
