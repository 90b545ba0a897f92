"""Components of tokens and clusters of pixels: fitted on a sample, applied to any number of pixels."""

import functools
from dataclasses import dataclass

import numpy as np

from astrofractal._utils.random import keyed_generator

#: Components of the tokens that are clustered, and those that are shown as red, green and blue.
N_COMPONENTS = 4
N_COLORS = 3

#: A pixel counts by this power of its column density: most of the area is thin gas.
WEIGHT_EXPONENT = 0.7

#: Standard deviations of the channels next to the components, whose total variance is 1: contrasts of
#: log N on three scales, velocity, log dispersion (docs/research/segments.rst).
CHANNEL_SCALES = (0.45, 0.45, 0.45, 0.5, 0.3)

#: Relative widths of log N, velocity and log dispersion where the centers of segments start.
START_SCALES = (1.0, 0.8, 0.8)

#: Cells on which clusters are fitted, and refitted for their stability; components use them all.
N_SAMPLE = 100_000
N_REFIT = 20_000

#: Candidates of ``n_segments="auto"``, and the stability that segments should have.
CANDIDATES = range(2, 13)
STABLE = 0.8

# A channel that varies by less (dex, km/s) is a constant with rounding errors.
_LEAST_SPREAD = 1e-3

# Refits for the stability of clusters.
_N_REFITS = 8

# Side in cells of the blocks that take part in a refit or do not.
_BLOCK = 16

# So much of its mean is added to the scatter in every direction: directions in which a few windows
# happen to agree are not trusted more than others.
_RIDGE = 0.03


class RunningCovariance:
    """Running weighted mean and covariance of features, exact for any number of batches."""

    def __init__(self, n_features):
        self.weight = 0.0
        self.shift = None  # a first mean, subtracted so that the sums stay small
        self.sum = np.zeros(n_features + 1)
        self.products = np.zeros((n_features + 1, n_features + 1))

    def update(self, features, log_column, weights):
        """Add a batch."""
        # features (n_samples, n_features); log_column, weights 1D
        for start in range(0, len(features), 4096):
            # 32 bit are exact enough for one batch; the sums over batches have 64.
            part = slice(start, start + 4096)
            batch = np.empty((len(features[part]), len(self.sum)), np.float32)
            batch[:, :-1], batch[:, -1] = features[part], log_column[part]
            if self.shift is None:
                self.shift = batch.mean(0)
            batch -= self.shift
            weight = weights[part].astype(np.float32)
            self.weight += float(weight.sum(dtype=float))
            self.sum += weight @ batch
            self.products += (batch.T * weight) @ batch

    def components(self, n_components, n_colors, scatter):
        """Return the mean of the features, axes of components and of colors, and the colors' shares."""
        # Components are uncorrelated directions in which the gas differs most relative to what differs
        # between views; their total variance is 1.  Colors are principal components of what they hold.
        # scatter (n_features, n_features): covariance of the views about their mean
        from scipy.linalg import eigh

        mean = self.sum / self.weight
        covariance = self.products / self.weight - np.outer(mean, mean)
        mean = (mean + self.shift)[:-1]
        covariance, with_column = covariance[:-1, :-1], covariance[:-1, -1]
        n_features, trace = len(covariance), max(np.trace(covariance), 1e-30)
        # A difference of large sums: where there is no scatter, rounding leaves some of any sign.
        values, axes = np.linalg.eigh((scatter + scatter.T) / 2)
        noise = (axes * np.maximum(values, 0)) @ axes.T
        floor = _RIDGE * np.trace(noise) + 1e-6 * trace
        noise += np.eye(n_features) * floor / n_features
        noise *= n_features / np.trace(noise)
        keep = [n_features - n_components, n_features - 1]
        values, axes = (part[..., ::-1] for part in eigh(covariance, noise, subset_by_index=keep))
        values = np.maximum(values, 1e-12 * max(values[0], 1e-30))
        # The features that belong to components of unit variance, and their principal axes.
        unit = axes / np.sqrt(values)
        _, sizes, turns = np.linalg.svd(covariance @ unit, full_matrices=False)
        colors = unit @ (turns.T * sizes)[:, :n_colors]
        axes = _signed(axes, with_column) / np.sqrt(values.sum())
        return mean, axes, _signed(colors, with_column), sizes[:n_colors] ** 2 / trace


def _signed(axes, with_column):
    """Turn axes so that components grow with log N."""
    return axes * np.where(with_column @ axes < 0, -1, 1)


@functools.cache
def _normal_centers(n_segments, n_axes):
    """Return the centers of k-means of a normal distribution, in its standard deviations."""
    # (n_segments, n_axes)
    from sklearn.cluster import KMeans

    widths = START_SCALES[:n_axes]
    points = np.random.default_rng(0).normal(size=(20_000, n_axes)) * widths
    return KMeans(n_segments, n_init=20, random_state=0).fit(points).cluster_centers_ / widths


