"""Columns of a table as positions: which they are, what they mean, and what is wrong with a cell."""

import re

import numpy as np
from astropy import units as u
from astropy.coordinates import Angle, SkyCoord
from astropy.table import QTable

__all__ = ["find_columns"]

_SKY_COLUMNS = (
    ("ra", "dec"), ("ra", "de"), ("raj2000", "dej2000"), ("raj2000", "decj2000"),
    ("_raj2000", "_dej2000"), ("ra_icrs", "de_icrs"), ("raicrs", "deicrs"), ("_ra", "_de"),
    ("ra_deg", "dec_deg"), ("radeg", "dedeg"), ("radeg", "decdeg"), ("ra2000", "dec2000"),
    ("right_ascension", "declination"), ("position.ra", "position.dec"),
)  # fmt: skip

_GALACTIC_COLUMNS = (("l", "b"), ("glon", "glat"))

_PIXEL_COLUMNS = (("x", "y"), ("xcentroid", "ycentroid"), ("x_centroid", "y_centroid"),
                  ("x_peak", "y_peak"))  # fmt: skip

#: Hours, minutes and seconds; sign, degrees, minutes and seconds (CDS).
_HOURS, _DEGREES, _SIGN = ("rah", "ram", "ras"), ("ded", "dem", "des"), "de-"

_ID_COLUMNS = (
    "id", "name", "source", "source_id", "source_name", "designation", "main_id", "object", "label",
)  # fmt: skip

_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$", re.IGNORECASE)

_KINDS = {
    "ra": ("icrs", 0), "dec": ("icrs", 1), "l": ("galactic", 0), "b": ("galactic", 1),
    "x": ("pixel", 0), "y": ("pixel", 1),
}  # fmt: skip


def find_columns(table, where, columns=None):
    """Find positions, names and whatever else a table has."""
    columns = dict(columns or {})
    _check_names(table, where, columns)
    lower = {name.lower(): name for name in reversed(table.colnames)}
    own_id = columns.pop("id", None)
    positions, used = _positions(table, where, lower, columns)
    if own_id is None:
        own_id = next((lower[n] for n in _ID_COLUMNS if n in lower and lower[n] not in used), None)
    ids = None if own_id is None else _plain(table[own_id])
    others = [name for name in table.colnames if name not in {*used, own_id}]
    return positions, ids, QTable(table[others]) if others else None


def _check_names(table, where, columns):
    for kind, name in columns.items():
        if kind not in {*_KINDS, "id"}:
            msg = f"columns must name ra and dec, l and b, or x and y, and id, got {kind!r}"
            raise ValueError(msg)
        if name not in table.colnames:
            msg = f"columns: {where} has no column {name!r}; it has {', '.join(table.colnames)}"
            raise ValueError(msg)
    pair = {kind for kind in columns if kind != "id"}
    if pair and pair not in ({"ra", "dec"}, {"l", "b"}, {"x", "y"}):
        msg = f"columns must name ra and dec, l and b, or x and y, got {', '.join(columns)}"
        raise ValueError(msg)


def _plain(column):
    """Names as a list; an empty one is an empty text."""
    mask = np.broadcast_to(getattr(column, "mask", False), len(column))
    values = np.asarray(column.value if hasattr(column, "unit") else column).tolist()
    values = [value.decode() if isinstance(value, bytes) else value for value in values]
    return [("" if hidden else value) for value, hidden in zip(values, mask, strict=True)]


def _positions(table, where, lower, columns):
    """Return the positions and the names of the columns that they are from."""
    if columns:
        frame = _KINDS[next(iter(columns))][0]
        pair = [columns[kind] for kind in sorted(columns, key=lambda kind: _KINDS[kind][1])]
        return _pair(table, pair, frame, where), pair
    for name in table.colnames:
        if isinstance(table[name], SkyCoord):
            sky = table[name].reshape(-1)
            angles = np.stack([sky.spherical.lon.deg, sky.spherical.lat.deg])
            _refuse_empty(~np.isfinite(np.ma.filled(angles, np.nan)).all(0), name, where)
            return sky, [name]
    for pairs, frame in (
        (_SKY_COLUMNS, "icrs"), (_GALACTIC_COLUMNS, "galactic"), (_PIXEL_COLUMNS, "pixel")
    ):  # fmt: skip
        for pair in pairs:
            if all(name in lower for name in pair):
                names = [lower[name] for name in pair]
                return _pair(table, names, frame, where), names
        if frame == "icrs" and _HOURS[0] in lower and _DEGREES[0] in lower:
            return _in_parts(table, lower, where)
    msg = (
        f"positions: {where} has no column of positions: it needs a SkyCoord, ra and dec, RAh, RAm, "
        "RAs, DE-, DEd, DEm and DEs, l and b, or x and y (0-based pixels), and has "
        f"{', '.join(table.colnames) or 'no columns'}"
    )
    raise ValueError(msg)


def _pair(table, names, frame, where):
    if frame == "pixel":
        return np.column_stack([_pixels(table, name, where) for name in names])
    lon = _angles(table, names[0], where, hours=frame == "icrs")
    lat = _angles(table, names[1], where)
    return _sky(lon, lat, names, frame, where)


def _sky(lon, lat, names, frame, where):
    for angle, name, limit in ((lon, names[0], 360), (lat, names[1], 90)):
        _refuse(np.abs(angle) > limit, where, name, f"is beyond {limit} degrees", angle.astype(str))
    return SkyCoord(lon, lat, unit=u.deg, frame=frame)


