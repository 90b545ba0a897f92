"""The columns of a catalog: what they are, how they are shown, and their UCDs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.table import MaskedColumn
from astropy.utils.masked import Masked

from astrofractal._utils.reading import sky_format
from astrofractal.gasmap.moments import CHANNELS

__all__ = ["COLUMNS", "carry", "channel_code", "check_level", "describe", "measured"]


@dataclass(frozen=True)
class Column:
    """
    One column.

    Parameters
    ----------
    description : str
        What it is; ``{level}`` is that of the intervals.

    ucd : str
        Its Unified Content Descriptor (IVOA UCD1+).

    format : str or None
        How it is shown.

    shown : bool
        Whether ``print`` shows it: what is to be seen at once fits into 80 columns.
    """

    description: str
    ucd: str
    format: str | None = None
    shown: bool = True


#: In the order of a catalog.
COLUMNS = {
    "id": Column("number or name of the position", "meta.id;meta.main"),
    "position": Column("position on the sky", "pos.eq;meta.main"),
    "n_maps": Column("number of maps that are combined", "meta.number;obs.image"),
    "mass": Column("mass of the protostar", "phys.mass", ".3g"),
    "mass_lower": Column("lower end of the interval, level {level:g}", "phys.mass;stat.min", ".3g"),
    "mass_upper": Column("upper end of the interval, level {level:g}", "phys.mass;stat.max", ".3g"),
    "ood_score": Column(
        "distance to the reference maps; above 1 is out of distribution",
        "stat.value",
        ".2f",
        shown=False,
    ),
    "velocity_known": Column(
        "part of the column density in which velocity and dispersion are known",
        "stat.value",
        ".2f",
        shown=False,
    ),
    "x": Column(
        "0-based pixel along the first axis of the map", "pos.cartesian.x", ".1f", shown=False
    ),
    "y": Column(
        "0-based pixel along the second axis of the map", "pos.cartesian.y", ".1f", shown=False
    ),
    "channels": Column(
        "channels that the mass is from: N, velocity v, dispersion sigma", "meta.code", shown=False
    ),
    "flags": Column("what to beware of, joined by commas", "meta.code.qual"),
}

_CODES = dict(zip(CHANNELS, ("N", "v", "sigma"), strict=True))

_WIDTH = 80

#: What ``print`` needs for these columns.
_WIDTHS = {"position": 20, "n_maps": 7, "mass": 8, "mass_lower": 11, "mass_upper": 11}


def channel_code(channels):
    """Return a short code of some channels."""
    return "+".join(_CODES[name] for name in channels)


def measured(values, known):
    """Return values with those masked that are not known."""
    # values 1D; known 1D
    if np.all(known):
        return values
    kind = Masked if isinstance(values, u.Quantity) else MaskedColumn
    return kind(values, mask=~np.asarray(known))


def describe(table, level):
    """Set the descriptions and formats of the columns of a catalog, and which ``print`` shows."""
    for name in table.colnames:
        if name in COLUMNS:
            column = COLUMNS[name]
            table[name].info.description = column.description.format(level=level)
            if column.format is not None:
                table[name].info.format = column.format
    if "position" in table.colnames:
        table["position"].info.format = sky_format(table["position"])
    _choose_shown(table)
    return table


def _choose_shown(table):
    """Let ``print`` show what is to be seen at once; flags only where there is room for them."""
    hidden = [name for name in table.colnames if name not in COLUMNS or not COLUMNS[name].shown]
    taken = sum(_WIDTHS.get(name, 0) for name in table.colnames)
    for name in ("id", "flags"):
        if name in table.colnames:
            taken += 1 + max([len(name), *(len(str(value)) for value in table[name])])
    if taken > _WIDTH:
        hidden.append("flags")
    table.pprint_exclude_names = hidden


def carry(table, columns):
    """Put other columns of a table of positions behind those of a catalog."""
    for name in () if columns is None else columns.colnames:
        new = name
        while new in table.colnames:
            new += "_input"
        table[new] = columns[name]
    _choose_shown(table)
    return table


def check_level(level):
    """Raise `ValueError` if a probability is not between 0 and 1."""
    if not 0 < level < 1:
        msg = f"level must be between 0 and 1, got {level!r}"
        raise ValueError(msg)
