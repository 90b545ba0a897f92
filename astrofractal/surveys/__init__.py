"""Surveys: many maps, or maps larger than memory, on one machine or many."""

from astrofractal.surveys.catalog import survey_catalog
from astrofractal.surveys.lazymap import LazyMap, Tile, write_zarr
from astrofractal.surveys.segment import survey_segment

__all__ = ["LazyMap", "Tile", "survey_catalog", "survey_segment", "write_zarr"]