def _in_parts(table, lower, where):
    """Right ascension and declination from the columns of their parts."""
    used, angles = [], []
    for parts, most in ((_HOURS, 24), (_DEGREES, 90)):
        total = np.zeros(len(table))
        for part, name in enumerate(parts):
            if name not in lower:
                continue
            own = lower[name]
            value = _numbers(table, own, where)
            limit = most if part == 0 else 60
            _refuse((value < 0) | (value > limit), where, own, f"is not within 0 to {limit}", value)
            total += value / 60**part
            used.append(own)
        angles.append(total)
    if _SIGN in lower:
        own = lower[_SIGN]
        signs = np.array([str(sign).strip() for sign in _plain(table[own])])
        _refuse(~np.isin(signs, ["", "+", "-"]), where, own, "is neither + nor -", signs)
        angles[1] = np.where(signs == "-", -angles[1], angles[1])
        used.append(own)
    return _sky(15 * angles[0], angles[1], used[:: len(used) - 1], "icrs", where), used


def _pixels(table, name, where):
    unit = getattr(table[name], "unit", None)
    if unit not in (None, u.pix, u.one):
        msg = f"positions: column {name!r} of {where} must be in pixels, its unit is {unit}"
        raise u.UnitsError(msg)
    return _numbers(table, name, where)


def _numbers(table, name, where):
    """Return a column as numbers; a text that is none is refused."""
    values = _values(table, name, where)
    if values.dtype.kind == "U":
        bad = [_DECIMAL.match(value) is None for value in values]
        _refuse(bad, where, name, "is not a number", values)
    return values.astype(float)


def _angles(table, name, where, *, hours=False):
    """
    Return a column of angles in degrees.

    Plain numbers are in the column's unit, or in degrees where it has none.  Sexagesimal text is in
    what it says, otherwise in hours for a right ascension and in degrees for any other angle.
    """
    values = _values(table, name, where)
    stated = str(getattr(table[name], "unit", None) or "").strip("'\" ")
    if values.dtype.kind != "U":
        return values.astype(float) * _degrees(stated, name, where, hours=hours)
    decimal = np.array([_DECIMAL.match(value) is not None for value in values], bool)
    if decimal.all():
        return values.astype(float) * _degrees(stated, name, where, hours=hours)
    if decimal.any():
        one, other = np.flatnonzero(decimal)[0], np.flatnonzero(~decimal)[0]
        msg = (
            f"positions: column {name!r} of {where} mixes decimal and sexagesimal values: "
            f"{str(values[one])!r} in row {one + 1}, {str(values[other])!r} in row {other + 1}"
        )
        raise ValueError(msg)
    return _sexagesimal(values.tolist(), stated, name, where, hours=hours)


def _sexagesimal(values, stated, name, where, *, hours):
    marks = ["h" if "h" in v.lower() else "d" if set("d°") & set(v.lower()) else "" for v in values]
    if len(set(marks)) > 1:
        other = next(row for row, mark in enumerate(marks) if mark != marks[0])
        msg = (
            f"positions: column {name!r} of {where} must have one meaning: {values[0]!r} in row 1, "
            f"{values[other]!r} in row {other + 1}"
        )
        raise ValueError(msg)
    mark = marks[0] or ("h" if stated[:1] == "h" else "d" if stated[:1] == "d" else "")
    in_hours = mark == "h" or (not mark and hours)
    unit = u.hourangle if in_hours else u.deg
    degrees = np.empty(len(values))
    for row, value in enumerate(values):
        try:
            degrees[row] = Angle(value, unit).deg
        except (ValueError, TypeError, u.UnitsError) as error:
            msg = (
                f"positions: row {row + 1} of {where}: {name!r} is {value!r}, which is no angle "
                f"({str(error).splitlines()[0]})"
            )
            raise ValueError(msg) from error
    return degrees


def _degrees(stated, name, where, *, hours):
    """Return how many degrees a unit is; hours are an angle for a right ascension."""
    if not stated:
        return 1.0
    try:
        unit = u.Unit(stated)
    except ValueError:
        unit = None
    if hours and unit in (u.hour, u.hourangle):
        return 15.0
    if unit is None or not unit.is_equivalent(u.deg):
        msg = f"positions: column {name!r} of {where} must be an angle, its unit is {stated}"
        raise u.UnitsError(msg)
    return unit.to(u.deg)


def _values(table, name, where):
    """Return the plain values of a column, text without blanks about it; none may be empty."""
    column = table[name]
    empty = np.broadcast_to(getattr(column, "mask", False), len(column)).copy()
    values = np.asarray(column.value if hasattr(column, "unit") else column)
    values = np.asarray(getattr(values, "filled", lambda: values)())
    if values.ndim != 1:
        msg = f"positions: column {name!r} of {where} must have one value in a row"
        raise ValueError(msg)
    if values.dtype.kind in "SOU":
        values = np.array([_text(value) for value in values.tolist()], dtype=str)
        empty |= values == ""
    elif values.dtype.kind in "iuf":
        empty |= ~np.isfinite(np.where(empty, np.nan, values))
    else:
        msg = f"positions: column {name!r} of {where} must hold numbers or text"
        raise ValueError(msg)
    _refuse_empty(empty, name, where)
    return values


def _text(value):
    value = value.decode() if isinstance(value, bytes) else value
    return "" if value is None else str(value).strip()


def _refuse_empty(empty, name, where):
    if np.any(empty):
        row = int(np.flatnonzero(empty)[0]) + 1
        msg = f"positions: row {row} of {where} has no {name!r}: fill it in or leave the row out"
        raise ValueError(msg)


def _refuse(bad, where, name, reason, values):
    if np.any(bad):
        row = int(np.flatnonzero(bad)[0])
        msg = f"positions: row {row + 1} of {where}: {name!r} is {values[row]!s}, which {reason}"
        raise ValueError(msg)
