"""Clusters in feature space: fitted on a sample, applied to any number of pixels."""

from dataclasses import dataclass

import numpy as np

from astrofractal._utils.warn import warn

__all__ = ["METHODS", "Clusters", "cluster_stability", "fit_clusters"]

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
    """
    Fit clusters and number them by column density.

    Parameters
    ----------
    sample : 2D `~numpy.ndarray`, shape (n_samples, n_components)
        Points in feature space.

    log_column : 1D `~numpy.ndarray`
        log10 of their column density.

    method : str
        One of ``METHODS``.

    n_segments : int or "auto"
        The number of clusters; unused by HDBSCAN.

    random_state : int
        Seed.

    min_cluster_fraction : float
        Smallest share of the sample in a cluster of HDBSCAN.

    Returns
    -------
    clusters : `Clusters`
        Segment 1 is the cluster of the lowest mean log N.

    Raises
    ------
    ValueError
        If there are fewer points than clusters.
    """
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
    """
    Tell how much of each segment comes back when half of the gas is left out of the fit.

    Clusters are fitted anew to random halves of the blocks.  For each segment, the largest Jaccard
    index (intersection over union) with a segment of the new fit is averaged over the fits (Hennig
    2007, Computational Statistics & Data Analysis 52, 258): above 0.75 a segment can be relied upon,
    below 0.6 it should not be.

    Parameters
    ----------
    clusters : `Clusters`
        Of k-means or a mixture.

    sample : 2D `~numpy.ndarray`, shape (n_samples, n_components)
        The points that they were fitted to.

    log_column : 1D `~numpy.ndarray`
        log10 of their column density.

    blocks : 1D int `~numpy.ndarray`
        The block of the sky in which each point lies: points of one block are not independent.

    random_state : int
        Seed.

    Returns
    -------
    stability : 1D float32 `~numpy.ndarray`, shape (n_segments,)
        From 0 to 1; NaN where no half has enough points, and for HDBSCAN.
    """
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
