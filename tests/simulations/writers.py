"""Tiny snapshots in the formats of simulation codes, written from their published layouts.

Grids are uniform cubes of [0, 1]^3 code lengths; ``density`` is indexed (x, y, z) and ``velocity``
(3, x, y, z).
"""

import h5py
import numpy as np


def write_gadget(path, positions, masses, velocities, *, flavour="gadget", h=None, density=None,
                 sinks=None, units=(3.0857e18, 1.989e33, 1e5), box=10.0, temperature=None):  # fmt: skip
    """GADGET family.  ``units`` are cm, g, cm/s or None; ``sinks`` is (positions, masses, ids)."""
    n_sinks = 0 if sinks is None else len(sinks[1])
    counts = np.array([len(masses), 0, 0, 0, 0, n_sinks])
    with h5py.File(path, "w") as file:
        header = file.create_group("Header").attrs
        header["NumPart_ThisFile"] = header["NumPart_Total"] = counts
        header["NumPart_Total_HighWord"] = np.zeros(6, int)
        header["MassTable"] = np.zeros(6)
        header["Time"], header["Redshift"], header["BoxSize"] = 0.5, 0.0, box
        header["NumFilesPerSnapshot"] = 1
        header["Omega0"] = header["OmegaLambda"] = 0.0
        header["HubbleParam"] = 1.0
        if units is not None:
            names = ("UnitLength_in_cm", "UnitMass_in_g", "UnitVelocity_in_cm_per_s")
            if flavour == "gizmo":
                names = ("UnitLength_In_CGS", "UnitMass_In_CGS", "UnitVelocity_In_CGS")
            for name, value in zip(names, units):
                header[name] = value
        if flavour == "gizmo":
            header["GIZMO_version"] = 2022
            header["ComovingIntegrationOn"] = 0
        if flavour == "arepo":
            file.create_group("Config").attrs["VORONOI"] = b""
        gas = file.create_group("PartType0")
        gas["Coordinates"], gas["Velocities"], gas["Masses"] = positions, velocities, masses
        gas["ParticleIDs"] = np.arange(1, len(masses) + 1)
        gas["InternalEnergy"] = np.ones(len(masses)) if temperature is None else temperature
        gas["Density"] = np.ones(len(masses)) if density is None else density
        if h is not None:
            gas["SmoothingLength"] = h
        if sinks is not None:
            group = file.create_group("PartType5")
            group["Coordinates"], group["Masses"], group["ParticleIDs"] = sinks
            group["Velocities"] = np.zeros((n_sinks, 3))


def write_starforge(path, positions, masses, velocities, h, *, molecular, sinks, stars):
    """
    GIZMO as STARFORGE runs it: pc, Msun, m/s; ``sinks`` as above, with all that is bound to them.

    ``stars`` has the masses of the stars and of their reservoirs, numbers of children and of
    generations, and times of formation.
    """
    units = (3.0857e18, 1.989e33, 1e2)
    write_gadget(
        path, positions, masses, velocities, flavour="gizmo", h=h, sinks=sinks, units=units
    )
    with h5py.File(path, "r+") as file:
        gas, stars_group = file["PartType0"], file["PartType5"]
        gas["MolecularMassFraction"] = molecular
        gas["NeutralHydrogenAbundance"] = np.ones(len(masses))
        gas["Temperature"] = np.full(len(masses), 10.0)
        names = ("BH_Mass", "BH_Mass_AlphaDisk", "ParticleChildIDsNumber",
                 "ParticleIDGenerationNumber", "StellarFormationTime")  # fmt: skip
        for group in (gas, stars_group):
            for name in names[2:4]:
                group[name] = np.zeros(len(group["Masses"]), int)
        for name in names[2:4]:
            del stars_group[name]
        for name, column in zip(names, stars):
            stars_group[name] = column
        stars_group["ProtoStellarStage"] = np.ones(len(sinks[1]))
        stars_group["SinkRadius"] = np.full(len(sinks[1]), 1e-4)
        stars_group["SinkInitialMass"] = np.full(len(sinks[1]), 1e-3)


