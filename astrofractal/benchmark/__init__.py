"""The benchmark: scores on clouds that a method has not seen, next to simpler methods."""

from astrofractal.benchmark.encoded import FeatureStore, encoder_makers
from astrofractal.benchmark.methods import (
    HAND_MADE,
    HAND_MADE_FEATURES,
    Method,
    default_method,
    list_methods,
)
from astrofractal.benchmark.paper import run_paper
from astrofractal.benchmark.run import placed, read_predictions, row_numbers, run_benchmark
from astrofractal.benchmark.scorer import Scorer, make_protocol
from astrofractal.benchmark.scores import Bootstrap, paired_rows
from astrofractal.benchmark.studies import off_center

__all__ = [
    "HAND_MADE",
    "HAND_MADE_FEATURES",
    "Bootstrap",
    "FeatureStore",
    "Method",
    "Scorer",
    "default_method",
    "encoder_makers",
    "list_methods",
    "make_protocol",
    "off_center",
    "paired_rows",
    "placed",
    "read_predictions",
    "row_numbers",
    "run_benchmark",
    "run_paper",
]
