"""`Evaluation`: everything that is known about the masses of several maps, and their table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.table import QTable

from astrofractal._utils.validation import one_of, warn
from astrofractal.catalogs.columns import channel_code, check_level, describe, measured
from astrofractal.catalogs.combination import COMMON_ERROR, FUNCTIONS, combine_estimates
from astrofractal.gasmap.moments import (
    CHANNELS,
    ENOUGH_KNOWN,
    LEAST_KNOWN,
    channels_of,
    keep_channels,
    known_parts,
)
from astrofractal.mass.calibration import MIN_R2, NoSkillWarning
from astrofractal.mass.measures import appearance

__all__ = ["Evaluation", "evaluate_batch", "warn_of_doubts"]

if TYPE_CHECKING:
    from typing import Any, Literal

    from numpy.typing import ArrayLike

    from astrofractal.mass.calibration import Calibration

#: The level of the intervals that estimates are weighed by.
_COMBINED_LEVEL = 0.68


class Evaluation:
    """
    The predictions for several maps.

    Attributes
    ----------
    log_mass : 1D `~numpy.ndarray`
        log10 of the masses in solar masses.

    difficulty : 1D `~numpy.ndarray`
        The widths of the intervals relative to the others.

    ood_score : 1D `~numpy.ndarray`
        See `StellarMassEstimator.ood_score`.

    velocity_known : 1D `~numpy.ndarray`
        The part of the column density's pixels in which velocity and dispersion are known: the
        smaller one where a map has both, 0 where it has none.

    flags : list of list of str
        The flags of each map.

    calibrations : list of `~astrofractal.mass.Calibration`
        The one that was used for each map; `None` where there was nothing to estimate.

    n_maps : 1D `~numpy.ndarray` or None
        After `combine`: the number of maps in each entry.
    """

    def __init__(self) -> None:
        self.log_mass = self.difficulty = self.ood_score = self.velocity_known = np.empty(0)
        self.flags = []
        self.calibrations = []
        self.n_maps = None

    def __len__(self) -> int:
        return len(self.log_mass)

    def extend(
        self,
        log_mass: ArrayLike,
        difficulty: ArrayLike,
        ood_score: ArrayLike,
        velocity_known: ArrayLike,
        flags: list[str],
        calibrations: list[Calibration],
    ) -> None:
        """Append more maps."""
        self.log_mass = np.append(self.log_mass, log_mass)
        self.difficulty = np.append(self.difficulty, difficulty)
        self.ood_score = np.append(self.ood_score, ood_score)
        self.velocity_known = np.append(self.velocity_known, velocity_known)
        self.flags += flags
        self.calibrations += calibrations

    def _numbers(self):
        return np.array([self.log_mass, self.difficulty, self.ood_score, self.velocity_known])

    @property
    def without_skill(self) -> dict[str, float]:
        """
        The channels whose masses have no skill, and their leave-cloud-out R2 (`dict`).

        It is that per map, or that per protostar where this alone is too low.
        """
        found = {}
        for calibration in self.calibrations:
            if calibration and not calibration.has_skill:
                skill = calibration.skill_
                kind = "r2" if skill["r2"] < MIN_R2 else "r2_protostar"
                found[" + ".join(calibration.channels)] = skill[kind]
        return {name: found[name] for name in sorted(found, key=len)}

    def half_width(self, level: float) -> np.ndarray:
        """
        Return half the widths of the intervals.

        Parameters
        ----------
        level : float
            The probability.

        Returns
        -------
        half_width : 1D `~numpy.ndarray`
            In dex.
        """
        check_level(level)
        result = np.full(len(self), np.nan)
        for calibration in {id(c): c for c in self.calibrations if c}.values():
            rows = np.array([c is calibration for c in self.calibrations])
            result[rows] = calibration.half_width(level, self.difficulty[rows])
        return result

    def combine(
        self,
        function: Literal["weighted", "median", "mean"],
        groups: ArrayLike | None = None,
        *,
        correlation: float = COMMON_ERROR,
    ) -> Evaluation:
        """
        Combine the maps of each protostar (lines, epochs or lines of sight).

        Several maps of one protostar share most of their error, and the interval of the combination
        knows it: see `~astrofractal.catalogs.combine_estimates`.

        Parameters
        ----------
        function : {"weighted", "median", "mean"}
            Applied to log10 masses; "weighted" is the mean with weights in inverse proportion to the
            intervals.

        groups : array-like, optional
            Which protostar each map shows; by default all maps show one.

        correlation : float, optional
            That of the errors of two maps of one protostar, from 0 to 1.

        Returns
        -------
        combined : `Evaluation`
            One entry per group, in the order of their first appearance, with the flags of all its
            maps and the largest score.

        Raises
        ------
        ValueError
            If the function is unknown or there is not one group per map.
        """
        if function is None:
            msg = "groups need combine='weighted', 'median' or 'mean', got combine=None"
            raise ValueError(msg)
        one_of("combine", function, FUNCTIONS)
        groups = np.zeros(len(self)) if groups is None else np.asarray(groups)
        if len(groups) != len(self):
            msg = f"groups must have one entry per map, got {len(groups)} for {len(self)} maps"
            raise ValueError(msg)
        half = self.half_width(_COMBINED_LEVEL)
        new, counts = Evaluation(), []
        for group in dict.fromkeys(groups.tolist()):
            rows = np.flatnonzero(groups == group)
            mass, width, weights = combine_estimates(
                self.log_mass[rows], half[rows], function, correlation=correlation
            )
            flags = list(dict.fromkeys(flag for row in rows for flag in self.flags[row]))
            # Of maps with different channels, named is that of the least certain one.
            worst = min((self.calibrations[row] for row in rows), key=lambda c: c.skill_["r2"])
            new.extend(
                mass,
                width / worst.half_width(_COMBINED_LEVEL, 1.0),
                self.ood_score[rows].max(),
                weights @ self.velocity_known[rows],
                [flags],
                [worst],
            )
            counts.append(len(rows))
        new.n_maps = np.array(counts)
        return new

    def expand(self, rows: list[int], others: dict[int, str]) -> Evaluation:
        """
        Put the entries on their rows of a longer list, beside those that have no mass.

        Parameters
        ----------
        rows : list of int
            The row of each entry.

        others : dict
            The flag of each of the other rows.

        Returns
        -------
        expanded : `Evaluation`
            Of ``len(rows) + len(others)`` entries, without a number on the other rows.
        """
        new = Evaluation()
        n = len(rows) + len(others)
        place = dict(zip(rows, range(n)))
        numbers = np.full((4, n), np.nan)
        numbers[:, rows] = self._numbers()
        flags = [self.flags[place[i]] if i in place else [others[i]] for i in range(n)]
        used = [self.calibrations[place[i]] if i in place else None for i in range(n)]
        new.extend(*numbers, flags, used)
        return new

    def to_table(self, *, level: float = 0.68, meta: dict[str, Any] | None = None) -> QTable:
        """
        Return the masses as a table.

        Parameters
        ----------
        level : float, optional
            The probability of the intervals.

        meta : dict, optional
            What the masses come from: `StellarMassEstimator.meta`.

        Returns
        -------
        table : `~astropy.table.QTable`
            ``n_maps`` (of combinations), ``mass``, ``mass_lower``, ``mass_upper``, ``ood_score``,
            ``velocity_known``, ``channels``, ``flags``; masked where there is no mass.
            ``meta["end_bias"]`` tells the predicted less the true log10 mass in the thirds of true
            masses (dex), as measured on the reference maps.
        """
        half = self.half_width(level)
        table = QTable()
        if self.n_maps is not None:
            table["n_maps"] = self.n_maps
        known = np.array([c is not None for c in self.calibrations], bool)
        ends = {"mass": 0, "mass_lower": -half, "mass_upper": half}
        for name, offset in ends.items():
            table[name] = measured(10 ** (self.log_mass + offset) * u.solMass, known)
        for name in ("ood_score", "velocity_known"):
            table[name] = measured(getattr(self, name), known)
        codes = [channel_code(c.channels) if c else "" for c in self.calibrations]
        table["channels"] = _strings(codes)
        table["flags"] = _strings([",".join(flags) for flags in self.flags])
        table.meta.update(meta or {}, level=level)
        biases = {
            channel_code(c.channels): ", ".join(f"{bias:+.2f}" for bias in c.end_bias)
            for c in self.calibrations
            if c
        }
        if biases:
            table.meta["end_bias"] = "; ".join(f"{code}: {text}" for code, text in biases.items())
        lacking = [f"{c} (leave-cloud-out R2 {r2:.2f})" for c, r2 in self.without_skill.items()]
        if lacking:
            table.meta["no_skill"] = ", ".join(lacking)
        return describe(table, level)


def _strings(values):
    return np.array(values, dtype=f"U{max([1, *map(len, values)])}")


def evaluate_batch(images, flags, result, *, calibrations, encoder, ood_threshold):
    """Predict masses and append them to a result."""
    # images (n_maps, 3, ny, nx)
    n = len(images)
    used = [_best(calibrations, found) for found in channels_of(images)]
    known = known_parts(images)[:, 1:]
    # Of velocity and dispersion, where there are both, the one that is known in fewer pixels.
    velocity_known = np.where(known > 0, known, np.inf).min(1)
    unknown = ["sparse-velocity" in own for own in flags]  # in the cutout, although on the map
    velocity_known[np.isinf(velocity_known) | unknown] = 0
    log_mass, difficulty, ood = np.empty(n), np.empty(n), np.empty(n)
    in_range = np.empty(n, bool)
    for calibration in {c.channels: c for c in used}.values():
        rows = np.array([c is calibration for c in used])
        chosen = images if rows.all() else images[rows]
        features, channels = calibration.features, calibration.channels
        X, _ = features.compute(chosen, channels, encoder=encoder)
        log_mass[rows], difficulty[rows], ood[rows] = calibration.evaluate(
            X, appearance(keep_channels(chosen, channels))
        )
        low, high = calibration.mass_range
        in_range[rows] = (low <= log_mass[rows]) & (log_mass[rows] <= high)
    flags = [list(own) for own in flags]
    for i, calibration in enumerate(used):
        if 0 < velocity_known[i] < ENOUGH_KNOWN and "sparse-velocity" not in flags[i]:
            flags[i].append("sparse-velocity")
        if ood[i] > ood_threshold:
            flags[i].append("ood")
        if not in_range[i]:
            flags[i].append("extrapolated")
        flags[i] += [f"no-{name}" for name in CHANNELS if name not in calibration.channels]
        if not calibration.has_skill:
            flags[i].append("no-skill")
    result.extend(log_mass, difficulty, ood, velocity_known, flags, used)


def _best(calibrations, channels):
    """Return the calibration for maps that have ``channels``: the one that uses the most."""
    usable = [c for c in calibrations if set(c) <= set(channels)]
    if not usable:
        msg = f"no calibration is for maps with the channels {', '.join(channels)}"
        raise ValueError(msg)
    return calibrations[max(usable, key=len)]


def warn_of_doubts(result, size):
    """Warn of masses that are worth little."""
    for channels, r2 in result.without_skill.items():
        msg = (
            f"masses from {channels} alone have no skill on a cloud that the calibration has "
            f"not seen (leave-cloud-out R2 = {r2:.2f}): they are little more than the mean of "
            "the reference masses; see their intervals"
        )
        warn(msg, NoSkillWarning)
    sparse = np.array(["sparse-velocity" in flags for flags in result.flags], bool)
    if sparse.any():
        low, high = (100 * f(result.velocity_known[sparse]) for f in (np.min, np.max))
        part = f"{low:.2g} %" if low == high else f"{low:.2g} to {high:.2g} %"
        msg = (
            f"velocity or dispersion are known in {part} of the pixels of {sparse.sum()} of "
            f"{len(result)} maps: their masses are less certain, and what is known in "
            f"{100 * LEAST_KNOWN:g} % or less is not used at all"
        )
        warn(msg)
    small = np.isinf(result.ood_score).sum()
    if small:
        msg = (
            f"{small} of {len(result)} maps are smaller than a cutout of {size}, or blank "
            "about its center: there are no data beyond its central quarter, or none in it, and "
            "the mass is not to be trusted"
        )
        warn(msg)
