import numpy as np
import pytest

pytest.importorskip("numba")

from astrofractal.fractals import VARIATIONS, FlameSystem, frame_system, random_system, render
from astrofractal.fractals._chaos import WALKERS, play
from astrofractal.fractals._random import key_of


def _system(*affine, color=None, weight=None, **options):
    """Make a system of linear maps."""
    n = len(affine)
    return FlameSystem(
        affine=affine,
        post=[(1, 0, 0, 0, 1, 0)] * n,
        kinds=[(0, -1, -1)] * n,
        blend=[(1, 0, 0)] * n,
        parameters=np.zeros((n, 4)),
        weight=np.ones(n) if weight is None else weight,
        color=np.linspace(0, 1, n) if color is None else color,
        speed=np.full(n, 0.5),
        **options,
    )


SIERPINSKI = _system((0.5, 0, 0, 0, 0.5, 0), (0.5, 0, 0.5, 0, 0.5, 0), (0.5, 0, 0.25, 0, 0.5, 0.5))


def _play(system, steps=200, seed=0):
    points = np.empty((3, steps * WALKERS), np.float32)
    frame, nothing = np.empty(4, np.float32), np.empty((0, 4), np.float32)
    play(key_of(seed), system.to_arrays(), steps, points, frame, 0, nothing, nothing)
    return points


def test_random_systems():
    systems = [random_system(5, i) for i in range(300)]
    assert {s.n_maps for s in systems} == {2, 3, 4, 5, 6}
    assert {name for s in systems for row in s.variations for name in row} == set(
        VARIATIONS.values()
    )
    assert len(VARIATIONS) >= 24
    assert 0.1 < np.mean([s.final for s in systems]) < 0.4
    assert {np.sign(s.symmetry) for s in systems if s.symmetry != 1} == {-1, 1}
    blends = np.concatenate([s.blend for s in systems])
    np.testing.assert_allclose(blends.sum(axis=1), 1, rtol=1e-5)
    assert np.isclose([s.weight.sum() for s in systems], 1).all()


@pytest.mark.parametrize(
    ("seed", "index", "options"), [(2, 2, {"attempt": 3}), (1, 3, {"attempt": 3}), (1, 2, {})]
)
def test_system_depends_on_every_argument(seed, index, options):
    first = random_system(1, 2, attempt=3)
    np.testing.assert_array_equal(first.affine, random_system(1, 2, attempt=3).affine)
    other = random_system(seed, index, **options)
    assert not np.array_equal(first.affine[:2], other.affine[:2])


def test_chaos_game_samples_the_invariant_measure():
    # x' = x / 2 + (0 or 1/2), with probabilities 0.3 and 0.7: x has independent binary digits.
    system = _system((0.5, 0, 0, 0, 0.5, 0), (0.5, 0, 0.5, 0, 0.5, 0.5), weight=[3, 7])
    x, y, c = _play(system)
    np.testing.assert_allclose(x, y, atol=1e-4)
    assert x.mean() == pytest.approx(0.7, abs=2e-3)
    assert x.var() == pytest.approx(0.07, rel=0.02)
    digits = np.minimum(x * 8, 7).astype(int)
    expected = [0.3 ** (3 - bin(d).count("1")) * 0.7 ** bin(d).count("1") for d in range(8)]
    np.testing.assert_allclose(np.bincount(digits, minlength=8) / len(x), expected, atol=3e-3)
    # The color is the same sum, and knows which map came last.
    np.testing.assert_allclose(c, x, atol=1e-4)


def test_walkers_do_not_follow_each_other():
    x, y, _ = _play(SIERPINSKI, steps=4)
    assert len(np.unique(np.stack([x, y]), axis=1).T) > 0.99 * x.size


