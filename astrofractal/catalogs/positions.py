"""Positions of protostars, from whatever describes them."""

from __future__ import annotations

import logging
import re
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.coordinates import CartesianRepresentation, SkyCoord
from astropy.io.ascii import convert_numpy
from astropy.table import QTable, Table

from astrofractal._utils.identity import fingerprint
from astrofractal._utils.reading import read_table
from astrofractal.catalogs.sky_columns import find_columns

__all__ = [
    "REGION_FORMATS",
    "Places",
    "centers_of",
    "is_region_table",
    "nothing_to_measure",
    "read_list",
    "read_regions",
    "resolve_positions",
    "to_icrs",
]


def read_regions(path, kind):
    """Read a file of regions."""
    from regions import Regions

    try:
        return Regions.read(path, format=kind)
    except Exception as error:  # the parsers raise whatever they stumble over
        msg = f"positions: cannot read the regions of {str(path)!r}: {error}"
        raise ValueError(msg) from error


def centers_of(regions, where):
    """Return the centers of regions."""
    regions = [regions] if hasattr(regions, "meta") else list(regions)
    if not regions:
        return np.empty((0, 2)), None
    centers = [_center(region, where) for region in regions]
    labels = [r.meta.get("text") or r.meta.get("label") or "" for r in regions]
    labels = labels if all(labels) else None
    on_sky = [isinstance(center, SkyCoord) for center in centers]
    if all(on_sky):
        xyz = np.array([center.icrs.cartesian.xyz.value for center in centers])
        return SkyCoord(
            CartesianRepresentation(*xyz.T), representation_type="unitspherical"
        ), labels
    if any(on_sky):
        msg = f"positions: {where} mixes sky and pixel regions"
        raise ValueError(msg)
    return np.array([[c.x, c.y] for c in centers], dtype=float), labels


def _center(region, where):
    vertices = getattr(region, "vertices", None)
    if hasattr(region, "center"):
        return region.center
    if vertices is None:
        msg = (
            f"positions: {type(region).__name__} of {where} has no center; points, circles, "
            "ellipses, rectangles, annuli and polygons have one"
        )
        raise ValueError(msg)
    if not isinstance(vertices, SkyCoord):
        return type(vertices)(*_centroid(np.stack([vertices.x, vertices.y])))
    # In the plane that touches the sky at the mean of the vertices, where great circles are straight.
    xyz = vertices.icrs.cartesian.xyz.value
    middle = xyz.mean(1) / np.linalg.norm(xyz.mean(1))
    axes = np.linalg.svd(middle[None])[2][1:]
    plane = _centroid(axes @ (xyz / (middle @ xyz)))
    return SkyCoord(
        CartesianRepresentation(*(middle + plane @ axes)), representation_type="unitspherical"
    )


def _centroid(vertices):
    """Return the centroid of a polygon; of one without an area, the mean of its vertices."""
    origin = vertices.mean(1)
    x, y = vertices - origin[:, None]
    x_next, y_next = np.roll(x, -1), np.roll(y, -1)
    cross = x * y_next - x_next * y
    area = cross.sum() / 2
    if abs(area) <= 1e-12 * (np.ptp(x) * np.ptp(y) or 1):
        return origin
    moments = [((own + nxt) * cross).sum() for own, nxt in ((x, x_next), (y, y_next))]
    return origin + np.array(moments) / (6 * area)


#: The formats of region files by the suffix of their names.
REGION_FORMATS = {".reg": "ds9", ".crtf": "crtf"}

_BINARY = {".fits", ".fit", ".fts", ".gz", ".vot", ".xml", ".hdf5", ".h5", ".parquet"}

_NUMBER = re.compile(r"[+-]?\d[\d.:hmsd°'\"]*(e[+-]?\d+)?$", re.IGNORECASE)

_COMMENT = "#"


def read_list(path):
    """Read a table of positions."""
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


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Places:
    """
    Where protostars are, what they are called, and what else was said of them.

    Parameters
    ----------
    where : `~astropy.coordinates.SkyCoord` or 2D `~numpy.ndarray`
        Sky positions, or 0-based pixels (x, y) of shape (n, 2).

    ids : list or None
        The names of the positions, where they have any.

    columns : `~astropy.table.QTable` or None
        The other columns of the table that they are from.
    """

    where: SkyCoord | np.ndarray
    ids: list | None = None
    columns: QTable | None = None

    def __len__(self):
        return len(self.where)

    def __getitem__(self, rows):
        """Return some of them: a slice, an array of numbers or of bool."""
        rows = np.arange(len(self))[rows]
        return Places(
            self.where[rows],
            None if self.ids is None else [self.ids[row] for row in rows],
            None if self.columns is None else self.columns[rows],
        )

    def at(self, where):
        """Return the same protostars at other coordinates."""
        return replace(self, where=where)

    def fingerprint(self):
        """Return a digest of positions (in ICRS), names and other columns."""
        where = self.where
        if isinstance(where, SkyCoord):
            where = np.stack(_degrees(where))
        names, rows = [], []
        if self.columns is not None:
            names = self.columns.colnames
            rows = [[str(value) for value in self.columns[name]] for name in names]
        return fingerprint(where, self.ids, names, rows)


