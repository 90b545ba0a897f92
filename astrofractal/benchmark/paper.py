"""The paper's protocol: a random quarter of the maps is tested, near-copies of it calibrate."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA
from sklearn.dummy import DummyRegressor
from sklearn.metrics import r2_score, root_mean_squared_error
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline

import astrofractal
from astrofractal._utils.annotations import PathLike, ProgressBar
from astrofractal._utils.progress import progress
from astrofractal._utils.random import keyed_generator
from astrofractal.benchmark.encoded import FeatureStore, encoder_makers
from astrofractal.benchmark.methods import HAND_MADE_FEATURES, Method, default_method
from astrofractal.benchmark.run import Journal
from astrofractal.benchmark.scorer import Scorer, make_protocol
from astrofractal.encoder import FractalEncoder
from astrofractal.gasmap.moments import CHANNELS
from astrofractal.mapset import MapSet
from astrofractal.mass import FeatureSet

__all__ = ["run_paper"]

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
    maps: Iterable[PathLike] | dict[str, MapSet],
    output: PathLike,
    *,
    weights: PathLike = "bundled",
    default: bool = True,
    networks: Iterable[str] = (),
    n_maps: int | None = None,
    features_cache: PathLike | None = None,
    random_state: int = 0,
    overwrite: bool = False,
    progress_bar: ProgressBar = False,
) -> Journal:
    """
    Score the paper's methods by its protocol, and with whole clouds held out.

    Parameters
    ----------
    maps : iterable of path-like, or dict of `~astrofractal.mapset.MapSet`
        Labeled maps: folders or files, each of which is a set of its own, such as slabs of 0.5 pc
        (the paper's) and whole boxes; or sets by name.
    output : path-like
        The folder of ``paper.ecsv``.
    default : bool, optional
        Whether the package's default is scored as well, on at most six maps of each protostar: its
        sixteen views take most of the time.
    networks : iterable of str, optional
        Networks to train on the same splits (hours): ``"small CNN"``, ``"ResNet-18"``.
    n_maps : int, optional
        Use so many maps, drawn at random; fewer near-copies make the random split harder.
    weights, features_cache, random_state, overwrite, progress_bar : optional
        As of `run_benchmark`.

    Returns
    -------
    journal : `~astrofractal.benchmark.run.Journal`
        With the table ``paper``: scores per map, as the paper has them, the mean over three
        random splits, the paper's own, and those of each cloud predicted by the others.
    """
    path = Path(output) / "paper.ecsv"
    if path.exists() and not overwrite:
        msg = f"{str(path)!r} exists and overwrite is False"
        raise FileExistsError(msg)
    if not isinstance(maps, dict):
        maps = {Path(one).name: MapSet.read(one) for one in maps}
    makers = encoder_makers(weights)
    makers["ResNet-18"] = lambda: FractalEncoder("resnet18", weights="random")
    store = FeatureStore(makers, folder=features_cache, progress_bar=progress_bar)
    Path(output).mkdir(parents=True, exist_ok=True)
    meta = {"version": astrofractal.__version__, "random_state": random_state}
    meta["weights"] = store.encoder("fractal").fingerprint()
    journal = Journal(output, meta)
    for name, one in maps.items():
        if n_maps is not None and n_maps < len(one):
            order = keyed_generator(random_state, "maps of the paper's protocol")
            one = one[np.sort(order.permutation(len(one))[:n_maps])]
        scorer, protocols = Scorer(one, store), _protocols(one, random_state)
        for method in progress(_methods(store), progress_bar, desc=name):
            found = [scorer.evaluate(method, protocol).log_mass for protocol in protocols]
            journal.add("paper", [_row(name, one, method.name, found)])
        if default:
            few = one.limit(_N_PER_PROTOSTAR)
            scorer, method = Scorer(few, store), default_method(CHANNELS)
            found = [scorer.evaluate(method, p).log_mass for p in _protocols(few, random_state)]
            journal.add("paper", [_row(name, few, method.name, found)])
        for network in networks:
            found = [_trained(network, one, p.splits, progress_bar) for p in protocols]
            journal.add("paper", [_row(name, one, network, found)])
    return journal


def _protocols(maps, random_state):
    """Return the random splits and, as the last one, that of whole clouds."""
    states = [random_state + k for k in range(_N_SPLITS)]
    at_random = [make_protocol("random", maps, random_state=state) for state in states]
    return [*at_random, make_protocol("leave-cloud-out", maps)]


def _trained(network, maps, splits, progress_bar):
    """Return the log10 masses that a network predicts, NaN for maps that no split tests."""
    from astrofractal.benchmark.supervised import supervised_predictions

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
    scores = []
    for log_mass in found:
        tested = np.isfinite(log_mass)
        known = (maps.log_masses[tested], log_mass[tested])
        weights = maps.represents[tested]
        r2 = r2_score(*known, sample_weight=weights)
        scores.append((r2, root_mean_squared_error(*known, sample_weight=weights)))
    *at_random, clouds = scores
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
