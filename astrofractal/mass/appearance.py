"""What a map looks like to the eye: the numbers that tell a gas map from a photograph."""

import numpy as np

from .handcrafted import _batched, _deviation, _weighted

__all__ = ["appearance"]


@_batched
def appearance(images):
    """
    Describe level, contrast and smoothness of each channel.

    Parameters
    ----------
    images : 4D `~numpy.ndarray`, shape (n_maps, 3, ny, nx)
        The model's channels; NaN where there is no data.

    Returns
    -------
    appearance : 2D float32 `~numpy.ndarray`, shape (n_maps, 10)
        For each channel its level (mean; none for the velocity, which is centred), the logarithm
        of its standard deviation and the logarithm of its roughness, the mean square difference of
        neighbouring pixels relative to twice the variance (1 for white noise); for the column
        density also its contrast of centre and border and its skewness.  NaN where absent.
    """
    n, _, ny, nx = images.shape
    quarter = np.zeros((ny, nx), dtype=bool)
    quarter[ny // 4 : ny - ny // 4, nx // 4 : nx - nx // 4] = True
    columns = []
    for c in range(3):
        values = images[:, c].reshape(n, -1)
        if c == 0:
            values = values - 22  # keeps float32 sums exact
        good = np.isfinite(values)
        deviation = _deviation(values)
        std = np.sqrt(_weighted(deviation**2, good))
        cube = deviation.reshape(n, ny, nx)
        steps = [np.diff(cube, axis=axis).reshape(n, -1) ** 2 for axis in (1, 2)]
        step = sum(_weighted(s, np.isfinite(s)) for s in steps) / 4
        if c != 1:
            columns.append(_weighted(values, good))
        columns.append(np.log10(std + 0.01))
        columns.append(np.log10((step + 1e-5) / (std**2 + 1e-4)))
        if c == 0:
            inner = quarter.ravel()
            columns.append(
                _weighted(deviation[:, inner], good[:, inner])
                - _weighted(deviation[:, ~inner], good[:, ~inner])
            )
            columns.append(_weighted((deviation / (std[:, None] + 0.01)) ** 3, good))
    return np.stack(columns, axis=1).astype(np.float32)
