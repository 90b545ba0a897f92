"""Measure what other readouts of the frozen network are worth beside the default's.

    python docs/scripts/measure_readouts.py ../shared/data/mhd

Masses are told by support vectors from the tokens of the bundled weights and from aperture contrasts,
as by default, one cloud held out at a time; but tokens are taken at other magnifications, behind other
blocks, from more patches, from the class token, and with their scatter over the sixteen symmetric views
beside their mean. Printed are R2 of log10 M per protostar and per map, and the paired differences from
the default. Takes half an hour of one core.
"""

import argparse

import numpy as np
import torch

from astrofractal import FractalEncoder
from astrofractal._utils.progress import progress
from astrofractal.benchmark.scores import paired_rows
from astrofractal.mapset import MapSet
from astrofractal.mass import aperture_contrasts
from astrofractal.mass.domain import Scaler
from astrofractal.mass.regressors import fit_regressor, make_regressor
from astrofractal.mass.training import SYMMETRIES, make_views
from astrofractal.mass.validation import protostar_weights, r2_score

BLOCKS = (6, 9, 12)  # behind which tokens are taken
DEFAULT = "default: 4 times, 12 blocks"


def readouts(encoder, images, zoom):
    """Return the mean and the scatter over symmetric views of what is read, by block and place."""
    images = torch.from_numpy(encoder.normalize(images))
    found = {}
    for batch in progress(images.split(64), True, desc=f"magnified {zoom:g} times"):
        views = {}
        for pose in SYMMETRIES:
            view = make_views(
                batch, np.tile(pose, (len(batch), 1)), zoom=zoom, size=batch.shape[-1]
            )
            with torch.inference_mode():
                layers = encoder.model.forward_intermediates(
                    view, indices=[n - 1 for n in BLOCKS], norm=True, return_prefix_tokens=True,
                    intermediates_only=True,
                )  # fmt: skip
            for n, (patches, prefix) in zip(BLOCKS, layers):
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


def left_out(maps, parts, regressor):
    """Return what the others say of each cloud by features of several kinds, each of the same weight."""
    features, blocks = np.hstack(parts), [part.shape[1] for part in parts]
    weights = protostar_weights(maps.sinks, 0.5, maps.represents)
    found = np.empty(len(maps))
    for cloud in np.unique(maps.clouds):
        out = maps.clouds == cloud
        scaler = Scaler(blocks).fit(features[~out])
        model = fit_regressor(
            make_regressor(regressor), scaler.transform(features[~out]), maps.log_masses[~out],
            sample_weight=weights[~out], groups=maps.clouds[~out],
        )  # fmt: skip
        found[out] = model.predict(scaler.transform(features[out]))
    return found


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

    default = [near(4), contrasts]
    variants = {
        DEFAULT: (default, "svr"),
        "ridge regression": (default, "ridge"),
        "ridge regression and support vectors": (default, ("ridge", "svr")),
        "magnified 2 times": ([near(2), contrasts], "svr"),
        "magnified 8 times": ([near(8), contrasts], "svr"),
        "2 and 4 times": ([near(2), *default], "svr"),
        "4 and 8 times": ([near(8), *default], "svr"),
        "6 blocks": ([near(4, 6), contrasts], "svr"),
        "9 blocks": ([near(4, 9), contrasts], "svr"),
        "9 and 12 blocks": ([near(4, 9), *default], "svr"),
        "6, 9 and 12 blocks": ([near(4, 6), near(4, 9), *default], "svr"),
        "4 x 4 patches as well": ([read[4][12, "wide", "mean"], *default], "svr"),
        "class token as well": ([read[4][12, "class", "mean"], *default], "svr"),
        "scatter over views as well": ([read[4][12, "near", "scatter"], *default], "svr"),
    }
    found = {name: left_out(maps, *variant) for name, variant in variants.items()}
    pairs = [(name, DEFAULT) for name in found]
    rows = paired_rows(maps.log_masses, found, pairs, sinks=maps.sinks, clouds=maps.clouds)
    each = protostar_weights(maps.sinks, 1, maps.represents)
    for row in (row for row in rows if row["cloud"] == "all"):
        predicted = found[row["method"]]
        scores = [r2_score(maps.log_masses, predicted, w) for w in (each, maps.represents)]
        print(
            f"{row['method']}: {scores[0]:.3f} / {scores[1]:.3f}, less the default "
            f"{row['r2_protostar']:+.3f} +- {row['r2_protostar_err']:.3f} / "
            f"{row['r2']:+.3f} +- {row['r2_err']:.3f}"
        )


if __name__ == "__main__":
    main()
