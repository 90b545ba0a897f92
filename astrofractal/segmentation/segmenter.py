"""`FeatureSegmenter`: segments of gas from the features of a frozen encoder."""

from dataclasses import dataclass

import numpy as np
from astropy import units as u

import astrofractal
from astrofractal._utils.validation import one_of, positive_int
from astrofractal.gasmap import GasMap
from astrofractal.segmentation._area import area_in_pixels, check_area
from astrofractal.segmentation._clusters import METHODS, fit_clusters
from astrofractal.segmentation._components import Moments
from astrofractal.segmentation._pieces import merge_small
from astrofractal.segmentation._refine import block_means, guided_rows
from astrofractal.segmentation._scale import scale_factor, working_map
from astrofractal.segmentation.segmentation import Segmentation

__all__ = ["FeatureSegmenter"]

# Cells on which clusters are fitted; principal components use them all.
_SAMPLE = 10_000
# Cells with a smaller share of good pixels are not used in a fit.
_FIT_SHARE = 0.5


@dataclass
class _Model:
    """What was fitted: means by position, components, clusters, the range of the colors."""

    components: object
    positions: np.ndarray
    predict: object
    n_segments: int
    rgb_limits: np.ndarray
    scale: np.ndarray

    def project(self, tokens):
        """Components of tokens (..., rows, columns, n_features) of whole windows."""
        return self.components(tokens - self.positions)


