"""Phantom dumps, read by sarracen."""

import numpy as np
from astropy import units as u
from astropy.table import QTable

from astrofractal._utils.optional import require
from astrofractal._utils.reading import reading
from astrofractal.simulations.snapshot import Snapshot


def read_phantom(path, *, units=None, name=None, periodic=None):
    """Read a full dump of Phantom."""
    sarracen = require("sarracen", extra="simulations")
    with reading(path):
        frames = sarracen.read_phantom(str(path), separate_types="sinks")
    gas, sinks = frames if isinstance(frames, list) else (frames, None)
    parameters = gas.params
    missing = [column for column in ("x", "y", "z", "h", "vx", "vy", "vz") if column not in gas]
    if missing:
        msg = f"{str(path)!r} has no {', '.join(missing)}: a full dump is needed, not a small one"
        raise ValueError(msg)
    names = {"length": "udist", "mass": "umass", "time": "utime"}
    absent = [
        name for name in ("time", *(() if units else names.values())) if name not in parameters
    ]
    if absent:
        msg = f"the header of {str(path)!r} lacks {', '.join(absent)}"
        raise ValueError(msg + (": give units=" if absent != ["time"] else ""))
    if units is None:
        units = {kind: parameters[name] for kind, name in names.items()}
    length, mass = units["length"] * u.cm, units["mass"] * u.g
    time = units["time"] * u.s
    if "itype" in gas:
        gas = gas[np.asarray(gas["itype"]) == 1]
    if "mass" not in gas and "mass" not in parameters:
        msg = f"{str(path)!r} lacks the masses of its particles"
        raise ValueError(msg)
    masses = gas["mass"] if "mass" in gas else np.full(len(gas), float(parameters["mass"]))
    walls = [parameters.get(wall) for wall in ("xmin", "xmax", "ymin", "ymax", "zmin", "zmax")]
    box = None
    if periodic is not False and None not in walls:
        box = np.subtract(walls[1::2], walls[::2]) * length
        box = box if (box > 0).all() else None  # walls at one place are those of an open boundary
    if periodic and box is None:
        msg = f"periodic is True but {str(path)!r} has no walls of the box"
        raise ValueError(msg)
    return Snapshot(
        _columns(gas, "x", "y", "z") * length,
        np.asarray(masses, dtype=float) * mass,
        _columns(gas, "vx", "vy", "vz") * (length / time),
        smoothing_lengths=np.asarray(gas["h"], dtype=float) * length,
        sinks=_sinks(sinks, length, mass),
        time=float(parameters["time"]) * time,
        box_size=box,
        name=name,
        meta={"path": str(path), "code": "phantom"},
    )


def _columns(frame, *names):
    return np.stack([np.asarray(frame[name], dtype=float) for name in names], axis=1)


def _sinks(frame, length, mass):
    if frame is None or not len(frame):
        return None
    alive = frame[~(np.asarray(frame["m"]) <= 0)]  # what is no number stays, and is an error
    places = {axis: np.asarray(alive[axis], dtype=float) * length for axis in "xyz"}
    masses = np.asarray(alive["m"], dtype=float) * mass
    return QTable({"sink": np.asarray(alive.index), "mass": masses, **places})
