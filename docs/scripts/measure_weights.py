"""Measure how much more fractals help: masses from weights trained on more and more images.

    python docs/scripts/measure_weights.py random bundled runs/new.safetensors \
        --output docs/research/tables/flames.ecsv --figure docs/research/flames.png

Each cloud is predicted from the others by kernel ridge regression, from the tokens of the encoder
alone and together with sixteen contrasts; the hand-made features, contrasts and radial profiles,
use the same regressor. A map has the weight n^-0.6 where its protostar has n maps. R2 of log10 M
counts every protostar once, and differences from the hand-made features are paired; their
uncertainties are a bootstrap over clouds, then protostars. Two maps of each protostar are used as they
are, and one of them as a telescope observes it. Features are kept in ``--cache``: a run that was
interrupted continues, and weights can be added later.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
from astropy.table import Table
from measure_telescopes import ALL, telescope
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import r2_score

from astrofractal import FractalEncoder
from astrofractal.mapset import MapSet, reference_maps
from astrofractal.mass import aperture_contrasts, radial_profiles

CONDITIONS = {
    "clean": None,
    "sn10": telescope(ALL, 0, 10, 0),
    "beam2": telescope(ALL, 2, 30, 0),
    "beam2_sn10": telescope(ALL, 2, 10, 0),
    "beam4": telescope(ALL, 4, 30, 0),
}
HAND_MADE = "hand-made"


def protostar_shares(maps, exponent):
    """Return a weight per map, n^-exponent where its protostar has n maps in the whole set."""
    _, index = np.unique(maps.protostars, return_inverse=True)
    n_maps = np.bincount(index, maps.represents)[index]
    return maps.represents * n_maps**-exponent


def observed(maps, seen_by):
    """Return maps as a telescope observes them, one of each protostar; all of them without one."""
    if seen_by is None:
        return maps
    images = seen_by.observe_images(maps.images)
    _, first, index = np.unique(maps.protostars, return_index=True, return_inverse=True)
    new = maps[first]
    new.images, new.represents = images[first], np.bincount(index, maps.represents)
    return new


def encode(weights, images, path):
    """Return the tokens of maps, shape (n_maps, 384), from the cache where they are there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        encoder = FractalEncoder(weights=weights, batch_size=256)
        tokens = encoder.encode(images, pooling=("central", "scatter"), zoom=4, symmetrize=True)
        np.save(path, tokens)
    return np.load(path)


def predict_clouds(blocks, maps):
    """Predict log10 M of every cloud from the others; each block of features has the same variance."""
    weights = protostar_shares(maps, 0.6)
    found = np.empty(len(maps))
    for cloud in np.unique(maps.clouds):
        out = maps.clouds == cloud
        scaled = []
        for block in blocks:
            center, scale = np.nanmean(block[~out], 0), np.nanstd(block[~out], 0)
            scaled.append((block - center) / np.maximum(scale, 1e-6) / block.shape[1] ** 0.5)
        x = np.nan_to_num(np.hstack(scaled))
        y = maps.log_masses[~out]
        mean = np.average(y, weights=weights[~out])
        model = KernelRidge(alpha=0.3, kernel="rbf", gamma=0.2 / x[~out].var(0).sum())
        model.fit(x[~out], y - mean, sample_weight=weights[~out] / weights[~out].mean())
        found[out] = model.predict(x[out]) + mean
    return found


def bootstrap(maps, one, other, n_draws=300):
    """Return the standard deviation of a difference of R2 over draws of clouds, then protostars."""
    random = np.random.default_rng(0)
    shares = protostar_shares(maps, 1)
    members = []
    for cloud in np.unique(maps.clouds):
        names = np.unique(maps.protostars[maps.clouds == cloud])
        members.append([np.flatnonzero(maps.protostars == name) for name in names])
    differences = []
    for _ in range(n_draws):
        drawn = []
        for number in random.integers(len(members), size=len(members)):
            own = members[number]
            drawn += [own[k] for k in random.integers(len(own), size=len(own))]
        rows = np.concatenate(drawn)
        truth, w = maps.log_masses[rows], shares[rows]
        scores = [r2_score(truth, found[rows], sample_weight=w) for found in (one, other)]
        differences.append(scores[0] - scores[1])
    return np.std(differences)


