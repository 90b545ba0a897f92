"""`Evaluation`: everything that is known about the masses of several maps, and their table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable
from numpy.typing import ArrayLike

from astrofractal._utils.validation import warn
from astrofractal.catalogs.columns import channel_code, check_level, describe, measured
from astrofractal.catalogs.combination import COMMON_ERROR, combine_estimates
from astrofractal.flags import skill_flags
from astrofractal.gasmap import moments
from astrofractal.mass.calibration import Calibration, NoSkillWarning, log_solar
from astrofractal.mass.weights import LEVELS, scores

#: The level of the intervals that estimates are weighed by.
_COMBINED_LEVEL = 0.68

#: What an `Evaluation` holds as numbers, one for each map.
_NUMBERS = ("log_mass", "difficulty", "ood_score", "velocity_known")


@dataclass(eq=False, repr=False)
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
        How unlike the reference maps a map is: the larger of two scaled distances to the nearest of
        them, by features and by level, contrast and smoothness.  One in a hundred maps of a cloud
        left out exceeds 1, above which a map is out of distribution.
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

    log_mass: np.ndarray
    difficulty: np.ndarray
    ood_score: np.ndarray
    velocity_known: np.ndarray
    flags: list[list[str]]
    calibrations: list[Calibration | None]
    n_maps: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.log_mass)

    def __repr__(self):
        flags = [flag for own in self.flags for flag in own]
        counts = ", ".join(f"{flags.count(flag)} {flag}" for flag in dict.fromkeys(flags))
        return f"<Evaluation: {len(self)} masses; flags: {counts or 'none'}>"

    @classmethod
    def concatenate(cls, parts: Sequence[Evaluation]) -> Evaluation:
        """Return the entries of several evaluations, in order."""
        numbers = {
            name: np.concatenate([np.empty(0), *(getattr(part, name) for part in parts)])
            for name in _NUMBERS
        }
        flags = [own for part in parts for own in part.flags]
        used = [own for part in parts for own in part.calibrations]
        return cls(**numbers, flags=flags, calibrations=used)

    @property
    def without_skill(self) -> dict[str, float]:
        """The channels whose masses have no predictive power, and their R2 per protostar (dict)."""
        found = {}
        for calibration in filter(None, self.calibrations):
            r2 = calibration.skill_["r2_protostar"]
            if "no-skill" in skill_flags(r2):
                found[" + ".join(calibration.channels)] = r2
        return {name: found[name] for name in sorted(found, key=len)}

    def half_width(self, level: float) -> np.ndarray:
        """Return half the widths of the intervals of a probability, in dex."""
        check_level(level)
        result = np.full(len(self), np.nan)
        for calibration in {id(c): c for c in self.calibrations if c}.values():
            rows = np.array([c is calibration for c in self.calibrations])
            result[rows] = calibration.half_width(level, self.difficulty[rows])
        return result

    def interval(self, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends of the intervals of a probability, log10 masses cut at the reference range."""
        half = self.half_width(level)
        ranges = [c.mass_range if c else (np.nan, np.nan) for c in self.calibrations]
        low, high = np.array(ranges, float).reshape(len(self), 2).T
        return np.clip(self.log_mass - half, low, high), np.clip(self.log_mass + half, low, high)

    def scores(
        self,
        masses: u.Quantity,
        protostars: ArrayLike | None = None,
        represents: ArrayLike | None = None,
    ) -> dict[str, float]:
        """
        Compare the predictions with the true masses.

        Parameters
        ----------
        masses : `~astropy.units.Quantity`
            The true mass in each map.
        protostars, represents : array-like, optional
            As in a `~astrofractal.mapset.MapSet`; without ``protostars`` each map has its own.

        Returns
        -------
        scores : dict
            Per map ``r2``, ``rmse`` and ``mae`` (dex), and ``coverage_68`` and ``coverage_90``, the
            part of the masses within these intervals; the same but ``mae`` with ``_protostar``
            appended, in which each protostar has the same weight; ``n_maps`` and ``n_protostars``.
        """
        true = log_solar(masses)
        protostars = np.arange(len(self)) if protostars is None else np.asarray(protostars)
        for name, values in (("masses", true), ("protostars", protostars)):
            if len(values) != len(self):
                msg = f"{name} must have one entry per map, got {len(values)} for {len(self)}"
                raise ValueError(msg)
        held = {}
        for level in LEVELS:
            lower, upper = self.interval(level)
            held[level] = (lower <= true) & (true <= upper)
        return scores(true, self.log_mass, protostars, represents, held=held)

    def combine(
        self, protostars: ArrayLike | None = None, *, correlation: float = COMMON_ERROR
    ) -> Evaluation:
        """
        Combine the maps of each protostar (lines, epochs or lines of sight).

        See `~astrofractal.catalogs.combine`; the interval takes into account that several maps of one
        protostar share most of their error.

        Parameters
        ----------
        protostars : array-like, optional
            Which protostar each map shows; by default all maps show one.
        correlation : float, optional
            As `~astrofractal.catalogs.combine` takes it.

        Returns
        -------
        combined : `Evaluation`
            One entry per protostar, in the order of their first appearance, with the flags of all
            its maps and the largest score.
        """
        protostars = np.zeros(len(self)) if protostars is None else np.asarray(protostars)
        if len(protostars) != len(self):
            msg = f"protostars must have one entry per map, got {len(protostars)} for {len(self)}"
            raise ValueError(msg)
        half = self.half_width(_COMBINED_LEVEL)
        groups = [np.flatnonzero(protostars == p) for p in dict.fromkeys(protostars.tolist())]
        columns, flags = np.empty((len(_NUMBERS), len(groups))), []
        used: list[Calibration | None] = []
        for number, rows in enumerate(groups):
            mass, width, weights = combine_estimates(
                self.log_mass[rows], half[rows], correlation=correlation
            )
            # Of maps with different channels, named is that of the least certain one.
            own = [c for c in (self.calibrations[i] for i in rows) if c is not None]
            worst = min(own, key=lambda c: c.skill_["r2_protostar"])
            difficulty = width / worst.half_width(_COMBINED_LEVEL, 1.0)
            known = weights @ self.velocity_known[rows]
            columns[:, number] = mass, difficulty, self.ood_score[rows].max(), known
            flags.append(list(dict.fromkeys(flag for i in rows for flag in self.flags[i])))
            used.append(worst)
        n_maps = np.array([len(rows) for rows in groups])
        numbers = dict(zip(_NUMBERS, columns, strict=True))
        return Evaluation(**numbers, flags=flags, calibrations=used, n_maps=n_maps)

    def expand(self, rows: list[int], others: dict[int, str]) -> Evaluation:
        """Put the entries on their rows of a longer list, whose other rows have a flag each."""
        n = len(rows) + len(others)
        columns = np.full((len(_NUMBERS), n), np.nan)
        columns[:, rows] = [getattr(self, name) for name in _NUMBERS]
        flags = [[others[i]] if i in others else [] for i in range(n)]
        used: list[Calibration | None] = [None] * n
        for own, row in enumerate(rows):
            flags[row], used[row] = self.flags[own], self.calibrations[own]
        numbers = dict(zip(_NUMBERS, columns, strict=True))
        return Evaluation(**numbers, flags=flags, calibrations=used)

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
            ``meta["end_bias"]`` is the predicted less the true log10 mass in the thirds of true masses
            (dex), measured on the reference maps.
        """
        lower, upper = self.interval(level)
        table = QTable()
        if self.n_maps is not None:
            table["n_maps"] = self.n_maps
        known = np.array([c is not None for c in self.calibrations], bool)
        ends = {"mass": self.log_mass, "mass_lower": lower, "mass_upper": upper}
        for name, log_mass in ends.items():
            table[name] = measured(10**log_mass * u.solMass, known)
        for name in ("ood_score", "velocity_known"):
            table[name] = measured(getattr(self, name), known)
        codes = [channel_code(c.channels) if c else "" for c in self.calibrations]
        table["channels"] = np.array(codes, dtype=str)
        table["flags"] = np.array([",".join(flags) for flags in self.flags], dtype=str)
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


def evaluate_batch(images, flags, calibrations, encoder):
    """Predict the masses of some maps."""
    # images (n_maps, 3, ny, nx)
    n = len(images)
    used = [best_calibration(calibrations, found) for found in moments.channels_of(images)]
    known = moments.known_parts(images)[:, 1:]
    # Of velocity and dispersion, where there are both, the one that is known in fewer pixels.
    velocity_known = np.where(known > 0, known, np.inf).min(1)
    unknown = ["sparse-velocity" in own for own in flags]  # in the cutout, although on the map
    velocity_known[np.isinf(velocity_known) | unknown] = 0
    log_mass, difficulty, ood = np.empty(n), np.empty(n), np.empty(n)
    in_range = np.empty(n, bool)
    for calibration in {c.channels: c for c in used}.values():
        rows = np.array([c is calibration for c in used])
        chosen = images if rows.all() else images[rows]
        found = calibration.evaluate_images(chosen, encoder)
        log_mass[rows], difficulty[rows], ood[rows] = found
        low, high = calibration.mass_range
        half = calibration.half_width(_COMBINED_LEVEL, difficulty[rows])
        in_range[rows] = (low <= log_mass[rows] - half) & (log_mass[rows] + half <= high)
        log_mass[rows] = np.clip(log_mass[rows], low, high)
    flags = [list(own) for own in flags]
    for i, calibration in enumerate(used):
        if 0 < velocity_known[i] < moments.ENOUGH_KNOWN and "sparse-velocity" not in flags[i]:
            flags[i].append("sparse-velocity")
        if not (ood[i] <= 1 and np.isfinite(log_mass[i] + difficulty[i])):
            flags[i].append("unlike-references")
        if not in_range[i]:
            flags[i].append("extrapolated")
        flags[i] += [f"no-{name}" for name in moments.CHANNELS if name not in calibration.channels]
        flags[i] += skill_flags(calibration.skill_["r2_protostar"])
    return Evaluation(log_mass, difficulty, ood, velocity_known, flags, used)


def best_calibration(calibrations, channels):
    """Return the calibration for maps that have ``channels``: the one that uses the most."""
    usable = [c for c in calibrations if set(c) <= set(channels)]
    if not usable:
        msg = f"no calibration is for maps with the channels {', '.join(channels)}"
        raise ValueError(msg)
    return calibrations[max(usable, key=len)]


def warn_of_doubts(result):
    """Warn of masses that are worth little."""
    for channels, r2 in result.without_skill.items():
        lack = f"no predictive power on an unseen cloud (R2 = {r2:.2f} per protostar)"
        worth = "they are little more than the mean of the references"
        warn(f"masses from {channels} alone have {lack}: {worth}", NoSkillWarning)
    sparse = np.array(["sparse-velocity" in flags for flags in result.flags], bool)
    if sparse.any():
        low, high = (100 * f(result.velocity_known[sparse]) for f in (np.min, np.max))
        part = f"{low:.2g} %" if low == high else f"{low:.2g} to {high:.2g} %"
        where = f"{part} of the pixels of {sparse.sum()} of {len(result)} maps"
        unused = f"what is known in {100 * moments.LEAST_KNOWN:g} % or less is not used at all"
        warn(f"velocity or dispersion are known in {where}: masses are less certain, {unused}")
    small = np.isinf(result.ood_score).sum()
    if small:
        what = f"are smaller than a cutout of {moments.STANDARD_WIDTH}, or blank in or around its"
        warn(f"{small} of {len(result)} maps {what} center: their masses are not to be trusted")
