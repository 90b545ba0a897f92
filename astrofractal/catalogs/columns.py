"""The columns of a catalog: what they are, how they are shown, and their UCDs."""

import html
import textwrap
from collections import Counter
from typing import NamedTuple

import numpy as np
from astropy import units as u
from astropy.table import MaskedColumn, QTable
from astropy.utils.masked import Masked

from astrofractal._utils.reading import filled, sky_format
from astrofractal.flags import FLAGS, trust_of
from astrofractal.gasmap.moments import CHANNELS


class Column(NamedTuple):
    """What a column is, its descriptor (IVOA UCD1+) and format, and whether ``print`` shows it."""

    description: str  # {level} is that of the intervals
    ucd: str
    format: str | None = None
    shown: bool = True


#: In the order of a catalog; what ``print`` shows fits into 80 columns.
COLUMNS = {
    "id": Column("number or name of the position", "meta.id;meta.main"),
    "position": Column("position on the sky", "pos.eq;meta.main"),
    "n_maps": Column("number of maps that are combined", "meta.number;obs.image"),
    "mass": Column("mass of the protostar", "phys.mass", ".3g"),
    "mass_lower": Column("lower end of the interval, level {level:g}", "phys.mass;stat.min", ".3g"),
    "mass_upper": Column("upper end of the interval, level {level:g}", "phys.mass;stat.max", ".3g"),
    "trust": Column("whether the mass can be used: yes, doubt or no (see flags)", "meta.code.qual"),
    "ood_score": Column(
        "distance to the reference maps; above 1 is out of distribution", "stat.value", ".2f", False
    ),
    "velocity_known": Column(
        "part of the column density in which velocity and dispersion are known",
        *("stat.value", ".2f", False),
    ),
    "x": Column("0-based pixel along the first axis of the map", "pos.cartesian.x", ".1f", False),
    "y": Column("0-based pixel along the second axis of the map", "pos.cartesian.y", ".1f", False),
    "channels": Column(
        "channels that the mass is from: N, velocity v, dispersion sigma", "meta.code", None, False
    ),
    "flags": Column("warnings for this row, joined by commas", "meta.code.qual"),
}

_CODES = dict(zip(CHANNELS, ("N", "v", "sigma"), strict=True))
_WIDTH = 80

#: What ``print`` needs for these columns.
_WIDTHS = {"position": 20, "n_maps": 7, "mass": 8, "mass_lower": 11, "mass_upper": 11, "trust": 6}


def channel_code(channels):
    """Return a short code of some channels."""
    return "+".join(_CODES[name] for name in channels)


def measured(values, known):
    """Return values with those masked that are not known."""
    if np.all(known):
        return values
    kind = Masked if isinstance(values, u.Quantity) else MaskedColumn
    return kind(values, mask=~np.asarray(known))


def solar_masses(values, what="mass"):
    """Return masses as numbers of solar masses, NaN where they are masked."""
    values = u.Quantity(filled(values))
    if not values.unit.is_equivalent(u.solMass):
        msg = f"{what} must be in a unit of mass such as solMass, got {str(values.unit)!r}"
        raise u.UnitConversionError(msg)
    return np.atleast_1d(values.to_value(u.solMass)).astype(float)


def positive_masses(values, what="masses"):
    """Return masses as numbers of solar masses, all of which must be positive."""
    masses = solar_masses(values, what)
    if not (np.isfinite(masses) & (masses > 0)).all():
        msg = f"{what} must be finite and positive"
        raise ValueError(msg)
    return masses


class Catalog(QTable):
    """
    A catalog of masses: a `~astropy.table.QTable` whose text ends with what can be used of it.

    Columns that ``print`` leaves out come back when they are selected by name.
    """

    def __getitem__(self, item):
        found = super().__getitem__(item)
        if isinstance(found, Catalog) and found.colnames != self.colnames:
            found.pprint_exclude_names = ()
        return found

    def __str__(self):
        return "\n".join([super().__str__(), *closing_lines(self)])

    def _repr_html_(self):
        lines = (html.escape(" ".join(line.split())) for line in closing_lines(self))
        return super()._repr_html_() + "".join(f"<p>{line}</p>" for line in lines)


