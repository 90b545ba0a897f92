"""Moments of gas through linear operators: what every resampler must conserve."""

import ast
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import astrofractal
from astrofractal import GasMap
from astrofractal.gasmap.moments import line_of_sums, mean_velocity, transform
from astrofractal.observing import Telescope
from astrofractal.segmentation.working_map import working_map

N = 12
SCALE = 0.01 * u.pc


def _numbers(low, high):
    return arrays(np.float64, (N, N), elements=st.floats(low, high))


def sums(column, velocity, dispersion):
    """Return the sums of N, N v and N (sigma^2 + v^2), as means over the pixels."""
    velocity, dispersion = velocity.astype(float), dispersion.astype(float)
    square = column * (dispersion**2 + velocity**2)
    return np.array([column.mean(), (column * velocity).mean(), square.mean()])


def padded(gas, n=10):
    """Surround a map by faint gas at rest, so that nothing is lost over the border."""
    channels = [np.pad(gas[0], n, constant_values=1e10)] + [np.pad(one, n) for one in gas[1:]]
    units = (u.cm**-2, u.km / u.s, u.km / u.s)
    return GasMap(*(a * b for a, b in zip(channels, units, strict=True)), pixel_scale=SCALE)


def channels_of(gas):
    return gas.column_density.value, gas.velocity.value, gas.dispersion.value


def cut_finer(gas):
    return gas.cutout((15.5, 15.5), size=24 * SCALE, shape=(72, 72)), (24 / 32) ** 2


def cut_coarser(gas):
    return gas.cutout((15.5, 15.5), size=32 * SCALE, shape=(8, 8)), 1


def cut_shifted(gas):
    return gas.cutout((15.9, 15.2), size=28 * SCALE, shape=(28, 28)), (28 / 32) ** 2


def through_beam(gas):
    return Telescope(beam=2 * SCALE).observe(gas), 1


def wider_pixels(gas):
    return Telescope(pixel_scale=4 * SCALE).observe(gas), 1


@settings(max_examples=10, deadline=None)
@given(_numbers(1e20, 1e24), _numbers(-5, 5), _numbers(0, 2))
@pytest.mark.parametrize(
    "resampled", [cut_finer, cut_coarser, cut_shifted, through_beam, wider_pixels]
)
def test_mass_and_energy_are_conserved(resampled, column, velocity, dispersion):
    gas = padded((column, velocity, dispersion))
    new, area = resampled(gas)
    expected = sums(*channels_of(gas))
    found = sums(*channels_of(new)) * area
    # of each sum the part that the largest velocities could change
    tolerance = 1e-3 * expected[0] * np.array([1, 5, 30])
    assert np.all(np.abs(found - expected) <= tolerance)


@settings(max_examples=10, deadline=None)
@given(_numbers(1e20, 1e24), _numbers(-5, 5), _numbers(0, 2))
@pytest.mark.parametrize("factor", [2.0, 3.0, 1 / 3])
def test_the_map_of_the_segments_conserves_them(factor, column, velocity, dispersion):
    gas = padded((column, velocity, dispersion))
    array = gas.to_array()
    found = working_map(gas, array, factor, smoothing=0).array.astype(float)
    area = found[0].size * factor**2 / array[0].size
    expected = sums(*(10.0 ** array[0].astype(float), *array[1:]))
    found = sums(10.0 ** found[0], *found[1:]) * area
    assert np.all(np.abs(found - expected) <= 1e-3 * expected[0] * np.array([1, 5, 30]))


@settings(max_examples=20, deadline=None)
@given(_numbers(1e20, 1e24), _numbers(-5, 5), _numbers(0, 2), st.integers(0, 2**32 - 1))
def test_any_linear_operator(column, velocity, dispersion, seed):
    left, right = np.random.default_rng(seed).uniform(0, 1, (2, 7, N))
    norm = left @ np.ones((N, N)) @ right.T

    def operator(planes):
        return left @ planes @ right.T

    new = transform(column, velocity, dispersion, operator)
    energy = column * (velocity**2 + dispersion**2)
    np.testing.assert_allclose(new[0] * norm, operator(column), rtol=1e-9)
    momentum = new[0] * new[1] * norm
    np.testing.assert_allclose(
        momentum, operator(column * velocity), atol=1e-7 * momentum.max() + 1e17
    )
    np.testing.assert_allclose(
        new[0] * (new[1] ** 2 + new[2] ** 2) * norm, operator(energy), rtol=1e-6, atol=1e14
    )


