"""The moments of gas, N, N v and N (sigma^2 + v^2), which add up as lines do in linear operators."""

from functools import partial

import numpy as np
from astropy import units as u

#: Names of the channels of a map, in the order in which the models see them.
CHANNELS = ("column_density", "velocity", "dispersion")

#: Unit in which each channel is kept.
CHANNEL_UNITS = dict(zip(CHANNELS, (u.cm**-2, u.km / u.s, u.km / u.s), strict=True))

#: Width and shape (ny, nx) of the maps that the models see.
STANDARD_WIDTH = 0.5 * u.pc

STANDARD_SHAPE = (64, 64)

#: A pixel is known where at least this part of its weight (of its gas) is known.
_KNOWN = 0.5

#: A channel is used where it is known in more than this part of the column density: with less, masses
#: are no better than without it (docs/research/studies.rst).
LEAST_KNOWN = 0.05

#: Below this part masses are worse than where all is known, and the map has a flag.
ENOUGH_KNOWN = 0.2

#: The combinations of channels that have their own calibration.
CHANNEL_SETS = (
    ("column_density",),
    ("column_density", "velocity"),
    ("column_density", "dispersion"),
    CHANNELS,
)


def channels_of(images):
    """Return which channels each map has."""
    # images (n_maps, 3, ny, nx) in pixels
    there = known_parts(images) > LEAST_KNOWN
    there[:, 0] = True
    return [tuple(name for name, has in zip(CHANNELS, row) if has) for row in there]


def known_parts(images):
    """Return in which part of each map the channels are known."""
    # images (n_maps, 3, ny, nx)
    good = np.isfinite(images)
    good &= good[:, :1]
    number = good.sum((2, 3))
    return number / np.maximum(number[:, :1], 1)


def keep_channels(images, channels):
    """Blank the channels that are not wanted."""
    # images (n_maps, 3, ny, nx)
    absent = [i for i, name in enumerate(CHANNELS) if name not in channels]
    if absent:
        images = np.array(images)
        images[:, absent] = np.nan
    return images


def transform(column, velocity, dispersion, operator, *, full=None):
    """Return the channels of a map of which all lines have gone through a linear operator."""
    # A pixel of the result is NaN where less than half of ``full`` is known, a velocity or dispersion
    # where less than half of the gas has one; gas without a velocity counts as at the mean.
    # column, velocity, dispersion (..., ny, nx), NaN where unknown; the latter two may be None
    # operator: from (n_planes, ..., ny, nx) to (n_planes, ..., my, mx), without negative weights
    # full: what it returns for ones in a whole pixel; by default for the pixels within the border
    known = np.isfinite(column)
    total = np.sum(column, axis=(-2, -1), keepdims=True, where=known)
    number = known.sum(axis=(-2, -1), keepdims=True)
    scale = np.where(total > 0, total / np.maximum(number, 1), 1)
    gas = np.where(known, column / scale, 0)  # about 1, so that nothing overflows
    planes = {"known": known.astype(np.float64), "gas": gas}
    complete = bool(known.all())
    if full is None and not complete:
        planes["full"] = np.ones_like(gas)
    moving = wide = offset = None
    if velocity is not None:
        moving = known & np.isfinite(velocity)
        offset = mean_velocity(velocity, column)
        v = np.where(moving, velocity - offset, 0)
        planes |= {"momentum": gas * v, "square": gas * v**2}
        if not (moving == known).all():
            planes["moving"] = gas * moving
    if dispersion is not None:
        wide = known & np.isfinite(dispersion)
        planes["inner"] = gas * np.where(wide, dispersion, 0) ** 2
        if not (wide == known).all():
            planes["wide"] = gas * wide
    planes = dict(zip(planes, operator(np.stack(list(planes.values()))), strict=True))
    if full is None:
        full = planes.get("full", planes["known"])
    gas = planes["gas"]
    variance = 0.0
    with np.errstate(invalid="ignore", divide="ignore"):
        good = (planes["known"] > 0) & (planes["known"] >= _KNOWN * full)
        column = np.where(good, gas / planes["known"], np.nan) * scale
        if velocity is not None:
            part = planes.get("moving", gas)
            mean, variance = line_of_sums(part, planes["momentum"], planes["square"])
            velocity = np.where(good & (part >= _KNOWN * gas), mean + offset, np.nan)
            variance = np.where(part > 0, variance, 0)
        if dispersion is not None:
            part = planes.get("wide", gas)
            square = planes["inner"] / part + variance
            enough = good & (part > 0) & (part >= _KNOWN * gas)
            dispersion = np.where(enough, np.sqrt(np.maximum(square, 0)), np.nan)
    return column, velocity, dispersion


