"""Positions of protostars, from whatever describes them."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table

from astrofractal._utils.identity import fingerprint
from astrofractal.mass.position_columns import find_columns
from astrofractal.mass.position_files import REGION_FORMATS, is_region_table, read_list
from astrofractal.mass.position_regions import centers_of, read_regions

__all__ = ["Places", "nothing_to_measure", "resolve_positions", "to_icrs"]

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
    """
    Turn any description of positions into what `GasMap.cutouts` takes.

    Parameters
    ----------
    positions : object
        As `~astrofractal.StellarMassEstimator.catalog` takes it, or `Places`.

    columns : dict, optional
        For a table: the names of its columns by what they are ("ra", "dec", "l", "b", "x", "y",
        "id"), where these have other names.

    Returns
    -------
    places : `Places`
        The positions.

    Raises
    ------
    FileNotFoundError, TypeError, ValueError, `~astropy.units.UnitsError`
        If they are not what they should be; a table's error names row and column.
    """
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
    """
    Tell why none of the positions can be measured on a map.

    Parameters
    ----------
    gas : `~astrofractal.GasMap`
        The map.

    positions : `~astropy.coordinates.SkyCoord` or 2D `~numpy.ndarray`
        As `Places` has them.

    Returns
    -------
    reason : str or None
        With the ranges of the map and of the positions; `None` where one lies on the map.
    """
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
    """
    Return positions in ICRS.

    Parameters
    ----------
    sky : `~astropy.coordinates.SkyCoord`
        Positions; those of a frame that cannot be transformed stay in it.

    Returns
    -------
    positions : `~astropy.coordinates.SkyCoord`
        Of one dimension, without distances and motions.
    """
    try:
        sky = sky.icrs
    except Exception:
        logger.info("the frame %s cannot be transformed to ICRS", sky.frame.name)
    lon, lat = (angle.to(u.deg).reshape(-1) for angle in (sky.spherical.lon, sky.spherical.lat))
    return SkyCoord(lon, lat, frame=sky.frame.replicate_without_data())
