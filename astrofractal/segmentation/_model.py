"""What a segmenter learns from features: components, clusters, and the range of the colors."""

from dataclasses import dataclass

import numpy as np

from astrofractal._utils.identity import fingerprint
from astrofractal.segmentation._clusters import Clusters, cluster_stability, fit_clusters
from astrofractal.segmentation._components import Components, RunningCovariance
from astrofractal.segmentation._refine import block_means

__all__ = ["Fit", "SegmentModel"]

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
        Of each segment; see `~astrofractal.segmentation._clusters.cluster_stability`.
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
    """
    Collects features of maps and fits components and clusters to them.

    Parameters
    ----------
    n_maps : int
        How many maps will be added.

    random_state : int
        Seed.
    """

    def __init__(self, n_maps, random_state):
        self.n_sample, self.random_state = N_SAMPLE // n_maps, random_state
        self.rng = np.random.default_rng(random_state)
        self.covariance = None
        self.scatter = []
        self.sample, self.column, self.blocks = [], [], []

    def add(self, array, features):
        """
        Take the cells of one map that have enough good pixels.

        Parameters
        ----------
        array : 3D `~numpy.ndarray`, shape (n_channels, height, width)
            The map that the encoder saw, log N first.

        features : `~astrofractal.encoder.dense.DenseFeatures`
            Its features.
        """
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
