"""Measure what other readouts, regressors and weights are worth beside the default's.

    python docs/scripts/measure_readouts.py ../shared/data/mhd

By default masses are told by support vectors from the tokens of the bundled weights and from aperture
contrasts. Here, one cloud held out at a time, tokens are taken at other magnifications, behind other
blocks, from more patches, from the class token, and with their scatter over the sixteen symmetric
views beside their mean; and other regressors and weights of protostars take the place of the
default's, for formulas (contrasts and profiles, no network) as well. Writes readouts.rst and
regressors.rst in docs/method/tables: R2 of log10 M per protostar / per map, differences paired on the
same maps, and R2 per protostar with few labels, one map of each protostar, the mean of 20 draws. Takes
a quarter of an hour of one core.
"""

import argparse
import copy
from pathlib import Path

import numpy as np
import torch
from make_benchmark_pages import list_table

from astrofractal import FractalEncoder
from astrofractal._utils.atomic import atomic_path
from astrofractal._utils.progress import progress
from astrofractal.benchmark.methods import FORMULAS
from astrofractal.benchmark.scores import Bootstrap
from astrofractal.benchmark.studies import label_groups
from astrofractal.mapset import MapSet
from astrofractal.mass import aperture_contrasts
from astrofractal.mass.features import CHANNELS
from astrofractal.mass.fine_tuning import SYMMETRIES, make_views
from astrofractal.mass.intervals import Scaler
from astrofractal.mass.regressors import fit_regressor, make_regressor
from astrofractal.mass.weights import protostar_weights

BLOCKS = (6, 9, 12)  # behind which tokens are taken
FEW, N_DRAWS = (16, 32, 64), 20  # labeled protostars, one map each
TABLES = Path(__file__).parents[1] / "method" / "tables"
REGRESSORS = {
    "ridge regression": "ridge",
    "support vectors": "svr",
    "ridge regression and support vectors": ("ridge", "svr"),
    "kernel ridge regression": "kernel_ridge",
}


def readouts(encoder, images, zoom):
    """Return the mean and the scatter over symmetric views of what is read, by block and place."""
    images = torch.from_numpy(encoder.normalize(images))
    model = copy.deepcopy(encoder.model).bfloat16()  # twice as fast, masses change by 0.003 dex
    found = {}
    for batch in progress(images.split(64), True, desc=f"magnified {zoom:g} times"):
        views = {}
        for pose in SYMMETRIES:
            view = make_views(
                batch, np.tile(pose, (len(batch), 1)), zoom=zoom, size=batch.shape[-1]
            )
            with torch.inference_mode():
                layers = model.forward_intermediates(
                    view.bfloat16(), indices=[n - 1 for n in BLOCKS], norm=True,
                    return_prefix_tokens=True, intermediates_only=True,
                )  # fmt: skip
            for n, (patches, prefix) in zip(BLOCKS, layers):
                patches, prefix = patches.float(), prefix.float()
                middle = patches.shape[-1] // 2
                near, wide = (
                    patches[..., middle - k : middle + k, middle - k : middle + k].flatten(2)
                    for k in (1, 2)
                )
                near = torch.cat([near.mean(2), near.std(2, correction=0)], 1)
                for place, values in (
                    ("near", near),
                    ("wide", wide.mean(2)),
                    ("class", prefix[:, 0]),
                ):
                    views.setdefault((n, place), []).append(values)
        for key, values in views.items():
            values = torch.stack(values)
            found.setdefault((*key, "mean"), []).append(values.mean(0))
            found.setdefault((*key, "scatter"), []).append(values.std(0, correction=0))
    return {key: torch.cat(values).numpy() for key, values in found.items()}


def left_out(maps, parts, regressor, exponent, n_labels=None, seed=0):
    """
    Return what the others say of each cloud by features of several kinds, each of the same weight.

    With ``n_labels``, one map of each of so many protostars of the others.
    """
    features, blocks = np.hstack(parts), [part.shape[1] for part in parts]
    weights = protostar_weights(maps.protostars, exponent, maps.represents)
    random, found = np.random.default_rng((seed, n_labels or 0)), np.empty(len(maps))
    for cloud in np.unique(maps.clouds):
        out = maps.clouds == cloud
        rows, groups, own = np.flatnonzero(~out), maps.clouds[~out], weights
        if n_labels is not None:
            rows = random.permutation(rows)
            _, first = np.unique(maps.protostars[rows], return_index=True)
            rows, own = rows[random.permutation(first)[:n_labels]], np.ones(len(maps))
            groups = label_groups(maps.protostars[rows], maps.clouds[rows])
        scaler = Scaler(blocks).fit(features[rows])
        model = fit_regressor(
            make_regressor(regressor), scaler.transform(features[rows]), maps.log_masses[rows],
            sample_weight=own[rows], groups=groups,
        )  # fmt: skip
        found[out] = model.predict(scaler.transform(features[out]))
    return found