def test_symmetry():
    maps = (0.4, 0, 0.5, 0, 0.4, 0.1), (0.3, 0, 0.2, 0, 0.3, 0)
    x, y, _ = _play(_system(*maps, symmetry=5), steps=3000)
    moments = [abs(((x + 1j * y) ** k).mean()) for k in range(6)]
    assert max(moments[1:5]) < 0.025
    assert moments[5] > 0.015
    x, y, _ = _play(_system(*maps, symmetry=-2), steps=3000)
    assert abs((x * y).mean()) < 0.002
    x, y, _ = _play(_system(*maps, symmetry=2), steps=3000)
    assert abs((x * y).mean()) > 0.01


def test_final_transform_moves_the_image_only():
    final = _system(
        (0.5, 0, 0, 0, 0.5, 0),
        (0.5, 0, 0.5, 0, 0.5, 0.5),
        (2, 0, 10, 0, 3, 20),
        weight=[1, 1],
        final=True,
    )
    plain = _system((0.5, 0, 0, 0, 0.5, 0), (0.5, 0, 0.5, 0, 0.5, 0.5))
    x, y, _ = _play(final)
    x0, y0, _ = _play(plain)
    np.testing.assert_allclose(x, 2 * x0 + 10, rtol=1e-6)
    np.testing.assert_allclose(y, 3 * y0 + 20, rtol=1e-6)


@pytest.mark.parametrize(
    ("system", "verdict"),
    [
        (_system((0.5, 0, 0, 0, 0.5, 0)), "point or line"),
        (_system((0.5, 0, 0, 0, 0, 0), (0.5, 0, 0.5, 0, 0, 0)), "point or line"),
        (_system((3, 0, 1, 0, 3, 1), (2, 0, 0, 0, 2, 0)), "runaway"),
        (_system((np.nan, 0, 0, 0, 1, 0), (0.5, 0, 0, 0, 0.5, 0)), "runaway"),
        (FlameSystem(**{**vars(SIERPINSKI), "color": [0.5] * 3}), "one color"),
        (FlameSystem(**{**vars(SIERPINSKI), "weight": [0.96, 0.02, 0.02]}), "blob"),
        (SIERPINSKI, "accepted"),
    ],
)
def test_verdicts(system, verdict):
    assert frame_system(system, coverage=0.02)[1] == verdict


def test_coverage_threshold():
    assert frame_system(SIERPINSKI, coverage=0.3)[1] == "accepted"
    assert frame_system(SIERPINSKI, coverage=0.9)[1] == "coverage"


def test_square_is_flat():
    quarters = [(0.5, 0, x, 0, 0.5, y) for x in (0, 0.5) for y in (0, 0.5)]
    frame, verdict = frame_system(_system(*quarters))
    assert verdict == "flat"
    assert frame[:3] == pytest.approx([0.5, 0.5, 0.52], abs=0.02)


def test_render_a_triangle():
    image = render(SIERPINSKI, 64, 100_000, "moments")
    assert image.shape == (3, 64, 64)
    assert image.dtype == np.float32
    # The hole in the middle has nothing but the floor.
    assert image[0].min() < -1
    assert image[0].max() > 0.3
    picture = render(SIERPINSKI, 64, 100_000)
    assert 0 <= picture.min() < 0.1 < picture.max() <= 1


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"affine": np.zeros((3, 5))}, "affine must have shape"),
        ({"kinds": [(99, -1, -1)] * 3}, r"\[99\]"),
        ({"weight": [0, 0, 0]}, "weight must be non-negative"),
        ({"symmetry": 0}, "symmetry must be a non-zero integer, got 0"),
    ],
)
def test_wrong_systems(change, match):
    with pytest.raises(ValueError, match=match):
        FlameSystem(**{**vars(SIERPINSKI), **change})


def test_render_refuses_what_has_no_image():
    with pytest.raises(ValueError, match="point or line"):
        render(_system((0.5, 0, 0, 0, 0.5, 0)), 64, 1000)
    with pytest.raises(ValueError, match="frame must be"):
        render(SIERPINSKI, 64, 1000, frame=(0, 0, -1, 1))
    with pytest.raises(ValueError, match="rendering must be one of"):
        render(SIERPINSKI, 64, 1000, "gas")
