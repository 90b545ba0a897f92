"""Positions of protostars, from whatever describes them."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable

from astrofractal._utils.identity import fingerprint
from astrofractal._utils.reading import reading
from astrofractal._utils.tables import read_tables
from astrofractal.catalogs.regions import (
    centers_of_objects,
    centers_of_table,
    is_region_table,
    read_regions,
    region_kind,
)
from astrofractal.catalogs.sky_columns import NoPositionsError, find_columns

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Places:
    """Where protostars are, their names, and the other columns of the table that they are from."""

    where: SkyCoord | np.ndarray  # on the sky, or 0-based pixels (x, y) of shape (n, 2)
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

    def fingerprint(self):
        """Return a digest of positions (in ICRS), names and other columns."""
        where = self.where
        if isinstance(where, SkyCoord):
            where = np.stack(_degrees(where))
        names = [] if self.columns is None else self.columns.colnames
        rows = [[str(value) for value in self.columns[name]] for name in names]
        return fingerprint(where, self.ids, names, rows)


def resolve_positions(positions, *, columns=None):
    """Return the places that any description of positions gives."""
    if isinstance(positions, str) or hasattr(positions, "__fspath__"):
        return _read_positions(Path(positions), columns)
    if hasattr(positions, "colnames"):
        return Places(*find_columns(positions, "the table", columns))
    if columns is not None:
        msg = f"columns are for a table of positions, got {columns!r} for {positions!r}"
        raise ValueError(msg)
    if isinstance(positions, Places):
        return positions
    if isinstance(positions, SkyCoord):
        return Places(positions.reshape(-1))
    if type(positions).__module__.split(".")[0] == "regions":
        return Places(*centers_of_objects(positions))
    msg = f"positions must be a SkyCoord, a table, regions or pixels (n, 2), got {positions!r}"
    if isinstance(positions, u.Quantity):
        raise TypeError(msg)
    try:
        array = np.atleast_2d(np.asarray(positions, dtype=float))
    except (TypeError, ValueError) as error:
        raise TypeError(msg) from error
    if array.size and (array.ndim != 2 or array.shape[1] != 2):
        msg = f"positions given as pixels must have the shape (n, 2), got {np.shape(positions)}"
        raise ValueError(msg)
    return Places(array.reshape(-1, 2))


def _read_positions(path, columns):
    """Read regions, or the first table of a file that has positions."""
    if not path.is_file():
        msg = f"positions: no such file {str(path)!r}"
        raise FileNotFoundError(msg)
    where = repr(str(path))
    kind = region_kind(path)
    if kind is not None:
        if columns is not None:
            msg = f"columns are for a table of positions, got {columns!r} for {where}"
            raise ValueError(msg)
        return Places(*read_regions(path, kind))
    with reading(path):
        tables = read_tables(path)
        for table in tables:
            if is_region_table(table):
                return Places(*centers_of_table(table, where))
            try:
                return Places(*find_columns(table, where, columns))
            except NoPositionsError:
                if len(tables) == 1:
                    raise
    msg = f"positions: none of the {len(tables)} tables of {where} has columns of positions"
    raise ValueError(msg)


def nothing_to_measure(gas, positions):
    """Return why none of the positions can be measured on a map, or `None`."""
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
    given = f"the {len(positions)} given span {given}"
    return f"no position is on the map, which spans {where}; {given}"


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
    ra, dec = (f"{angle.min():.5g} to {angle.max():.5g}" for angle in (ra, dec))
    return f"right ascension {ra} and declination {dec} deg (ICRS)"


def to_icrs(sky):
    """Return positions in ICRS."""
    try:
        sky = sky.icrs
    except Exception:
        logger.info("the frame %s cannot be transformed to ICRS", sky.frame.name)
    lon, lat = (angle.to(u.deg).reshape(-1) for angle in (sky.spherical.lon, sky.spherical.lat))
    return SkyCoord(lon, lat, frame=sky.frame.replicate_without_data())
