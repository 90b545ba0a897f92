"""Columns of a table as positions: which they are, what they mean, and what is wrong with a cell."""

import re
from dataclasses import dataclass
from itertools import product

import numpy as np
from astropy import units as u
from astropy.coordinates import Angle, SkyCoord
from astropy.table import QTable

from astrofractal._utils.reading import printable
from astrofractal._utils.tables import UNNAMED
from astrofractal.catalogs.frames import frame_of, mentioned_frame

#: What columns of positions are called, apart from frame and unit.
_AXES = {
    "ra": "ra|r a|right ?asc(?:ension)?|alpha|s ra|coord ra|position ra|sky ra|mean ra|ra mean",
    "dec": "dec|de|dej|declination|decl|delta|s dec|coord dec|position dec|sky dec|mean dec|dec mean",
    "l": "l|ii l|l ii|lii|g ?lon|gal(?:actic)? ?(?:l|lon(?:gitude)?)|l gal",
    "b": "b|bii|b ii|g ?lat|gal(?:actic)? ?(?:b|lat(?:itude)?)|b gal",
    "elon": "e ?lon|ecl(?:iptic)? ?lon(?:gitude)?|lambda",
    "elat": "e ?lat|ecl(?:iptic)? ?lat(?:itude)?|beta",
    "x": "x|x ?centroid|x ?cen(?:ter)?|x peak|x pix(?:els?)?|xpix|x image",
    "y": "y|y ?centroid|y ?cen(?:ter)?|y peak|y pix(?:els?)?|ypix|y image",
}
_QUALIFIER = (
    r" ?(?:eq |ep |epoch )?(?:j ?2000(?: 0)?|2000(?: 0)?|b ?1950(?: 0)?|1950(?: 0)?|icrs|fk[45])|"
    r" ?deg(?:rees?)?| (?:d|h|hours?|hms|dms|sexa?|rad(?:ians?)?|hh ?mm ?ss ?s*|dd ?mm ?ss ?s*)"
)
_NAMES = {axis: re.compile(rf"(?:{names})((?:{_QUALIFIER})*)") for axis, names in _AXES.items()}
#: A column that holds both angles.
_WHOLE = re.compile(r"coord\w*\s*(\(.*\))?|pos(ition)?|ra[\W_]*dec\.?|radec.*", re.IGNORECASE)
#: Both angles in one text.
_BOTH = re.compile(r"(?P<ra>[^+\-\u2212]*?)[\s,]*(?P<dec>[+\-\u2212].*)|(?P<a>\S+)[\s,]+(?P<b>\S+)")
_PAIRS = (("ra", "dec"), ("l", "b"), ("elon", "elat"), ("x", "y"))

#: Unified Content Descriptors of positions; those of UCD1 in capitals.
_UCDS = {
    "pos.eq.ra": "ra", "pos.eq.dec": "dec", "pos.galactic.lon": "l", "pos.galactic.lat": "b",
    "pos.ecliptic.lon": "elon", "pos.ecliptic.lat": "elat", "pos_eq_ra_main": "ra",
    "pos_eq_dec_main": "dec", "pos_gal_lon": "l", "pos_gal_lat": "b",
}  # fmt: skip

#: Hours, minutes and seconds; sign, degrees, minutes and seconds (CDS).
_HOURS, _DEGREES, _SIGN = ("rah", "ram", "ras"), ("ded", "dem", "des"), "de-"

_ID_COLUMNS = (
    "id", "name", "source", "source_id", "source_name", "designation", "main_id", "object", "label",
)  # fmt: skip

_ANGLE = re.compile(
    r"(?=[+-]?\.?\d)[+-]?[\d.:,hms d\u00b0\u00ba'\"\u2032\u2033]+(e[+-]?\d+)?$", re.IGNORECASE
)
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$", re.IGNORECASE)

