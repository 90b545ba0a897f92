"""From a flame system to an image."""

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from astrofractal._utils.compiled import njit
from astrofractal._utils.validation import one_of, positive_int
from astrofractal.fractals._chaos import WALKERS, play
from astrofractal.fractals._framing import PILOT_STEPS, VERDICTS, judge
from astrofractal.fractals._math import logarithm
from astrofractal.fractals._random import derive_key, key_of, uniform
from astrofractal.fractals.systems import FlameSystem, draw_system, system_buffers

CENTERS = ("peak", "attractor")
MAX_ATTEMPTS = 20_000

_BLURRED = {31, 34, 35}  # variations that scatter points at random

_f = np.float32
_A, _B, _C = _f(1 / 16), _f(4 / 16), _f(6 / 16)
_POINTS = _f(50)
_AMBIENT = _f(0.05)  # the diffuse floor of moments in units of the mean number of points
_LOG10E = _f(0.4342944819)
_NO_POINTS, _NO_PIXELS = np.empty((3, 0), np.float32), np.empty((0, 4), np.float32)

# What a point adds to its pixel, by its color c: 1, c, c**2 and nothing.
_ROWS = 512
_MOMENTS = np.zeros((_ROWS, 4), np.float32)
_MOMENTS[:, 0] = 1
_MOMENTS[:, 1] = (np.arange(_ROWS, dtype=np.float32) + _f(0.5)) / _f(_ROWS)
_MOMENTS[:, 2] = _MOMENTS[:, 1] * _MOMENTS[:, 1]


@njit(nogil=True, error_model="numpy")
def _combine(a, b, c, d, e):
    out = np.empty_like(a)
    for i in range(out.size):
        out[i] = (_A * (a[i] + e[i]) + _B * (b[i] + d[i])) + _C * c[i]
    return out


def _binomial(image, gap):
    """Convolve fields along both axes with (1, 4, 6, 4, 1) / 16, the taps ``gap`` pixels apart."""
    n = len(image)
    mirrored = np.pad(np.arange(n), 2 * gap, mode="symmetric")
    for axis in range(2):
        padded = image.take(mirrored, axis)
        slices = [(slice(None),) * axis + (slice(k * gap, k * gap + n),) for k in range(5)]
        image = _combine(*(padded[own].ravel() for own in slices)).reshape(image.shape)
    return image


@njit(nogil=True, error_model="numpy")
def _blend(fine, area, out):
    """Go from ``out`` toward the finer level where its kernel has enough points."""
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            m = fine[y, x, 0] * area
            w = m / (m + _POINTS)
            for k in range(out.shape[2]):
                out[y, x, k] += w * (fine[y, x, k] - out[y, x, k])


def smooth(image):
    """Smooth accumulated points: narrowly where there are many of them, widely where there are few."""
    # image (size, size, n_fields)
    levels = [image]
    for k in range(3):
        levels.append(_binomial(levels[k], 1 << k))
    for k in (2, 1):
        # The kernel's effective area is 4 pi sigma**2; sigma**2 is 1 + 4 + ... .
        _blend(levels[k], _f(4 * np.pi) * _f((4**k - 1) // 3), levels[3])
    return levels[3]


@njit(nogil=True, error_model="numpy")
def _moments(fields, out):
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
    floor = _AMBIENT * mean_count
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
        if not _BLURRED.isdisjoint(buffers[2][: n_maps + final].flat):
            continue
        arrays = (*buffers, n_maps, symmetry, final)
        if _pilot(arrays, candidate, center, coverage, frame) == 0:
            return arrays, candidate, frame, attempt
    msg = f"coverage must be reachable, got {coverage!r}: {MAX_ATTEMPTS} candidates fell short"
    raise ValueError(msg)


def frame_system(
    system: FlameSystem, *, seed: int = 0, coverage: float = 0.5
) -> tuple[np.ndarray, str]:
    """
    Place the frame of a system and judge whether it makes an image.

    Parameters
    ----------
    system : `FlameSystem`
        The system.
    seed : int, optional
        The seed of the chaos game.
    coverage : float, optional
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
    frame = np.full(4, np.nan, np.float32)
    verdict = _pilot(system.to_arrays(), key_of(seed), "attractor", coverage, frame)
    return frame, VERDICTS[verdict]


def draw_image(arrays, key, frame, size, n_points, rendering):
    """Render a system that has been framed."""
    out = np.empty((3, size, size), np.float32)
    if rendering == "moments":
        _moments(smooth(accumulate(arrays, key, frame, size, n_points)), out)
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

    Returns
    -------
    image : 3D `~numpy.ndarray` of float32
        Shape (3, size, size).
    """
    one_of("rendering", rendering, ("moments", "palette"))
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
    return draw_image(system.to_arrays(), key_of(seed), frame, size, n_points, rendering)