def write_athena(path, density, velocity, *, octant=None):
    """Athena++ .athdf: one mesh block; with ``octant`` (see `refined_cells`), blocks of two levels."""
    if octant is None:
        write_athena_blocks(path, [(0, (0, 0, 0), density, velocity)], density.shape[0])
        return
    half = density.shape[0] // 2
    blocks = []
    for level, (rho, v) in enumerate(((density, velocity), octant)):
        for corner in np.ndindex(2, 2, 2):
            if level == 0 and corner == (0, 0, 0):
                continue  # the refined octant
            part = tuple(slice(half * k, half * (k + 1)) for k in corner)
            blocks.append((level, corner, rho[part], v[(slice(None), *part)]))
    write_athena_blocks(path, blocks, density.shape[0])


def write_athena_blocks(path, blocks, n_root):
    """Athena++ .athdf of blocks, each (level, logical location, density, velocity)."""
    n = blocks[0][2].shape[0]
    names = ["rho", "press", "vel1", "vel2", "vel3"]
    with h5py.File(path, "w") as file:
        file.attrs["Time"] = 1.5
        file.attrs["Coordinates"] = np.bytes_("cartesian")
        for axis in "123":
            file.attrs[f"RootGridX{axis}"] = np.array([0.0, 1.0, 1.0])
        file.attrs["RootGridSize"] = np.array([n_root] * 3, np.int32)
        file.attrs["MeshBlockSize"] = np.array([n] * 3, np.int32)
        file.attrs["NumMeshBlocks"] = len(blocks)
        file.attrs["NumCycles"] = 1
        file.attrs["MaxLevel"] = max(block[0] for block in blocks)
        file.attrs["DatasetNames"] = np.array(["prim"], "S21")
        file.attrs["NumVariables"] = np.array([len(names)], np.int32)
        file.attrs["VariableNames"] = np.array(names, "S21")
        file["Levels"] = np.array([block[0] for block in blocks], np.int32)
        file["LogicalLocations"] = np.array([block[1] for block in blocks], np.int64)
        for axis in range(3):
            width = np.array([1 / n_root / 2 ** block[0] for block in blocks])[:, None]
            start = np.array([block[1][axis] * n for block in blocks])[:, None]
            file[f"x{axis + 1}f"] = width * (start + np.arange(n + 1))
            file[f"x{axis + 1}v"] = width * (start + np.arange(n) + 0.5)
        planes = [[rho, np.ones_like(rho), *velocity] for _, _, rho, velocity in blocks]
        file["prim"] = np.array(planes).transpose(1, 0, 4, 3, 2)


def refined_cells(density, velocity, octant):
    """Return the leaf cells of a grid whose octant [0, 0.5)^3 is refined once, on the fine grid."""
    n = density.shape[0]

    def repeat(array):
        return array.repeat(2, -1).repeat(2, -2).repeat(2, -3)

    fine, speed = repeat(density), repeat(velocity)
    fine[:n, :n, :n] = octant[0]
    speed[:, :n, :n, :n] = octant[1]
    return fine, speed


def _flash_list(pairs, value):
    return np.array(pairs, dtype=[("name", "S80"), ("value", value)])


