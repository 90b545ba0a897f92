"""Code units of a simulation, given by the user or written in a header."""

from astropy import units as u

from astrofractal._utils.optional import require

_CGS = {"length": "cm", "mass": "g", "velocity": "cm / s", "time": "s", "density": "g / cm3"}
_HEADER_NAMES = {
    "length": ("UnitLength_in_cm", "UnitLength_In_CGS"),
    "mass": ("UnitMass_in_g", "UnitMass_In_CGS"),
    "velocity": ("UnitVelocity_in_cm_per_s", "UnitVelocity_In_CGS"),
}


def code_units(units):
    """Return one code unit of length, mass and time in cgs."""
    unknown = set(units) - set(_CGS)
    if unknown:
        msg = f"units may have {', '.join(_CGS)}, got {sorted(unknown)}"
        raise ValueError(msg)
    values = {name: u.Quantity(value).to_value(u.Unit(_CGS[name])) for name, value in units.items()}
    pairs = (("mass", "density"), ("velocity", "time"))
    if "length" not in values or any((one in values) == (other in values) for one, other in pairs):
        msg = f"units needs length, mass or density, and one of velocity and time, got {sorted(units)}"
        raise ValueError(msg)
    length = values["length"]
    mass = values["mass"] if "mass" in values else values["density"] * length**3
    time = values["time"] if "time" in values else length / values["velocity"]
    return {"length": length, "mass": mass, "time": time}


def header_attributes(path, *groups):
    """Return the attributes of some groups of an HDF5 snapshot, the first group first."""
    h5py = require("h5py", extra="simulations")
    found = {}
    with h5py.File(path, "r") as file:
        for group in groups:
            for name, value in file[group].attrs.items() if group in file else ():
                found.setdefault(name, value)
    return found


def header_units(path):
    """Return the code units that an HDF5 snapshot of the GADGET family states."""
    attributes = header_attributes(path, "Header", "Parameters", "Units")
    found = {}
    for name, spellings in _HEADER_NAMES.items():
        values = [attributes[spelling] for spelling in spellings if spelling in attributes]
        if not values:
            return None
        found[name] = float(values[0]) * u.Unit(_CGS[name])
    return code_units(found)
