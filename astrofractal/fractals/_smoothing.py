"""Smoothing of accumulated points with a width that follows their density."""

import numpy as np

from astrofractal._utils.compiled import njit

__all__ = ["smooth"]

_f = np.float32
_A, _B, _C = _f(1 / 16), _f(4 / 16), _f(6 / 16)
_POINTS = _f(50)


@njit(nogil=True)
def _mirror(i, n):
    """Return the index inside of [0, n) that a mirror at the edges shows at ``i``."""
    period = 2 * n
    i = i % period
    return i if i < n else period - 1 - i


@njit(nogil=True, error_model="numpy")
def _combine(a, b, c, d, e, out):
    for i in range(out.size):
        out[i] = (_A * (a[i] + e[i]) + _B * (b[i] + d[i])) + _C * c[i]


@njit(nogil=True, error_model="numpy")
def _binomial(image, out, gap, between, row):
    """Convolve interleaved fields with (1, 4, 6, 4, 1) / 16, the taps ``gap`` pixels apart."""
    n, width = image.shape
    depth = width // n
    for y in range(n):
        a, b, c = image[_mirror(y - 2 * gap, n)], image[_mirror(y - gap, n)], image[y]
        d, e = image[_mirror(y + gap, n)], image[_mirror(y + 2 * gap, n)]
        _combine(a, b, c, d, e, between[y])
    shift = gap * depth
    for y in range(n):
        for x in range(-2 * gap, n + 2 * gap):
            at = _mirror(x, n)
            for k in range(depth):
                row[(x + 2 * gap) * depth + k] = between[y, at * depth + k]
        a, b, c = row[:width], row[shift : shift + width], row[2 * shift : 2 * shift + width]
        d, e = row[3 * shift : 3 * shift + width], row[4 * shift : 4 * shift + width]
        _combine(a, b, c, d, e, out[y])


@njit(nogil=True, error_model="numpy")
def _blend(fine, area, depth, out):
    """Go from ``out`` toward the finer level where its kernel holds enough points."""
    for y in range(out.shape[0]):
        for i in range(0, out.shape[1], depth):
            m = fine[y, i] * area
            w = m / (m + _POINTS)
            for j in range(i, i + depth):
                out[y, j] += w * (fine[y, j] - out[y, j])


def smooth(image):
    """
    Smooth accumulated points: narrowly where there are many of them, widely where there are few.

    Three binomial smoothings in a row, with taps 1, 2 and 4 pixels apart (standard deviations of 1,
    2.2 and 4.6 pixels), are blended from the widest to the narrowest; a narrower one takes over as
    the number of points under its kernel passes 50.

    Parameters
    ----------
    image : 3D `~numpy.ndarray` of float32
        Row, column, field; field 0 is the number of points.

    Returns
    -------
    smoothed : 3D `~numpy.ndarray` of float32
        The fields, all blended in the same way, so that their ratios stay means.
    """
    n, depth = image.shape[0], image.shape[2]
    between = np.empty((n, n * depth), np.float32)
    row = np.empty((n + 16) * depth, np.float32)
    levels = [np.ascontiguousarray(image, np.float32).reshape(n, n * depth)]
    for k in range(3):
        levels.append(np.empty((n, n * depth), np.float32))
        _binomial(levels[k], levels[k + 1], 1 << k, between, row)
    for k in (2, 1):
        # The kernel's effective area is 4 pi sigma**2; sigma**2 is 1 + 4 + ... .
        _blend(levels[k], _f(4 * np.pi) * _f((4**k - 1) // 3), depth, levels[3])
    return levels[3].reshape(n, n, depth)
