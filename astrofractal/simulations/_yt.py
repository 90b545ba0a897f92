"""Snapshots that yt reads: GADGET, GIZMO and AREPO HDF5, FLASH, Enzo, Athena++ and RAMSES."""

import contextlib
import tempfile
import warnings
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import QTable

from astrofractal._utils.optional import require
from astrofractal.simulations._units import header_units
from astrofractal.simulations.snapshot import Snapshot

__all__ = ["read_yt"]

_ETA = 1.2  # h = eta (m / rho)^(1/3), the usual choice for the M4 spline (Price 2012)
_SINK_TYPES = {
    "gadget": ("PartType5", "PartType4"),
    "ramses": ("sink",),
    "enzo": ("SinkParticle", "AccretingParticle", "io"),
    "flash": ("io",),
    "athena++": (),
}
_IDENTITIES = ("particle_index", "particle_identifier", "particle_identity", "ParticleIDs")


def read_yt(
    path,
    code,
    *,
    units=None,
    name=None,
    region=None,
    temperatures=False,
    sink_type=None,
    periodic=None,
):
    """
    Read a snapshot through yt.

    Parameters
    ----------
    path : path-like
        The snapshot.

    code : str
        As `~astrofractal.simulations.snapshot_format` says.

    units : dict of float, optional
        Code units in cgs.

    name, region, temperatures, sink_type, periodic : optional
        As for `~astrofractal.simulations.read_snapshot`.

    Returns
    -------
    snapshot : `Snapshot`
        The gas and its sinks.
    """
    yt = require("yt", extra="simulations")
    with _quiet(), tempfile.TemporaryDirectory() as scratch:
        dataset = yt.load(_entry(path, code), **_options(path, code, units, scratch))
        data = dataset.all_data()
        if region is not None:
            low, high = (dataset.arr(corner.to_value(u.pc), "pc") for corner in region)
            data = dataset.box(low, high)
        gas = _particles(data) if code == "gadget" else _cells(data)
        if temperatures:
            kind = "PartType0" if code == "gadget" else "gas"
            gas["temperatures"] = _value(data[kind, "temperature"], "K") * u.K
        if periodic is None:
            periodic = all(dataset.periodicity)
        return Snapshot(
            **gas,
            sinks=_sinks(data, path, sink_type, code),
            time=float(dataset.current_time.to("Myr")) * u.Myr,
            box_size=_value(dataset.domain_width, "pc") * u.pc if periodic else None,
            name=name,
            meta={"path": str(path), "code": code},
        )


@contextlib.contextmanager
def _quiet():
    """Silence yt's log and the warnings of its dependencies, for the time of a read."""
    from yt.utilities.logger import ytLogger

    level = ytLogger.level
    ytLogger.setLevel("ERROR")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        ytLogger.setLevel(level)


def _entry(path, code):
    """Return the file that yt opens."""
    path = Path(path)
    if code == "ramses" and path.is_dir():
        path = sorted(path.glob("info_[0-9]*.txt"))[0]
    if code == "enzo" and path.suffix == ".hierarchy":
        path = path.with_suffix("")
    return str(path)


def _options(path, code, units, scratch):
    """Return the options of yt.load that state units and keep the user's folder clean."""
    if code == "gadget":
        units = header_units(path) if units is None else units
        if units is None:
            _refuse(path, "{'length': 1 * u.pc, 'mass': 1 * u.solMass, 'velocity': 1 * u.m / u.s}")
        return {
            "unit_base": {
                "UnitLength_in_cm": units["length"],
                "UnitMass_in_g": units["mass"],
                "UnitVelocity_in_cm_per_s": units["length"] / units["time"],
            },
            "index_filename": str(Path(scratch) / "index.ewah"),
        }
    if units is None:
        if code == "athena++" or (code == "enzo" and not _enzo_states_units(path)):
            _refuse(path, "{'length': 1 * u.pc, 'density': ..., 'velocity': 1 * u.km / u.s}")
        return {}
    return {
        "units_override": {
            "length_unit": (units["length"], "cm"),
            "mass_unit": (units["mass"], "g"),
            "time_unit": (units["time"], "s"),
        }
    }


def _enzo_states_units(path):
    text = Path(_entry(path, "enzo")).read_text(encoding="utf-8", errors="replace")
    return any(word in text for word in ("LengthUnits", "ComovingCoordinates = 1", "Internal:"))


