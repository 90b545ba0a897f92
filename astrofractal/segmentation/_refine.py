"""From cells of features to pixels: upsampling guided by the map itself."""

import numpy as np

__all__ = ["block_means", "guided_rows"]


def block_means(array, origin, stride, shape):
    """
    Average the good pixels of each cell.

    Parameters
    ----------
    array : 3D `~numpy.ndarray`, shape (n_channels, height, width)
        Values; NaN where there is no data.

    origin : tuple of int
        Pixel index (y, x) of the first pixel of the first cell; zero or negative.

    stride : int
        Side of a cell in pixels.

    shape : tuple of int
        Rows and columns of cells.

    Returns
    -------
    means : 3D float32 `~numpy.ndarray`, shape (n_channels, rows, columns)
        NaN where a cell has no good pixel.
    """
    means = np.empty((len(array), *shape), np.float32)
    before = [-start for start in origin]
    after = [
        n * stride - first - length
        for n, first, length in zip(shape, before, array.shape[1:], strict=True)
    ]
    for channel, mean in zip(array, means, strict=True):
        padded = np.pad(
            channel, list(zip(before, after, strict=True)), constant_values=np.nan
        ).reshape(shape[0], stride, shape[1], stride)
        good = np.isfinite(padded)
        count = good.sum((1, 3))
        total = np.where(good, padded, 0).sum((1, 3), dtype=np.float32)
        mean[...] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return means


def _neighbors(positions, n_cells):
    """Return the three nearest cells of each position and their quadratic B-spline weights."""
    nearest = np.rint(positions).astype(np.intp)
    t = (positions - nearest).astype(np.float32)
    weights = np.stack([(0.5 - t) ** 2 / 2, 0.75 - t**2, (0.5 + t) ** 2 / 2])
    index = nearest + np.arange(-1, 2)[:, None]
    weights *= (index >= 0) & (index < n_cells)
    return np.clip(index, 0, n_cells - 1), weights


def guided_rows(values, valid, cell_guide, guide, positions, *, sharpness, block=65536):
    """
    Yield bands of rows of features on the pixel grid.

    A pixel takes the mean of the 3 x 3 cells around it, weighted by a quadratic B-spline of their
    distance and by a Gaussian of the difference between the pixel and the mean of the cell in the
    guide (joint bilateral upsampling, Kopf et al. 2007): features do not leak over an edge that
    the map itself shows.

    Parameters
    ----------
    values : 3D `~numpy.ndarray`, shape (rows, columns, n_components)
        Features of the cells.

    valid : 2D bool `~numpy.ndarray`
        Which cells have features.

    cell_guide : 3D `~numpy.ndarray`, shape (n_channels, rows, columns)
        Mean of the guide in the cells.

    guide : 3D `~numpy.ndarray`, shape (n_channels, height, width)
        The guide on the pixel grid; NaN where a channel has no data.

    positions : tuple of 1D `~numpy.ndarray`
        Position of each row and of each column of pixels in units of cells, 0 at the center of the
        first cell.

    sharpness : float
        Standard deviation of the Gaussian in the units of ``guide``.

    block : int, optional
        Number of pixels worked on at once.

    Yields
    ------
    rows : slice
        The rows of the band.

    features : 3D float32 `~numpy.ndarray`, shape (n_rows, width, n_components)
        The features; zero where there are none.

    found : 2D bool `~numpy.ndarray`
        Which pixels have features.
    """
    height, width = guide.shape[1:]
    y_index, y_weight = _neighbors(positions[0], values.shape[0])
    x_index, x_weight = _neighbors(positions[1], values.shape[1])
    planes = np.ascontiguousarray(np.moveaxis(values, -1, 0), dtype=np.float32)
    exponent = np.float32(-0.5 / sharpness**2)
    weak = np.float32(1e-6)  # a pixel unlike all of its cells still takes their mean
    known = valid.astype(np.float32)
    low = np.where(np.isfinite(cell_guide), cell_guide, 0).astype(np.float32)
    n_rows = max(block // width, 1)
    for start in range(0, height, n_rows):
        rows = slice(start, min(start + n_rows, height))
        high = guide[:, rows]
        missing = [bool(np.isnan(channel).any()) for channel in high]
        total = np.zeros((len(planes), high.shape[1], width), np.float32)
        norm = np.zeros(high.shape[1:], np.float32)
        for y, wy in zip(y_index[:, rows], y_weight[:, rows], strict=True):
            low_y, known_y, planes_y = low[:, y], known[y], planes[:, y]
            for x, wx in zip(x_index, x_weight, strict=True):
                distance = np.zeros_like(norm)
                for channel, cell, has_gaps in zip(high, low_y, missing, strict=True):
                    difference = channel - cell[:, x]
                    difference *= difference
                    if has_gaps:
                        difference[np.isnan(difference)] = 0
                    distance += difference
                distance *= exponent
                weight = np.exp(distance, out=distance)
                weight += weak
                weight *= wy[:, None]
                weight *= wx * known_y[:, x]
                norm += weight
                for plane, source in zip(total, planes_y, strict=True):
                    plane += weight * source[:, x]
        found = norm > 0
        total /= np.where(found, norm, 1)
        yield rows, np.moveaxis(total, 0, -1), found