def halves(planes):
    """Average the two halves of a row."""
    return planes.reshape(*planes.shape[:-1], 2, -1).mean(axis=-1)


def test_what_is_missing_has_no_weight():
    nan = np.nan
    column = np.array([[1.0, 3.0, nan, nan, nan, 2.0]]) * 1e21
    velocity = np.array([[1.0, nan, 5.0, 1.0, 1.0, 1.0]])
    new = transform(column, velocity, None, halves)
    np.testing.assert_allclose(new[0], [[2e21, nan]])  # of the second half, one third is known
    np.testing.assert_allclose(new[1], [[nan, nan]])  # a quarter of the gas has a velocity
    assert new[2] is None
    new = transform(column, velocity, np.full((1, 6), 0.4), halves, full=0.0)
    np.testing.assert_allclose(new[0], [[2e21, 2e21]])
    np.testing.assert_allclose(new[1], [[nan, 1.0]])
    np.testing.assert_allclose(new[2], [[0.4, 0.4]])  # lines without velocity add no spread


def test_borders_do_not_count_as_missing_unless_asked():
    def shifted(planes):
        return np.pad(planes, ((0, 0), (0, 0), (0, 1)))[..., 1:] * 0.9 + 0.1 * planes

    column = np.full((1, 3), 1e21)
    np.testing.assert_allclose(transform(column, None, None, shifted)[0], column)
    assert np.isnan(transform(column, None, None, shifted, full=1.0)[0]).tolist() == [
        [False, False, True]
    ]


def test_mean_velocity_of_each_map():
    column = np.array([[[1.0, 3.0]], [[2.0, np.nan]], [[1.0, 1.0]]]) * 1e21
    velocity = np.array([[[1.0, 2.0]], [[5.0, 7.0]], [[np.nan, np.nan]]])
    np.testing.assert_allclose(mean_velocity(velocity, column).ravel(), [1.75, 5, 0])


def test_rounding_leaves_no_variance():
    mean, variance = line_of_sums(np.array([2.0, 0.0]), np.array([2e6, 0.0]), np.array([2e12, 0.0]))
    np.testing.assert_array_equal(mean, [1e6, np.nan])
    np.testing.assert_array_equal(variance, [0, np.nan])


def test_images_and_maps_agree_on_wider_pixels():
    rng = np.random.default_rng(3)
    image = np.stack([rng.normal(22, 0.3, (16, 16)), rng.normal(0, 1, (16, 16)), np.ones((16, 16))])
    units = (10.0 ** image[0] / u.cm**2, image[1] * u.km / u.s, image[2] * u.km / u.s)
    gas = GasMap(*units, pixel_scale=SCALE)
    seen = Telescope(pixel_scale=4 * SCALE).observe_images(image[None], size=16 * SCALE)[0]
    back = (
        Telescope(pixel_scale=4 * SCALE)
        .observe(gas)
        .cutout((1.5, 1.5), size=16 * SCALE, shape=(16, 16))
    )
    inner = (slice(None), slice(2, 14), slice(2, 14))
    expected = back.to_array()
    np.testing.assert_allclose(seen[inner][0], expected[inner][0], atol=1e-5)
    np.testing.assert_allclose(seen[inner][2], expected[inner][2], atol=1e-4)


def test_standard_map_has_one_home():
    package = Path(astrofractal.__file__).parent
    own = ('("column_density", "velocity", "dispersion")', "0.5 * u.pc", "(64, 64)")
    own = {ast.unparse(ast.parse(text)) for text in own}
    found = set()
    for path in package.rglob("*.py"):
        nodes = ast.walk(ast.parse(path.read_text("utf-8")))
        copies = {ast.unparse(n) for n in nodes if isinstance(n, (ast.Tuple, ast.List, ast.BinOp))}
        if own & {text.replace("[", "(").replace("]", ")") for text in copies}:
            found.add(path.relative_to(package).as_posix())
    assert found == {"gasmap/moments.py"}