def transform_errors(channels, errors, moved, operator, *, squares=None, independent=1.0):
    """Return the standard deviations of the channels that `transform` returned, to first order."""
    # channels, errors, moved: column density, velocity, dispersion, each 2D or None
    # squares: the operator of variances, by default that of values, for means of ``independent`` pixels
    if all(error is None for error in errors):
        return list(errors)
    column, velocity, dispersion = channels
    known = np.isfinite(column)
    scale = column[known].mean() if known.any() else 1.0
    gas = np.where(known, column / scale, 0)
    v, new_v, s, new_s = (np.zeros(()),) * 4
    if velocity is not None:
        center = mean_velocity(velocity, column)
        v, new_v = (np.nan_to_num(one - center) for one in (velocity, moved[1]))
    if dispersion is not None:
        s, new_s = np.nan_to_num(dispersion), moved[2]
    # the variances of N / scale, v and sigma^2, in which (v - new_v) is expanded
    variances = [np.zeros(()), np.zeros(()), np.zeros(())]
    with np.errstate(invalid="ignore", divide="ignore"):
        if errors[0] is not None:
            e, q = (errors[0] / scale) ** 2, s**2 + v**2
            good = known & np.isfinite(e)
            terms = (e, e * v, e * v**2, e * q, e * q * v, e * q**2, gas)
            a, av, av2, aq, aqv, aq2, mean = _means(operator, squares, good, terms)
            c = new_v**2 - new_s**2
            variances[0] = a
            variances[1] = (av2 - 2 * new_v * av + new_v**2 * a) / mean**2
            square = aq2 + 4 * new_v**2 * av2 + c**2 * a
            variances[2] = (square - 4 * new_v * (aqv + c * av) + 2 * c * aq) / mean**2
        if errors[1] is not None:
            e = (gas * errors[1]) ** 2
            good = known & np.isfinite(e) & np.isfinite(velocity)
            a, av, av2, mean = _means(operator, squares, good, (e, e * v, e * v**2, gas))
            variances[1] = variances[1] + a / mean**2
            variances[2] = variances[2] + 4 * (av2 - 2 * new_v * av + new_v**2 * a) / mean**2
        if errors[2] is not None:
            e = (gas * s * errors[2]) ** 2
            good = known & np.isfinite(e) & np.isfinite(dispersion)
            a, mean = _means(operator, squares, good, (e, gas))
            variances[2] = np.where(new_s > 0, variances[2] + 4 * a / mean**2, np.nan)
        found = [np.sqrt(np.maximum(variance, 0) / independent) for variance in variances]
        found = [found[0] * scale, found[1], found[2] / (2 * new_s)]
    return [
        None if error is None else np.where(np.isfinite(new), one, np.nan)
        for error, new, one in zip(errors, moved, found, strict=True)
    ]


def _means(operator, squares, good, terms):
    """Return the means of variances, and of the gas, over the pixels that are good."""
    planes = np.stack([np.where(good, term, 0) for term in (*terms, 1.0)])
    *sums, gas, weight = operator(planes)
    means = [np.where(weight > 0, one / weight, np.nan) for one in (*sums, gas)]
    if squares is not None:
        *sums, weight = squares(np.delete(planes, -2, axis=0))
        means[:-1] = [np.where(weight > 0, one / weight, np.nan) for one in sums]
    return means


def line_of_sums(total, momentum, square, *, rounding=1e-12):
    """Return mean and variance of lines of which the sums of N, N v and N v^2 are given."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mean, mean_square = momentum / total, square / total
        variance = mean_square - mean**2
    return mean, np.where(variance < rounding * mean_square, 0, variance)


def mean_velocity(velocity, column, operator=None):
    """Return the mean velocity of maps, weighted by column density."""
    # velocity, column (..., ny, nx)
    if operator is None:
        operator = partial(np.sum, axis=(-2, -1), keepdims=True)
    known = np.isfinite(column) & np.isfinite(velocity)
    weight = np.where(known, column, 0)
    total = operator(weight)
    product = operator(weight * np.where(known, velocity, 0))
    return np.where(total > 0, product / np.where(total > 0, total, 1), 0)
