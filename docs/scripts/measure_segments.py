"""Measure what the components mean and how segments compare with those of other methods.

    python docs/scripts/measure_segments.py ../shared/data/fields

writes the tables of docs/method/components.rst into docs/method/tables. It needs, beyond astrofractal,
scikit-image and astrodendro.
"""

import argparse
import csv
import warnings
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from scipy.ndimage import distance_transform_edt, gaussian_filter
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from astrofractal import FeatureSegmenter, FractalEncoder, GasMap
from astrofractal.encoder import ChannelNormalization

CLOUDS = ("cloud01", "cloud02", "cloud04")
AXES = ("x", "z")
N_SEGMENTS = 6
DENSE_SHARE = 0.3  # of the column that comes from n(H2) > 1e5 cm-3
NEAR = 0.1  # pc, from a sink
NOISE = {"column_density": 0.05, "velocity": 0.05, "dispersion": 0.05}  # relative, km/s, km/s
SHIFT = 4  # pixels: half a patch
SEED = 0


class Cloud:
    """A field with its truth: where the dense gas around sinks is, and the sinks."""

    def __init__(self, path):
        self.gas = GasMap.read(path)
        with fits.open(path) as hdus:
            share = hdus["DENSE_COLUMN"].data / hdus["COLUMN_DENSITY"].data
            sinks = hdus["SINKS"].data
            x, y = self.gas.wcs.world_to_pixel_values(sinks["ra"], sinks["dec"])
        inside = (x > -0.5) & (y > -0.5) & (x < share.shape[1] - 0.5) & (y < share.shape[0] - 0.5)
        self.sinks = np.rint([y[inside], x[inside]]).astype(int)
        away = np.ones(share.shape, bool)
        away[tuple(self.sinks)] = False
        near = distance_transform_edt(away) * self.gas.pixel_scale.to_value(u.pc) < NEAR
        self.truth = near & (share > DENSE_SHARE)


def free(gas, part=slice(None)):
    """A map without WCS, so that nothing anchors the windows to the sky."""
    return GasMap(
        gas.column_density[part, part],
        gas.velocity[part, part],
        gas.dispersion[part, part],
        pixel_scale=gas.pixel_scale,
    )


def noisy(gas):
    """The map with noise."""
    rng = np.random.default_rng(SEED)
    noise = rng.standard_normal((3, *gas.shape))
    column = gas.column_density * np.clip(1 + NOISE["column_density"] * noise[0], 0.1, None)
    kms = u.km / u.s
    return GasMap(
        column,
        gas.velocity + NOISE["velocity"] * noise[1] * kms,
        np.clip(gas.dispersion + NOISE["dispersion"] * noise[2] * kms, 0.01 * kms, None),
        pixel_scale=gas.pixel_scale,
    )


def order(labels, log_column, n_labels):
    """Number labels by mean log N."""
    means = [
        log_column[labels == k].mean() if (labels == k).any() else -np.inf for k in range(n_labels)
    ]
    number = np.empty(n_labels, int)
    number[np.argsort(means)] = np.arange(1, n_labels + 1)
    return number[labels]


def features(encoder, **options):
    """Segments of an encoder's features."""

    def run(gas):
        segmenter = FeatureSegmenter(N_SEGMENTS, encoder=encoder, random_state=SEED, **options)
        return segmenter.segment(gas).labels.data

    return run


def pixels(channels, sigma=0.0):
    """KMeans of the normalized channels, smoothed or not."""

    def run(gas):
        array = ChannelNormalization()(gas.to_array()[None])[0][:channels]
        if sigma:
            array = np.stack([gaussian_filter(plane, sigma) for plane in array])
        found = KMeans(N_SEGMENTS, n_init=4, random_state=SEED)
        found = found.fit_predict(array.reshape(channels, -1).T).reshape(gas.shape)
        return order(found, gas.to_array()[0], N_SEGMENTS)

    return run