def _start(sample, quantities, weights, n_segments):
    """Return centers at fixed values of the quantities, by a linear regression of the sample."""
    mean = np.average(quantities, axis=0, weights=weights)
    spread = np.sqrt(np.average((quantities - mean) ** 2, axis=0, weights=weights))
    scaled = (quantities - mean) / np.where(spread > 0, spread, 1)
    mean = np.average(sample, axis=0, weights=weights)
    root = np.sqrt(weights / weights.max())[:, None]
    slopes = np.linalg.lstsq(root * scaled, root * (sample - mean))[0]
    return mean + _normal_centers(n_segments, scaled.shape[1]) @ slopes


def fit_centers(sample, quantities, weights, n_segments):
    """Return the centers of segments, ordered by mean log N, the first of the quantities."""
    # sample (n_samples, n_components); quantities (n_samples, n_quantities); weights 1D
    from sklearn.cluster import KMeans

    if len(sample) < n_segments:
        cells = f"{len(sample)} cells of gas in the map"
        msg = (
            f"n_segments={n_segments} is more than the {cells}: choose fewer, or a lower background"
        )
        raise ValueError(msg)

    # k-means has many minima that are nearly alike: noise, or a row of pixels more, decides which
    # is found.  The starting centers count as points that weigh as much as the gas.
    start = _start(sample, quantities, weights, n_segments)
    found = KMeans(n_segments, init=start, n_init=1).fit(
        np.vstack([sample, start]),
        sample_weight=np.append(weights, np.full(n_segments, weights.sum() / n_segments)),
    )
    labels = found.labels_[: len(sample)]
    if not np.bincount(labels, minlength=n_segments).all():  # a start where there is no gas
        found = KMeans(n_segments, init=start, n_init=1).fit(sample, sample_weight=weights)
        labels = found.labels_
    mass = np.bincount(labels, weights, minlength=n_segments)
    means = np.bincount(labels, weights * quantities[:, 0], minlength=n_segments)
    order = np.argsort(means / np.maximum(mass, 1e-30), kind="stable")
    return found.cluster_centers_[order].astype(np.float32)


def nearest_center(values, centers):
    """Return the index of the nearest center of each point (n, n_components)."""
    return (values @ centers.T - (centers**2).sum(1) / 2).argmax(1)


