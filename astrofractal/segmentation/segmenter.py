"""`FeatureSegmenter`: segments of gas from the features of a frozen encoder."""

from __future__ import annotations

import numbers
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

import astrofractal
from astrofractal._utils.identity import Options, fingerprint
from astrofractal._utils.validation import positive_int, warn
from astrofractal.gasmap import GasMap
from astrofractal.segmentation.files import read_segmenter, write_segmenter
from astrofractal.segmentation.islands import merge_small, number_by_density
from astrofractal.segmentation.measures import area_in_pixels
from astrofractal.segmentation.model import Fit, nearest_center, scale_channels
from astrofractal.segmentation.segmentation import Segmentation
from astrofractal.segmentation.working_map import (
    background_level,
    coarsest,
    find_scale,
    fixed_scale,
    gas_of,
    pixel_channels,
    working_map,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal, Self

    from astrofractal._utils.annotations import MapSource, PathLike, ProgressBar
    from astrofractal.encoder import FractalEncoder

_MOST_SEGMENTS = 64

# Windows that a small map has, and views of a pixel.
_N_WINDOWS = 500
_LEAST_VIEWS, _MOST_VIEWS = 8, 64

# Maps of more windows of gas than this (384 x 384 px full of gas have 576) have fewer views.
_MANY_WINDOWS, _FEW_VIEWS = 400, 5

# Windows of which less than this share is gas are left out.
_LEAST_GAS = 0.03


class FeatureSegmenter(Options, BaseEstimator):
    """
    Segment maps of gas by the patch tokens of a frozen encoder.

    Windows of the encoder cover the gas of a map, and each pixel is described by the tokens of
    several of them.  What the tokens agree in is reduced to four components; together with the local
    contrast of log N, the velocity relative to the surroundings and the dispersion they are clustered
    by k-means, weighted by the column density to the power of 0.7; its centers stay near fixed values
    of log N, velocity and dispersion.  No label is used (Hirashima, Nozaki & Harada 2025,
    arXiv:2510.24159).

    Parameters
    ----------
    n_segments : int or "auto", optional
        The number of segments.  ``"auto"``: the largest number from 2 to 12 whose segments come back
        in fits to halves of the gas (a mean ``stability`` of 0.8), or the most stable number.
    background : "auto", `None` or `~astropy.units.Quantity`, optional
        Pixels with a smaller column density are not segmented.  ``"auto"``: twice the most frequent
        column density, if that lies at the lower end of the map's values as a background does.
        `None`: all pixels are gas.
    scale : "auto" or `~astropy.units.Quantity`, optional
        The width of the smallest structures that are seen, which is that of a token of the encoder: a
        length, or a number of pixels (``4 * u.pix``).  ``"auto"``: a beam or two pixels, wider in maps
        with more than 10 % noise.
    min_area : int or `~astropy.units.Quantity`, optional
        Smaller islands (connected pixels of one segment) join the neighbor with the longest common
        border; those without a neighbor become unlabeled.  In pixels, or an area (pc2), a solid
        angle, or beams (``2 * u.beam``).  By default two tokens, each of which is at least a beam.
    n_views : int, optional
        About how many windows of the encoder cover each pixel, each in another orientation.  The time
        is proportional to it.  By default 8, up to 64 in small maps, and 5 where gas fills more than
        320 x 320 px.
    encoder : `~astrofractal.FractalEncoder`, optional
        The encoder; the bundled weights by default.
    random_state : int, optional
        Seed of the halves that ``stability`` is measured with and, in maps with more than 100,000
        cells of gas, of the sample that is clustered.

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
    >>> column = 1e21 + 5e22 * np.exp(-((x - 20) ** 2 + (y - 40) ** 2) / 200)
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
        n_segments: int | Literal["auto"] = 8,
        *,
        background: Literal["auto"] | u.Quantity | None = "auto",
        scale: Literal["auto"] | u.Quantity = "auto",
        min_area: int | u.Quantity | None = None,
        n_views: int | None = None,
        encoder: FractalEncoder | None = None,
        random_state: int = 0,
    ) -> None:
        self.n_segments = n_segments
        self.background = background
        self.scale = scale
        self.min_area = min_area
        self.n_views = n_views
        self.encoder = encoder
        self.random_state = random_state

    def _validate(self):
        n = self.n_segments
        if n != "auto":
            number = isinstance(n, int | np.integer) and not isinstance(n, bool)
            if not number or not 1 <= n <= _MOST_SEGMENTS:
                msg = (
                    f"n_segments must be 'auto' or an integer from 1 to {_MOST_SEGMENTS}, got {n!r}"
                )
                raise ValueError(msg)
        _check_quantity("background", self.background, ("auto", None), "1e21 / u.cm**2", u.cm**-2)
        _check_quantity("scale", self.scale, ("auto",), "0.02 * u.pc", u.pc, u.pix)
        if self.min_area is not None:
            area = self.min_area
            if isinstance(area, numbers.Real) and not isinstance(area, bool):
                area = area * u.pix
            units = (u.pix, u.beam, u.pc**2, u.sr)
            _check_quantity("min_area", area, (), "2 * u.beam", *units, zero=True)
        if self.n_views is not None:
            positive_int("n_views", self.n_views)
        positive_int("random_state", self.random_state, minimum=0)

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
        """Return a digest of options and fit, equal for segmenters that return the same labels."""
        options = self.get_params(deep=False)
        options["encoder"] = self.encoder_.fingerprint()
        return fingerprint("FeatureSegmenter", options, getattr(self, "model_", None))

    def save(self, path: PathLike, *, overwrite: bool = False) -> None:
        """
        Save the fitted segmenter, without pickle.

        Parameters
        ----------
        path, overwrite : path-like and bool, optional
            The file (``.safetensors`` is the custom), without the weights of the encoder, and whether
            an existing one may be replaced.

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

        Background and scale are those of these maps, too: the median of their backgrounds, the
        coarsest of their scales.

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

        Examples
        --------
        >>> from astrofractal import FeatureSegmenter, GasMap
        >>> from astrofractal.data import data_path
        >>> gas = GasMap.read(data_path("example_cloud.fits"))
        >>> maps = [gas[100:164, 60:124], gas[100:164, 124:188]]
        >>> segmenter = FeatureSegmenter(n_segments=3, n_views=4).fit(maps)
        >>> labels = [segmenter.segment(part).labels.data for part in maps]
        >>> sorted({int(label) for part in labels for label in part.flat} - {0})
        [1, 2, 3]
        """
        self._validate()
        several = gas if isinstance(gas, list | tuple) else [gas]
        if not several:
            msg = "gas must contain at least one map, got an empty list"
            raise ValueError(msg)
        self.model_, _ = self._fit([GasMap.read(item) for item in several], progress_bar)
        return self

    def _fit(self, maps, progress_bar):
        """Return the model of maps, and the parts of the last one that segmenting it needs."""
        level = float(np.median([self._level(gas) for gas in maps]))
        scales = [find_scale(gas, self.scale) for gas in maps]
        n_views = self.n_views
        if n_views is None:
            n_views = max(map(partial(_n_views, self.encoder_, level), maps, scales))
        fixed = coarsest(maps, scales)
        fit = Fit(len(maps), self.random_state)
        for gas in maps:
            parts = self._parts(gas, level, fixed_scale(gas, *fixed), n_views, progress_bar)
            working, features, array, channels = parts
            planes = working.to_cells(np.concatenate([array[:1], channels]), features)
            fit.add(features, planes[0], planes[1:])
        return fit.finish(self.n_segments, (level, n_views, *fixed)), parts

    def _level(self, gas):
        if self.background is None:
            return 0.0
        if isinstance(self.background, str):
            return background_level(gas)
        return float(self.background.to_value(u.cm**-2))

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
        gas, progress_bar : `~astrofractal.GasMap`, or what `GasMap.read` takes, and bool or callable
            As in `fit`, of one map.
        distance : `~astropy.units.Quantity`, optional
            Distance to the gas, for a map that has none.

        Returns
        -------
        result : `~astrofractal.segmentation.Segmentation`
            Labels, components, regions and measures.

        Raises
        ------
        ValueError
            If an option is wrong, the map contains less gas than the segments need, or ``min_area``
            needs a distance or a beam that the map lacks.

        Examples
        --------
        >>> import numpy as np
        >>> from astrofractal import FeatureSegmenter, GasMap
        >>> from astrofractal.data import data_path
        >>> gas = GasMap.read(data_path("example_cloud.fits"))[100:164, 100:164]
        >>> result = FeatureSegmenter(n_segments=3, n_views=4).segment(gas)
        >>> result
        <Segmentation 64 x 64 px, 3 segments, 100% labeled>
        >>> result.table["label", "area", "gas_mass", "stability"].colnames
        ['label', 'area', 'gas_mass', 'stability']
        >>> bool((np.diff(result.table["mean_column_density"]) > 0).all())
        True
        """
        self._validate()
        gas = GasMap.read(gas, distance=distance)
        smallest = None if self.min_area is None else area_in_pixels(self.min_area, gas)
        is_fitted = hasattr(self, "model_")
        if is_fitted:
            model = self.model_
            level, n_views, *fixed = model.scales.tolist()
            scale = fixed_scale(gas, *fixed)
            parts = self._parts(gas, level, scale, n_views, progress_bar, model.project)
            values = parts[1].values
        else:
            model, parts = self._fit([gas], progress_bar)
            values = model.project(parts[1].values)
        working, features, _, channels = parts
        labels, components, colors = _to_pixels(gas, model, working, features, values, channels)
        token = self.encoder_.patch_size * working.factor
        labels = merge_small(labels, 2 * token**2 if smallest is None else smallest)
        components[:, labels == 0] = np.nan
        stability = model.stability
        if not is_fitted:  # otherwise labels mean the same in all maps
            labels, former = number_by_density(labels, gas.column_density.value)
            stability = stability[former - 1]
        return Segmentation(
            gas,
            labels,
            components,
            rgb=colors,
            n_segments=len(stability),
            stability=stability,
            meta={
                "weights_id": self.encoder_.weights_id,
                "fingerprint": self.fingerprint(),
                "version": astrofractal.__version__,
                "random_state": self.random_state,
                "background": f"{model.scales[0]:.4g} cm-2",
                "token_width": f"{token:.4g} px",
                "rgb_variance": [round(float(ratio), 4) for ratio in model.ratios],
                "n_windows": features.n_windows,
            },
        )

    def _parts(self, gas, level, scale, n_views, progress_bar, transform=None):
        """Return the working map, the features of its windows, the gas and its channels."""
        from astrofractal.encoder.dense import dense_features

        encoder = self.encoder_
        patch = encoder.patch_size
        array = gas_of(gas, level, scale)
        if not np.isfinite(array[0]).any():
            msg = f"background={level:.3g} cm-2 leaves no gas in the map: choose a lower one"
            raise ValueError(msg)
        working = working_map(gas, array, scale.token / patch)
        if min(working.array.shape[1:]) < encoder.image_size:
            window = encoder.image_size * working.factor
            warn(
                f"the map ({gas.shape[0]} x {gas.shape[1]} px) is smaller than a window of the encoder "
                f"({window:.3g} px): beyond its border the encoder sees it mirrored"
            )
        stride = patch // 2 if patch % 2 == 0 else patch
        features = dense_features(
            encoder,
            working.array,
            stride=stride,
            step=_step(encoder, stride, n_views),
            anchor=working.anchor,
            min_good_fraction=_LEAST_GAS,
            turn=True,
            transform=transform,
            with_scatter=transform is None,
            dtype=np.float16 if transform is None else np.float32,
            progress_bar=progress_bar,
        )
        if not features.valid.any():
            msg = "the map contains too little gas for any window of the encoder: mask less"
            raise ValueError(msg)
        return working, features, array, pixel_channels(gas, array, scale)


def _n_views(encoder, level, gas, scale):
    """Return the default number of views: more in maps of few windows."""
    n_pixels = np.count_nonzero(gas.column_density.value > level)
    n_windows = n_pixels / (encoder.image_size / encoder.patch_size * scale.token) ** 2
    if n_windows > _MANY_WINDOWS:
        return float(_FEW_VIEWS)
    return float(np.clip(_N_WINDOWS / max(n_windows, 1), _LEAST_VIEWS, _MOST_VIEWS))


def _step(encoder, stride, n_views):
    """Return the distance of windows: about ``n_views`` on each pixel, at all places within a patch."""
    phases = encoder.patch_size // stride
    wanted = encoder.image_size / np.sqrt(n_views) / stride
    most = max(encoder.image_size // 2 // stride, 1)
    allowed = [n for n in range(1, most + 1) if np.gcd(n, phases) == 1]
    return stride * min(allowed, key=lambda n: abs(n - wanted))


def _to_pixels(gas, model, working, features, values, channels):
    """Return labels, what is clustered (planes) and colors, on the pixels of the map."""
    # values (rows, columns, n_components + n_colors); channels (n_channels, height, width)
    planes = np.moveaxis(np.where(features.valid[..., None], values, np.nan), -1, 0)
    planes = working.to_pixels(planes, features, gas.shape)
    n_colors = len(model.rgb_limits)
    good = np.isfinite(planes[0]) & np.isfinite(channels[0])
    others = scale_channels(channels[:, good].T, model.channel_mean, model.channel_unit)
    points = np.hstack([planes[:-n_colors, good].T, others])
    labels = np.zeros(gas.shape, np.int32)
    labels[good] = nearest_center(points, model.centers) + 1
    components = np.full((points.shape[1], *gas.shape), np.nan, np.float32)
    components[:, good] = points.T
    colors = np.full((*gas.shape, 3), np.nan, np.float32)
    low, high = model.rgb_limits.T
    colors[good, :n_colors] = np.clip(
        (planes[-n_colors:, good].T - low) / np.maximum(high - low, 1e-12), 0, 1
    )
    return labels, components, colors


def _check_quantity(name, value, words, example, *units, zero=False):
    """Raise an error that names the option unless it is one of some words or one quantity."""
    if words and (value is None or isinstance(value, str)):
        if value in words:
            return
        msg = f"{name} must be a Quantity such as {example}, or one of {words}, got {value!r}"
        raise ValueError(msg)
    if not isinstance(value, u.Quantity):
        msg = f"{name} must be a Quantity such as {example}, got {value!r}"
        raise TypeError(msg)
    if not any(value.unit.is_equivalent(unit) for unit in units):
        msg = f"{name} must be a Quantity such as {example}, got {value}"
        raise u.UnitConversionError(msg)
    if not (
        value.isscalar and np.isfinite(value) and (value.value > 0 or (zero and value.value == 0))
    ):
        msg = f"{name} must be one positive value such as {example}, got {value}"
        raise ValueError(msg)
