"""The nonlinear variations, each as one branch-free loop over a block of walkers.

Numbers are those of the flame paper (Draves & Reckase 2003, "The Fractal Flame Algorithm"), with
its conventions: ``r`` is the radius, ``theta = arctan(x / y)``.  Sines and cosines of ``theta`` are
taken as ``x / r`` and ``y / r``, and half angles by square roots, so that few loops need an angle.
"""

import numpy as np

from astrofractal._utils.compiled import njit
from astrofractal.fractals._math import arctan2, cosine, exponential, logarithm, sine
from astrofractal.fractals._random import bits32

#: Number in the flame paper -> name.
VARIATIONS = {
    0: "linear",
    1: "sinusoidal",
    2: "spherical",
    3: "swirl",
    4: "horseshoe",
    5: "polar",
    6: "handkerchief",
    7: "heart",
    8: "disc",
    9: "spiral",
    10: "hyperbolic",
    11: "diamond",
    12: "ex",
    13: "julia",
    14: "bent",
    15: "waves",
    16: "fisheye",
    17: "popcorn",
    18: "exponential",
    19: "power",
    20: "cosine",
    24: "pdj",
    27: "eyefish",
    28: "bubble",
    29: "cylinder",
    31: "noise",
    34: "blur",
    35: "gaussian",
    42: "tangent",
    48: "cross",
}

_f = np.float32
_EPS = _f(1e-6)
_ZERO, _HALF, _ONE, _TWO, _THREE, _FOUR = _f(0), _f(0.5), _f(1), _f(2), _f(3), _f(4)
_PI, _INV_PI, _TWO_PI = _f(np.pi), _f(1 / np.pi), _f(2 * np.pi)
_CAP = _f(1e4)
_FAR = _f(1e7)  # within which sines are defined
_U24 = _f(2.0**-24)
_BIT = np.uint32(1)
_EIGHT = np.uint32(8)
_LOW24 = np.uint32(0xFFFFFF)
_ODD = np.uint32(0x9E3779B9)


@njit(forceinline=True)
def _random(i, key):
    bits = bits32((np.uint32(i) * _ODD) ^ key)
    return np.float32(np.int32((bits >> _EIGHT) & _LOW24)) * _U24


