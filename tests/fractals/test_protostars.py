"""The physics of hidden masses, against what it must be by itself."""

import numpy as np
import pytest
from astropy import constants
from astropy import units as u
from scipy.integrate import trapezoid

pytest.importorskip("numba")

from astrofractal.fractals import Protostar, add_protostars
from astrofractal.fractals.protostars import MASS_RANGE, PIXEL_SCALE, draw_protostar
from astrofractal.gasmap.moments import STANDARD_SHAPE, STANDARD_WIDTH

STILL = {
    "envelope": 2.0, "extent": 0.1, "core": 0.004, "power": 1.5, "softening": 0.0, "random": 0.5,
    "infall": 0.0, "rotation": 0.0, "front": 0.0, "anisotropy": 0.0, "motion": 0.0, "angle": 0.0,
    "axis_ratio": 1.0, "spin_angle": 0.0, "clumpiness": 0.0,
}  # fmt: skip


def _gas(size=64):
    return np.stack([np.full((size, size), value, np.float32) for value in (22.0, 0.0, 0.2)])


def test_speed_is_that_of_free_fall():
    star = Protostar(mass=3.0, **{**STILL, "envelope": 1e-9})
    expected = np.sqrt(2 * constants.G * 3 * u.solMass / (0.01 * u.pc)).to_value(u.km / u.s)
    assert star.speed(0.01) == pytest.approx(expected, rel=1e-3)


def test_gas_within_the_radius_pulls_as_well():
    star = Protostar(mass=1.0, **STILL)
    assert star.enclosed(0.1) == pytest.approx(2.0)
    assert star.enclosed(0.2) == pytest.approx(2.0)
    ratio = star.speed(0.1) / Protostar(mass=1.0, **{**STILL, "envelope": 1e-9}).speed(0.1)
    assert ratio == pytest.approx(np.sqrt(3), rel=1e-3)


def test_density_is_the_derivative_of_the_enclosed_mass():
    star = Protostar(mass=1.0, **STILL)
    radius = np.linspace(1e-4, 0.0999, 20_000)
    shells = 4 * np.pi * radius**2 * star.density(radius)
    total = trapezoid(shells, radius)
    assert total == pytest.approx(star.enclosed(radius[-1]), rel=1e-3)


def test_projection_keeps_the_mass():
    star = Protostar(mass=1.0, **STILL)
    radius = np.geomspace(1e-4, 0.1, 400)
    column, *_ = star.projected(radius)
    per_area = 2.8 * constants.m_p.to_value(u.solMass) * (1 * u.pc).to_value(u.cm) ** 2
    total = trapezoid(2 * np.pi * radius * column * per_area, radius)
    assert total == pytest.approx(star.enclosed(0.1), rel=0.05)


@pytest.mark.parametrize("index", range(20))
def test_column_density_velocity_and_dispersion_stay_finite_and_centered(index):
    gas, log_mass = add_protostars(_gas(), 0, index)
    assert gas.shape == (3, 64, 64)
    assert gas.dtype == np.float32
    assert np.isfinite(gas).all()
    assert (gas[0] >= 22 - 1e-3).all()  # column densities add
    assert (gas[2] > 0).all()
    column = 10.0 ** (gas[0] - 22)
    assert abs((column * gas[1]).sum() / column.sum()) < 1e-4
    assert np.log10(MASS_RANGE[0]) <= log_mass <= np.log10(MASS_RANGE[1])


@pytest.mark.parametrize(("seed", "index"), [(3, 8), (4, 7)])
def test_stars_depend_on_seed_and_index_alone(seed, index):
    one, again = add_protostars(_gas(), 3, 7), add_protostars(_gas(), 3, 7)
    np.testing.assert_array_equal(one[0], again[0])
    assert one[1] == again[1]
    assert add_protostars(_gas(), seed, index)[1] != one[1]


def test_heavier_stars_stir_the_gas_around_them():
    # Not one by one, because all else is drawn as well.
    found = [add_protostars(_gas(), 1, index) for index in range(200)]
    log_mass = np.array([mass for _, mass in found])
    dispersion = np.array([np.log(gas[2, 30:34, 30:34].mean()) for gas, _ in found])
    assert np.corrcoef(log_mass, dispersion)[0, 1] > 0.3


def test_masses_are_uniform_in_the_logarithm():
    random = np.random.default_rng(0)
    masses = np.log([draw_protostar(random).mass for _ in range(2000)])
    low, high = np.log(MASS_RANGE)
    share = np.histogram(masses, bins=4, range=(low, high))[0] / 2000
    np.testing.assert_allclose(share, 0.25, atol=0.04)


def test_pixels_are_those_of_the_standard_map():
    assert pytest.approx(0.5 / 64) == PIXEL_SCALE
    assert pytest.approx((STANDARD_WIDTH / STANDARD_SHAPE[1]).to_value(u.pc)) == PIXEL_SCALE
