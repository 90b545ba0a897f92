"""Several estimates of one mass, from lines, epochs or lines of sight, as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable

from astrofractal._utils.reading import filled
from astrofractal.catalogs.columns import COLUMNS, carry, describe, measured

__all__ = ["COMMON_ERROR", "combine", "combine_estimates"]

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

#: The correlation of the errors of two maps of one protostar in clouds that are held out: 0.59 in
#: units of the intervals and 0.69 in dex for two lines of sight at one time, 0.70 and 0.73 for one
#: line of sight at two times in a row (docs/scripts/measure_combination.py).
COMMON_ERROR = 0.7


def combine_estimates(
    log_mass: ArrayLike,
    half_width: ArrayLike,
    *,
    correlation: float = COMMON_ERROR,
) -> tuple[float, float, np.ndarray]:
    """
    Combine several estimates of one mass by their mean, weighted by the inverse of their widths.

    Parameters
    ----------
    log_mass : 1D array-like
        log10 masses.

    half_width : 1D array-like
        Half the widths of their intervals, all of one level, in dex.

    correlation : float, optional
        That of the errors of two of the estimates, from 0 to 1.

    Returns
    -------
    log_mass : float
        The combination.

    half_width : float
        Half the width of its interval, of the same level.

    weights : 1D `~numpy.ndarray`
        Of each estimate; they add up to one.

    Raises
    ------
    ValueError
        If the correlation is not within 0 to 1, or there is nothing.

    Notes
    -----
    The weights that were best for known errors, the inverse of their covariance, are not taken: with
    so much error in common they give nearly all the weight to the narrowest interval, and intervals
    are narrow at small masses.
    """
    if not 0 <= correlation <= 1:
        msg = f"correlation must be between 0 and 1, got {correlation!r}"
        raise ValueError(msg)
    log_mass, half_width = np.asarray(log_mass, float), np.asarray(half_width, float)
    if not len(log_mass) or log_mass.shape != half_width.shape:
        msg = f"log_mass must have one entry for each of half_width, got {log_mass.shape}"
        raise ValueError(msg)
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
        Match by position: a row belongs to the nearest protostar of the catalogs before its own, if
        that is within this angle.  By default names are matched; numbers that a catalog gave itself
        are none.

    correlation : float, optional
        That of the errors of two maps of one protostar, from 0 to 1.

    Returns
    -------
    table : `~astropy.table.QTable`
        One row for each protostar, in the order of their first appearance: the columns of a catalog,
        without pixels, and ``n_maps``, the number of estimates.  Masses are means of log10 M with
        weights in inverse proportion to the intervals; the intervals know the error in common.
        Flags are those of all maps, ``ood_score`` is the largest; positions and other columns are
        those of the first map.

    Raises
    ------
    ValueError
        If there is no catalog, their levels differ, or protostars have no names and no
        ``max_separation`` is given.

    Examples
    --------
    >>> from astropy import units as u
    >>> from astropy.table import QTable
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
    places = _matched(catalogs, max_separation)
    first = [group[0] for group in places]
    table = QTable({"id": [catalogs[k]["id"][row] for k, row in first]})
    if first and all("position" in catalogs[k].colnames for k, _ in first):
        table["position"] = SkyCoord([catalogs[k]["position"][row] for k, row in first])
    half, log_mass = zip(*map(_estimates, catalogs), strict=True)
    numbers, used = np.full((2, len(places)), np.nan), []
    for i, group in enumerate(places):
        used.append([(k, row) for k, row in group if np.isfinite(log_mass[k][row])])
        if used[-1]:
            values = ([values[k][row] for k, row in used[-1]] for values in (log_mass, half))
            numbers[:, i] = combine_estimates(*values, correlation=correlation)[:2]
    table["n_maps"] = [len(group) for group in used]
    known = np.array([bool(group) for group in used], bool)
    for name, sign in (("mass", 0), ("mass_lower", -1), ("mass_upper", 1)):
        values = 10 ** (numbers[0] + sign * numbers[1]) * u.solMass
        table[name] = measured(values, known)
    _add_others(table, catalogs, places, used, known)
    table.meta.update(_common_meta(catalogs), level=level, correlation=correlation)
    own = {*COLUMNS, "n_maps"}
    others = [n for n in catalogs[0].colnames if n not in own]
    if others and all(k == 0 for k, _ in first):
        carry(table, catalogs[0][others][[row for _, row in first]])
    return describe(table, level)


def _common_level(catalogs):
    if hasattr(catalogs, "colnames"):
        msg = "catalogs must be a list of catalogs, got one table: combine([first, second])"
        raise TypeError(msg)
    if not len(catalogs):
        msg = "catalogs must be at least one, got none"
        raise ValueError(msg)
    for catalog in catalogs:
        lacking = {"id", "mass", "mass_lower", "mass_upper"} - set(catalog.colnames)
        if lacking:
            msg = f"catalogs must have the column {min(lacking)!r}, got {catalog.colnames}"
            raise ValueError(msg)
    levels = {catalog.meta.get("level") for catalog in catalogs}
    if len(levels) > 1 or None in levels:
        msg = f"catalogs must have intervals of one level in their meta, got {sorted(map(str, levels))}"
        raise ValueError(msg)
    return levels.pop()


def _common_meta(catalogs):
    """What all catalogs say alike, and what any says of channels without skill."""
    meta = {}
    for key, value in catalogs[0].meta.items():
        if key != "__attributes__" and all(c.meta.get(key) == value for c in catalogs):
            meta[key] = value
    lacking = dict.fromkeys(c.meta["no_skill"] for c in catalogs if "no_skill" in c.meta)
    if lacking:
        meta["no_skill"] = ", ".join(lacking)
    return meta


def _estimates(catalog):
    """Half the widths of the intervals and log10 masses, NaN where there are none."""
    lower, mass, upper = (
        np.log10(filled(catalog[name]).to_value(u.solMass))
        for name in ("mass_lower", "mass", "mass_upper")
    )
    return (upper - lower) / 2, mass


def _matched(catalogs, max_separation):
    """Return, for each protostar, the catalogs and rows that are of it."""
    if max_separation is not None:
        return _by_position(catalogs, max_separation)
    if len(catalogs) > 1 and any(np.asarray(c["id"]).dtype.kind in "iu" for c in catalogs):
        msg = (
            "catalogs that number their protostars do not tell which are the same: give "
            "max_separation= to match by position, or positions with names to catalog"
        )
        raise ValueError(msg)
    groups = {}
    for k, catalog in enumerate(catalogs):
        for row, name in enumerate(map(str, catalog["id"])):
            group = groups.setdefault(name, [])
            if group and group[-1][0] == k:
                msg = f"catalogs must have each name once, got {name!r} several times"
                raise ValueError(msg)
            group.append((k, row))
    return list(groups.values())


def _by_position(catalogs, max_separation):
    if any("position" not in catalog.colnames for catalog in catalogs):
        msg = "max_separation needs catalogs with positions on the sky"
        raise ValueError(msg)
    groups, known = [], SkyCoord([], [], unit=u.deg)
    for k, catalog in enumerate(catalogs):
        sky, new = catalog["position"].icrs, []
        found = np.full(len(catalog), -1)
        if len(known) and len(sky):
            nearest, separation, _ = sky.match_to_catalog_sky(known)
            found = np.where(separation <= max_separation, nearest, -1)
        for row, place in enumerate(found.tolist()):
            if place < 0:
                groups.append([(k, row)])
                new.append(row)
            elif groups[place][-1][0] == k:
                msg = f"max_separation = {max_separation} matches several rows to one protostar"
                raise ValueError(msg)
            else:
                groups[place].append((k, row))
        lon, lat = np.r_[known.ra.deg, sky.ra.deg[new]], np.r_[known.dec.deg, sky.dec.deg[new]]
        known = SkyCoord(lon, lat, unit=u.deg)
    return groups


def _add_others(table, catalogs, places, used, known):
    """Add scores, channels and flags of what is combined."""

    def cells(name, groups):
        return [[filled(catalogs[k][name])[row] for k, row in group] for group in groups]

    for name, function in (("ood_score", max), ("velocity_known", np.mean)):
        if all(name in catalog.colnames for catalog in catalogs):
            values = [function(own) if own else np.nan for own in cells(name, used)]
            table[name] = measured(np.array(values, float), known)
    for name, groups, mark in (("channels", used, "; "), ("flags", places, ",")):
        if all(name in catalog.colnames for catalog in catalogs):
            texts = [
                dict.fromkeys(part for cell in own for part in str(cell).split(mark) if part)
                for own in cells(name, groups)
            ]
            table[name] = np.array([mark.join(text) for text in texts], dtype=str)
