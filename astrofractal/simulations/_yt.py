"""Snapshots that yt reads: GADGET, GIZMO and AREPO HDF5, FLASH, Enzo, Athena++ and RAMSES."""

import contextlib
import tempfile
import warnings
from pathlib import Path

import numpy as np
from astropy import units as u

from astrofractal._utils.optional import require
from astrofractal.simulations._units import header_units
from astrofractal.simulations._yt_sinks import read_sinks
from astrofractal.simulations.snapshot import Snapshot

__all__ = ["read_yt"]

_ETA = 1.2  # h = eta (m / rho)^(1/3), the usual choice for the M4 spline (Price 2012)


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
    with _quiet(), tempfile.TemporaryDirectory() as scratch:
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
            periodic = all(dataset.periodicity)
        return Snapshot(
            **gas,
            sinks=read_sinks(data, path, sink_type, code, reservoir=reservoir),
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


def _molecular_fraction(data, code):
    """Return the fraction of the gas that is molecular, which GIZMO and STARFORGE write."""
    kind, name = "PartType0", "MolecularMassFraction"
    if code != "gadget" or (kind, name) not in data.ds.field_list:
        msg = (
            f"molecular is True, but the snapshot has no {name}: only GIZMO and STARFORGE write it"
        )
        raise ValueError(msg)
    return np.clip(np.array(data[kind, name].d, dtype=float), 0, 1)
