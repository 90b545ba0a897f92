"""Elementary functions in float32 that compilers turn into vector instructions.

They use additions, multiplications, divisions, square roots and bit operations only, all of them
exactly rounded by IEEE 754, so that results do not depend on a platform's mathematical library.
Relative errors are some 1e-6, far below the width of a pixel.
"""

import numpy as np

from astrofractal._utils.compiled import njit

_f = np.float32

_MAGIC = _f(12582912.0)  # 1.5 * 2**23: adding it rounds to an integer, kept in the low bits
_INV_PI = _f(1 / np.pi)
_PI_A, _PI_B, _PI_C = _f(3.140625), _f(9.67502593994140625e-4), _f(1.509957990978376e-7)
_HALF_PI = _f(np.pi / 2)
_PI = _f(np.pi)
_S3, _S5, _S7, _S9 = _f(-1.6666654e-1), _f(8.3328241e-3), _f(-1.9807414e-4), _f(2.6019031e-6)
_LOG2E = _f(1.4426950408889634)
_LN2_A, _LN2_B = _f(0.693359375), _f(-2.12194440e-4)
_E2, _E3, _E4, _E5, _E6 = (
    _f(5.0000001201e-1), _f(1.6666665459e-1), _f(4.1665795894e-2),
    _f(8.3334519073e-3), _f(1.3981999507e-3),
)  # fmt: skip
_A0, _A1, _A2, _A3, _A4, _A5 = (
    _f(0.99997726), _f(-0.33262347), _f(0.19354346),
    _f(-0.11643287), _f(0.05265332), _f(-0.01172120),
)  # fmt: skip
_ZERO, _ONE, _TWO, _TINY = _f(0), _f(1), _f(2), _f(1e-30)
_MIN_EXP, _MAX_EXP = _f(-80), _f(80)
_MANTISSA, _UNIT = np.int32(0x007FFFFF), np.int32(0x3F800000)
_SQRT2 = _f(1.41421356)
_HALF = _f(0.5)


@njit(forceinline=True, error_model="numpy")
def sine(x):
    """Sine, for absolute values below 1e7."""
    shifted = x * _INV_PI + _MAGIC
    n = shifted - _MAGIC
    r = ((x - n * _PI_A) - n * _PI_B) - n * _PI_C
    z = r * r
    s = r + r * z * (_S3 + z * (_S5 + z * (_S7 + z * _S9)))
    sign = np.int32(np.float32(shifted).view(np.int32) << np.int32(31))
    return np.int32(np.float32(s).view(np.int32) ^ sign).view(np.float32)


@njit(forceinline=True, error_model="numpy")
def cosine(x):
    """Cosine, for absolute values below 1e7."""
    return sine(x + _HALF_PI)


@njit(forceinline=True, error_model="numpy")
def exponential(x):
    """Exponential, of the argument limited to [-80, 80]."""
    x = min(max(x, _MIN_EXP), _MAX_EXP)
    shifted = x * _LOG2E + _MAGIC
    n = shifted - _MAGIC
    r = (x - n * _LN2_A) - n * _LN2_B
    p = _ONE + r + r * r * (_E2 + r * (_E3 + r * (_E4 + r * (_E5 + r * _E6))))
    scale = np.int32((np.int32(n) + np.int32(127)) << np.int32(23))
    return p * scale.view(np.float32)


@njit(forceinline=True, error_model="numpy")
def logarithm(x):
    """Natural logarithm of a positive number."""
    bits = np.float32(max(x, _TINY)).view(np.int32)
    exponent = np.float32((bits >> np.int32(23)) - np.int32(127))
    m = np.int32((bits & _MANTISSA) | _UNIT).view(np.float32)
    high = m > _SQRT2
    m = m * _HALF if high else m
    exponent = exponent + _ONE if high else exponent
    t = (m - _ONE) / (m + _ONE)
    z = t * t
    series = _TWO * t * (_ONE + z * (_f(1 / 3) + z * (_f(0.2) + z * (_f(1 / 7) + z * _f(1 / 9)))))
    return exponent * _f(0.6931471805599453) + series


@njit(forceinline=True, error_model="numpy")
def arctan2(y, x):
    """Angle of the point (x, y) in (-pi, pi], to 1e-5."""
    ax, ay = abs(x), abs(y)
    t = min(ax, ay) / (max(ax, ay) + _TINY)
    z = t * t
    a = t * (_A0 + z * (_A1 + z * (_A2 + z * (_A3 + z * (_A4 + z * _A5)))))
    a = _HALF_PI - a if ay > ax else a
    a = _PI - a if x < _ZERO else a
    return -a if y < _ZERO else a