def _refuse(path, example):
    msg = f"{str(path)!r} does not state its units: give them, for example units={example}"
    raise ValueError(msg)


def _value(array, unit):
    return np.array(array.to(unit).d, dtype=float)


def _particles(data):
    """Gas of the GADGET family.  Its smoothing length is the radius where the kernel vanishes."""
    kind = "PartType0"
    masses = _value(data[kind, "particle_mass"], "Msun")
    on_disk = {field for ptype, field in data.ds.field_list if ptype == kind}
    stored = next((f for f in ("SmoothingLength", "KernelRadius") if f in on_disk), None)
    if stored is not None:
        h = _value(data.ds.arr(data[kind, stored].d, "code_length"), "pc") / 2
    elif "Density" in on_disk:
        h = _ETA * np.cbrt(masses / _value(data[kind, "density"], "Msun/pc**3"))
    else:
        msg = "the gas has neither smoothing lengths nor densities"
        raise ValueError(msg)
    return {
        "positions": _value(data[kind, "particle_position"], "pc") * u.pc,
        "masses": masses * u.solMass,
        "velocities": _value(data[kind, "particle_velocity"], "km/s") * u.km / u.s,
        "smoothing_lengths": h * u.pc,
    }


def _cells(data):
    """Gas of a grid code, leaf cells only."""

    def stack(names, unit):
        return np.stack([_value(data["gas", name], unit) for name in names], axis=1)

    widths = np.stack([_value(data["index", f"d{axis}"], "pc") for axis in "xyz"], axis=1)
    positions = np.stack([_value(data["index", axis], "pc") for axis in "xyz"], axis=1)
    density = _value(data["gas", "density"], "Msun/pc**3")
    return {
        "positions": positions * u.pc,
        "masses": density * widths.prod(axis=1) * u.solMass,
        "velocities": stack(["velocity_x", "velocity_y", "velocity_z"], "km/s") * u.km / u.s,
        "cell_widths": widths * u.pc,
    }


def _ramses_sinks(dataset, path):
    """Sinks of the table sink_NNNNN.csv, in code units; `None` where there is none."""
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    files = sorted(folder.glob("sink_[0-9]*.csv"))
    if not files:
        return None
    lines = files[0].read_text(encoding="utf-8").splitlines()
    names = [name.strip() for name in lines[0].strip(" #").split(",")]
    rows = [line.split(",") for line in lines if line.strip() and not line.strip().startswith("#")]
    if not rows or "msink" not in names:
        return None
    column = {name: [float(row[k]) for row in rows] for k, name in enumerate(names[:5])}
    length = float(dataset.length_unit.to("pc")) / dataset.parameters["boxlen"] * u.pc
    return QTable(
        {
            "sink": np.array(column["id"], dtype=np.int64),
            "mass": np.array(column["msink"]) * float(dataset.mass_unit.to("Msun")) * u.solMass,
            **{axis: np.array(column[axis]) * length for axis in "xyz"},
        }
    )


def _sinks(data, path, sink_type, code):
    """Sink particles, or `None` where the snapshot has none."""
    dataset = data.ds
    if code == "ramses" and sink_type is None:
        sinks = _ramses_sinks(dataset, path)
        if sinks is not None:
            return sinks
    present = {ptype for ptype, _ in dataset.field_list}
    if sink_type is not None and sink_type not in present:
        msg = f"sink_type must be one of {sorted(present)}, got {sink_type!r}"
        raise ValueError(msg)
    types = _SINK_TYPES[code] if sink_type is None else (sink_type,)
    for kind in types:
        if kind not in present:
            continue
        masses = _value(data[kind, "particle_mass"], "Msun")
        if not len(masses):
            continue
        position = np.stack(
            [_value(data[kind, f"particle_position_{axis}"], "pc") for axis in "xyz"], axis=1
        )
        fields = {field for ptype, field in dataset.derived_field_list if ptype == kind}
        identity = next((name for name in _IDENTITIES if name in fields), None)
        names = np.arange(len(masses)) if identity is None else np.array(data[kind, identity].d)
        alive = masses > 0
        return QTable(
            {
                "sink": names[alive].astype(np.int64),
                "mass": masses[alive] * u.solMass,
                "x": position[alive, 0] * u.pc,
                "y": position[alive, 1] * u.pc,
                "z": position[alive, 2] * u.pc,
            }
        )
    return None
