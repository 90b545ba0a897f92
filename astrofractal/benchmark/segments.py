"""The study "segments": next to those of other methods, and of maps that are changed."""

from functools import cache
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS
from scipy.ndimage import gaussian_filter
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

from astrofractal._utils.atomic import atomic_path
from astrofractal._utils.progress import progress
from astrofractal.benchmark.telescopes import sinks
from astrofractal.encoder import FractalEncoder
from astrofractal.gasmap import GasMap
from astrofractal.segmentation import FeatureSegmenter

_N_SEGMENTS = 8
_N_TOKENS = 4  # components of the tokens, before the channels next to them
_LEVEL = 2e21  # cm-2, of the gas that is compared


def run_segments(journal, maps, *, weights="bundled", progress_bar=False):
    """Compare segments of simulated clouds with other methods, and of observed maps with themselves."""
    encoder, clouds = FractalEncoder(weights=weights), {}
    for path in map(Path, maps):
        with fits.open(path) as hdus:
            if "DENSE_COLUMN" in hdus:
                clouds[path.stem] = _Cloud(path, hdus["DENSE_COLUMN"].data)
                continue
        with journal.attempt(path.stem):
            row, labels = _stability(GasMap.read(path), encoder)
            journal.add("segments_real.csv", [{"Map": path.stem, **row}])
            _write(journal.folder, path.stem, labels)
    found = {}
    for method, run in progress(_methods(encoder).items() if clouds else (), progress_bar):
        with journal.attempt(method):  # a package may be missing
            rows = []
            for name, cloud in clouds.items():
                labels = run(cloud.gas)
                noise = {"ARI, S/N 10": _agreement(labels, run(cloud.noisy), 0)}
                rows.append(cloud.judge(labels) | noise)
                found.setdefault(name, {"column density": cloud.column})[method] = labels
            mean = {name: np.mean([row[name] for row in rows]) for name in rows[0]}
            row = {n: f"{v:.{3 if n.startswith('AMI') else 2}f}" for n, v in mean.items()}
            journal.add("segments.csv", [{"Method": method, **row}])
    for name, labels in found.items():
        _write(journal.folder, name, labels)


def _write(folder, name, images):
    """Write a column density and labels, from 0 (-1: none), as one FITS file."""
    hdus = fits.HDUList([fits.PrimaryHDU()])
    for title, image in images.items():
        image = image.astype(np.float32 if image.dtype.kind == "f" else np.int16)
        hdus.append(fits.ImageHDU(image, fits.Header({"TITLE": title})))
    with atomic_path(folder / f"{name}_segments.fits") as temporary:
        hdus.writeto(temporary)


class _Cloud:
    """A simulated cloud and what is true of it."""

    def __init__(self, path, dense):
        self.gas = GasMap.read(path)
        log_n, velocity, dispersion = self.gas.to_array().astype(float)
        self.inside = 10**log_n > _LEVEL
        self.column = np.where(self.inside, self.gas.column_density.value, np.nan)
        self.channels = {"log N": log_n, "v": velocity, "log sigma": np.log10(dispersion)}
        ridges = log_n - np.log10(gaussian_filter(10**log_n, 6)) > 0.12
        self.structures = {"AMI dense gas": dense > 3e21, "AMI ridges": ridges}
        x, y = np.rint(sinks(path, self.gas)).astype(int)
        ny, nx = self.gas.shape
        use = (x >= 0) & (y >= 0) & (x < nx) & (y < ny)
        self.sinks = y[use], x[use]
        # A tenth of N and of the dispersion, also in the velocity.
        noise = 0.1 * np.random.default_rng(1).standard_normal((3, ny, nx))
        self.noisy = self.gas.replace(
            column_density=self.gas.column_density * np.clip(1 + noise[0], 0.1, None),
            velocity=self.gas.velocity + noise[1] * self.gas.dispersion,
            dispersion=self.gas.dispersion * np.clip(1 + noise[2], 0.1, None),
        )

    def judge(self, labels):
        """Return what labels contain of the channels, of structures and of the protostars."""
        use = self.inside & (labels >= 0)
        own = labels[use]
        count, found = np.bincount(own), {}
        for name, channel in self.channels.items():
            means = np.bincount(own, channel[use]) / np.maximum(count, 1)
            found[name] = np.var(means[own]) / np.var(channel[use])
        for name, structure in self.structures.items():
            found[name] = adjusted_mutual_info_score(structure[use], own)
        n = labels.max() + 1
        area, of = np.bincount(own, minlength=n) / use.sum(), labels[self.sinks]
        stars = np.bincount(of[of >= 0], minlength=n) / len(of)
        taken = above = 0.0
        for k in np.argsort(-stars / np.maximum(area, 1e-9)):  # most protostars per area first
            if stars[k] > 0 and taken + area[k] <= 0.3:
                taken, above = taken + area[k], above + stars[k]
        return found | {"Protostars above area": above - taken}


def _agreement(one, other, least):
    """Return the adjusted Rand index of labels where both are at least ``least``."""
    both = (one >= least) & (other >= least)
    return adjusted_rand_score(one[both], other[both])


