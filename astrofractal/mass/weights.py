"""How predictions are validated: folds of whole clouds, weights of protostars, scores."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy import units as u
from numpy.typing import ArrayLike
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.model_selection import GroupKFold

from astrofractal._utils.tables import read_table
from astrofractal.catalogs.columns import need_columns, solar_masses


def protostar_weights(protostars, exponent, represents=None):
    """Return the weight of each map; protostars with many maps do not outweigh the others."""
    _, index = np.unique(protostars, return_inverse=True)
    represents = np.ones(len(index)) if represents is None else np.asarray(represents, float)
    counts = np.bincount(index, represents)
    weights = represents * counts[index] ** -float(exponent)
    return weights / weights.mean()


def r2_error(true, predicted, protostars, clouds, represents, n_draws=500):
    """Return the standard deviation of R2 per protostar over draws of clouds and their protostars."""
    generator = np.random.default_rng((0, n_draws))
    _, first, index = np.unique(protostars, return_index=True, return_inverse=True)
    weights = protostar_weights(protostars, 1, represents)
    centered = true - np.average(true, weights=weights)
    sums = [
        np.bincount(index, weights * values)
        for values in (np.ones(len(true)), centered, centered**2, (true - predicted) ** 2)
    ]
    members = [np.flatnonzero(clouds[first] == cloud) for cloud in np.unique(clouds)]
    found = []
    for _ in range(n_draws):
        drawn = [members[k] for k in generator.integers(len(members), size=len(members))]
        rows = np.concatenate([generator.choice(own, len(own)) for own in drawn])
        one, level, square, error = (values[rows].sum() for values in sums)
        variance = square - level**2 / one
        found.append(1 - error / variance if variance > 1e-12 else np.nan)
    return float(np.nanstd(found)) if np.isfinite(found).any() else float("nan")


#: The levels of the intervals whose coverage is scored.
LEVELS = (0.68, 0.9)


def scores(true, predicted, protostars, represents=None, *, held=None):
    """Score predictions per map and per protostar."""
    # held: whether the intervals of some levels hold the masses
    found = {"mae": float(mean_absolute_error(true, predicted, sample_weight=represents))}
    kinds = {"": represents, "_protostar": protostar_weights(protostars, 1, represents)}
    for kind, weights in kinds.items():
        found[f"r2{kind}"] = float(r2_score(true, predicted, sample_weight=weights))
        rmse = root_mean_squared_error(true, predicted, sample_weight=weights)
        found[f"rmse{kind}"] = float(rmse)
        for level, inside in (held or {}).items():
            name = f"coverage_{level * 100:.0f}{kind}"
            found[name] = float(np.average(inside, weights=weights))
    return found | {"n_maps": len(true), "n_protostars": len(np.unique(protostars))}


def folds_of(groups):
    """Return the number of the fold of each map, so that no group is divided."""
    folds = np.zeros(len(groups), int)
    n_folds = min(12, len(np.unique(groups)))
    if n_folds > 1:
        for number, (_, test) in enumerate(GroupKFold(n_folds).split(groups, groups=groups)):
            folds[test] = number
    return folds


def weighted_quantile(values, weights, level):
    """Return the smallest of ``values`` that at least ``level`` of the weight does not exceed."""
    order = np.argsort(values)
    cumulative = np.cumsum(np.asarray(weights, float)[order])
    place = np.searchsorted(cumulative, level * cumulative[-1] * (1 - 1e-9))
    return float(values[order[min(place, len(order) - 1)]])


_LARGEST = 10.0


def _kroupa(mass):
    """dN / dlog M of Kroupa 2001 (MNRAS 322, 231), eq. 2."""
    slopes = np.where(mass < 0.08, 0.3, np.where(mass < 0.5, 1.3, 2.3))
    scale = np.where(mass < 0.08, 1.0, np.where(mass < 0.5, 0.08, 0.08 * 0.5))
    return scale * mass ** (1 - slopes)


def _chabrier(mass):
    """dN / dlog M of Chabrier 2003 (PASP 115, 763), eq. 17: single stars."""
    low = np.exp(-((np.log10(mass) - np.log10(0.079)) ** 2) / (2 * 0.69**2))
    one = np.exp(-(np.log10(0.079) ** 2) / (2 * 0.69**2))
    return np.where(mass < 1, low, one * mass**-1.3)


_FUNCTIONS = {"kroupa": _kroupa, "chabrier": _chabrier}

#: The names of the distributions that `as_prior` accepts.
PRIORS = tuple(_FUNCTIONS)


@dataclass(frozen=True)
class Prior:
    """
    A distribution of masses.

    Parameters
    ----------
    name : str
        One of `PRIORS`, or "table".
    log_mass, density : tuple of float
        Of a table: log10 of the masses in solar masses, in increasing order, and the number of
        protostars per decade there, in any unit.

    Examples
    --------
    Ten times as many protostars of 0.1 as of 10 solar masses:

    >>> from astrofractal.mass import Prior
    >>> prior = Prior("table", log_mass=(-1, 1), density=(10, 1))
    >>> print(prior([-1, 0, 1]))
    [10.   5.5  1. ]
    """

    name: str
    log_mass: tuple[float, ...] = ()
    density: tuple[float, ...] = ()

    def __post_init__(self):
        for name in ("log_mass", "density"):
            object.__setattr__(self, name, tuple(map(float, getattr(self, name))))

    def __call__(self, log_mass: ArrayLike) -> np.ndarray:
        """Return the number of protostars per decade, in any unit."""
        log_mass = np.asarray(log_mass, float)
        if self.name in _FUNCTIONS:
            return _FUNCTIONS[self.name](10**log_mass)
        return np.interp(log_mass, self.log_mass, self.density, left=0, right=0)


def as_prior(value):
    """Return a distribution of masses."""
    if value is None or isinstance(value, Prior):
        return value
    if isinstance(value, str) and value in _FUNCTIONS:
        return Prior(value)
    if isinstance(value, (str, Path)) and Path(value).is_file():
        value = read_table(value)
    if not hasattr(value, "colnames"):
        msg = f"prior must be one of {', '.join(PRIORS)} or a table, got {value!r}"
        raise (ValueError if isinstance(value, (str, Path)) else TypeError)(msg)
    need_columns(value, ("mass", "number"), "prior")
    mass = u.Quantity(value["mass"], value["mass"].unit or u.solMass)
    mass, number = solar_masses(mass, "prior: mass"), np.asarray(value["number"], float)
    fits = (np.diff(mass, prepend=0) > 0).all() and (number >= 0).all() and number.any()
    if len(mass) < 2 or not fits or not np.isfinite([mass, number]).all():
        msg = (
            "prior must have at least two masses that are positive and increase, and numbers of at "
            f"least zero, one above it; got the masses {mass} and the numbers {number}"
        )
        raise ValueError(msg)
    return Prior("table", np.log10(mass), number)


def importance(prior, log_mass, protostars, represents=None):
    """Return the weights that make the reference masses follow a prior."""
    own = protostar_weights(protostars, 1, represents)
    own = own / own.sum()
    mean = own @ log_mass
    spread = max(np.sqrt(own @ (log_mass - mean) ** 2), 1e-3)
    width = 1.06 * spread * len(np.unique(protostars)) ** -0.2
    grid = np.linspace(log_mass.min(), log_mass.max(), 256)
    kernel = np.exp(-((grid[:, None] - log_mass) ** 2) / (2 * width**2))
    density = np.interp(log_mass, grid, kernel @ own)
    weights = prior(log_mass) / density
    if not (own @ weights) > 0:
        msg = "prior must have protostars where the reference masses are, and has none there"
        raise ValueError(msg)
    return np.clip(weights / (own @ weights), 1 / _LARGEST, _LARGEST)
