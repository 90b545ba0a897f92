"""The study "paper": a random quarter of the maps is tested, near-copies of it calibrate."""

from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA
from sklearn.dummy import DummyRegressor
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline

from astrofractal._utils.progress import progress
from astrofractal._utils.random import keyed_generator
from astrofractal._utils.validation import one_of
from astrofractal.benchmark.encoded import FeatureStore, encoder_makers
from astrofractal.benchmark.methods import HAND_MADE_FEATURES, Method, default_method
from astrofractal.benchmark.scorer import Scorer, make_protocol, scores_of
from astrofractal.benchmark.supervised import SUPERVISED, supervised_predictions
from astrofractal.encoder import FractalEncoder
from astrofractal.gasmap.moments import CHANNELS
from astrofractal.mapset import MapSet
from astrofractal.mass import FeatureSet

#: R2 and RMSE of log10 mass in the paper (Hirashima, Nozaki & Harada 2025, arXiv:2510.24159), whose
#: encoder is a ViT-L and whose maps, 32,000, are of another simulation.
_PUBLISHED = {
    "fractal class token, whitened, kNN": (0.81, 0.088),
    "fractal class token, kNN": (0.80, 0.089),
    "random class token, kNN": (-0.58, 0.52),
    "random ResNet-18, kNN": (-1.9, 0.34),
    "ResNet-18": (0.80, 0.089),
}

_N_SPLITS = 3
#: The default needs sixteen views of each map. As in the bundled calibration it has so many maps of
#: each protostar, which stand for the others: in the calibration and in the scores.
_N_PER_PROTOSTAR = 6


def run_paper(
    journal, maps, *, weights="bundled", networks=(), n_maps=None, features_cache=None,
    random_state=0, quick=False, progress_bar=False,
):  # fmt: skip
    """Score the paper's methods on sets of maps, per map as the paper does, and on clouds left out."""
    for network in networks:
        one_of("networks", network, SUPERVISED)
    if not isinstance(maps, dict):
        maps = {Path(one).name: MapSet.read(one) for one in maps}
    makers = encoder_makers(weights)
    makers["ResNet-18"] = lambda: FractalEncoder("resnet18", weights="random")
    store = FeatureStore(makers, folder=features_cache, progress_bar=progress_bar)
    journal.meta |= {
        "random_state": random_state,
        "weights": store.encoder("fractal").fingerprint(),
    }
    for name, one in maps.items():
        if n_maps is not None and n_maps < len(one):  # fewer near-copies
            order = keyed_generator(random_state, "maps of the paper's protocol")
            one = one[np.sort(order.permutation(len(one))[:n_maps])]
        default = [] if quick else [default_method(CHANNELS)]
        for some, methods in (one, _methods(store)), (one.limit(_N_PER_PROTOSTAR), default):
            scorer, protocols = Scorer(some, store), _protocols(some, random_state)
            for method in progress(methods, progress_bar, desc=name):
                found = [scorer.evaluate(method, protocol).log_mass for protocol in protocols]
                journal.add("paper", [_row(name, some, method.name, found)])
        for network in networks:
            protocols = _protocols(one, random_state)
            found = [_trained(network, one, p.splits, progress_bar) for p in protocols]
            journal.add("paper", [_row(name, one, network, found)])


def _protocols(maps, random_state):
    """Return the random splits and, as the last one, that of whole clouds."""
    states = [random_state + k for k in range(_N_SPLITS)]
    at_random = [make_protocol("random", maps, random_state=state) for state in states]
    return [*at_random, make_protocol("leave-cloud-out", maps)]


def _trained(network, maps, splits, progress_bar):
    """Return the log10 masses that a network predicts, NaN for maps that no split tests."""
    log_mass = np.full(len(maps), np.nan)
    for test, own, _ in supervised_predictions(network, maps, splits, progress_bar=progress_bar):
        log_mass[test] = own
    return log_mass


def _methods(store):
    """Return the methods of the paper's table, without weights, and what they are compared with."""
    token = FeatureSet(pooling=("class",), zoom=1.0, symmetrize=False, contrasts=False)
    neighbors = KNeighborsRegressor(5, weights="distance")
    n_components = min(64, store.encoder("fractal").embed_dim)
    heads = {
        "kNN": neighbors,
        "whitened, kNN": make_pipeline(PCA(n_components, whiten=True), neighbors),
    }
    methods = [
        Method(f"{source} class token, {head}", token, regressor, source, weight_exponent=0)
        for source in ("random", "fractal")
        for head, regressor in heads.items()
    ]
    return [
        Method("mean mass", HAND_MADE_FEATURES, DummyRegressor(), weight_exponent=0),
        Method("random ResNet-18, kNN", token, neighbors, "ResNet-18", weight_exponent=0),
        *methods,
        Method("hand-made features, kNN", HAND_MADE_FEATURES, neighbors, weight_exponent=0),
    ]


def _row(name, maps, method, found):
    """Return a row of the table from the predictions of all splits, that of whole clouds the last."""
    *at_random, clouds = (
        [scores_of(maps, log_mass, np.isfinite(log_mass))[name] for name in ("r2", "rmse")]
        for log_mass in found
    )
    (r2, rmse), (r2_scatter, _) = np.mean(at_random, axis=0), np.std(at_random, axis=0)
    published = _PUBLISHED.get(method, (np.nan, np.nan))
    return {
        "maps": name,
        "n_maps": len(maps),
        "method": method,
        "r2": float(r2),
        "r2_scatter": float(r2_scatter),
        "rmse": float(rmse),
        "r2_published": published[0],
        "rmse_published": published[1],
        "r2_clouds": float(clouds[0]),
        "rmse_clouds": float(clouds[1]),
    }