def cluster_stability(centers, sample, quantities, weights, blocks, random_state):
    """Return the mean Jaccard index of each segment with its like in fits to halves of the gas."""
    # sample (n_samples, n_components); quantities (n_samples, n_quantities); weights, blocks 1D
    n_segments = len(centers)
    few = slice(None, None, -(-len(sample) // N_REFIT))
    sample, quantities, weights, blocks = (
        values[few] for values in (sample, quantities, weights, blocks)
    )
    own = nearest_center(sample, centers)
    rng = keyed_generator(random_state, "halves of the gas")
    _, blocks = np.unique(blocks, return_inverse=True)
    n_blocks = blocks.max() + 1
    found = []
    for _ in range(_N_REFITS):
        half = np.isin(blocks, rng.permutation(n_blocks)[: (n_blocks + 1) // 2])
        if half.sum() < 2 * n_segments:
            continue
        parts = (values[half] for values in (sample, quantities, weights))
        refit = fit_centers(*parts, n_segments)
        other = nearest_center(sample, refit)
        both = np.zeros((n_segments, n_segments))
        np.add.at(both, (own, other), weights)
        either = both.sum(1, keepdims=True) + both.sum(0) - both
        found.append((both / np.maximum(either, 1e-30)).max(1))
    if not found:
        return np.full(n_segments, np.nan, np.float32)
    return np.mean(found, axis=0).astype(np.float32)


@dataclass(frozen=True)
class SegmentModel:
    """The components of tokens that are clustered and shown, and the centers of the clusters."""

    mean: np.ndarray  # (n_features,)
    axes: np.ndarray  # (n_features, n_components + n_colors)
    channel_mean: np.ndarray  # (n_channels,)
    channel_unit: np.ndarray  # (n_channels,): divides a channel; 0 where the maps lack it
    centers: np.ndarray  # (n_segments, n_components + n_channels)
    rgb_limits: np.ndarray  # (n_colors, 2): values that are shown as 0 and 1
    ratios: np.ndarray  # (n_colors,): shares of the variance of the tokens
    stability: np.ndarray  # (n_segments,)
    scales: np.ndarray  # (5,): background in cm-2, views, and the arguments of `fixed_scale`

    def project(self, tokens):
        """Return the components of tokens (..., n_features), those of the colors last."""
        flat = tokens.reshape(-1, tokens.shape[-1])
        projected = np.empty((len(flat), self.axes.shape[1]), np.float32)
        offset = self.mean @ self.axes
        for start in range(0, len(flat), 65536):
            part = slice(start, start + 65536)
            projected[part] = flat[part].astype(np.float32, copy=False) @ self.axes - offset
        return projected.reshape(*tokens.shape[:-1], -1)


def scale_channels(channels, mean, unit):
    """Return channels (n, n_channels) of weighted mean 0; 0 where one is missing."""
    scaled = (channels - mean) / np.where(unit > 0, unit, 1) * (unit > 0)
    return np.nan_to_num(scaled).astype(np.float32)


class Fit:
    """Collects features of maps and fits components and clusters to them."""

    def __init__(self, n_maps, random_state):
        self.n_sample, self.random_state = max(N_SAMPLE // n_maps, 1), random_state
        self.rng = keyed_generator(random_state, "cells to fit")
        self.covariance = None
        self.scatter, self.sample = [], []

    def add(self, features, log_column, channels):
        """Add the cells of one map that contain gas."""
        # log_column (rows, columns); channels (n_channels, rows, columns)
        use = features.valid & np.isfinite(log_column)
        if self.covariance is None:
            self.covariance = RunningCovariance(features.values.shape[-1])
        found, column = features.values[use], log_column[use]
        weights = 10.0 ** (WEIGHT_EXPONENT * (column - 22))
        self.covariance.update(found, column, weights)
        self.scatter.append((features.n_windows, features.scatter))
        row, place = (index // _BLOCK for index in np.nonzero(use))
        blocks = (len(self.sample) * 4096 + row) * 65536 + place
        chosen = slice(None)
        if len(found) > self.n_sample:
            chosen = np.sort(self.rng.choice(len(found), self.n_sample, replace=False))
        parts = (found, column, weights, blocks, channels[:, use].T)
        self.sample.append([part[chosen] for part in parts])

    def finish(self, n_segments, scales):
        """Return the `SegmentModel`."""
        tokens, column, weights, blocks, channels = (
            np.concatenate(parts) for parts in zip(*self.sample, strict=True)
        )
        n_windows, scatter = zip(*self.scatter, strict=True)
        scatter = np.average(scatter, axis=0, weights=n_windows)
        n_features = tokens.shape[1]
        mean, axes, colors, ratios = self.covariance.components(
            min(N_COMPONENTS, n_features), min(N_COLORS, n_features), scatter
        )
        tokens = (tokens - mean.astype(np.float32)) @ np.hstack([axes, colors]).astype(np.float32)
        shown = tokens[:, axes.shape[1] :]
        known = np.ma.masked_invalid(channels)
        center = np.ma.average(known, axis=0, weights=weights).filled(0)
        variance = np.ma.average((known - center) ** 2, axis=0, weights=weights).filled(0)
        spread = np.sqrt(variance)
        unit = np.where(spread > _LEAST_SPREAD, spread / CHANNEL_SCALES, 0)
        points = np.hstack([tokens[:, : axes.shape[1]], scale_channels(channels, center, unit)])
        others = points[:, axes.shape[1] :]
        if unit[3:].any():
            others = others[:, 3:][:, unit[3:] > 0]
        else:  # what the middle contrast has apart from log N
            away = weights * (column - np.average(column, weights=weights))
            slope = away @ others[:, 1] / max(away @ column, 1e-30)
            others = (others[:, 1] - slope * column)[:, None]
        quantities = np.hstack([column[:, None], others])
        data = (points, quantities, weights)
        if n_segments == "auto":
            centers, stability = _choose(*data, blocks=blocks, random_state=self.random_state)
        else:
            centers = fit_centers(*data, n_segments)
            stability = cluster_stability(centers, *data, blocks, self.random_state)
        return SegmentModel(
            mean=mean.astype(np.float32),
            axes=np.hstack([axes, colors]).astype(np.float32),
            channel_mean=center.astype(np.float32),
            channel_unit=unit.astype(np.float32),
            centers=centers,
            rgb_limits=np.percentile(shown, [1, 99], axis=0).T.astype(np.float32),
            ratios=ratios,
            stability=stability,
            scales=np.array(scales, float),
        )


def _choose(*data, blocks, random_state):
    """Return the centers and the stability of the largest number of segments that is stable."""
    found = {}
    for n_segments in CANDIDATES:
        if 4 * n_segments > len(blocks):
            break
        centers = fit_centers(*data, n_segments)
        found[n_segments] = (centers, cluster_stability(centers, *data, blocks, random_state))
    if not found:
        msg = f"n_segments='auto' needs more than the {len(blocks)} cells of gas in the map"
        raise ValueError(msg)
    scores = {n: np.nan_to_num(stability).mean() for n, (_, stability) in found.items()}
    stable = [n for n, score in scores.items() if score >= STABLE]
    return found[max(stable) if stable else max(scores, key=scores.get)]
