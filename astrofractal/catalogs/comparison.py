"""Estimated masses beside masses that are known otherwise: ratios, pulls and a figure."""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.table import QTable

from astrofractal._utils.reading import filled
from astrofractal._utils.validation import warn
from astrofractal.catalogs.columns import check_level
from astrofractal.catalogs.positions import resolve_positions

__all__ = ["Comparison", "compare"]

if TYPE_CHECKING:
    from typing import Any

    from astropy.table import Table
    from matplotlib.axes import Axes

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
        What `~astrofractal.StellarMassEstimator.catalog` returns: ``id``, ``mass``, ``mass_lower``,
        ``mass_upper``, and ``flags`` and ``position`` where they are known.

    masses : `~astropy.table.Table` or `~astropy.units.Quantity`
        A table with ``id`` (or ``name``), ``mass`` and, where they are known, ``mass_error`` (one
        standard deviation) or ``mass_lower`` and ``mass_upper`` (the mass less and plus one
        standard deviation), and a position (``ra`` and ``dec``, say) for ``max_separation``; or one
        mass for each row of the catalog.

    max_separation : `~astropy.units.Quantity`, optional
        Match by position: the nearest entry of ``masses`` within this angle.  By default names are
        matched.

    level : float, optional
        The probability of the intervals of the catalog; by default ``catalog.meta["level"]``.

    Returns
    -------
    comparison : `Comparison`
        One row for each protostar of the catalog that has a mass to compare with, in the order of
        the catalog.  Entries of ``masses`` that match nothing are named in a warning.

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
    for name in ("id", "mass", "mass_lower", "mass_upper"):
        _need(catalog, name, "catalog")
    rows, true, lower, upper = _matched(catalog, masses, max_separation)
    table = QTable()
    table["id"] = np.asarray(catalog["id"])[rows]
    for name in ("mass", "mass_lower", "mass_upper"):
        table[name] = _solar(catalog[name], f"catalog[{name!r}]")[rows] * u.solMass
    table["true_mass"] = true * u.solMass
    table["true_mass_lower"], table["true_mass_upper"] = lower * u.solMass, upper * u.solMass
    table["ratio"] = (table["mass"] / table["true_mass"]).value
    table["pull"] = _pull(table, level)
    table["inside"] = (table["mass_lower"] <= table["true_mass"]) & (
        table["true_mass"] <= table["mass_upper"]
    )
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
    Estimated masses beside others.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        One row per protostar; see `compare`, which makes it.

    Attributes
    ----------
    table : `~astropy.table.QTable`
        ``id``; ``mass``, ``mass_lower`` and ``mass_upper`` of the estimate; ``true_mass``,
        ``true_mass_lower`` and ``true_mass_upper`` (not a number where the error is unknown);
        ``ratio`` (estimated over true); ``pull`` (difference of the logarithms over its standard
        deviation, errors of both sides added in quadrature); ``inside`` (whether the interval holds
        the true mass); ``flags``.
    """

    def __init__(self, table: QTable) -> None:
        self.table = table

    def __len__(self) -> int:
        return len(self.table)

    @property
    def level(self) -> float:
        """The probability of the intervals (float)."""
        return self.table.meta["level"]

    @property
    def log_ratio(self) -> np.ndarray:
        """log10 of estimated over true mass (1D `~numpy.ndarray`); NaN without an estimate."""
        return np.log10(self.table["ratio"])

    @property
    def median_error(self) -> float:
        """Median of the absolute log10 ratio, in dex (float)."""
        return float(np.nanmedian(np.abs(self.log_ratio)))

    @property
    def bias(self) -> float:
        """Median of the log10 ratio, in dex (float)."""
        return float(np.nanmedian(self.log_ratio))

    @property
    def n_inside(self) -> int:
        """How many intervals hold the true mass (int)."""
        return int(np.sum(self.table["inside"]))

    def __repr__(self):
        return (
            f"<Comparison: {len(self)} protostars, median |log ratio| {self.median_error:.2f} dex, "
            f"{self.n_inside} of {int(np.isfinite(self.log_ratio).sum())} in the "
            f"{100 * self.level:.3g} % intervals>"
        )

    def plot(
        self,
        axes: Axes | None = None,
        *,
        names: bool = True,
        color: Any | None = None,
        label: str | None = None,
    ) -> Axes:
        """
        Draw the estimates over the masses to compare with.

        Parameters
        ----------
        axes : `~matplotlib.axes.Axes`, optional
            Where; a new figure by default.

        names : bool, optional
            Whether the protostars are named.

        color : color, optional
            The color of the points.

        label : str, optional
            For the legend.

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
        low = np.nan_to_num(true - values["true_mass_lower"])
        high = np.nan_to_num(values["true_mass_upper"] - true)
        axes.errorbar(
            true,
            mass,
            xerr=[low, high],
            yerr=[mass - values["mass_lower"], values["mass_upper"] - mass],
            fmt="o",
            capsize=2,
            color=color,
            label=label,
        )
        axes.set(
            xscale="log",
            yscale="log",
            xlabel="mass to compare with [M$_\\odot$]",
            ylabel="estimated mass [M$_\\odot$]",
        )
        axes.axline((1, 1), (10, 10), ls="--", color="0.3", lw=1)
        if names:
            for name, x, y in zip(self.table["id"], true, mass, strict=True):
                if np.isfinite(y):
                    axes.annotate(
                        str(name), (x, y), xytext=(4, 4), textcoords="offset points", fontsize=7
                    )
        return axes


