"""`survey_catalog`: a catalog of the protostars of many maps, or of a map larger than memory."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable, vstack

from astrofractal._utils.identity import fingerprint
from astrofractal._utils.validation import warn
from astrofractal.catalogs import find_protostars
from astrofractal.catalogs.detection import COLUMN_THRESHOLD
from astrofractal.catalogs.files import write_catalog
from astrofractal.catalogs.positions import resolve_positions
from astrofractal.gasmap.moments import STANDARD_WIDTH
from astrofractal.gasmap.wcs import pixel_solid_angle, sky_to_pixel
from astrofractal.surveys.lazymap import LazyMap
from astrofractal.surveys.survey import Part, named_maps, run_survey

if TYPE_CHECKING:
    from collections.abc import Iterable

    from distributed import Client

    from astrofractal._utils.annotations import MapSource, PathLike, Positions, ProgressBar
    from astrofractal.gasmap import GasMap
    from astrofractal.mass import StellarMassEstimator


def survey_catalog(
    estimator: StellarMassEstimator,
    maps: Iterable[GasMap | MapSource] | LazyMap | GasMap | MapSource,
    positions: Positions | dict[str, Positions] | None = None,
    *,
    level: float = 0.68,
    distance: u.Quantity | None = None,
    tile_shape: tuple[int, ...] = (1024, 1024),
    client: Client | None = None,
    output: PathLike | None = None,
    resume: bool = True,
    progress_bar: ProgressBar = False,
    **detection: Any,
) -> QTable:
    """
    Estimate the masses of the protostars of many maps, or of a map larger than memory.

    Parameters
    ----------
    estimator : `~astrofractal.StellarMassEstimator`
        The estimator, calibrated.
    maps : iterable of maps, path of a folder, `LazyMap`, or one map
        FITS paths, HDUs, NDData, `~astrofractal.GasMap`; Zarr groups (paths ending in ``.zarr``),
        `LazyMap` and NDData around a Dask array, which are read tile by tile.
    positions : optional
        Where the protostars are: as for `~astrofractal.StellarMassEstimator.catalog`, on all maps
        (positions off a map are left out there); a dictionary of map name to such positions; or
        ``"center"``, for files that are cut out around their protostars.  By default photutils
        looks for peaks of the column density.
    level : float, optional
        The probability of the intervals.
    distance : `~astropy.units.Quantity`, optional
        Distance of the gas, for maps that do not state it.
    tile_shape : tuple of int, optional
        Shape (ny, nx) of the tiles of a map that is read part by part, without the border that the
        maps around its protostars need.
    client : `distributed.Client`, optional
        A Dask cluster, where paths must be readable.  Without it everything runs here, with the
        same result.
    output : path-like, optional
        A folder that keeps each finished tile and, at the end, ``catalog.ecsv``.  For other formats
        see `~astrofractal.catalogs.write_catalog` and `~astrofractal.catalogs.write_hats`.
    resume : bool, optional
        Whether tiles that are finished in ``output`` are taken from there.
    progress_bar : bool or callable, optional
        Whether to show progress over the tiles.
    **detection : dict
        ``min_separation``, ``threshold`` and ``max_sources`` (for each map) of
        `~astrofractal.catalogs.find_protostars`.  The threshold of a map that is read part by part,
        whose noise is not known, is a column density: 3e22 cm-2 by default.

    Returns
    -------
    table : `~astropy.table.QTable`
        The columns of `~astrofractal.StellarMassEstimator.catalog` after ``map``, the name of
        the map.  ``meta["failed"]`` lists the maps that could not be used, with the reason.

    Raises
    ------
    ValueError
        If no map could be used, or ``output`` holds another survey.

    Warns
    -----
    AstrofractalWarning
        If some maps could not be used.
    """
    named = named_maps(maps)
    if isinstance(positions, dict):
        absent = set(positions) - set(named)
        if absent:
            msg = f"positions names maps that are not there: {sorted(absent)[:3]}"
            raise ValueError(msg)
        by_name = {name: _resolved(own) for name, own in positions.items()}
    else:
        by_name = dict.fromkeys(named, _resolved(positions))

    def divide(name, item):
        places, digest = by_name.get(name) or _resolved(None)
        if isinstance(item, LazyMap):
            return _tiles(name, item, estimator, tile_shape, places, detection)
        return [Part(name, item, positions=places, digest=digest)]

    how = {"output": output, "resume": resume, "client": client, "progress_bar": progress_bar}
    settings = {
        "kind": "catalog",
        "level": level,
        "detection": {key: str(value) for key, value in detection.items()},
        "tile_shape": list(tile_shape),
    }
    job = _Catalog(level, distance, detection)
    parts, results, failed = run_survey(job, estimator, named, divide, **how, **settings)
    table = _join(results, parts, detection.get("max_sources"))
    table.meta = {**estimator.meta, "level": level, "failed": failed}
    if output is not None:
        write_catalog(table, Path(output) / "catalog.ecsv", overwrite=True)
    return table


@dataclass(frozen=True)
class _Catalog:
    """The job of the survey's engine that makes catalogs."""

    level: float
    distance: object
    detection: dict
    suffix = ".ecsv"

    def run(self, estimator, gas, part):
        """Return the catalog of a map or of a tile."""
        if part.tile is None:
            return self._whole(estimator, gas, part.positions)
        if gas is None:
            return QTable()
        corner = np.array([part.tile.outer_columns.start, part.tile.outer_rows.start])
        if part.positions is not None:
            places, order = part.positions
            places = replace(places, where=places.where - corner)
            table = estimator.catalog(gas, places, level=self.level)
            table["_order"] = order
        else:
            detection = {"threshold": COLUMN_THRESHOLD, **self.detection}
            detection.pop("max_sources", None)
            with _no_advice():
                pixels = find_protostars(gas, **detection)
            pixels = pixels[_inside(part.tile, *(pixels + corner).T)]
            if not len(pixels):
                return QTable()
            table = estimator.catalog(gas, pixels, level=self.level)
            x, y = pixels.astype(int).T
            table["_peak"] = gas.column_density.value[y, x]
        table["x"] += corner[0]
        table["y"] += corner[1]
        return table

    def _whole(self, estimator, gas, positions):
        detection = self.detection if positions is None else {}
        if _is_center(positions):
            positions = _center(gas)
        with _no_advice():
            table = estimator.catalog(gas, positions, level=self.level, **detection)
        if positions is None:
            return table
        return table[np.asarray(table["flags"]) != "outside"]

    def save(self, path, table, identity):
        """Write a finished table and return it."""
        table.meta["input"] = identity
        table.write(path, format="ascii.ecsv")
        return table

    def load(self, path):
        """Read a finished table, and the identity of its input."""
        table = QTable.read(path, format="ascii.ecsv")
        return table, table.meta.get("input")