def write_flash(path, density, velocity, *, length, sinks=None):
    """FLASH checkpoint (cgs): one block.  ``sinks`` is (positions in code lengths, masses in g)."""
    n = density.shape[0]
    with h5py.File(path, "w") as file:
        file["sim info"] = np.array([(10,)], dtype=[("file format version", "i4")])
        integers = [("nxb", n), ("nyb", n), ("nzb", n), ("dimensionality", 3)]
        file["integer scalars"] = _flash_list([*integers, ("globalnumblocks", 1)], "i4")
        blocks = [("nblockx", 1), ("nblocky", 1), ("nblockz", 1), ("lrefine_min", 1)]
        file["integer runtime parameters"] = _flash_list(blocks, "i4")
        file["real scalars"] = _flash_list([("time", 3.15576e13)], "f8")
        walls = [(f"{a}{s}", v) for a in "xyz" for s, v in (("min", 0.0), ("max", length))]
        file["real runtime parameters"] = _flash_list([*walls, ("gamma", 5 / 3)], "f8")
        file["string scalars"] = _flash_list([("geometry", "cartesian")], "S80")
        file["string runtime parameters"] = _flash_list([("unitsystem", "cgs")], "S80")
        file["bounding box"] = np.array([[[0.0, length]] * 3])
        file["refine level"] = np.array([1], np.int32)
        file["gid"] = np.full((1, 15), -1, np.int32)
        file["unknown names"] = np.array([["dens"], ["velx"], ["vely"], ["velz"]], "S4")
        for name, plane in zip(("dens", "velx", "vely", "velz"), (density, *velocity)):
            file[name] = plane.transpose(2, 1, 0)[None]
        n_sinks = 0 if sinks is None else len(sinks[1])
        file["localnp"] = np.array([n_sinks], np.int32)
        if n_sinks:
            names = ["blk", "mass", "posx", "posy", "posz", "tag"]
            file["particle names"] = np.array(names, "S24")[:, None]
            columns = [
                np.ones(n_sinks),
                sinks[1],
                *(np.asarray(sinks[0]).T * length),
                7 + np.arange(n_sinks),
            ]
            file["tracer particles"] = np.array(columns, float).T


_ENZO_PARAMETERS = """\
InitialTime = 1.0
VersionNumber = 2.5
TopGridRank = 3
TopGridDimensions = {n} {n} {n}
RefineBy = 2
HydroMethod = 0
MultiSpecies = 0
DualEnergyFormalism = 0
Gamma = 1.6667
ComovingCoordinates = 0
NumberOfParticles = 0
DomainLeftEdge = 0.0 0.0 0.0
DomainRightEdge = 1.0 1.0 1.0
LeftFaceBoundaryCondition = 3 3 3
DensityUnits = {density:.8e}
TimeUnits = {time:.8e}
LengthUnits = {length:.8e}
CurrentTimeIdentifier = {stamp}
"""
_ENZO_HIERARCHY = """\

Grid = {number}
Task = 0
GridRank = 3
GridDimension = {n6} {n6} {n6}
GridStartIndex = 3 3 3
GridEndIndex = {end} {end} {end}
GridLeftEdge = 0.0 0.0 0.0
GridRightEdge = {right} {right} {right}
Time = 1.0
NumberOfBaryonFields = 4
BaryonFileName = ./{name}.cpu0000
NumberOfParticles = {n_sinks}
Pointer: Grid[{number}]->NextGridThisLevel = 0
Pointer: Grid[{number}]->NextGridNextLevel = {below}

"""


def write_enzo(
    path, density, velocity, *, length, unit_density, unit_time, sinks=None, octant=None
):
    """Enzo 2: a root grid; one below it with ``octant`` (see `refined_cells`), which has the same
    number of cells.  ``sinks`` is (positions, masses in code masses, identifiers)."""
    n = density.shape[0]
    n_sinks = 0 if sinks is None else len(sinks[1])
    values = {"n": n, "length": length, "density": unit_density, "time": unit_time}
    path.write_text(_ENZO_PARAMETERS.format(**values, stamp=abs(hash(str(path))) % 10**9))
    hierarchy = path.with_name(path.name + ".hierarchy")
    values = {"n6": n + 6, "end": n + 2, "name": path.name}
    text = _ENZO_HIERARCHY.format(
        **values, number=1, right=1.0, below=0 if octant is None else 2, n_sinks=n_sinks
    )
    if octant is not None:
        text += _ENZO_HIERARCHY.format(**values, number=2, right=0.5, below=0, n_sinks=0)
    hierarchy.write_text(text)
    with h5py.File(path.with_name(path.name + ".cpu0000"), "w") as file:
        grid = file.create_group("Grid00000001")
        names = ("Density", "x-velocity", "y-velocity", "z-velocity")
        for name, plane in zip(names, (density, *velocity)):
            grid[name] = plane.transpose(2, 1, 0)
        if octant is not None:
            below = file.create_group("Grid00000002")
            for name, plane in zip(names, (octant[0], *octant[1])):
                below[name] = plane.transpose(2, 1, 0)
        if n_sinks:
            for axis, column in zip("xyz", np.asarray(sinks[0], float).T):
                grid[f"particle_position_{axis}"] = column
                grid[f"particle_velocity_{axis}"] = np.zeros(n_sinks)
            grid["particle_mass"] = np.asarray(sinks[1], float) * n**3  # a density, in Enzo
            grid["particle_index"] = np.asarray(sinks[2])


