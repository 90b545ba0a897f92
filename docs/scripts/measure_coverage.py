"""Measure how much of its frame a flame should cover, by what a network learns from such flames.

    python docs/scripts/measure_coverage.py ../shared/data/mhd --output runs/coverage

pretrains the compact recipe on a few flames at each threshold, all else equal, scores the frozen
features of labeled maps, magnified as for masses, with one whole cloud held out at a time, and writes
docs/method/tables/coverage.rst.
Interrupted, it goes on when it is given again. Other values of the recipe: --set batch_size=32.
"""

import argparse
from pathlib import Path

import numpy as np
from make_benchmark_pages import list_table

from astrofractal import FractalEncoder
from astrofractal._utils.atomic import atomic_path
from astrofractal.cli.pretrain import overrides_of
from astrofractal.fractals import frame_system, random_system
from astrofractal.mapset import MapSet
from astrofractal.mass.regressors import GroupRidge
from astrofractal.mass.weights import protostar_weights, r2_score
from astrofractal.pretraining import export_run, pretrain

TABLE = Path(__file__).parents[1] / "method" / "tables" / "coverage.rst"
POOLINGS = ("structure", "quadrants", "central")
HEADINGS = ("structure readout", "four central tokens", "central tokens, mean")
N_CANDIDATES = 1000


def accepted_share(coverage):
    """Return the share of candidate systems that a threshold lets through."""
    blurs = {"noise", "blur", "gaussian"}
    passed = tried = 0
    for index in range(N_CANDIDATES):
        system = random_system(1, index)
        if blurs.isdisjoint(name for names in system.variations for name in names):
            tried += 1
            passed += frame_system(system, coverage=coverage, center="peak")[1] == "accepted"
    return passed / tried


def pretrained(folder, coverage, n_images, overrides, options):
    """Return the weights of a run at one threshold, which is begun or gone on with."""
    run, weights = folder / f"coverage-{coverage:g}", folder / f"coverage-{coverage:g}.safetensors"
    if weights.exists():
        return weights
    if (run / "recipe.json").exists():
        pretrain(resume=run, **options)
    else:
        values = {"n_images": n_images, "coverage": coverage, **overrides}
        pretrain("compact", output=run, **values, **options)
    export_run(run, weights)
    return weights


def r_squared(features, maps):
    """Return R2 of log10 M per protostar by ridge regression, each cloud predicted by the others."""
    truth = maps.log_masses
    weights = protostar_weights(maps.protostars, 0.5, maps.represents)
    predicted = np.empty(len(truth))
    for cloud in np.unique(maps.clouds):
        test = maps.clouds == cloud
        mean, std = features[~test].mean(0), features[~test].std(0) + 1e-6
        train = (features[~test] - mean) / std
        ridge = GroupRidge().fit(train, truth[~test], weights[~test], maps.clouds[~test])
        predicted[test] = ridge.predict((features[test] - mean) / std)
    return r2_score(truth, predicted, protostar_weights(maps.protostars, 1))


def scores(weights, maps):
    """Return the score of each pooling, or None for those that random weights do not have."""
    encoder = FractalEncoder(weights=weights)
    found = []
    for pooling in POOLINGS:
        if pooling == "structure" and weights == "random":
            found.append(None)
            continue
        features = encoder.encode(maps.images, pooling=pooling, zoom=4, progress_bar=True)
        found.append(r_squared(features.astype(float), maps))
    return found


def write_table(rows, maps, n_images):
    """Write the rows as a table of reStructuredText."""
    lines = [
        f"R\\ :sup:`2` of log10 M per protostar after {n_images:,} flames (the same seed; "
        f"{len(maps):,} maps of {len(np.unique(maps.clouds))} clouds, one cloud",
        "held out at a time, magnified 4 times, ridge regression), by the least share of its frame",
        "that a flame covers.",
        "",
        list_table(("coverage", "candidates accepted", *HEADINGS), rows),
    ]
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(TABLE, overwrite=True) as path:
        path.write_text("\n".join(lines), encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("maps", help="a map set, or a folder of them, with several clouds")
    parser.add_argument("--coverage", type=float, nargs="+", default=[0.0, 0.5, 0.8])
    parser.add_argument("--n-images", type=int, default=12_800)
    parser.add_argument(
        "--per-protostar", type=int, default=8, metavar="N", help="maps of each at most"
    )
    parser.add_argument("--output", type=Path, default=Path("runs/coverage"))
    parser.add_argument("--n-workers", type=int, default=1)
    parser.add_argument("--precision")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    args = parser.parse_args()
    maps = MapSet.read(args.maps).limit(args.per_protostar)
    options = {"n_workers": args.n_workers, "precision": args.precision, "devices": 1}
    options["progress_bar"] = True
    rows = []
    for coverage in (None, *args.coverage):
        weights, share = "random", ""
        if coverage is not None:
            share = f"{100 * accepted_share(coverage):.0f} %"
            weights = pretrained(
                args.output, coverage, args.n_images, overrides_of(args.set), options
            )
        cells = ["" if score is None else f"{score:.2f}" for score in scores(weights, maps)]
        rows.append(["random weights" if coverage is None else f"{coverage:g}", share, *cells])
        print(" | ".join(rows[-1]), flush=True)
    write_table(rows, maps, args.n_images)
    print(TABLE)


if __name__ == "__main__":
    main()
