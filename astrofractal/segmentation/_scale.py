"""The map at the physical scale that the encoder knows."""

import warnings
from dataclasses import dataclass

import numpy as np
from astropy import units as u

from astrofractal.exceptions import AstrofractalWarning

__all__ = ["WorkingMap", "scale_factor", "working_map"]

#: Width of the sky that one window of the encoder shows.
FIELD = 0.5 * u.pc

# Pixels within this factor of the encoder's are taken as they are.
_TOLERANCE = 1.5
# Coarser maps are interpolated by no more than this: there is nothing between their pixels.
_MOST_UPSAMPLING = 6.0


@dataclass(frozen=True)
class WorkingMap:
    """
    The channels of a map on the pixels that the encoder sees.

    Parameters
    ----------
    array : 3D float32 `~numpy.ndarray`
        Channels as `astrofractal.GasMap.to_array` gives them.

    factor : float
        Width of a working pixel in pixels of the map.

    origin : tuple of float
        Lower edge (y, x) of the first working pixel in pixels of the map, whose own first pixel
        begins at 0.

    anchor : tuple of int
        Working pixel (y, x) at which a window of the encoder begins.
    """

    array: np.ndarray
    factor: float
    origin: tuple
    anchor: tuple

    def positions(self, features, shape):
        """Return rows and columns of the map's pixels in units of cells of ``features``."""
        return tuple(
            ((np.arange(n) + 0.5 - edge) / self.factor - first) / features.stride - 0.5
            for n, edge, first in zip(shape, self.origin, features.origin, strict=True)
        )


def scale_factor(gas, pixel_scale, image_size, *, quiet=False):
    """
    Return how many pixels of the map make one working pixel.

    Parameters
    ----------
    gas : `~astrofractal.GasMap`
        The map.

    pixel_scale : "auto", None or `~astropy.units.Quantity`
        What was asked for.

    image_size : int
        Side of the encoder's windows.

    quiet : bool, optional
        Whether to leave out the warning.

    Returns
    -------
    factor : float
        1 for a map that is taken as it is.
    """
    if pixel_scale is None:
        return 1.0
    if isinstance(pixel_scale, u.Quantity):
        return float((pixel_scale / gas.pixel_scale).to_value(u.one))
    if not gas.has_pixel_scale:
        return 1.0
    factor = float((FIELD / image_size / gas.pixel_scale).to_value(u.one))
    if 1 / _TOLERANCE <= factor <= _TOLERANCE:
        return 1.0
    if factor * _MOST_UPSAMPLING >= 1:
        return factor
    if not quiet:
        warnings.warn(
            f"the pixels of the map ({gas.pixel_scale:.3g}) are much wider than those of the "
            f"encoder ({FIELD / image_size:.3g}): the segments follow structures of "
            f"{image_size / _MOST_UPSAMPLING:.0f} pixels of the map, larger than those "
            "the encoder was made for",
            AstrofractalWarning,
            stacklevel=4,
        )
    return 1 / _MOST_UPSAMPLING


def _averaging(n_in, n_out, factor, origin):
    """Matrix of the overlaps of wide pixels with the map's pixels."""
    from scipy.sparse import csr_matrix

    rows, columns, values = [], [], []
    for row in range(n_out):
        low, high = origin + row * factor, origin + (row + 1) * factor
        index = np.arange(max(int(np.floor(low)), 0), min(int(np.ceil(high)), n_in))
        rows.append(np.full(len(index), row))
        columns.append(index)
        values.append(np.minimum(index + 1, high) - np.maximum(index, low))
    parts = [np.concatenate(part) for part in (values, rows, columns)]
    return csr_matrix((parts[0], (parts[1], parts[2])), shape=(n_out, n_in))


def _interpolating(n_in, n_out, factor, origin):
    """Matrix of linear interpolation between the centers of the map's pixels."""
    from scipy.sparse import csr_matrix

    position = np.clip(origin + (np.arange(n_out) + 0.5) * factor - 0.5, 0, n_in - 1)
    low = np.minimum(np.floor(position).astype(int), max(n_in - 2, 0))
    high = np.minimum(low + 1, n_in - 1)
    share = position - low
    rows = np.arange(n_out)
    return csr_matrix(
        (np.r_[1 - share, share], (np.r_[rows, rows], np.r_[low, high])), shape=(n_out, n_in)
    )


def _weighted(values, weights, by_rows, by_columns):
    """Weighted mean through both matrices, and the share of the area that had weight."""
    total = by_rows @ np.where(weights > 0, values * weights, 0) @ by_columns.T
    norm = by_rows @ weights @ by_columns.T
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(norm > 0, total / norm, np.nan), norm


def working_map(gas, array, factor):
    """
    Bring the channels of a map to the encoder's pixels.

    Wider pixels are averages over their area: N itself, velocities weighted by N, and a dispersion
    that takes up the spread of the velocities inside the pixel.  Narrower ones are interpolated
    linearly.  The grid is anchored to the WCS's reference pixel, so that maps cut from one map share
    it.

    Parameters
    ----------
    gas : `~astrofractal.GasMap`
        The map.

    array : 3D `~numpy.ndarray`
        Its channels.

    factor : float
        Width of a working pixel in pixels of the map.

    Returns
    -------
    working : `WorkingMap`
        The result.
    """
    anchor = (0, 0)
    if gas.wcs is not None:
        anchor = tuple(int(np.floor(value)) for value in gas.wcs.wcs.crpix[::-1])
    if factor == 1:
        return WorkingMap(array, 1.0, (0.0, 0.0), anchor)
    first = [int(np.floor(-point / factor)) for point in anchor]
    origin = tuple(point + n * factor for point, n in zip(anchor, first, strict=True))
    shape = [
        max(int(np.ceil((n - edge) / factor - 1e-9)), 1)
        for n, edge in zip(gas.shape, origin, strict=True)
    ]
    matrix = _averaging if factor > 1 else _interpolating
    rows, columns = (
        matrix(*sizes, factor, edge)
        for sizes, edge in zip(zip(gas.shape, shape, strict=True), origin, strict=True)
    )
    good = np.isfinite(array[0])
    log_column, velocity, dispersion = (np.where(np.isfinite(c), c, 0.0) for c in array)
    here = good.astype(float)
    _, share = _weighted(here, here, rows, columns)
    _, full = _weighted(np.ones_like(here), np.ones_like(here), rows, columns)
    result = np.empty((3, *shape), np.float32)
    if factor > 1:
        column = np.where(good, 10.0 ** (log_column - 22), 0)
        result[0] = np.log10(_weighted(column, here, rows, columns)[0]) + 22
        moving = np.where(np.isfinite(array[1]), column, 0)
        mean, _ = _weighted(velocity, moving, rows, columns)
        square, _ = _weighted(velocity**2, moving, rows, columns)
        spread = np.nan_to_num(np.clip(square - mean**2, 0, None))
        result[1] = mean
        wide = np.where(np.isfinite(array[2]), column, 0)
        result[2] = np.sqrt(_weighted(dispersion**2, wide, rows, columns)[0] + spread)
    else:
        for plane, values, channel in zip(
            result, (log_column, velocity, dispersion), array, strict=True
        ):
            plane[...] = _weighted(values, np.isfinite(channel) * 1.0, rows, columns)[0]
    result[:, share < 0.5 * full] = np.nan
    return WorkingMap(result, factor, origin, tuple(-n for n in first))
