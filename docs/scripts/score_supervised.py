"""Score the networks that were trained end to end, paired with the default and with formulas.

    python docs/scripts/score_supervised.py MAPS docs/research/benchmark

reads ``supervised.ecsv`` and, of networks that were trained for some clouds alone, which are compared
on these, ``supervised_clouds.ecsv`` (train_supervised.py), and the default's ``predictions.ecsv``
(``astrofractal benchmark``), and writes ``supervised_scores.ecsv``.  The formulas, contrasts and
profiles, weigh maps as the network does; the default weighs a map of a protostar with n maps by
n^-1/2.
"""

import argparse
from pathlib import Path

import numpy as np
from astropy.table import Table, vstack

from astrofractal.benchmark import (
    FORMULAS,
    OPPONENT,
    Bootstrap,
    Method,
    Scorer,
    make_protocol,
    read_predictions,
    row_numbers,
)
from astrofractal.mapset import MapSet

SCORES = ("r2_protostar", "r2")


def placed(maps, table):
    """Return a prediction of each map, NaN where the table has none."""
    keys = zip(maps.clouds.tolist(), row_numbers(maps).tolist())
    index = {key: i for i, key in enumerate(keys)}
    found = np.full(len(maps), np.nan)
    rows = [index[key] for key in zip(table["cloud"].tolist(), table["row"].tolist())]
    found[rows] = table["log_mass"]
    return found


def formulas(maps, exponent):
    """Return what contrasts and profiles say of each cloud by the others."""
    scorer = Scorer(maps, None, n_per_protostar=10)
    method = Method(OPPONENT, FORMULAS, ("ridge", "svr"), weight_exponent=exponent)
    return scorer.evaluate(method, make_protocol("leave-cloud-out", maps)).log_mass


def networks(maps, table):
    """Return, for each choice of clouds, the predictions of all seeds that have them, and their mean."""
    found = {}
    for method in dict.fromkeys(table["method"].tolist()):
        own = table[table["method"] == method]
        seeds = [placed(maps, own[own["seed"] == seed]) for seed in np.unique(own["seed"])]
        known = [np.isfinite(predicted) for predicted in seeds]
        for which in np.unique(known, axis=0):
            same = [np.where(which, p, np.nan) for p, k in zip(seeds, known) if k[which].all()]
            found[method, len(found)] = (same, np.mean(same, axis=0), own)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("maps", help="a folder of map sets")
    parser.add_argument("folder", type=Path, help="where the tables are")
    args = parser.parse_args()
    maps = MapSet.read(args.maps)
    paths = [args.folder / f"{name}.ecsv" for name in ("supervised", "supervised_clouds")]
    tables = [Table.read(path) for path in paths if path.exists()]
    exponents = {n: x for t in tables for n, x in t.meta.pop("weight_exponent").items()}
    table = vstack(tables, metadata_conflicts="silent")
    default = placed(maps, read_predictions(args.folder / "predictions.ecsv", "default"))
    opponents = {exponent: formulas(maps, exponent) for exponent in set(exponents.values())}
    rows = []
    for (method, _), (seeds, mean, own) in networks(maps, table).items():
        tested = np.isfinite(mean)
        bootstrap = Bootstrap(maps.protostars[tested], maps.clouds[tested])
        truth = maps.log_masses[tested]
        scores = [bootstrap.scores(truth, one[tested]) for one in (mean, *seeds)]
        minutes = own["minutes"][(own["row"] == 0) & np.isfinite(own["minutes"])]
        # What the default gains by the network, the mean of all seeds.
        both = bootstrap.scores(truth, (default[tested] + mean[tested]) / 2)
        row = {
            "method": method,
            "n_seeds": len(seeds),
            "weight_exponent": exponents[method],
            "n_clouds": len(np.unique(maps.clouds[tested])),
            "n_protostars": len(np.unique(maps.protostars[tested])),
            "n_maps": int(tested.sum()),
            "minutes": float(np.mean(minutes)) if len(minutes) else np.nan,
        }
        for name in SCORES:
            each = [float(score[name][0]) for score in scores[1:]]
            row[name], row[f"{name}_err"] = np.mean(each), float(np.std(scores[0][name][1:]))
            row[f"{name}_scatter"] = float(np.std(each, ddof=1)) if len(each) > 1 else np.nan
            row[f"{name}_together"] = float(scores[0][name][0])
        references = {"default": default, "formulas": opponents[exponents[method]]}
        for title, reference in references.items():
            other = bootstrap.scores(truth, reference[tested])
            if title == "default":
                for name in SCORES:
                    gain = both[name] - other[name]
                    row[f"beside_default_{name}"] = float(gain[0])
                    row[f"beside_default_{name}_err"] = float(np.std(gain[1:]))
            for name in SCORES:
                row[f"{title}_{name}"] = float(other[name][0])
                # The mean of the differences of the seeds, which share clouds and protostars.
                pairs = np.mean([score[name] - other[name] for score in scores[1:]], axis=0)
                row[f"less_{title}_{name}"] = float(pairs[0])
                row[f"less_{title}_{name}_err"] = float(np.std(pairs[1:]))
        rows.append(row)
        print(*(f"{v:.3f}" if isinstance(v, float) else v for v in row.values()), flush=True)
    found = Table(rows=rows)
    for name in found.colnames:
        if found[name].dtype.kind == "f":
            found[name].info.format = ".3f"
    for name, text in (
        ("r2", "R2 of log10 mass, each map of the same weight, the mean of the seeds"),
        (
            "r2_protostar",
            "R2 of log10 mass, each protostar of the same weight, the mean of the seeds",
        ),
        ("r2_together", "R2 of the mean log10 mass of all seeds"),
        ("r2_scatter", "standard deviation over seeds"),
        ("minutes", "of one core for one cloud and seed, where it was measured"),
        ("beside_default_r2", "of the mean of default and network, less the default"),
        ("less_default_r2", "less the default on the same maps, the mean of the seeds"),
        ("less_formulas_r2", "less contrasts and profiles with the same weights, the same maps"),
    ):
        found[name].info.description = text
    found.write(args.folder / "supervised_scores.ecsv", overwrite=True)


if __name__ == "__main__":
    main()
