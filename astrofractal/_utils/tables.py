"""Tables of others, read by what they contain: neither suffix, encoding nor layout is trusted."""

import csv
import io
import re
import warnings
from pathlib import Path
from xml.parsers import expat

import numpy as np
from astropy import units as u
from astropy.io import ascii as text_tables
from astropy.io import fits
from astropy.table import Column, MaskedColumn, Table

from astrofractal._utils.limits import read_bounded
from astrofractal._utils.reading import printable, reading

#: Names that `read_tables` gives to the columns of a table without a header.
UNNAMED = re.compile(r"col\d+")

_BINARY = {b"\x89HDF": "hdf5", b"PAR1": "parquet"}
_BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_RULE = re.compile(r"[-=+|:;,.\s]*(--|==)[-=+|:;,.\s]*")
_NUMBER = re.compile(r"[+\-−]?\d[\d.:,hmsd°º'\"′″]*(e[+-]?\d+)?$", re.IGNORECASE)
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([ed][+-]?\d+)?|[+-]?(nan|inf)", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"^([+-]?\d+),(\d+)$")
_LEADING_ZERO = re.compile(r"[+-]?0\d+|-0")
#: More digits than an integer has.
_LONG = re.compile(r"[+-]?\d{19,}")
_ANGLE_UNIT = re.compile(
    r"[\W_]*(deg(rees?)?|rad(ians?)?|arcsec|arcmin|mas|hms|dms|h(ou)?rs?|hourangle|pix(els?)?|"
    r"(h|hh)[: ]?(m|mm)[: ]?(s|ss)|(d|dd)[: ]?(m|mm)[: ]?(s|ss))[\W_]*",
    re.IGNORECASE,
)
_SEXTRACTOR = re.compile(r"#\s+\d+\s+[A-Z][A-Z0-9_]*(\s|$)")
_BLANKS = {"", "--", "-", "n/a", "na", "null", "none", "...", "~"}


def read_table(path, *, cls=Table):
    """Read the first table of a local file."""
    return cls(read_tables(path)[0], copy=False)


