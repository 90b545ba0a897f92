"""Clusters in feature space: fitted on a sample, applied to any number of pixels."""

from dataclasses import dataclass

import numpy as np

from astrofractal._utils.identity import fingerprint
from astrofractal._utils.validation import warn
from astrofractal.segmentation.working_map import block_means

__all__ = [
    "METHODS",
    "Clusters",
    "Components",
    "Fit",
    "RunningCovariance",
    "SegmentModel",
    "cluster_stability",
    "fit_clusters",
]

#: Names of the clustering methods.
METHODS = ("kmeans", "gmm", "hdbscan")

_CANDIDATES = range(2, 11)

_SILHOUETTE_SAMPLE = 2000

_HDBSCAN_SAMPLE = 10000

# Refits for the stability of clusters.
_N_REFITS = 10


@dataclass(frozen=True)
class Clusters:
    """
    Fitted clusters as plain arrays, which can be stored and sent to other processes.

    Parameters
    ----------
    method : str
        One of ``METHODS``.

    arrays : dict of str to `~numpy.ndarray`
        What the method needs to tell the cluster of a point.

    number : 1D int `~numpy.ndarray`
        The segment of each cluster, and 0 as the last entry: the noise of HDBSCAN, cluster -1.
    """

    method: str
    arrays: dict
    number: np.ndarray

    @property
    def n_segments(self):
        """The number of segments."""
        return len(self.number) - 1

    def __call__(self, values):
        """Return the segment of each point, shape (n, n_components)."""
        return self.number[_PREDICT[self.method](values, **self.arrays)]


def _nearest_center(values, centers):
    return (values @ centers.T - (centers**2).sum(1) / 2).argmax(1)


def _likeliest(values, weights, means, precisions):
    """Component of a Gaussian mixture; ``precisions`` are Cholesky factors, as in scikit-learn."""
    values = np.asarray(values, dtype=float)
    score = np.empty((len(values), len(weights)))
    for k, (weight, mean, factor) in enumerate(zip(weights, means, precisions, strict=True)):
        distance = (((values - mean) @ factor) ** 2).sum(1)
        score[:, k] = np.log(weight) + np.log(np.diag(factor)).sum() - distance / 2
    return score.argmax(1)


def _nearest_point(values, sample, found):
    from scipy.spatial import cKDTree

    return found[cKDTree(sample).query(values)[1]]


_PREDICT = {"kmeans": _nearest_center, "gmm": _likeliest, "hdbscan": _nearest_point}