def _is_center(positions):
    return isinstance(positions, str) and positions == "center"


def _center(gas):
    return np.array([[(n - 1) / 2 for n in gas.shape[::-1]]])


@contextmanager
def _no_advice():
    """Hide advice that is meant for one map: a survey says it once for all."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "no peak above the threshold")
        warnings.filterwarnings("ignore", "no position is")
        yield


def _resolved(positions):
    """Return positions, resolved once for all maps, and their identity."""
    if positions is None or _is_center(positions):
        return positions, fingerprint(positions)
    places = resolve_positions(positions)
    return places, places.fingerprint()


def _tiles(name, lazy, estimator, tile_shape, places, detection):
    """Yield the tiles of a map with the positions in each; tiles without one are left out."""
    border = _border(lazy, estimator, detection)
    if _is_center(places):
        places = resolve_positions(_center(lazy))
    if places is None:
        threshold = detection.get("threshold")
        if threshold is not None and not isinstance(threshold, u.Quantity):
            of = "for a map that is read part by part, whose noise is not known"
            msg = f"threshold must be a column density (Quantity) {of}, got {threshold!r}"
            raise ValueError(msg)
    else:
        if isinstance(places.where, SkyCoord):
            pixels = sky_to_pixel(lazy.wcs, places.where, shape=lazy.shape)
            places = replace(places, where=np.column_stack(pixels))
        if places.ids is None:
            places = replace(places, ids=list(range(1, len(places) + 1)))
    for tile in lazy.tiles(tile_shape, overlap=border):
        if places is None:
            yield Part(name, lazy, tile)
            continue
        with np.errstate(invalid="ignore"):
            inside = _inside(tile, *places.where.T)
        if inside.any():
            own = places[inside], np.flatnonzero(inside)
            yield Part(name, lazy, tile, own, fingerprint(own))


def _inside(tile, x, y):
    """Whether pixels belong to a tile; the outer half of the first and last pixels is theirs."""
    sides = ((x, tile.columns), (y, tile.rows))
    return np.logical_and(*((v >= s.start - 0.5) & (v < s.stop - 0.5) for v, s in sides))


def _border(lazy, estimator, detection):
    """Pixels around a tile that the maps of its protostars and the detection need."""
    if lazy.wcs is None or lazy.distance is None:
        msg = f"the map {lazy.name!r} needs a WCS and a distance, which give its physical scale"
        raise ValueError(msg)
    rows, columns = ([0, n // 2, n - 1] for n in lazy.shape)
    x, y = (grid.ravel() for grid in np.meshgrid(columns, rows))
    scales = np.sqrt(pixel_solid_angle(lazy.wcs, x, y)) * lazy.distance.to_value(u.pc)
    scales = scales[np.isfinite(scales) & (scales > 0)]
    if not scales.size:
        msg = f"the map {lazy.name!r} has no pixel on the sky"
        raise ValueError(msg)
    reach = max(
        STANDARD_WIDTH.to_value(u.pc) * 0.5**0.5,
        2 * u.Quantity(detection.get("min_separation", 0.05 * u.pc)).to_value(u.pc),
    )
    return int(np.ceil(reach / min(scales))) + 3


def _join(results, parts, max_sources):
    """Join the tables in the order of the maps."""
    by_map = {}
    for key, part in parts.items():
        if len(results.get(key, ())):
            results[key].meta = {}
            by_map.setdefault(part.name, []).append(results[key])
    joined = []
    for name, tables in by_map.items():
        table = _merge_tiles(vstack(tables, metadata_conflicts="silent"), max_sources)
        table.add_column(np.full(len(table), name), name="map", index=0)
        joined.append(table)
    if joined:
        return vstack(joined, metadata_conflicts="silent")
    warn(f"no protostar was found in {len(results)} tiles: lower threshold, or give positions")
    table = next((t.copy() for t in results.values() if t.colnames), QTable())
    table.add_column(np.empty(0, dtype="U1"), name="map", index=0)
    return table


def _merge_tiles(table, max_sources):
    """Order and number the protostars of a tiled map as if it had been one."""
    if "_peak" in table.colnames:
        table = table[np.argsort(-np.asarray(table["_peak"]), kind="stable")]
        table = table[:max_sources]
        table["id"] = np.arange(1, len(table) + 1)
        table.remove_column("_peak")
    elif "_order" in table.colnames:
        table.sort("_order")
        table.remove_column("_order")
    return table
