"""Several estimates of one mass as one, and which rows of tables are of one protostar."""

from collections.abc import Sequence
from itertools import repeat

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable, vstack
from scipy.spatial import cKDTree

from astrofractal._utils.reading import filled
from astrofractal.catalogs import columns
from astrofractal.catalogs.positions import resolve_positions

#: The correlation of the errors of two maps of one protostar in clouds that are held out: 0.59 to 0.73
#: (docs/research/studies.rst).
COMMON_ERROR = 0.7


def combine_estimates(log_mass, half_width, *, correlation=COMMON_ERROR):
    """Return the mean of estimates of one mass, half the width of its interval, and the weights."""
    # Inverse-covariance weights would give nearly all the weight to the narrowest interval, since so
    # much error is common, and intervals are narrow at small masses.
    if not 0 <= correlation <= 1:
        msg = f"correlation must be between 0 and 1, got {correlation!r}"
        raise ValueError(msg)
    log_mass, half_width = np.asarray(log_mass, float), np.asarray(half_width, float)
    weights = 1 / np.maximum(half_width, 1e-9)
    weights = weights / weights.sum()
    own = weights * half_width
    variance = correlation * own.sum() ** 2 + (1 - correlation) * (own**2).sum()
    return float(weights @ log_mass), float(np.sqrt(variance)), weights


def combine(
    catalogs: Sequence[QTable],
    *,
    max_separation: u.Quantity | None = None,
    correlation: float = COMMON_ERROR,
) -> QTable:
    """
    Combine catalogs of the same protostars: from several lines, epochs or telescopes.

    Parameters
    ----------
    catalogs : list of `~astropy.table.QTable`
        What `~astrofractal.StellarMassEstimator.catalog` returns, with one level of the intervals.
    max_separation : `~astropy.units.Quantity`, optional
        Match each row to the nearest protostar of the catalogs before its own within this angle,
        instead of by name.
    correlation : float, optional
        That of the errors of two maps of one protostar, from 0 to 1.

    Returns
    -------
    table : `~astropy.table.QTable`
        One row per protostar, in the order of their first appearance: a catalog without pixels, and
        ``n_maps``, the number of estimates.  Masses are means of log10 mass with weights in inverse
        proportion to the widths of the intervals, flags those of all maps, ``ood_score`` the largest;
        other columns are from the first map.

    Raises
    ------
    ValueError
        If there is no catalog, their levels differ, or protostars have no names and no
        ``max_separation`` is given.

    Examples
    --------
    >>> from astropy import units as u
    >>> from astropy.table import QTable, vstack
    >>> from astrofractal.catalogs import combine
    >>> line = QTable({"id": ["A"], "mass": [0.4] * u.solMass})
    >>> line["mass_lower"], line["mass_upper"] = line["mass"] / 2, line["mass"] * 2
    >>> line.meta["level"] = 0.68
    >>> other = line.copy()
    >>> other["mass"] = [0.8] * u.solMass
    >>> other["mass_lower"], other["mass_upper"] = other["mass"] / 2, other["mass"] * 2
    >>> combine([line, other])["mass_lower", "mass", "mass_upper"].pprint(show_unit=False)
    mass_lower  mass mass_upper
    ---------- ----- ----------
         0.299 0.566       1.07
    """
    level = _common_level(catalogs)
    groups = _matched(catalogs, max_separation)
    first = np.array([rows[0] for rows in groups], int)
    table = QTable({"id": _column(catalogs, "id")[first]})
    if all("position" in catalog.colnames for catalog in catalogs):
        where = [catalog["position",] for catalog in catalogs]
        table["position"] = vstack(where, metadata_conflicts="silent")["position"][first]
    lower, log_mass, upper = (
        np.log10(np.concatenate([columns.solar_masses(catalog[name]) for catalog in catalogs]))
        for name in ("mass_lower", "mass", "mass_upper")
    )
    half, numbers = (upper - lower) / 2, np.full((2, len(groups)), np.nan)
    used = [rows[np.isfinite(log_mass[rows])] for rows in groups]
    for i, rows in enumerate(used):
        if len(rows):
            found = combine_estimates(log_mass[rows], half[rows], correlation=correlation)
            numbers[:, i] = found[:2]
    table["n_maps"] = [len(rows) for rows in used]
    known = table["n_maps"] > 0
    for name, sign in (("mass", 0), ("mass_lower", -1), ("mass_upper", 1)):
        values = 10 ** (numbers[0] + sign * numbers[1]) * u.solMass
        table[name] = columns.measured(values, known)
    for name, function in (("ood_score", max), ("velocity_known", np.mean)):
        if (column := _column(catalogs, name)) is not None:
            values = [function(column[rows]) if len(rows) else np.nan for rows in used]
            table[name] = columns.measured(np.array(values, float), known)
    for name, own, mark in (("channels", used, "; "), ("flags", groups, ",")):
        if (column := _column(catalogs, name)) is not None:
            cells = [mark.join(map(str, column[rows])).split(mark) for rows in own]
            texts = [mark.join(dict.fromkeys(filter(None, parts))) for parts in cells]
            table[name] = np.array(texts, dtype=str)
    table.meta.update(_common_meta(catalogs), level=level, correlation=correlation)
    others = [name for name in catalogs[0].colnames if name not in columns.COLUMNS]
    if others and first.max(initial=0) < len(catalogs[0]):
        columns.carry(table, catalogs[0][others][first])
    return columns.describe(table, level)


