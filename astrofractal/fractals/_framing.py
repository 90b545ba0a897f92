"""The pilot run of a candidate system: where to put the frame, and whether to keep the system."""

import numpy as np

from astrofractal._utils.compiled import njit
from astrofractal.fractals._chaos import WALKERS
from astrofractal.fractals._math import exponential
from astrofractal.fractals._random import uniform

VERDICTS = ("accepted", "runaway", "point or line", "coverage", "blob", "flat", "one color")

PILOT_STEPS = 8

_TAIL = 0.025
_CELLS = 16
_STARTS = 6
_f = np.float32
_LOG4 = _f(1.3862943611)


@njit(nogil=True, error_model="numpy")
def _extent(values):
    """Return the middle of, and the distance between, the 2.5th and 97.5th percentiles."""
    first = int(_TAIL * values.size)
    last = values.size - 1 - first
    low, high = np.partition(values, first)[first], np.partition(values, last)[last]
    return _f(0.5) * (low + high), high - low


@njit(nogil=True, error_model="numpy")
def _densest(key, px, py, radius):
    """Return the one of a few random points that has the most neighbors."""
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


@njit(nogil=True, error_model="numpy")
def _climb(px, py, x, y, radius):
    """Move a point to a density peak: to the mean of its neighbors, again and again."""
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


@njit(nogil=True, error_model="numpy")
def _look(px, py, pc, mx, my, half, coverage, frame):
    counts = np.zeros((_CELLS * _CELLS, 2), np.float64)
    inside = 0
    color, square = 0.0, 0.0
    scale = _f(_CELLS) / (_f(2) * half)
    for i in range(px.size):
        u = (px[i] - mx + half) * scale
        v = (py[i] - my + half) * scale
        if u >= _f(0) and u < _f(_CELLS) and v >= _f(0) and v < _f(_CELLS):
            cell = int(v) * _CELLS + int(u)
            counts[cell, 0] += 1.0
            counts[cell, 1] += pc[i]
            color += pc[i]
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
    average = color / inside
    varied = square / inside - average * average >= 0.03**2
    if varied and between / inside - average * average >= 0.02**2:
        return 0
    return 6


@njit(nogil=True, error_model="numpy")
def judge(key, points, lost, peak, coverage, frame):
    """Place the frame and judge the system by the points of a pilot run."""
    px, py, pc = points[0], points[1], points[2]
    if lost > WALKERS // 50:
        return 1
    mx, ex = _extent(px[:WALKERS])
    my, ey = _extent(py[:WALKERS])
    wide, narrow = max(ex, ey), min(ex, ey)
    if wide > _f(500):
        return 1
    if not (wide > _f(0.05) and narrow > _f(0.1) * wide):
        return 2
    half = _f(0.55) * wide
    if peak:
        half *= exponential(-_LOG4 * uniform(key, 1_000_000))
        first = _densest(key, px[:4096], py[:4096], _f(0.15) * half)
        mx, my = _climb(px[:4096], py[:4096], px[first], py[first], _f(0.3) * half)
    return _look(px, py, pc, mx, my, half, coverage, frame)
