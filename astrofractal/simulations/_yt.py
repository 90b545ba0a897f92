"""Snapshots that yt reads: GADGET, GIZMO and AREPO HDF5, FLASH, Enzo, Athena++ and RAMSES."""

import contextlib
import re
import tempfile
import warnings
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import QTable

from astrofractal._utils.optional import require
from astrofractal._utils.reading import reading
from astrofractal.simulations._ramses import read_table_of_sinks
from astrofractal.simulations._units import header_attributes, header_units
from astrofractal.simulations.snapshot import Snapshot

__all__ = ["read_yt"]

_ETA = 1.2  # h = eta (m / rho)^(1/3), the usual choice for the M4 spline (Price 2012)

_TYPES = {
    "gadget": ("PartType5", "PartType4"),
    "ramses": ("sink",),
    "enzo": ("SinkParticle", "AccretingParticle", "io"),
    "flash": ("io",),
    "athena++": (),
}
_IDENTITIES = ("particle_index", "particle_identifier", "particle_identity", "ParticleIDs")

#: GIZMO and STARFORGE: the star, and the gas that waits in the sink to reach it.
_STAR, _RESERVOIR = "BH_Mass", "BH_Mass_AlphaDisk"


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
    molecular=False,
    reservoir=False,
):
    """Read a snapshot through yt."""
    yt = require("yt", extra="simulations")
    with _quiet(), tempfile.TemporaryDirectory() as scratch, reading(path):
        with reading(path, "the header"):
            dataset = yt.load(_entry(path, code), **_options(path, code, units, scratch))
        data = dataset.all_data()
        if region is not None:
            low, high = (dataset.arr(corner.to_value(u.pc), "pc") for corner in region)
            data = dataset.box(low, high)
        gas = _particles(data) if code == "gadget" else _cells(data)
        if molecular:
            gas["masses"] = gas["masses"] * _molecular_fraction(data, code)
        if temperatures:
            kind = "PartType0" if code == "gadget" else "gas"
            gas["temperatures"] = _value(data[kind, "temperature"], "K") * u.K
        if periodic is None:
            periodic = all(dataset.periodicity) and not _is_open(path, code)
        return Snapshot(
            **gas,
            sinks=_read_sinks(data, path, sink_type, code, reservoir=reservoir),
            time=float(dataset.current_time.to("Myr")) * u.Myr,
            box_size=_value(dataset.domain_width, "pc") * u.pc if periodic else None,
            name=name,
            meta={"path": str(path), "code": code},
        )


def _is_open(path, code):
    """Return whether a snapshot says that its box does not repeat, where yt takes it to do so."""
    if code == "gadget":
        return not np.all(header_attributes(path, "Header").get("BoxSize", 0))
    if code == "ramses":
        namelist = (path if path.is_dir() else path.parent) / "namelist.txt"
        text = namelist.read_text(encoding="utf-8", errors="replace") if namelist.is_file() else ""
        return re.search(r"^\s*simple_boundary\s*=\s*\.?t", text, re.I | re.M) is not None
    return False


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


def _molecular_fraction(data, code):
    """Return the fraction of the gas that is molecular, which GIZMO and STARFORGE write."""
    kind, name = "PartType0", "MolecularMassFraction"
    if code != "gadget" or (kind, name) not in data.ds.field_list:
        msg = (
            f"molecular is True, but the snapshot has no {name}: only GIZMO and STARFORGE write it"
        )
        raise ValueError(msg)
    return np.clip(np.array(data[kind, name].d, dtype=float), 0, 1)


def _read_sinks(data, path, sink_type, code, *, reservoir=False):
    """Return the sink particles of a snapshot."""
    dataset = data.ds
    if code == "ramses" and sink_type is None:
        folder = Path(path) if Path(path).is_dir() else Path(path).parent
        files = sorted(folder.glob("sink_[0-9]*.csv"))
        if files:
            length = float(dataset.length_unit.to("pc")) / dataset.parameters["boxlen"] * u.pc
            mass = float(dataset.mass_unit.to("Msun")) * u.solMass
            return read_table_of_sinks(files[0], length=length, mass=mass)
    present = {ptype for ptype, _ in dataset.field_list}
    if sink_type is not None and sink_type not in present:
        msg = f"sink_type must be one of {sorted(present)}, got {sink_type!r}"
        raise ValueError(msg)
    types = _TYPES[code] if sink_type is None else (sink_type,)
    for kind in types:
        if kind not in present:
            continue
        masses = _sink_masses(data, kind, reservoir=reservoir)
        if not len(masses):
            continue
        position = np.stack(
            [data[kind, f"particle_position_{axis}"].to("pc").d for axis in "xyz"], axis=1
        )
        names = _sink_names(data, kind, len(masses))
        alive = ~(masses <= 0)  # what is no number stays, and is an error
        columns = dict(zip("xyz", np.asarray(position[alive], float).T * u.pc, strict=True))
        return QTable({"sink": names[alive], "mass": masses[alive] * u.solMass, **columns})
    return None


def _sink_masses(data, kind, *, reservoir):
    """Return masses in Msun: of the star where the file has it apart from what is bound to it."""
    on_disk = {field for ptype, field in data.ds.field_list if ptype == kind}
    if reservoir and _RESERVOIR not in on_disk:
        msg = (
            f"reservoir is True, but sinks of type {kind!r} have no {_RESERVOIR}: only GIZMO and "
            "STARFORGE write it"
        )
        raise ValueError(msg)
    if _STAR not in on_disk:
        return np.array(data[kind, "particle_mass"].to("Msun").d, dtype=float)
    code = sum(np.array(data[kind, name].d) for name in (_STAR, *[_RESERVOIR] * reservoir))
    return np.array(data.ds.arr(code, "code_mass").to("Msun").d, dtype=float)


def _sink_names(data, kind, n):
    """
    Return a name for each sink that it keeps from snapshot to snapshot.

    GIZMO's identifiers repeat where sinks come from gas that was split or launched by jets, and its
    numbers of children grow with the jets: the time when a sink formed makes them unique.
    """
    on_disk = {field for ptype, field in data.ds.field_list if ptype == kind}
    known = on_disk | {field for ptype, field in data.ds.derived_field_list if ptype == kind}
    identity = next((name for name in _IDENTITIES if name in known), None)
    if identity is None:
        return np.arange(n)
    names = np.array(data[kind, identity].d).astype(np.int64)
    if {"ParticleIDGenerationNumber", "StellarFormationTime"} <= on_disk:
        formed = np.array(data[kind, "StellarFormationTime"].d)
        return np.array([f"{name}@{time:.6g}" for name, time in zip(names, formed, strict=True)])
    return names
