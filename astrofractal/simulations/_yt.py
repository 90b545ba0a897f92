"""Snapshots that yt reads: GADGET, GIZMO and AREPO HDF5, FLASH, Enzo, Athena++ and RAMSES."""

import logging
import re
import tempfile
import warnings
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import QTable

from astrofractal._utils.optional import require
from astrofractal._utils.progress import quiet
from astrofractal._utils.reading import reading
from astrofractal.simulations._ramses import read_table_of_sinks
from astrofractal.simulations._units import header_attributes, header_units
from astrofractal.simulations.snapshot import Snapshot

_GAS = "PartType0"

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


def read_yt(path, code, *, units, name, region, temperatures, periodic, molecular, reservoir):
    """Read a snapshot through yt."""
    yt = require("yt", extra="simulations")
    with (
        warnings.catch_warnings(action="ignore"),
        quiet(logging.ERROR, "yt"),
        tempfile.TemporaryDirectory() as scratch,
        reading(path),
    ):
        with reading(path, "the header"):
            dataset = yt.load(_entry(path, code), **_options(path, code, units, scratch))
        data = dataset.all_data()
        if region is not None:
            low, high = (dataset.arr(u.Quantity(end).to_value(u.pc), "pc") for end in region)
            data = dataset.box(low, high)
        gas = _particles(data) if code == "gadget" else _cells(data)
        if molecular:
            gas["masses"] = gas["masses"] * _molecular_fraction(data, code)
        if temperatures:
            kind = _GAS if code == "gadget" else "gas"
            gas["temperatures"] = _value(data[kind, "temperature"], "K") * u.K
        if periodic is None:
            periodic = all(dataset.periodicity) and not _is_open(path, code)
        return Snapshot(
            **gas,
            sinks=_read_sinks(data, path, code, reservoir=reservoir),
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


def _entry(path, code):
    """Return the file that yt opens."""
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
        base = {
            "UnitLength_in_cm": units["length"],
            "UnitMass_in_g": units["mass"],
            "UnitVelocity_in_cm_per_s": units["length"] / units["time"],
        }
        return {"unit_base": base, "index_filename": str(Path(scratch) / "index.ewah")}
    if units is not None:
        cgs = {"length": "cm", "mass": "g", "time": "s"}
        return {"units_override": {f"{n}_unit": (units[n], unit) for n, unit in cgs.items()}}
    if code == "athena++" or (code == "enzo" and not _enzo_states_units(path)):
        _refuse(path, "{'length': 1 * u.pc, 'density': ..., 'velocity': 1 * u.km / u.s}")
    return {}


def _enzo_states_units(path):
    text = Path(_entry(path, "enzo")).read_text(encoding="utf-8", errors="replace")
    return any(word in text for word in ("LengthUnits", "ComovingCoordinates = 1", "Internal:"))


def _refuse(path, example):
    msg = f"{str(path)!r} does not state its units: give them, for example units={example}"
    raise ValueError(msg)


def _value(array, unit):
    return np.array(array.to(unit).d, dtype=float)


def _vectors(data, kind, names, unit):
    """Return three fields as (n, 3)."""
    return np.stack([_value(data[kind, name], unit) for name in names], axis=1)


def _on_disk(data, kind):
    """Return the fields of a type of particles that the file contains."""
    return {field for ptype, field in data.ds.field_list if ptype == kind}


def _particles(data):
    """Return gas of the GADGET family, whose smoothing length is where the kernel vanishes."""
    masses, stored = _value(data[_GAS, "particle_mass"], "Msun"), _on_disk(data, _GAS)
    lengths = [name for name in ("SmoothingLength", "KernelRadius") if name in stored]
    if lengths:
        h = _value(data.ds.arr(data[_GAS, lengths[0]].d, "code_length"), "pc") / 2
    elif "Density" in stored:
        h = _ETA * np.cbrt(masses / _value(data[_GAS, "density"], "Msun/pc**3"))
    else:
        msg = "the gas has neither smoothing lengths nor densities"
        raise ValueError(msg)
    return {
        "positions": _value(data[_GAS, "particle_position"], "pc") * u.pc,
        "masses": masses * u.solMass,
        "velocities": _value(data[_GAS, "particle_velocity"], "km/s") * u.km / u.s,
        "smoothing_lengths": h * u.pc,
    }


def _cells(data):
    """Return gas of a grid code, leaf cells only."""
    widths = _vectors(data, "index", ("dx", "dy", "dz"), "pc")
    velocities = _vectors(data, "gas", [f"velocity_{axis}" for axis in "xyz"], "km/s")
    density = _value(data["gas", "density"], "Msun/pc**3")
    return {
        "positions": _vectors(data, "index", "xyz", "pc") * u.pc,
        "masses": density * widths.prod(axis=1) * u.solMass,
        "velocities": velocities * u.km / u.s,
        "cell_widths": widths * u.pc,
    }


def _molecular_fraction(data, code):
    """Return the fraction of the gas that is molecular, which GIZMO and STARFORGE write."""
    name = "MolecularMassFraction"
    if code != "gadget" or name not in _on_disk(data, _GAS):
        msg = f"molecular is True, but there is no {name}: only GIZMO and STARFORGE write it"
        raise ValueError(msg)
    return np.clip(np.array(data[_GAS, name].d, dtype=float), 0, 1)


def _read_sinks(data, path, code, *, reservoir):
    """Return the sink particles of a snapshot."""
    dataset = data.ds
    if code == "ramses":
        files = sorted((path if path.is_dir() else path.parent).glob("sink_[0-9]*.csv"))
        if files:
            length = float(dataset.length_unit.to("pc")) / dataset.parameters["boxlen"] * u.pc
            mass = float(dataset.mass_unit.to("Msun")) * u.solMass
            return read_table_of_sinks(files[0], length=length, mass=mass)
    present = {ptype for ptype, _ in dataset.field_list}
    for kind in _TYPES[code]:
        masses = _sink_masses(data, kind, reservoir=reservoir) if kind in present else ()
        if not len(masses):
            continue
        alive = ~(masses <= 0)  # what is no number stays, and is an error
        axes = [f"particle_position_{axis}" for axis in "xyz"]
        places = _vectors(data, kind, axes, "pc")[alive].T * u.pc
        names = _sink_names(data, kind, len(masses))[alive]
        columns = dict(zip("xyz", places, strict=True))
        return QTable({"sink": names, "mass": masses[alive] * u.solMass, **columns})
    return None


def _sink_masses(data, kind, *, reservoir):
    """Return masses in Msun: of the star where the file has it apart from what is bound to it."""
    on_disk = _on_disk(data, kind)
    if reservoir and _RESERVOIR not in on_disk:
        msg = f"reservoir is True, but {kind!r} has no {_RESERVOIR}: only GIZMO and STARFORGE do"
        raise ValueError(msg)
    if _STAR not in on_disk:
        return _value(data[kind, "particle_mass"], "Msun")
    code = sum(np.array(data[kind, name].d) for name in (_STAR, *[_RESERVOIR] * reservoir))
    return _value(data.ds.arr(code, "code_mass"), "Msun")


def _sink_names(data, kind, n):
    """Return a name for each sink that it keeps from snapshot to snapshot."""
    on_disk = _on_disk(data, kind)
    known = on_disk | {field for ptype, field in data.ds.derived_field_list if ptype == kind}
    identity = next((name for name in _IDENTITIES if name in known), None)
    if identity is None:
        return np.arange(n)
    names = np.array(data[kind, identity].d).astype(np.int64)
    # GIZMO's identifiers repeat where sinks come from gas that was split or launched by jets, and
    # its numbers of children grow with the jets: the time when a sink formed makes them unique.
    if {"ParticleIDGenerationNumber", "StellarFormationTime"} <= on_disk:
        formed = np.array(data[kind, "StellarFormationTime"].d)
        return np.array([f"{name}@{time:.6g}" for name, time in zip(names, formed, strict=True)])
    return names
