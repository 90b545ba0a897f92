"""Projection: mass to 1e-6, columns and moments against what is known exactly."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable
from scipy.integrate import trapezoid

from astrofractal.exceptions import AstrofractalWarning
from astrofractal.gasmap import column_to_mass
from astrofractal.simulations import Snapshot, line_of_sight_basis, project, thermal_dispersion
from astrofractal.simulations._deposit import column_kernel, cumulative_table

KMS = u.km / u.s
SIGHTS = ["x", "y", "z", [1.0, 2.0, -0.5]]


def make(n=2000, *, sizes, grid=False, spread=0.3, seed=0, **options):
    """Random gas within ``spread`` pc of the origin, of the given sizes in pc."""
    random = np.random.default_rng(seed)
    name = "cell_widths" if grid else "smoothing_lengths"
    return Snapshot(
        random.uniform(-spread, spread, (n, 3)) * u.pc,
        random.uniform(0.5, 1.5, n) * u.solMass,
        random.normal(size=(n, 3)) * KMS,
        **{name: np.broadcast_to(sizes, n) * u.pc},
        **options,
    )


def mass_of(gas):
    """Mass in a map, from its column density."""
    return np.nansum(column_to_mass(gas.column_density.astype(float), gas.pixel_area))


def test_kernel_is_normalized():
    q = np.linspace(0, 2, 20001)
    assert trapezoid(2 * np.pi * q * column_kernel(q), q) == pytest.approx(1, abs=1e-6)
    assert column_kernel(0.0) == pytest.approx(3 / (2 * np.pi))
    assert cumulative_table()[-1, -1] == 0.25
    assert (np.diff(np.diff(cumulative_table(), axis=0), axis=1) > -1e-14).all()


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("grid", [False, True])
def test_mass_is_conserved_for_all_sizes(sight, grid):
    sizes = 10 ** np.random.default_rng(1).uniform(-5, -1.3, 2000)  # pixels are 0.03 pc
    snapshot = make(sizes=sizes, grid=grid)
    gas = project(snapshot, line_of_sight=sight, center=[0, 0, 0] * u.pc, size=2 * u.pc)
    assert u.isclose(mass_of(gas), snapshot.gas_mass, rtol=1e-6)


@pytest.mark.parametrize("sight", ["z", [1.0, 2.0, -0.5]])
@pytest.mark.parametrize("grid", [False, True])
def test_slabs_and_tiles_add_up(sight, grid):
    snapshot = make(500, sizes=0.04, grid=grid, spread=0.25)
    basis = line_of_sight_basis(sight)
    total = 0 * u.solMass
    for depth in (np.arange(4) - 1.5) * 0.25:
        for x in (-0.25, 0.25):
            center = (depth * basis[2] + x * basis[0]) * u.pc
            gas = project(
                snapshot, line_of_sight=sight, center=center, size=0.5 * u.pc, shape=(32, 16),
                depth=0.25 * u.pc,
            )  # fmt: skip
            total += mass_of(gas)
    assert u.isclose(total, snapshot.gas_mass, rtol=1e-6)


def gaussian_blob(sigma=0.1, spacing=0.01, h=None):
    """A Gaussian of 10 solar masses and unit velocity gradient along x, on a lattice."""
    axis = (np.arange(0, 9 * sigma, spacing) + spacing / 2) - 4.5 * sigma
    positions = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    weights = np.exp(-0.5 * (positions**2).sum(1) / sigma**2)
    sizes = {"cell_widths": spacing} if h is None else {"smoothing_lengths": h}
    return Snapshot(
        positions * u.pc,
        weights * 10 / weights.sum() * u.solMass,
        np.stack([3 + 20 * positions[:, 2], 5 * positions[:, 0], 0 * weights], axis=1) * KMS,
        **{key: np.full(len(weights), value) * u.pc for key, value in sizes.items()},
    )


@pytest.mark.parametrize("h", [0.012, None])
@pytest.mark.parametrize("sight", ["z", [1.0, 1.0, 1.0]])
def test_gaussian_blob_matches_its_analytic_column(h, sight):
    sigma = 0.1
    gas = project(
        gaussian_blob(sigma, h=h), line_of_sight=sight, size=0.6 * u.pc, shape=(60, 60),
        center=[0, 0, 0] * u.pc,
    )  # fmt: skip
    offset = (np.arange(60) - 29.5) * 0.01
    radius2 = offset[:, None] ** 2 + offset[None, :] ** 2
    expected = 10 / (2 * np.pi * sigma**2) * np.exp(-0.5 * radius2 / sigma**2)
    column = column_to_mass(gas.column_density, 1 * u.pc**2).to_value(u.solMass)
    inside = radius2 < (2 * sigma) ** 2
    assert np.abs(column / expected - 1)[inside].max() < 0.01


def test_moments_of_gradients():
    gas = project(
        gaussian_blob(h=0.012), line_of_sight="x", size=0.4 * u.pc, shape=(40, 40),
        center=[0, 0, 0] * u.pc,
    )  # fmt: skip
    # seen along x: v = 3 + 20 z changes along rows and not along the line of sight
    offset = (np.arange(40) - 19.5) * 0.01
    assert np.allclose(gas.velocity.value, 3 + 20 * offset[:, None], atol=0.05)
    assert gas.dispersion.value.max() < 0.4
    # seen along y: v = 5 x, columns run along -x
    gas = project(
        gaussian_blob(h=0.012), line_of_sight="y", size=0.4 * u.pc, shape=(40, 40),
        center=[0, 0, 0] * u.pc,
    )  # fmt: skip
    assert np.allclose(gas.velocity.value, -5 * offset[None, :], atol=0.02)


def test_dispersion_along_the_line_of_sight_and_thermal_term():
    # two sheets that move apart at +-2 km/s with masses 3:1
    positions = np.array([[0.0, 0, 0.1], [0, 0, -0.1]]) * u.pc
    velocities = np.array([[0.0, 0, 2], [0, 0, -2]]) * KMS
    snapshot = Snapshot(
        positions, [3, 1] * u.solMass, velocities, smoothing_lengths=[0.05, 0.05] * u.pc,
        temperatures=[10, 30] * u.K,
    )  # fmt: skip
    frame = {"center": [0, 0, 0] * u.pc, "size": 0.1 * u.pc, "shape": (4, 4)}
    gas = project(snapshot, **frame)
    assert np.allclose(gas.velocity.value, 1, atol=1e-5)
    assert np.allclose(gas.dispersion.value, np.sqrt(3), atol=1e-5)
    warm = project(snapshot, thermal=0.5 * KMS, **frame)
    assert np.allclose(warm.dispersion.value, np.sqrt(3 + 0.25), atol=1e-5)
    own = project(snapshot, thermal=True, **frame)
    same = project(snapshot, thermal=15 * u.K, **frame)  # the mass-weighted mean
    assert np.allclose(own.dispersion.value, same.dispersion.value, atol=1e-5)
    ammonia = project(snapshot, thermal=thermal_dispersion(15 * u.K, molecular_weight=17), **frame)
    assert (ammonia.dispersion < same.dispersion).all()
    one = project(snapshot, depth=0.1 * u.pc, **{**frame, "center": [0, 0, 0.1] * u.pc})
    assert np.allclose(one.velocity.value, 2, atol=1e-5)
    assert np.all(one.dispersion.value == 0)


def test_a_large_bulk_velocity_does_not_spoil_the_dispersion():
    snapshot = make(sizes=0.05)
    moving = Snapshot(
        snapshot.positions, snapshot.masses, snapshot.velocities + 3000 * KMS,
        smoothing_lengths=snapshot.smoothing_lengths,
    )  # fmt: skip
    still = project(snapshot, size=0.4 * u.pc)
    with pytest.warns(AstrofractalWarning, match="too much for gas"):
        gas = project(moving, size=0.4 * u.pc)
    assert np.allclose(gas.dispersion.value, still.dispersion.value, rtol=1e-4)


def test_particles_and_cells_of_one_medium_agree():
    cells = project(gaussian_blob(), size=0.4 * u.pc, shape=(20, 20))
    particles = project(gaussian_blob(h=0.012), size=0.4 * u.pc, shape=(20, 20))
    ratio = cells.column_density / particles.column_density
    assert np.all(np.abs(ratio - 1) < 0.02)


def test_rotation_about_the_line_of_sight_turns_the_image():
    from scipy.spatial.transform import Rotation

    snapshot = make(sizes=0.05)
    center = [0, 0, 0] * u.pc
    upright = project(snapshot, center=center)
    turned = project(snapshot, center=center, line_of_sight=Rotation.from_euler("z", 90, True))
    # columns now count along -y and rows along x
    expected = upright.column_density[::-1].T
    assert np.allclose(turned.column_density.value, expected.value, rtol=1e-4)


def test_periodic_box_takes_the_nearest_image():
    snapshot = Snapshot(
        [[0.95, 0.5, 0.5], [0.5, 0.5, 0.5]] * u.pc, [1, 1] * u.solMass, np.zeros((2, 3)) * KMS,
        smoothing_lengths=[0.01, 0.01] * u.pc, box_size=1 * u.pc,
    )  # fmt: skip
    gas = project(snapshot, center=[0, 0.5, 0.5] * u.pc, size=0.2 * u.pc)
    assert u.isclose(mass_of(gas), 1 * u.solMass, rtol=1e-6)


def test_map_with_distance_has_a_wcs():
    snapshot = make(sizes=0.05)
    gas = project(snapshot, shape=(30, 30), size=0.3 * u.pc, distance=300 * u.pc)
    assert gas.shape == (30, 30)
    assert gas.wcs.has_celestial
    assert u.isclose(gas.pixel_scale, 0.01 * u.pc, rtol=1e-4)
    plain = project(snapshot, size=0.3 * u.pc, shape=(20, 30))
    assert plain.shape == (20, 30)
    assert plain.wcs is None
    assert u.isclose(plain.pixel_scale, 0.01 * u.pc)


def test_pixels_without_gas_are_masked():
    snapshot = make(1, sizes=0.02, spread=1e-6)
    gas = project(snapshot, size=0.5 * u.pc)
    assert gas.mask.any()
    assert not gas.mask.all()
    with pytest.raises(ValueError, match="no gas in the map"):
        project(snapshot, center=[9, 9, 9] * u.pc)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"line_of_sight": "w"}, "line_of_sight must be"),
        ({"line_of_sight": [0, 0, 0]}, "non-zero length"),
        ({"line_of_sight": np.ones((3, 3))}, "rotation matrix"),
        ({"depth": -1 * u.pc}, "depth must be positive"),
        ({"center": [1, 2] * u.pc}, "center must be a position"),
        ({"shape": (0, 4)}, "shape must be a positive integer"),
        ({"thermal": True}, "no temperatures"),
        ({"size": -1 * u.pc}, "size must be a positive length"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        project(make(10, sizes=0.1), **options)


@pytest.mark.parametrize(("name", "vector"), [("x", [2, 0, 0]), ("y", [0, 3, 0]), ("z", [0, 0, 1])])
def test_axes_and_vectors_agree(name, vector):
    assert np.allclose(line_of_sight_basis(name), line_of_sight_basis(vector))
    assert np.linalg.det(line_of_sight_basis(name)) == pytest.approx(1)


def test_thermal_dispersion():
    assert thermal_dispersion(10 * u.K).value == pytest.approx(0.187, abs=1e-3)


GOOD = {
    "positions": np.zeros((3, 3)) * u.pc,
    "masses": np.ones(3) * u.solMass,
    "velocities": np.zeros((3, 3)) * KMS,
    "smoothing_lengths": np.ones(3) * u.pc,
}
SINKS = {name: [1.0, 2.0] for name in ("mass", "x", "y", "z")}
UNITS = {"mass": u.solMass, "x": u.pc, "y": u.pc, "z": u.pc}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"masses": np.ones(3)}, TypeError, "masses must be a Quantity"),
        ({"masses": np.ones(4) * u.solMass}, ValueError, "masses must have the shape"),
        ({"masses": [1, np.nan, 1] * u.solMass}, ValueError, "masses must be finite"),
        ({"masses": np.ones(3) * u.km}, u.UnitConversionError, "not convertible"),
        ({"smoothing_lengths": None}, ValueError, "give either"),
        ({"smoothing_lengths": [1, 0, 1] * u.pc}, ValueError, "must be positive"),
        ({"sinks": QTable({"mass": [1] * u.solMass})}, ValueError, "sinks needs the columns"),
        ({"sinks": QTable(SINKS)}, u.UnitsError, "unit"),
        (
            {"sinks": QTable(SINKS | {"sink": ["a", "a"]}, units=UNITS)},
            ValueError,
            "name each sink once",
        ),
    ],
)
def test_snapshot_checks_its_input(change, error, message):
    assert len(Snapshot(**GOOD)) == 3
    with pytest.raises(error, match=message):
        Snapshot(**(GOOD | change))
