"""Measure what a prior of masses does, with whole clouds held out.

    python docs/scripts/measure_priors.py ../shared/data/mhd --features-cache runs/store

calibrates the default of all channels for each prior without each cloud in turn, predicts its maps, and
prints bias, R2 and error with each protostar of the same weight, and with weights that make the
protostars follow each prior. It takes minutes.
"""

import argparse

import numpy as np
from sklearn.metrics import r2_score, root_mean_squared_error

from astrofractal.benchmark.encoded import FeatureStore, encoder_makers
from astrofractal.benchmark.methods import Method
from astrofractal.benchmark.scorer import Scorer
from astrofractal.gasmap.moments import CHANNELS
from astrofractal.mapset import MapSet
from astrofractal.mass import PRIORS, Prior
from astrofractal.mass.calibration import default_options
from astrofractal.mass.weights import (
    importance,
    protostar_weights,
    weighted_quantile,
)


def report(name, true, mass, half, weights):
    """Print error, bias and coverage."""
    error = mass - true
    held = np.average(np.abs(error) <= half, weights=weights)
    print(
        f"  {name}: R2 {r2_score(true, mass, sample_weight=weights):.3f}, rms error "
        f"{root_mean_squared_error(true, mass, sample_weight=weights):.3f} dex, "
        f"bias {np.average(error, weights=weights):+.2f} dex, held {held:.2f}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("maps", help="a map set, or a folder of them, with several clouds")
    parser.add_argument("--features-cache", metavar="DIR")
    parser.add_argument("--per-protostar", type=int, default=4, metavar="N")
    args = parser.parse_args()
    maps = MapSet.read(args.maps)
    store = FeatureStore(encoder_makers("bundled"), folder=args.features_cache, progress_bar=True)
    features, regressor, exponent = default_options(CHANNELS)
    method = Method("default", features, regressor, "fractal", weight_exponent=exponent)
    scorer = Scorer(maps, store)
    X, _ = scorer.features(method)
    kept = maps.limit(args.per_protostar)
    place = {key: row for row, key in enumerate(zip(maps.protostars, maps.times.value, maps.axes))}
    rows = np.array([place[key] for key in zip(kept.protostars, kept.times.value, kept.axes)])
    true, equal = maps.log_masses, protostar_weights(maps.protostars, 1)
    third = np.searchsorted([weighted_quantile(true, equal, k / 3) for k in (1, 2)], true)
    mass, half = (np.empty((1 + len(PRIORS), len(maps))) for _ in range(2))
    for cloud in np.unique(maps.clouds):
        test, own = maps.clouds == cloud, maps.clouds[rows] != cloud
        train = rows[own]
        first = scorer.calibrate_intervals(
            method, train, maps.clouds[train], kept.represents[own]
        )  # fmt: skip
        for row, prior in enumerate((None, *PRIORS)):
            calibration = first if prior is None else first.with_prior(prior)
            mass[row, test], difficulty, _ = calibration.evaluate(
                X[test], scorer.appearance[test]
            )  # fmt: skip
            half[row, test] = calibration.half_width(0.68, difficulty)
    for row, prior in enumerate((None, *PRIORS)):
        error = mass[row] - true
        parts = [np.average(error[third == k], weights=equal[third == k]) for k in range(3)]
        print(
            f"{prior}: R2 per map {r2_score(true, mass[row]):.3f}; bias in the thirds of true mass "
            + ", ".join(f"{part:+.2f}" for part in parts)
        )
        report("protostars as they are", true, mass[row], half[row], equal)
        for name in PRIORS:
            weights = equal * importance(Prior(name), true, maps.protostars)
            report(f"as of {name}", true, mass[row], half[row], weights)


if __name__ == "__main__":
    main()
