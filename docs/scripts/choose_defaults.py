"""Choose features, regressor and weights of each set of channels by nested cross-validation.

    python docs/scripts/choose_defaults.py --features-cache runs/store

For each combination of channels, every cloud is held out in turn; on the others each candidate is
scored, one more cloud held out at a time, by the mean of R2 per map and per protostar, and the best
one predicts the cloud. That score is the one to expect: no cloud had a part in the choice that it is
predicted by. It is compared with contrasts and profiles, no network, by the same maps.
The maps are the bundled ones, or a map set.
"""

import argparse
from itertools import combinations

import numpy as np
from sklearn.metrics import r2_score

from astrofractal.benchmark.encoded import FeatureStore, encoder_makers
from astrofractal.benchmark.methods import HAND_MADE, HAND_MADE_FEATURES, Method
from astrofractal.benchmark.scorer import Scorer
from astrofractal.benchmark.scores import paired_rows
from astrofractal.gasmap.moments import CHANNEL_SETS
from astrofractal.mapset import MapSet, reference_maps
from astrofractal.mass import FeatureSet
from astrofractal.mass.weights import protostar_weights

TOKENS = ("central", "scatter")
FEATURES = {
    "tokens": FeatureSet(pooling=TOKENS, contrasts=False),
    "tokens + contrasts": FeatureSet(pooling=TOKENS, contrasts=True),
    "tokens + profiles": FeatureSet(pooling=TOKENS, contrasts=False, profiles=True),
    "tokens + contrasts + profiles": FeatureSet(pooling=TOKENS, contrasts=True, profiles=True),
    HAND_MADE: HAND_MADE_FEATURES,
}
#: Regressors, and exponents of the weights of maps.
REGRESSORS = (
    ("kernel_ridge", 0.5), ("kernel_ridge", 0.6), ("kernel_ridge", 0.75),
    ("svr", 0.5), ("svr", 0.6), ("ridge", 0.5),
)  # fmt: skip


def predictions(scorer):
    """Return the masses by each candidate of the clouds left out, by the clouds left out."""
    maps, found = scorer.maps, {}
    clouds = np.unique(maps.clouds)
    for name, features in FEATURES.items():
        for regressor in REGRESSORS:
            source = "fractal" if features.pooling else None
            method = Method(name, features, regressor[0], source, weight_exponent=regressor[1])
            X, _ = scorer.features(method)
            for out in [(c,) for c in clouds] + list(combinations(clouds, 2)):
                test = np.isin(maps.clouds, out)
                train = np.flatnonzero(~test)
                groups, represents = maps.clouds[train], maps.represents[train]
                values = np.full(len(maps), np.nan)
                values[test] = scorer.calibrate(method, train, groups, represents)(X[test])
                found[name, regressor, out] = values
    return found


def left_out(maps, found, candidate):
    """Return the masses by a candidate, each cloud by the others."""
    return np.nansum([found[*candidate, (cloud,)] for cloud in np.unique(maps.clouds)], axis=0)


def scores(maps, predicted, rows):
    """Return R2 per map and per protostar."""
    truth, own = maps.log_masses[rows], predicted[rows]
    weights = maps.represents[rows]
    each = protostar_weights(maps.protostars[rows], 1, weights)
    return r2_score(truth, own, sample_weight=weights), r2_score(truth, own, sample_weight=each)


def nested(maps, found):
    """Return predictions by the candidate that is best without the cloud, and how often it was."""
    candidates = list(dict.fromkeys(key[:2] for key in found))
    clouds, predicted, chosen = np.unique(maps.clouds), np.empty(len(maps)), []
    for cloud in clouds:
        others = maps.clouds != cloud
        values = {}
        for candidate in candidates:
            inner = np.empty(len(maps))
            for other in clouds[clouds != cloud]:
                own = maps.clouds == other
                inner[own] = found[*candidate, tuple(sorted((cloud, other)))][own]
            values[candidate] = np.mean(scores(maps, inner, others))
        best = max(values, key=values.get)
        chosen.append(f"{best[0]}, {best[1]}")
        predicted[~others] = found[*best, (cloud,)][~others]
    return predicted, {name: chosen.count(name) for name in dict.fromkeys(chosen)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--maps", help="a map set or a folder of them; by default the bundled maps")
    parser.add_argument("--per-protostar", type=int, default=4, metavar="N")
    parser.add_argument("--features-cache", help="a folder that keeps the features")
    args = parser.parse_args()
    maps = MapSet.read(args.maps).limit(args.per_protostar) if args.maps else reference_maps()
    store = FeatureStore(encoder_makers("bundled"), folder=args.features_cache, progress_bar=True)
    everything = np.ones(len(maps), bool)
    for channels in CHANNEL_SETS:
        found = predictions(Scorer(maps, store, channels=channels))
        print(" + ".join(channels))
        masses = {key[:2]: left_out(maps, found, key[:2]) for key in found}
        values, chosen = nested(maps, found)
        masses["nested", f"chosen {chosen}"] = values
        for (name, regressor), own in masses.items():
            per_map, per_protostar = scores(maps, own, everything)
            print(
                f"  {name}, {regressor}: {per_map:.3f} per map, {per_protostar:.3f} per protostar"
            )
        both = {"nested": values, HAND_MADE: masses[HAND_MADE, ("kernel_ridge", 0.6)]}
        groups = {"protostars": maps.protostars, "clouds": maps.clouds}
        pair = next(paired_rows(maps.log_masses, both, [("nested", HAND_MADE)], **groups))
        print(
            f"  less {HAND_MADE}: {pair['r2_protostar']:+.3f} +- {pair['r2_protostar_err']:.3f} per "
            f"protostar, {pair['r2']:+.3f} +- {pair['r2_err']:.3f} per map of these",
            flush=True,
        )


if __name__ == "__main__":
    main()
