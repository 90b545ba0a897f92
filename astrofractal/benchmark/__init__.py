"""The benchmark: scores on clouds that a method has not seen, beside simpler methods."""

from astrofractal.benchmark.encoded import FeatureStore
from astrofractal.benchmark.methods import Method, list_methods
from astrofractal.benchmark.paper import run_paper
from astrofractal.benchmark.run import COLUMNS, PARTS, Journal, read_predictions, run_benchmark
from astrofractal.benchmark.scorer import PROTOCOLS, Prediction, Protocol, Scorer, make_protocol
from astrofractal.benchmark.scores import Bootstrap, mass_range_scores, paired_rows, score
from astrofractal.benchmark.studies import DEGRADATIONS, degraded, off_center

__all__ = [
    "COLUMNS",
    "DEGRADATIONS",
    "PARTS",
    "PROTOCOLS",
    "Bootstrap",
    "FeatureStore",
    "Journal",
    "Method",
    "Prediction",
    "Protocol",
    "Scorer",
    "degraded",
    "list_methods",
    "make_protocol",
    "mass_range_scores",
    "off_center",
    "paired_rows",
    "read_predictions",
    "run_benchmark",
    "run_paper",
    "score",
]