def _record(file, *arrays):
    data = b"".join(np.asarray(array).tobytes() for array in arrays)
    marker = np.int32(len(data)).tobytes()
    file.write(marker + data + marker)


def write_ramses(folder, density, velocity, *, length, unit_density, unit_time, sinks=None,
                 octant=None, table=None):  # fmt: skip
    """RAMSES, one processor, a cube of 2, 4, 8, ... cells.  ``sinks``: (positions, masses, ids),
    or ``table``, the text of their table.  With ``octant`` (see `refined_cells`) there are octs of one
    level more in it."""
    i4, f8 = np.int32, np.float64
    n = density.shape[0]
    coarse = int(np.log2(n))
    level = coarse + (octant is not None)
    number = folder.name.removeprefix("output_")
    folder.mkdir(parents=True)
    with (folder / f"info_{number}.txt").open("w") as info:
        for key, value in (("ncpu", 1), ("ndim", 3), ("levelmin", coarse), ("levelmax", level),
                           ("ngridmax", 1000), ("nstep_coarse", 1)):  # fmt: skip
            info.write(f"{key:<12}= {value:10d}\n")
        info.write("\n")
        for key, value in (("boxlen", 1), ("time", 1), ("aexp", 1), ("H0", 1), ("omega_m", 1),
                           ("omega_l", 0), ("omega_k", 0), ("omega_b", 0), ("unit_l", length),
                           ("unit_d", unit_density), ("unit_t", unit_time)):  # fmt: skip
            info.write(f"{key:<12}= {value:.15E}\n")
        info.write(
            "\nordering type=hilbert\n   DOMAIN   ind_min   ind_max\n       1  0.0  1.0E+05\n"
        )
    octs = [_octs(k) for k in range(1, level + 1)]
    planes = [(density, *velocity, np.ones_like(density))] * coarse
    if octant is not None:
        octs[-1] = octs[-1][(octs[-1] < 0.5).all(axis=1)]
        planes.append((octant[0], *octant[1], np.ones_like(octant[0])))
    with (folder / f"amr_{number}.out00001").open("wb") as file:
        for integers in ([1], [3], [1, 1, 1], [level], [1000], [0], [sum(map(len, octs))]):
            _record(file, i4(integers))
        _record(file, f8(1.0))  # boxlen
        _record(file, i4([1, 1, 1]))
        for values in ([1.0], [1.0], [1.0], [0.0] * level, [0.0] * level):
            _record(file, f8(values))
        _record(file, i4([1, 1]))
        for size in (3, 7, 5, 1):
            _record(file, np.zeros(size))
        for _ in range(2):
            _record(file, i4(np.zeros(level)))
        _record(file, i4([len(o) for o in octs]))
        _record(file, i4(np.zeros(10 * level)))
        _record(file, i4(np.zeros(5)))
        _record(file, b"hilbert".ljust(128))
        _record(file, f8([0.0, 1e5]))
        for _ in range(3):
            _record(file, i4([0]))
        for corners in octs:
            for _ in range(3):
                _record(file, i4(np.arange(len(corners))))
            for axis in range(3):
                _record(file, f8(corners[:, axis]))
            for _ in range(1 + 6 + 8 * 3):
                _record(file, i4(np.zeros(len(corners))))
    with (folder / f"hydro_{number}.out00001").open("wb") as file:
        for integer in (1, 5, 3, level, 0):
            _record(file, i4(integer))
        _record(file, f8(5 / 3))
        for k, corners in enumerate(octs, start=1):
            _record(file, i4(k))
            _record(file, i4(len(corners)))
            for child in range(8):
                shift = (np.array([child & 1, child >> 1 & 1, child >> 2]) - 0.5) / 2**k
                cells = n if k <= coarse else 2 * n  # of the octant, which fills half a side
                index = np.floor((corners + shift) * cells).astype(int)
                for plane in planes[k - 1]:
                    _record(file, f8(plane[tuple(index.T)]))
    if table is not None:
        (folder / f"sink_{number}.csv").write_text(table)
    if sinks is not None:
        with (folder / f"sink_{number}.csv").open("w") as file:
            file.write(
                " # id,msink,x,y,z,vx,vy,vz,rot_period,lx,ly,lz,acc_rate,acc_lum,age,int_lum,Teff\n"
            )
            file.write(" # 1,m,l,l,l,l t**-1,l t**-1,l t**-1,t,m l**2 t**-1,m l**2 t**-1,"
                       "m l**2 t**-1,m t**-1,l,t,l,k\n")  # fmt: skip
            for (x, y, z), mass, identity in zip(*sinks):
                file.write(", ".join([str(identity), *map(repr, map(float, (mass, x, y, z)))]))
                file.write(", 0.0" * 12 + "\n")


