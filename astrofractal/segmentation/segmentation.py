"""`Segmentation`: what a segmenter found in a map."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.nddata import NDData

from astrofractal._utils.validation import one_of
from astrofractal.segmentation.islands import (
    connected_islands,
    island_rings,
    parents,
    polygon_regions,
)
from astrofractal.segmentation.measures import correlation_table, segment_table, show_in_print
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


class Segmentation:
    """
    Segments of a gas map: labels, regions, measures, files.

    It is made by `astrofractal.FeatureSegmenter.segment`, or read from its files by `read`.

    Parameters
    ----------
    gas : `~astrofractal.GasMap`
        The map.
    labels : 2D int `~numpy.ndarray`
        1 to ``n_segments``, ordered by column density; 0 where there is no gas.
    components : 3D `~numpy.ndarray`, shape (n_components, height, width)
        What was clustered, on the pixels of the map; NaN where there is no gas.
    rgb : 3D `~numpy.ndarray`, shape (height, width, 3)
        Principal components of the tokens from 0 to 1; NaN where there is no gas.
    n_segments : int
        The number of segments, found in this map or not.
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
        rgb: np.ndarray,
        n_segments: int,
        stability: np.ndarray | None = None,
        meta: dict[str, Any] | None = None,
    ) -> None:
        self.gas = gas
        self.n_segments = int(n_segments)
        self.stability = stability
        self.meta = dict(meta or {})
        self._labels = labels
        self._components = components
        self._rgb = rgb

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
        """`~astropy.nddata.NDData` of int32 with WCS: 1 to ``n_segments``, 0 where no gas is."""
        return NDData(self._labels, wcs=self.gas.wcs, mask=self._labels == 0, meta=self.meta)

    @property
    def masks(self) -> dict[int, np.ndarray]:
        """Dictionary of label to 2D boolean array, `True` inside the segment."""
        return {label: self._labels == label for label in range(1, self.n_segments + 1)}

    @property
    def components(self) -> NDData:
        """
        `~astropy.nddata.NDData`, shape (n_components, height, width): what was clustered.

        First the components of the tokens, in order of how much views agree in them, then the local
        contrasts of log N, the velocity and the dispersion; in units of the clustering.  The WCS has
        a third axis that counts them.
        """
        mask = ~np.isfinite(self._components)
        wcs = None if self.gas.wcs is None else self.gas.wcs.sub([1, 2, 0])
        return NDData(self._components, wcs=wcs, mask=mask, meta=self.meta)

    @property
    def rgb(self) -> NDData:
        """
        `~astropy.nddata.NDData`, shape (height, width, 3): the figure of the published method.

        The first three principal components of the tokens of the gas, from 0 to 1 between the 1st and
        99th percentiles of the maps of the fit.  NaN where there is no gas.  The WCS has a first axis
        (numpy's last) that counts the colors.
        """
        wcs = None if self.gas.wcs is None else self.gas.wcs.sub([0, 1, 2])
        return NDData(self._rgb, wcs=wcs, mask=np.isnan(self._rgb), meta=self.meta)

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

    def to_regions(self, kind: Literal["sky", "pixel"] = "sky") -> Regions:
        """
        Return the outlines as regions, which hold exactly the pixels of their islands.

        The polygon of an island runs to its holes and back along a line of no width.

        Parameters
        ----------
        kind : {"sky", "pixel"}, optional
            Sky regions need a WCS.

        Returns
        -------
        regions : `regions.Regions`
            One polygon for each connected island; ``meta["text"]`` names segment and island.

        Raises
        ------
        ValueError
            If sky regions are asked for and the map has no WCS.
        """
        one_of("kind", kind, ("sky", "pixel"))
        if kind == "sky" and self.gas.wcs is None:
            msg = "kind='sky' needs a WCS, the map has none: use kind='pixel' or give wcs="
            raise ValueError(msg)
        return polygon_regions(
            self.outlines,
            self.island_segments.tolist(),
            wcs=self.gas.wcs if kind == "sky" else None,
            colors=self.colors,
        )

    @property
    def regions(self) -> Regions:
        """`regions.Regions` of the islands: sky polygons, or pixel polygons of a map without WCS."""
        return self.to_regions("pixel" if self.gas.wcs is None else "sky")

    def to_segmentation_image(self) -> SegmentationImage:
        """
        Return the labels for the measurements, plots and catalogs of sources of photutils.

        Returns
        -------
        image : `photutils.segmentation.SegmentationImage`
            A copy.
        """
        from photutils.segmentation import SegmentationImage

        return SegmentationImage(self._labels.copy())

    @cached_property
    def table(self) -> QTable:
        """
        `~astropy.table.QTable` with one row per segment that has a pixel.

        Masses and areas are sums over the label map, never over polygons.  Columns that need a WCS,
        a distance or a velocity that the map lacks are absent.  ``character`` names the two measures
        in which a segment differs most from the rest, ``touches`` lists the segments with a common
        border.  The virial parameter of a segment of several islands is not a number: see
        ``island_table``.  ``stability`` is the mean Jaccard index between the segment and its like in
        fits to halves of the gas.  `print` shows a choice of columns; ``table.colnames`` has all.
        """
        table = segment_table(self.gas, self._labels, np.arange(1, self.n_segments + 1))
        counts = np.bincount(self.island_segments, minlength=self.n_segments + 1)[1:]
        table.add_column(counts, name="n_islands", index=2)
        if "virial_parameter" in table.colnames:
            table["virial_parameter"][counts != 1] = np.nan
        if self.stability is not None and np.isfinite(self.stability).any():
            table.add_column(np.asarray(self.stability, float), name="stability", index=3)
            info = table["stability"].info
            info.format = ".2f"
            info.description = "mean Jaccard index with refits to half of the gas"
        return show_in_print(table[table["n_pixels"] > 0])

    @cached_property
    def island_table(self) -> QTable:
        """
        `~astropy.table.QTable` with one row for each connected island.

        The columns of ``table``, the ``segment`` of the island, and its ``parent``: the smallest
        island in whose hole it lies, 0 if there is none.
        """
        islands, segments = self._numbered
        table = segment_table(self.gas, islands, np.arange(1, len(segments) + 1))
        table.add_column(segments, name="segment", index=1)
        table.add_column(parents(islands), name="parent", index=2)
        return show_in_print(table)

    @cached_property
    def correlations(self) -> QTable:
        """
        `~astropy.table.QTable`: Spearman correlation of each component with physical quantities.

        The columns are log N, the velocity relative to the column-weighted mean, the dispersion, the
        modulus of the gradient of N, and the slope of the local power spectrum of log N.
        """
        return correlation_table(self.gas, self._labels, self._components)

    def label_at(self, position: SkyCoord | tuple[float, float]) -> int | np.ndarray:
        """
        Return the segment at a position.

        Parameters
        ----------
        position : `~astropy.coordinates.SkyCoord` or tuple of float
            On the sky, or 0-based pixels (x, y); one or several.

        Returns
        -------
        label : int or 1D int `~numpy.ndarray`
            0 where there is no gas and beyond the map.
        """
        pixels = self.gas.to_pixel(position) if isinstance(position, SkyCoord) else position
        x, y = (np.rint(np.nan_to_num(axis, nan=-1)).astype(int) for axis in pixels)
        height, width = self._labels.shape
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        found = np.where(inside, self._labels[np.where(inside, y, 0), np.where(inside, x, 0)], 0)
        return int(found) if found.ndim == 0 else found

    def cutout(self, label: int) -> GasMap:
        """
        Return the part of the map that contains one segment, masked outside of it.

        Parameters
        ----------
        label : int
            The segment.

        Returns
        -------
        gas : `~astrofractal.GasMap`
            With the WCS of the part.

        Raises
        ------
        ValueError
            If no pixel has this label.
        """
        inside = self._labels == label
        if label == 0 or not inside.any():
            found = np.unique(self._labels[self._labels > 0]).tolist()
            msg = f"label must be one of {found}, got {label!r}"
            raise ValueError(msg)
        box = tuple(slice(part.min(), part.max() + 1) for part in np.nonzero(inside))
        part = self.gas[box]
        column = np.where(inside[box], part.column_density.value, np.nan)
        return part.replace(column_density=column * part.column_density.unit)

    def write_segment(self, label: int, path: PathLike, *, overwrite: bool = False) -> None:
        """
        Write one segment as a map: `cutout` as FITS.

        Parameters
        ----------
        label : int
            The segment.
        path, overwrite : path-like and bool, optional
            The FITS file, and whether an existing one may be replaced.
        """
        self.cutout(label).write(path, overwrite=overwrite)

    def plot(self, *, figure: Figure | None = None) -> Figure:
        """
        Draw the column density, the segments, and principal components of the tokens as colors.

        Parameters
        ----------
        figure : `~matplotlib.figure.Figure`, optional
            The figure to draw in; a new one by default.

        Returns
        -------
        figure : `~matplotlib.figure.Figure`
            With celestial axes where the map has a WCS, a scale bar where the size of a pixel is
            known, and outlines of the densest segments.
        """
        return plot_segmentation(self, figure=figure)

    def write(self, directory: PathLike, *, overwrite: bool = False) -> dict[str, Path]:
        """
        Write everything into a folder.

        Parameters
        ----------
        directory, overwrite : path-like and bool, optional
            The folder, made if needed, whose other files are left alone; whether files of an earlier
            result may be replaced.

        Returns
        -------
        paths : dict of str to `~pathlib.Path`
            ``labels`` (FITS: labels and islands), ``components`` (FITS: components and RGB), ``map``
            (FITS: the map itself), ``regions`` (DS9), ``regions_crtf`` (sky only), ``segments`` and
            ``islands`` (ECSV), ``correlations`` (ECSV), ``overview`` (PNG).

        Raises
        ------
        FileExistsError
            If a file exists and ``overwrite`` is `False`; nothing is written then.
        """
        from astrofractal.segmentation.files import write_segmentation

        return write_segmentation(self, directory, overwrite=overwrite)

    @classmethod
    def read(cls, directory: PathLike) -> Segmentation:
        """
        Read the folder that `write` wrote.

        Raises
        ------
        FileNotFoundError, ValueError
            If a file is missing, damaged or of another map.
        """
        from astrofractal.segmentation.files import read_segmentation

        return cls(**read_segmentation(directory))
