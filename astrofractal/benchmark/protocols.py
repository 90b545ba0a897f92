"""Protocols: which maps calibrate and which test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from astrofractal._utils.validation import one_of

if TYPE_CHECKING:
    from astrofractal.mapset import MapSet


__all__ = ["PROTOCOLS", "Protocol", "make_protocol"]

#: The protocols; the first one is the headline.
PROTOCOLS = ("leave-cloud-out", "random")


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
        The unit that hyperparameters are chosen and intervals are calibrated over.
    """

    name: str
    splits: list
    groups: np.ndarray


def make_protocol(name: str, maps: MapSet, *, random_state: int = 0) -> Protocol:
    """
    Make the splits of a protocol.

    Parameters
    ----------
    name : str
        ``"leave-cloud-out"``: each cloud in turn.  ``"random"``: a quarter of the maps at random
        tests, the published split; maps of one protostar at neighboring times are near-copies, and
        stand on both sides.

    maps : `~astrofractal.mapset.MapSet`
        The labeled maps.

    random_state : int, optional
        The seed of the random split.

    Returns
    -------
    protocol : `Protocol`
        The splits.

    Raises
    ------
    ValueError
        If the name is unknown, or the maps are of one cloud, which cannot be left out.
    """
    one_of("protocol", name, PROTOCOLS)
    if name == "random":
        order = np.random.default_rng(random_state).permutation(len(maps))
        n_test = max(1, len(maps) // 4)
        splits = [(np.sort(order[n_test:]), np.sort(order[:n_test]))]
        return Protocol(name, splits, np.arange(len(maps)) % 8)
    clouds = np.unique(maps.clouds)
    if len(clouds) < 2:
        msg = f"protocol {name!r} needs at least two clouds, the maps have one"
        raise ValueError(msg)
    splits = [(np.flatnonzero(maps.clouds != c), np.flatnonzero(maps.clouds == c)) for c in clouds]
    return Protocol(name, splits, maps.clouds)
