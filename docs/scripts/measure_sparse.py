"""Measure what velocities are worth that are known in a part of the pixels, with clouds held out.

    python docs/scripts/measure_sparse.py ../shared/data/mhd

blanks velocity and dispersion of one map of each protostar, in all but its densest pixels, as a line is
seen in dense gas alone, or in all but those around its center, and predicts it by the bundled
calibration without its cloud. It prints R2 per protostar, what the intervals hold, and the share that
is out of distribution, beside the calibration by column density alone. It takes half an hour of one
core.
"""

import argparse

import numpy as np
from sklearn.metrics import r2_score

from astrofractal import StellarMassEstimator
from astrofractal.gasmap.moments import CHANNELS, keep_channels
from astrofractal.mapset import MapSet
from astrofractal.mass.measures import appearance


def sparse(images, known, where):
    """Return images whose velocities are known in a part of the pixels: densest or central ones."""
    images = images.copy()
    y, x = np.indices(images.shape[2:]) - (np.array(images.shape[2:])[:, None, None] - 1) / 2
    for image in images:
        rank = image[0] if where == "densest" else -np.hypot(x, y)
        image[1:, rank < np.nanquantile(rank, 1 - known)] = np.nan
        # A map's velocities are relative to the mean weighted by the column where they are known.
        weight = np.where(np.isfinite(image[1]), 10.0 ** (image[0] - 22), 0)
        image[1] -= np.sum(weight * np.nan_to_num(image[1])) / weight.sum()
    return images


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("maps", help="a map set, or a folder of them, with several clouds")
    parser.add_argument("--known", type=float, nargs="+", default=[0.05, 0.1, 0.2, 1.0])
    args = parser.parse_args()
    maps = MapSet.read(args.maps).limit(1)
    true, estimator = maps.log_masses, StellarMassEstimator()
    without = {
        (channels, cloud): estimator.calibrations_[channels].leave_out([cloud])
        for channels in (CHANNELS[:1], CHANNELS)
        for cloud in np.unique(maps.clouds)
    }
    cases = [(known, where) for where in ("densest", "central") for known in args.known]
    for known, where in ((0.0, "densest"), *cases):
        channels = CHANNELS if known else CHANNELS[:1]
        features = estimator.calibrations_[channels].features
        images = keep_channels(sparse(maps.images, known or 1.0, where), channels)
        X, _ = features.compute(images, channels, encoder=estimator.encoder_)
        looks = appearance(images)
        mass, ood, half, wide = np.empty((4, len(maps)))
        for cloud in np.unique(maps.clouds):
            test, calibration = maps.clouds == cloud, without[channels, cloud]
            mass[test], difficulty, ood[test] = calibration.evaluate(X[test], looks[test])
            half[test], wide[test] = (calibration.half_width(p, difficulty) for p in (0.68, 0.9))
        error = mass - true
        held = [np.mean(np.abs(error) <= h) for h in (half, wide)]
        print(
            f"known in {known:g}, {where}: R2 {r2_score(true, mass):.3f}, bias {error.mean():+.2f} "
            f"dex, held {held[0]:.2f} and {held[1]:.2f}, half of the 68 % interval {half.mean():.2f} "
            f"dex, out of distribution {np.mean(ood > estimator.ood_threshold):.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