#: What other programs write in sexagesimal angles, and what `~astropy.coordinates.Angle` takes.
_SPELLINGS = (
    (re.compile("[\u2212\u2013]"), "-"), (re.compile("[\u2032\u2019]|arcmin"), "'"),
    (re.compile("[\u2033\u201d]|''|arcsec"), '"'), (re.compile("\u00ba|deg"), "\u00b0"),
    (re.compile("(?<=\\d)\\s*h(?:ou)?rs?", re.IGNORECASE), "h"),
    (re.compile("(?<=\\d)\\s*min", re.IGNORECASE), "m"),
    (re.compile("(?<=\\d)\\s*sec", re.IGNORECASE), "s"),
    (re.compile(r"^([+-]?\d+)\.(\d+)\.(\d+(?:\.\d*)?)$"), r"\1:\2:\3"),
)  # fmt: skip


@dataclass(frozen=True)
class _Candidate:
    """A column that may be one of a pair of positions."""

    name: str
    axis: str
    qualifiers: str = ""

    @property
    def is_b1950(self):
        return bool(re.search("1950|fk4", self.qualifiers))

    @property
    def is_j2000(self):
        return bool(re.search("2000|icrs|fk5", self.qualifiers))

    @property
    def unit(self):
        """The unit that the name of a column states, such as "RA (rad)"."""
        found = re.search(r"\b(rad|h)(?:ian|our)?s?\b", self.qualifiers)
        return found[1] if found else ""


class NoPositionsError(ValueError):
    """A table has no column of positions."""


def find_columns(table, where, columns=None):
    """Find positions, names and whatever else a table has."""
    columns, table = dict(columns or {}), table.copy(copy_data=False)
    given = _given(table, where, columns)
    try:
        positions, used = _positions(table, where, given)
    except NoPositionsError:
        if not table.meta.get("commented header"):
            raise
        # The comment was no list of names.
        table.rename_columns(table.colnames, [f"col{i}" for i, _ in enumerate(table.colnames, 1)])
        positions, used = _positions(table, where, given)
    lower = {name.lower(): name for name in reversed(table.colnames)}
    known = (lower[n] for n in _ID_COLUMNS if n in lower and lower[n] not in used)
    own_id = columns.get("id") or next(known, None)
    ids = None if own_id is None else _names(table[own_id])
    others = [name for name in table.colnames if name not in {*used, own_id}]
    others = QTable(table[others]) if others else None
    if others is not None:
        others.meta.clear()
    return positions, ids, others


def _given(table, where, columns):
    """Return the pair of columns that the user names, or `None`."""
    wanted = set(columns) - {"id"}
    for name in columns.values():
        if name not in table.colnames:
            msg = f"columns: {where} has no column {name!r}; it has {', '.join(table.colnames)}"
            raise ValueError(msg)
    axes = next((pair for pair in _PAIRS if set(pair) == wanted), None)
    if wanted and axes is None:
        got = ", ".join(map(repr, columns))
        msg = f"columns must name ra and dec, l and b, or x and y, and id, got {got}"
        raise ValueError(msg)
    return None if axes is None else [_Candidate(columns[axis], axis) for axis in axes]


def _positions(table, where, given):
    """Return the positions and the names of the columns that they are from."""
    own = _Cells(table, where)
    if given is not None:
        return own.pair(given), [one.name for one in given]
    for name in table.colnames:
        if isinstance(table[name], SkyCoord):
            sky = table[name].reshape(-1)
            angles = np.stack([sky.spherical.lon.deg, sky.spherical.lat.deg])
            own.refuse(~np.isfinite(np.ma.filled(angles, np.nan)).all(0), name)
            return sky, [name]
    if table.colnames and all(map(UNNAMED.fullmatch, table.colnames)):
        return _without_names(own)
    named = [one for name in table.colnames if (one := _candidate(name)) is not None]
    described = [one for name in table.colnames if (one := _by_ucd(table, name)) is not None]
    for axes in _PAIRS:
        # Names with a frame of J2000 go first, then those without, then B1950.
        for found in (named, described):
            pair = _best_pair(found, axes)
            if pair is not None:
                return own.pair(pair), [one.name for one in pair]
        lower = {name.lower(): name for name in reversed(table.colnames)}
        if axes[0] == "ra" and {_HOURS[0], _DEGREES[0]} <= set(lower):
            return _in_parts(own, lower)
    whole = next(filter(_WHOLE.fullmatch, table.colnames), None)
    if whole is not None and table[whole].dtype.kind in "USO":
        return _from_one_column(own, whole), [whole]
    needs = "a SkyCoord, ra and dec, RAh to DEs, l and b, or x and y (0-based pixels)"
    remedy = "name them by columns={'ra': ..., 'dec': ...} (--columns ra=... dec=...)"
    has = ", ".join(table.colnames) or "no columns"
    msg = f"positions: {where} has no column of positions: it needs {needs}, has {has}: {remedy}"
    raise NoPositionsError(msg)