def _layers(sample, log_column, n_segments):
    """
    Yield starts of a clustering: the means of layers of column density.

    Random starts end in other minima when a few points change; from here they do not.  The layers
    hold as many points each, or are as wide each: most gas is thin, and the dense gas is what is
    looked for.
    """
    order = np.argsort(log_column, kind="stable")
    rank = np.empty(len(sample), np.intp)
    rank[order] = np.arange(len(sample))
    low, high = log_column[order[0]], log_column[order[-1]]
    width = np.minimum((log_column - low) / max(high - low, 1e-30) * n_segments, n_segments - 1)
    for layer in (rank * n_segments // len(sample), width.astype(np.intp)):
        if len(np.unique(layer)) == n_segments:
            yield np.stack([sample[layer == k].mean(0) for k in range(n_segments)])


def _fit_kmeans(sample, log_column, n_segments):
    from sklearn.cluster import KMeans

    fits = [
        KMeans(n_segments, init=start, n_init=1, max_iter=1000, tol=1e-6).fit(sample)
        for start in _layers(sample, log_column, n_segments)
    ]
    best = min(fits, key=lambda fit: fit.inertia_)
    return {"centers": best.cluster_centers_.astype(np.float32)}, best.labels_


def _fit_mixture(sample, log_column, n_segments):
    model = _mixture(sample, log_column, n_segments)
    arrays = {
        "weights": model.weights_,
        "means": model.means_,
        "precisions": model.precisions_cholesky_,
    }
    return arrays, model.predict(sample)


def _mixture(sample, log_column, n_segments):
    from sklearn.mixture import GaussianMixture

    sample = np.asarray(sample, dtype=float)
    start = _fit_kmeans(sample, log_column, n_segments)[1]
    floor = max(1e-4 * float(sample.var(0).max()), 1e-10)
    groups = [sample[start == k] for k in range(n_segments)]
    spread = [np.cov(g.T, bias=True) + floor * np.eye(sample.shape[1]) for g in groups]
    return GaussianMixture(
        n_segments,
        weights_init=np.array([len(g) for g in groups]) / len(sample),
        means_init=np.stack([g.mean(0) for g in groups]),
        precisions_init=np.linalg.inv(spread),
        reg_covar=floor,
        max_iter=300,
    ).fit(sample)


def _fit_hdbscan(sample, random_state, min_cluster_fraction):
    """HDBSCAN of a sample; other points take the label of the nearest point of the sample."""
    from sklearn.cluster import HDBSCAN

    rng = np.random.default_rng(random_state)
    chosen = np.sort(rng.permutation(len(sample))[:_HDBSCAN_SAMPLE])
    size = max(int(min_cluster_fraction * len(chosen)), 5)
    found = HDBSCAN(min_cluster_size=size, min_samples=min(10, size), copy=True)
    found = found.fit_predict(sample[chosen]).astype(np.int32)
    if found.max() < 0:
        warn(
            "HDBSCAN found no cluster: no pixel is labeled; lower min_cluster_fraction="
            f"{min_cluster_fraction} or use method='kmeans'",
        )
    arrays = {"sample": sample[chosen], "found": found}
    return arrays, _nearest_point(sample, **arrays)


def _choose_kmeans(sample, log_column, random_state):
    """Return the number of clusters with the largest mean silhouette."""
    from sklearn.metrics import silhouette_score

    rng = np.random.default_rng(random_state)
    chosen = rng.permutation(len(sample))[:_SILHOUETTE_SAMPLE]
    scores = {}
    for n_segments in _CANDIDATES:
        labels = _fit_kmeans(sample, log_column, n_segments)[1][chosen]
        if len(np.unique(labels)) > 1:
            scores[n_segments] = silhouette_score(sample[chosen], labels)
    return max(scores, key=scores.get)


def _choose_mixture(sample, log_column, _random_state):
    """Return the number of components with the smallest Bayesian information criterion."""
    scores = {n: _mixture(sample, log_column, n).bic(sample) for n in _CANDIDATES}
    return min(scores, key=scores.get)


def fit_clusters(sample, log_column, *, method, n_segments, random_state, min_cluster_fraction):
    """Fit clusters and number them by column density."""
    # sample (n_samples, n_components); log_column 1D
    if method == "hdbscan":
        arrays, labels = _fit_hdbscan(sample, random_state, min_cluster_fraction)
        n_segments = int(arrays["found"].max()) + 1
    else:
        fit, choose = {
            "kmeans": (_fit_kmeans, _choose_kmeans),
            "gmm": (_fit_mixture, _choose_mixture),
        }[method]
        if n_segments == "auto":
            if len(sample) <= max(_CANDIDATES):
                msg = f"n_segments='auto' needs more than {len(sample)} feature cells with good pixels"
                raise ValueError(msg)
            n_segments = choose(sample, log_column, random_state)
        if len(sample) < n_segments:
            msg = (
                f"n_segments={n_segments} is more than the {len(sample)} feature cells with good "
                "pixels in the map"
            )
            raise ValueError(msg)
        arrays, labels = fit(sample, log_column, n_segments)
    means = [
        log_column[labels == k].mean() if (labels == k).any() else np.inf for k in range(n_segments)
    ]
    number = np.zeros(n_segments + 1, dtype=np.int32)
    number[np.argsort(means, kind="stable")] = np.arange(1, n_segments + 1)
    return Clusters(method, arrays, number)


def cluster_stability(clusters, sample, log_column, blocks, random_state):
    """Tell how much of each segment comes back when half of the gas is left out of the fit."""
    # sample (n_samples, n_components); log_column 1D; blocks 1D
    n_segments = clusters.n_segments
    if clusters.method == "hdbscan" or n_segments == 0:
        return np.full(n_segments, np.nan, np.float32)
    fit = {"kmeans": _fit_kmeans, "gmm": _fit_mixture}[clusters.method]
    own = clusters(sample)
    rng = np.random.default_rng(random_state)
    _, blocks = np.unique(blocks, return_inverse=True)
    n_blocks = blocks.max() + 1
    found = []
    for _ in range(_N_REFITS):
        half = np.isin(blocks, rng.permutation(n_blocks)[: (n_blocks + 1) // 2])
        if half.sum() < 2 * n_segments:
            continue
        arrays, _ = fit(sample[half], log_column[half], n_segments)
        other = _PREDICT[clusters.method](sample, **arrays)
        both = np.zeros((n_segments + 1, n_segments))
        np.add.at(both, (own, other), 1)
        either = both.sum(1, keepdims=True) + both.sum(0) - both
        found.append((both / np.maximum(either, 1)).max(1)[1:])
    if not found:
        return np.full(n_segments, np.nan, np.float32)
    return np.mean(found, axis=0).astype(np.float32)


# So much of its mean is added to the scatter in every direction: directions in which a few windows
# happen to agree are not trusted more than others.
_RIDGE = 0.03

# Below this correlation with log N a component's sign is fixed by its largest loading.
_WEAK = 0.1


class RunningCovariance:
    """Running mean and covariance of features, exact for any number of batches."""

    def __init__(self, n_features):
        self.count = 0
        self.shift = None  # a first mean, subtracted so that the sums stay small
        self.sum = np.zeros(n_features + 1)
        self.products = np.zeros((n_features + 1, n_features + 1))

    def update(self, features, log_column):
        """Add a batch."""
        # features (n_samples, n_features); log_column 1D
        for start in range(0, len(features), 4096):
            # 32 bit are exact enough for one batch; the sums over batches have 64.
            batch = np.empty((len(features[start : start + 4096]), len(self.sum)), np.float32)
            batch[:, :-1] = features[start : start + 4096]
            batch[:, -1] = log_column[start : start + 4096]
            if self.shift is None:
                self.shift = batch.mean(0)
            batch -= self.shift
            self.count += len(batch)
            self.sum += batch.sum(0)
            self.products += batch.T @ batch

    def components(self, n_components, scatter=None):
        """Find the components that tell most of the gas and least of the view."""
        # scatter (n_features, n_features)
        from scipy.linalg import eigh

        mean = self.sum / self.count
        covariance = self.products / self.count - np.outer(mean, mean)
        with_column = covariance[:-1, -1]
        column_variance = max(covariance[-1, -1], 1e-30)
        covariance = covariance[:-1, :-1]
        n_features = len(covariance)
        total = max(np.trace(covariance), 1e-30)
        noise = np.zeros_like(covariance)
        if scatter is not None:
            # A difference of large sums: where there is no scatter, rounding leaves some of any sign.
            values, axes = np.linalg.eigh((scatter + scatter.T) / 2)
            noise = (axes * np.maximum(values, 0)) @ axes.T
        floor = _RIDGE * np.trace(noise) + 1e-6 * total
        noise = noise + np.eye(n_features) * floor / n_features
        keep = [n_features - n_components, n_features - 1]
        noise *= n_features / np.trace(noise)
        values, axes = (part[..., ::-1] for part in eigh(covariance, noise, subset_by_index=keep))
        variances = np.maximum(values, 1e-12 * max(values[0], 1e-30))
        ratios = ((covariance @ axes) ** 2).sum(0) / variances / total
        correlation = (with_column @ axes) / np.sqrt(variances * column_variance)
        largest = np.take_along_axis(axes, np.abs(axes).argmax(0)[None], 0)[0]
        axes = axes * np.where(
            np.where(np.abs(correlation) > _WEAK, correlation, largest) < 0, -1, 1
        )
        center = (mean + self.shift)[:-1]
        return Components(center, axes, variances, ratios)


class Components:
    """A linear projection of features."""

    def __init__(self, center, axes, variances, ratios):
        self.center = np.asarray(center, dtype=np.float32)
        self.axes = np.asarray(axes, dtype=np.float32)
        self.variances = np.asarray(variances)
        self.ratios = np.asarray(ratios)

    def __len__(self):
        return self.axes.shape[1]

    def __call__(self, features):
        """Project features."""
        # features (..., n_features)
        shape = features.shape[:-1]
        flat = features.reshape(-1, features.shape[-1])
        projected = np.empty((len(flat), len(self)), np.float32)
        offset = self.center @ self.axes
        for start in range(0, len(flat), 65536):
            stop = start + 65536
            np.matmul(
                flat[start:stop].astype(np.float32, copy=False),
                self.axes,
                out=projected[start:stop],
            )
            projected[start:stop] -= offset
        return projected.reshape(*shape, len(self))


#: Cells on which clusters are fitted; components use them all.
N_SAMPLE = 40_000

# Side in pixels of the blocks that take part in a refit or do not.
_BLOCK = 16

# Cells with a smaller share of good pixels are not used in a fit.
_FIT_SHARE = 0.5


@dataclass(frozen=True)
class SegmentModel:
    """
    What was fitted.

    Parameters
    ----------
    components : `Components`
        The projection of the features.

    clusters : `Clusters`
        Of scaled components.

    scale : 1D `~numpy.ndarray`
        Unit of each component in the clustering.

    rgb_limits : 2D `~numpy.ndarray`, shape (3, 2)
        Values of the first three components that are shown as 0 and 1.

    stability : 1D `~numpy.ndarray`, shape (n_segments,)
        Of each segment; see `~astrofractal.segmentation.clusters.cluster_stability`.
    """

    components: Components
    clusters: Clusters
    scale: np.ndarray
    rgb_limits: np.ndarray
    stability: np.ndarray

    @property
    def n_segments(self):
        """The number of segments."""
        return self.clusters.n_segments

    def project(self, tokens):
        """Return the components of tokens (..., n_features)."""
        return self.components(tokens)

    def label(self, values):
        """Return the segment of each point (n, n_components)."""
        return self.clusters(values / self.scale)

    def arrays(self):
        """Return everything as a dictionary of name to array; see `from_arrays`."""
        found = {
            "scale": self.scale,
            "rgb_limits": self.rgb_limits,
            "stability": self.stability,
            "clusters.number": self.clusters.number,
        }
        for name in ("center", "axes", "variances", "ratios"):
            found[f"components.{name}"] = getattr(self.components, name)
        found |= {f"clusters.{name}": value for name, value in self.clusters.arrays.items()}
        return found

    @classmethod
    def from_arrays(cls, method, arrays):
        """Return the model of a clustering method and the arrays of `arrays`."""
        parts = {"components": {}, "clusters": {}, "": {}}
        for name, value in arrays.items():
            group, _, own = name.rpartition(".")
            parts[group][own] = value
        number = parts["clusters"].pop("number")
        return cls(
            Components(**parts["components"]),
            clusters=Clusters(method, parts["clusters"], number),
            **parts[""],
        )

    def fingerprint(self):
        """Return a digest of everything that was fitted."""
        return fingerprint(self.clusters.method, self.arrays())


class Fit:
    """Collects features of maps and fits components and clusters to them."""

    def __init__(self, n_maps, random_state):
        self.n_sample, self.random_state = N_SAMPLE // n_maps, random_state
        self.rng = np.random.default_rng(random_state)
        self.covariance = None
        self.scatter = []
        self.sample, self.column, self.blocks = [], [], []

    def add(self, array, features):
        """Take the cells of one map that have enough good pixels."""
        # array (n_channels, height, width)
        grid = (features.origin, features.stride, features.valid.shape)
        log_column = block_means(array[:1], *grid)[0]
        share = block_means(np.isfinite(array[:1]).astype(np.float32), *grid)[0]
        use = features.valid & (share >= _FIT_SHARE)
        if not use.any():
            use = features.valid & np.isfinite(log_column)
        if self.covariance is None:
            self.covariance = RunningCovariance(features.values.shape[-1])
        found, column = features.values[use], log_column[use]
        self.covariance.update(found, column)
        self.scatter.append((features.n_windows, features.scatter))
        chosen = slice(None)
        if len(found) > self.n_sample:
            chosen = np.sort(self.rng.choice(len(found), self.n_sample, replace=False))
        self.sample.append(found[chosen])
        self.column.append(column[chosen])
        row, place = (index[chosen] * features.stride // _BLOCK for index in np.nonzero(use))
        self.blocks.append((len(self.blocks) * 4096 + row) * 65536 + place)

    def finish(self, *, n_components, whiten, method, n_segments, min_cluster_fraction):
        """Return the `SegmentModel`; the options are those of the segmenter."""
        n_features = self.sample[0].shape[1]
        weights, scatter = zip(*self.scatter, strict=True)
        scatter = np.average(scatter, axis=0, weights=weights)
        components = self.covariance.components(min(n_components, n_features), scatter)
        sample = components(np.concatenate(self.sample))
        scale = np.sqrt(components.variances) if whiten else np.ones(len(components))
        scale = scale.astype(np.float32)
        column = np.concatenate(self.column)
        clusters = fit_clusters(
            sample / scale,
            column,
            method=method,
            n_segments=n_segments,
            random_state=self.random_state,
            min_cluster_fraction=min_cluster_fraction,
        )
        blocks = np.concatenate(self.blocks)
        stability = cluster_stability(clusters, sample / scale, column, blocks, self.random_state)
        limits = np.zeros((3, 2), np.float32)
        limits[: min(len(components), 3)] = np.percentile(sample[:, :3], [2, 98], axis=0).T
        return SegmentModel(components, clusters, scale, limits, stability)
