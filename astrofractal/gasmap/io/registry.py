"""What a reader finds: the parts that a `GasMap` is made of."""

import reprlib
from dataclasses import dataclass, field

__all__ = ["MapParts", "refuse_unused"]


@dataclass
class MapParts:
    """
    The parts of a map, as read.

    Parameters
    ----------
    channels : dict
        The `~astrofractal.gasmap.channel.Channel` of each name in
        `~astrofractal.gasmap.moments.CHANNELS` that there is.

    wcs, distance, beam, pixel_scale, mask : optional
        As `~astrofractal.GasMap` takes them.

    rest_frequency : `~astropy.units.Quantity`, optional
        Rest frequency of the line that a map was made of.

    meta : dict
        Anything else.
    """

    channels: dict
    wcs: object = None
    distance: object = None
    beam: object = None
    pixel_scale: object = None
    mask: object = None
    rest_frequency: object = None
    meta: dict = field(default_factory=dict)


def refuse_unused(source, options):
    """Refuse options that a source cannot use."""
    given = [
        f"{name}={reprlib.repr(value)}"
        for name, value in options.items()
        if value is not None and value is not False
    ]
    if given:
        msg = f"{source} cannot use {', '.join(given)}: leave it out"
        raise ValueError(msg)