def closing_lines(table):
    """Return what stands below a printed catalog, in lines of 80 columns."""
    sentence, flags = verdict(table)
    lines = [sentence, *(f"{f.name}: {f.description}. To do: {f.remedy}." for f in flags)]
    if "matched" in table.meta:
        lines.append(f"Matched calibration: {table.meta['matched']}.")
    return [textwrap.fill(line, _WIDTH, subsequent_indent="    ") for line in lines if sentence]


def verdict(table):
    """Return which masses of a catalog can be used, and the flags that occur; of others, nothing."""
    if "trust" not in table.colnames or not len(table):
        return "", []
    trust = [str(value) for value in table["trust"]]
    rows = [set(str(f).split(",")) for f in table["flags"]] if "flags" in table.colnames else []
    present = [flag for name, flag in FLAGS.items() if any(name in own for own in rows)]
    n, n_yes, n_doubt = len(trust), trust.count("yes"), trust.count("doubt")
    sentence = f"{n_yes or 'None'} of {n} masses can be used"
    if n_doubt:
        sentence += f", {n_doubt} {'is' if n_doubt == 1 else 'are'} doubtful"
    reasons = Counter()
    for own, value in zip(rows, trust):
        worst = (flag.short for flag in present if flag.name in own and flag.trust == value)
        if value != "yes":
            reasons[next(worst, "without a finite score or interval")] += 1
    if reasons:
        parts = [f"{k} {'is' if k == 1 else 'are'} {reason}" for reason, k in reasons.items()]
        sentence += f": {', '.join(parts)}"
    return f"{sentence}.", present


def describe(table, level):
    """Return a catalog with trust, descriptions and formats, of which ``print`` shows a part."""
    table = table if isinstance(table, Catalog) else Catalog(table, copy=False)
    if {"flags", "mass_lower", "mass_upper"} <= set(table.colnames):
        _add_trust(table)
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


def _add_trust(table):
    """Set the column ``trust``, which follows the interval."""
    names = [n for n in ("mass_lower", "mass_upper", "ood_score") if n in table.colnames]
    numbers = zip(*(u.Quantity(filled(table[n])).value for n in names), strict=True)
    flags = [str(text).split(",") for text in table["flags"]]
    trust = [trust_of(own, *row) for own, row in zip(flags, numbers, strict=True)]
    trust = np.array(trust, dtype="U5")
    if "trust" in table.colnames:
        table["trust"] = trust
    else:
        table.add_column(trust, table.colnames.index("mass_upper") + 1, "trust")


def _choose_shown(table):
    """Let ``print`` show what is to be seen at once; flags and positions where there is room."""
    hidden = [name for name in table.colnames if name not in COLUMNS or not COLUMNS[name].shown]
    widths = {name: width for name, width in _WIDTHS.items() if name in table.colnames}
    for name in ("id", "flags"):
        if name in table.colnames:
            widths[name] = 1 + max([len(name), *(len(str(value)) for value in table[name])])
    for name in ("flags", "position", "n_maps"):
        if sum(widths.values()) > _WIDTH and widths.pop(name, None):
            hidden.append(name)
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


def need_columns(table, names, what):
    """Raise `ValueError` if a table lacks a column."""
    for name in names:
        if name not in table.colnames:
            has = ", ".join(table.colnames) or "none"
            msg = f"{what} must have the column {name!r}, it has {has}"
            raise ValueError(msg)


def check_level(level):
    """Raise `ValueError` if a probability is not between 0 and 1."""
    if not 0 < level < 1:
        msg = f"level must be between 0 and 1, got {level!r}"
        raise ValueError(msg)
