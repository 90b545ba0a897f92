"""Components of features, from one pass over any amount of data."""

import numpy as np

__all__ = ["Components", "RunningCovariance"]

# So much of its mean is added to the scatter in every direction: directions in which a few windows
# happen to agree are not trusted more than others.
_RIDGE = 0.03

# Below this correlation with log N a component's sign is fixed by its largest loading.
_WEAK = 0.1


class RunningCovariance:
    """
    Running mean and covariance of features, exact for any number of batches.

    Parameters
    ----------
    n_features : int
        The number of features.
    """

    def __init__(self, n_features):
        self.count = 0
        self.shift = None  # a first mean, subtracted so that the sums stay small
        self.sum = np.zeros(n_features + 1)
        self.products = np.zeros((n_features + 1, n_features + 1))

    def update(self, features, log_column):
        """
        Add a batch.

        Parameters
        ----------
        features : 2D `~numpy.ndarray`, shape (n_samples, n_features)
            The features.

        log_column : 1D `~numpy.ndarray`
            log10 of the column density of the same samples, against which signs are fixed.
        """
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
        """
        Find the components that tell most of the gas and least of the view.

        They maximize the variance of the features over that of the scatter between the views of one
        place (the minimum noise fraction transform, Green et al. 1988, IEEE TGRS 26, 65).  Without
        any scatter they are principal components.

        Parameters
        ----------
        n_components : int
            The number of components to keep.

        scatter : 2D `~numpy.ndarray`, shape (n_features, n_features), optional
            Covariance of the features of one place between views.

        Returns
        -------
        components : `Components`
            In units of their scatter over its mean for all features, ordered by the ratio.  The sign
            of a component is such that it grows with the column density; where the two are hardly
            correlated, such that its largest loading is positive.
        """
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
    """
    A linear projection of features.

    Parameters
    ----------
    center : 1D `~numpy.ndarray`
        The mean of the features.

    axes : 2D `~numpy.ndarray`, shape (n_features, n_components)
        The axes, not orthogonal; the components are not correlated.

    variances : 1D `~numpy.ndarray`
        Variance along each axis.

    ratios : 1D `~numpy.ndarray`
        Share of the total variance that each component explains.
    """

    def __init__(self, center, axes, variances, ratios):
        self.center = np.asarray(center, dtype=np.float32)
        self.axes = np.asarray(axes, dtype=np.float32)
        self.variances = np.asarray(variances)
        self.ratios = np.asarray(ratios)

    def __len__(self):
        return self.axes.shape[1]

    def __call__(self, features):
        """
        Project features.

        Parameters
        ----------
        features : `~numpy.ndarray`, shape (..., n_features)
            The features.

        Returns
        -------
        projected : float32 `~numpy.ndarray`, shape (..., n_components)
            Unit of the features; see ``variances`` for their spread.
        """
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
