"""Random fractal flame systems."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from astrofractal._utils.compiled import njit
from astrofractal.fractals._math import cosine, exponential, sine
from astrofractal.fractals._random import key_of, uniform
from astrofractal.fractals._variations import VARIATIONS

MAX_MAPS = 6
MAX_BLEND = 3

_f = np.float32
_TWO_PI = _f(2 * np.pi)
_KINDS = np.array(list(VARIATIONS), dtype=np.int32)
# How often a variation is drawn, where not 1: less if it blurs everything or moves points far away.
_OFTEN = {1: 1.3, 2: 1.5, 13: 2.0, 18: 0.7, 20: 0.7, 31: 0.35, 34: 0.25, 35: 0.25, 42: 0.7, 48: 0.6}
_SHARE = np.cumsum([_OFTEN.get(number, 1.0) for number in VARIATIONS]).astype(np.float32)
_SHARE /= _SHARE[-1]


@dataclass(frozen=True)
class FlameSystem:
    """
    An iterated function system of the fractal flame kind [1]_.

    Map ``k`` takes a point through an affine map, a weighted sum of variations, and a second
    affine map, and pulls the point's color coordinate toward the map's color:

    ``p' = Post_k(sum_j blend[k, j] * V_j(Affine_k(p)))``,
    ``c' = (1 - speed_k) c + speed_k color_k``.

    References
    ----------
    .. [1] Draves & Reckase 2003, "The Fractal Flame Algorithm".
    """

    #: Coefficients (a, b, c, d, e, f) of x' = a x + b y + c, y' = d x + e y + f, a row per map.
    affine: np.ndarray
    #: Those of the second affine map.
    post: np.ndarray
    #: Numbers of up to three variations (``VARIATIONS``), a row per map; -1 where there are fewer.
    kinds: np.ndarray
    #: Weights of the variations.
    blend: np.ndarray
    #: The four parameters of parametric variations, a row per map.
    parameters: np.ndarray
    #: Probabilities of the maps; they are scaled to a sum of 1.
    weight: np.ndarray
    #: Color coordinates of the maps, in [0, 1].
    color: np.ndarray
    #: Color speeds of the maps.
    speed: np.ndarray
    #: Order of the rotational symmetry (1 is none); negative for a dihedral one.
    symmetry: int = 1
    #: Whether the last row is the final transform, on the way to the image, without a weight.
    final: bool = False

    def __post_init__(self):
        for name in ("affine", "post", "blend", "parameters", "weight", "color", "speed"):
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), np.float32))
        object.__setattr__(self, "kinds", np.ascontiguousarray(self.kinds, np.int32))
        rows = len(self.weight) + bool(self.final)
        shapes = {"affine": (rows, 6), "post": (rows, 6), "kinds": (rows, 3), "blend": (rows, 3),
                  "parameters": (rows, 4), "color": (rows,), "speed": (rows,)}  # fmt: skip
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                msg = f"{name} must have shape {shape}, got {getattr(self, name).shape}"
                raise ValueError(msg)
        unknown = set(self.kinds.ravel().tolist()) - set(VARIATIONS) - {-1}
        if unknown:
            msg = f"kinds must be numbers of known variations or -1, got {sorted(unknown)}"
            raise ValueError(msg)
        if not len(self.weight) or not np.all(self.weight >= 0) or not self.weight.sum() > 0:
            msg = f"weight must be non-negative with a positive sum, got {self.weight!r}"
            raise ValueError(msg)
        if abs(self.weight.sum() - 1) > 1e-6:
            object.__setattr__(self, "weight", self.weight / self.weight.sum())
        if int(self.symmetry) == 0:
            msg = f"symmetry must be a non-zero integer, got {self.symmetry!r}"
            raise ValueError(msg)

    @property
    def n_maps(self) -> int:
        """The number of maps, without the final transform."""
        return len(self.weight)

    @property
    def variations(self) -> list[tuple[str, ...]]:
        """The names of each map's variations."""
        return [tuple(VARIATIONS[int(k)] for k in row if k >= 0) for row in self.kinds]

    def to_arrays(self) -> tuple[Any, ...]:
        """Return what the renderer takes."""
        maps = (self.affine, self.post, self.kinds, self.blend, self.parameters, self.weight)
        counts = (self.n_maps, int(self.symmetry), bool(self.final))
        return (*maps, self.color, self.speed, *counts)


