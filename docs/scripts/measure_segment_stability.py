"""Measure how much segments change with what does not change the gas.

    python docs/scripts/measure_segment_stability.py ../shared/data

writes docs/user/tables/segment_stability.csv: adjusted Rand indices between the segments of a map and
those with another seed, of the map turned by 180 degrees, without its first 8 rows, at a distance 3 %
larger, without its first 4 rows and columns, and with noise (5 % in N, 0.05 km/s in velocities). The
reference pixel of the WCS, to which the windows of the network are tied, is always the first pixel of
the array, so that they lie elsewhere on the gas of a map that was turned or cut. Beside the segments
of the network: those of random weights, and KMeans of the channels smoothed by 4 px.
"""

import argparse
import csv
import warnings
from pathlib import Path

import numpy as np
import real_protostars
from astropy import units as u
from astropy.wcs import WCS
from scipy.ndimage import gaussian_filter
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from astrofractal import FeatureSegmenter, FractalEncoder, GasMap
from astrofractal.encoder import ChannelNormalization

N_SEGMENTS = 6
ROWS = 8
SHIFT = 4
FARTHER = 1.03
KMS = u.km / u.s
REAL = {
    "L1688, NH3": "L1688",
    "NGC 1333 SE, N(H2)": "NGC 1333",
    "L1551, dust": "L1551",
    "L1448, 13CO": "L1448",
    "Per-emb-2, HC3N": "Per-emb-2",
}
FIELDS = ("cloud01_z", "cloud02_x", "cloud04_z", "cloud09_z")
FIELD_SIZE = 128
ALL = slice(None)


def maps(folder, words):
    """Yield names and maps: real ones whole, fields without their borders."""
    for name, key in REAL.items():
        if not any(word in name for word in words):
            continue
        yield name, real_protostars.MAPS[key](folder / "real")
    for name in FIELDS:
        if not any(word in name for word in words):
            continue
        gas = GasMap.read(folder / "fields" / f"{name}.fits")
        first = [(n - FIELD_SIZE) // 2 for n in gas.shape]
        inner = tuple(slice(start, start + FIELD_SIZE) for start in first)
        cloud, axis = name.split("_")
        yield f"simulated {cloud[:5]} {cloud[5:]}, along {axis}", gas[inner]


def changed(gas, *, part=(ALL, ALL), turn=False, farther=1.0, noise=None):
    """Return the map with a WCS of its own, cut, turned, farther away or with noise."""

    def channel(values):
        if values is None:
            return None
        values = values[part]
        return values[::-1, ::-1] if turn else values

    column, velocity, dispersion = (
        channel(values) for values in (gas.column_density, gas.velocity, gas.dispersion)
    )
    if noise is not None:
        random = np.random.default_rng(noise).standard_normal((3, *gas.shape))
        column = column * np.clip(1 + 0.05 * random[0], 0.1, None)
        if velocity is not None:
            velocity = velocity + 0.05 * random[1] * KMS
        if dispersion is not None:
            dispersion = np.clip(dispersion + 0.05 * random[2] * KMS, 0.01 * KMS, None)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crpix = ("RA---TAN", "DEC--TAN"), (1, 1)
    wcs.wcs.cdelt = np.array([-1, 1]) * np.sqrt(gas.pixel_solid_angle.to_value(u.deg**2))
    return GasMap(
        column, velocity, dispersion, wcs=wcs, beam=gas.beam, distance=gas.distance * farther
    )


#: What is done to the map, and which part of the first labels the second ones cover.
CHANGES = {
    "Turn": ({"turn": True}, (slice(None, None, -1),) * 2),
    "Crop": ({"part": (slice(ROWS, None), ALL)}, (slice(ROWS, None), ALL)),
    "Distance": ({"farther": FARTHER}, (ALL, ALL)),
    "Shift": ({"part": (slice(SHIFT, None),) * 2}, (slice(SHIFT, None),) * 2),
    "Noise": ({"noise": 0}, (ALL, ALL)),
}


def features(encoder, n_views):
    """Segments of an encoder's features."""

    def run(gas, seed):
        segmenter = FeatureSegmenter(
            N_SEGMENTS, encoder=encoder, n_views=n_views, random_state=seed
        )
        return segmenter.segment(gas).labels.data

    return run


def pixels(gas, seed, *, sigma=4.0):
    """KMeans of the smoothed channels."""
    array = ChannelNormalization()(gas.to_array()[None])[0]
    good = ~gas.mask
    weight = gaussian_filter(good.astype(float), sigma)
    known = [plane for plane in array if plane.any()]
    smooth = [
        gaussian_filter(np.where(good, plane, 0).astype(float), sigma) / np.maximum(weight, 1e-9)
        for plane in known
    ]
    labels = np.zeros(gas.shape, int)
    found = KMeans(N_SEGMENTS, n_init=4, random_state=seed)
    labels[good] = found.fit_predict(np.stack(smooth)[:, good].T) + 1
    return labels


def agreement(one, other):
    """Adjusted Rand index of the pixels that both label."""
    both = (one > 0) & (other > 0)
    return float(adjusted_rand_score(one[both], other[both]))


def main():
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with real/ and fields/")
    parser.add_argument(
        "--output", type=Path,
        default=Path(__file__).parents[1] / "user" / "tables" / "segment_stability.csv",
    )  # fmt: skip
    parser.add_argument("--maps", nargs="*", default=[""], help="words of names; all by default")
    parser.add_argument("--methods", nargs="*", default=[""], help="likewise")
    parser.add_argument("--views", type=int, default=40, help="n_views (default: %(default)s)")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    methods = {
        "fractal weights": features(FractalEncoder(), args.views),
        "random weights": features(FractalEncoder(weights="random"), args.views),
        "smoothed pixels": pixels,
    }
    rows = []
    for name, gas in maps(args.data, args.maps):
        for method, run in methods.items():
            if not any(word in method for word in args.methods):
                continue
            plain = changed(gas)
            first = run(plain, 0)
            row = {"Map": name, "Method": method}
            row["Seed"] = agreement(first, run(plain, 1))
            for change, (options, part) in CHANGES.items():
                other = changed(gas, **options)
                row[change] = agreement(first[part], run(other, 0))
            rows.append({k: v if isinstance(v, str) else f"{v:.2f}" for k, v in row.items()})
            print(*rows[-1].values(), sep="  ", flush=True)
    args.output.parent.mkdir(exist_ok=True)
    with open(args.output, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