def resolve_positions(positions, *, columns=None):
    """Turn any description of positions into what `GasMap.cutouts` takes."""
    if columns is not None and not _is_table(positions):
        msg = f"columns are for a table of positions, got {columns!r} for {positions!r}"
        raise ValueError(msg)
    if isinstance(positions, Places):
        return positions
    if isinstance(positions, SkyCoord):
        return Places(positions.reshape(-1))
    if _is_path(positions):
        path = Path(positions)
        if not path.is_file():
            msg = f"positions: no such file {str(path)!r}"
            raise FileNotFoundError(msg)
        if path.suffix in REGION_FORMATS:
            return Places(*centers_of(read_regions(path, REGION_FORMATS[path.suffix]), str(path)))
        table = read_list(path)
        if is_region_table(table):
            return Places(*centers_of(read_regions(path, "fits"), str(path)))
        return Places(*find_columns(table, repr(str(path)), columns))
    if isinstance(positions, Table) or hasattr(positions, "colnames"):
        return Places(*find_columns(positions, "the table", columns))
    if type(positions).__module__.split(".")[0] == "regions":
        return Places(*centers_of(positions, "positions"))
    if isinstance(positions, u.Quantity):
        msg = "positions must be a SkyCoord, a table, regions or pixels, got a Quantity"
        raise TypeError(msg)
    try:
        array = np.atleast_2d(np.asarray(positions, dtype=float))
    except (TypeError, ValueError) as error:
        msg = f"positions must be a SkyCoord, a table, regions or pixels (n, 2), got {positions!r}"
        raise TypeError(msg) from error
    if array.size == 0:
        return Places(np.empty((0, 2)))
    if array.ndim != 2 or array.shape[1] != 2:
        msg = f"positions given as pixels must have the shape (n, 2), got {np.shape(positions)}"
        raise ValueError(msg)
    return Places(array)


def _is_path(positions):
    return isinstance(positions, (str, Path)) or hasattr(positions, "__fspath__")


def _is_table(positions):
    if _is_path(positions):
        return Path(positions).suffix not in REGION_FORMATS
    return hasattr(positions, "colnames")


def nothing_to_measure(gas, positions):
    """Tell why none of the positions can be measured on a map."""
    # positions 2D
    if len(positions) == 0:
        return "no position is given: the table or the region file has none that could be read"
    if gas.contains(positions).any():
        return None
    ny, nx = gas.shape
    if isinstance(positions, SkyCoord):
        x, y = np.meshgrid(np.linspace(-0.5, nx - 0.5, 9), np.linspace(-0.5, ny - 0.5, 9))
        where, given = (_sky_range(sky) for sky in (gas.to_sky(x, y), positions))
    else:
        where = f"x from 0 to {nx - 1}, y from 0 to {ny - 1}"
        low, high = np.nanmin(positions, axis=0), np.nanmax(positions, axis=0)
        given = f"x from {low[0]:.6g} to {high[0]:.6g}, y from {low[1]:.6g} to {high[1]:.6g}"
    return (
        f"no position is on the map, which spans {where}; the {len(positions)} given span {given}"
    )


def _degrees(sky):
    """Return the longitudes and latitudes of `to_icrs` as plain numbers."""
    sky = to_icrs(sky).spherical
    return sky.lon.deg, sky.lat.deg


def _sky_range(sky):
    """Return the ranges of right ascension and declination as text."""
    ra, dec = (angle[np.isfinite(angle)] for angle in _degrees(sky))
    if not len(ra):
        return "nothing on the sky"
    if np.ptp(ra) > 180:  # across the meridian
        ra = (ra + 180) % 360 - 180
    return (
        f"right ascension {ra.min():.5g} to {ra.max():.5g} and declination {dec.min():.5g} to "
        f"{dec.max():.5g} deg (ICRS)"
    )


def to_icrs(sky):
    """Return positions in ICRS."""
    try:
        sky = sky.icrs
    except Exception:
        logger.info("the frame %s cannot be transformed to ICRS", sky.frame.name)
    lon, lat = (angle.to(u.deg).reshape(-1) for angle in (sky.spherical.lon, sky.spherical.lat))
    return SkyCoord(lon, lat, frame=sky.frame.replicate_without_data())
