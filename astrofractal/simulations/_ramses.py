"""The tables of sink particles that RAMSES writes next to a snapshot."""

import re

import numpy as np
from astropy import units as u
from astropy.table import QTable

#: Columns of RAMSES's sinks in code units, of versions that write no header.
_PLAIN_COLUMNS = (10, 12, 17)
#: Columns of a version whose masses are solar.
_SOLAR_COLUMNS = (9,)


def read_table_of_sinks(path, *, length, mass):
    """Read the table of sink particles ``sink_NNNNN.csv``."""
    rows = [
        [cell.strip() for cell in line.strip().lstrip("#").split(",")]
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.strip(" #")
    ]
    # Only the first rows may be names and units: what does not parse below them is an error.
    n_header = 0
    if rows and _number(rows[0][0]) is None:
        n_header = 2 if len(rows) > 1 and _is_units(rows[1]) else 1
    header, rows = rows[:n_header], rows[n_header:]
    if not rows:
        return None
    names, units = _columns(path, header, len(rows[0]))
    if any(len(row) <= max(names.values()) or len(row) != len(rows[0]) for row in rows):
        msg = f"{str(path)!r} has a row of fewer columns than its header: is it truncated?"
        raise ValueError(msg)
    values = {}
    for name, column in names.items():
        values[name] = np.array([_number(row[column]) for row in rows], dtype=float)
        if not np.isfinite(values[name]).all():
            cell = rows[int(np.argmin(np.isfinite(values[name])))][column]
            msg = f"{str(path)!r} has a cell that is no number: {name} = {cell!r}"
            raise ValueError(msg)
    known = {"m": mass, "l": length} | {
        "msol": u.solMass, "msun": u.solMass, "g": u.g, "pc": u.pc, "au": u.au, "cm": u.cm,
    }  # fmt: skip
    try:
        columns = {"mass": (values["msink"] * known[units["msink"]]).to(u.solMass)}
        columns |= {axis: (values[axis] * known[units[axis]]).to(u.pc) for axis in "xyz"}
    except (KeyError, u.UnitConversionError):
        msg = f"{str(path)!r} has columns in units that are not understood: {units}"
        raise ValueError(msg) from None
    table = QTable({"sink": values["id"].astype(np.int64), **columns})
    return table[table["mass"] > 0]


def _columns(path, header, width):
    """Return the place and the unit of each column that is needed."""
    needed = ("id", "msink", "x", "y", "z")
    in_code_units = dict(zip(needed, ("1", "m", "l", "l", "l"), strict=True))
    if not header:
        names = dict(zip(needed, range(5), strict=True))
        if width in _SOLAR_COLUMNS:
            return names, in_code_units | {"msink": "msun"}
        if width in _PLAIN_COLUMNS:
            return names, in_code_units
        msg = (
            f"{str(path)!r} has no header and {width} columns, whose units are not known: put "
            "'# id,msink,x,y,z,...' and '# 1,m,l,l,l,...' before it, or give sinks="
        )
        raise ValueError(msg)
    titles = [title.lower() for title in header[0]]
    titles = [{"mass": "msink", "m_sink": "msink"}.get(title, title) for title in titles]
    missing = [name for name in needed if name not in titles]
    if missing:
        msg = f"{str(path)!r} names no column {', '.join(missing)}, but {', '.join(header[0])}"
        raise ValueError(msg)
    names = {name: titles.index(name) for name in needed}
    if len(header) > 1:
        if len(header[1]) <= max(names.values()):
            msg = f"{str(path)!r} has fewer units than names: {', '.join(header[1])}"
            raise ValueError(msg)
        return names, {
            name: header[1][column].strip("[]").lower() for name, column in names.items()
        }
    if "msink" not in [title.lower() for title in header[0]]:
        msg = f"{str(path)!r} does not say the unit of its masses: give sinks="
        raise ValueError(msg)
    return names, in_code_units


def _number(text):
    """Return a number, which Fortran may have written with a D, or `None`."""
    try:
        return float(re.sub(r"(?<=[\d.])[dD](?=[+-]?\d)", "e", text))
    except ValueError:
        return None


def _is_units(row):
    """Return whether a row is that of the units, which begins with a number as well."""
    return len(row) > 1 and row[0].strip("[]") == "1" and _number(row[1]) is None
