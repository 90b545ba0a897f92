"""Measure whether a calibration that knows maps beside their centers helps positions that are off.

    python docs/scripts/measure_jitter.py ../shared/data/mhd --features-cache runs/store

calibrates the default and the formulas on maps as they are, and on these and the same maps moved by a
pixel together, each cloud predicted by the others, one map of each protostar, and tests on maps as they
are and moved: R2 of log10 M per protostar, mean of predicted less true log10 M, the same in the
heavier third, and the paired difference of R2 from the calibration on maps as they are.
"""

import argparse

import numpy as np
from sklearn.metrics import r2_score

from astrofractal.benchmark import FeatureStore, Scorer, list_methods, off_center, paired_rows
from astrofractal.benchmark.encoded import encoder_makers
from astrofractal.benchmark.methods import OPPONENT
from astrofractal.gasmap.moments import CHANNELS
from astrofractal.mapset import MapSet


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("maps", help="a map set, or a folder of them, with several clouds")
    parser.add_argument("--tested", type=int, nargs="+", default=[1], metavar="PX")
    parser.add_argument("--features-cache", help="a folder that keeps the features")
    args = parser.parse_args()
    exact = MapSet.read(args.maps).limit(1)
    shifts = [0, 1, *(shift for shift in args.tested if shift != 1)]
    moved = [off_center(exact, s) if s else exact for s in shifts]
    maps = MapSet.concatenate(moved)
    shift = np.repeat(shifts, len(exact))
    store = FeatureStore(encoder_makers("bundled"), folder=args.features_cache, progress_bar=True)
    scorer = Scorer(maps, store)
    heavy = exact.log_masses > np.quantile(exact.log_masses, 2 / 3)
    methods = {m.name: m for m in list_methods(store, CHANNELS)}
    for name in ("default", OPPONENT):
        first = None
        for known in ((0,), (0, 1)):
            predicted = np.empty(len(maps))
            for cloud in np.unique(maps.clouds):
                out = maps.clouds == cloud
                train = np.flatnonzero(~out & np.isin(shift, known))
                predict = scorer.calibrate(
                    methods[name], train, maps.clouds[train], maps.represents[train]
                )
                predicted[out] = predict(scorer.features(methods[name])[0][out])
            first = predicted if first is None else first
            for s in shifts:
                truth, own, before = exact.log_masses, predicted[shift == s], first[shift == s]
                error = own - truth
                pair = next(
                    paired_rows(
                        truth, {"new": own, "old": before}, [("new", "old")],
                        protostars=exact.protostars, clouds=exact.clouds,
                    )
                )  # fmt: skip
                print(
                    f"{name}, calibrated at {known} px, tested at {s} px: "
                    f"R2 {r2_score(truth, own):.3f}, {error.mean():+.2f} dex, "
                    f"heavier third {error[heavy].mean():+.2f} dex, R2 less the first "
                    f"{pair['r2_protostar']:+.3f} +- {pair['r2_protostar_err']:.3f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
