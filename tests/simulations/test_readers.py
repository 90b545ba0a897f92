"""Snapshots of every supported code, written here in small, come back in the right units."""

import numpy as np
import pytest
from astropy import constants as const
from astropy import units as u
from astropy.table import QTable

from astrofractal.simulations import find_snapshots, read_snapshot
from astrofractal.simulations._ramses import read_table_of_sinks

PC, MSUN = (1 * u.pc).to_value(u.cm), (1 * u.solMass).to_value(u.g)
UNITS = {"length": 2 * u.pc, "density": 1e-20 * u.g / u.cm**3, "time": 1 * u.Myr}
GRID_UNITS = {"length": 2 * PC, "unit_density": 1e-20, "unit_time": UNITS["time"].to_value(u.s)}


@pytest.fixture
def particles():
    random = np.random.default_rng(3)
    n = 300
    return (
        random.uniform(3, 7, (n, 3)),
        random.uniform(0.5, 1.5, n),
        random.normal(size=(n, 3)),
        random.uniform(0.2, 0.4, n),
    )


@pytest.fixture
def grid():
    random = np.random.default_rng(4)
    return random.uniform(1, 2, (8, 8, 8)), random.normal(size=(3, 8, 8, 8))


SINKS = (np.array([[4.0, 5.0, 6.0], [5.0, 5.0, 5.0]]), np.array([2.0, 0.5]), np.array([11, 12]))
INNER_SINKS = (
    np.array([[0.2, 0.5, 0.7], [0.5, 0.5, 0.5]]),
    np.array([2.0, 0.5]),
    np.array([11, 12]),
)


@pytest.mark.parametrize("flavour", ["gadget", "gizmo", "arepo"])
def test_gadget_family(tmp_path, writers, particles, flavour):
    positions, masses, velocities, h = particles
    path = tmp_path / "snapshot_010.hdf5"
    density = masses / h**3
    stored = {} if flavour == "arepo" else {"h": h}
    writers.write_gadget(
        path, positions, masses, velocities, flavour=flavour, density=density, sinks=SINKS,
        units=(PC, MSUN, 1e5), **stored
    )  # fmt: skip
    snapshot = read_snapshot(path)
    assert snapshot.meta["code"] == "gadget"
    order = np.argsort(snapshot.positions[:, 0])
    expected = np.argsort(positions[:, 0])
    assert np.allclose(snapshot.positions[order].value, positions[expected], rtol=1e-6)
    assert np.allclose(snapshot.masses[order].value, masses[expected], rtol=1e-4)
    assert np.allclose(snapshot.velocities[order].value, velocities[expected], rtol=1e-6)
    scale = 1.2 if flavour == "arepo" else 0.5  # the file's kernel vanishes at the stored length
    assert np.allclose(snapshot.smoothing_lengths[order].value, scale * h[expected], rtol=1e-3)
    assert snapshot.time.to_value(u.Myr) == pytest.approx(0.5 * 0.97779, rel=1e-3)
    assert snapshot.sinks["sink"].tolist() == ["11", "12"]
    assert np.allclose(snapshot.sinks["mass"].to_value(u.solMass), SINKS[1], rtol=1e-4)
    assert np.allclose(snapshot.sinks["z"].to_value(u.pc), SINKS[0][:, 2], rtol=1e-6)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["snapshot_010.hdf5"]
    assert snapshot.name == tmp_path.name


def test_gadget_units_are_not_guessed(tmp_path, writers, particles):
    path = tmp_path / "snap.hdf5"
    positions, masses, velocities, h = particles
    writers.write_gadget(path, positions, masses, velocities, h=h, units=None)
    with pytest.raises(ValueError, match="does not state its units"):
        read_snapshot(path)
    units = {"length": 1 * u.kpc, "mass": 1e5 * u.solMass, "velocity": 1 * u.m / u.s}
    snapshot = read_snapshot(path, units=units, periodic=False)
    assert u.isclose(snapshot.gas_mass, masses.sum() * 1e5 * u.solMass, rtol=1e-4)
    assert snapshot.box_size is None
    assert snapshot.positions.max() > 6000 * u.pc
    with pytest.raises(ValueError, match="one of velocity and time"):
        read_snapshot(path, units={"length": 1 * u.pc, "mass": 1 * u.solMass})
    with pytest.raises(ValueError, match="units may have"):
        read_snapshot(path, units={"lenght": 1 * u.pc})


