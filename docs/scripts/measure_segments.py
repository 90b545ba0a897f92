"""Compare segments with those of other methods, and measure how much they change.

    python docs/scripts/measure_segments.py ../shared/data

writes docs/research/tables/segments.csv: methods on simulated clouds, and segments_real.csv: segments of
real maps under changes that leave the gas as it is, with a picture of each (.png). Rows of astrodendro
and FilFinder are left out where these are not installed. Columns of the first table, within the gas
(more than 2e21 cm-2):

- shares of the variance of log N, velocity and log dispersion between the labels;
- adjusted mutual information (AMI) with gas denser than 1e5 cm-3 where its column exceeds 3e21 cm-2, and
  with ridges, where log N is 0.12 above that of N smoothed by 6 px;
- share of the protostars less share of the area in the labels with most protostars per area, up to 0.3
  of the area;
- adjusted Rand index (ARI) with the labels of the same map at a signal-to-noise ratio of 10.
"""

import argparse
import csv
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS
from real_protostars import l1448, ngc1333
from scipy.ndimage import gaussian_filter
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

from astrofractal import FeatureSegmenter, FractalEncoder, GasMap
from astrofractal.gasmap import Abundance, XFactor

FIELDS = ("cloud16_x", "cloud02_z", "cloud02_x", "cloud16_z")  # not those of the choice of features
N_SEGMENTS = 8
N_TOKENS = 4  # components of the tokens, before the channels next to them
LEVEL = 2e21  # cm-2
KMS = u.km / u.s


class Field:
    """A simulated cloud with what is true of it."""

    def __init__(self, path):
        self.gas = GasMap.read(path)
        array = self.gas.to_array().astype(float)
        column = 10 ** array[0]
        self.inside = column > LEVEL
        self.quantities = (array[0], array[1], np.log10(array[2]))
        self.ridges = array[0] - np.log10(gaussian_filter(column, 6)) > 0.12
        with fits.open(path) as hdus:
            self.dense = hdus["DENSE_COLUMN"].data > 3e21
            sinks = hdus["SINKS"].data
            pixels = self.gas.wcs.world_to_pixel_values(sinks["ra"], sinks["dec"])
        x, y = np.rint(pixels).astype(int)
        height, width = self.gas.shape
        use = (x >= 0) & (y >= 0) & (x < width) & (y < height)
        self.sinks = y[use], x[use]

    def noisy(self):
        """Return the map with a noise of a tenth of N, of the dispersion, and in the velocity."""
        noise = 0.1 * np.random.default_rng(1).standard_normal((3, *self.gas.shape))
        return self.gas.replace(
            column_density=self.gas.column_density * np.clip(1 + noise[0], 0.1, None),
            velocity=self.gas.velocity + noise[1] * self.gas.dispersion,
            dispersion=self.gas.dispersion * np.clip(1 + noise[2], 0.1, None),
        )

    def judge(self, labels):
        """Return the columns of the table but the last."""
        use = self.inside & (labels >= 0)
        own = labels[use]
        found = [share(own, values[use]) for values in self.quantities]
        found += [adjusted_mutual_info_score(t[use], own) for t in (self.dense, self.ridges)]
        n = labels.max() + 1
        area = np.bincount(own, minlength=n) / use.sum()
        sinks = labels[self.sinks]
        stars = np.bincount(sinks[sinks >= 0], minlength=n) / len(sinks)
        taken = above = 0.0
        for k in np.argsort(-stars / np.maximum(area, 1e-9)):
            if stars[k] > 0 and taken + area[k] <= 0.3:
                taken, above = taken + area[k], above + stars[k]
        return [*found, above - taken]


def share(labels, values):
    """Return the share of the variance of values between labels."""
    count, total = np.bincount(labels), np.bincount(labels, values)
    means = total / np.maximum(count, 1)
    return np.var(means[labels]) / np.var(values)


def cluster(points, inside, weights=None):
    """Return the labels, from 0, of k-means; -1 outside of the gas."""
    labels = np.full(inside.shape, -1)
    found = KMeans(N_SEGMENTS, n_init=8, random_state=0).fit(points, sample_weight=weights)
    labels[inside] = found.labels_
    return labels


def channels(gas, *, contrast):
    """Return log N, velocity and log dispersion of the gas, smoothed by a pixel, in like units."""
    inside = gas.column_density.value > LEVEL
    array = gas.to_array().astype(float)
    array[2] = np.log10(np.maximum(array[2], 0.01))
    planes = [gaussian_filter(plane, 1) for plane in array]
    if contrast:
        planes.append(array[0] - np.log10(gaussian_filter(10 ** array[0], 8)))
    points = np.stack([plane[inside] for plane in planes], axis=1)
    return (points - points.mean(0)) / points.std(0), inside


