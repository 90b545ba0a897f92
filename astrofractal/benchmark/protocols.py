"""Protocols: which maps calibrate and which test."""

from dataclasses import dataclass

import numpy as np

from astrofractal._utils.validation import one_of
from astrofractal.mass.validation import grouped_folds

__all__ = ["PROTOCOLS", "Protocol", "make_protocol"]

#: The protocols; the last one is the headline.
PROTOCOLS = ("random", "leave-sinks-out", "leave-cloud-out")


@dataclass(frozen=True)
class Protocol:
    """
    Splits of a set of maps.

    Parameters
    ----------
    name : str
        One of ``PROTOCOLS``.

    splits : list of tuple of `~numpy.ndarray`
        Indices of the maps that calibrate and of those that test.

    groups : `~numpy.ndarray`
        The unit that the protocol holds out: intervals are calibrated by leaving it out.

    resampled : `~numpy.ndarray`
        The unit over which the scores are bootstrapped.
    """

    name: str
    splits: list
    groups: np.ndarray
    resampled: np.ndarray


def make_protocol(name, maps, *, random_state=0):
    """
    Make the splits of a protocol.

    Parameters
    ----------
    name : str
        ``"random"``: a quarter of the maps at random tests, the published split; maps of one
        protostar at neighboring times are near-copies, and stand on both sides.
        ``"leave-sinks-out"``: four folds of protostars.  ``"leave-cloud-out"``: each cloud in turn.

    maps : `~astrofractal.mapset.MapSet`
        The labeled maps.

    random_state : int, optional
        The seed.

    Returns
    -------
    protocol : `Protocol`
        The splits.

    Raises
    ------
    ValueError
        If the name is unknown or the maps do not allow the protocol.
    """
    one_of("protocol", name, PROTOCOLS)
    everything = np.arange(len(maps))
    generator = np.random.default_rng(random_state)
    if name == "random":
        order = generator.permutation(len(maps))
        n_test = max(1, len(maps) // 4)
        splits = [(np.sort(order[n_test:]), np.sort(order[:n_test]))]
        return Protocol(name, splits, everything, maps.sinks)
    if name == "leave-sinks-out":
        sinks = np.unique(maps.sinks)
        fold_of = dict(zip(generator.permutation(sinks).tolist(), everything % 4))
        folds = np.array([fold_of[sink] for sink in maps.sinks.tolist()])
        units = maps.sinks
    else:
        folds = grouped_folds(maps.clouds)
        units = maps.clouds
    if folds.max() < 1:
        msg = f"protocol {name!r} needs at least two {name.split('-')[1]}s, the maps have one"
        raise ValueError(msg)
    splits = [(everything[folds != f], everything[folds == f]) for f in np.unique(folds)]
    return Protocol(name, splits, units, units)
