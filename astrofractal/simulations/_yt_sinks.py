"""Sink particles of snapshots that yt reads."""

from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import QTable

from astrofractal.simulations._ramses import read_table_of_sinks

__all__ = ["read_sinks"]

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


def read_sinks(data, path, sink_type, code, *, reservoir=False):
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
        masses = _masses(data, kind, reservoir=reservoir)
        if not len(masses):
            continue
        position = np.stack(
            [data[kind, f"particle_position_{axis}"].to("pc").d for axis in "xyz"], axis=1
        )
        names = _names(data, kind, len(masses))
        alive = masses > 0
        columns = dict(zip("xyz", np.asarray(position[alive], float).T * u.pc, strict=True))
        return QTable({"sink": names[alive], "mass": masses[alive] * u.solMass, **columns})
    return None


def _masses(data, kind, *, reservoir):
    """Return masses in Msun: of the star where the file tells it apart from what is bound to it."""
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


def _names(data, kind, n):
    """
    Return a name for each sink that it keeps from snapshot to snapshot.

    GIZMO's identifiers repeat where sinks come from gas that was split or launched by jets, and its
    numbers of children grow with the jets: the time when a sink formed tells them apart.
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