def test_gadget_temperatures_and_sinks_of_another_file(tmp_path, writers, particles):
    positions, masses, velocities, h = particles
    path = tmp_path / "snap.hdf5"
    writers.write_gadget(path, positions, masses, velocities, h=h, units=(PC, MSUN, 1e5))
    table = QTable({"mass": [1.5] * u.solMass})
    for axis in "xyz":
        table[axis] = [5.0] * u.pc
    table.write(tmp_path / "sinks.ecsv")
    snapshot = read_snapshot(path, sinks=tmp_path / "sinks.ecsv", temperatures=True)
    assert snapshot.sinks["mass"].to_value(u.solMass).tolist() == [1.5]
    assert (snapshot.temperatures > 10 * u.K).all()
    assert len(read_snapshot(path).sinks) == 0


def check_grid(snapshot, grid, *, sinks=True):
    """Compare a snapshot in the units above with the arrays that were written."""
    density, velocity = grid
    n = density.shape[0]
    assert len(snapshot) == n**3
    assert snapshot.is_grid
    index = tuple(np.floor(snapshot.positions.to_value(u.pc) / 2 * n).astype(int).T)
    cell = (2 * u.pc / n) ** 3
    expected = density[index] * UNITS["density"] * cell
    assert u.allclose(snapshot.masses, expected, rtol=1e-4)
    speed = (UNITS["length"] / UNITS["time"]).to(u.km / u.s)
    for axis in range(3):
        found = snapshot.velocities[:, axis]
        assert u.allclose(found, velocity[axis][index] * speed, rtol=1e-4, atol=1e-6 * speed)
    assert u.allclose(snapshot.cell_widths, 2 * u.pc / n, rtol=1e-6)
    if sinks:
        assert np.allclose(snapshot.sinks["x"].to_value(u.pc), 2 * INNER_SINKS[0][:, 0], rtol=1e-5)


def test_athena(tmp_path, writers, grid):
    path = tmp_path / "cloud.out2.00010.athdf"
    writers.write_athena(path, *grid)
    with pytest.raises(ValueError, match="does not state its units"):
        read_snapshot(path)
    check_grid(read_snapshot(path, units=UNITS), grid, sinks=False)


def test_region_is_a_part(tmp_path, writers, grid):
    path = tmp_path / "cloud.athdf"
    writers.write_athena(path, *grid)
    snapshot = read_snapshot(path, units=UNITS, region=([0, 0, 0] * u.pc, [1, 1, 2] * u.pc))
    assert len(snapshot) == 4 * 4 * 8


def test_flash(tmp_path, writers, grid):
    density, velocity = grid
    path = tmp_path / "cloud_hdf5_chk_0003"
    speed = (UNITS["length"] / UNITS["time"]).to_value(u.cm / u.s)
    sinks = (INNER_SINKS[0], INNER_SINKS[1] * MSUN)
    writers.write_flash(path, density * 1e-20, velocity * speed, length=2 * PC, sinks=sinks)
    snapshot = read_snapshot(path)
    check_grid(snapshot, grid)
    assert u.allclose(snapshot.sinks["mass"], INNER_SINKS[1] * u.solMass, rtol=1e-4)
    assert u.isclose(snapshot.time, 1 * u.Myr, rtol=1e-3)
    assert snapshot.box_size is None


def test_enzo(tmp_path, writers, grid):
    path = tmp_path / "DD0001"
    mass_unit = 1e-20 * (2 * PC) ** 3
    sinks = (INNER_SINKS[0], INNER_SINKS[1] * MSUN / mass_unit, INNER_SINKS[2])
    writers.write_enzo(path, *grid, sinks=sinks, **GRID_UNITS)
    snapshot = read_snapshot(path)
    check_grid(snapshot, grid)
    assert u.allclose(snapshot.sinks["mass"], INNER_SINKS[1] * u.solMass, rtol=1e-4)
    assert snapshot.sinks["sink"].tolist() == ["11", "12"]


def test_enzo_without_units_is_refused(tmp_path, writers, grid):
    path = tmp_path / "DD0002"
    writers.write_enzo(path, *grid, **GRID_UNITS)
    text = path.read_text()
    path.write_text("\n".join(line for line in text.splitlines() if "Units" not in line))
    with pytest.raises(ValueError, match="does not state its units"):
        read_snapshot(path)


