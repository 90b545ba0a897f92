"""Measure how much patch tokens tell of their place in the window instead of the gas.

    python docs/scripts/measure_positions.py ../shared/data/fields bundled random

cuts windows at random places and orientations out of fields, so that where a patch lies in its window
says nothing of its gas, and fits a ridge regression and five nearest neighbors from a token to the x
and y of its patch, on some clouds for the others. Tokens are taken as they come, and less the mean
of the tokens at the same place in the windows of the first clouds.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import StandardScaler

from astrofractal import FractalEncoder, GasMap


def windows(gas, size, n, random):
    """Return windows of a map at random places, each turned and mirrored at random."""
    array, (ny, nx) = gas.to_array(), gas.shape
    found = []
    for _ in range(n):
        y, x = random.integers(ny - size + 1), random.integers(nx - size + 1)
        window = array[:, y : y + size, x : x + size]
        window = np.rot90(window, random.integers(4), (1, 2))
        found.append(window[:, :, ::-1] if random.integers(2) else window)
    return np.stack(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("fields", type=Path, help="a folder of fields, CLOUD_AXIS.fits")
    parser.add_argument("weights", nargs="+", help="bundled, random or files")
    parser.add_argument("--per-field", type=int, default=100, metavar="N", help="windows of each")
    args = parser.parse_args()
    paths = sorted(args.fields.glob("*.fits"))
    clouds = np.array([path.stem.partition("_")[0] for path in paths])
    names = np.unique(clouds)
    test = np.isin(clouds, names[len(names) // 2 :])
    for weights in args.weights:
        encoder, random = FractalEncoder(weights=weights), np.random.default_rng(0)
        tokens = np.stack(
            [
                encoder.patch_features(
                    windows(GasMap.read(path), encoder.image_size, args.per_field, random)
                )
                for path in paths
            ]
        ).astype(float)
        place = np.stack(np.indices(tokens.shape[2:4]), -1)
        place = np.broadcast_to(place, (*tokens.shape[:4], 2)).reshape(*tokens.shape[:2], -1, 2)
        tokens = tokens.reshape(*place.shape[:3], -1)
        mean = tokens[~test].mean((0, 1))
        share = (mean.var(0) / tokens[~test].var((0, 1, 2))).mean()
        print(f"{weights}: share of the variance that the place explains {share:.2f}")
        for name, values in (("as they come", tokens), ("less the mean", tokens - mean)):
            scaler = StandardScaler()
            x = scaler.fit_transform(np.concatenate(values[~test]).reshape(-1, values.shape[-1]))
            y = place[~test].reshape(-1, 2)
            x_test = scaler.transform(values[test].reshape(-1, values.shape[-1]))
            y_test = place[test].reshape(-1, 2)
            few = np.random.default_rng(1).permutation(len(x))[:10000]
            few_test = np.random.default_rng(2).permutation(len(x_test))[:2000]
            scores = [
                r2_score(y_test, Ridge(10.0).fit(x, y).predict(x_test)),
                r2_score(
                    y_test[few_test],
                    KNeighborsRegressor(5).fit(x[few], y[few]).predict(x_test[few_test]),
                ),
            ]
            print(f"  {name}: R2 of x and y, linear {scores[0]:.3f}, neighbors {scores[1]:.3f}")


if __name__ == "__main__":
    main()