def write_table(name, header, rows):
    """Write rows as a table of reStructuredText."""
    TABLES.mkdir(parents=True, exist_ok=True)
    with atomic_path(TABLES / f"{name}.rst", overwrite=True) as path:
        path.write_text(list_table(header, rows), encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("maps", help="a map set, or a folder of them, with several clouds")
    parser.add_argument("--per-protostar", type=int, default=6, metavar="N")
    args = parser.parse_args()
    maps = MapSet.read(args.maps).limit(args.per_protostar)
    encoder = FractalEncoder()
    read = {zoom: readouts(encoder, maps.images, zoom) for zoom in (4, 2, 8)}
    contrasts = aperture_contrasts(maps.images, 4)

    def near(zoom, n_blocks=12):
        return read[zoom][n_blocks, "near", "mean"]

    default, exact = [near(4), contrasts], [FORMULAS.compute(maps.images, CHANNELS)[0]]
    variants = {
        "magnified 2 times": [near(2), contrasts],
        "magnified 8 times": [near(8), contrasts],
        "magnified 2 and 4 times": [near(2), *default],
        "magnified 4 and 8 times": [near(8), *default],
        "tokens behind 6 blocks": [near(4, 6), contrasts],
        "tokens behind 9 blocks": [near(4, 9), contrasts],
        "tokens behind 9 and 12 blocks": [near(4, 9), *default],
        "tokens behind 6, 9 and 12 blocks": [near(4, 6), near(4, 9), *default],
        "4 × 4 patches as well": [read[4][12, "wide", "mean"], *default],
        "class token as well": [read[4][12, "class", "mean"], *default],
        "scatter over views as well": [read[4][12, "near", "scatter"], *default],
    }
    bootstrap = Bootstrap(maps.protostars, maps.clouds, represents=maps.represents)
    known, rows = {}, []

    def scored(name, parts, regressor, exponent):
        key = (name, regressor, exponent)
        if key not in known:
            predicted = left_out(maps, parts, REGRESSORS[regressor], exponent)
            known[key] = bootstrap.scores(maps.log_masses, predicted)
        return known[key]

    def score(name, parts, regressor="support vectors", exponent=0.5):
        own = scored(name, parts, regressor, exponent)
        scores = " / ".join(f"{own[kind][0]:.2f}" for kind in ("r2_protostar", "r2"))
        cells = [name, regressor, f"{exponent:g}", scores]
        for reference in (
            scored("default", default, "support vectors", 0.5),
            scored("formulas", exact, regressor, exponent),
        ):
            differences = []
            for kind in ("r2_protostar", "r2"):
                less = own[kind] - reference[kind]
                differences.append(f"{less[0]:+.3f} ± {np.std(less[1:]):.3f}")
            cells.append("" if reference is own else " / ".join(differences))
        for n in FEW:
            cells.append("")
            if exponent == 0.5 and name in ("default", "formulas"):
                draws = [
                    bootstrap.scores(
                        maps.log_masses, left_out(maps, parts, REGRESSORS[regressor], 0, n, seed)
                    )
                    for seed in range(N_DRAWS)
                ]
                cells[-1] = f"{np.mean([draw['r2_protostar'][0] for draw in draws]):.2f}"
        rows.append(cells)
        print(*cells, sep=" | ", flush=True)

    for exponent in (0.5, 0.6, 0.75):
        for regressor in REGRESSORS:
            score("formulas", exact, regressor, exponent)
            score("default", default, regressor, exponent)
    for name, parts in variants.items():
        score(name, parts)
    score_heads = ["R\\ :sup:`2`", "less the default"]
    heads = ["features", "regressor", "x", *score_heads, "less formulas alike"]
    known_rows = [row for row in rows if row[0] in ("default", "formulas")]
    write_table("regressors", [*heads, *(f"{n} labels" for n in FEW)], known_rows)
    others = [[row[0], *row[3:5]] for row in rows if row not in known_rows]
    write_table("readouts", ["read from the network", *score_heads], others)


if __name__ == "__main__":
    main()
