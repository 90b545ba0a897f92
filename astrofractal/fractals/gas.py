"""Flames as maps of gas: tracer moments turned into the physical channels of a `GasMap`."""

from typing import NamedTuple

import numpy as np

from astrofractal._utils.compiled import njit
from astrofractal.fractals._math import cosine, exponential, logarithm, sine
from astrofractal.fractals._random import derive_key, key_of, uniform

_f = np.float32
_LN10 = _f(2.302585093)


class GasAmplitude(NamedTuple):
    """The physical scales of one flame, drawn once per image."""

    #: Mean of log10 N(H2) [cm-2] over the map: normal, 22 +- 0.45, within 3.4 deviations.
    mean: float
    #: Standard deviation of log10 N over the map: 0.18 to 0.75 dex, log-uniform.
    spread: float
    #: Standard deviation of the velocity over the map: 0.1 to 0.8 km/s, log-uniform.
    velocity: float
    #: The share of a uniform velocity gradient in the velocity field: 0 to 1.
    shear: float
    #: The direction of that gradient, in turns.
    angle: float
    #: Velocity dispersion that every pixel has: 0.05 to 0.35 km/s, log-uniform.
    floor: float
    #: Root mean square of the dispersion that follows the tracer: 0.5 to 1.5 of ``velocity``.
    turbulence: float
    #: The power of the tracer's deviation that this dispersion follows: 1 to 2.
    power: float
    #: Slope of log10 of the dispersion with log10 N: 0 in a third of the maps, else -0.2 to 0.4.
    coupling: float


@njit(nogil=True, error_model="numpy")
def _log_uniform(u, low, high):
    return low * exponential(u * logarithm(high / low))


@njit(nogil=True, error_model="numpy")
def _draw(key):
    total = uniform(key, 0) + uniform(key, 1) + uniform(key, 2) + uniform(key, 3) - _f(2)
    mean = _f(22) + _f(0.45) * _f(1.7320508) * total
    spread = _log_uniform(uniform(key, 4), _f(0.18), _f(0.75))
    velocity = _log_uniform(uniform(key, 5), _f(0.1), _f(0.8))
    shear = uniform(key, 6) * uniform(key, 7)
    floor = _log_uniform(uniform(key, 9), _f(0.05), _f(0.35))
    turbulence = velocity * _log_uniform(uniform(key, 10), _f(0.5), _f(1.5))
    coupling = _f(0.6) * uniform(key, 12) - _f(0.2) if uniform(key, 11) > _f(1 / 3) else _f(0)
    power = _f(1) + uniform(key, 13)
    return mean, spread, velocity, shear, uniform(key, 8), floor, turbulence, power, coupling


@njit(nogil=True, error_model="numpy")
def _gas(moments, mean, spread, velocity, shear, gx, gy, floor, turbulence, power, coupling, out):
    size = moments.shape[1]
    n = size * size
    s0, q0, s1, q1, q2 = 0.0, 0.0, 0.0, 0.0, 0.0
    for y in range(size):
        for x in range(size):
            a, b, c = moments[0, y, x], moments[1, y, x], moments[2, y, x]
            s0 += a
            q0 += a * a
            s1 += b
            q1 += b * b
            out[2, y, x] = exponential(power * logarithm(c + _f(1e-6)))
            q2 += out[2, y, x] * out[2, y, x]
    m0, m1 = _f(s0 / n), _f(s1 / n)
    d0 = np.sqrt(_f(max(q0 / n - (s0 / n) ** 2, 1e-12)))
    d1 = np.sqrt(_f(max(q1 / n - (s1 / n) ** 2, 1e-12)))
    d2 = np.sqrt(_f(max(q2 / n, 1e-24)))
    k0, k1, k2 = spread / d0, (_f(1) - shear) / d1, turbulence / d2
    # A ramp from -1 to 1 has the standard deviation 1 / sqrt(3).
    ramp = shear * _f(1.7320508) * _f(2) / _f(size)
    middle = _f(0.5) * _f(size - 1)
    s1, q1 = 0.0, 0.0
    for y in range(size):
        for x in range(size):
            out[0, y, x] = mean + k0 * (moments[0, y, x] - m0)
            along = gx * (_f(x) - middle) + gy * (_f(y) - middle)
            v = k1 * (moments[1, y, x] - m1) + ramp * along
            out[1, y, x] = v
            s1 += v
            q1 += v * v
    k1 = velocity / np.sqrt(_f(max(q1 / n - (s1 / n) ** 2, 1e-12)))
    weights, weighted = 0.0, 0.0
    for y in range(size):
        for x in range(size):
            column = exponential((out[0, y, x] - mean) * _LN10)
            out[1, y, x] *= k1
            weights += column
            weighted += column * out[1, y, x]
            t = k2 * out[2, y, x]
            factor = exponential(coupling * (out[0, y, x] - mean) * _LN10)
            out[2, y, x] = np.sqrt(floor * floor + t * t) * factor
    average = _f(weighted / weights)
    for y in range(size):
        for x in range(size):
            out[1, y, x] -= average


def draw_amplitude(seed: int, index: int) -> GasAmplitude:
    """Draw the physical scales of a flame, a pure function of the stream's seed and of its index."""
    key = derive_key(key_of(seed, index), np.uint64(2**32))
    return GasAmplitude(*(float(x) for x in _draw(np.uint64(key))))


def as_gas(moments: np.ndarray, amplitude: GasAmplitude) -> np.ndarray:
    """
    Turn tracer moments into physical channels.

    Parameters
    ----------
    moments : 3D `~numpy.ndarray`
        The ``"moments"`` rendering of a flame, shape (3, size, size).
    amplitude : `GasAmplitude`
        The physical scales.

    Returns
    -------
    gas : 3D `~numpy.ndarray` of float32
        log10 N(H2) [cm-2]; velocity less its column-weighted mean [km/s]; velocity dispersion
        [km/s]: the channels of `astrofractal.gasmap.GasMap.to_array`.
    """
    moments = np.ascontiguousarray(moments, np.float32)
    if moments.ndim != 3 or moments.shape[0] != 3 or moments.shape[1] != moments.shape[2]:
        msg = f"moments must have shape (3, size, size), got {moments.shape}"
        raise ValueError(msg)
    a = GasAmplitude(*np.array(amplitude, _f))
    gx, gy = (function(_f(2 * np.pi) * a.angle) for function in (cosine, sine))  # in 64 bit
    out = np.empty_like(moments)
    scales = (a.mean, a.spread, a.velocity, a.shear, gx, gy)
    _gas(moments, *scales, a.floor, a.turbulence, a.power, a.coupling, out)
    return out
