"""Simulated maps with known masses: how they are made from snapshots, and sets of them on disk."""

from astrofractal.simulations.labeled_maps import map_set, sink_maps
from astrofractal.simulations.projection import line_of_sight_basis, project, thermal_dispersion
from astrofractal.simulations.readers import find_snapshots, read_snapshot
from astrofractal.simulations.snapshot import Snapshot

__all__ = [
    "Snapshot",
    "find_snapshots",
    "line_of_sight_basis",
    "map_set",
    "project",
    "read_snapshot",
    "sink_maps",
    "thermal_dispersion",
]
