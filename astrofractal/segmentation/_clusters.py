"""Clusters in feature space: fitted on a sample, applied to any number of pixels."""

import warnings

import numpy as np

from astrofractal.exceptions import AstrofractalWarning

__all__ = ["METHODS", "fit_clusters"]

#: Names of the clustering methods.
METHODS = ("kmeans", "gmm", "hdbscan")

_CANDIDATES = range(2, 11)
_SILHOUETTE_SAMPLE = 2000
_HDBSCAN_SAMPLE = 10000


class _KMeans:
    def __init__(self, sample, n_segments, random_state):
        from sklearn.cluster import KMeans

        model = KMeans(n_segments, n_init=4, random_state=random_state).fit(sample)
        self.labels, self.n_clusters = model.labels_, n_segments
        self.centers = model.cluster_centers_.astype(np.float32)
        self.offset = (self.centers**2).sum(1) / 2

    def predict(self, values):
        return (values @ self.centers.T - self.offset).argmax(1)

    @staticmethod
    def choose(sample, random_state):
        """Return the number of clusters with the largest mean silhouette."""
        from sklearn.metrics import silhouette_score

        rng = np.random.default_rng(random_state)
        chosen = rng.permutation(len(sample))[:_SILHOUETTE_SAMPLE]
        scores = {}
        for n_segments in _CANDIDATES:
            labels = _KMeans(sample, n_segments, random_state).labels[chosen]
            if len(np.unique(labels)) > 1:
                scores[n_segments] = silhouette_score(sample[chosen], labels)
        return max(scores, key=scores.get)


class _Mixture:
    def __init__(self, sample, n_segments, random_state):
        from sklearn.mixture import GaussianMixture

        spread = float(sample.var(0).max())
        self.model = GaussianMixture(
            n_segments, random_state=random_state, reg_covar=max(1e-4 * spread, 1e-10), max_iter=300
        ).fit(np.asarray(sample, dtype=float))
        self.n_clusters = n_segments
        self.labels = self.model.predict(sample)

    def predict(self, values):
        return self.model.predict(values)

    @staticmethod
    def choose(sample, random_state):
        """Return the number of components with the smallest Bayesian information criterion."""
        scores = {
            n_segments: _Mixture(sample, n_segments, random_state).model.bic(sample)
            for n_segments in _CANDIDATES
        }
        return min(scores, key=scores.get)


class _Hdbscan:
    """HDBSCAN of a sample; other points take the label of the nearest point of the sample."""

    def __init__(self, sample, random_state, min_cluster_fraction):
        from sklearn.cluster import HDBSCAN
        from sklearn.neighbors import KDTree

        rng = np.random.default_rng(random_state)
        chosen = np.sort(rng.permutation(len(sample))[:_HDBSCAN_SAMPLE])
        size = max(int(min_cluster_fraction * len(chosen)), 5)
        found = HDBSCAN(min_cluster_size=size, min_samples=min(10, size), copy=True)
        found = found.fit_predict(sample[chosen])
        self.n_clusters = int(found.max()) + 1
        self.found = found
        self.tree = KDTree(sample[chosen])
        self.labels = self.predict(sample)
        if self.n_clusters == 0:
            warnings.warn(
                "HDBSCAN found no cluster: no pixel is labeled; lower min_cluster_fraction="
                f"{min_cluster_fraction} or use method='kmeans'",
                AstrofractalWarning,
                stacklevel=2,
            )

    def predict(self, values):
        return self.found[self.tree.query(values, return_distance=False)[:, 0]]


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
    predict : callable
        Maps points, shape (n, n_components), to labels: 1 for the cluster of the lowest mean
        log N, up to ``n_segments``; 0 for HDBSCAN's noise.

    n_segments : int
        The number of clusters.

    Raises
    ------
    ValueError
        If there are fewer points than clusters.
    """
    if method == "hdbscan":
        model = _Hdbscan(sample, random_state, min_cluster_fraction)
    else:
        kind = {"kmeans": _KMeans, "gmm": _Mixture}[method]
        if n_segments == "auto":
            if len(sample) <= max(_CANDIDATES):
                msg = f"n_segments='auto' needs more than {len(sample)} feature cells with good pixels"
                raise ValueError(msg)
            n_segments = kind.choose(sample, random_state)
        if len(sample) < n_segments:
            msg = (
                f"n_segments={n_segments} is more than the {len(sample)} feature cells with good "
                "pixels in the map"
            )
            raise ValueError(msg)
        model = kind(sample, n_segments, random_state)
    means = [
        log_column[model.labels == k].mean() if (model.labels == k).any() else np.inf
        for k in range(model.n_clusters)
    ]
    number = np.zeros(model.n_clusters + 1, dtype=np.int32)  # the last one is the noise, -1
    number[np.argsort(means, kind="stable")] = np.arange(1, model.n_clusters + 1)
    return _Numbered(model, number), model.n_clusters


class _Numbered:
    """A fitted model whose labels are numbered; it can be sent to other processes."""

    def __init__(self, model, number):
        self.model, self.number = model, number

    def __call__(self, values):
        return self.number[self.model.predict(values)]
