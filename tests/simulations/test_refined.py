"""Refined grids: each leaf cell counts once, whatever the covered cells above it hold."""

import numpy as np
import pytest
from astropy import units as u

from astrofractal.gasmap import column_to_mass
from astrofractal.simulations import project, read_snapshot

PC = (1 * u.pc).to_value(u.cm)
UNITS = {"length": 2 * u.pc, "density": 1e-20 * u.g / u.cm**3, "time": 1 * u.Myr}
GRID_UNITS = {"length": 2 * PC, "unit_density": 1e-20, "unit_time": UNITS["time"].to_value(u.s)}
N = 8


@pytest.fixture(params=["athena", "enzo", "ramses"])
def refined(request, tmp_path, writers):
    """A snapshot of two levels, and its leaf cells on the fine grid."""
    random = np.random.default_rng(5)
    density, velocity = random.uniform(1, 2, (N, N, N)), random.normal(size=(3, N, N, N))
    octant = random.uniform(3, 9, (N, N, N)), random.normal(size=(3, N, N, N))
    expected = writers.refined_cells(density, velocity, octant)
    density[: N // 2, : N // 2, : N // 2] = 1e6  # covered: it must not be seen
    if request.param == "athena":
        path = tmp_path / "cloud.athdf"
        writers.write_athena(path, density, velocity, octant=octant)
        return read_snapshot(path, units=UNITS), *expected
    write = getattr(writers, f"write_{request.param}")
    path = tmp_path / {"enzo": "DD0003", "ramses": "output_00003"}[request.param]
    write(path, density, velocity, octant=octant, **GRID_UNITS)
    return read_snapshot(path), *expected


def test_leaf_cells(refined):
    snapshot, density, velocity = refined
    assert snapshot.is_grid
    assert len(snapshot) == N**3 - (N // 2) ** 3 + N**3
    widths, counts = np.unique(
        np.round(snapshot.cell_widths.to_value(u.pc)[:, 0], 9), return_counts=True
    )
    assert widths.tolist() == [0.125, 0.25]
    assert counts.tolist() == [N**3, N**3 - (N // 2) ** 3]
    # a position within each leaf cell, on the fine grid
    place = snapshot.positions - snapshot.cell_widths.min(axis=0) * 0.25
    index = tuple(np.floor(place.to_value(u.pc) * N).astype(int).T)
    volume = snapshot.cell_widths.value.prod(axis=1) * u.pc**3
    found = (snapshot.masses / volume / UNITS["density"]).to_value(u.one)
    np.testing.assert_allclose(found, density[index], rtol=1e-5)
    speed = (UNITS["length"] / UNITS["time"]).to(u.km / u.s)
    for axis in range(3):
        found = (snapshot.velocities[:, axis] / speed).to_value(u.one)
        np.testing.assert_allclose(found, velocity[axis][index], rtol=1e-5, atol=1e-6)


def test_mass_is_that_of_the_leaf_cells(refined):
    snapshot, density, _ = refined
    cell = (2 * u.pc / (2 * N)) ** 3 * UNITS["density"]
    expected = density.sum() * cell
    # yt and astropy differ in the sixth digit of the solar mass, so a ratio is what is exact
    assert u.isclose(snapshot.gas_mass, expected, rtol=1e-5)
    inner = (snapshot.positions < 1 * u.pc).all(axis=1)
    share = (snapshot.masses[inner].sum() / snapshot.gas_mass).to_value(u.one)
    assert share == pytest.approx(density[:N, :N, :N].sum() / density.sum(), rel=1e-6)


@pytest.mark.parametrize("line_of_sight", ["x", "z", [1, 2, 2]])
def test_projection_conserves_mass(refined, line_of_sight):
    snapshot, *_ = refined
    snapshot.box_size = None
    gas = project(
        snapshot,
        line_of_sight=line_of_sight,
        center=[1, 1, 1] * u.pc,
        size=4 * u.pc,
        shape=(50, 50),
    )
    assert u.isclose(gas.mass, snapshot.gas_mass, rtol=1e-6)


def test_map_along_an_axis(refined):
    """Column density and moments of the line of sight, pixel by pixel."""
    snapshot, density, velocity = refined
    gas = project(
        snapshot, line_of_sight="z", center=[1, 1, 1] * u.pc, size=2 * u.pc, shape=(16, 16)
    )
    column = density.sum(axis=2).T * (2 * u.pc / (2 * N)) * UNITS["density"]
    found = column_to_mass(gas.column_density, 1 * u.pc**2)
    np.testing.assert_allclose(found, (column * u.pc**2).to(u.solMass), rtol=1e-5)
    speed = (UNITS["length"] / UNITS["time"]).to_value(u.km / u.s)
    mean = np.average(velocity[2], axis=2, weights=density)
    spread = np.average((velocity[2] - mean[:, :, None]) ** 2, axis=2, weights=density)
    np.testing.assert_allclose(gas.velocity.value, speed * mean.T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gas.dispersion.value, speed * np.sqrt(spread).T, rtol=1e-4)


def test_periodic_box_is_seen_around_its_border(refined):
    """A map around the corner of the box shows all octants, as many times as they are."""
    snapshot, density, _ = refined
    snapshot.box_size = [2, 2, 2] * u.pc
    gas = project(
        snapshot, line_of_sight="z", center=[0, 0, 0] * u.pc, size=2 * u.pc, shape=(16, 16)
    )
    assert u.isclose(gas.mass, snapshot.gas_mass, rtol=1e-6)
    column = np.roll(density, (N, N, N), axis=(0, 1, 2)).sum(axis=2).T
    found = gas.column_density / gas.column_density.mean()
    np.testing.assert_allclose(found, column / column.mean(), rtol=1e-5)
