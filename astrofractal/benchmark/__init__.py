"""The benchmark: scores on clouds that a method has not seen, next to simpler methods."""

from astrofractal.benchmark.encoded import FeatureStore
from astrofractal.benchmark.methods import Method, list_methods
from astrofractal.benchmark.paper import run_paper
from astrofractal.benchmark.run import placed, run_benchmark
from astrofractal.benchmark.scorer import Scorer, make_protocol
from astrofractal.benchmark.scores import Bootstrap, paired_rows
from astrofractal.benchmark.studies import off_center

__all__ = [
    "Bootstrap",
    "FeatureStore",
    "Method",
    "Scorer",
    "list_methods",
    "make_protocol",
    "off_center",
    "paired_rows",
    "placed",
    "run_benchmark",
    "run_paper",
]
