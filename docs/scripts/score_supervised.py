"""Train networks end to end on the labeled maps, and score them, paired with the default.

    python docs/scripts/score_supervised.py MAPS docs/research/benchmark [--train "small CNN"]

With ``--train``, each cloud is held out once, and ``supervised.ecsv`` gets what it lacks: a run that was
interrupted continues. Networks that were trained for some clouds alone, in ``supervised_clouds.ecsv``,
are compared on these. The default's masses are those of ``predictions.ecsv`` (``astrofractal
benchmark``). ``supervised_scores.ecsv`` is written.
"""

import argparse
import logging
from pathlib import Path

import numpy as np
from astropy.table import Table, vstack

from astrofractal.benchmark import Bootstrap, placed
from astrofractal.benchmark.supervised import SUPERVISED, train_supervised
from astrofractal.mapset import MapSet

SCORES = ("r2_protostar", "r2")
DESCRIPTIONS = {
    "r2": "R2 of log10 mass, each map of the same weight, the mean of the seeds",
    "r2_protostar": "R2 of log10 mass, each protostar of the same weight, the mean of the seeds",
    "r2_scatter": "standard deviation over seeds",
    "minutes": "of one core for one cloud and seed, where it was measured",
    "beside_default_r2": "of the mean of default and network, less the default",
    "less_default_r2": "less the default on the same maps, the mean of the seeds",
}


def networks(maps, table):
    """Yield, for each choice of clouds, the predictions of all seeds that have them, and their mean."""
    for method in dict.fromkeys(table["method"].tolist()):
        own = table[table["method"] == method]
        seeds = [placed(maps, own[own["seed"] == seed]) for seed in np.unique(own["seed"])]
        known = [np.isfinite(predicted) for predicted in seeds]
        for which in np.unique(known, axis=0):
            same = [np.where(which, p, np.nan) for p, k in zip(seeds, known) if k[which].all()]
            yield method, same, np.mean(same, axis=0), own


def scores(maps, seeds, mean, default):
    """Return the scores of a network, and its differences from the default."""
    tested = np.isfinite(mean)
    bootstrap = Bootstrap(maps.protostars[tested], maps.clouds[tested])

    def scored(log_mass):
        return bootstrap.scores(maps.log_masses[tested], log_mass[tested])

    each, together, reference = [scored(one) for one in seeds], scored(mean), scored(default)
    both = scored((default + mean) / 2)  # what the default gains by the network
    row = {
        "n_clouds": len(np.unique(maps.clouds[tested])),
        "n_protostars": len(np.unique(maps.protostars[tested])),
        "n_maps": int(tested.sum()),
    }
    for name in SCORES:
        values = [float(one[name][0]) for one in each]
        row[name], row[f"{name}_err"] = np.mean(values), float(np.std(together[name][1:]))
        row[f"{name}_scatter"] = float(np.std(values, ddof=1)) if len(values) > 1 else np.nan
        differences = {
            "beside_default": both[name] - reference[name],
            # The mean of the differences of the seeds, which share clouds and protostars.
            "less_default": np.mean([one[name] - reference[name] for one in each], axis=0),
        }
        for title, found in differences.items():
            row[f"{title}_{name}"] = float(found[0])
            row[f"{title}_{name}_err"] = float(np.std(found[1:]))
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("maps", help="a folder of map sets")
    parser.add_argument("folder", type=Path, help="where the tables are")
    parser.add_argument("--train", nargs="+", choices=SUPERVISED, metavar="NETWORK")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--clouds", nargs="+", help="hold out these alone")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    maps = MapSet.read(args.maps)
    if args.train:
        options = {"methods": args.train, "seeds": args.seeds, "clouds": args.clouds}
        train_supervised(maps, args.folder / "supervised.ecsv", **options)
    paths = [args.folder / f"{name}.ecsv" for name in ("supervised", "supervised_clouds")]
    tables = [Table.read(path) for path in paths if path.exists()]
    exponents = {n: x for t in tables for n, x in t.meta.pop("weight_exponent").items()}
    known = Table.read(args.folder / "predictions.ecsv")
    default = placed(maps, known[known["method"] == "default"])
    rows = []
    for method, seeds, mean, own in networks(maps, vstack(tables, metadata_conflicts="silent")):
        minutes = own["minutes"][(own["row"] == 0) & np.isfinite(own["minutes"])]
        row = {
            "method": method,
            "n_seeds": len(seeds),
            "weight_exponent": exponents[method],
            "minutes": float(np.mean(minutes)) if len(minutes) else np.nan,
        }
        rows.append(row | scores(maps, seeds, mean, default))
        print(*(f"{v:.3f}" if isinstance(v, float) else v for v in rows[-1].values()), flush=True)
    found = Table(rows=rows)
    for name in found.colnames:
        found[name].info.description = DESCRIPTIONS.get(name)
        if found[name].dtype.kind == "f":
            found[name].info.format = ".3f"
    found.write(args.folder / "supervised_scores.ecsv", overwrite=True)


if __name__ == "__main__":
    main()