def _candidate(name):
    """Return what a column may be by its name; brackets, dots and cases do not count."""
    text = re.sub(r"[^a-z0-9]+", " ", name.lower()).strip()
    for axis, pattern in _NAMES.items():
        match = pattern.fullmatch(text)
        if match is not None:
            return _Candidate(name, axis, match[1])
    return None


def _by_ucd(table, name):
    ucd = str((getattr(table[name].info, "meta", None) or {}).get("ucd", "")).lower()
    axis = next((_UCDS[word] for word in ucd.split(";") if word in _UCDS), None)
    is_error = ucd.startswith(("stat.", "src.", "arith."))
    return None if axis is None or is_error else _Candidate(name, axis)


def _best_pair(found, axes):
    """Return the pair of columns whose names state a frame of J2000, no frame, or B1950."""
    pairs = []
    for first, second in product(*([one for one in found if one.axis == axis] for axis in axes)):
        if first.is_b1950 == second.is_b1950:
            unlike = first.qualifiers != second.qualifiers
            rank = (not first.is_j2000) + 2 * first.is_b1950
            pairs.append((rank, unlike, first, second))
    return min(pairs, key=lambda pair: pair[:2])[2:] if pairs else None


def _from_one_column(cells, name):
    """Positions that are written as one text, such as "03 28 00.5 +31 00 10"."""
    texts = cells.values(name).astype(str)
    found = [_BOTH.fullmatch(text) for text in texts]
    cells.refuse([match is None for match in found], name, "is no position", texts)
    axes = ("l", "b") if "galactic" in name.lower() else ("ra", "dec")
    parts = QTable(meta=cells.table.meta)
    parts[axes[0]] = [match["ra"] or match["a"] for match in found]
    parts[axes[1]] = [match["dec"] or match["b"] for match in found]
    return _Cells(parts, cells.where).pair([_Candidate(axis, axis) for axis in axes])


def _without_names(cells):
    """Positions of a list: right ascension and declination in two or six columns, and one name."""
    table = cells.table
    texts = {name: np.asarray(table[name]).astype(str) for name in table.colnames}
    numbers = [name for name, text in texts.items() if len(text) and _ANGLE.match(text[0].strip())]
    whole = [texts[name][0].isdecimal() for name in numbers]
    if len(numbers) == 3 and whole[0] and not whole[1]:
        del numbers[0]  # a running number
    ids = [name for name in table.colnames if name not in numbers]
    if len(ids) > 1 or len(numbers) not in (2, 6):
        has = f"no header, and {len(texts)} columns in its first line"
        needs = "ra and dec (two columns, or six: h m s d m s) and one name at most, or a header"
        msg = f"positions: {cells.where} has {has}: it needs {needs}"
        raise ValueError(msg)
    half = len(numbers) // 2
    frame = mentioned_frame(table.meta.get("comments", ()))
    axes = {"galactic": ("l", "b"), "ecliptic": ("elon", "elat")}.get(frame, ("ra", "dec"))
    for axis, names in zip(axes, (numbers[:half], numbers[half:]), strict=True):
        parts = zip(*(texts[name] for name in names), strict=True)
        table[axis] = [" ".join(row) for row in parts]
    if ids:
        table.rename_column(ids[0], "id")
    return cells.pair([_Candidate(axis, axis) for axis in axes]), [*numbers, *axes]