def read_tables(path):
    """Read all tables of a local file; what they state about frames is in meta, also of columns."""
    with reading(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = read_bounded(path)
        for mark, kind in _BINARY.items():
            if data.startswith(mark):
                try:
                    return [Table.read(path, format=kind)]
                except ImportError as error:
                    msg = f"a {kind} table needs another package: {error}"
                    raise ValueError(msg) from error
        if data.startswith(b"SIMPLE"):
            return _of_fits(data)
        if Path(path).suffix.lower() in (".fits", ".fit", ".fts"):
            msg = "it is not a FITS file"
            raise ValueError(msg)
        text = decode(data)
        if text.lstrip().startswith("<"):
            return _of_xml(data, text.lstrip()[:1000])
        return [_of_text(text)]


def decode(data, errors="strict"):
    """Return bytes as text: UTF-8, UTF-16 or, where they are neither, Latin 1."""
    encoding = next((name for mark, name in _BOMS.items() if data.startswith(mark)), None)
    if encoding is None and 0 in data[:2] and len(data) > 2:
        encoding = "utf-16-be" if data[0] == 0 else "utf-16-le"
    try:
        return data.decode(encoding or "utf-8", errors).lstrip("\ufeff")
    except UnicodeDecodeError:
        if encoding is not None:
            raise
        return data.decode("latin-1")


def _of_fits(data):
    with fits.open(io.BytesIO(data)) as hdus:
        kinds = (fits.BinTableHDU, fits.TableHDU)
        found = [i for i, hdu in enumerate(hdus) if isinstance(hdu, kinds)]
        if not found:
            msg = "it is a FITS file without a table"
            raise ValueError(msg)
        return [Table.read(hdus, hdu=number) for number in found]


def _of_xml(data, start):
    if re.search(r"<html|<!doctype html", start, re.IGNORECASE):
        msg = "it is a web page (HTML), not a table"
        raise ValueError(msg)
    _refuse_references(data)
    from astropy.io.votable import parse

    votable = parse(io.BytesIO(data))
    systems = {system.ID: system for system in votable.iter_coosys()}
    tables = []
    for element in votable.iter_tables():
        if element.ref:
            continue
        table = element.to_table(use_names_over_ids=True)
        for field, name in zip(element.fields, table.colnames, strict=True):
            system = systems.get(field.ref)
            about = dict(table[name].info.meta or {})
            if system is None and len(systems) == 1:
                system = next(iter(systems.values()))
                about["assumed"] = True
            if system is not None:
                about["coosys"] = (system.system, system.equinox, system.epoch)
            if field.ucd:
                about["ucd"] = field.ucd
            table[name].info.meta = about
        tables.append(table)
    if not tables:
        msg = "it is a VOTable without a table"
        raise ValueError(msg)
    return tables


def _refuse_references(data):
    """Raise an error if an XML file would make its reader open something else."""

    def start(name, attributes):
        if name.rpartition(":")[2] == "STREAM" and "href" in attributes:
            msg = f"a STREAM with href={attributes['href']!r} is not followed: only local data are read"
            raise ValueError(msg)

    def entity(name, *_):
        msg = f"a VOTable with an entity ({name!r}) is not read"
        raise ValueError(msg)

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EntityDeclHandler = entity
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        msg = f"it is not a VOTable: {error}"
        raise ValueError(msg) from error


def _of_text(text):
    """Read a table from text: the formats that state what they are, or lines of values."""
    start = text.lstrip()[:20]
    lines = re.split(r"\r\n|\r|\n", text.rstrip())
    if start.startswith("# %ECSV"):
        return text_tables.read(lines, format="ecsv")
    kinds = {
        "aastex": re.search(r"\\begin\{deluxetable", text),
        "latex": re.search(r"\\begin\{tab", text),
        "cds": re.search(r"^Byte-by-byte Description", text, re.MULTILINE),
        "ipac": _is_ipac(lines),
        "sextractor": sum(bool(_SEXTRACTOR.match(line)) for line in lines[:200]) >= 2,
    }
    for kind, found in kinds.items():
        if found:
            return text_tables.read(lines, format=kind, guess=False)
    return _of_lines(lines)


def _is_ipac(lines):
    """Return whether lines are an IPAC table: its header is within bars, its rows are not."""
    lines = [line for line in lines if line.strip() and not line.startswith("\\")]
    in_bars = [line.startswith("|") for line in lines]
    n_header = in_bars.index(False) if False in in_bars else len(in_bars)
    return 1 <= n_header <= 4 and not any(in_bars[n_header:])


def _of_lines(lines):
    """Read lines of values, with or without a line of names, which may be a comment."""
    comments, rows = [], []
    for line in lines:
        bare = line.strip()
        if bare.startswith(("#", "%")):
            comments.append(bare.lstrip("#% \t").rstrip())
        elif bare and not _RULE.fullmatch(bare):
            rows.append(line)
    if not rows:
        names = re.split(r"[\s,;|]+", comments[-1]) if comments else []
        return Table({name: [] for name in dict.fromkeys(names)}, meta={"comments": comments})
    delimiter, cells = _divided(rows)
    meta = {"comments": comments}
    if _is_row(cells[0]):
        header, units = _commented(comments, len(cells[0]), delimiter)
        if header is not None:
            meta["commented header"] = True
    else:
        header = cells.pop(0)
        units = cells.pop(0) if cells and _are_units(cells[0]) else []
    names = _unique(header or [f"col{i}" for i, _ in enumerate(cells[0], 1)])
    cells = [_fitting(row, names, number, delimiter) for number, row in enumerate(cells, 1)]
    table = Table(meta=meta)
    for i, name in enumerate(names):
        table[name] = _column([row[i] for row in cells], decimal_comma=delimiter == ";")
        unit = ((units[i] if i < len(units) else None) or "").strip("()[] ")
        if unit:
            table[name].unit = u.Unit(unit, parse_strict="silent")
    return table


def _divided(rows):
    """Return what divides the values of a line, and the values of each line."""
    first, second = rows[0], rows[min(1, len(rows) - 1)]
    marks = [mark for mark in "\t;|," if mark in first]
    even = [mark for mark in marks if first.count(mark) == second.count(mark)]
    delimiter = next(iter(even or marks), None)
    cells = _split(rows, delimiter)
    if delimiter == "\t" and len({len(row) for row in cells}) > 1:
        return None, _split(rows, None)
    return delimiter, cells


def _split(lines, delimiter):
    """Return the values of each line; a name in quotes may go on in the next one."""
    if delimiter is None:
        lines = (" ".join(line.split()) for line in lines)
    elif delimiter == "|":
        lines = (line.strip().removeprefix("|").removesuffix("|") for line in lines)
    ended = (f"{line}\n" for line in lines)
    rows = csv.reader(ended, delimiter=delimiter or " ", skipinitialspace=delimiter != "\t")
    return [[cell.strip() for cell in row] for row in rows]


def _is_row(cells):
    numbers = sum(all(map(_NUMBER.match, cell.split())) for cell in cells if cell)
    return numbers >= min(2, len(cells))


def _are_units(cells):
    return any(map(_ANGLE_UNIT.fullmatch, cells)) and not any(map(_NUMBER.match, cells))


def _commented(comments, n_columns, delimiter):
    """Return the names and units of columns that comments above them give, where they do."""
    units = [None] * n_columns
    for comment in reversed(comments):
        for text in (comment, re.sub(r"\s*[\[(][^\])]*[\])]", "", comment)):
            for parts in (*_split([text], delimiter), re.split(r"[\s,;|]+", text)):
                if len(parts) != n_columns:
                    continue
                if not _are_units(parts):
                    return parts, units
                units = parts
    return None, units


def _unique(names):
    found = []
    for number, name in enumerate(names, 1):
        new = printable(name.strip("\"' ")) or f"col{number}"
        while new in found:
            new += "_2"
        found.append(new)
    return found


def _fitting(row, names, number, delimiter):
    """Return as many values as there are names; sexagesimal angles may be written in three parts."""
    n_more = len(row) - len(names)
    if n_more > 0 and not any(row[len(names) :]):
        return row[: len(names)]
    if n_more == 4 and delimiter is None:
        row = list(row)
        for i, name in enumerate(names):
            if re.match(r"_?(r\.?a|right|alpha|de)", name, re.IGNORECASE):
                row[i : i + 3] = [" ".join(row[i : i + 3])]
        n_more = len(row) - len(names)
    if n_more > 0 or (n_more < 0 and delimiter is None):
        columns = f"{len(names)} columns ({', '.join(names)})"
        msg = f"row {number} has {len(row)} values, and there are {columns}"
        raise ValueError(msg)
    return [*row, *[""] * -n_more]


def _column(cells, *, decimal_comma=False):
    """Return a column of integers, numbers or text; numbers that begin with a zero stay text."""
    if decimal_comma:
        cells = [_DECIMAL_COMMA.sub(r"\1.\2", cell) for cell in cells]
    cells = [cell.replace("−", "-") for cell in cells]
    mask = np.array([cell.lower() in _BLANKS for cell in cells], bool)
    known = [cell for cell, hidden in zip(cells, mask, strict=True) if not hidden]
    is_text = not known or not all(map(_DECIMAL.fullmatch, known))
    if is_text or any(map(_LEADING_ZERO.fullmatch, known)) or all(map(_LONG.fullmatch, known)):
        # As write_catalog writes text that a spreadsheet would take for a formula.
        values = np.array([c[1:] if re.match("'[=+@-]", c) else c for c in cells], str)
        mask = values == ""
    else:
        kind = int if all(re.fullmatch(r"[+-]?\d{1,18}", cell) for cell in known) else float
        plain = ["0" if hidden else cell for cell, hidden in zip(cells, mask, strict=True)]
        values = np.array([kind(cell.lower().replace("d", "e")) for cell in plain])
    return MaskedColumn(values, mask=mask) if mask.any() else Column(values)