def test_ramses(tmp_path, writers, grid):
    folder = tmp_path / "run" / "output_00007"
    mass_unit = 1e-20 * (2 * PC) ** 3
    sinks = (INNER_SINKS[0], INNER_SINKS[1] * MSUN / mass_unit, INNER_SINKS[2])
    writers.write_ramses(folder, *grid, sinks=sinks, **GRID_UNITS)
    snapshot = read_snapshot(folder)
    check_grid(snapshot, grid)
    assert snapshot.name == "run"
    assert u.allclose(snapshot.sinks["mass"], INNER_SINKS[1] * u.solMass, rtol=1e-4)


NAMES = " # id,msink,x,y,z,vx,vy,vz,lx,ly,lz,tform,acc_rate,del_mass,rho_gas,cs**2,etherm,level "
UNITS_LINE = (
    " # 1,m,l,l,l,l t**-1,l t**-1,l t**-1,m l**2 t**-1,m l**2 t**-1,m l**2 t**-1,t,m t**-1,m,"
    "m l**-3,l**2 t**-2,m l**2 t**-2,1"
)


def sink_rows(n_more, unit):
    """Return lines of sinks as Fortran writes them, with so many further columns."""
    rows = []
    for place, mass, identity in zip(*INNER_SINKS):
        values = [mass / unit, *place, *[0.1] * n_more]
        rows.append(f"{identity:10d}" + "".join(f",{value:20.10E}" for value in values))
    return rows


@pytest.mark.parametrize(
    ("header", "n_more", "unit"),
    [
        ([NAMES, UNITS_LINE], 13, 50),
        ([NAMES], 13, 50),
        (["Id,Mass,x,y,z", "[1],[Msun],[l],[l],[l]"], 0, 1),
        ([], 5, 50),
        ([], 7, 50),
        ([], 12, 50),
        ([], 4, 1),
    ],
    ids=["units", "names", "others", "plain", "spins", "luminosities", "solar"],
)
def test_tables_of_ramses(tmp_path, header, n_more, unit):
    path = tmp_path / "sink_00007.csv"
    path.write_text("\n".join([*header, *sink_rows(n_more, unit), ""]))
    sinks = read_table_of_sinks(path, length=2 * u.pc, mass=50 * u.solMass)
    assert sinks["sink"].tolist() == [11, 12]
    assert u.allclose(sinks["mass"], INNER_SINKS[1] * u.solMass, rtol=1e-9)
    assert u.allclose(sinks["z"], INNER_SINKS[0][:, 2] * 2 * u.pc, rtol=1e-9)


def test_ramses_without_a_header(tmp_path, writers, grid):
    folder = tmp_path / "output_00007"
    table = "\n".join(sink_rows(7, 1e-20 * (2 * PC) ** 3 / MSUN))
    writers.write_ramses(folder, *grid, table=table, **GRID_UNITS)
    snapshot = read_snapshot(folder)
    check_grid(snapshot, grid)
    assert snapshot.sinks["sink"].tolist() == ["11", "12"]
    assert u.allclose(snapshot.sinks["mass"], INNER_SINKS[1] * u.solMass, rtol=1e-3)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("1,2,3,4,5,6\n", "no header and 6 columns"),
        (" # id,mass,x,y,z\n1,2,3,4,5\n", "unit of its masses"),
        (" # id,msink,x,y\n1,2,3,4\n", "names no column z"),
        (" # id,msink,x,y,z\n # 1,furlong,l,l,l\n1,2,3,4,5\n", "furlong"),
        (" # id,msink,x,y,z\n # 1,m,l,l\n1,2,3,4,5\n", "fewer units than names"),
        (" # id,msink,x,y,z\n1,2,3,4\n", "truncated"),
        (" # id,msink,x,y,z\n1,2,3,4,1.5-123\n", "no number"),
        (" # id,msink,x,y,z\n # 1,m,l,l,l\n1,1.5D-02,1,2,3\n2,****,1,2,3\n", "msink = '\\*"),
        (" # id,msink,x,y,z\n # 1,m,l,l,l\n1,2,1,2,3\nb,2,1,2,3\n", "id = 'b'"),
        (" # id,msink,x,y,z\n1,2,1,2,3\n2,NaN,1,2,3\n", "msink = 'NaN'"),
    ],
)
def test_tables_of_ramses_that_are_refused(tmp_path, table, message):
    path = tmp_path / "sink_00007.csv"
    path.write_text(table)
    with pytest.raises(ValueError, match=rf"sink_00007\.csv.*{message}"):
        read_table_of_sinks(path, length=1 * u.pc, mass=1 * u.solMass)