def slic(gas):
    """SLIC superpixels of about the area of a patch, of log N."""
    from skimage.segmentation import slic as find

    log_column = gas.to_array()[0]
    low, high = np.percentile(log_column, [1, 99.9])
    image = np.clip((log_column - low) / (high - low), 0, 1)
    found = find(image, n_segments=gas.mask.size // 64, compactness=0.05, channel_axis=None)
    found -= found.min()
    return order(found, log_column, found.max() + 1)


def sources(gas):
    """photutils: sources above the background, deblended."""
    from photutils.background import MADStdBackgroundRMS, MedianBackground
    from photutils.segmentation import deblend_sources, detect_sources

    column = gaussian_filter(gas.column_density.value / 1e22, 1.0)
    threshold = MedianBackground()(column) + 3 * MADStdBackgroundRMS()(column)
    found = detect_sources(column, threshold, n_pixels=25)
    found = deblend_sources(column, found, n_pixels=25, progress_bar=False)
    return found.data


def dendrogram(gas):
    """astrodendro: the leaves."""
    from astrodendro import Dendrogram

    column = gas.column_density.value / 1e22
    found = Dendrogram.compute(
        column, min_value=float(np.median(column)) * 3, min_delta=0.3, min_npix=25
    )
    labels = np.zeros(gas.shape, int)
    for number, leaf in enumerate(found.leaves, start=1):
        labels[leaf.get_mask()] = number
    return labels


def overlap(one, other):
    """Intersection over union."""
    return (one & other).sum() / max((one | other).sum(), 1)


def judge(labels, cloud, *, finder):
    """Measures of one label map against the truth."""
    log_column = cloud.gas.to_array()[0]
    numbers = np.unique(labels[labels > 0])
    means = np.array([log_column[labels == k].mean() for k in numbers])
    chosen = np.zeros(labels.shape, bool)
    best = 0.0
    for number in numbers[np.argsort(means)[::-1]]:
        chosen |= labels == number
        best = max(best, overlap(chosen, cloud.truth))
        if chosen.mean() > 0.5:
            break
    dense = labels > 0 if finder else labels == labels.max()
    return {
        "iou": overlap(dense, cloud.truth),
        "best": best,
        "sinks": dense[tuple(cloud.sinks)].mean(),
        "area": dense.mean(),
    }


def mass_shares(labels, gas, *, finder):
    """Share of the mass in each segment, by rank; inside and outside for a finder."""
    number = (labels > 0).astype(int) if finder else labels
    mass = np.bincount(number.ravel(), gas.column_density.value.ravel(), minlength=N_SEGMENTS + 1)
    return mass / mass.sum()


def compare(clouds, methods):
    """Rows of the table of methods."""
    for name, (run, kind) in methods.items():
        finder = kind == "finder"
        found = {key: run(cloud.gas) for key, cloud in clouds.items()}
        scores = [judge(found[key], cloud, finder=finder) for key, cloud in clouds.items()]
        row = {"method": name}
        row |= {key: np.mean([score[key] for score in scores]) for key in scores[0]}
        row["noise"], row["shift"] = [], []
        for key, cloud in clouds.items():
            if not key.endswith("z"):
                continue
            plain = run(free(cloud.gas))
            row["noise"].append(adjusted_rand_score(plain.ravel(), run(noisy(cloud.gas)).ravel()))
            moved = run(free(cloud.gas, slice(SHIFT, None)))
            kept = plain[SHIFT:, SHIFT:]
            row["shift"].append(adjusted_rand_score(kept.ravel(), moved.ravel()))
        row["projections"] = "" if kind == "superpixels" else np.mean(
            [
                0.5 * np.abs(
                    mass_shares(found[f"{c}_x"], clouds[f"{c}_x"].gas, finder=finder)
                    - mass_shares(found[f"{c}_z"], clouds[f"{c}_z"].gas, finder=finder)
                ).sum()
                for c in CLOUDS
            ]
        )  # fmt: skip
        if kind == "superpixels":  # their densest one is 8 pixels wide: no region
            row["iou"] = row["sinks"] = row["area"] = ""
        for key in ("noise", "shift"):
            row[key] = np.mean(row[key])
        print(row, flush=True)
        yield row


def meanings(clouds, encoder):
    """Rows of the table of components, of one segmenter fitted on all maps."""
    segmenter = FeatureSegmenter(N_SEGMENTS, encoder=encoder, random_state=SEED)
    segmenter.fit([cloud.gas for cloud in clouds.values()])
    tables, ratios = [], None
    for cloud in clouds.values():
        result = segmenter.segment(cloud.gas)
        tables.append(result.correlations)
        ratios = result.explained_variance_ratio
    names = tables[0].colnames[1:]
    values = np.array([[table[name] for name in names] for table in tables])
    for number, ratio in enumerate(ratios):
        row = {"component": number + 1, "variance": f"{ratio:.1%}"}
        for name, column in zip(names, np.moveaxis(values[..., number], 1, 0), strict=True):
            row[name] = f"{column.mean():+.2f} ± {column.std(ddof=1):.2f}"
        print(row, flush=True)
        yield row


HEADS = {
    "component": "Component",
    "variance": "Variance",
    "log_column_density": "log N",
    "velocity": "v_los",
    "dispersion": "sigma_v",
    "column_density_gradient": "\\|grad N\\|",
    "spectral_slope": "Spectral slope",
    "method": "Method",
    "iou": "IoU",
    "best": "IoU, best union",
    "sinks": "Sinks inside",
    "area": "Area",
    "noise": "ARI, noise",
    "shift": "ARI, shift",
    "projections": "Projections",
}


def write(path, rows):
    """Write rows as CSV."""
    rows = list(rows)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([HEADS[key] for key in rows[0]])
        for row in rows:
            writer.writerow(
                [f"{value:.2f}" if isinstance(value, float) else value for value in row.values()]
            )


def main():
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fields", type=Path, help="folder of the simulated fields")
    parser.add_argument("--weights", default="bundled")
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).parents[1] / "method" / "tables"
    )
    parser.add_argument("--only", choices=("meanings", "methods"))
    args = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*divide by zero.*")
    clouds = {f"{c}_{a}": Cloud(args.fields / f"{c}_{a}.fits") for c in CLOUDS for a in AXES}
    fractal = FractalEncoder(weights=args.weights)
    untrained = FractalEncoder(weights="random")
    args.output.mkdir(parents=True, exist_ok=True)
    if args.only != "methods":
        for name, encoder in (("fractal", fractal), ("random", untrained)):
            write(args.output / f"components_{name}.csv", meanings(clouds, encoder))
    if args.only == "meanings":
        return
    finest = fractal.patch_size * 0.5 * u.pc / fractal.image_size
    methods = {
        "FeatureSegmenter, fractal weights": (features(fractal), "segments"),
        "FeatureSegmenter, random weights": (features(untrained), "segments"),
        "KMeans, pixels (3 channels)": (pixels(3), "segments"),
        "KMeans, smoothed pixels (3 channels)": (pixels(3, 4.0), "segments"),
        "KMeans, log N alone": (pixels(1), "segments"),
        "SLIC superpixels": (slic, "superpixels"),
        "photutils, detected and deblended": (sources, "finder"),
        "astrodendro, leaves": (dendrogram, "finder"),
    }
    write(args.output / "segments_methods.csv", compare(clouds, methods))
    card = fractal.card
    (args.output / "segments_weights.txt").write_text(
        f"Weights ``{fractal.weights_id}`` ({card['images_seen']:,} images seen); "
        f"a patch is {finest.to_value(u.pc):.3f} pc wide.\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
