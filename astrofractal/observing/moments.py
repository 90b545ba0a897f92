"""Moments of gas as sums that a beam may spread: the column density, N v and N (sigma^2 + v^2)."""

import numpy as np

__all__ = ["blur", "mean_velocity"]

#: A velocity is known where more than this part of the gas in the beam has one.
_KNOWN = 0.5


def blur(column, velocity, dispersion, spread):
    """
    Return the moments as seen through a beam.

    The column density is averaged by the beam; velocity and dispersion are the mean and the
    standard deviation of the line that is the sum, weighted by beam and column density, of the
    lines within the beam.  Gradients of the velocity within the beam thus add to the dispersion.

    Parameters
    ----------
    column, velocity, dispersion : `~numpy.ndarray`
        Channels of shape (..., ny, nx); NaN where unknown.

    spread : callable
        Convolves an array with the normalized beam, with zeros outside.

    Returns
    -------
    column, velocity, dispersion : `~numpy.ndarray`
        The same shapes; pixels that were NaN in ``column`` stay NaN.
    """
    known = np.isfinite(column)
    scale = np.nanmean(np.where(known, column, np.nan), axis=(-2, -1), keepdims=True)
    scale = np.where(np.isfinite(scale) & (scale > 0), scale, 1)
    n = np.where(known, column / scale, 0)
    weight = spread(known.astype(np.float64))
    total = spread(n)
    with np.errstate(invalid="ignore", divide="ignore"):
        new_column = np.where(known, total / weight * scale, np.nan)
        moving = known & np.isfinite(velocity)
        wide = moving & np.isfinite(dispersion)
        offset = mean_velocity(column, velocity)
        v = np.where(moving, velocity - offset, 0)
        both = np.where(moving, n, 0)
        moving_total = total if (moving == known).all() else spread(both)
        mean = spread(both * v) / moving_total
        enough = known & (moving_total >= _KNOWN * total) & np.isfinite(new_column)
        new_velocity = np.where(enough, mean + offset, np.nan)
        new_dispersion = np.full_like(new_column, np.nan)
        if np.isfinite(dispersion).any():
            # where the velocity is unknown throughout, its spread is left out
            only = known & np.isfinite(dispersion)
            blind = ~moving.any(axis=(-2, -1), keepdims=True)
            use = np.where(blind, only, wide)
            lines = np.where(use, n, 0)
            lines_total = spread(lines)
            square = spread(lines * np.where(use, dispersion**2 + v**2, 0)) / lines_total
            center = spread(lines * v) / lines_total
            enough = known & (lines_total >= _KNOWN * total) & np.isfinite(new_column)
            new_dispersion = np.where(enough, np.sqrt(np.maximum(square - center**2, 0)), np.nan)
    return new_column, new_velocity, new_dispersion


def mean_velocity(column, velocity):
    """Return the column-weighted mean velocity of each map, shape (..., 1, 1); 0 without any."""
    weight = np.where(np.isfinite(column) & np.isfinite(velocity), column, 0)
    total = weight.sum(axis=(-2, -1), keepdims=True)
    product = (weight * np.where(np.isfinite(velocity), velocity, 0)).sum(
        axis=(-2, -1), keepdims=True
    )
    return np.where(total > 0, product / np.where(total > 0, total, 1), 0)
