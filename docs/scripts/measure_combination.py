"""Measure how much several maps of one protostar improve its mass, with whole clouds held out.

    python docs/scripts/measure_combination.py ../shared/data/mhd --features-cache runs/store

calibrates the default of all channels without each cloud in turn, predicts its maps, and prints the
correlation of the errors of two maps of one protostar; R2, coverage and width of the intervals for
one line of sight and for three combined. Protostars have equal weights, but for "per map".
"""

import argparse

import numpy as np
from sklearn.metrics import r2_score

from astrofractal.benchmark import (
    FeatureStore,
    Scorer,
    default_method,
    encoder_makers,
    make_protocol,
)
from astrofractal.catalogs.combination import COMMON_ERROR, combine_estimates
from astrofractal.gasmap.moments import CHANNELS
from astrofractal.mapset import MapSet
from astrofractal.mass.weights import protostar_weights


def groups_of(*names):
    """Return the rows of each group that shares all names."""
    keys = list(zip(*names, strict=True))
    groups = {}
    for row, key in enumerate(keys):
        groups.setdefault(key, []).append(row)
    return [np.array(rows) for rows in groups.values()]


def correlation(errors, pairs, sinks):
    """Return the correlation of the errors of pairs, each protostar with equal weight."""
    one, other = np.transpose(pairs)
    weights = protostar_weights(sinks[one], 1)
    product = np.average(errors[one] * errors[other], weights=weights)
    return product / np.average((errors[one] ** 2 + errors[other] ** 2) / 2, weights=weights)


def report(name, true, mass, halves, sinks):
    """Print scores and coverage of some estimates."""
    weights = protostar_weights(sinks, 1)
    held = [np.average(np.abs(mass - true) <= half, weights=weights) for half in halves]
    bias, width = (np.average(values, weights=weights) for values in (mass - true, halves[0]))
    print(
        f"{name}: R2 {r2_score(true, mass, sample_weight=weights):.3f} per protostar, "
        f"{r2_score(true, mass):.3f} per map; held {held[0]:.3f} and {held[1]:.3f}; "
        f"bias {bias:+.2f} dex; half of the 68 % interval {width:.3f} dex"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("maps", help="a map set, or a folder of them, with several clouds")
    parser.add_argument("--features-cache", metavar="DIR")
    parser.add_argument("--per-protostar", type=int, default=4, metavar="N")
    args = parser.parse_args()
    maps = MapSet.read(args.maps)
    store = FeatureStore(encoder_makers("bundled"), folder=args.features_cache, progress_bar=True)
    method = default_method(store, CHANNELS)
    scorer = Scorer(maps, store, n_per_protostar=args.per_protostar)
    found = scorer.evaluate(method, make_protocol("leave-cloud-out", maps), intervals=True)
    true, mass, sinks = maps.log_masses, found.log_mass, maps.protostars
    error = mass - true
    looks = [rows for rows in groups_of(sinks, maps.times.value) if len(rows) == 3]
    paths = [rows[np.argsort(maps.times.value[rows])] for rows in groups_of(sinks, maps.axes)]
    views = [(a, b) for rows in looks for a, b in zip(rows, np.roll(rows, 1), strict=True)]
    steps = [pair for rows in paths for pair in zip(rows[:-1], rows[1:], strict=True)]
    for what, pairs in (("two lines of sight", views), ("two times in a row", steps)):
        scaled, plain = (correlation(e, pairs, sinks) for e in (error / found.half_68, error))
        print(f"correlation of errors, {what}: {scaled:.2f} of the intervals, {plain:.2f} in dex")
    report("one", true, mass, (found.half_68, found.half_90), sinks)
    first = np.array([rows[0] for rows in looks])
    for shared in (COMMON_ERROR, 0.0):
        both = []
        for half in (found.half_68, found.half_90):
            results = [combine_estimates(mass[i], half[i], correlation=shared) for i in looks]
            both.append(np.array([result[:2] for result in results]))
        halves = [table[:, 1] for table in both]
        name = f"three, weighted, correlation {shared:g}"
        report(name, true[first], both[0][:, 0], halves, sinks[first])


if __name__ == "__main__":
    main()
