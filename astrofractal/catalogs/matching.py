"""Rows of tables that are of one protostar: they have its name, or lie near it."""

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from scipy.spatial import cKDTree

from astrofractal.catalogs.positions import resolve_positions

__all__ = ["match_rows", "names_of"]


def names_of(table):
    """Return the names of the rows of a table; their numbers where it has none."""
    column = next((n for n in ("id", "name") if n in table.colnames), None)
    names = range(len(table)) if column is None else table[column]
    return np.array([str(name) for name in names], dtype=str)


def match_rows(tables, what, max_separation):
    """Return the number of the protostar of each row of each table; new ones are counted on."""
    # what: the name of each table in messages
    numbers, known = [], None
    for table, name in zip(tables, what):
        keys = _keys(table, name, max_separation)
        known = keys[:0] if known is None else known
        found = _match(keys, known, max_separation)
        new = found < 0
        found[new] = len(known) + np.arange(new.sum())
        known = np.concatenate([known, keys[new]])
        numbers.append(found)
    return numbers


def _keys(table, what, max_separation):
    """Return what rows are matched by: directions on the sky (n, 3), or names."""
    if max_separation is not None:
        where = resolve_positions(table).where
        if not isinstance(where, SkyCoord):
            msg = f"{what} must have sky positions for max_separation, got pixels"
            raise ValueError(msg)
        return where.icrs.represent_as("unitspherical").to_cartesian().xyz.value.T
    if not {"id", "name"} & set(table.colnames):
        msg = f"{what} must have a column 'id' or 'name', or give max_separation="
        raise ValueError(msg)
    names = names_of(table)
    unique, counts = np.unique(names, return_counts=True)
    if (counts > 1).any():
        msg = f"{what} must have each name once, got {str(unique[counts > 1][0])!r} several times"
        raise ValueError(msg)
    return names


def _match(keys, known, max_separation):
    """Return, for each key, the number of the known one that it belongs to, or -1."""
    if max_separation is None:
        numbers = {name: number for number, name in enumerate(known.tolist())}
        return np.array([numbers.get(name, -1) for name in keys.tolist()], int)
    reach = 2 * np.sin(u.Quantity(max_separation).to_value(u.rad) / 2)  # a chord
    distance, nearest = cKDTree(known).query(keys)
    found = np.where(distance <= reach, nearest, -1)
    if np.bincount(found[found >= 0], minlength=1).max() > 1:
        msg = f"max_separation = {max_separation} matches several rows to one protostar"
        raise ValueError(msg)
    return found
