"""Phantom dumps, read by sarracen."""

import numpy as np
from astropy import units as u
from astropy.table import QTable

from astrofractal._utils.optional import require
from astrofractal.simulations.snapshot import Snapshot

__all__ = ["read_phantom"]


def read_phantom(path, *, units=None, name=None, periodic=None):
    """Read a full dump of Phantom."""
    sarracen = require("sarracen", extra="simulations")
    try:
        frames = sarracen.read_phantom(str(path), separate_types="sinks")
    except AssertionError as error:
        msg = f"{str(path)!r} is not a Phantom dump that sarracen can read: {error}"
        raise ValueError(msg) from error
    gas, sinks = frames if isinstance(frames, list) else (frames, None)
    parameters = gas.params
    missing = [column for column in ("x", "y", "z", "h", "vx", "vy", "vz") if column not in gas]
    if missing:
        msg = f"{str(path)!r} has no {', '.join(missing)}: a full dump is needed, not a small one"
        raise ValueError(msg)
    if units is None:
        units = {
            "length": parameters["udist"], "mass": parameters["umass"], "time": parameters["utime"]
        }  # fmt: skip
    length, mass = units["length"] * u.cm, units["mass"] * u.g
    time = units["time"] * u.s
    if "itype" in gas:
        gas = gas[np.asarray(gas["itype"]) == 1]
    masses = gas["mass"] if "mass" in gas else np.full(len(gas), float(parameters["mass"]))
    walls = [parameters.get(wall) for wall in ("xmin", "xmax", "ymin", "ymax", "zmin", "zmax")]
    box = None
    if periodic is not False and None not in walls:
        box = np.subtract(walls[1::2], walls[::2]) * length
    elif periodic:
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
    masses = np.asarray(frame["m"], dtype=float)
    alive = masses > 0
    position = _columns(frame, "x", "y", "z")[alive] * length
    return QTable(
        {
            "sink": np.asarray(frame.index)[alive],
            "mass": masses[alive] * mass,
            "x": position[:, 0],
            "y": position[:, 1],
            "z": position[:, 2],
        }
    )
