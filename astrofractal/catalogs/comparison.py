"""Estimated masses compared with masses that are known otherwise: ratios, pulls and a figure."""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.table import QTable

from astrofractal._utils.validation import warn
from astrofractal.catalogs.columns import check_level, need_columns, positive_masses, solar_masses
from astrofractal.catalogs.combination import match_rows, names_of
from astrofractal.catalogs.positions import resolve_positions

if TYPE_CHECKING:
    from typing import Any

    from astropy.table import Table
    from matplotlib.axes import Axes

_ESTIMATES = ("mass", "mass_lower", "mass_upper")

_DESCRIPTIONS = {
    "id": "name of the protostar",
    "mass": "estimated mass",
    "mass_lower": "lower end of the interval of the estimate",
    "mass_upper": "upper end of the interval of the estimate",
    "true_mass": "mass to compare with",
    "true_mass_lower": "mass to compare with, less its standard deviation",
    "true_mass_upper": "mass to compare with, plus its standard deviation",
    "ratio": "estimated mass over the mass to compare with",
    "pull": "difference of the logarithms in units of its standard deviation",
    "inside": "whether the interval of the estimate holds the mass to compare with",
    "flags": "flags of the estimate",
}


def compare(
    catalog: QTable,
    masses: Table | u.Quantity,
    *,
    max_separation: u.Quantity | None = None,
    level: float | None = None,
) -> Comparison:
    """
    Compare a catalog of estimated masses with masses that are known otherwise.

    Parameters
    ----------
    catalog : `~astropy.table.QTable`
        ``id``, ``mass``, ``mass_lower``, ``mass_upper``; perhaps ``flags`` and ``position``.
    masses : `~astropy.table.Table` or `~astropy.units.Quantity`
        One mass per row of the catalog, or a table: ``mass``; ``id``, ``name`` or a position; perhaps
        ``mass_error`` (one standard deviation), or ``mass_lower`` and ``mass_upper`` (the mass less
        and plus one).
    max_separation : `~astropy.units.Quantity`, optional
        Match each row to the nearest entry of ``masses`` within this angle, instead of by name.
    level : float, optional
        The probability of the intervals of the catalog; by default ``catalog.meta["level"]``.

    Returns
    -------
    comparison : `Comparison`
        One row per protostar that has a mass to compare with, in the order of the catalog.

    Raises
    ------
    ValueError
        If nothing matches, a name or the nearest position is not unique, or a column is missing.
    astropy.units.UnitsError
        If masses have no unit of mass.

    Examples
    --------
    >>> from astropy import units as u
    >>> from astropy.table import QTable
    >>> from astrofractal.catalogs import compare
    >>> catalog = QTable({"id": ["A", "B"], "mass": [0.4, 1.0] * u.solMass})
    >>> catalog["mass_lower"], catalog["mass_upper"] = catalog["mass"] / 2, catalog["mass"] * 2
    >>> catalog.meta["level"] = 0.68
    >>> compare(catalog, [0.2, 1.5] * u.solMass)
    <Comparison: 2 protostars, median |log ratio| 0.24 dex, 2 of 2 in the 68 % intervals>
    """
    level = catalog.meta.get("level") if level is None else level
    if level is None:
        msg = "level must be between 0 and 1 (catalog.meta has no 'level'), got None"
        raise ValueError(msg)
    check_level(level)
    need_columns(catalog, ("id", *_ESTIMATES), "catalog")
    rows, true = _matched(catalog, masses, max_separation)
    table = QTable({"id": np.asarray(catalog["id"])[rows]})
    for name in _ESTIMATES:
        table[name] = solar_masses(catalog[name], f"catalog[{name!r}]")[rows] * u.solMass
    for name, values in zip(_ESTIMATES, true, strict=True):
        table[f"true_{name}"] = values * u.solMass
    table["ratio"] = (table["mass"] / table["true_mass"]).value
    table["pull"] = _pull(table, level)
    below, above = (table["true_mass"] - table[f"mass_{end}"] for end in ("lower", "upper"))
    table["inside"] = (below >= 0) & (above <= 0)
    if "flags" in catalog.colnames:
        table["flags"] = np.asarray(catalog["flags"])[rows]
    for name in table.colnames:
        table[name].info.description = _DESCRIPTIONS[name]
        if name not in ("id", "inside", "flags"):
            table[name].info.format = ".3g" if "mass" in name else ".2f"
    table.meta.update(catalog.meta, level=level)
    return Comparison(table)


