"""The engine of surveys: named maps, their parts, work here or on a cluster, a folder to resume from."""

import itertools
import json
import logging
import shutil
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path

from astropy.io import fits
from astropy.nddata import NDData
from astropy.units import UnitsError

import astrofractal
from astrofractal._utils.atomic import atomic_path, remove_dead
from astrofractal._utils.identity import fingerprint
from astrofractal._utils.progress import progress
from astrofractal._utils.reading import reading, sha256
from astrofractal._utils.validation import warn
from astrofractal.gasmap import GasMap
from astrofractal.surveys.lazymap import LazyMap, Tile

logger = logging.getLogger(__name__)

#: What an unusable map raises; anything else is a fault of the program and stops the survey.
DATA_ERRORS = (ValueError, TypeError, OSError, UnitsError)

# So often a task is tried when it was canceled because its worker was lost.
_TRIES = 3


@dataclass(frozen=True)
class Part:
    """What is worked on at once: a whole map, or a tile of one that is read part by part."""

    name: str  # of the map
    item: object
    tile: Tile | None = None
    positions: object = None
    digest: str = ""  # of the positions

    @property
    def key(self):
        """The name of this part."""
        return self.name if self.tile is None else f"{self.name}__{self.tile.name}"

    def read(self, distance, *, need_gas=True):
        """Return the gas (`None` where there is none), and the identity of all that was read."""
        gas = content = None
        if self.tile is None and _is_path(self.item):
            content = sha256(self.item)
        if need_gas or content is None:
            if self.tile is None:
                gas = GasMap.read(self.item, distance=distance)
            else:
                gas = self.item.read(self.tile.outer_rows, self.tile.outer_columns)
        if content is None:
            content = "empty" if gas is None else gas.fingerprint()
        return gas, fingerprint(content, self.digest)


def _is_path(item):
    return isinstance(item, (str, Path))


def named_maps(maps):
    """Return the maps of a survey by names of their own."""
    if _is_path(maps) and Path(maps).is_dir() and not _is_lazy(maps):
        folder, suffixes = Path(maps), (".fits", ".fits.gz", ".zarr")
        maps = sorted(path for path in folder.iterdir() if path.name.endswith(suffixes))
        if not maps:
            msg = f"folder {str(folder)!r} has no FITS file and no Zarr map"
            raise ValueError(msg)
    elif (
        _is_lazy(maps)
        or isinstance(maps, (str, Path, GasMap, NDData, fits.HDUList))
        or not hasattr(maps, "__iter__")
    ):
        maps = [maps]
    named = {}
    for number, item in enumerate(maps):
        if _is_path(item):
            name = Path(item).name.removesuffix(".gz").removesuffix(".fits").removesuffix(".zarr")
        else:
            name = getattr(item, "name", None) or f"map{number:05d}"
        copies = itertools.count(2)
        unique = name
        while unique in named:
            unique = f"{name}_{next(copies)}"
        named[unique] = item
    if not named:
        msg = "maps must hold at least one map, got none"
        raise ValueError(msg)
    return named


def _is_lazy(item):
    """Whether a map is to be read part by part: a LazyMap, Zarr, or an NDData around Dask."""
    if isinstance(item, LazyMap):
        return True
    if _is_path(item):
        return Path(item).suffix == ".zarr"
    return hasattr(item.data if isinstance(item, NDData) else item, "dask")


def run_survey(job, tool, named, divide, *, output, resume, client, progress_bar, **settings):
    """
    Return the parts of maps, the results by part, and why some maps or parts have none.

    A job has a ``distance`` and ``run(tool, gas, part)``, and for a folder a ``suffix``, ``save(path,
    result, identity)`` and ``load(path)``.  Of a result that ``save`` does not return only the path
    is kept.
    """
    parts, failed, results = {}, {}, {}
    for name, item in named.items():
        try:
            if _is_lazy(item) and not isinstance(item, LazyMap):
                make = LazyMap.open_zarr if _is_path(item) else LazyMap
                item = make(item, distance=job.distance)
            parts.update((part.key, part) for part in divide(name, item))
        except DATA_ERRORS as error:
            failed[name] = _reason(error)
            logger.warning("%s: %s", name, failed[name])
    folder = None
    if output is not None:
        distance = None if job.distance is None else str(job.distance)
        settings = {**settings, "distance": distance}
        folder = _open_folder(output, tool, settings, resume=resume)
        results = _finished(job, parts, folder)

    def keep(key, found):
        result, identity = found
        if folder is not None:
            path = _tile(folder, key, job)
            with atomic_path(path, tidy=False) as temporary:
                kept = job.save(temporary, result, identity)
            result = path if kept is None else kept
        results[key] = result

    left = {key: (job, part) for key, part in parts.items() if key not in results}
    n_parts = len(parts) + len(failed)
    failed |= run_tasks(_do, tool, left, keep, client=client, progress_bar=progress_bar)
    if failed:
        key, reason = next(iter(failed.items()))
        if not results:
            msg = f"none of {len(failed)} maps could be used; {key}: {reason}"
            raise ValueError(msg)
        warn(f"{len(failed)} of {n_parts} tiles could not be used, e.g. {key}: {reason}")
    return parts, results, failed