def _octs(level):
    """Centers of the octs of a level, whose children are the cells of width 2^-level."""
    centers = (np.arange(2 ** (level - 1)) + 0.5) / 2 ** (level - 1)
    return np.stack(np.meshgrid(centers, centers, centers, indexing="ij"), axis=-1).reshape(-1, 3)


def write_phantom(path, positions, particle_mass, velocities, h, *, sinks=None, time=1.0,
                  units=(3.0857e18, 1.989e33, 4.7e14)):  # fmt: skip
    """Phantom full dump.  ``sinks`` is (positions, masses); ``units`` are cm, g, s."""
    i4, f8 = np.int32, np.float64
    n, n_sinks = len(h), 0 if sinks is None else len(sinks[1])
    integers = {"nparttot": n, "ntypes": 1, "npartoftype": n, "nptmass": n_sinks}
    reals = {"time": time, "massoftype": particle_mass, "hfact": 1.2}
    doubles = {"udist": units[0], "umass": units[1], "utime": units[2]}
    with open(path, "wb") as file:
        _record(file, i4(60769), f8(60878), i4(60878), i4(1), i4(690706))
        _record(file, b"FT:Phantom: test".ljust(100))
        for block, kind in ((integers, i4), ({}, 0), ({}, 0), ({}, 0), ({}, 0), (reals, f8),
                            ({}, 0), (doubles, f8)):  # fmt: skip
            _record(file, i4(len(block)))
            if block:
                _record(file, "".join(key.ljust(16) for key in block).encode())
                _record(file, kind(list(block.values())))
        _record(file, i4(2))
        _record(file, np.int64(n), i4([0, 0, 0, 0, 0, 6, 1, 0]))
        _record(file, np.int64(n_sinks), i4([0, 0, 0, 0, 0, 5 if n_sinks else 0, 0, 0]))
        for name, column in zip(("x", "y", "z", "vx", "vy", "vz"),
                                (*np.asarray(positions).T, *np.asarray(velocities).T)):  # fmt: skip
            _record(file, name.ljust(16).encode())
            _record(file, f8(column))
        _record(file, b"h".ljust(16))
        _record(file, np.float32(h))
        if n_sinks:
            columns = (*np.asarray(sinks[0]).T, sinks[1], np.full(n_sinks, 0.004))
            for name, column in zip(("x", "y", "z", "m", "h"), columns):
                _record(file, name.ljust(16).encode())
                _record(file, f8(column))