class Comparison:
    """
    Estimated masses and those that they are compared with.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        One row per protostar: what `compare` makes, with a description for each column.
    """

    def __init__(self, table: QTable) -> None:
        self.table = table
        self.level = table.meta["level"]

    def __repr__(self):
        log_ratio = np.log10(self.table["ratio"])
        return (
            f"<Comparison: {len(self.table)} protostars, median |log ratio| "
            f"{np.nanmedian(np.abs(log_ratio)):.2f} dex, {np.sum(self.table['inside'])} of "
            f"{np.isfinite(log_ratio).sum()} in the {100 * self.level:.3g} % intervals>"
        )

    def plot(self, axes: Axes | None = None, *, names: bool = True, **style: Any) -> Axes:
        """
        Draw the estimates over the masses to compare with.

        Parameters
        ----------
        axes : `~matplotlib.axes.Axes`, optional
            Where; a new figure by default.
        names : bool, optional
            Whether the protostars are named.
        **style : dict
            ``color``, ``label`` and whatever else `~matplotlib.axes.Axes.errorbar` takes.

        Returns
        -------
        axes : `~matplotlib.axes.Axes`
            Logarithmic on both sides, with the line of equality.
        """
        import matplotlib.pyplot as plt

        if axes is None:
            _, axes = plt.subplots(figsize=(5, 5), layout="constrained")
        values = {n: self.table[n].to_value(u.solMass) for n in self.table.colnames if "mass" in n}
        mass, true = values["mass"], values["true_mass"]
        xerr = np.nan_to_num([true - values["true_mass_lower"], values["true_mass_upper"] - true])
        yerr = [mass - values["mass_lower"], values["mass_upper"] - mass]
        axes.errorbar(true, mass, xerr=xerr, yerr=yerr, **{"fmt": "o", "capsize": 2, **style})
        axes.set(xlabel="mass to compare with [M$_\\odot$]", ylabel="estimated mass [M$_\\odot$]")
        axes.set(xscale="log", yscale="log")
        axes.axline((1, 1), (10, 10), ls="--", color="0.3", lw=1)
        place: dict[str, Any] = {"xytext": (4, 4), "textcoords": "offset points", "fontsize": 7}
        for name, x, y in zip(self.table["id"], true, mass, strict=True):
            if names and np.isfinite(y):
                axes.annotate(str(name), (x, y), **place)
        return axes


def _matched(catalog, masses, max_separation):
    """Return the rows of the catalog and the masses of each with their one-sigma ends."""
    # rows (n,); masses (3, n)
    if not hasattr(masses, "colnames"):
        true = positive_masses(masses)
        if true.shape != (len(catalog),):
            msg = f"masses must be one per row of the catalog, got {true.size} for {len(catalog)}"
            raise ValueError(msg)
        return np.arange(len(true)), [true, *np.full((2, len(true)), np.nan)]
    need_columns(masses, ["mass"], "masses")
    names = [name for name in (*_ESTIMATES, "mass_error") if name in masses.colnames]
    given = {name: solar_masses(masses[name], f"masses[{name!r}]") for name in names}
    true = positive_masses(masses["mass"])
    error = given.get("mass_error", np.nan)
    ends = [true - error, true + error]
    if "mass_error" not in given and {"mass_lower", "mass_upper"} <= set(given):
        ends = [given["mass_lower"], given["mass_upper"]]
    of_masses, own = match_rows([masses, catalog], ("masses", "catalog"), max_separation)
    rows = np.flatnonzero(own < len(of_masses))
    if not rows.size:
        raise ValueError(_nothing_matches(catalog, masses, max_separation))
    entries = own[rows]
    left = np.delete(names_of(masses), entries)
    if left.size:
        warn(f"masses that match nothing in the catalog: {', '.join(left)}")
    return rows, [values[entries] for values in (true, *ends)]


def _nothing_matches(catalog, masses, max_separation):
    if max_separation is None:
        own, others = (", ".join(names_of(table)[:3]) for table in (catalog, masses))
        where = f"is in the catalog ({own}, ...)"
        return f"no name of masses ({others}, ...) {where}: give max_separation="
    own, others = (resolve_positions(table).where for table in (catalog, masses))
    nearest = own.match_to_catalog_sky(others)[1].min().to(max_separation.unit)
    reach = f"max_separation = {max_separation} of one of the catalog"
    return f"no position of masses is within {reach}; the nearest is {nearest:.3g} away"


def _pull(table, level):
    """Difference of the logarithms over the standard deviation on the side where it lies."""
    with np.errstate(invalid="ignore", divide="ignore"):
        log = {n: np.log10(table[n].to_value(u.solMass)) for n in table.colnames if "mass" in n}
    mass, true = log["mass"], log["true_mass"]
    larger = mass > true
    own = np.where(larger, mass - log["mass_lower"], log["mass_upper"] - mass)
    other = np.where(larger, log["true_mass_upper"] - true, true - log["true_mass_lower"])
    own /= NormalDist().inv_cdf(0.5 + level / 2)
    return (mass - true) / np.hypot(own, np.nan_to_num(other, posinf=0.0))
