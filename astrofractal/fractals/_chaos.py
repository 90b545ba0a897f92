"""The chaos game, many walkers at once.

A step sorts the walkers into as many contiguous segments as there are maps, of lengths in
proportion to the maps' probabilities, and each segment goes through its map in loops without
branches, which compilers turn into vector instructions.  Walkers that always shared a segment
would see the same sequence of contractions and end at the same point; so at every step each slot
takes its walker from slot ``(a i + b) mod n`` with new random odd ``a`` and any ``b``: the walkers
of a segment are dealt over all segments like cards.  Random rotations and reflections of symmetric
systems are multiplied into the second affine map, where they cost nothing.

All arithmetic is in float32 and in a fixed order, with basic operations only: see `_math`.
"""

import numpy as np

from astrofractal._utils.compiled import njit
from astrofractal.fractals._math import cosine, sine
from astrofractal.fractals._random import mix64, uniform
from astrofractal.fractals._variations import add_variation

#: The number of walkers (a power of two), and the steps that they take before points count.
WALKERS = 1024
BURN_IN = 16

#: A point with a coordinate beyond this is started again.
RUNAWAY = np.float32(1000)

_f = np.float32
_ZERO, _ONE, _TWO = _f(0), _f(1), _f(2)
_FAR = _f(1e6)
_BLOCK = 32
_TWO_PI = _f(2 * np.pi)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_S32, _S20 = np.uint64(32), np.uint64(20)


@njit(nogil=True, forceinline=True, error_model="numpy")
def _gather(xs, ys, old, px, py, cs, m, k, color, speed, lo, n, multiplier, offset):
    """Deal ``n`` walkers to the segment at ``lo``, through the first affine map."""
    a, b, c, d, e, f = m[k, 0], m[k, 1], m[k, 2], m[k, 3], m[k, 4], m[k, 5]
    keep, gain = _ONE - speed, speed * color
    mask = np.uint32(xs.size - 1)
    first = np.uint32(multiplier * np.uint32(lo) + offset)
    start = np.uintp(lo)
    for i in range(n):
        j = (np.uint32(i) * multiplier + first) & mask
        x, y, t = xs[j], ys[j], old[j]
        px[i] = a * x + b * y + c
        py[i] = d * x + e * y + f
        cs[start + np.uintp(i)] = keep * t + gain


@njit(nogil=True, forceinline=True, error_model="numpy")
def _affine(px, py, qx, qy, m, k):
    a, b, c, d, e, f = m[k, 0], m[k, 1], m[k, 2], m[k, 3], m[k, 4], m[k, 5]
    for i in range(px.size):
        x, y = px[i], py[i]
        qx[i] = a * x + b * y + c
        qy[i] = d * x + e * y + f


@njit(nogil=True, forceinline=True, error_model="numpy")
def _affine_home(px, py, qx, qy, m, k, hx, hy, lo, n):
    """Apply an affine map to a segment, and start walkers again that run away; return how many."""
    a, b, c, d, e, f = m[k, 0], m[k, 1], m[k, 2], m[k, 3], m[k, 4], m[k, 5]
    start = np.uintp(lo)
    lost = np.int32(0)
    for i in range(n):
        x, y = px[i], py[i]
        u = a * x + b * y + c
        v = d * x + e * y + f
        good = (abs(u) < RUNAWAY) & (abs(v) < RUNAWAY)
        j = start + np.uintp(i)
        qx[j] = u if good else hx[j]
        qy[j] = v if good else hy[j]
        lost += np.int32(0) if good else np.int32(1)
    return lost


@njit(nogil=True, error_model="numpy")
def _turn(m, k, bits, symmetry, out):
    """Return the affine map followed by a random element of the symmetry group, as a row."""
    order = abs(symmetry)
    part = _f(int((bits & np.uint64(0xFFFF)) * np.uint64(order) >> np.uint64(16)))
    angle = _TWO_PI * part / _f(order)
    c, s = cosine(angle), sine(angle)
    flip = -_ONE if symmetry < 0 and (bits >> _S20) & np.uint64(1) else _ONE
    for j in range(3):
        out[0, j] = flip * (c * m[k, j] - s * m[k, 3 + j])
        out[0, 3 + j] = s * m[k, j] + c * m[k, 3 + j]