def _do(tool, job, part):
    gas, identity = part.read(job.distance)
    return job.run(tool, gas, part), identity


def _finished(job, parts, folder):
    """Return the results of the parts that are finished and whose input has not changed."""
    found = {}
    for key, part in parts.items():
        path = _tile(folder, key, job)
        if not path.is_file():
            continue
        try:
            with reading(path):
                result, identity = job.load(path)
            if part.read(job.distance, need_gas=False)[1] == identity:
                found[key] = result
        except DATA_ERRORS as error:  # a damaged tile is made again; the run names a damaged map
            logger.warning("%s", error)
    return found


def _reason(error):
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def run_tasks(function, tool, tasks, keep, *, client=None, progress_bar=False):
    """Call ``function(tool, *arguments)`` for each task and hand on each result at once."""
    failed = {}
    finished = (_here if client is None else _on_cluster)(function, tool, tasks, client)
    for key, result, error in progress(finished, progress_bar, total=len(tasks), desc="tiles"):
        if error is None:
            keep(key, result)
        else:
            failed[key] = error
            logger.warning("%s: %s", key, error)
    return failed


def _guarded(function, tool, arguments):
    """Return the result, or the reason why a map cannot be used."""
    try:
        return function(tool, *arguments), None
    except DATA_ERRORS as error:
        return None, _reason(error)


def _here(function, tool, tasks, _client):
    for key, arguments in tasks.items():
        yield (key, *_guarded(function, tool, arguments))


def _on_worker(function, tool, arguments):
    import torch

    # every thread of a worker runs a task of its own: they must not fight for the cores
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)
    return _guarded(function, tool, arguments)


def _on_cluster(function, tool, tasks, client):
    from distributed import CancelledError, KilledWorker, as_completed

    waiting, running, keys, tries = deque(tasks), as_completed([]), {}, Counter()
    shared = client.scatter(tool, broadcast=True, hash=False) if tasks else None

    def fill():
        room = max(16, 4 * sum(client.nthreads().values()))
        while waiting and len(keys) < room:
            key = waiting.popleft()
            future = client.submit(_on_worker, function, shared, tasks[key], pure=False)
            keys[future] = key
            running.add(future)

    try:
        fill()
        for future in running:
            key = keys.pop(future)
            try:
                result = future.result()
            except (KilledWorker, CancelledError) as error:
                tries[key] += 1
                if isinstance(error, KilledWorker) or tries[key] == _TRIES:
                    yield key, None, _reason(error)
                else:
                    if shared.status != "finished":  # all workers that held the tool are lost
                        shared = client.scatter(tool, broadcast=True, hash=False)
                    waiting.appendleft(key)
            else:
                yield (key, *result)
            fill()
    finally:
        client.cancel(list(keys))


def _open_folder(path, tool, settings, *, resume):
    """Return the folder of the finished tiles of a survey, emptied unless it goes on."""
    path = Path(path)
    tiles, manifest = path / "tiles", path / "survey.json"
    settings = {**settings, "tool": tool.fingerprint(), "version": astrofractal.__version__}
    about = {"made_with": repr(tool), "settings": json.loads(json.dumps(settings))}
    if manifest.is_file() and resume:
        with reading(manifest):
            old = json.loads(manifest.read_text(encoding="utf-8"))
            before = dict(old["settings"])
        _compare(path, before, about["settings"], old.get("made_with"), tool)
    elif not manifest.is_file() and path.exists() and any(path.iterdir()):
        msg = f"output folder {str(path)!r} is neither empty nor a survey"
        raise ValueError(msg)
    else:
        shutil.rmtree(tiles, ignore_errors=True)
    with atomic_path(manifest) as temporary:
        temporary.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    tiles.mkdir(exist_ok=True)
    remove_dead(tiles)
    return tiles


def _compare(path, before, now, made_with, tool):
    """Raise `ValueError` if a folder is of a survey with other settings, or with another tool."""
    for key in sorted({*before, *now}):
        if before.get(key) == now.get(key):
            continue
        what = f"with {key}={before.get(key)!r}, not {now.get(key)!r}"
        if key == "tool":  # of which there is a digest
            what = f"made with another {type(tool).__name__}: {made_with}, not {tool!r}"
        remedy = "choose another folder, or resume=False to start again"
        msg = f"output folder {str(path)!r} holds a survey {what}; {remedy}"
        raise ValueError(msg)


def _tile(folder, key, job):
    """Return the file of a tile."""
    return folder / f"{key.replace('/', '_')}{job.suffix}"