def _in_parts(cells, lower):
    """Right ascension and declination from the columns of their parts."""
    used, angles = [], []
    for parts, most in ((_HOURS, 24), (_DEGREES, 90)):
        total = np.zeros(len(cells.table))
        for part, name in enumerate(parts):
            if name in lower:
                value, limit = cells.numbers(lower[name]), most if part == 0 else 60
                bad = (value < 0) | (value > limit)
                cells.refuse(bad, lower[name], f"is not within 0 to {limit}", value)
                total += value / 60**part
                used.append(lower[name])
        angles.append(total)
    if _SIGN in lower:
        signs = np.array(_names(cells.table[lower[_SIGN]]), dtype=str)
        bad = ~np.isin(signs, ["", "+", "-"])
        cells.refuse(bad, lower[_SIGN], "is neither + nor -", signs)
        angles[1] = np.where(signs == "-", -angles[1], angles[1])
        used.append(lower[_SIGN])
    frame = cells.frame(_Candidate(used[0], "ra"))
    return cells.sky(15 * angles[0], angles[1], used[:: len(used) - 1], frame), used


def _plain(column):
    """Return the values of a column, text without blanks about it, and which are empty."""
    values = np.asarray(np.ma.getdata(getattr(column, "unmasked", column)))
    empty = np.broadcast_to(getattr(column, "mask", False), values.shape).copy()
    if values.dtype.kind in "SOU" and values.ndim == 1:
        texts = [v.decode() if isinstance(v, bytes) else v for v in values.tolist()]
        texts = ["" if v is None or hidden else v for v, hidden in zip(texts, empty)]
        values = np.array([str(text).strip() for text in texts], dtype=str)
        empty |= values == ""
    return values, empty


def _names(column):
    """Return names as a list; an empty one is an empty text."""
    values, empty = _plain(column)
    names = ["" if hidden else v for v, hidden in zip(values.tolist(), empty, strict=True)]
    return [printable(name) if isinstance(name, str) else name for name in names]


