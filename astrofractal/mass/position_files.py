"""Files that hold tables of positions: with a header, or plain lists without one."""

import re
import warnings

import numpy as np
from astropy import units as u
from astropy.io.ascii import convert_numpy
from astropy.table import Table

from astrofractal._utils.tables import read_table

__all__ = ["REGION_FORMATS", "is_region_table", "read_list"]

#: The formats of region files by the suffix of their names.
REGION_FORMATS = {".reg": "ds9", ".crtf": "crtf"}

_BINARY = {".fits", ".fit", ".fts", ".gz", ".vot", ".xml", ".hdf5", ".h5", ".parquet"}
_NUMBER = re.compile(r"[+-]?\d[\d.:hmsd°'\"]*(e[+-]?\d+)?$", re.IGNORECASE)
_COMMENT = "#"


def read_list(path):
    """
    Read a table of positions.

    Parameters
    ----------
    path : `~pathlib.Path`
        A table that astropy reads, or a list without a header: right ascension and declination, in
        degrees or sexagesimal (then hours and degrees), in two columns or, divided by spaces, in
        six, with a name before or behind them at most.

    Returns
    -------
    table : `~astropy.table.Table`
        The table; of a list without a header with the columns ``ra`` and ``dec``, as text, and
        perhaps ``id``.

    Raises
    ------
    ValueError
        If it cannot be read, or has no header and other columns.
    """
    try:
        if path.suffix not in _BINARY:
            tokens, delimiter = _first_line(path)
            if sum(bool(_NUMBER.match(token)) for token in tokens) >= 2:
                return _without_header(path, delimiter)
        options = {".csv": {"format": "ascii.csv"}}.get(path.suffix, {})
        if path.suffix in (".txt", ".dat", ".tbl", ".cat", ".lis", ".list", ".mrt", ".cds", ""):
            options = {"format": "ascii"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", u.UnitsWarning)
            return read_table(path, **options)
    except Exception as error:  # the readers raise whatever they stumble over
        msg = f"positions: cannot read a table from {str(path)!r}: {error}"
        raise ValueError(msg) from error


def _first_line(path):
    """Return the parts of the first line that says something, and what divides them."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for _ in range(1000):
            line = file.readline(1 << 16)
            if not line or (line.strip() and not line.lstrip().startswith(_COMMENT)):
                break
    line = line.strip()
    delimiter = next((mark for mark in ",;\t|" if mark in line), r"\s")
    parts = line.split() if delimiter == r"\s" else line.split(delimiter)
    return [part.strip() for part in parts], delimiter


def _without_header(path, delimiter):
    # As text: a sign of "-00 30 15" and what is sexagesimal must not be lost.
    table = read_table(
        path,
        format="ascii.no_header",
        delimiter=delimiter,
        guess=False,
        comment=_COMMENT,
        converters={"*": [convert_numpy(str)]},
    )
    columns = [table[name] for name in table.colnames]
    numbers = [bool(_NUMBER.match(str(column[0]).strip())) for column in columns]
    ids = [c for c, number in zip(columns, numbers, strict=True) if not number]
    columns = [c for c, number in zip(columns, numbers, strict=True) if number]
    if len(ids) > 1 or len(columns) not in (2, 6):
        msg = (
            f"it has no header, and {len(ids) + len(columns)} columns in its first line: it needs right "
            "ascension and declination (two columns, or six: h m s d m s), with one name at most, "
            "or a first line that names its columns"
        )
        raise ValueError(msg)
    result = Table()
    if ids:
        result["id"] = ids[0]
    half = len(columns) // 2
    for name, parts in (("ra", columns[:half]), ("dec", columns[half:])):
        if half == 1:
            result[name] = parts[0]
        else:
            result[name] = [" ".join(map(str, row)) for row in zip(*parts, strict=True)]
    return result


def is_region_table(table):
    """Tell whether a table is one of regions, as FITS files hold them."""
    names = {name.upper() for name in table.colnames}
    return {"SHAPE", "X", "Y"} <= names and np.asarray(
        table[_of(table, "SHAPE")]
    ).dtype.kind in "SU"


def _of(table, name):
    return next(own for own in table.colnames if own.upper() == name)
