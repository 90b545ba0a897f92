"""The benchmark: scores on clouds that a method has not seen, beside simpler methods."""

from astrofractal.benchmark.degradations import DEGRADATIONS, Degradation
from astrofractal.benchmark.encoded import FeatureStore
from astrofractal.benchmark.methods import Method, list_methods
from astrofractal.benchmark.run import COLUMNS, PARTS, Journal, read_predictions, run_benchmark
from astrofractal.benchmark.scorer import PROTOCOLS, Prediction, Protocol, Scorer, make_protocol
from astrofractal.benchmark.scores import Bootstrap, mass_range_scores, paired_rows, score

__all__ = [
    "COLUMNS",
    "DEGRADATIONS",
    "PARTS",
    "PROTOCOLS",
    "Bootstrap",
    "Degradation",
    "FeatureStore",
    "Journal",
    "Method",
    "Prediction",
    "Protocol",
    "Scorer",
    "list_methods",
    "make_protocol",
    "mass_range_scores",
    "paired_rows",
    "read_predictions",
    "run_benchmark",
    "score",
]
