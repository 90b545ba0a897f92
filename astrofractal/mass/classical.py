"""Classical estimates of a mass: the virial mass, and the gas in an aperture."""

from __future__ import annotations

import numpy as np
from astropy import constants, units

from astrofractal.gasmap import column_to_mass
from astrofractal.mass.profiles import normalized_radius, weighted_mean

__all__ = ["aperture_mass", "virial_mass"]


def virial_mass(
    images: np.ndarray, pixel_scale: units.Quantity, *, radius: units.Quantity = 0.1 * units.pc
) -> units.Quantity:
    r"""
    Estimate the virial mass, the classical estimate that the method replaces.

    :math:`M = 5 \sigma^2 R / G` of a uniform sphere (Bertoldi & McKee 1992,
    `doi:10.1086/171638 <https://doi.org/10.1086/171638>`_), where :math:`\sigma^2` adds the
    column-weighted mean square of the velocity dispersion to the variance of the line-of-sight
    velocity within the radius.

    Parameters
    ----------
    images : 4D `~numpy.ndarray`, shape (n_maps, 3, ny, nx)
        The model's channels.

    pixel_scale : `~astropy.units.Quantity`
        The width of a pixel.

    radius : `~astropy.units.Quantity`, optional
        The radius of the sphere.

    Returns
    -------
    mass : `~astropy.units.Quantity`
        One mass per map; NaN without velocities.

    Examples
    --------
    >>> from astrofractal.mapset import reference_maps
    >>> from astrofractal.mass import virial_mass
    >>> maps = reference_maps()[:2]
    >>> print(virial_mass(maps.images, maps.pixel_scale).round(1))
    [22.8 24. ] solMass
    """
    log_n, velocity, dispersion = _in_aperture(images, pixel_scale, radius)
    column = np.where(np.isfinite(log_n), 10 ** (np.nan_to_num(log_n) - 22), 0)
    mean = weighted_mean(velocity, column)[:, None]
    variance = weighted_mean((velocity - mean) ** 2, column) + weighted_mean(dispersion**2, column)
    sigma2 = variance * (units.km / units.s) ** 2
    return (5 * sigma2 * radius / constants.G).to(units.solMass)


def aperture_mass(
    images: np.ndarray, pixel_scale: units.Quantity, *, radius: units.Quantity = 0.1 * units.pc
) -> units.Quantity:
    """
    Sum the gas mass in a round aperture around the protostar.

    Parameters
    ----------
    images : 4D `~numpy.ndarray`, shape (n_maps, 3, ny, nx)
        The model's channels.

    pixel_scale : `~astropy.units.Quantity`
        The width of a pixel.

    radius : `~astropy.units.Quantity`, optional
        The radius of the aperture.

    Returns
    -------
    mass : `~astropy.units.Quantity`
        One mass per map, of the pixels that have data.

    Examples
    --------
    >>> from astrofractal.mapset import reference_maps
    >>> from astrofractal.mass import aperture_mass
    >>> maps = reference_maps()[:2]
    >>> print(aperture_mass(maps.images, maps.pixel_scale).round(1))
    [27.7 35.3] solMass
    """
    log_n = _in_aperture(images, pixel_scale, radius)[0]
    column = np.nansum(10**log_n, axis=1) / units.cm**2
    return column_to_mass(column, pixel_scale**2).to(units.solMass)


def _in_aperture(images, pixel_scale, radius):
    """Return the channels of the pixels within the radius, shape (3, n_maps, n_pixels)."""
    images = np.asarray(images, dtype=float)
    shape = images.shape[2:]
    width = max(shape) * units.Quantity(pixel_scale)
    inside = normalized_radius(shape) * (width / 2) <= radius
    if not inside.any():
        msg = f"radius must be larger than half a pixel ({pixel_scale / 2:.3g}), got {radius}"
        raise ValueError(msg)
    return np.moveaxis(images[:, :, inside], 1, 0)
