"""What a map looks like to the eye: the numbers that tell a gas map from a photograph."""

from __future__ import annotations

import numpy as np

from astrofractal.mass.profiles import batched

__all__ = ["CONTRAST", "appearance"]

#: Where the contrast of center and border is among the numbers.
CONTRAST = 3

#: Dense gas alone looks otherwise than a whole map does: a channel that is known in a smaller part of
#: the column density's pixels is not described.  By its description 78 and 51 % of the maps of 402
#: protostars with velocities in their densest 5 and 10 % were out of distribution, and their
#: intervals too wide; by their features 14 and 8 % are, and 68 % intervals hold 70 and 73 %.
_LEAST_PART = 0.5


@batched
def appearance(images: np.ndarray) -> np.ndarray:
    """
    Describe level, contrast and smoothness of each channel.

    Parameters
    ----------
    images : 4D `~numpy.ndarray`, shape (n_maps, 3, ny, nx)
        The model's channels; NaN where there is no data.

    Returns
    -------
    appearance : 2D float32 `~numpy.ndarray`, shape (n_maps, 10)
        For each channel its level (mean; none for the velocity, which is centered), the logarithm
        of its standard deviation and the logarithm of its roughness, the mean square difference of
        neighboring pixels relative to twice the variance (1 for white noise); for the column
        density also its contrast of center and border and its skewness.  NaN where a channel is
        absent or known in less than half of the column density's pixels; the contrast where the
        center or the border has no data.
    """
    ny, nx = images.shape[2:]
    inner = (slice(None), slice(ny // 4, ny - ny // 4), slice(nx // 4, nx - nx // 4))
    columns = []
    n_known = np.isfinite(images[:, 0]).sum((1, 2))
    for c in range(3):
        first = len(columns)
        cube = images[:, c] - np.float32(22 if c == 0 else 0)  # keeps float32 sums exact
        good = np.isfinite(cube)
        if good.all():
            good = None
        level = _mean(cube, good)
        cube = cube - level[:, None, None]
        if good is not None:
            cube[~good] = 0
        std = np.sqrt(_mean(cube, good, power=2))
        if c != 1:
            columns.append(level)
        columns.append(np.log10(std + 0.01))
        step = 0
        for one, two in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[:, :, 1:], np.s_[:, :, :-1])):
            both = None if good is None else good[one] & good[two]
            step = step + _mean(cube[one] - cube[two], both, power=2) / 4
        columns.append(np.log10((step + 1e-5) / (std**2 + 1e-4)))
        if c == 0:
            columns.append(_contrast(cube, good, inner))
            columns.append(_mean(cube, good, power=3) / (std + 0.01) ** 3)
        elif good is not None:
            sparse = good.sum((1, 2)) < _LEAST_PART * n_known
            columns[first:] = [np.where(sparse, np.nan, values) for values in columns[first:]]
    return np.stack(columns, axis=1).astype(np.float32)


def _mean(cube, good, power=1):
    """Mean of a power over the good pixels of each map; `None`: all are good."""
    if good is not None:
        cube = np.where(good, cube, 0)
    if power == 1:
        total = cube.sum((1, 2))
    else:
        total = np.einsum("ijk,ijk->i", cube * cube if power == 3 else cube, cube)
    with np.errstate(invalid="ignore", divide="ignore"):
        return total / (cube[0].size if good is None else good.sum((1, 2)))


def _contrast(cube, good, inner):
    """Mean over the central quarter minus the mean over the rest."""
    known = np.ones(cube.shape, bool) if good is None else good
    n_inner, n_all = known[inner].sum((1, 2)), known.sum((1, 2))
    total_inner, total = cube[inner].sum((1, 2)), cube.sum((1, 2))
    n_outer = n_all - n_inner
    contrast = total_inner / np.maximum(n_inner, 1) - (total - total_inner) / np.maximum(n_outer, 1)
    return np.where((n_inner > 0) & (n_outer > 0), contrast, np.nan)
