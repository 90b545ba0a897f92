"""Position-position-velocity cubes: a slab and its line in closed form; their moments are the maps."""

import numpy as np
import pytest
from astropy import units as u
from numpy.testing import assert_allclose
from scipy.special import ndtr

from astrofractal import GasMap
from astrofractal.gasmap import XFactor, column_to_mass
from astrofractal.simulations import Snapshot, project, thermal_dispersion

KMS = u.km / u.s
X_FACTOR = 2e21 / u.cm**2 / (u.K * KMS)
CHANNELS = np.arange(-4, 4.01, 0.1) * KMS


def make_slab(velocity=0.73, *, n=8, density=1e4):
    """A cube of 1 pc of n^3 cells of one density (cm-3), seen face on."""
    edge = 1 / n
    places = (np.stack(np.meshgrid(*3 * [np.arange(n)]), -1).reshape(-1, 3) + 0.5) * edge - 0.5
    mass = column_to_mass(density / u.cm**3 * edge * u.pc, edge**2 * u.pc**2)
    speed = np.zeros((n**3, 3))
    speed[:, 2] = velocity
    return Snapshot(
        places * u.pc, np.full(n**3, 1) * mass, speed * KMS, cell_widths=np.full(n**3, edge) * u.pc
    )


def make_cube(snapshot, **options):
    options = {
        "size": 0.8 * u.pc,
        "shape": (16, 16),
        "center": [0, 0, 0] * u.pc,
        "velocities": CHANNELS,
        "x_factor": X_FACTOR,
        "distance": 300 * u.pc,
        **options,
    }
    return project(snapshot, **options)


@pytest.mark.parametrize("thermal", [0.2 * KMS, 10 * u.K])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_uniform_slab(thermal, sign):
    hdu = make_cube(make_slab(), thermal=thermal, velocities=sign * CHANNELS)
    column = (1e4 / u.cm**3 * u.pc).to(u.cm**-2)
    width = thermal if thermal.unit == KMS else thermal_dispersion(thermal)
    edges = sign * CHANNELS.value
    upper, lower = (ndtr((edges + d - 0.73) / width.value) for d in (0.05, -0.05))
    line = (column / X_FACTOR).to_value(u.K * KMS) * (upper - lower) / 0.1
    assert hdu.data.shape == (81, 16, 16)
    assert_allclose(hdu.data, line[:, None, None].repeat(16, 1).repeat(16, 2), rtol=2e-4, atol=2e-4)
    assert hdu.header["BUNIT"] == "K"
    assert hdu.header["DISTANCE"] == 300
    assert hdu.header["XFACTOR"] == 2e21


@pytest.mark.parametrize("sight", ["z", [1.0, 2.0, -0.5]])
@pytest.mark.parametrize("grid", [True, False])
def test_moments_are_those_of_the_map(sight, grid):
    random = np.random.default_rng(2)
    name = "cell_widths" if grid else "smoothing_lengths"
    snapshot = Snapshot(
        random.uniform(-0.4, 0.4, (3000, 3)) * u.pc,
        random.uniform(0.5, 1.5, 3000) * u.solMass,
        random.normal(scale=0.6, size=(3000, 3)) * KMS,
        **{name: random.uniform(0.03, 0.1, 3000) * u.pc},
    )
    options = {"line_of_sight": sight, "thermal": 20 * u.K, "size": 0.6 * u.pc}
    gas = make_cube(snapshot, velocities=None, **options)
    cube = make_cube(snapshot, **options).data.astype(float)
    v = CHANNELS.value[:, None, None]
    total = cube.sum(0)
    mean = (cube * v).sum(0) / total
    spread = np.sqrt((cube * (v - mean) ** 2).sum(0) / total - 0.1**2 / 12)  # of the channel
    assert_allclose(total * 0.1 * X_FACTOR.value, gas.column_density.value, rtol=1e-5)
    assert_allclose(mean, gas.velocity.value, atol=1e-3)
    assert_allclose(spread, gas.dispersion.value, atol=1e-3)


def test_cubes_are_read_as_those_of_telescopes():
    snapshot = make_slab(velocity=-1.2)
    options = {"thermal": 0.3 * KMS}
    hdu = make_cube(snapshot, **options)
    gas = GasMap.from_cube(hdu, column=XFactor(X_FACTOR))
    truth = make_cube(snapshot, velocities=None, **options)
    assert u.allclose(gas.column_density, truth.column_density, rtol=0.01)
    assert u.allclose(gas.velocity, truth.velocity, atol=0.01 * KMS)
    assert u.allclose(gas.dispersion, truth.dispersion, rtol=0.03)
    assert gas.distance == 300 * u.pc
    assert gas.to_sky(0, 0).separation(truth.to_sky(0, 0)).arcsec < 1e-6


def test_a_window_of_densities():
    thin, dense = make_slab(0.5, density=1e3), make_slab(-1, density=1e5)
    both = Snapshot(
        *(np.concatenate([getattr(s, name) for s in (thin, dense)])
          for name in ("positions", "masses", "velocities")),
        cell_widths=np.concatenate([thin.cell_widths, dense.cell_widths]),
    )  # fmt: skip
    for window, alone in (
        ((1e4 / u.cm**3, None), dense),
        ((None, 1e4 / u.cm**3), thin),
        ((100 / u.cm**3, 5e3 / u.cm**3), thin),
    ):
        for options in ({}, {"velocities": None}):
            found = make_cube(both, densities=window, **options)
            expected = make_cube(alone, **options)
            if options:
                assert u.allclose(found.column_density, expected.column_density)
                assert u.allclose(found.velocity, expected.velocity)
            else:
                assert_allclose(found.data, expected.data)


def test_the_density_of_particles():
    slab = make_slab(density=1e4)
    h = 1.2 / 8  # of cubes of 1/8 pc: 1.2 times the distance between the particles
    snapshot = Snapshot(
        slab.positions, slab.masses, slab.velocities, smoothing_lengths=np.full(512, h) * u.pc
    )
    make_cube(snapshot, densities=(9.9e3 / u.cm**3, 1.01e4 / u.cm**3), velocities=None)
    with pytest.raises(ValueError, match="no gas in the map"):
        make_cube(snapshot, densities=(1.01e4 / u.cm**3, None), velocities=None)


@pytest.mark.parametrize("velocities", [[1] * KMS, [0, 1, 3] * KMS, [1, 1] * KMS, 3 * KMS])
def test_channels_that_are_none(velocities):
    with pytest.raises(ValueError, match="velocities must be the evenly spaced centers"):
        make_cube(make_slab(), velocities=velocities)


def test_a_cube_needs_a_distance():
    with pytest.raises(ValueError, match="velocities needs distance"):
        make_cube(make_slab(), distance=None)
