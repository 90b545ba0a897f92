"""The benchmark: scores on clouds that a method has not seen, next to simpler methods."""

from astrofractal.benchmark.encoded import FeatureStore
from astrofractal.benchmark.methods import Method, list_methods
from astrofractal.benchmark.scorer import Scorer, make_protocol
from astrofractal.benchmark.scores import Bootstrap, paired_rows
from astrofractal.benchmark.study import run_study

__all__ = [
    "Bootstrap",
    "FeatureStore",
    "Method",
    "Scorer",
    "list_methods",
    "make_protocol",
    "paired_rows",
    "run_study",
]
