"""Compiled loops that put particles and cells on a grid of pixels, conserving mass.

All lengths are in pixels, with the origin at the outer corner of pixel (0, 0); the third
coordinate runs along the line of sight and is zero at the center of the slab.  ``grid`` has the
planes mass, mass x velocity, mass x velocity^2 and mass x squared sound speed.
"""

import math
from functools import lru_cache

import numpy as np

from astrofractal._utils.compiled import njit

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
    for low, high in ((0 * q, inner), (inner, outer)):
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


@njit(nogil=True, inline="always")
def _add(grid, row, column, mass, velocity, square):
    grid[0, row, column] += mass
    grid[1, row, column] += mass * velocity
    grid[2, row, column] += mass * velocity * velocity
    grid[3, row, column] += mass * square


@njit(nogil=True)
def _slab_fraction(table, offset, half_depth, h):
    """Part of a particle's kernel inside the slab: the kernel's marginal along one axis."""
    if abs(offset) + 2 * h <= half_depth:
        return 1.0
    last = table.shape[0] - 1
    fraction = 0.0
    for side in (1, -1):
        q = (side * half_depth - offset) / h
        position = min(abs(q) / 2, 1.0) * last
        low = min(int(position), last - 1)
        part = position - low
        value = 2 * (table[low, last] * (1 - part) + table[low + 1, last] * part)
        fraction += side * math.copysign(value, q)
    return fraction


@njit(nogil=True)
def _knots(low, count, center, h, last, index, part, sign):
    """Where the pixel edges fall in the table, for one axis."""
    for k in range(count):
        q = (low + k - center) / h
        position = min(abs(q) / 2, 1.0) * last
        cell = min(int(position), last - 1)
        index[k] = cell
        part[k] = position - cell
        sign[k] = 1.0 if q >= 0 else -1.0


@njit(nogil=True)
def deposit_particles(grid, table, position, h, mass, velocity, square, half_depth):
    """Add particles to the grid by the exact integral of the tabulated column over each pixel."""
    n_rows, n_columns = grid.shape[1], grid.shape[2]
    last = table.shape[0] - 1
    size = max(n_rows, n_columns) + 2
    ix, iy = np.empty(size, np.int64), np.empty(size, np.int64)
    px, py = np.empty(size), np.empty(size)
    sx, sy = np.empty(size), np.empty(size)
    previous, current = np.empty(size), np.empty(size)
    for i in range(len(mass)):
        x, y, radius = position[i, 0], position[i, 1], 2 * h[i]
        if x + radius <= 0 or y + radius <= 0 or x - radius >= n_columns or y - radius >= n_rows:
            continue
        if abs(position[i, 2]) - radius >= half_depth:
            continue
        m = mass[i] * _slab_fraction(table, position[i, 2], half_depth, h[i])
        left, right = math.floor(x - radius), math.floor(x + radius)
        bottom, top = math.floor(y - radius), math.floor(y + radius)
        if left == right and bottom == top:
            _add(grid, bottom, left, m, velocity[i], square[i])
            continue
        left, right = max(left, 0), min(right, n_columns - 1)
        bottom, top = max(bottom, 0), min(top, n_rows - 1)
        n_x, n_y = right - left + 2, top - bottom + 2
        _knots(left, n_x, x, h[i], last, ix, px, sx)
        _knots(bottom, n_y, y, h[i], last, iy, py, sy)
        for row in range(n_y):
            a = iy[row]
            f = py[row]
            for k in range(n_x):
                b = ix[k]
                g = px[k]
                lower = table[a, b] * (1 - g) + table[a, b + 1] * g
                upper = table[a + 1, b] * (1 - g) + table[a + 1, b + 1] * g
                current[k] = sx[k] * sy[row] * (lower * (1 - f) + upper * f)
            if row > 0:
                for k in range(n_x - 1):
                    part = current[k + 1] - current[k] - previous[k + 1] + previous[k]
                    if part > 0:
                        _add(grid, bottom + row - 1, left + k, m * part, velocity[i], square[i])
            previous, current = current, previous