@pytest.mark.parametrize("letter", "eEdD")
def test_exponents_of_fortran(tmp_path, letter):
    path = tmp_path / "sink_00007.csv"
    path.write_text(f" # id,msink,x,y,z\n # 1,m,l,l,l\n 1,1.5{letter}-02,1.{letter}0,2.0,3.0\n")
    sinks = read_table_of_sinks(path, length=1 * u.pc, mass=100 * u.solMass)
    assert u.allclose(sinks["mass"], 1.5 * u.solMass)
    assert u.allclose(sinks["x"], 1 * u.pc)


@pytest.mark.parametrize("table", ["", NAMES + "\n" + UNITS_LINE + "\n"])
def test_tables_of_ramses_without_sinks(tmp_path, table):
    path = tmp_path / "sink_00007.csv"
    path.write_text(table)
    assert read_table_of_sinks(path, length=1 * u.pc, mass=1 * u.solMass) is None


def test_starforge(tmp_path, writers, particles):
    """Stars that lack a part of their sinks' mass, with identifiers that repeat."""
    positions, masses, velocities, h = particles
    places = np.array([[4.0, 5.0, 6.0], [5.0, 5.0, 5.0], [6.0, 5.0, 4.0]])
    sinks = (places, np.array([2.0, 0.5, 0.4]), np.array([11, 12, 11]))
    stars = ([1.7, 0.5, 0.3], [0.2, 0.0, 0.1], [3, 0, 40], [0, 0, 1], [0.25, 0.3, 0.4])
    fraction = np.linspace(0, 1, len(masses))
    path = tmp_path / "snapshot_100.hdf5"
    options = {"molecular": fraction, "sinks": sinks, "stars": stars}
    writers.write_starforge(path, positions, masses, velocities, h, **options)
    snapshot = read_snapshot(path)
    assert np.allclose(snapshot.sinks["mass"].value, stars[0], rtol=1e-3)
    assert snapshot.sinks["sink"].tolist() == ["11@0.25", "12@0.3", "11@0.4"]
    assert u.isclose(snapshot.gas_mass, masses.sum() * u.solMass, rtol=1e-3)
    whole = read_snapshot(path, reservoir=True, molecular=True)
    assert np.allclose(whole.sinks["mass"].value, [1.9, 0.5, 0.4], rtol=1e-3)
    assert u.isclose(whole.gas_mass, (masses * fraction).sum() * u.solMass, rtol=1e-3)
    later = tmp_path / "snapshot_101.hdf5"  # jets have left the first sink
    stars = (*stars[:2], [33, 0, 40], *stars[3:])
    writers.write_starforge(later, positions, masses, velocities, h, **options | {"stars": stars})
    assert read_snapshot(later).sinks["sink"].tolist() == snapshot.sinks["sink"].tolist()


@pytest.mark.parametrize("option", ["molecular", "reservoir"])
def test_what_only_starforge_writes(tmp_path, writers, particles, option):
    positions, masses, velocities, h = particles
    path = tmp_path / "snapshot_100.hdf5"
    writers.write_gadget(path, positions, masses, velocities, h=h, sinks=SINKS)
    with pytest.raises(ValueError, match=f"{option} is True, but.*only GIZMO and STARFORGE"):
        read_snapshot(path, **{option: True})