class FeatureSegmenter:
    """
    Segment maps of gas by the patch features of a frozen encoder.

    Windows of the encoder cover the map and their patch tokens are blended to dense features; the
    features are reduced to principal components, brought to the pixel grid along the edges of the
    map, and clustered.  No label is used anywhere (Hirashima, Nozaki & Harada 2025,
    arXiv:2510.24159).

    Parameters
    ----------
    n_segments : int or "auto", optional
        The number of segments.  ``"auto"`` takes the number from 2 to 10 with the largest mean
        silhouette (``"kmeans"``) or the smallest Bayesian information criterion (``"gmm"``).
        HDBSCAN finds its own number and leaves this one unused.

    method : {"kmeans", "gmm", "hdbscan"}, optional
        The clustering.  HDBSCAN leaves pixels that belong to no cluster unlabeled (0).

    encoder : `~astrofractal.FractalEncoder`, optional
        The encoder; the bundled weights by default.

    n_components : int, optional
        The number of principal components that are clustered and returned.

    whiten : bool, optional
        Whether components have equal weight in the clustering, or weight by their variance.

    stride : int, optional
        Distance of the features in the encoder's pixels, a divisor of its patch size; half a patch
        by default.

    pixel_scale : "auto", `None` or `~astropy.units.Quantity`, optional
        The scale at which the encoder sees the map.  ``"auto"``: the map is resampled so that a
        window is 0.5 pc wide if its pixels are known to differ from that by more than a factor of
        1.5.  `None`: pixels as they are.  A length: that scale.  Labels are always on the pixels
        of the map.

    velocity_reference : {"local", "map"}, optional
        The zero of the velocity channel: the column-weighted mean in a box of the size of the
        window around each pixel, as in the maps on which masses are calibrated, or that of the whole
        map.  With ``"local"`` a part of a map is segmented as the whole is.

    min_area : int or `~astropy.units.Quantity`, optional
        Smaller connected pieces join the neighbor with the longest common border, and islands
        without a neighbor become unlabeled.  In pixels, or an area (pc2), a solid angle, or beams
        (``2 * u.beam``).  By default the area of one patch of the encoder, and islands are kept.

    sharpness : float, optional
        How different a pixel may be from a feature cell to take part in it, in units of the encoder's
        normalized channels; smaller follows the edges of the map more closely.

    min_cluster_fraction : float, optional
        Smallest cluster of HDBSCAN as a share of the feature cells.

    random_state : int, optional
        Seed of the clustering.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from astrofractal import FeatureSegmenter, FractalEncoder, GasMap
    >>> y, x = np.mgrid[:64, :64]
    >>> column = 1e21 + 5e22 * np.exp(-((x - 20) ** 2 + (y - 40) ** 2) / 50)
    >>> gas = GasMap(column / u.cm**2)
    >>> segmenter = FeatureSegmenter(3, encoder=FractalEncoder(weights="random"))
    >>> result = segmenter.segment(gas)
    >>> result.labels.data.shape
    (64, 64)
    >>> len(result.table)
    3
    """

    def __init__(
        self,
        n_segments=6,
        *,
        method="kmeans",
        encoder=None,
        n_components=8,
        whiten=False,
        stride=None,
        pixel_scale="auto",
        velocity_reference="local",
        min_area=None,
        sharpness=0.5,
        min_cluster_fraction=0.02,
        random_state=0,
    ):
        if isinstance(n_segments, str):
            one_of("n_segments", n_segments, ("auto",))
            self.n_segments = n_segments
        else:
            self.n_segments = positive_int("n_segments", n_segments)
        self.method = one_of("method", method, METHODS)
        self.n_components = positive_int("n_components", n_components)
        self.whiten = bool(whiten)
        self.stride = None if stride is None else positive_int("stride", stride)
        self.pixel_scale = _check_scale(pixel_scale)
        self.velocity_reference = one_of("velocity_reference", velocity_reference, ("local", "map"))
        self.min_area = check_area(min_area)
        if not sharpness > 0:
            msg = f"sharpness must be positive, got {sharpness!r}"
            raise ValueError(msg)
        self.sharpness = float(sharpness)
        if not 0 < min_cluster_fraction < 1:
            msg = f"min_cluster_fraction must be between 0 and 1, got {min_cluster_fraction!r}"
            raise ValueError(msg)
        self.min_cluster_fraction = float(min_cluster_fraction)
        self.random_state = positive_int("random_state", random_state, minimum=0)
        self._encoder = encoder
        self._model = None

    def __repr__(self):
        return (
            f"FeatureSegmenter({self.n_segments!r}, method={self.method!r}, "
            f"fitted={self._model is not None})"
        )

    @property
    def encoder(self):
        """The `~astrofractal.FractalEncoder`."""
        if self._encoder is None:
            from astrofractal.encoder import FractalEncoder

            self._encoder = FractalEncoder()
        return self._encoder

    def fit(self, gas, *, progress_bar=False):
        """
        Fit components and clusters on one or several maps, so that labels mean the same in all.

        Parameters
        ----------
        gas : `~astrofractal.GasMap`, list of them, or what `GasMap.read` takes
            The maps.

        progress_bar : bool or callable, optional
            Whether to show progress.

        Returns
        -------
        self : `FeatureSegmenter`
            Later calls of `segment` use what was fitted.
        """
        several = gas if isinstance(gas, list | tuple) else [gas]
        if not several:
            msg = "gas must hold at least one map, got an empty list"
            raise ValueError(msg)
        maps = [GasMap.read(item) for item in several]
        fit = _Fit(self, _SAMPLE // len(maps))
        for item in maps:
            working = self._working(item)
            features = self._features(working, progress_bar)
            fit.add(working, features)
        self._model = fit.finish()
        return self

    def segment(self, gas, *, client=None, output=None, progress_bar=False, **options):
        """
        Segment a map, or a survey.

        A segmenter that was not fitted is fitted on this map alone, and does not keep the fit.

        Parameters
        ----------
        gas : `~astrofractal.GasMap`, or what `GasMap.read` takes
            The map.  Several maps, NDData around a Dask array, Zarr and
            `~astrofractal.surveys.LazyMap` make a survey and need ``output``; see
            `~astrofractal.surveys.survey_segment`.

        client : `distributed.Client`, optional
            A Dask cluster that a survey runs on.

        output : path-like, optional
            The folder of a survey's label maps, which also keeps its finished parts.

        progress_bar : bool or callable, optional
            Whether to show progress.

        **options : dict
            For a survey: the options of `~astrofractal.surveys.survey_segment`.

        Returns
        -------
        result : `~astrofractal.segmentation.Segmentation`
            Labels, components, regions and measures; for a survey a `~astropy.table.QTable` of its
            segments and label files.

        Raises
        ------
        ValueError
            If the map has fewer good pixels than the segments need, or ``min_area`` needs a
            distance or a beam that the map lacks.
        """
        from astrofractal.surveys import is_survey, survey_segment

        if client is not None or output is not None or is_survey(gas):
            if output is None:
                msg = "output must be a folder for a survey of several or large maps, got None"
                raise ValueError(msg)
            options = {"output": output, "progress_bar": progress_bar, **options}
            return survey_segment(self, gas, client=client, **options)
        if options:
            msg = f"segment() of one map takes no option {next(iter(options))!r}"
            raise TypeError(msg)
        gas = GasMap.read(gas)
        smallest = area_in_pixels(self._area(gas), gas)
        working = self._working(gas)
        model = self._model
        if model is None:
            features = self._features(working, progress_bar)
            fit = _Fit(self, _SAMPLE)
            fit.add(working, features)
            model = fit.finish()
            values = model.components(features.values)
        else:
            features = self._features(working, progress_bar, model.project)
            values = features.values
        labels, components = self._to_pixels(gas, working, features, values, model)
        labels = merge_small(labels, smallest, keep_islands=self.min_area is None)
        components[:, labels == 0] = np.nan
        return Segmentation(
            gas,
            labels,
            components,
            n_segments=model.n_segments,
            explained_variance_ratio=model.components.ratios,
            rgb_limits=model.rgb_limits,
            meta={
                "weights_id": self.encoder.weights_id,
                "method": self.method,
                "random_state": self.random_state,
                "version": astrofractal.__version__,
                "cell_pixels": max(round(self.encoder.patch_size * working.factor), 1),
                "scale_factor": working.factor,
                "n_windows": features.n_windows,
            },
        )

    def _area(self, gas):
        if self.min_area is not None:
            return self.min_area
        factor = scale_factor(gas, self.pixel_scale, self.encoder.image_size, quiet=True)
        return (self.encoder.patch_size * factor) ** 2

    def _working(self, gas):
        array = gas.to_array()
        factor = scale_factor(gas, self.pixel_scale, self.encoder.image_size)
        working = working_map(gas, array, factor)
        if self.velocity_reference == "local":
            _subtract_local_mean(working.array, self.encoder.image_size)
        return working

    def _features(self, working, progress_bar, transform=None):
        from astrofractal.encoder.dense import dense_features

        patch = self.encoder.patch_size
        stride = self.stride
        if stride is None:
            stride = patch // 2 if patch % 2 == 0 else patch
        features = dense_features(
            self.encoder,
            working.array,
            stride=stride,
            anchor=working.anchor,
            transform=transform,
            center_positions=transform is None,
            dtype=np.float16 if transform is None else np.float32,
            progress_bar=progress_bar,
        )
        if not features.valid.any():
            msg = (
                f"the map has too few good pixels ({np.isfinite(working.array[0]).sum()} at the "
                "encoder's scale) for any window of the encoder"
            )
            raise ValueError(msg)
        return features

    def _to_pixels(self, gas, working, features, values, model):
        guide = self.encoder.normalization
        center, scale = (
            np.array(part, np.float32)[:3, None, None] for part in (guide.center, guide.scale)
        )
        cells = (
            block_means(working.array, features.origin, features.stride, features.valid.shape)
            - center
        ) / scale
        if working.factor == 1:
            fine = working.array
        else:
            fine = gas.to_array()
            if self.velocity_reference == "local":
                _subtract_local_mean(fine, self.encoder.image_size * working.factor)
        use = [n for n in range(3) if np.isfinite(cells[n]).any()]
        fine = (fine[use] - center[use]) / scale[use]
        labels = np.zeros(gas.shape, np.int32)
        components = np.full((len(model.components), *gas.shape), np.nan, np.float32)
        bands = guided_rows(
            values,
            features.valid,
            cells[use],
            fine,
            working.positions(features, gas.shape),
            sharpness=self.sharpness,
        )
        for rows, pixels, found in bands:
            good = found & ~gas.mask[rows]
            chosen = pixels[good]
            if len(chosen):
                labels[rows][good] = model.predict(chosen / model.scale)
                components[:, rows][:, good] = chosen.T
        return labels, components


class _Fit:
    """Collects features of maps and fits components and clusters to them."""

    def __init__(self, segmenter, n_sample):
        self.segmenter, self.n_sample = segmenter, n_sample
        self.rng = np.random.default_rng(segmenter.random_state)
        self.moments = None
        self.positions = []
        self.sample, self.column = [], []

    def add(self, working, features):
        """Take the cells of one map that have enough good pixels."""
        log_column = block_means(
            working.array[:1], features.origin, features.stride, features.valid.shape
        )[0]
        share = block_means(
            np.isfinite(working.array[:1]).astype(np.float32),
            features.origin,
            features.stride,
            features.valid.shape,
        )[0]
        use = features.valid & (share >= _FIT_SHARE)
        if not use.any():
            use = features.valid & np.isfinite(log_column)
        if self.moments is None:
            self.moments = Moments(features.values.shape[-1])
        found, column = features.values[use], log_column[use]
        self.moments.update(found, column)
        self.positions.append((features.n_windows, features.positions))
        chosen = slice(None)
        if len(found) > self.n_sample:
            chosen = np.sort(self.rng.choice(len(found), self.n_sample, replace=False))
        self.sample.append(found[chosen])
        self.column.append(column[chosen])

    def finish(self):
        """Return the fitted model."""
        own = self.segmenter
        n_features = len(self.moments.sum) - 1
        components = self.moments.components(min(own.n_components, n_features))
        sample = components(np.concatenate(self.sample))
        column = np.concatenate(self.column)
        scale = np.sqrt(components.variances) if own.whiten else np.ones(len(components))
        scale = scale.astype(np.float32)
        predict, n_segments = fit_clusters(
            sample / scale,
            column,
            method=own.method,
            n_segments=own.n_segments,
            random_state=own.random_state,
            min_cluster_fraction=own.min_cluster_fraction,
        )
        limits = np.zeros((3, 2), np.float32)
        limits[: min(len(components), 3)] = np.percentile(sample[:, :3], [2, 98], axis=0).T
        weights, means = zip(*self.positions, strict=True)
        positions = np.average(means, axis=0, weights=weights).astype(np.float32)
        return _Model(components, positions, predict, n_segments, limits, scale)


def _check_scale(pixel_scale):
    if pixel_scale is None:
        return None
    if isinstance(pixel_scale, str):
        return one_of("pixel_scale", pixel_scale, ("auto",))
    if not isinstance(pixel_scale, u.Quantity):
        msg = f"pixel_scale must be 'auto', None or a Quantity, got {pixel_scale!r}"
        raise TypeError(msg)
    if not pixel_scale.unit.is_equivalent(u.pc):
        msg = f"pixel_scale must be a length such as 0.01 * u.pc, got {pixel_scale}"
        raise u.UnitConversionError(msg)
    if not (pixel_scale.isscalar and np.isfinite(pixel_scale) and pixel_scale > 0):
        msg = f"pixel_scale must be one positive length, got {pixel_scale}"
        raise ValueError(msg)
    return pixel_scale


def _subtract_local_mean(array, width):
    """Subtract from the velocity its column-weighted mean in a box around each pixel, in place."""
    from scipy.ndimage import uniform_filter

    known = np.isfinite(array[1])
    if not known.any():
        return
    size = 2 * round(width / 2) + 1
    column = np.where(known, 10.0 ** (np.where(known, array[0], 0) - 22), 0)
    weight = uniform_filter(column, size, mode="constant")
    total = uniform_filter(np.where(known, array[1], 0) * column, size, mode="constant")
    array[1][known] -= (total[known] / np.maximum(weight[known], 1e-12)).astype(np.float32)