@njit(nogil=True)
def deposit_aligned_cells(grid, position, width, mass, velocity, square, half_depth):
    """Add boxes whose faces are parallel to the pixels, by exact overlap."""
    n_rows, n_columns = grid.shape[1], grid.shape[2]
    for i in range(len(mass)):
        x0, x1 = position[i, 0] - width[i, 0] / 2, position[i, 0] + width[i, 0] / 2
        y0, y1 = position[i, 1] - width[i, 1] / 2, position[i, 1] + width[i, 1] / 2
        z0 = max(position[i, 2] - width[i, 2] / 2, -half_depth)
        z1 = min(position[i, 2] + width[i, 2] / 2, half_depth)
        if x1 <= 0 or y1 <= 0 or x0 >= n_columns or y0 >= n_rows or z1 <= z0:
            continue
        density = mass[i] * (z1 - z0) / (width[i, 0] * width[i, 1] * width[i, 2])
        for row in range(max(math.floor(y0), 0), min(math.ceil(y1), n_rows)):
            high = min(y1, row + 1) - max(y0, row)
            for column in range(max(math.floor(x0), 0), min(math.ceil(x1), n_columns)):
                wide = min(x1, column + 1) - max(x0, column)
                _add(grid, row, column, density * high * wide, velocity[i], square[i])


@njit(nogil=True)
def _chord(dx, dy, basis, width, low, high):
    """Length of a line of sight inside a box, and inside both the box and the slab."""
    enter, leave = -np.inf, np.inf
    for k in range(3):
        offset = dx * basis[0, k] + dy * basis[1, k]
        slope = basis[2, k]
        half = width[k] / 2
        if abs(slope) < 1e-12:
            if abs(offset) > half:
                return 0.0, 0.0
            continue
        first, second = (-half - offset) / slope, (half - offset) / slope
        enter = max(enter, min(first, second))
        leave = min(leave, max(first, second))
    if leave <= enter:
        return 0.0, 0.0
    return leave - enter, max(min(leave, high) - max(enter, low), 0.0)


@njit(nogil=True)
def deposit_rotated_cells(grid, position, width, mass, velocity, square, half_depth, basis):
    """Add boxes seen at an angle, by exact chords along evenly spaced lines of sight."""
    n_rows, n_columns = grid.shape[1], grid.shape[2]
    for i in range(len(mass)):
        half_x = half_y = half_z = 0.0
        narrow = np.inf
        for k in range(3):
            half_x += abs(basis[0, k]) * width[i, k] / 2
            half_y += abs(basis[1, k]) * width[i, k] / 2
            half_z += abs(basis[2, k]) * width[i, k] / 2
            narrow = min(narrow, width[i, k])
        x, y, z = position[i, 0], position[i, 1], position[i, 2]
        if x + half_x <= 0 or y + half_y <= 0 or x - half_x >= n_columns or y - half_y >= n_rows:
            continue
        if abs(z) - half_z >= half_depth:
            continue
        per_pixel = max(2, math.ceil(6 / narrow))
        x0, x1 = math.floor((x - half_x) * per_pixel), math.ceil((x + half_x) * per_pixel)
        y0, y1 = math.floor((y - half_y) * per_pixel), math.ceil((y + half_y) * per_pixel)
        inside = x0 >= 0 and y0 >= 0 and x1 <= n_columns * per_pixel and y1 <= n_rows * per_pixel
        total = width[i, 0] * width[i, 1] * width[i, 2] * per_pixel**2
        if inside or (x1 - x0) * (y1 - y0) <= 20000:  # rays that add up to the cell's mass exactly
            total = 0.0
            for ray_y in range(y0, y1):
                for ray_x in range(x0, x1):
                    dx, dy = (ray_x + 0.5) / per_pixel - x, (ray_y + 0.5) / per_pixel - y
                    total += _chord(dx, dy, basis, width[i], 0.0, 0.0)[0]
        y0, y1 = max(y0, 0), min(y1, n_rows * per_pixel)
        x0, x1 = max(x0, 0), min(x1, n_columns * per_pixel)
        for ray_y in range(y0, y1):
            for ray_x in range(x0, x1):
                dx, dy = (ray_x + 0.5) / per_pixel - x, (ray_y + 0.5) / per_pixel - y
                part = _chord(dx, dy, basis, width[i], -half_depth - z, half_depth - z)[1]
                if part > 0:
                    row, column = ray_y // per_pixel, ray_x // per_pixel
                    _add(grid, row, column, mass[i] * part / total, velocity[i], square[i])
