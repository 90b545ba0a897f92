"""Rows of tables that are of one protostar: they have its name, or lie near it."""

import numpy as np
from astropy.coordinates import SkyCoord

from astrofractal.catalogs.positions import resolve_positions

__all__ = ["join_keys", "keys_of", "match_keys", "names_of"]


def names_of(table):
    """Return the names of the rows of a table; their numbers where it has none."""
    column = next((n for n in ("id", "name") if n in table.colnames), None)
    names = range(len(table)) if column is None else table[column]
    return np.array([str(name) for name in names], dtype=str)


def keys_of(table, what, max_separation):
    """Return what rows are matched by: positions, or names where ``max_separation`` is `None`."""
    if max_separation is not None:
        where = resolve_positions(table).where
        if not isinstance(where, SkyCoord):
            msg = f"{what} must have sky positions for max_separation, got pixels"
            raise ValueError(msg)
        return where.icrs
    if not {"id", "name"} & set(table.colnames):
        msg = f"{what} must have a column 'id' or 'name', or give max_separation="
        raise ValueError(msg)
    names = names_of(table)
    unique, counts = np.unique(names, return_counts=True)
    if (counts > 1).any():
        msg = f"{what} must have each name once, got {str(unique[counts > 1][0])!r} several times"
        raise ValueError(msg)
    return names


def join_keys(keys, others):
    """Return the keys of two tables in a row."""
    if isinstance(keys, np.ndarray):
        return np.concatenate([keys, others])
    lon, lat = np.r_[keys.ra.deg, others.ra.deg], np.r_[keys.dec.deg, others.dec.deg]
    return SkyCoord(lon, lat, unit="deg")


def match_keys(keys, others, max_separation):
    """Return, for each row, the number of the other that it belongs to, or -1."""
    found = np.full(len(keys), -1)
    if not len(keys) or not len(others):
        return found
    if max_separation is None:
        numbers = {str(name): number for number, name in enumerate(others)}
        return np.array([numbers.get(str(name), -1) for name in keys])
    nearest, separation, _ = keys.match_to_catalog_sky(others)
    found = np.where(separation <= max_separation, nearest, -1)
    if np.bincount(found[found >= 0], minlength=1).max() > 1:
        msg = f"max_separation = {max_separation} matches several rows to one protostar"
        raise ValueError(msg)
    return found