@njit(nogil=True, forceinline=True, error_model="numpy")
def _plot(xs, ys, cs, frame, size, where, histogram, table):
    """Add the table's row of each point's color to its pixel: the last row off the frame."""
    cx, cy, scale = frame[0], frame[1], _f(size) / (_TWO * frame[2])
    half = _f(size) * _f(0.5)
    x0, y0 = half - cx * scale, half - cy * scale
    top = _f(size)
    rows = _f(table.shape[0])
    for i in range(xs.size):
        u = xs[i] * scale + x0
        v = ys[i] * scale + y0
        inside = (u >= _ZERO) & (u < top) & (v >= _ZERO) & (v < top)
        u = u if inside else _ZERO
        v = v if inside else top
        where[0, i] = np.int32(v) * np.int32(size) + np.int32(u)
        where[1, i] = np.int32(min(max(cs[i], _ZERO), _f(0.999999)) * rows)
    for i in range(xs.size):
        p = np.uint32(where[0, i])
        t = np.uint32(where[1, i])
        histogram[p, 0] += table[t, 0]
        histogram[p, 1] += table[t, 1]
        histogram[p, 2] += table[t, 2]
        histogram[p, 3] += table[t, 3]


@njit(nogil=True, error_model="numpy")
def _record(xs, ys, cs, points, lo):
    """Keep the points themselves; those that are not finite are put far away."""
    for i in range(xs.size):
        good = (abs(xs[i]) < _FAR) & (abs(ys[i]) < _FAR)
        points[0, lo + i] = xs[i] if good else _FAR
        points[1, lo + i] = ys[i] if good else _FAR
        points[2, lo + i] = cs[i]


@njit(nogil=True, error_model="numpy")
def play(key, system, steps, points, frame, size, histogram, table):
    """Play the chaos game."""
    affine, post, kinds, blend, parameters, weight, color, speed, n_maps, symmetry, final = system
    n = WALKERS
    # One array a quantity, and offsets in place of slices, which cost two atomic additions each.
    xs, ys, cs = np.empty(n, np.float32), np.empty(n, np.float32), np.empty(n, np.float32)
    fx, fy, fc = np.empty(n, np.float32), np.empty(n, np.float32), np.empty(n, np.float32)
    hx, hy = np.empty(n, np.float32), np.empty(n, np.float32)
    px, py = np.zeros(n, np.float32), np.zeros(n, np.float32)
    ox, oy = np.zeros(n, np.float32), np.zeros(n, np.float32)
    where = np.empty((2, n), np.int32)
    second = np.empty((1, 6), np.float32)
    for i in range(n):
        hx[i] = xs[i] = _TWO * uniform(key, 3 * i) - _ONE
        hy[i] = ys[i] = _TWO * uniform(key, 3 * i + 1) - _ONE
        cs[i] = uniform(key, 3 * i + 2)
    lost = 0
    for number in range(BURN_IN + steps):
        shown = number >= BURN_IN
        r = mix64(key + np.uint64(number + 1) * _GOLDEN)
        s = mix64(r + _GOLDEN)
        multiplier = np.uint32((r >> _S32) | np.uint64(1))
        offset = np.uint32(r & np.uint64(0xFFFFFFFF))
        dither = np.float64(np.uint32(s >> _S32)) * 2.0**-32
        lo = 0
        cumulative = 0.0
        # The maps, each with its segment of walkers, and then the final transform with all of them.
        for k in range(n_maps + 1 if shown and final else n_maps):
            if k < n_maps:
                cumulative += np.float64(weight[k])
                hi = n if k == n_maps - 1 else min(n, int(cumulative * n + dither))
                if hi <= lo:
                    continue
                s = mix64(s + _GOLDEN)
                draw = np.uint32(s >> _S32)
            else:
                lo, hi = 0, n
                draw = np.uint32(mix64(key - np.uint64(number + 1) * _GOLDEN) >> _S32)
            # Whole blocks, for the vector loops; what the last one has too much is never read.
            padded = min(n, (hi - lo + _BLOCK - 1) // _BLOCK * _BLOCK)
            if k < n_maps:
                _gather(xs, ys, cs, px, py, fc, affine, k, color[k], speed[k], lo, hi - lo,
                        multiplier, offset)  # fmt: skip
            else:
                _affine(fx, fy, px, py, affine, k)
            for i in range(padded):
                ox[i] = _ZERO
                oy[i] = _ZERO
            for j in range(kinds.shape[1]):
                if kinds[k, j] >= 0:
                    add_variation(kinds[k, j], blend[k, j], px, py, ox, oy, padded, affine,
                                  parameters, k, draw + np.uint32(j))  # fmt: skip
            if k < n_maps:
                last, row = post, k
                if symmetry != 1:
                    _turn(post, k, s, symmetry, second)
                    last, row = second, 0
                gone = _affine_home(ox, oy, fx, fy, last, row, hx, hy, lo, hi - lo)
                if number >= BURN_IN // 2 and number <= BURN_IN:
                    lost += gone
            else:
                _affine(ox, oy, px, py, post, k)
            lo = hi
        xs, fx = fx, xs
        ys, fy = fy, ys
        cs, fc = fc, cs
        if shown:
            u = px if final else xs
            v = py if final else ys
            if points.shape[1] > 0:
                _record(u, v, cs, points, (number - BURN_IN) * n)
            else:
                _plot(u, v, cs, frame, size, where, histogram, table)
    return lost
