"""Prediction: a batch of standard maps in; masses, scores and flags out."""

import numpy as np

from astrofractal._utils.warn import warn
from astrofractal.gasmap.gas_moments import CHANNELS
from astrofractal.mass.appearance import appearance
from astrofractal.mass.calibration import NoSkillWarning
from astrofractal.mass.features import (
    ENOUGH_KNOWN,
    LEAST_KNOWN,
    channels_of,
    keep_channels,
    known_parts,
)

__all__ = ["evaluate_batch", "warn_of_doubts"]


def evaluate_batch(images, flags, result, *, calibrations, encoder, ood_threshold):
    """
    Predict masses and append them to a result.

    Parameters
    ----------
    images : 4D `~numpy.ndarray`, shape (n_maps, 3, ny, nx)
        The model's channels.

    flags : list of list of str
        The flags that the maps have already.

    result : `~astrofractal.mass.Evaluation`
        What is appended to.

    calibrations : dict
        The `~astrofractal.mass.Calibration` of each combination of channels.

    encoder : `~astrofractal.FractalEncoder` or None
        For features that need it.

    ood_threshold : float
        Scores above it are out of distribution.
    """
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
    """
    Warn of masses that are worth little.

    Parameters
    ----------
    result : `~astrofractal.mass.Evaluation`
        The masses.

    size : `~astropy.units.Quantity`
        The width of a standard map.
    """
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
