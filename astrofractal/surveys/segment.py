"""`survey_segment`: the same segments in many maps, or in a map larger than memory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits
from astropy.table import QTable
from sklearn.utils.validation import check_is_fitted

from astrofractal._utils.atomic import atomic_path
from astrofractal._utils.validation import positive_int
from astrofractal.surveys.lazymap import LazyMap
from astrofractal.surveys.survey import Part, named_maps, run_survey

if TYPE_CHECKING:
    from collections.abc import Iterable

    from astropy import units as u
    from distributed import Client

    from astrofractal._utils.annotations import MapSource, PathLike, ProgressBar
    from astrofractal.gasmap import GasMap
    from astrofractal.segmentation import FeatureSegmenter


def survey_segment(
    segmenter: FeatureSegmenter,
    maps: Iterable[GasMap | MapSource] | LazyMap | GasMap | MapSource,
    *,
    output: PathLike,
    distance: u.Quantity | None = None,
    tile_shape: tuple[int, ...] = (1024, 1024),
    overlap: int = 192,
    client: Client | None = None,
    resume: bool = True,
    progress_bar: ProgressBar = False,
) -> QTable:
    """
    Segment many maps, or a map larger than memory, with one meaning of the labels.

    Parameters
    ----------
    segmenter : `~astrofractal.FeatureSegmenter`
        The segmenter, fitted on some of the maps; on parts of a large map (`LazyMap.read`).
    maps : iterable of maps, path of a folder, `LazyMap`, or one map
        As for `survey_catalog`.
    output : path-like
        The folder: ``labels/<map>.fits`` for each map (``LABELS``, 0 where no data are, with the
        WCS), ``segments.ecsv``, and each finished tile.
    distance, tile_shape, client, resume, progress_bar : optional
        As for `survey_catalog`.
    overlap : int, optional
        Pixels that are read beyond a tile: three windows of the encoder by default, where the map
        has the encoder's pixel scale.

    Returns
    -------
    table : `~astropy.table.QTable`
        ``map``, ``segment``, ``n_pixels`` and ``labels``, the file.  ``meta["failed"]`` lists the
        maps that could not be used, with the reason.

    Raises
    ------
    ValueError
        If the segmenter is not fitted, no map could be used, or ``output`` holds another survey.

    Notes
    -----
    A map in one piece has exactly the labels of `FeatureSegmenter.segment`.  In a map read tile by
    tile the features are the same, too; small islands are merged within each tile and its border, so
    that an island that reaches further than ``overlap`` beyond a tile can have another label there.
    """
    check_is_fitted(segmenter)
    positive_int("overlap", overlap, minimum=0)
    named = named_maps(maps)

    def divide(name, item):
        if not isinstance(item, LazyMap):
            return [Part(name, item)]
        return [Part(name, item, tile) for tile in item.tiles(tile_shape, overlap=overlap)]

    how = {"output": output, "resume": resume, "client": client, "progress_bar": progress_bar}
    settings = {"kind": "segment", "tile_shape": list(tile_shape), "overlap": overlap}
    job, output = _Segment(distance), Path(output)
    parts, done, failed = run_survey(job, segmenter, named, divide, **how, **settings)
    rows = []
    for name in named:
        own = {key: part for key, part in parts.items() if part.name == name and key in done}
        if own:
            file = f"labels/{name.replace('/', '_')}.fits"
            counts = _write_labels(output / file, own, done)
            rows += [(name, label, n, file) for label, n in enumerate(counts) if label]
    names = ("map", "segment", "n_pixels", "labels")
    table = QTable(rows=rows, names=names, dtype=("U128", int, int, "U160"))
    table.meta = {
        "weights_id": segmenter.encoder_.weights_id,
        "segmenter": segmenter.fingerprint(),
        "failed": failed,
    }
    with atomic_path(output / "segments.ecsv") as temporary:
        table.write(temporary, format="ascii.ecsv")
    return table


@dataclass(frozen=True)
class _Segment:
    """The job of the survey's engine that makes labels."""

    distance: object
    suffix = ".npz"

    def run(self, segmenter, gas, part):
        """Return the labels of a map or of a tile, and the header of its WCS."""
        tile = part.tile
        if gas is None:
            shape = (tile.rows.stop - tile.rows.start, tile.columns.stop - tile.columns.start)
            return {"labels": np.zeros(shape, np.int16), "header": ""}
        labels = segmenter.segment(gas).labels.data.astype(np.int16)
        if tile is not None:
            first, left = tile.outer_rows.start, tile.outer_columns.start
            labels = labels[
                tile.rows.start - first : tile.rows.stop - first,
                tile.columns.start - left : tile.columns.stop - left,
            ]
        header = "" if gas.wcs is None else gas.wcs.to_header(relax=True).tostring(sep="\n")
        return {"labels": labels, "header": header}

    def save(self, path, result, identity):
        """Write finished labels."""
        np.savez_compressed(path, **result, input=identity)

    def load(self, path):
        """Return the file of finished labels, and the identity of their input."""
        with np.load(path) as stored:
            if stored["labels"].ndim != 2:
                msg = f"labels must be 2D, got the shape {stored['labels'].shape}"
                raise ValueError(msg)
            return path, str(stored["input"])


def _write_labels(path, parts, done):
    """Write the label map of one map; return the number of pixels of each label."""
    first = next(iter(parts))
    item = parts[first].item
    if parts[first].tile is not None:
        header = fits.Header() if item.wcs is None else item.wcs.to_header(relax=True)
        shape = item.shape
    else:
        with np.load(done[first]) as stored:
            header = fits.Header.fromstring(str(stored["header"]), sep="\n")
            shape = stored["labels"].shape
    counts = np.zeros(1, int)
    with atomic_path(path) as temporary:
        _empty_labels(temporary, header, shape)
        with fits.open(temporary, mode="update", memmap=True) as hdus:
            for key, part in parts.items():
                with np.load(done[key]) as stored:
                    labels = stored["labels"]
                tile = part.tile
                where = (slice(None),) * 2 if tile is None else (tile.rows, tile.columns)
                hdus["LABELS"].data[where] = labels
                found = np.bincount(labels.ravel(), minlength=len(counts))
                found[: len(counts)] += counts
                counts = found
    return counts


def _empty_labels(path, header, shape):
    """Write a file of zeros without holding it in memory."""
    header = header.copy()
    header["EXTNAME"] = "LABELS"
    cards = fits.ImageHDU(np.zeros((1, 1), np.int16), header).header
    cards["NAXIS1"], cards["NAXIS2"] = shape[1], shape[0]
    fits.HDUList([fits.PrimaryHDU()]).writeto(path)
    size = 2 * shape[0] * shape[1]
    with Path(path).open("ab") as file:
        file.write(cards.tostring().encode("ascii"))
        file.flush()
        end = file.tell() + size + -size % 2880
        # Blocks first: a memory map of a sparse file kills the process when the disk is full.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, end)
        else:
            file.truncate(end)