def _common_level(catalogs):
    if hasattr(catalogs, "colnames"):
        msg = "catalogs must be a list of catalogs, got one table: combine([first, second])"
        raise TypeError(msg)
    if not len(catalogs):
        msg = "catalogs must be at least one, got none"
        raise ValueError(msg)
    for catalog in catalogs:
        columns.need_columns(catalog, ("id", "mass", "mass_lower", "mass_upper"), "catalogs")
    levels = {catalog.meta.get("level") for catalog in catalogs}
    if len(levels) > 1 or None in levels:
        msg = f"catalogs must have intervals of one level in their meta, got {sorted(map(str, levels))}"
        raise ValueError(msg)
    return levels.pop()


def _common_meta(catalogs):
    """Return what all catalogs have alike, and every remark on channels and calibrations."""
    meta = {}
    for key, value in catalogs[0].meta.items():
        if key != "__attributes__" and all(c.meta.get(key) == value for c in catalogs):
            meta[key] = value
    for key in ("no_skill", "matched"):
        remarks = dict.fromkeys(c.meta[key] for c in catalogs if key in c.meta)
        if remarks:
            meta[key] = ", ".join(remarks)
    return meta


def _matched(catalogs, max_separation):
    """Return, for each protostar, the rows that are of it, counted through all catalogs."""
    numbered = any(np.asarray(catalog["id"]).dtype.kind in "iu" for catalog in catalogs)
    if max_separation is None and len(catalogs) > 1 and numbered:
        msg = "catalogs that number their protostars give them no names: give max_separation="
        raise ValueError(msg)
    numbers = np.concatenate(match_rows(catalogs, repeat("catalogs"), max_separation))
    return [np.flatnonzero(numbers == number) for number in range(numbers.max(initial=-1) + 1)]


def _column(catalogs, name):
    """Return the cells of a column in all catalogs, or `None` if one lacks it."""
    if all(name in catalog.colnames for catalog in catalogs):
        return np.concatenate([np.asarray(filled(catalog[name])) for catalog in catalogs])
    return None


def names_of(table):
    """Return the names of the rows of a table; their numbers where it has none."""
    column = next((n for n in ("id", "name") if n in table.colnames), None)
    names = range(len(table)) if column is None else table[column]
    return np.array([str(name) for name in names], dtype=str)


def match_rows(tables, what, max_separation):
    """Return the number of the protostar of each row of each table, in order of appearance."""
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
