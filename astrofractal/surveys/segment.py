"""`survey_segment`: the same segments in many maps, or in a map larger than memory."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits
from astropy.table import QTable

from astrofractal._utils.atomic import atomic_path
from astrofractal._utils.identity import fingerprint
from astrofractal._utils.validation import positive_int, warn
from astrofractal.gasmap import GasMap
from astrofractal.segmentation import FeatureSegmenter
from astrofractal.surveys.survey import (
    SurveyFolder,
    is_lazy,
    map_fingerprint,
    named_maps,
    open_map,
    part_fingerprint,
    run_tasks,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from astropy import units as u
    from distributed import Client

    from astrofractal._utils.annotations import PathLike, ProgressBar
    from astrofractal.gasmap.annotations import MapSource
    from astrofractal.surveys.lazymap import LazyMap


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
    overwrite_labels: bool = True,
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

    distance : `~astropy.units.Quantity`, optional
        Distance of the gas, for maps that do not tell it.

    tile_shape : tuple of int, optional
        Shape (ny, nx) of the tiles of a map that is read part by part.

    overlap : int, optional
        Pixels that are read beyond a tile: three windows of the encoder by default, where the map
        has the encoder's pixel scale.

    n_fit : int, optional
        Number of maps or tiles for a fit.

    client : `distributed.Client`, optional
        A Dask cluster; without it everything runs here, with the same result.

    resume : bool, optional
        Whether tiles that are finished in ``output`` are taken from there.

    overwrite_labels : bool, optional
        Whether existing label files may be replaced.

    progress_bar : bool or callable, optional
        Whether to show progress over the tiles.

    Returns
    -------
    table : `~astropy.table.QTable`
        ``map``, ``segment``, ``n_pixels`` and ``labels``, the file.  ``meta["failed"]`` tells the
        maps that could not be used, with the reason.

    Raises
    ------
    ValueError
        If no map could be used, or ``output`` holds another survey.

    Notes
    -----
    A map in one piece has exactly the labels of `FeatureSegmenter.segment`.  In a map read tile by
    tile the features are the same, too; small islands are merged within each tile and its border, so
    that an island that reaches further than ``overlap`` beyond a tile can be treated in another way
    there.
    """
    named = named_maps(maps)
    positive_int("overlap", overlap, minimum=0)
    work, shapes, wcs = {}, {}, {}
    for name, item in named.items():
        if is_lazy(item):
            lazy = open_map(item, distance=distance)
            shapes[name], wcs[name] = lazy.shape, lazy.wcs
            for tile in lazy.tiles(tile_shape, overlap=overlap):
                work[f"{name}__{tile.name}"] = (name, lazy, tile)
        else:
            work[name] = (name, item, None)
    is_fitted = hasattr(segmenter, "model_")
    chosen = [] if is_fitted else _spread(work, positive_int("n_fit", n_fit))
    settings = {
        "kind": "segment",
        "fitted_on": None if is_fitted else _fingerprints(work, chosen, distance),
        "distance": None if distance is None else str(distance),
        "tile_shape": list(tile_shape),
        "overlap": overlap,
    }
    folder = SurveyFolder(output, segmenter, settings, resume=resume)
    if not is_fitted:
        segmenter = _fitted(segmenter, folder, work, chosen, distance)
    inputs, done = {}, {}
    for key, (_, item, tile) in work.items():
        path = folder.tile(key, ".npz")
        if tile is None or path.is_file():
            inputs[key] = _fingerprint(item, tile, distance)
        if inputs.get(key) and path.is_file() and _input(path) == inputs[key]:
            done[key] = path

    def keep(key, result):
        result, part = result
        own = inputs.get(key) if part is None else part
        with atomic_path(folder.tile(key, ".npz")) as temporary:
            np.savez_compressed(temporary, **result, input=str(own))
        done[key] = folder.tile(key, ".npz")

    tasks = {
        key: (item, tile, distance) for key, (_, item, tile) in work.items() if key not in done
    }
    failed = run_tasks(
        _segment_tile,
        segmenter,
        tasks,
        keep,
        client=client,
        progress_bar=progress_bar,
        desc="tiles",
    )
    if failed and not done:
        key, reason = next(iter(failed.items()))
        msg = f"none of {len(failed)} maps could be used; {key}: {reason}"
        raise ValueError(msg)
    table = _assemble(folder, named, work, done, shapes, wcs, overwrite_labels)
    table.meta = {
        "weights_id": segmenter.encoder_.weights_id,
        "segmenter": segmenter.fingerprint(),
        "failed": failed,
    }
    with atomic_path(folder.path / "segments.ecsv") as temporary:
        table.write(temporary, format="ascii.ecsv")
    if failed:
        key, reason = next(iter(failed.items()))
        msg = f"{len(failed)} of {len(work)} tiles could not be used, e.g. {key}: {reason}"
        warn(msg)
    return table


