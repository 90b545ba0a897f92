"""Simulation snapshots from disk: which code wrote a file, and the gas and sinks in it."""

import contextlib
import re
from pathlib import Path
from typing import Any

from astropy import units as u
from astropy.table import QTable

from astrofractal._utils.annotations import PathLike
from astrofractal._utils.optional import require
from astrofractal.simulations._units import code_units
from astrofractal.simulations.snapshot import Snapshot, sink_table

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_PHANTOM_MAGIC = 60769
_CODES = (
    "GADGET, GIZMO or AREPO HDF5, FLASH, Athena++ .athdf, Enzo, RAMSES output_NNNNN, Phantom dumps"
)
_SEVERAL_FILES = re.compile(r"\.(\d+)\.(hdf5|h5)$")


def snapshot_format(path: Path) -> str | None:
    """Return the name of the code that wrote a file, or a folder of RAMSES; `None` if unknown."""
    if path.is_dir():
        return "ramses" if any(path.glob("info_[0-9]*.txt")) else None
    if not path.is_file():
        return None
    if path.suffix == ".athdf":
        return "athena++"
    if path.suffix == ".hierarchy" or path.with_name(path.name + ".hierarchy").is_file():
        return "enzo"
    if re.fullmatch(r"info_\d+\.txt", path.name):
        return "ramses"
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(_HDF5_SIGNATURE):
        h5py = require("h5py", extra="simulations")
        with contextlib.suppress(OSError), h5py.File(path, "r") as file:
            if "Header" in file and "PartType0" in file:
                return "gadget"
            return "flash" if "bounding box" in file else None
    for order in ("little", "big"):
        # a Fortran record that begins with Phantom's first magic number, of 4 or 8 bytes
        if _PHANTOM_MAGIC in (int.from_bytes(start[4:end], order) for end in (8, 12)):
            return "phantom"
    return None


def find_snapshots(folder: PathLike) -> list[Path]:
    """
    List the snapshots in a folder, and in the folders directly below it.

    Parameters
    ----------
    folder : path-like
        Where to look; a single snapshot is listed alone.

    Returns
    -------
    paths : list of `~pathlib.Path`
        One path for each snapshot, in the order of the numbers in their names: of several files
        (GADGET) the first, of Enzo the parameter file, of RAMSES the folder.

    Raises
    ------
    FileNotFoundError, ValueError
        If ``folder`` does not exist, or there is no snapshot.
    """
    folder = Path(folder)
    if not folder.exists():
        msg = f"snapshot or folder {str(folder)!r} does not exist"
        raise FileNotFoundError(msg)
    if snapshot_format(folder) is not None:
        return [folder]
    if not folder.is_dir():
        raise ValueError(_unknown(folder))
    found = []
    below = sorted(p for p in folder.iterdir() if p.name[0] != ".")
    inside = [q for p in below if p.is_dir() and snapshot_format(p) is None for q in p.iterdir()]
    for path in below + sorted(inside):
        several = _SEVERAL_FILES.search(path.name)
        if path.suffix == ".hierarchy" or (several and several[1] != "0"):
            continue
        if snapshot_format(path) is not None and path.name[0] != ".":
            found.append(path)
    if not found:
        msg = f"no snapshot found in {str(folder)!r} of a known code ({_CODES})"
        raise ValueError(msg)
    return sorted(found, key=_natural)


def _unknown(path):
    return f"{str(path)!r} is not a snapshot of a known code ({_CODES})"


def _natural(path):
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", str(path))]


def read_snapshot(
    path: PathLike,
    *,
    sinks: QTable | PathLike | None = None,
    units: dict[str, Any] | None = None,
    name: str | None = None,
    region: tuple[u.Quantity, u.Quantity] | None = None,
    temperatures: bool = False,
    periodic: bool | None = None,
    molecular: bool = False,
    reservoir: bool = False,
) -> Snapshot:
    """
    Read a snapshot of a simulation.

    Phantom dumps are read by sarracen; HDF5 of GADGET, GIZMO and AREPO, and the grids of FLASH,
    Enzo, Athena++ and RAMSES by yt.

    Parameters
    ----------
    path : path-like
        The snapshot: a file; for Enzo the parameter file; for RAMSES the folder ``output_NNNNN``.
    sinks : `~astropy.table.QTable` or path-like, optional
        Sink particles, in place of those of the snapshot: a table as for `Snapshot`.  By default
        ``sink_NNNNN.csv`` or ``sink`` (RAMSES), ``PartType5``, then ``PartType4`` (GADGET, GIZMO,
        AREPO), all particles (Enzo, FLASH); Athena++ and plot files of FLASH have none.
    units : dict, optional
        What one code unit is, as Quantities: ``length``, and two of ``mass`` or ``density``,
        ``velocity`` or ``time``.  Needed where the file does not state it: Athena++, and GADGET
        files without units in their header.
    name : str, optional
        Name of the simulation; by default the name of the folder that holds the snapshot.
    region : tuple of `~astropy.units.Quantity`, optional
        Lower and upper corner (3,) of the part of the box to read; not for Phantom.
    temperatures : bool, optional
        Whether to read gas temperatures, for the thermal part of the dispersion; not for Phantom.
    periodic : bool, optional
        Whether the box repeats; by default what the snapshot says.
    molecular : bool, optional
        Whether only molecular gas counts, by ``MolecularMassFraction`` (GIZMO, STARFORGE).
    reservoir : bool, optional
        Whether the mass of a sink (``BH_Mass``) includes the gas that waits in it to reach the star,
        ``BH_Mass_AlphaDisk`` (GIZMO, STARFORGE).

    Returns
    -------
    snapshot : `Snapshot`
        The gas, and the sinks found.

    Raises
    ------
    FileNotFoundError, ValueError
        If ``path`` does not exist or is not a snapshot of a known code, or its units are not known.
    """
    path = Path(path)
    if not path.exists():
        msg = f"snapshot {str(path)!r} does not exist"
        raise FileNotFoundError(msg)
    code = snapshot_format(path)
    if code is None:
        raise ValueError(_unknown(path))
    if units is not None:
        units = code_units(units)
    options = {"units": units, "name": name or path.resolve().parent.name, "periodic": periodic}
    grid = {"region": region, "temperatures": temperatures}
    grid |= {"molecular": molecular, "reservoir": reservoir}
    if code != "phantom":
        from astrofractal.simulations._yt import read_yt

        snapshot = read_yt(path, code, **grid, **options)
    elif region is None and not any((temperatures, molecular, reservoir)):
        from astrofractal.simulations._phantom import read_phantom

        snapshot = read_phantom(path, **options)
    else:
        msg = "region, temperatures, molecular and reservoir are not supported for Phantom dumps"
        raise ValueError(msg)
    if sinks is not None:
        snapshot.sinks = sink_table(sinks)
    return snapshot
