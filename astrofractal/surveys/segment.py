"""`survey_segment`: the same segments in many maps, or in a map larger than memory."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits
from astropy.table import QTable

from astrofractal._utils.atomic import atomic_path
from astrofractal._utils.identity import fingerprint
from astrofractal._utils.validation import positive_int
from astrofractal.segmentation import FeatureSegmenter
from astrofractal.surveys.lazymap import LazyMap
from astrofractal.surveys.survey import (
    DATA_ERRORS,
    Part,
    SurveyFolder,
    named_maps,
    plan,
    run_survey,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from astropy import units as u
    from distributed import Client

    from astrofractal._utils.annotations import MapSource, PathLike, ProgressBar
    from astrofractal.gasmap import GasMap


__all__ = ["survey_segment"]


def survey_segment(
    segmenter: FeatureSegmenter,
    maps: Iterable[GasMap | MapSource] | LazyMap | GasMap | MapSource,
    *,
    output: PathLike,
    distance: u.Quantity | None = None,
    tile_shape: tuple[int, ...] = (1024, 1024),
    overlap: int = 192,
    n_fit: int = 16,
    client: Client | None = None,
    resume: bool = True,
    progress_bar: ProgressBar = False,
) -> QTable:
    """
    Segment many maps, or a map larger than memory, with one meaning of the labels.

    Parameters
    ----------
    segmenter : `~astrofractal.FeatureSegmenter`
        The segmenter.  One that is not fitted is fitted first, here, on ``n_fit`` of the maps or
        tiles, evenly spread.

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

    n_fit : int, optional
        Number of maps or tiles for a fit.

    Returns
    -------
    table : `~astropy.table.QTable`
        ``map``, ``segment``, ``n_pixels`` and ``labels``, the file.  ``meta["failed"]`` lists the
        maps that could not be used, with the reason.

    Raises
    ------
    ValueError
        If no map could be used, or ``output`` holds another survey.

    Notes
    -----
    A map in one piece has exactly the labels of `FeatureSegmenter.segment`.  In a map read tile by
    tile the features are the same, too; small islands are merged within each tile and its border, so
    that an island that reaches further than ``overlap`` beyond a tile can have another label there.
    """
    named = named_maps(maps)
    positive_int("overlap", overlap, minimum=0)

    def divide(name, item):
        if not isinstance(item, LazyMap):
            return [Part(name, item)]
        return [Part(name, item, tile) for tile in item.tiles(tile_shape, overlap=overlap)]

    parts, failed = plan(named, distance, divide)
    is_fitted = hasattr(segmenter, "model_")
    chosen = [] if is_fitted else _spread(parts, positive_int("n_fit", n_fit))
    settings = {
        "kind": "segment",
        "fitted_on": None if is_fitted else _identities(chosen, distance),
        "distance": None if distance is None else str(distance),
        "tile_shape": list(tile_shape),
        "overlap": overlap,
    }
    folder = SurveyFolder(output, segmenter, settings, resume=resume)
    if not is_fitted:
        segmenter = _fitted(segmenter, folder, chosen, distance)
    job = _Segment(distance)
    done, failed = run_survey(
        job, segmenter, parts, failed, folder, client=client, progress_bar=progress_bar
    )
    rows = []
    for name in named:
        own = {key: part for key, part in parts.items() if part.name == name and key in done}
        if own:
            file = f"labels/{name.replace('/', '_')}.fits"
            counts = _write_labels(folder.path / file, own, done)
            rows += [(name, label, n, file) for label, n in enumerate(counts) if label]
    names = ("map", "segment", "n_pixels", "labels")
    table = QTable(rows=rows, names=names, dtype=("U128", int, int, "U160"))
    table.meta = {
        "weights_id": segmenter.encoder_.weights_id,
        "segmenter": segmenter.fingerprint(),
        "failed": failed,
    }
    with atomic_path(folder.path / "segments.ecsv") as temporary:
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

    def kept(self, path, _):
        """Return what is kept of labels: their file."""
        return path

    def load(self, path):
        """Return the file of finished labels, and the identity of their input."""
        with np.load(path) as stored:
            if stored["labels"].ndim != 2:
                msg = f"labels must be 2D, got the shape {stored['labels'].shape}"
                raise ValueError(msg)
            return path, str(stored["input"])


def _spread(parts, n_fit):
    """Return parts for a fit, evenly spread."""
    index = np.linspace(0, len(parts) - 1, min(n_fit, len(parts))).round().astype(int)
    return [list(parts.values())[i] for i in np.unique(index)]


def _identities(parts, distance):
    """Return one digest of the parts that a segmenter is fitted on."""
    found = []
    for part in parts:
        try:
            found.append(part.read(distance, need_gas=False)[1])
        except DATA_ERRORS:
            found.append(None)
    return fingerprint(found)


def _fitted(segmenter, folder, parts, distance):
    """Return the segmenter of the folder; a new one is fitted on a few parts and kept there."""
    path = folder.tiles / "segmenter.safetensors"
    if path.is_file():
        return FeatureSegmenter.load(path, encoder=segmenter.encoder_)
    maps = []
    for part in parts:
        try:
            gas, _ = part.read(distance)
        except DATA_ERRORS:
            continue  # the run itself reports what is wrong with it
        if gas is not None:
            maps.append(gas)
    if not maps:
        msg = f"none of {len(parts)} maps could be read to fit the segmenter"
        raise ValueError(msg)
    fitted = copy.copy(segmenter).fit(maps)
    fitted.save(path)
    return fitted


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
