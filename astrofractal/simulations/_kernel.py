"""The column of the M4 cubic spline, as the cumulative table that the projection looks up."""

from functools import lru_cache

import numpy as np

__all__ = ["column_kernel", "cumulative_table"]

_N_TABLE = 256


def _cubic_spline(q):
    """Three-dimensional M4 kernel for a smoothing length of one (Monaghan & Lattanzio 1985)."""
    inner = 1 - 1.5 * q**2 + 0.75 * q**3
    outer = 0.25 * np.clip(2 - q, 0, None) ** 3
    return np.where(q < 1, inner, outer) / np.pi


def column_kernel(q):
    """Column of a particle of unit mass and unit smoothing length."""
    q = np.asarray(q, dtype=float)
    # Gauss-Legendre on each polynomial piece of the kernel along the line
    nodes, weights = np.polynomial.legendre.leggauss(24)
    outer = np.sqrt(np.clip(4 - q**2, 0, None))
    inner = np.sqrt(np.clip(1 - q**2, 0, None))
    total = np.zeros_like(q)
    for low, high in ((np.zeros_like(q), inner), (inner, outer)):
        half = (high - low) / 2
        z = low[..., None] + half[..., None] * (nodes + 1)
        total += half * (_cubic_spline(np.sqrt(q[..., None] ** 2 + z**2)) * weights).sum(-1)
    return 2 * total


@lru_cache(maxsize=1)
def cumulative_table():
    """Mass of a particle's column between its center and the point (x, y)."""
    n_fine = 4 * _N_TABLE
    centers = (np.arange(n_fine) + 0.5) * (2 / n_fine)
    radius = np.hypot(centers[:, None], centers[None, :])
    knots = np.linspace(0, 2, 4096)
    density = np.interp(radius, knots, column_kernel(knots), right=0)
    blocks = density.reshape(_N_TABLE, 4, _N_TABLE, 4).sum(axis=(1, 3))
    table = np.zeros((_N_TABLE + 1, _N_TABLE + 1))
    table[1:, 1:] = blocks.cumsum(axis=0).cumsum(axis=1)
    table *= 0.25 / table[-1, -1]
    table.flags.writeable = False
    return table