@njit(nogil=True, error_model="numpy")
def _draw_affine(out, key, start, low, high, flat, shift):
    """Draw rotation x scales x rotation plus a shift; scales in [low, high] and ``flat`` below."""
    t, p = _TWO_PI * uniform(key, start), _TWO_PI * uniform(key, start + 1)
    s = low + (high - low) * uniform(key, start + 2)
    q = s * (flat + (_f(1) - flat) * uniform(key, start + 3))
    if uniform(key, start + 4) < _f(0.5):
        q = -q
    ct, st, cp, sp = cosine(t), sine(t), cosine(p), sine(p)
    out[0], out[1] = s * ct * cp - q * st * sp, -s * ct * sp - q * st * cp
    out[3], out[4] = s * st * cp + q * ct * sp, -s * st * sp + q * ct * cp
    out[2] = shift * (_f(2) * uniform(key, start + 5) - _f(1))
    out[5] = shift * (_f(2) * uniform(key, start + 6) - _f(1))


@njit(nogil=True, error_model="numpy")
def draw_system(key, affine, post, kinds, blend, parameters, weight, color, speed):
    """Draw a system into arrays of ``MAX_MAPS + 1`` rows."""
    n_maps = 2 + int(uniform(key, 0) * _f(5))
    final = uniform(key, 1) < _f(0.25)
    symmetry = 1
    if uniform(key, 2) < _f(0.15):
        symmetry = 2 + int(uniform(key, 3) * _f(4))
        if uniform(key, 4) < _f(0.3):
            symmetry = -symmetry
    if n_maps == 2 and symmetry == 1 and uniform(key, 5) < _f(0.5):
        n_maps = 3
    rows = n_maps + (1 if final else 0)
    total = _f(0)
    for k in range(rows):
        base = 100 * (k + 1)
        _draw_affine(affine[k], key, base, _f(0.45), _f(1.2), _f(0.35), _f(1.0))
        if uniform(key, base + 10) < _f(0.4):
            _draw_affine(post[k], key, base + 11, _f(0.6), _f(1.2), _f(0.5), _f(0.4))
        else:
            post[k, :] = _f(0)
            post[k, 0] = post[k, 4] = _f(1)
        n_blend = 1 + int(uniform(key, base + 20) * _f(MAX_BLEND))
        kinds[k, :] = -1
        blend[k, :] = _f(0)
        norm = _f(0)
        for j in range(n_blend):
            r = uniform(key, base + 21 + j)
            m = 0
            while r >= _SHARE[m] and m < len(_SHARE) - 1:
                m += 1
            kinds[k, j] = _KINDS[m]
            blend[k, j] = _f(0.1) + uniform(key, base + 25 + j)
            norm += blend[k, j]
        blend[k] /= norm
        for j in range(4):
            parameters[k, j] = _f(3) * (_f(2) * uniform(key, base + 30 + j) - _f(1))
        # Weights follow the area that the affine map covers, times a factor that spreads by e.
        area = abs(affine[k, 0] * affine[k, 4] - affine[k, 1] * affine[k, 3]) + _f(0.1)
        share = np.sqrt(area) * exponential(_f(2) * uniform(key, base + 40) - _f(1))
        color[k] = uniform(key, base + 41)
        speed[k] = _f(0.25) + _f(0.5) * uniform(key, base + 42)
        if k < n_maps:
            total += share
            weight[k] = share
    weight[:n_maps] /= total
    return n_maps, symmetry, final


def random_system(seed: int, index: int, attempt: int = 0) -> FlameSystem:
    """
    Draw a random system, a pure function of the stream's seed and of the index of the flame.

    There are several candidates of an index: ``attempt`` is the number of those rejected before.

    Examples
    --------
    >>> from astrofractal.fractals import random_system
    >>> system = random_system(1, 0)
    >>> 2 <= system.n_maps <= 6
    True
    """
    arrays = system_buffers()
    n_maps, symmetry, final = draw_system(key_of(seed, index, attempt), *arrays)
    rows = [array[: n_maps + bool(final)] for array in arrays]
    rows[5] = rows[5][:n_maps]  # the final transform has no weight
    return FlameSystem(*[*rows, int(symmetry), bool(final)])


def system_buffers():
    """Return empty arrays for `draw_system`."""
    rows = MAX_MAPS + 1
    kinds = np.zeros((rows, MAX_BLEND), np.int32)
    affine, post, blend, parameters = (
        np.zeros((rows, n), np.float32) for n in (6, 6, MAX_BLEND, 4)
    )
    return affine, post, kinds, blend, parameters, *np.zeros((3, rows), np.float32)