def _input(path):
    with np.load(path) as stored:
        return str(stored["input"])


def _read(item, tile, distance):
    if tile is None:
        return GasMap.read(item, distance=distance)
    return item.read(tile.outer_rows, tile.outer_columns)


def _fingerprint(item, tile, distance):
    if tile is None:
        return map_fingerprint(item, distance=distance)
    return part_fingerprint(_read(item, tile, distance))


def _spread(work, n_fit):
    """Return the keys of tiles, evenly spread, to fit on."""
    keys = list(work)
    index = np.linspace(0, len(keys) - 1, min(n_fit, len(keys))).round().astype(int)
    return [keys[i] for i in np.unique(index)]


def _fingerprints(work, keys, distance):
    return fingerprint([_fingerprint(*work[key][1:], distance) for key in keys])


def _fitted(segmenter, folder, work, keys, distance):
    """Return the segmenter of the folder; a new one is fitted on a few tiles and kept there."""
    path = folder.tiles / "segmenter.safetensors"
    if path.is_file():
        return FeatureSegmenter.load(path, encoder=segmenter.encoder_)
    maps = []
    for key in keys:
        try:
            gas = _read(*work[key][1:], distance)
        except (ValueError, TypeError, OSError):
            continue  # the run itself says what is wrong with it
        if gas is not None:
            maps.append(gas)
    if not maps:
        msg = f"none of {len(keys)} maps could be read to fit the segmenter"
        raise ValueError(msg)
    fitted = copy.copy(segmenter).fit(maps)
    fitted.save(path)
    return fitted


def _segment_tile(segmenter, item, tile, distance):
    """Segment one tile and tell what was read; runs on a worker."""
    gas = _read(item, tile, distance)
    part = None if tile is None else part_fingerprint(gas)
    if gas is None:
        shape = (tile.rows.stop - tile.rows.start, tile.columns.stop - tile.columns.start)
        return {"labels": np.zeros(shape, np.int16), "header": ""}, part
    labels = segmenter.segment(gas).labels.data.astype(np.int16)
    if tile is not None:
        first, left = tile.outer_rows.start, tile.outer_columns.start
        labels = labels[
            tile.rows.start - first : tile.rows.stop - first,
            tile.columns.start - left : tile.columns.stop - left,
        ]
    header = "" if gas.wcs is None else gas.wcs.to_header(relax=True).tostring(sep="\n")
    return {"labels": labels, "header": header}, part


def _assemble(folder, named, work, done, shapes, wcs, overwrite):
    """Write one label map for each map and count the pixels of the segments."""
    rows = []
    for name in named:
        keys = [key for key, (owner, _, _) in work.items() if owner == name and key in done]
        if not keys:
            continue
        path = folder.path / "labels" / f"{name.replace('/', '_')}.fits"
        if name in shapes:
            header = fits.Header()
            if wcs[name] is not None:
                header = wcs[name].to_header(relax=True)
            shape = shapes[name]
        else:
            with np.load(done[keys[0]]) as stored:
                header = fits.Header.fromstring(str(stored["header"]), sep="\n")
                shape = stored["labels"].shape
        counts = np.zeros(0, int)
        with atomic_path(path, overwrite=overwrite) as temporary:
            _empty_labels(temporary, header, shape)
            with fits.open(temporary, mode="update", memmap=True) as hdus:
                for key in keys:
                    with np.load(done[key]) as stored:
                        labels = stored["labels"]
                    tile = work[key][2]
                    where = (slice(None),) * 2 if tile is None else (tile.rows, tile.columns)
                    hdus["LABELS"].data[where] = labels
                    found = np.bincount(labels.ravel())
                    size = max(len(found), len(counts))
                    counts = np.pad(counts, (0, size - len(counts)))
                    counts += np.pad(found, (0, size - len(found)))
        for segment in range(1, len(counts)):
            rows.append((name, segment, counts[segment], f"labels/{path.name}"))
    names = ("map", "segment", "n_pixels", "labels")
    return QTable(rows=rows, names=names, dtype=("U128", int, int, "U160"))


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
