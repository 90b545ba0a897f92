"""Simulated maps with known masses: sets of them on disk, and how they are made."""

from astrofractal.simulations.mapset import MapSet, reference_maps

__all__ = ["MapSet", "reference_maps"]
