"""The pilot run of a candidate system: where to put the frame, and whether to keep the system."""

import numba as nb
import numpy as np

from astrofractal.fractals._chaos import final_points, start, step
from astrofractal.fractals._math import exponential
from astrofractal.fractals._random import derive_key, uniform

__all__ = ["BURN_IN", "REASONS", "WALKERS", "find_frame"]

#: Why a candidate is rejected; 0 is accepted.
REASONS = ("accepted", "runaway", "point or line", "coverage", "blob", "flat", "one colour")

#: The number of walkers, and the steps that they take before points count.
WALKERS = 1024
BURN_IN = 16

_PILOT_STEPS = 8
_CELLS = 16
_STARTS = 6
_f = np.float32
_LOG4 = _f(1.3862943611)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _extent(points, share):
    """Give the middle of, and the distance between, the quantiles ``share`` and ``1 - share``."""
    ordered = np.sort(points)
    n = ordered.size
    low, high = ordered[int(share * n)], ordered[n - 1 - int(share * n)]
    return _f(0.5) * (low + high), high - low


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _densest(key, px, py, radius):
    """Give the one of a few random points that has the most neighbours."""
    best, most = 0, -1
    for k in range(_STARTS):
        first = int(uniform(key, 1_000_001 + k) * _f(px.size))
        n = 0
        for i in range(px.size):
            dx, dy = px[i] - px[first], py[i] - py[first]
            n += 1 if dx * dx + dy * dy < radius * radius else 0
        if n > most:
            best, most = first, n
    return best


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _climb(px, py, x, y, radius):
    """Move a point to the mean of its neighbours, within a radius that shrinks, to a density peak."""
    for _ in range(9):
        sx, sy, n = _f(0), _f(0), _f(0)
        r2 = radius * radius
        for i in range(px.size):
            dx, dy = px[i] - x, py[i] - y
            inside = _f(1) if dx * dx + dy * dy < r2 else _f(0)
            sx += inside * dx
            sy += inside * dy
            n += inside
        if n > _f(0):
            x += sx / n
            y += sy / n
        radius *= _f(0.8)
    return x, y


@nb.njit(cache=True, nogil=True, error_model="numpy")
def find_frame(key, system, peak, coverage, frame):  # noqa: PLR0912
    """
    Run a pilot, place the frame and judge the system.

    Parameters
    ----------
    key : uint64
        The key of the candidate.

    system : tuple
        The arrays of the system.

    peak : bool
        Whether to centre the frame on a density peak and to zoom in, or on the whole attractor.

    coverage : float
        The least share of 16 x 16 cells of the frame that must receive points.

    frame : 1D `~numpy.ndarray` of float32
        Receives the centre x and y, the half width, and the share of points inside.

    Returns
    -------
    reason : int
        0 if the system is accepted, or else the index into ``REASONS``.
    """
    n = WALKERS
    walkers = np.empty((3, n), np.float32)
    fresh = np.empty((3, n), np.float32)
    home = np.empty((2, n), np.float32)
    scratch = np.empty((4, n), np.float32)
    turned = np.empty(6, np.float32)
    px = np.empty(n * _PILOT_STEPS, np.float32)
    py = np.empty(n * _PILOT_STEPS, np.float32)
    pc = np.empty(n * _PILOT_STEPS, np.float32)
    pilot = derive_key(key, 1)
    start(pilot, walkers, home)
    lost = 0
    mx, my, half = _f(0), _f(0), _f(0)
    for number in range(BURN_IN + _PILOT_STEPS):
        gone = step(pilot, number, system, walkers, fresh, home, scratch, turned)
        walkers, fresh = fresh, walkers
        lost += gone if number >= BURN_IN // 2 else 0
        if number < BURN_IN:
            continue
        xs, ys = final_points(pilot, number, system, walkers, scratch, home)
        lo = (number - BURN_IN) * n
        for i in range(n):
            good = (abs(xs[i]) < _f(1e6)) & (abs(ys[i]) < _f(1e6))
            px[lo + i] = xs[i] if good else _f(1e6)
            py[lo + i] = ys[i] if good else _f(1e6)
            pc[lo + i] = walkers[2, i]
        if number == BURN_IN:
            if lost > n // 50:
                return 1
            mx, ex = _extent(px[:n], 0.025)
            my, ey = _extent(py[:n], 0.025)
            wide, narrow = max(ex, ey), min(ex, ey)
            if wide > _f(500):
                return 1
            if not (wide > _f(0.05) and narrow > _f(0.1) * wide):
                return 2
            half = _f(0.55) * wide
    if peak:
        half *= exponential(-_LOG4 * uniform(pilot, 1_000_000))
        first = _densest(pilot, px[:4096], py[:4096], _f(0.15) * half)
        mx, my = _climb(px[:4096], py[:4096], px[first], py[first], _f(0.3) * half)
    return _judge(px, py, pc, mx, my, half, coverage, frame)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _judge(px, py, pc, mx, my, half, coverage, frame):
    counts = np.zeros((_CELLS * _CELLS, 2), np.float64)
    inside = 0
    colour, square = 0.0, 0.0
    scale = _f(_CELLS) / (_f(2) * half)
    for i in range(px.size):
        u = (px[i] - mx + half) * scale
        v = (py[i] - my + half) * scale
        if u >= _f(0) and u < _f(_CELLS) and v >= _f(0) and v < _f(_CELLS):
            cell = int(v) * _CELLS + int(u)
            counts[cell, 0] += 1.0
            counts[cell, 1] += pc[i]
            colour += pc[i]
            square += pc[i] * pc[i]
            inside += 1
    frame[0], frame[1], frame[2] = mx, my, half
    frame[3] = _f(inside) / _f(px.size)
    if inside < px.size * 0.06:
        return 3
    filled, most, spread, between = 0, 0.0, 0.0, 0.0
    mean = inside / counts.shape[0]
    for k in range(counts.shape[0]):
        m = counts[k, 0]
        if m > 0:
            filled += 1
            between += counts[k, 1] * counts[k, 1] / m
        most = max(most, m)
        spread += (m - mean) * (m - mean)
    if filled < coverage * counts.shape[0]:
        return 3
    if most > 0.25 * inside:
        return 4
    if spread / counts.shape[0] - mean < 0.15 * mean * mean:
        return 5
    average = colour / inside
    if square / inside - average * average < 0.03**2 or between / inside - average * average < 0.02**2:
        return 6
    return 0