class _Cells:
    """The cells of a table, as numbers and angles; errors name the table, the column and the row."""

    def __init__(self, table, where):
        self.table, self.where = table, where

    def refuse(self, bad, name, reason=None, values=()):
        """Raise an error for the first of the bad rows, which are empty if no reason is given."""
        if np.any(bad):
            row = int(np.argmax(bad))
            text = f" has no {name!r}: fill it in or leave the row out"
            if reason is not None:
                text = f": {name!r} is {np.asarray(values).tolist()[row]!r}, which {reason}"
            msg = f"positions: row {row + 1} of {self.where}{text}"
            raise ValueError(msg)

    def refuse_column(self, name, reason, error=ValueError):
        msg = f"positions: column {name!r} of {self.where} {reason}"
        raise error(msg)

    def values(self, name):
        """Return the plain values of a column, none of which may be empty."""
        values, empty = _plain(self.table[name])
        if values.ndim != 1:
            self.refuse_column(name, "must have one value in a row")
        if values.dtype.kind not in "iufU":
            self.refuse_column(name, "must hold numbers or text")
        if values.dtype.kind == "f":
            empty |= ~np.isfinite(values)
        self.refuse(empty, name)
        return values

    def numbers(self, name):
        """Return a column as numbers."""
        values = self.values(name)
        if values.dtype.kind == "U":
            bad = [_DECIMAL.match(text) is None for text in values]
            self.refuse(bad, name, "is not a number", values)
        return values.astype(float)

    def pixels(self, name):
        """Return a column of pixels."""
        unit = getattr(self.table[name], "unit", None)
        if unit not in (None, u.pix, u.one):
            self.refuse_column(name, f"must be in pixels, its unit is {unit}", u.UnitsError)
        return self.numbers(name)

    def angles(self, column):
        """Return a column of angles in degrees; sexagesimal right ascensions are in hours."""
        name, hours = column.name, column.axis == "ra"
        values = self.values(name)
        stated = str(getattr(self.table[name], "unit", None) or "").strip("'\" ") or column.unit
        if values.dtype.kind != "U":
            return values.astype(float) * self.degrees(name, stated, hours=hours)
        for pattern, standard in _SPELLINGS:
            values = np.array([pattern.sub(standard, v) for v in values.tolist()], dtype=str)
        kinds = [_kind_of(value.lower()) for value in values.tolist()]
        if len(set(kinds)) > 1:
            row = next(row for row, kind in enumerate(kinds) if kind != kinds[0])
            what = f"{str(values[0])!r} in row 1, {str(values[row])!r} in row {row + 1}"
            self.refuse_column(name, f"mixes angles, which must have one meaning: {what}")
        if "decimal" in kinds:
            return values.astype(float) * self.degrees(name, stated, hours=hours)
        kind = "".join(kinds[:1]) or stated[:1]
        in_hours = kind == "h" or (kind != "d" and hours)
        degrees = np.empty(len(values))
        for row, value in enumerate(values.tolist()):
            try:
                degrees[row] = Angle(value, u.hourangle if in_hours else u.deg).deg
            except (ValueError, TypeError, u.UnitsError) as error:
                reason = f"is no angle ({str(error).splitlines()[0]})"
                self.refuse(np.arange(len(values)) == row, name, reason, values)
        return degrees

    def degrees(self, name, stated, *, hours):
        """Return how many degrees a unit is; hours are an angle for a right ascension."""
        unit = u.Unit(stated or "deg", parse_strict="silent")
        unit = u.hourangle if hours and unit == u.hour else unit
        if not unit.is_equivalent(u.deg):
            self.refuse_column(name, f"must be an angle, its unit is {stated}", u.UnitsError)
        return unit.to(u.deg)

    def pair(self, pair):
        """Return the positions of a pair of columns."""
        names = [one.name for one in pair]
        if pair[0].axis == "x":
            values = np.column_stack([self.pixels(name) for name in names])
            from_one = re.fullmatch("x.image", names[0], re.I)  # SExtractor counts from 1
            return values - 1 if from_one else values
        frame = self.frame(pair[0])
        return self.sky(*(self.angles(one) for one in pair), names, frame)

    def sky(self, lon, lat, names, frame):
        for angle, name, limit in ((lon, names[0], 360), (lat, names[1], 90)):
            bad = np.abs(angle) > limit
            self.refuse(bad, name, f"is beyond {limit} degrees", angle)
        return SkyCoord(lon, lat, unit=u.deg, frame=frame)

    def frame(self, first):
        """Return the frame of a pair: as its column, its name, or the table states it."""
        info = self.table[first.name].info
        about = getattr(info, "meta", None) or {}
        try:
            stated = frame_of(*about["coosys"]) if "coosys" in about else None
            if stated is not None and not about.get("assumed"):
                return stated
            if first.axis in ("l", "elon"):
                return frame_of("galactic" if first.axis == "l" else "ecliptic")
            if first.is_b1950 or mentioned_frame([str(info.description or "")]) == "fk4":
                return frame_of("fk4", "B1950")
            if first.is_j2000:
                return frame_of("icrs")
            # A frame without data is false.
            found = [stated, _frame_of_meta(self.table.meta), frame_of("icrs")]
            return next(frame for frame in found if frame is not None)
        except ValueError as error:
            msg = f"positions: {self.where}: {error}"
            raise ValueError(msg) from error


def _kind_of(text):
    """Return how an angle is written: as a number, with marks of hours or degrees, or with none."""
    if _DECIMAL.match(text):
        return "decimal"
    return "h" if "h" in text else "d" if set("d\u00b0") & set(text) else ""


def _frame_of_meta(meta):
    """Return the frame that the header, the keywords or the comments of a table state."""
    cards = {str(key).upper(): value for key, value in meta.items()}
    for key, value in dict(meta.get("keywords") or {}).items():  # of IPAC
        cards[key.upper()] = value.get("value") if isinstance(value, dict) else value
    system = next((cards[k] for k in ("RADESYS", "RADECSYS", "COORDSYS") if cards.get(k)), None)
    equinox = cards.get("EQUINOX")
    if system is not None or equinox is not None:
        return frame_of(system, equinox)
    comments = meta.get("comments") or ()
    found = mentioned_frame([comments] if isinstance(comments, str) else map(str, comments))
    return frame_of(found) if found == "fk4" else None
