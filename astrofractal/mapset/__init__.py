"""Labeled maps around protostars: in memory, on disk, and the set that the package ships."""

from astrofractal.mapset.mapset import MapSet, reference_maps

__all__ = ["MapSet", "reference_maps"]
