"""`Segmentation`: what a segmenter found in a map."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from astropy.nddata import NDData

from astrofractal._utils.validation import one_of
from astrofractal.segmentation.islands import (
    connected_islands,
    island_rings,
    parents,
    polygon_regions,
)
from astrofractal.segmentation.measures import correlation_table, segment_table
from astrofractal.segmentation.plotting import html, plot_segmentation, segment_colors

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any, Literal

    from astropy.table import QTable
    from matplotlib.figure import Figure
    from photutils.segmentation import SegmentationImage
    from regions import Regions

    from astrofractal._utils.annotations import PathLike
    from astrofractal.gasmap import GasMap


__all__ = ["Segmentation"]


class Segmentation:
    """
    Segments of a gas map, with everything that can be said about them.

    It is made by `astrofractal.FeatureSegmenter.segment`.

    Parameters
    ----------
    gas : `~astrofractal.GasMap`
        The map.

    labels : 2D int `~numpy.ndarray`
        1..n_segments, ordered by column density; 0 where there are no data.

    components : 3D `~numpy.ndarray`, shape (n_components, height, width)
        Components of the features on the pixel grid, NaN where there are none.

    n_segments : int
        The number of segments, found in this map or not.

    explained_variance_ratio : 1D `~numpy.ndarray`
        Share of the variance of the features along each component.

    rgb_limits : 2D `~numpy.ndarray`, shape (3, 2)
        Values of the first three components that are shown as 0 and 1.

    stability : 1D `~numpy.ndarray`, shape (n_segments,), optional
        How much of each segment comes back in refits, from 0 to 1.

    meta : dict, optional
        How the segmentation was made.
    """

    def __init__(
        self,
        gas: GasMap,
        labels: np.ndarray,
        components: np.ndarray,
        *,
        n_segments: int,
        explained_variance_ratio: np.ndarray,
        rgb_limits: np.ndarray,
        stability: np.ndarray | None = None,
        meta: dict[str, Any] | None = None,
    ) -> None:
        self.gas = gas
        self.n_segments = int(n_segments)
        self.explained_variance_ratio = np.asarray(explained_variance_ratio)
        self.stability = stability
        self.meta = dict(meta or {})
        self._labels = labels
        self._components = components
        self._rgb_limits = np.asarray(rgb_limits, dtype=np.float32)

    def __repr__(self):
        height, width = self._labels.shape
        return (
            f"<Segmentation {height} x {width} px, {self.n_segments} segments, "
            f"{(self._labels > 0).mean():.0%} labeled>"
        )

    def _repr_html_(self):
        return html(self)

    @property
    def labels(self) -> NDData:
        """`~astropy.nddata.NDData` of int32 with WCS: 1 to ``n_segments``, 0 where no data are."""
        return NDData(self._labels, wcs=self.gas.wcs, mask=self._labels == 0, meta=self.meta)

    @property
    def masks(self) -> dict[int, np.ndarray]:
        """Dictionary of label to 2D boolean array, `True` inside the segment."""
        return {label: self._labels == label for label in range(1, self.n_segments + 1)}

    @property
    def components(self) -> NDData:
        """
        `~astropy.nddata.NDData`, shape (n_components, height, width), ordered by variance.

        The WCS has a third axis that counts the components.
        """
        mask = ~np.isfinite(self._components)
        wcs = None if self.gas.wcs is None else self.gas.wcs.sub([1, 2, 0])
        return NDData(self._components, wcs=wcs, mask=mask, meta=self.meta)

    @property
    def rgb(self) -> NDData:
        """
        `~astropy.nddata.NDData`, shape (height, width, 3): the first three components from 0 to 1.

        The limits are the 2nd and 98th percentiles of the maps that the segmenter was fitted on, so
        that a color means the same in all maps of one fitted segmenter.  NaN where no data are.
        The WCS has a first axis (numpy's last) that counts the colors.
        """
        shown = np.full((*self._labels.shape, 3), 0.5, dtype=np.float32)
        shown[self._labels == 0] = np.nan
        for channel, plane in enumerate(self._components[:3]):
            low, high = self._rgb_limits[channel]
            shown[..., channel] = np.clip((plane - low) / max(high - low, 1e-12), 0, 1)
        wcs = None if self.gas.wcs is None else self.gas.wcs.sub([0, 1, 2])
        return NDData(shown, wcs=wcs, mask=np.isnan(shown), meta=self.meta)

    @cached_property
    def _numbered(self):
        return connected_islands(self._labels)

    @property
    def islands(self) -> NDData:
        """`~astropy.nddata.NDData` of int32: each connected island of a segment has its number."""
        islands = self._numbered[0]
        return NDData(islands, wcs=self.gas.wcs, mask=islands == 0, meta=self.meta)

    @property
    def island_segments(self) -> np.ndarray:
        """1D array: the segment of each island, the first that of island 1."""
        return self._numbered[1]

    @cached_property
    def outlines(self) -> list[list[np.ndarray]]:
        """List for each island of its rings (x, y) along the edges of pixels: outer, then holes."""
        return island_rings(self._numbered[0])

    @property
    def colors(self) -> list[Any]:
        """List of one color per segment, the same in the plot and in the regions."""
        return segment_colors(self.n_segments)

    def to_regions(
        self,
        kind: Literal["sky", "pixel"] = "sky",
        *,
        holes: Literal["keyhole", "fill"] = "keyhole",
    ) -> Regions:
        """
        Return the outlines as regions.

        Parameters
        ----------
        kind : {"sky", "pixel"}, optional
            Sky regions need a WCS.

        holes : {"keyhole", "fill"}, optional
            ``"keyhole"``: the polygon of an island runs to its holes and back along a line of no
            width, so that the region holds exactly the pixels of the island.  ``"fill"``: the outer
            outline alone, which covers the holes.

        Returns
        -------
        regions : `regions.Regions`
            One polygon for each connected island; ``meta["text"]`` tells segment and island.

        Raises
        ------
        ValueError
            If sky regions are asked for and the map has no WCS.
        """
        one_of("kind", kind, ("sky", "pixel"))
        one_of("holes", holes, ("keyhole", "fill"))
        if kind == "sky" and self.gas.wcs is None:
            msg = "kind='sky' needs a WCS, the map has none: use kind='pixel' or give wcs="
            raise ValueError(msg)
        return polygon_regions(
            self.outlines,
            self.island_segments.tolist(),
            holes=holes,
            wcs=self.gas.wcs if kind == "sky" else None,
            colors=self.colors,
        )

    @property
    def regions(self) -> Regions:
        """`regions.Regions` of the islands: sky polygons, or pixel polygons of a map without WCS."""
        return self.to_regions("pixel" if self.gas.wcs is None else "sky")

    def to_segmentation_image(self) -> SegmentationImage:
        """
        Return the labels for photutils.

        Returns
        -------
        image : `photutils.segmentation.SegmentationImage`
            For the measurements, plots and catalogs of sources of photutils.
        """
        from photutils.segmentation import SegmentationImage

        return SegmentationImage(self._labels.copy())

    @cached_property
    def table(self) -> QTable:
        """
        `~astropy.table.QTable` with one row per segment that has a pixel.

        Masses and areas are sums over the label map, never over polygons.  Columns that need a WCS,
        a distance or a velocity that the map lacks are absent.  The virial parameter of a segment
        of several islands is not a number: see ``island_table``.  ``stability`` is the mean Jaccard
        index between the segment and its like in fits to halves of the gas.  ``table.meta`` states
        distance and mean molecular weight.
        """
        table = segment_table(self.gas, self._labels, self.n_segments, self._components)
        segments = self.island_segments
        counts = np.bincount(segments, minlength=self.n_segments + 1)[1:]
        table.add_column(counts, name="n_islands", index=2)
        if "virial_parameter" in table.colnames:
            table["virial_parameter"][counts != 1] = np.nan
        if self.stability is not None and np.isfinite(self.stability).any():
            table.add_column(np.asarray(self.stability, float), name="stability", index=3)
            info = table["stability"].info
            info.format = ".2f"
            info.description = "mean Jaccard index with refits to half of the gas"
        meta, table = table.meta, table[table["n_pixels"] > 0]
        table.meta = meta
        return table

    @cached_property
    def island_table(self) -> QTable:
        """
        `~astropy.table.QTable` with one row for each connected island.

        The columns of ``table``, the ``segment`` of the island, and its ``parent``: the smallest
        island in whose hole it lies, 0 if there is none.
        """
        islands, segments = self._numbered
        table = segment_table(self.gas, islands, len(segments), self._components)
        table.add_column(segments, name="segment", index=1)
        table.add_column(parents(islands), name="parent", index=2)
        return table

    @cached_property
    def correlations(self) -> QTable:
        """
        `~astropy.table.QTable`: Spearman correlation of each component with physical quantities.

        The columns are log N, the velocity relative to the column-weighted mean, the dispersion, the
        modulus of the gradient of N, and the slope of the local power spectrum of log N.
        """
        spacing = int(self.meta.get("cell_pixels", 8))
        scale = int(np.clip(4 * spacing, 24, 64))
        return correlation_table(
            self.gas, self._labels, self._components, spacing=spacing, scale=scale
        )

    def plot(
        self, *, figure: Figure | None = None, outlines: bool = True, legend: bool = True
    ) -> Figure:
        """
        Draw the outlines over the column density beside the first three components.

        Parameters
        ----------
        figure : `~matplotlib.figure.Figure`, optional
            The figure to draw in; a new one by default.

        outlines, legend : bool, optional
            Whether to draw them.

        Returns
        -------
        figure : `~matplotlib.figure.Figure`
            The figure, with celestial axes where the map has a WCS and a scale bar where the size
            of a pixel is known.
        """
        return plot_segmentation(self, figure=figure, outlines=outlines, legend=legend)

    def write(self, directory: PathLike, *, overwrite: bool = False) -> dict[str, Path]:
        """
        Write everything into a folder.

        Parameters
        ----------
        directory : path-like
            The folder; made if needed.  Other files in it are left alone.

        overwrite : bool, optional
            Whether files of an earlier result may be replaced.

        Returns
        -------
        paths : dict of str to `~pathlib.Path`
            ``labels`` (FITS: labels and islands), ``components`` (FITS: components and RGB),
            ``regions`` (DS9), ``regions_crtf`` (sky only), ``regions_fits`` (pixels), ``segments``
            and ``islands`` (ECSV), ``correlations`` (ECSV), ``overview`` (PNG).

        Raises
        ------
        FileExistsError
            If a file exists and ``overwrite`` is `False`; nothing is written then.
        """
        from astrofractal.segmentation.files import write_segmentation

        return write_segmentation(self, directory, overwrite=overwrite)