def _cluster(points, inside, weights=None):
    """Return the labels, from 0, of k-means; -1 outside of the gas."""
    labels = np.full(inside.shape, -1)
    found = KMeans(_N_SEGMENTS, n_init=8, random_state=0).fit(points, sample_weight=weights)
    labels[inside] = found.labels_
    return labels


def _pixels(gas, *, contrast=False, levels=False):
    """K-means of smoothed pixels, also with a local contrast and weights, or of log N alone."""
    column = gas.column_density.value
    inside = column > _LEVEL
    array = gas.to_array().astype(float)
    array[2] = np.log10(np.maximum(array[2], 0.01))
    planes = [gaussian_filter(plane, 1) for plane in (array[:1] if levels else array)]
    if contrast:
        planes.append(array[0] - np.log10(gaussian_filter(10 ** array[0], 8)))
    points = np.stack([plane[inside] for plane in planes], axis=1)
    weights = np.sqrt(column[inside] / 1e22) if contrast else None
    return _cluster((points - points.mean(0)) / points.std(0), inside, weights)


def _dendrogram(gas):
    """The leaves of a dendrogram of N; the rest of the gas is label 0."""
    from astrodendro import Dendrogram

    column = gas.column_density.value
    found = Dendrogram.compute(column / _LEVEL, min_value=1, min_delta=1, min_npix=16)
    labels = np.where(column > _LEVEL, 0, -1)
    for number, leaf in enumerate(found.leaves, start=1):
        labels[leaf.get_mask()] = number
    return labels


def _filaments(gas):
    """The filaments of FilFinder, by its mask; the rest of the gas is label 0."""
    from fil_finder import FilFinder2D

    column = gas.column_density.value
    width = np.sqrt(gas.pixel_solid_angle).to(u.deg, u.dimensionless_angles())
    found = FilFinder2D(column / 1e22, ang_scale=width, distance=gas.distance, beamwidth=2 * u.pix)
    found.preprocess_image(flatten_percent=95)
    found.create_mask(
        glob_thresh=_LEVEL / 1e22, adapt_thresh=0.1 * u.pc, smooth_size=0.03 * u.pc,
        size_thresh=100 * u.pix**2, border_masking=False, verbose=False,
    )  # fmt: skip
    return np.where(column > _LEVEL, (found.mask > 0).astype(int), -1)


def _fractal(name, encoder):
    """Return the default with an encoder and its tokens alone, by name."""
    segmenter = FeatureSegmenter(_N_SEGMENTS, background=_LEVEL / u.cm**2, encoder=encoder)
    segment = cache(segmenter.segment)

    def tokens(gas):
        found = segment(gas)
        inside = found.labels.data > 0
        points = found.components.data[:_N_TOKENS, inside].T
        return _cluster(points, inside, np.sqrt(gas.column_density.value[inside] / 1e22))

    return {
        f"{name}: tokens + channels (default)": lambda gas: segment(gas).labels.data - 1,
        f"{name}: tokens alone": tokens,
    }


def _methods(encoder):
    """Return functions from maps to labels by name."""
    return {
        **_fractal("fractal weights", encoder),
        "k-means of pixels": _pixels,
        "k-means of pixels + contrast, weights N^0.5": lambda gas: _pixels(gas, contrast=True),
        "levels of log N": lambda gas: _pixels(gas, levels=True),
        "astrodendro, leaves": _dendrogram,
        "FilFinder, mask": _filaments,
        **_fractal("random weights", FractalEncoder(weights="random")),
    }


def _changed(gas, change=np.asarray, farther=1.0):
    """Return the map turned, cut or farther away, with a WCS whose reference is its first pixel."""
    planes = [
        None if values is None else change(values.value) * values.unit
        for values in (gas.column_density, gas.velocity, gas.dispersion)
    ]
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crpix = ("RA---TAN", "DEC--TAN"), (1, 1)
    wcs.wcs.cdelt = np.array([-1, 1]) * np.sqrt(gas.pixel_solid_angle.to_value(u.deg**2))
    return GasMap(*planes, wcs=wcs, beam=gas.beam, distance=gas.distance * farther)


def _stability(gas, encoder):
    """Return how much of the segments stays where a map is changed and the gas is not, and labels."""

    def segment(*change, random_state=0, **options):
        segmenter = FeatureSegmenter(encoder=encoder, random_state=random_state)
        return segmenter.segment(_changed(gas, *change, **options)).labels.data

    labels = segment()
    found = {
        "Seed": (segment(random_state=5), labels),
        "Turned 90": (np.rot90(segment(np.rot90), -1), labels),
        "Turned 180": (np.rot90(segment(lambda a: np.rot90(a, 2)), -2), labels),
        "Cut": (segment(lambda a: a[8:]), labels[8:]),
        "Distance + 3 %": (segment(farther=1.03), labels),
    }
    row = {name: f"{_agreement(*pair, 1):.2f}" for name, pair in found.items()}
    return row, {"column density": gas.column_density.value, "segments": labels - 1}
