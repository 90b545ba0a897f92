"""The benchmark: scores on clouds that a method has not seen, beside simpler methods."""

from astrofractal.benchmark.protocols import PROTOCOLS, Protocol, make_protocol
from astrofractal.benchmark.run import COLUMNS, Benchmark, run_benchmark
from astrofractal.benchmark.scoring import mass_range_scores, score

__all__ = [
    "COLUMNS",
    "PROTOCOLS",
    "Benchmark",
    "Protocol",
    "make_protocol",
    "mass_range_scores",
    "run_benchmark",
    "score",
]
