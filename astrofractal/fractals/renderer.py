"""From a flame system to an image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from astrofractal._utils.compiled import njit
from astrofractal._utils.validation import one_of, positive_int
from astrofractal.fractals._chaos import WALKERS, play
from astrofractal.fractals._framing import PILOT_STEPS, VERDICTS, judge
from astrofractal.fractals._math import logarithm
from astrofractal.fractals._random import derive_key, key_of, uniform
from astrofractal.fractals.systems import draw_system, is_blurred, system_buffers

__all__ = [
    "CENTERS",
    "RENDERINGS",
    "VERDICTS",
    "accumulate",
    "draw_image",
    "find_flame",
    "frame_system",
    "render",
    "smooth",
]

if TYPE_CHECKING:
    from typing import Literal

    from numpy.typing import ArrayLike

    from astrofractal.fractals.systems import FlameSystem

CENTERS = ("peak", "attractor")
RENDERINGS = ("moments", "palette")
MAX_ATTEMPTS = 20_000

_f = np.float32
_A, _B, _C = _f(1 / 16), _f(4 / 16), _f(6 / 16)
_POINTS = _f(50)
_LOG10E = _f(0.4342944819)
_NO_POINTS, _NO_PIXELS = np.empty((3, 0), np.float32), np.empty((0, 4), np.float32)

# What a point adds to its pixel, by its color c: 1, c, c**2 and nothing.
_ROWS = 512
_MOMENTS = np.zeros((_ROWS, 4), np.float32)
_MOMENTS[:, 0] = 1
_MOMENTS[:, 1] = (np.arange(_ROWS, dtype=np.float32) + _f(0.5)) / _f(_ROWS)
_MOMENTS[:, 2] = _MOMENTS[:, 1] * _MOMENTS[:, 1]


@njit(nogil=True)
def _mirror(i, n):
    """Return the index inside of [0, n) that a mirror at the edges shows at ``i``."""
    i = i % (2 * n)
    return i if i < n else 2 * n - 1 - i


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
    """Go from ``out`` toward the finer level where its kernel has enough points."""
    for y in range(out.shape[0]):
        for i in range(0, out.shape[1], depth):
            m = fine[y, i] * area
            w = m / (m + _POINTS)
            for j in range(i, i + depth):
                out[y, j] += w * (fine[y, j] - out[y, j])


def smooth(image):
    """Smooth accumulated points: narrowly where there are many of them, widely where there are few."""
    # image 3D
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


@njit(nogil=True, error_model="numpy")
def _moments(fields, ambient, out):
    """Turn smoothed sums (n, sum c, sum c**2) into relative log count, mean and deviation."""
    size = fields.shape[0]
    total, color, scatter = 0.0, 0.0, 0.0
    for y in range(size):
        for x in range(size):
            n, c, q = fields[y, x, 0], fields[y, x, 1], fields[y, x, 2]
            total += n
            color += c
            scatter += q - c * c / max(n, _f(1e-9))
    mean_count = _f(total / (size * size))
    mean_color = _f(color / total)
    mean_square = mean_color * mean_color + _f(0.5 * scatter / total)
    floor = ambient * mean_count
    unit = _f(1) / (mean_count + floor)
    for y in range(size):
        for x in range(size):
            n = fields[y, x, 0] + floor
            c = (fields[y, x, 1] + floor * mean_color) / n
            q = (fields[y, x, 2] + floor * mean_square) / n
            out[0, y, x] = logarithm(n * unit) * _LOG10E
            out[1, y, x] = c
            out[2, y, x] = np.sqrt(max(q - c * c, _f(0)))


@njit(nogil=True, error_model="numpy")
def _tone(fields, bright, out):
    """Map sums of (n, red, green, blue) to colors with a logarithmic brightness."""
    size = fields.shape[0]
    gain = _f(30) / bright
    top = logarithm(_f(31))
    for y in range(size):
        for x in range(size):
            n = fields[y, x, 0]
            level = min(logarithm(_f(1) + n * gain) / top, _f(1))
            for k in range(3):
                out[k, y, x] = min(level * fields[y, x, k + 1] / max(n, _f(1e-9)), _f(1))


@njit(nogil=True, error_model="numpy")
def _gradient(key, table):
    """Draw a palette: straight lines in RGB between 3 to 6 random colors."""
    stops = 3 + int(uniform(key, 0) * _f(4))
    for i in range(table.shape[0]):
        t = (_f(i) + _f(0.5)) / _f(table.shape[0]) * _f(stops - 1)
        k = min(int(t), stops - 2)
        w = t - _f(k)
        table[i, 0] = _f(1)
        for j in range(3):
            low, high = uniform(key, 1 + 3 * k + j), uniform(key, 4 + 3 * k + j)
            table[i, j + 1] = low + w * (high - low)


def accumulate(arrays, key, frame, size, n_points, table=_MOMENTS):
    """Play the chaos game and add every point to its pixel."""
    # arrays, key, frame 1D; table 2D
    steps = math.ceil(n_points / (max(float(frame[3]), 0.25) * WALKERS))
    histogram = np.zeros((size * size + 1, 4), np.float32)
    run = np.uint64(derive_key(key, np.uint64(2)))
    play(run, arrays, steps, _NO_POINTS, frame, size, histogram, table)
    return histogram[:-1].reshape(size, size, 4)


def _pilot(arrays, key, center, coverage, frame):
    """Play a pilot run, place the frame and give the verdict, as an index into ``VERDICTS``."""
    points = np.empty((3, WALKERS * PILOT_STEPS), np.float32)
    pilot = np.uint64(derive_key(key, np.uint64(1)))
    lost = play(pilot, arrays, PILOT_STEPS, points, frame, 0, _NO_PIXELS, _MOMENTS)
    return judge(pilot, points, lost, center == "peak", float(coverage), frame)


def find_flame(seed, index, *, coverage, center):
    """Find the first candidate of an index that is not degenerate and covers its frame."""
    buffers = system_buffers()
    frame = np.empty(4, np.float32)
    key = key_of(seed, index)
    for attempt in range(MAX_ATTEMPTS):
        candidate = np.uint64(derive_key(key, np.uint64(attempt)))
        n_maps, symmetry, final = draw_system(candidate, *buffers)
        if is_blurred(buffers[2], n_maps + final):
            continue
        arrays = (*buffers, n_maps, symmetry, final)
        if _pilot(arrays, candidate, center, coverage, frame) == 0:
            return arrays, candidate, frame, attempt
    msg = f"coverage must be reachable, got {coverage!r}: {MAX_ATTEMPTS} candidates fell short"
    raise ValueError(msg)


def frame_system(
    system: FlameSystem,
    *,
    seed: int = 0,
    coverage: float = 0.5,
    center: Literal["peak", "attractor"] = "attractor",
) -> tuple[np.ndarray, str]:
    """
    Place the frame of a system and judge whether it makes an image.

    Parameters
    ----------
    system : `FlameSystem`
        The system.

    seed : int, optional
        The seed of the chaos game.

    coverage, center : optional
        See `FlameStream`.

    Returns
    -------
    frame : 1D `~numpy.ndarray`
        Center x and y, half width, and the share of the points inside; NaN where a point, a line or
        a runaway has none.

    verdict : str
        ``"accepted"``, or why `FlameStream` would reject the system: ``"runaway"``,
        ``"point or line"``, ``"coverage"``, ``"blob"`` (a quarter of the points in one cell),
        ``"flat"`` (no contrast between cells) or ``"one color"`` (no tracer contrast).
    """
    one_of("center", center, CENTERS)
    frame = np.full(4, np.nan, np.float32)
    return frame, VERDICTS[_pilot(system.to_arrays(), key_of(seed), center, coverage, frame)]


def draw_image(arrays, key, frame, size, n_points, rendering, *, ambient=0.05):
    """Render a system that has been framed."""
    # arrays, key, frame 1D
    out = np.empty((3, size, size), np.float32)
    if rendering == "moments":
        _moments(smooth(accumulate(arrays, key, frame, size, n_points)), _f(ambient), out)
        return out
    table = np.empty((_ROWS, 4), np.float32)
    _gradient(np.uint64(derive_key(key, np.uint64(3))), table)
    fields = smooth(accumulate(arrays, key, frame, size, n_points, table))
    # As in the flame paper, brightness is logarithmic; the top half per cent of the pixels is full.
    count = np.sort(fields[..., 0], axis=None)
    _tone(fields, max(count[int(0.995 * (count.size - 1))], _f(1e-3)), out)
    return out


def render(
    system: FlameSystem,
    size: int = 336,
    n_points: int = 1_000_000,
    rendering: Literal["moments", "palette"] = "palette",
    *,
    seed: int = 0,
    frame: ArrayLike | None = None,
    ambient: float = 0.05,
) -> np.ndarray:
    """
    Render a system of your own.

    Parameters
    ----------
    system : `FlameSystem`
        The system.

    size, n_points, rendering : optional
        See `FlameStream`.

    seed : int, optional
        The seed of the chaos game and of the palette.

    frame : 1D array_like, optional
        Center x and y, half width, and the share of the points inside; by default that of
        `frame_system`.

    ambient : float, optional
        The diffuse floor of ``"moments"`` in units of the mean number of points.

    Returns
    -------
    image : 3D `~numpy.ndarray` of float32
        Shape (3, size, size).
    """
    one_of("rendering", rendering, RENDERINGS)
    size = positive_int("size", size, minimum=8)
    n_points = positive_int("n_points", n_points)
    if frame is None:
        frame, verdict = frame_system(system, seed=seed, coverage=0.0)
        if not np.isfinite(frame).all():
            msg = f"system must have an image, but its points are a {verdict}"
            raise ValueError(msg)
    frame = np.asarray(frame, np.float32)
    if frame.shape != (4,) or not np.isfinite(frame).all() or not frame[2] > 0:
        msg = f"frame must be (x, y, half width > 0, share inside), got {frame!r}"
        raise ValueError(msg)
    arrays = system.to_arrays()
    return draw_image(arrays, key_of(seed), frame, size, n_points, rendering, ambient=ambient)
