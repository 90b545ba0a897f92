"""`FeatureSegmenter`: segments of gas from the features of a frozen encoder."""

from __future__ import annotations

import numbers
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

import astrofractal
from astrofractal._utils.identity import Options, fingerprint
from astrofractal._utils.validation import one_of, positive_int, warn
from astrofractal.gasmap import GasMap
from astrofractal.segmentation.clusters import METHODS, Fit
from astrofractal.segmentation.files import read_segmenter, write_segmenter
from astrofractal.segmentation.islands import merge_small, number_by_density
from astrofractal.segmentation.segmentation import Segmentation
from astrofractal.segmentation.working_map import (
    area_in_pixels,
    block_means,
    check_area,
    guided_rows,
    scale_factor,
    smooth_lines,
    subtract_local_mean,
    working_map,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal, Self

    from astrofractal._utils.annotations import PathLike, ProgressBar
    from astrofractal.encoder import FractalEncoder
    from astrofractal.gasmap.annotations import MapSource


__all__ = ["FeatureSegmenter"]

# Islands with a smaller share of the map's data can be large on their own.
_LARGEST_SHARE = 0.005


class FeatureSegmenter(Options, BaseEstimator):
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
        The number of components that are clustered and returned.

    whiten : bool, optional
        Whether components have equal weight in the clustering, or weight by their variance.

    stride : int, optional
        Distance of the features in the encoder's pixels, a divisor of its patch size; a quarter of
        a patch by default.

    n_views : int, optional
        About how many windows of the encoder look at each pixel, each with another place of the pixel
        in the window and in another orientation.  What they do not agree in has little weight in the
        components.  The time is proportional to it; with fewer, segments depend more on where windows
        lie.

    pixel_scale : "auto", `None` or `~astropy.units.Quantity`, optional
        The scale at which the encoder sees the map.  ``"auto"``: the map is resampled so that a
        window is 0.5 pc wide if its pixels are known to differ from that by more than a factor of
        1.5.  `None`: pixels as they are.  A length: that scale.  Labels are always on the pixels
        of the map.

    velocity_reference : {"local", "map"}, optional
        The zero of the velocity channel: the column-weighted mean in a box of the size of the
        window around each pixel, as in the maps on which masses are calibrated, or that of the whole
        map.  With ``"local"`` a part of a map is segmented as the whole is.

    smoothing : float, optional
        Standard deviation of a Gaussian that the lines of the map go through before the encoder sees
        it, in pixels at the scale of ``pixel_scale``; 0 for the map as it is.  By default a quarter
        of a patch: noise and what is below the beam of most maps are not for the encoder.
        Measures are those of the map itself.

    min_area : int or `~astropy.units.Quantity`, optional
        Smaller islands (connected pixels of one segment) join the neighbor with the longest common
        border, and those without a neighbor become unlabeled.  In pixels, or an area (pc2), a solid
        angle, or beams (``2 * u.beam``).  By default the area of one patch of the encoder, but no more
        than 0.5 % of the map's data and no less than a beam, and islands without a neighbor are
        kept.

    sharpness : float, optional
        How different a pixel may be from a feature cell to take part in it, in units of the encoder's
        normalized channels; smaller follows the edges of the map more closely.

    min_cluster_fraction : float, optional
        Smallest cluster of HDBSCAN as a share of the feature cells.

    random_state : int, optional
        Seed of the sample of features in maps that have more than 40,000, and of the refits that tell
        the stability.  Clusters start from layers of column density, not at random.

    Attributes
    ----------
    model_ : object
        What `fit` found; absent before.

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
        n_segments: int | Literal["auto"] = 6,
        *,
        method: Literal["kmeans", "gmm", "hdbscan"] = "kmeans",
        encoder: FractalEncoder | None = None,
        n_components: int = 8,
        whiten: bool = False,
        stride: int | None = None,
        n_views: int = 40,
        pixel_scale: Literal["auto"] | u.Quantity | None = "auto",
        velocity_reference: Literal["local", "map"] = "local",
        smoothing: float = 2,
        min_area: int | u.Quantity | None = None,
        sharpness: float = 0.5,
        min_cluster_fraction: float = 0.02,
        random_state: int = 0,
    ) -> None:
        self.n_segments = n_segments
        self.method = method
        self.encoder = encoder
        self.n_components = n_components
        self.whiten = whiten
        self.stride = stride
        self.n_views = n_views
        self.pixel_scale = pixel_scale
        self.velocity_reference = velocity_reference
        self.smoothing = smoothing
        self.min_area = min_area
        self.sharpness = sharpness
        self.min_cluster_fraction = min_cluster_fraction
        self.random_state = random_state

    def _validate(self):
        if isinstance(self.n_segments, str):
            one_of("n_segments", self.n_segments, ("auto",))
        else:
            positive_int("n_segments", self.n_segments)
        one_of("method", self.method, METHODS)
        one_of("velocity_reference", self.velocity_reference, ("local", "map"))
        positive_int("n_components", self.n_components)
        positive_int("random_state", self.random_state, minimum=0)
        if self.stride is not None:
            positive_int("stride", self.stride)
        positive_int("n_views", self.n_views)
        _check_scale(self.pixel_scale)
        _check_number("smoothing", self.smoothing, np.inf, zero=True)
        check_area(self.min_area)
        _check_number("sharpness", self.sharpness, np.inf)
        _check_number("min_cluster_fraction", self.min_cluster_fraction, 1)

    @property
    def encoder_(self) -> FractalEncoder:
        """The `~astrofractal.FractalEncoder` in use: the one given, or the bundled one."""
        if self.encoder is not None:
            return self.encoder
        if not hasattr(self, "_bundled"):
            from astrofractal.encoder import FractalEncoder

            self._bundled = FractalEncoder()
        return self._bundled

    def __sklearn_is_fitted__(self):
        return hasattr(self, "model_")

    def fingerprint(self) -> str:
        """
        Return a digest of every option and of what was fitted.

        Returns
        -------
        digest : str
            Equal for segmenters that return the same labels.
        """
        options = self.get_params(deep=False)
        options["encoder"] = self.encoder_.fingerprint()
        return fingerprint("FeatureSegmenter", options, getattr(self, "model_", None))

    def save(self, path: PathLike, *, overwrite: bool = False) -> None:
        """
        Save the fitted segmenter, without pickle.

        Parameters
        ----------
        path : path-like
            The file; ``.safetensors`` is the custom.  The weights of the encoder are not in it.

        overwrite : bool, optional
            Whether an existing file may be replaced.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If nothing was fitted.

        FileExistsError
            If the file exists and ``overwrite`` is `False`.
        """
        check_is_fitted(self)
        options = self.get_params(deep=False)
        del options["encoder"]
        write_segmenter(options, self.encoder_, self.model_, path, overwrite=overwrite)

    @classmethod
    def load(cls, path: PathLike, *, encoder: FractalEncoder | None = None) -> FeatureSegmenter:
        """
        Load a fitted segmenter.

        Parameters
        ----------
        path : path-like
            A file of `save`.

        encoder : `~astrofractal.FractalEncoder`, optional
            The encoder that it was fitted with; needed if its weights are neither the bundled nor
            random ones.

        Returns
        -------
        segmenter : `FeatureSegmenter`
            Fitted.

        Raises
        ------
        FileNotFoundError, ValueError
            If there is no such file, or it is damaged, of another format or for another encoder.
        """
        options, model = read_segmenter(path, encoder)
        new = cls(**options)
        new.model_ = model
        return new

    def fit(
        self,
        gas: GasMap | MapSource | Sequence[GasMap | MapSource],
        *,
        progress_bar: ProgressBar = False,
    ) -> Self:
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

        See Also
        --------
        segment : segments a map.
        save : keeps what was fitted.

        Examples
        --------
        >>> from astrofractal import FeatureSegmenter, GasMap
        >>> from astrofractal.data import data_path
        >>> gas = GasMap.read(data_path("example_cloud.fits"))
        >>> maps = [gas[100:196, 60:156], gas[100:196, 156:252]]
        >>> segmenter = FeatureSegmenter(n_segments=3, n_views=8).fit(maps)
        >>> for part in maps:
        ...     print(segmenter.segment(part).table["label"].tolist())
        [1, 2, 3]
        [1, 2, 3]
        """
        self._validate()
        several = gas if isinstance(gas, list | tuple) else [gas]
        if not several:
            msg = "gas must hold at least one map, got an empty list"
            raise ValueError(msg)
        maps = [GasMap.read(item) for item in several]
        fit = Fit(len(maps), self.random_state)
        for item in maps:
            working = self._working(item)
            fit.add(working.array, self._features(working, progress_bar))
        self.model_ = self._finish(fit)
        return self

    def _finish(self, fit):
        names = ("n_components", "whiten", "method", "n_segments", "min_cluster_fraction")
        return fit.finish(**{name: getattr(self, name) for name in names})

    def segment(
        self,
        gas: GasMap | MapSource,
        *,
        distance: u.Quantity | None = None,
        progress_bar: ProgressBar = False,
    ) -> Segmentation:
        """
        Segment a map.

        A segmenter that was not fitted is fitted on this map alone, and does not keep the fit.
        Several maps, and maps larger than memory, are for `~astrofractal.surveys.survey_segment`.

        Parameters
        ----------
        gas : `~astrofractal.GasMap`, or what `GasMap.read` takes
            The map.

        distance : `~astropy.units.Quantity`, optional
            Distance to the gas, for a map that has none.

        progress_bar : bool or callable, optional
            Whether to show progress.

        Returns
        -------
        result : `~astrofractal.segmentation.Segmentation`
            Labels, components, regions and measures.

        Raises
        ------
        ValueError
            If an option is wrong, the map has fewer good pixels than the segments need, or
            ``min_area`` needs a distance or a beam that the map lacks.

        See Also
        --------
        fit : makes labels mean the same in several maps.

        Examples
        --------
        >>> import numpy as np
        >>> from astrofractal import FeatureSegmenter, GasMap
        >>> from astrofractal.data import data_path
        >>> gas = GasMap.read(data_path("example_cloud.fits"))[100:200, 100:200]
        >>> result = FeatureSegmenter(n_segments=3, n_views=8).segment(gas)
        >>> result
        <Segmentation 100 x 100 px, 3 segments, 100% labeled>
        >>> result.table["label", "area", "gas_mass", "stability"].colnames
        ['label', 'area', 'gas_mass', 'stability']
        >>> bool((np.diff(result.table["mean_column_density"]) > 0).all())
        True
        """
        self._validate()
        gas = GasMap.read(gas, distance=distance)
        smallest = self._smallest(gas)
        working = self._working(gas)
        model = getattr(self, "model_", None)
        if model is None:
            features = self._features(working, progress_bar)
            fit = Fit(1, self.random_state)
            fit.add(working.array, features)
            model = self._finish(fit)
            values = model.components(features.values)
        else:
            features = self._features(working, progress_bar, model.project)
            values = features.values
        labels, components = self._to_pixels(gas, working, features, values, model)
        labels = merge_small(labels, smallest, keep_isolated=self.min_area is None)
        components[:, labels == 0] = np.nan
        stability = model.stability
        if not hasattr(self, "model_"):  # otherwise labels mean the same in all maps
            labels, former = number_by_density(labels, gas.column_density.value)
            stability = stability[former - 1]
        return Segmentation(
            gas,
            labels,
            components,
            n_segments=len(stability),
            explained_variance_ratio=model.components.ratios,
            rgb_limits=model.rgb_limits,
            stability=stability,
            meta={
                "weights_id": self.encoder_.weights_id,
                "fingerprint": self.fingerprint(),
                "method": self.method,
                "random_state": self.random_state,
                "version": astrofractal.__version__,
                "cell_pixels": max(round(self.encoder_.patch_size * working.factor), 1),
                "scale_factor": working.factor,
                "n_windows": features.n_windows,
            },
        )

    def _factor(self, gas, *, quiet=False):
        return scale_factor(gas, self.pixel_scale, self.encoder_.image_size, quiet=quiet)

    def _smallest(self, gas):
        if self.min_area is not None:
            return area_in_pixels(self.min_area, gas)
        patch = (self.encoder_.patch_size * self._factor(gas, quiet=True)) ** 2
        beam = 0 if gas.beam is None else area_in_pixels(1 * u.beam, gas)
        return max(beam, min(patch, _LARGEST_SHARE * np.count_nonzero(~gas.mask)))

    def _working(self, gas):
        array = gas.to_array()
        factor, window = self._factor(gas), self.encoder_.image_size
        working = working_map(gas, array, factor)
        if min(working.array.shape[1:]) < window:
            shape = " x ".join(str(n) for n in working.array.shape[1:])
            warn(
                f"the map ({shape} px at the encoder's scale) is smaller than a window of {window} "
                "px, beyond its border the encoder sees it mirrored: take the segments with care, "
                "or choose a smaller pixel_scale"
            )
        working = replace(working, array=smooth_lines(working.array, self.smoothing))
        if self.velocity_reference == "local":
            subtract_local_mean(working.array, window)
        return working

    def _features(self, working, progress_bar, transform=None):
        from astrofractal.encoder.dense import dense_features

        patch = self.encoder_.patch_size
        stride = self.stride
        if stride is None:
            stride = patch // 4 if patch % 4 == 0 else patch
        features = dense_features(
            self.encoder_,
            working.array,
            stride=stride,
            step=self._step(stride),
            anchor=working.anchor,
            turn=True,
            transform=transform,
            with_scatter=transform is None,
            dtype=np.float16 if transform is None else np.float32,
            progress_bar=progress_bar,
        )
        if not features.valid.any():
            msg = (
                f"the map has too few good pixels ({np.isfinite(working.array[0]).sum()} at the "
                "encoder's scale) for any window of the encoder: choose a smaller pixel_scale, or "
                "pixel_scale=None for pixels as they are, or mask less"
            )
            raise ValueError(msg)
        return features

    def _step(self, stride):
        """Distance of windows: about ``n_views`` on each pixel, at all places within a patch."""
        phases = max(self.encoder_.patch_size // stride, 1)
        wanted = self.encoder_.image_size / np.sqrt(self.n_views) / stride
        most = max(self.encoder_.image_size // 2 // stride, 1)
        allowed = [n for n in range(1, most + 1) if np.gcd(n, phases) == 1]
        return stride * min(allowed, key=lambda n: abs(n - wanted))

    def _to_pixels(self, gas, working, features, values, model):
        guide = self.encoder_.normalization
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
            fine = smooth_lines(gas.to_array(), self.smoothing * working.factor)
            if self.velocity_reference == "local":
                subtract_local_mean(fine, self.encoder_.image_size * working.factor)
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
                labels[rows][good] = model.label(chosen)
                components[:, rows][:, good] = chosen.T
        return labels, components


def _check_number(name, value, most, *, zero=False):
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not (number and (0 < value < most or (zero and value == 0))):
        limits = "positive" if most == np.inf else f"between 0 and {most}"
        msg = f"{name} must be {'0 or ' if zero else ''}{limits}, got {value!r}"
        raise ValueError(msg)


def _check_scale(pixel_scale):
    if pixel_scale is None:
        return
    if isinstance(pixel_scale, str):
        one_of("pixel_scale", pixel_scale, ("auto",))
    elif not isinstance(pixel_scale, u.Quantity):
        msg = f"pixel_scale must be 'auto', None or a Quantity, got {pixel_scale!r}"
        raise TypeError(msg)
    elif not pixel_scale.unit.is_equivalent(u.pc):
        msg = f"pixel_scale must be a length such as 0.01 * u.pc, got {pixel_scale}"
        raise u.UnitConversionError(msg)
    elif not (pixel_scale.isscalar and np.isfinite(pixel_scale) and pixel_scale > 0):
        msg = f"pixel_scale must be one positive length, got {pixel_scale}"
        raise ValueError(msg)