def test_phantom(tmp_path, writers, particles):
    positions, _, velocities, h = particles
    h[5] = -h[5]  # accreted
    sinks = (np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [4.0, 4.0, 4.0]]), [1.0, -1.0, 3.0])
    path = tmp_path / "cloud_00010"
    time = np.sqrt(PC**3 / (const.G.cgs.value * MSUN))
    writers.write_phantom(path, positions, 0.01, velocities, h, sinks=sinks, units=(PC, MSUN, time))
    snapshot = read_snapshot(path)
    assert len(snapshot) == len(h) - 1
    assert u.isclose(snapshot.gas_mass, 0.01 * (len(h) - 1) * u.solMass)
    keep = h > 0
    assert np.allclose(snapshot.positions.value, positions[keep])
    assert np.allclose(snapshot.smoothing_lengths.value, h[keep], rtol=1e-6)
    speed = (PC / time) / 1e5
    assert np.allclose(snapshot.velocities.value, velocities[keep] * speed, rtol=1e-6)
    assert snapshot.sinks["sink"].tolist() == ["0", "2"]  # the dead one keeps its number
    assert u.isclose(snapshot.time, time * u.s)
    with pytest.raises(ValueError, match="not supported for Phantom"):
        read_snapshot(path, temperatures=True)


@pytest.mark.parametrize("flavour", ["gadget", "gizmo", "arepo"])
def test_a_box_of_zero_is_an_open_boundary(tmp_path, writers, particles, flavour):
    positions, masses, velocities, h = particles
    path = tmp_path / "snapshot_010.hdf5"
    writers.write_gadget(
        path, positions, masses, velocities, h=h, density=masses / h**3, flavour=flavour, box=0.0
    )
    assert read_snapshot(path).box_size is None
    assert read_snapshot(path, periodic=True).box_size is not None


def test_ramses_with_walls(tmp_path, writers, grid):
    folder = tmp_path / "output_00007"
    writers.write_ramses(folder, *grid, **GRID_UNITS)
    assert read_snapshot(folder).box_size is not None
    (folder / "namelist.txt").write_text("&BOUNDARY_PARAMS\nsimple_boundary=.true.\n/\n")
    assert read_snapshot(folder).box_size is None


@pytest.mark.parametrize("name", ["HubbleParam", "MassTable", "Time", "BoxSize"])
@pytest.mark.parametrize("flavour", ["gadget", "gizmo", "arepo"])
def test_what_a_header_lacks_is_named(tmp_path, writers, particles, flavour, name):
    h5py = pytest.importorskip("h5py")
    positions, masses, velocities, h = particles
    path = tmp_path / "snapshot_010.hdf5"
    writers.write_gadget(path, positions, masses, velocities, h=h, flavour=flavour)
    with h5py.File(path, "r+") as file:
        del file["Header"].attrs[name]
    with pytest.raises(
        ValueError, match=rf"the header of '.*snapshot_010.hdf5': it lacks '{name}'"
    ):
        read_snapshot(path)


def test_a_phantom_dump_that_is_cut(tmp_path, writers, particles):
    positions, _, velocities, h = particles
    path = tmp_path / "cloud_00010"
    writers.write_phantom(path, positions, 1.0, velocities, h)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises((ValueError, OSError), match="cloud_00010"):
        read_snapshot(path)


def test_folder_is_searched_in_the_order_of_numbers(tmp_path, writers, grid, particles):
    positions, _, velocities, h = particles
    for number in (2, 10, 1):
        writers.write_phantom(tmp_path / f"cloud_{number}", positions, 1.0, velocities, h)
    (tmp_path / "DD0001").mkdir()
    writers.write_enzo(tmp_path / "DD0001" / "DD0001", *grid, **GRID_UNITS)
    (tmp_path / "notes.txt").write_text("not a snapshot")
    found = [path.relative_to(tmp_path).as_posix() for path in find_snapshots(tmp_path)]
    assert found == ["DD0001/DD0001", "cloud_1", "cloud_2", "cloud_10"]


def test_what_is_not_a_snapshot_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("not a snapshot")
    with pytest.raises(ValueError, match="not a snapshot of a known code"):
        read_snapshot(tmp_path / "notes.txt")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_snapshot(tmp_path / "absent")
    with pytest.raises(ValueError, match="no snapshot found"):
        find_snapshots(tmp_path)
    with pytest.raises(ValueError, match="notes.txt' is not a snapshot of a known code"):
        find_snapshots(tmp_path / "notes.txt")
    with pytest.raises(FileNotFoundError):
        find_snapshots(tmp_path / "absent")


def test_one_file_is_a_list_of_one(tmp_path, writers, particles):
    positions, _, velocities, h = particles
    for number in (1, 2):
        writers.write_phantom(tmp_path / f"cloud_{number}", positions, 1.0, velocities, h)
    assert find_snapshots(tmp_path / "cloud_2") == [tmp_path / "cloud_2"]