@njit(nogil=True, error_model="numpy")
def add_variation(kind, w, xs, ys, ox, oy, n, affine, parameters, row, key):
    """Add ``w`` times a variation of points to sums."""
    if kind == 0:  # linear
        for i in range(n):
            x, y = xs[i], ys[i]
            ox[i] += w * x
            oy[i] += w * y
    elif kind == 1:  # sinusoidal
        for i in range(n):
            x, y = xs[i], ys[i]
            ox[i] += w * sine(x)
            oy[i] += w * sine(y)
    elif kind == 2:  # spherical
        for i in range(n):
            x, y = xs[i], ys[i]
            k = w / (x * x + y * y + _EPS)
            ox[i] += k * x
            oy[i] += k * y
    elif kind == 3:  # swirl
        for i in range(n):
            x, y = xs[i], ys[i]
            r2 = x * x + y * y
            s, c = sine(r2), cosine(r2)
            ox[i] += w * (x * s - y * c)
            oy[i] += w * (x * c + y * s)
    elif kind == 4:  # horseshoe
        for i in range(n):
            x, y = xs[i], ys[i]
            k = w / (np.sqrt(x * x + y * y) + _EPS)
            ox[i] += k * (x - y) * (x + y)
            oy[i] += k * _TWO * x * y
    elif kind == 5:  # polar
        for i in range(n):
            x, y = xs[i], ys[i]
            ox[i] += w * arctan2(x, y) * _INV_PI
            oy[i] += w * (np.sqrt(x * x + y * y) - _ONE)
    elif kind == 6:  # handkerchief
        for i in range(n):
            x, y = xs[i], ys[i]
            r = np.sqrt(x * x + y * y)
            s, c = sine(r), cosine(r)
            ox[i] += w * (x * c + y * s)
            oy[i] += w * (y * c + x * s)
    elif kind == 7:  # heart
        for i in range(n):
            x, y = xs[i], ys[i]
            r = np.sqrt(x * x + y * y)
            a = arctan2(x, y) * r
            ox[i] += w * r * sine(a)
            oy[i] -= w * r * cosine(a)
    elif kind == 8:  # disc
        for i in range(n):
            x, y = xs[i], ys[i]
            a = w * arctan2(x, y) * _INV_PI
            r = _PI * np.sqrt(x * x + y * y)
            ox[i] += a * sine(r)
            oy[i] += a * cosine(r)
    elif kind == 9:  # spiral
        for i in range(n):
            x, y = xs[i], ys[i]
            r = np.sqrt(x * x + y * y) + _EPS
            k = _ONE / r
            ox[i] += w * k * (y * k + sine(r))
            oy[i] += w * k * (x * k - cosine(r))
    elif kind == 10:  # hyperbolic
        for i in range(n):
            x, y = xs[i], ys[i]
            ox[i] += w * x / (x * x + y * y + _EPS)
            oy[i] += w * y
    elif kind == 11:  # diamond
        for i in range(n):
            x, y = xs[i], ys[i]
            r = np.sqrt(x * x + y * y) + _EPS
            k = w / r
            ox[i] += k * x * cosine(r)
            oy[i] += k * y * sine(r)
    elif kind == 12:  # ex
        for i in range(n):
            x, y = xs[i], ys[i]
            r = np.sqrt(x * x + y * y) + _EPS
            s, c = sine(r), cosine(r)
            k = _ONE / r
            p = k * (x * c + y * s)
            q = k * (y * c + x * s)
            p = p * p * p
            q = q * q * q
            ox[i] += w * r * (p + q)
            oy[i] += w * r * (p - q)
    elif kind == 13:  # julia
        for i in range(n):
            x, y = xs[i], ys[i]
            r = np.sqrt(x * x + y * y)
            s = np.float32(bits32((np.uint32(i) * _ODD) ^ key) & _BIT)
            k = w * (_ONE - _TWO * s)
            half = np.sqrt(max(_HALF * (r - y), _ZERO))
            ox[i] += k * np.sqrt(max(_HALF * (r + y), _ZERO))
            oy[i] += k * (half if x >= _ZERO else -half)
    elif kind == 14:  # bent
        for i in range(n):
            x, y = xs[i], ys[i]
            ox[i] += w * (x if x >= _ZERO else _TWO * x)
            oy[i] += w * (y if y >= _ZERO else _HALF * y)
    elif kind == 15:  # waves
        p = _ONE / (affine[row, 2] * affine[row, 2] + _EPS)
        q = _ONE / (affine[row, 5] * affine[row, 5] + _EPS)
        b, e = affine[row, 1], affine[row, 4]
        for i in range(n):
            x, y = xs[i], ys[i]
            ox[i] += w * (x + b * sine(min(max(y * p, -_FAR), _FAR)))
            oy[i] += w * (y + e * sine(min(max(x * q, -_FAR), _FAR)))
    elif kind == 16:  # fisheye
        for i in range(n):
            x, y = xs[i], ys[i]
            k = _TWO * w / (np.sqrt(x * x + y * y) + _ONE)
            ox[i] += k * y
            oy[i] += k * x
    elif kind == 17:  # popcorn
        c, f = affine[row, 2], affine[row, 5]
        for i in range(n):
            x, y = xs[i], ys[i]
            p = sine(_THREE * y) / cosine(_THREE * y)
            q = sine(_THREE * x) / cosine(_THREE * x)
            p, q = min(max(p, -_CAP), _CAP), min(max(q, -_CAP), _CAP)
            ox[i] += w * (x + c * sine(p))
            oy[i] += w * (y + f * sine(q))
    elif kind == 18:  # exponential
        for i in range(n):
            x, y = xs[i], ys[i]
            k = w * exponential(x - _ONE)
            a = _PI * y
            ox[i] += k * cosine(a)
            oy[i] += k * sine(a)
    elif kind == 19:  # power
        for i in range(n):
            x, y = xs[i], ys[i]
            r = np.sqrt(x * x + y * y) + _EPS
            k = _ONE / r
            s, c = x * k, y * k
            p = w * exponential(s * logarithm(r))
            ox[i] += p * c
            oy[i] += p * s
    elif kind == 20:  # cosine
        for i in range(n):
            x, y = xs[i], ys[i]
            e = exponential(y)
            g = _ONE / e
            a = _PI * x
            ox[i] += w * cosine(a) * _HALF * (e + g)
            oy[i] -= w * sine(a) * _HALF * (e - g)
    elif kind == 24:  # pdj
        p, q = parameters[row, 0], parameters[row, 1]
        s, c = parameters[row, 2], parameters[row, 3]
        for i in range(n):
            x, y = xs[i], ys[i]
            ox[i] += w * (sine(p * y) - cosine(q * x))
            oy[i] += w * (sine(s * x) - cosine(c * y))
    elif kind == 27:  # eyefish
        for i in range(n):
            x, y = xs[i], ys[i]
            k = _TWO * w / (np.sqrt(x * x + y * y) + _ONE)
            ox[i] += k * x
            oy[i] += k * y
    elif kind == 28:  # bubble
        for i in range(n):
            x, y = xs[i], ys[i]
            k = _FOUR * w / (x * x + y * y + _FOUR)
            ox[i] += k * x
            oy[i] += k * y
    elif kind == 29:  # cylinder
        for i in range(n):
            x, y = xs[i], ys[i]
            ox[i] += w * sine(x)
            oy[i] += w * y
    elif kind == 31:  # noise
        for i in range(n):
            x, y = xs[i], ys[i]
            a = _TWO_PI * _random(i, key)
            k = w * _random(i, ~key)
            ox[i] += k * x * cosine(a)
            oy[i] += k * y * sine(a)
    elif kind == 34:  # blur
        for i in range(n):
            x, y = xs[i], ys[i]
            a = _TWO_PI * _random(i, key)
            k = w * _random(i, ~key)
            ox[i] += k * cosine(a)
            oy[i] += k * sine(a)
    elif kind == 35:  # gaussian
        for i in range(n):
            x, y = xs[i], ys[i]
            a = _TWO_PI * _random(i, key)
            k = _random(i, ~key) + _random(i, key + _ODD)
            k = w * (k + _random(i, ~key + _ODD) + _random(i, key - _ODD) - _TWO)
            ox[i] += k * cosine(a)
            oy[i] += k * sine(a)
    elif kind == 42:  # tangent
        for i in range(n):
            x, y = xs[i], ys[i]
            k = w / cosine(y)
            ox[i] += k * sine(x)
            oy[i] += k * sine(y)
    elif kind == 48:  # cross
        for i in range(n):
            x, y = xs[i], ys[i]
            d = x * x - y * y
            k = w / (abs(d) + _EPS)
            ox[i] += k * x
            oy[i] += k * y
