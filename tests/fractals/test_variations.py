"""The variations against the formulas of the flame paper, in double precision."""

import numpy as np
import pytest

pytest.importorskip("numba")

from astrofractal.fractals import VARIATIONS
from astrofractal.fractals._variations import add_variation

_AFFINE = np.array([0.7, -0.4, 0.3, 0.2, 0.9, -0.5], np.float32)
_PARAMETERS = np.array([1.5, -2.0, 0.7, 2.5], np.float32)
_RANDOM = ("noise", "blur", "gaussian")


def _reference(name, x, y):
    r2 = x**2 + y**2
    r, theta = np.sqrt(r2), np.arctan2(x, y)
    _, b, c, _, e, f = _AFFINE.astype(float)
    p1, p2, p3, p4 = _PARAMETERS.astype(float)
    sin, cos, pi = np.sin, np.cos, np.pi
    return {
        "linear": lambda: (x, y),
        "sinusoidal": lambda: (sin(x), sin(y)),
        "spherical": lambda: (x / r2, y / r2),
        "swirl": lambda: (x * sin(r2) - y * cos(r2), x * cos(r2) + y * sin(r2)),
        "horseshoe": lambda: ((x - y) * (x + y) / r, 2 * x * y / r),
        "polar": lambda: (theta / pi, r - 1),
        "handkerchief": lambda: (r * sin(theta + r), r * cos(theta - r)),
        "heart": lambda: (r * sin(theta * r), -r * cos(theta * r)),
        "disc": lambda: (theta / pi * sin(pi * r), theta / pi * cos(pi * r)),
        "spiral": lambda: ((cos(theta) + sin(r)) / r, (sin(theta) - cos(r)) / r),
        "hyperbolic": lambda: (sin(theta) / r, r * cos(theta)),
        "diamond": lambda: (sin(theta) * cos(r), cos(theta) * sin(r)),
        "ex": lambda: (
            r * (sin(theta + r) ** 3 + cos(theta - r) ** 3),
            r * (sin(theta + r) ** 3 - cos(theta - r) ** 3),
        ),
        "julia": lambda: (np.sqrt(r) * cos(theta / 2), np.sqrt(r) * sin(theta / 2)),
        "bent": lambda: (np.where(x >= 0, x, 2 * x), np.where(y >= 0, y, y / 2)),
        "waves": lambda: (
            x + b * sin(y / c**2),
            y + e * sin(x / f**2),
        ),
        "fisheye": lambda: (2 * y / (r + 1), 2 * x / (r + 1)),
        "popcorn": lambda: (x + c * sin(np.tan(3 * y)), y + f * sin(np.tan(3 * x))),
        "exponential": lambda: (np.exp(x - 1) * cos(pi * y), np.exp(x - 1) * sin(pi * y)),
        "power": lambda: (r ** sin(theta) * cos(theta), r ** sin(theta) * sin(theta)),
        "cosine": lambda: (cos(pi * x) * np.cosh(y), -sin(pi * x) * np.sinh(y)),
        "pdj": lambda: (sin(p1 * y) - cos(p2 * x), sin(p3 * x) - cos(p4 * y)),
        "eyefish": lambda: (2 * x / (r + 1), 2 * y / (r + 1)),
        "bubble": lambda: (4 * x / (r2 + 4), 4 * y / (r2 + 4)),
        "cylinder": lambda: (sin(x), y),
        "tangent": lambda: (sin(x) / cos(y), np.tan(y)),
        "cross": lambda: (x / abs(x**2 - y**2), y / abs(x**2 - y**2)),
    }[name]()


def _apply(number, x, y, weight=1.0):
    ox, oy = np.zeros_like(x), np.zeros_like(x)
    maps = _AFFINE[None], _PARAMETERS[None]
    add_variation(number, np.float32(weight), x, y, ox, oy, x.size, *maps, 0, np.uint32(12345))
    return ox, oy


@pytest.fixture
def points():
    rng = np.random.default_rng(3)
    x, y = rng.uniform(-1.5, 1.5, (2, 1000)).astype(np.float32)
    far_from_poles = (abs(x**2 - y**2) > 0.02) & (abs(np.cos(3.0 * x)) > 0.1)
    far_from_poles &= (abs(np.cos(3.0 * y)) > 0.1) & (abs(np.cos(y)) > 0.05)
    return x[far_from_poles], y[far_from_poles]


@pytest.mark.parametrize("number", [k for k, name in VARIATIONS.items() if name not in _RANDOM])
def test_follows_the_paper(number, points):
    x, y = points
    ox, oy = _apply(number, x, y, weight=0.5)
    ex, ey = _reference(VARIATIONS[number], x.astype(float), y.astype(float))
    if VARIATIONS[number] == "julia":  # either of two roots, at random
        sign = np.sign(ox * ex + oy * ey)
        assert {-1.0, 1.0} == set(sign)
        assert abs(sign.mean()) < 0.2
        ex, ey = sign * ex, sign * ey
    np.testing.assert_allclose(ox, ex / 2, rtol=2e-4, atol=2e-4)
    np.testing.assert_allclose(oy, ey / 2, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("name", _RANDOM)
def test_random_ones_are_centered_and_isotropic(name, points):
    x, y = (np.full(4000, value, np.float32) for value in (1.0, 1.0))
    number = next(k for k, value in VARIATIONS.items() if value == name)
    ox, oy = _apply(number, x, y)
    assert abs(ox.mean()) < 0.05
    assert abs(oy.mean()) < 0.05
    assert ox.std() == pytest.approx(oy.std(), rel=0.1)
    assert abs(np.corrcoef(ox, oy)[0, 1]) < 0.1
    assert len(np.unique(ox)) > 3900


@pytest.mark.parametrize("number", VARIATIONS, ids=VARIATIONS.get)
def test_poles_stay_finite_or_are_recognized(number):
    x = y = np.zeros(8, np.float32)
    ox, oy = _apply(number, x, y)
    assert np.isfinite(ox).all()
    assert np.isfinite(oy).all()


@pytest.mark.parametrize("c", [0, 1e-4, 1e-2])
def test_waves_of_any_frequency_stay_within_their_amplitude(c):
    x = y = np.linspace(-1e4, 1e4, 2001, dtype=np.float32)
    affine = np.array([[0.7, -0.4, c, 0.2, 0.9, c]], np.float32)
    ox, oy = np.zeros_like(x), np.zeros_like(x)
    add_variation(
        15, np.float32(1), x, y, ox, oy, x.size, affine, _PARAMETERS[None], 0, np.uint32(1)
    )
    assert abs(ox - x).max() <= 0.4 + 1e-3
    assert abs(oy - y).max() <= 0.9 + 1e-3