def measure(maps, weights, conditions, cache, n_per_protostar):
    """Return one row per weights, the hand-made features first."""
    rows = {HAND_MADE: {"weights": HAND_MADE, "images_seen": 0}}
    for source in weights:
        card = FractalEncoder(weights=source).card
        rows[source] = {"weights": Path(source).stem, "images_seen": card["images_seen"]}
    for condition in conditions:
        seen = observed(maps, CONDITIONS[condition])
        images, score = seen.images, partial(r2_score, seen.log_masses)
        shares = {"sample_weight": protostar_shares(seen, 1)}
        contrasts, profiles = aperture_contrasts(images), radial_profiles(images)
        reference = predict_clouds([np.hstack([contrasts, profiles])], seen)
        rows[HAND_MADE] |= {
            f"r2_{condition}": score(reference, **shares),
            f"tokens_{condition}": np.nan,
        }
        rows[HAND_MADE] |= {f"lead_{condition}": 0.0, f"lead_{condition}_err": 0.0}
        for source in weights:
            name = f"{Path(source).stem}-{condition}-{n_per_protostar}.npy"
            tokens = encode(source, images, cache / name)
            alone = predict_clouds([tokens], seen)
            both = predict_clouds([tokens, contrasts], seen)
            rows[source] |= {
                f"r2_{condition}": score(both, **shares),
                f"tokens_{condition}": score(alone, **shares),
                f"lead_{condition}": score(both, **shares) - score(reference, **shares),
                f"lead_{condition}_err": bootstrap(seen, both, reference),
            }
            print(*(f"{v:.3f}" if isinstance(v, float) else v for v in rows[source].values()))
    return Table(rows=list(rows.values()))


def draw(table, conditions, path):
    """Plot the lead over hand-made features against the number of images."""
    import matplotlib.pyplot as plt

    table = table[table["weights"] != HAND_MADE]
    table.sort("images_seen")
    figure, axes = plt.subplots(figsize=(6.5, 3.5), layout="constrained")
    labels = [f"{n / 1000:.0f}k" if n else "random" for n in table["images_seen"]]
    for k, name in enumerate(conditions):
        place = np.arange(len(table)) + 0.08 * (k - 0.5 * (len(conditions) - 1))
        lead, error = table[f"lead_{name}"], table[f"lead_{name}_err"]
        axes.errorbar(place, lead, error, fmt="o-", capsize=3, label=name.replace("_", ", "))
    axes.axhline(0, color="0.5", linewidth=1)
    axes.set_xticks(range(len(table)), labels)
    axes.set(
        xlabel="Images seen", ylabel="R$^2$ per protostar, difference\nfrom hand-made features"
    )
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("weights", nargs="+", help="random, bundled or .safetensors files")
    parser.add_argument("--maps", help="a map set or a folder of them; by default the bundled maps")
    parser.add_argument("--per-protostar", type=int, default=2, metavar="N", help="maps, at most")
    parser.add_argument("--conditions", nargs="+", choices=CONDITIONS, default=list(CONDITIONS))
    parser.add_argument("--cache", type=Path, default=Path("runs/features"))
    parser.add_argument("--output", type=Path, help="write the table to this ECSV file")
    parser.add_argument("--figure", type=Path, help="write the figure to this file")
    args = parser.parse_args()
    maps = reference_maps() if args.maps is None else MapSet.read(args.maps)
    maps = maps.limit(args.per_protostar)
    print(f"{len(maps)} maps of {len(np.unique(maps.protostars))} protostars")
    table = measure(maps, args.weights, args.conditions, args.cache, args.per_protostar)
    for name in table.colnames[2:]:
        table[name].info.format = ".3f"
    if args.output:
        table.write(args.output, overwrite=True)
    if args.figure:
        draw(table, args.conditions, args.figure)


if __name__ == "__main__":
    main()