def pixels(gas, *, contrast=False):
    """K-means of pixels, with a channel of local contrast and weights N^0.5 or without."""
    points, inside = channels(gas, contrast=contrast)
    weights = np.sqrt(gas.column_density.value[inside] / 1e22) if contrast else None
    return cluster(points, inside, weights)


def levels(gas):
    """K-means of log N alone."""
    points, inside = channels(gas, contrast=False)
    return cluster(points[:, :1], inside)


def dendrogram(gas):
    """The leaves of a dendrogram of N; the rest of the gas is label 0."""
    from astrodendro import Dendrogram

    column = gas.column_density.value
    found = Dendrogram.compute(column / LEVEL, min_value=1, min_delta=1, min_npix=16)
    labels = np.where(column > LEVEL, 0, -1)
    for number, leaf in enumerate(found.leaves, start=1):
        labels[leaf.get_mask()] = number
    return labels


def filaments(gas):
    """The filaments of FilFinder, by its mask; the rest of the gas is label 0."""
    from fil_finder import FilFinder2D

    column = gas.column_density.value
    width = np.sqrt(gas.pixel_solid_angle).to(u.deg, u.dimensionless_angles())
    found = FilFinder2D(column / 1e22, ang_scale=width, distance=gas.distance, beamwidth=2 * u.pix)
    found.preprocess_image(flatten_percent=95)
    found.create_mask(
        glob_thresh=LEVEL / 1e22, adapt_thresh=0.1 * u.pc, smooth_size=0.03 * u.pc,
        size_thresh=100 * u.pix**2, border_masking=False, verbose=False,
    )  # fmt: skip
    return np.where(column > LEVEL, (found.mask > 0).astype(int), -1)


def fractal(name, encoder):
    """Yield the rows of one encoder: the default, and its tokens alone."""
    segmenter = FeatureSegmenter(N_SEGMENTS, background=LEVEL / u.cm**2, encoder=encoder)
    cache = {}

    def result(gas):
        key = gas.fingerprint()
        if key not in cache:
            cache[key] = segmenter.segment(gas)
        return cache[key]

    def whole(gas):
        return result(gas).labels.data - 1

    def tokens(gas):
        found = result(gas)
        inside = found.labels.data > 0
        points = found.components.data[:N_TOKENS, inside].T
        return cluster(points, inside, np.sqrt(gas.column_density.value[inside] / 1e22))

    yield f"{name}: tokens + channels (default)", whole
    yield f"{name}: tokens alone", tokens


def methods(weights):
    """Return the methods by name; those of other packages where they are installed."""
    found = dict(fractal("fractal weights", FractalEncoder(weights=weights)))
    found["k-means of pixels"] = pixels
    found["k-means of pixels + contrast, weights N^0.5"] = lambda gas: pixels(gas, contrast=True)
    found["levels of log N"] = levels
    for module, (name, run) in {
        "astrodendro": ("astrodendro, leaves", dendrogram),
        "fil_finder": ("FilFinder, mask", filaments),
    }.items():
        try:
            __import__(module)
        except ImportError:
            print(f"{module} is not installed")
        else:
            found[name] = run
    return found | dict(fractal("random weights", FractalEncoder(weights="random")))


def agreement(one, other, none=-1):
    """Return the adjusted Rand index where both have a label."""
    both = (one > none) & (other > none)
    return adjusted_rand_score(one[both], other[both])


