"""Measure what weights know of masses, by frozen features and one cloud held out at a time.

    python docs/scripts/measure_weights.py ../shared/data/mhd bundled random runs/new.safetensors

Of every protostar at most ``--per-protostar`` maps are drawn, and the maps that are left out are made
up for by weights. Each kind of features is fitted alone and beside physics (sixteen aperture contrasts
and thirty radial profiles, no network), from the tokens as they come and, with ``--symmetrize``,
averaged over the symmetries of the sky; regressors weight a protostar by the square root of its number
of maps. Scores are R2 of log10 M per map and per protostar; differences to the first weights are
paired (``d_``; those to physics ``p_``), with their standard deviation in a bootstrap over clouds, then
protostars. Then come calibrations by a few labeled protostars, one map each. Features are kept in
``--cache`` and encoded once. ``--degraded signal-to-noise 10`` makes the maps worse first (see
`astrofractal.benchmark`); with ``--scored`` only some clouds count, such as those that the weights have
not seen.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from astropy.table import Table, vstack
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from astrofractal import FractalEncoder
from astrofractal.benchmark import DEGRADATIONS, degraded
from astrofractal.encoder.encoder import magnify
from astrofractal.encoder.structure import at_center, structure_targets
from astrofractal.mapset import MapSet
from astrofractal.mass.weights import protostar_weights, r2_score

ZOOM = 4
RINGS = (0, 1, 2, 4, 8, 16, 32)
FEW = (4, 8, 16, 32)
N_DRAWS = 20


def drawn(maps, per_protostar, seed=0):
    """Return the maps that are used, and of each how many maps it stands for."""
    random = np.random.default_rng(seed)
    chosen, counts = [], []
    for sink in np.unique(maps.protostars):
        own = np.flatnonzero(maps.protostars == sink)
        picked = random.permutation(own)[:per_protostar]
        chosen += list(picked)
        counts += [len(own) / len(picked)] * len(picked)
    order = np.argsort(chosen)
    return maps[np.array(chosen)[order]], np.array(counts)[order]


def physics(maps, normalization):
    """Return the contrasts at the center of the magnified maps, and means and scatters in rings."""
    near = magnify(torch.from_numpy(normalization(maps.images)), ZOOM)
    contrasts = [
        at_center(structure_targets(part, 8, normalization)).numpy() for part in near.split(256)
    ]
    y, x = np.mgrid[:64, :64] - 31.5
    radius, profiles = np.hypot(y, x), []
    for low, high in zip(RINGS[:-1], RINGS[1:]):
        n, v, s = (maps.images[:, i][:, (radius >= low) & (radius < high)] for i in range(3))
        profiles += [n.mean(1), 0.5 * np.log((s**2).mean(1)), np.log(v.std(1) + 0.02)]
        profiles += [n.std(1), np.log(s.std(1) + 0.01)]
    return np.hstack([np.concatenate(contrasts), np.stack(profiles, 1)])


def encoded(weights, maps, symmetrize, cache):
    """Return a dictionary of features of the maps."""
    encoder = FractalEncoder(weights=weights)
    names = ["class", "central", "spread", *encoder.heads]
    view = "mean" if symmetrize else "one"
    path = cache / f"{encoder.fingerprint()[:16]}-{maps.fingerprint()[:16]}-{view}.npz"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        features = encoder.encode(
            maps.images, pooling=tuple(names), zoom=ZOOM, symmetrize=symmetrize
        )
        np.savez(path, features=features)
    features = np.load(path)["features"]
    sizes = {"structure": encoder.heads["structure"].out_features // 9} if encoder.heads else {}
    sizes["hidden_mass"] = 2
    widths = [sizes.get(name, encoder.embed_dim) for name in names]
    parts = np.split(features, np.cumsum(widths)[:-1], axis=1)
    found = dict(zip(names, parts))
    found["central + spread"] = np.hstack([found.pop("central"), found.pop("spread")])
    return found


def fit_predict(train, truth, weights, test):
    """Return the mean of ridge regression and support vectors; a line for the answer of hidden_mass."""
    weights = weights / weights.mean()
    if train.shape[1] <= 2:
        return Ridge(1e-3).fit(train, truth, sample_weight=weights).predict(test)
    scaler = StandardScaler().fit(train)
    train, test = scaler.transform(train), scaler.transform(test)
    n = train.shape[1]
    # As many degrees of freedom are left to many features as to few.
    ridge = Ridge(30 * max(1, n / 46)).fit(train, truth, sample_weight=weights)
    svr = SVR(C=1.0, gamma=0.3 / n, epsilon=0.1).fit(train, truth, sample_weight=weights)
    return 0.5 * (ridge.predict(test) + svr.predict(test))


def left_out(features, maps, weights):
    """Return predictions of every cloud by the others."""
    found = np.empty(len(maps))
    for cloud in np.unique(maps.clouds):
        out = maps.clouds == cloud
        found[out] = fit_predict(
            features[~out], maps.log_masses[~out], weights[~out], features[out]
        )
    return found


def few_labels(features, maps, counts, n_labels, scored):
    """Return R2 per protostar with a few labeled protostars of the other clouds, one map each."""
    random, scores = np.random.default_rng(n_labels), []
    of_protostar = protostar_weights(maps.protostars, 1, counts)[scored]
    for _ in range(N_DRAWS):
        found = np.empty(len(maps))
        for cloud in np.unique(maps.clouds[scored]):
            out = maps.clouds == cloud
            sinks = random.choice(np.unique(maps.protostars[~out]), n_labels, replace=False)
            labeled = [random.choice(np.flatnonzero(maps.protostars == sink)) for sink in sinks]
            x, y = features[labeled], maps.log_masses[labeled]
            model = Ridge(1.0) if x.shape[1] == 1 else make_pipeline(StandardScaler(), Ridge(30.0))
            found[out] = model.fit(x, y).predict(features[out])
        scores.append(r2_score(maps.log_masses[scored], found[scored], of_protostar))
    return np.mean(scores)


def bootstrap(maps, counts, one, other, n=200):
    """Return the standard deviations of the differences of R2 per map and per protostar."""
    random = np.random.default_rng(0)
    places = {
        cloud: [
            np.flatnonzero(maps.protostars == s)
            for s in np.unique(maps.protostars[maps.clouds == cloud])
        ]
        for cloud in np.unique(maps.clouds)
    }
    weights = (counts, protostar_weights(maps.protostars, 1, counts))
    draws = []
    for _ in range(n):
        picked = []
        for cloud in random.choice(list(places), len(places)):
            own = places[cloud]
            picked += [own[k] for k in random.integers(len(own), size=len(own))]
        i = np.concatenate(picked)
        truth = maps.log_masses[i]
        draws.append(
            [r2_score(truth, one[i], w[i]) - r2_score(truth, other[i], w[i]) for w in weights]
        )
    return np.std(draws, axis=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("maps", help="a map set, or a folder of them, with several clouds")
    parser.add_argument("weights", nargs="+", help="bundled, random or files; the first for pairs")
    parser.add_argument("--per-protostar", type=int, default=3, metavar="N")
    parser.add_argument("--symmetrize", action="store_true", help="average over the symmetries too")
    parser.add_argument(
        "--kinds", nargs="+", metavar="KIND", help="'class', 'central + spread', ..."
    )
    parser.add_argument("--few", nargs="*", type=int, default=FEW, metavar="N", help="labels")
    parser.add_argument("--degraded", nargs=2, metavar=("KIND", "LEVEL"))
    parser.add_argument("--scored", nargs="+", metavar="CLOUD", help="the clouds that count")
    parser.add_argument("--cache", type=Path, default=Path("runs/features"))
    parser.add_argument("--output", type=Path, help="write the table to this ECSV file")
    args = parser.parse_args()
    maps, counts = drawn(MapSet.read(args.maps), args.per_protostar)
    if args.degraded:
        wanted = (args.degraded[0], float(args.degraded[1]))
        (degradation,) = (d for d in DEGRADATIONS if d[:2] == wanted and len(d[2].channels) == 3)
        maps = degraded(maps, *degradation)
    scored = np.isin(maps.clouds, args.scored or maps.clouds)
    exact = physics(maps, FractalEncoder(weights="random").normalization)
    per_protostar = protostar_weights(maps.protostars, 1, counts)
    # The number of maps to the power -1/2 per map, so that the weight of a protostar is its square root.
    weights = protostar_weights(maps.protostars, 0.5, counts)
    rows, first = [], {}

    def score(weights_name, view, name, features):
        found = left_out(features, maps, weights)[scored]
        truth = maps.log_masses[scored]
        scores = [r2_score(truth, found, w[scored]) for w in (counts, per_protostar)]
        row = {"weights": weights_name, "view": view, "features": name}
        row |= {"r2": scores[0], "r2_protostar": scores[1]}
        formulas = first.setdefault("physics", (scores, found))
        before = first.setdefault((view, name), (scores, found))
        for letter, reference in (("d", before), ("p", formulas)):
            errors = bootstrap(maps[scored], counts[scored], found, reference[1])
            for k, kind in enumerate(("r2", "r2_protostar")):
                row[f"{letter}_{kind}"] = scores[k] - reference[0][k]
                row[f"{letter}_{kind}_err"] = errors[k]
        if "physics" not in name or name == "physics":
            x = features[:, :1] if name == "hidden_mass" else features
            row |= {f"few_{n}": few_labels(x, maps, counts, n, scored) for n in args.few}
        else:
            row |= {f"few_{n}": np.nan for n in args.few}
        rows.append(row)
        print(*(f"{v:+.3f}" if isinstance(v, float) else v for v in row.values()), flush=True)

    print(*("weights view features r2 r2_protostar d +- d +- p +- p +- few", *args.few))
    score("", "", "physics", exact)
    for source in args.weights:
        for symmetrize in (False, True)[: 1 + args.symmetrize]:
            features = encoded(source, maps, symmetrize, args.cache)
            view = "symmetrized" if symmetrize else "one pass"
            for name, values in features.items():
                if args.kinds and name not in args.kinds:
                    continue
                score(Path(source).stem, view, name, values)
                score(Path(source).stem, view, f"{name} + physics", np.hstack([values, exact]))
    if args.output:
        table = vstack([Table(rows=[row]) for row in rows])
        for name in table.colnames[3:]:
            table[name].info.format = ".3f"
        table.write(args.output, overwrite=True)


if __name__ == "__main__":
    main()
