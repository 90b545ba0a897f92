"""The study "defaults": features, regressor and weights by nested cross-validation over clouds."""

from collections import defaultdict
from itertools import combinations, product

import numpy as np

from astrofractal._utils.progress import progress
from astrofractal.benchmark.encoded import FeatureStore, encoder_makers
from astrofractal.benchmark.methods import HAND_MADE, HAND_MADE_FEATURES, Method
from astrofractal.benchmark.scorer import Protocol, Scorer, make_protocol, scores_of
from astrofractal.benchmark.scores import paired_rows
from astrofractal.gasmap.moments import CHANNEL_SETS
from astrofractal.mass import FeatureSet

#: The features that are compared.
FEATURES = {
    "tokens": FeatureSet(),
    "tokens + contrasts": FeatureSet(contrasts=True),
    "tokens + profiles": FeatureSet(profiles=True),
    "tokens + contrasts + profiles": FeatureSet(contrasts=True, profiles=True),
    HAND_MADE: HAND_MADE_FEATURES,
}
#: Regressors, and exponents of the weights of maps.
_REGRESSORS = (
    ("kernel_ridge", 0.5), ("kernel_ridge", 0.6), ("kernel_ridge", 0.75),
    ("svr", 0.5), ("svr", 0.6), ("ridge", 0.5),
)  # fmt: skip


def run_defaults(
    journal, maps, *, weights="bundled", n_per_protostar=None, features_cache=None, quick=False,
    progress_bar=False,
):  # fmt: skip
    """Score all candidates, and the choice among them that is made without the cloud to predict."""
    if quick or n_per_protostar is not None:
        maps = maps.limit(n_per_protostar or 1)
    store = FeatureStore(encoder_makers(weights), folder=features_cache, progress_bar=progress_bar)
    for channels in CHANNEL_SETS[-1:] if quick else CHANNEL_SETS:
        whole, inner = _predictions(Scorer(maps, store, channels=channels), progress_bar)
        chosen, nested = _nested(maps, whole, inner)
        rows = []
        for candidate, log_mass in {**whole, ("nested", "", np.nan): nested}.items():
            row = {"channels": " + ".join(channels)}
            row |= dict(zip(("features", "regressor", "weight_exponent"), candidate))
            row["n_chosen"] = chosen.count(candidate)
            scores = scores_of(maps, log_mass, slice(None))
            rows.append(row | {score: scores[score] for score in ("r2_protostar", "r2")})
        journal.add("defaults", rows)
        both = {"nested": nested, HAND_MADE: whole[HAND_MADE, "kernel_ridge", 0.6]}
        groups = {"protostars": maps.protostars, "clouds": maps.clouds}
        found = paired_rows(maps.log_masses, both, [("nested", HAND_MADE)], **groups)
        channels = {"channels": rows[0]["channels"]}
        journal.add("defaults_paired", [channels | row for row in found])


def _predictions(scorer, progress_bar):
    """Return the masses by each candidate, each cloud left out, and those without one more cloud."""
    maps, whole = scorer.maps, {}
    inner = defaultdict(lambda: np.empty(len(maps)))
    headline = make_protocol("leave-cloud-out", maps)
    candidates = list(product(FEATURES.items(), _REGRESSORS))
    for (name, features), (regressor, exponent) in progress(candidates, progress_bar):
        source = "fractal" if features.pooling else None
        method = Method(name, features, regressor, source, weight_exponent=exponent)
        candidate = name, regressor, exponent
        whole[candidate] = scorer.evaluate(method, headline).log_mass
        for pair in combinations(np.unique(maps.clouds).tolist(), 2):
            out = np.isin(maps.clouds, pair)
            split = Protocol("pair", [(np.flatnonzero(~out), np.flatnonzero(out))], maps.clouds)
            log_mass = scorer.evaluate(method, split).log_mass
            for cloud, other in (pair, pair[::-1]):
                own = maps.clouds == other
                inner[candidate, cloud][own] = log_mass[own]
    return whole, inner


def _nested(maps, whole, inner):
    """Return what is best without each cloud, and the masses of the cloud by it."""
    chosen, predicted = [], np.empty(len(maps))
    for cloud in np.unique(maps.clouds).tolist():
        own, values = maps.clouds == cloud, {}
        for candidate in whole:
            scores = scores_of(maps, inner[candidate, cloud], ~own)
            values[candidate] = scores["r2_protostar"] + scores["r2"]
        chosen.append(max(values, key=values.get))
        predicted[own] = whole[chosen[-1]][own]
    return chosen, predicted