def draw(path, column, panels, width):
    """Draw column densities and labels (0: thin gas, -1: none), each cut to the gas, as one picture."""
    n_rows = -(-len(panels) // width)
    figure, axes = plt.subplots(n_rows, width, figsize=(2.6 * width, 2.7 * n_rows), squeeze=False)
    for panel in axes.flat:
        panel.axis("off")
    for panel, (title, labels), gas in zip(axes.flat, panels.items(), column, strict=False):
        rows, columns = (slice(part.min(), part.max() + 1) for part in np.nonzero(gas > 0))
        if labels is None:
            panel.imshow(np.log10(gas)[rows, columns], origin="lower", cmap="gray_r")
        else:
            found = ordered(labels, gas)[rows, columns]
            panel.imshow(found, origin="lower", cmap="turbo", interpolation="nearest")
        panel.set_title(title, fontsize=7)
    figure.tight_layout(pad=0.3)
    figure.savefig(path, dpi=90, pil_kwargs={"optimize": True})
    plt.close(figure)


def ordered(labels, column):
    """Return labels as numbers in the order of their mean column density, NaN without a label."""
    use = (labels >= 0) & (column > 0)
    found, index = np.unique(labels[use], return_inverse=True)
    order = np.argsort(np.argsort(np.bincount(index, column[use]) / np.bincount(index)))
    picture = np.full(labels.shape, np.nan)
    picture[use] = order[index] if len(found) <= N_SEGMENTS else np.minimum(index, 1)
    return picture


def compare(folder, names, weights, output):
    """Yield the rows of the first table; draw the labels of the first cloud."""
    panels = {f"{names[0]}: column density": None}
    fields = {name: Field(folder / "fields" / f"{name}.fits") for name in names}
    noisy = {name: field.noisy() for name, field in fields.items()}
    for title, run in methods(weights).items():
        rows = []
        for name, field in fields.items():
            labels = run(field.gas)
            panels.setdefault(title, labels)
            rows.append([*field.judge(labels), agreement(labels, run(noisy[name]))])
            print(title, name, np.round(rows[-1], 3), flush=True)
        yield (
            [title, *(f"{value:.2f}" for value in np.mean(rows, axis=0)[:3])]
            + [f"{value:.3f}" for value in np.mean(rows, axis=0)[3:5]]
            + [f"{value:.2f}" for value in np.mean(rows, axis=0)[5:]]
        )
    first = fields[names[0]]
    column = np.where(first.inside, first.gas.column_density.value, np.nan)
    draw(output / "segments.png", [column] * len(panels), panels, 4)


def real_maps(folder):
    """Yield the names and the maps of real clouds."""
    yield "NGC 1333, dust", ngc1333(folder)
    names = ("N_NH3", "Vlsr", "Sigma")
    yield (
        "L1688, NH3",
        GasMap.read(
            *(folder / f"droplets_L1688_{name}.fits" for name in names),
            unit="dex(cm-2)",
            no_data=0,
            column=Abundance(1e-8),
            distance=138 * u.pc,
        ),
    )
    yield (
        "Barnard 5, NH3",
        GasMap.read(
            *(folder / f"b5_NH3_{name}.fits" for name in ("11_TdV", "Vlsr", "sigma_v")),
            unit=["K km/s", "km/s", "km/s"],
            column=XFactor(5e21 / u.cm**2 / (u.K * KMS)),
            beam=6 * u.arcsec,
            distance=302 * u.pc,
        ),
    )
    yield "L1448, 13CO", l1448(folder)


def changed(gas, change=np.asarray, farther=1.0):
    """Return the map turned, cut or farther away, with a WCS whose reference is its first pixel."""
    planes = [
        None if values is None else change(values.value) * values.unit
        for values in (gas.column_density, gas.velocity, gas.dispersion)
    ]
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crpix = ("RA---TAN", "DEC--TAN"), (1, 1)
    wcs.wcs.cdelt = np.array([-1, 1]) * np.sqrt(gas.pixel_solid_angle.to_value(u.deg**2))
    return GasMap(*planes, wcs=wcs, beam=gas.beam, distance=gas.distance * farther)


def stability(folder, weights, output):
    """Yield the rows of the second table; draw the maps and their segments."""
    encoder = FractalEncoder(weights=weights)
    panels, columns = {}, []

    def segment(gas, **options):
        return FeatureSegmenter(encoder=encoder, **options).segment(gas).labels.data

    for name, gas in real_maps(folder / "real"):
        labels = segment(changed(gas))
        panels |= {name: None, f"{name}: segments": labels - 1}
        columns += [gas.column_density.value] * 2
        found = (
            (segment(changed(gas), random_state=5), labels),
            (np.rot90(segment(changed(gas, np.rot90)), -1), labels),
            (np.rot90(segment(changed(gas, lambda a: np.rot90(a, 2))), -2), labels),
            (segment(changed(gas, lambda a: a[8:])), labels[8:]),
            (segment(changed(gas, farther=1.03)), labels),
        )
        yield [name, *(f"{agreement(*pair, none=0):.2f}" for pair in found)]
    draw(output / "segments_real.png", columns, panels, 4)


def write(path, head, rows):
    """Write rows as CSV, one after the other."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        for row in rows:
            writer.writerow(row)
            file.flush()
            print(row, flush=True)


def main():
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with fields/ and real/")
    parser.add_argument("--fields", nargs="+", default=FIELDS)
    parser.add_argument("--weights", default="bundled")
    parser.add_argument("--only", choices=("methods", "real"))
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).parents[1] / "research" / "tables"
    )
    args = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning)
    args.output.mkdir(parents=True, exist_ok=True)
    if args.only != "real":
        head = ["Method", "log N", "v", "log sigma", "AMI dense gas", "AMI ridges"]
        head += ["Protostars above area", "ARI, S/N 10"]
        rows = compare(args.data, args.fields, args.weights, args.output)
        write(args.output / "segments.csv", head, rows)
    if args.only != "methods":
        head = ["Map", "Seed", "Turned 90", "Turned 180", "Cut", "Distance + 3 %"]
        rows = stability(args.data, args.weights, args.output)
        write(args.output / "segments_real.csv", head, rows)


if __name__ == "__main__":
    main()