def _need(table, name, what):
    if name not in table.colnames:
        msg = f"{what} must have a column {name!r}, it has {', '.join(table.colnames) or 'none'}"
        raise ValueError(msg)


def _solar(values, what):
    """Return masses in solar masses, without unit."""
    values = u.Quantity(filled(values))
    if not values.unit.is_equivalent(u.solMass):
        msg = f"{what} must be in a unit of mass such as solMass, got {str(values.unit)!r}"
        raise u.UnitConversionError(msg)
    return np.atleast_1d(values.to_value(u.solMass)).astype(float)


def _matched(catalog, masses, max_separation):
    """Return the rows of the catalog and, for each, the mass and its one-sigma ends."""
    if not hasattr(masses, "colnames"):
        true = _solar(masses, "masses")
        if len(true) != len(catalog):
            msg = f"masses must be one per row of the catalog, got {len(true)} for {len(catalog)}"
            raise ValueError(msg)
        nothing = np.full(len(true), np.nan)
        return np.arange(len(true)), _positive(true), nothing, nothing
    _need(masses, "mass", "masses")
    true = _positive(_solar(masses["mass"], "masses['mass']"))
    if "mass_error" in masses.colnames:
        error = _solar(masses["mass_error"], "masses['mass_error']")
        lower, upper = true - error, true + error
    elif {"mass_lower", "mass_upper"} <= set(masses.colnames):
        lower, upper = (_solar(masses[n], f"masses[{n!r}]") for n in ("mass_lower", "mass_upper"))
    else:
        lower = upper = np.full(len(true), np.nan)
    pairs = _by_name(catalog, masses) if max_separation is None else None
    if pairs is None:
        pairs = _by_position(catalog, masses, max_separation)
    rows, entries = (np.array(side, dtype=int) for side in zip(*pairs, strict=True))
    left = sorted(set(range(len(masses))) - set(entries.tolist()))
    if left:
        names = _names(masses)
        msg = f"masses that match nothing in the catalog: {', '.join(names[i] for i in left)}"
        warn(msg)
    return rows, true[entries], lower[entries], upper[entries]


def _positive(values):
    if not (np.isfinite(values) & (values > 0)).all():
        msg = "masses must be finite and positive"
        raise ValueError(msg)
    return values


def _names(table):
    column = next((n for n in ("id", "name") if n in table.colnames), None)
    return [str(i) if column is None else str(table[column][i]) for i in range(len(table))]


def _by_name(catalog, masses):
    if not {"id", "name"} & set(masses.colnames):
        msg = "masses must have a column 'id' or 'name', or give max_separation="
        raise ValueError(msg)
    known = _names(masses)
    wanted = _names(catalog)
    for what, names in (("masses", known), ("catalog", wanted)):
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            msg = f"{what} must have each name once, got {twice!r} several times"
            raise ValueError(msg)
    pairs = [(row, known.index(name)) for row, name in enumerate(wanted) if name in known]
    if not pairs:
        msg = (
            f"no name of masses ({', '.join(known[:3])}, ...) is in the catalog "
            f"({', '.join(wanted[:3])}, ...): give max_separation= to match by position"
        )
        raise ValueError(msg)
    return pairs


def _by_position(catalog, masses, max_separation):
    sky = []
    for what, table in (("catalog", catalog), ("masses", masses)):
        where = resolve_positions(table).where
        if isinstance(where, np.ndarray):
            msg = f"{what} must have sky positions for max_separation, got pixels"
            raise ValueError(msg)
        sky.append(where)
    nearest, separation, _ = sky[0].match_to_catalog_sky(sky[1])
    near = np.flatnonzero(separation <= max_separation)
    if not near.size:
        msg = (
            f"no position of masses is within max_separation = {max_separation} of one of the "
            f"catalog; the nearest is {separation.min().to(max_separation.unit):.3g} away"
        )
        raise ValueError(msg)
    if len(set(nearest[near].tolist())) < near.size:
        msg = f"max_separation = {max_separation} matches one entry of masses to several rows"
        raise ValueError(msg)
    return [(row, nearest[row]) for row in near]


def _pull(table, level):
    """Difference of the logarithms over the standard deviation on the side where it lies."""
    log = {n: np.log10(table[n].to_value(u.solMass)) for n in ("mass", "true_mass")}
    difference = log["mass"] - log["true_mass"]
    with np.errstate(invalid="ignore", divide="ignore"):
        ends = {
            n: np.log10(table[n].to_value(u.solMass))
            for n in ("mass_lower", "mass_upper", "true_mass_lower", "true_mass_upper")
        }
    below = np.where(difference > 0, log["mass"] - ends["mass_lower"], 0)
    above = np.where(difference > 0, 0, ends["mass_upper"] - log["mass"])
    own = (below + above) / NormalDist().inv_cdf(0.5 + level / 2)
    other = np.where(
        difference > 0,
        ends["true_mass_upper"] - log["true_mass"],
        log["true_mass"] - ends["true_mass_lower"],
    )
    return difference / np.hypot(own, np.nan_to_num(other, posinf=0.0))
