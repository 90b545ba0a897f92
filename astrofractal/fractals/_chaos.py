"""
The chaos game, many walkers at once.

A step sorts the walkers into as many contiguous segments as there are maps, of lengths in proportion
to the maps' probabilities, and each segment goes through its map in loops without branches, which
compilers turn into vector instructions.  Walkers that always shared a segment would see the same
sequence of contractions and end at the same point; so at every step each slot takes its walker from
slot ``(a i + b) mod n`` with new random odd ``a`` and any ``b``: the walkers of a segment are dealt
over all segments like cards.  Random rotations and reflections of symmetric systems are multiplied
into the second affine map, where they cost nothing.
"""

import numba as nb
import numpy as np

from astrofractal.fractals._math import cosine, sine
from astrofractal.fractals._random import mix64, uniform
from astrofractal.fractals._variations import add_variation

__all__ = ["RUNAWAY", "final_points", "plot", "start", "step"]

#: A point with a coordinate beyond this is started again.
RUNAWAY = np.float32(1000)

_f = np.float32
_ZERO, _ONE, _TWO = _f(0), _f(1), _f(2)
_TWO_PI = _f(2 * np.pi)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_S32, _S20, _S8 = np.uint64(32), np.uint64(20), np.uint64(8)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def start(key, walkers, home):
    """Spread walkers over the square [-1, 1]; ``home`` keeps the places for those that run away."""
    for i in range(walkers.shape[1]):
        walkers[0, i] = _TWO * uniform(key, 3 * i) - _ONE
        walkers[1, i] = _TWO * uniform(key, 3 * i + 1) - _ONE
        walkers[2, i] = uniform(key, 3 * i + 2)
        home[0, i] = walkers[0, i]
        home[1, i] = walkers[1, i]


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _gather(walkers, px, py, cs, coefficients, colour, speed, lo, multiplier, offset):
    a, b, c = coefficients[0], coefficients[1], coefficients[2]
    d, e, f = coefficients[3], coefficients[4], coefficients[5]
    xs, ys, old = walkers[0], walkers[1], walkers[2]
    keep, gain = _ONE - speed, speed * colour
    mask = np.uint32(xs.size - 1)
    first = np.uint32(multiplier * np.uint32(lo) + offset)
    for i in range(px.size):
        j = (np.uint32(i) * multiplier + first) & mask
        x, y, t = xs[j], ys[j], old[j]
        px[i] = a * x + b * y + c
        py[i] = d * x + e * y + f
        cs[i] = keep * t + gain


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _affine(px, py, qx, qy, m):
    a, b, c, d, e, f = m[0], m[1], m[2], m[3], m[4], m[5]
    for i in range(px.size):
        x, y = px[i], py[i]
        qx[i] = a * x + b * y + c
        qy[i] = d * x + e * y + f


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _finish(ox, oy, nx, ny, hx, hy, m):
    """Apply the second affine map and bring runaways home; return how many there were."""
    a, b, c, d, e, f = m[0], m[1], m[2], m[3], m[4], m[5]
    lost = 0
    for i in range(ox.size):
        x, y = ox[i], oy[i]
        u = a * x + b * y + c
        v = d * x + e * y + f
        good = (abs(u) < RUNAWAY) & (abs(v) < RUNAWAY)
        nx[i] = u if good else hx[i]
        ny[i] = v if good else hy[i]
        lost += 0 if good else 1
    return lost


@nb.njit(cache=True, nogil=True, error_model="numpy")
def step(key, number, system, walkers, fresh, home, scratch, turned):
    """
    Take all walkers one step further, from ``walkers`` to ``fresh``.

    Returns
    -------
    lost : int
        The number of walkers that ran away and were started again.
    """
    affine, post, kinds, blend, parameters, weight, colour, speed, n_maps, symmetry, _ = system
    n = walkers.shape[1]
    r = mix64(key + np.uint64(number + 1) * _GOLDEN)
    s = mix64(r + _GOLDEN)
    multiplier = np.uint32((r >> _S32) | np.uint64(1))
    offset = np.uint32(r & np.uint64(0xFFFFFFFF))
    dither = np.float64(np.uint32(s >> _S32)) * 2.0**-32
    lost = 0
    lo = 0
    cumulative = 0.0
    for k in range(n_maps):
        cumulative += np.float64(weight[k])
        hi = n if k == n_maps - 1 else min(n, int(cumulative * n + dither))
        if hi <= lo:
            continue
        px, py = scratch[0, : hi - lo], scratch[1, : hi - lo]
        ox, oy = scratch[2, : hi - lo], scratch[3, : hi - lo]
        _gather(walkers, px, py, fresh[2, lo:hi], affine[k], colour[k], speed[k], lo, multiplier, offset)
        ox[:] = _ZERO
        oy[:] = _ZERO
        s = mix64(s + _GOLDEN)
        for j in range(kinds.shape[1]):
            if kinds[k, j] >= 0:
                add_variation(kinds[k, j], blend[k, j], px, py, ox, oy, affine[k], parameters[k],
                              np.uint32(s >> _S32) + np.uint32(j))  # fmt: skip
        second = post[k]
        if symmetry != 1:
            order = abs(symmetry)
            angle = _TWO_PI * _f(int((s & np.uint64(0xFFFF)) * np.uint64(order) >> np.uint64(16))) / _f(order)
            cs, sn = cosine(angle), sine(angle)
            flip = -_ONE if symmetry < 0 and (s >> np.uint64(20)) & np.uint64(1) else _ONE
            for j in range(3):
                turned[j] = flip * (cs * post[k, j] - sn * post[k, 3 + j])
                turned[3 + j] = sn * post[k, j] + cs * post[k, 3 + j]
            second = turned
        lost += _finish(ox, oy, fresh[0, lo:hi], fresh[1, lo:hi], home[0, lo:hi], home[1, lo:hi], second)
        lo = hi
    return lost


@nb.njit(cache=True, nogil=True, error_model="numpy")
def final_points(key, number, system, walkers, scratch, home):
    """Give the points as they go to the image: through the final transform, where there is one."""
    affine, post, kinds, blend, parameters, _, _, _, n_maps, _, final = system
    if not final:
        return walkers[0], walkers[1]
    k = n_maps
    _affine(walkers[0], walkers[1], scratch[0], scratch[1], affine[k])
    scratch[2, :] = _ZERO
    scratch[3, :] = _ZERO
    s = np.uint32(mix64(key - np.uint64(number + 1) * _GOLDEN) >> _S32)
    for j in range(kinds.shape[1]):
        if kinds[k, j] >= 0:
            add_variation(kinds[k, j], blend[k, j], scratch[0], scratch[1], scratch[2], scratch[3],
                          affine[k], parameters[k], s + np.uint32(j))  # fmt: skip
    _affine(scratch[2], scratch[3], scratch[0], scratch[1], post[k])
    return scratch[0], scratch[1]


@nb.njit(cache=True, nogil=True, error_model="numpy")
def plot(xs, ys, cs, frame, size, where, histogram, table):
    """
    Add the table's row of each point's colour to the pixel where it falls.

    Points outside of the frame, and those that are not finite, go to the histogram's last row.
    """
    cx, cy, scale = frame[0], frame[1], frame[2]
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
