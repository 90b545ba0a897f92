"""The engine of surveys: named maps, their parts, work here or on a cluster, a folder to resume from."""

import io
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
from astrofractal.catalogs.positions import resolve_positions
from astrofractal.gasmap import GasMap
from astrofractal.surveys.lazymap import LazyMap, Tile

__all__ = [
    "DATA_ERRORS",
    "Part",
    "SurveyFolder",
    "named_maps",
    "plan",
    "positions_fingerprint",
    "run_survey",
    "run_tasks",
]

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


def positions_fingerprint(positions):
    """Return the identity of positions."""
    if positions is None or (isinstance(positions, str) and positions == "center"):
        return fingerprint(positions)
    if _is_path(positions) and Path(positions).is_file():
        return sha256(positions)
    if hasattr(positions, "colnames"):
        text = io.StringIO()
        positions.write(text, format="ascii.ecsv")
        return fingerprint(text.getvalue())
    return resolve_positions(positions).fingerprint()


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


def plan(named, distance, divide):
    """Return the parts that ``divide(name, map)`` makes of each map, and why some have none."""
    parts, failed = {}, {}
    for name, item in named.items():
        try:
            if _is_lazy(item) and not isinstance(item, LazyMap):
                make = LazyMap.open_zarr if _is_path(item) else LazyMap
                item = make(item, distance=distance)
            parts.update((part.key, part) for part in divide(name, item))
        except DATA_ERRORS as error:
            failed[name] = _reason(error)
            logger.warning("%s: %s", name, failed[name])
    return parts, failed


def run_survey(job, tool, parts, failed, folder=None, *, client=None, progress_bar=False):
    """
    Return the results by part, and why some maps or parts (also those of ``failed``) have none.

    A job has a ``distance``, ``run(tool, gas, part)`` (on a worker), and for a folder a ``suffix``,
    ``save(path, result, identity)``, ``kept(path, result)``, which returns what is kept of a result,
    and ``load(path)``, which returns that and the identity.
    """
    results = {} if folder is None else _finished(job, parts, folder)

    def keep(key, found):
        result, identity = found
        if folder is not None:
            path = folder.tile(key, job.suffix)
            with atomic_path(path, tidy=False) as temporary:
                job.save(temporary, result, identity)
            result = job.kept(path, result)
        results[key] = result

    left = {key: (job, part) for key, part in parts.items() if key not in results}
    n_parts = len(parts) + len(failed)
    options = {"client": client, "progress_bar": progress_bar}
    failed = failed | run_tasks(_do, tool, left, keep, **options)
    if failed:
        key, reason = next(iter(failed.items()))
        if not results:
            msg = f"none of {len(failed)} maps could be used; {key}: {reason}"
            raise ValueError(msg)
        warn(f"{len(failed)} of {n_parts} tiles could not be used, e.g. {key}: {reason}")
    return results, failed


def _do(tool, job, part):
    gas, identity = part.read(job.distance)
    return job.run(tool, gas, part), identity


def _finished(job, parts, folder):
    """Return the results of the parts that are finished and whose input has not changed."""
    found = {}
    for key, part in parts.items():
        path = folder.tile(key, job.suffix)
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


class SurveyFolder:
    """A folder that keeps each finished tile, so that a survey can go on after an interruption."""

    def __init__(self, path, tool, settings, *, resume):
        self.path = Path(path)
        self.tiles = self.path / "tiles"
        settings = {**settings, "tool": tool.fingerprint(), "version": astrofractal.__version__}
        settings = json.loads(json.dumps(settings))
        manifest = self.path / "survey.json"
        if manifest.is_file() and resume:
            with reading(manifest):
                old = json.loads(manifest.read_text(encoding="utf-8"))
                old_settings = dict(old["settings"])
            self._compare(old_settings, settings, old.get("made_with"), tool)
        elif not manifest.is_file() and self.path.exists() and any(self.path.iterdir()):
            msg = f"output folder {str(self.path)!r} is neither empty nor a survey"
            raise ValueError(msg)
        else:
            shutil.rmtree(self.tiles, ignore_errors=True)
        about = {"made_with": repr(tool), "settings": settings}
        with atomic_path(manifest) as temporary:
            temporary.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        self.tiles.mkdir(exist_ok=True)
        remove_dead(self.tiles)

    def _compare(self, old, new, made_with, tool):
        different = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
        if not different:
            return
        key = different[0]
        in_words = {  # settings whose values are digests
            "tool": f"made with another {type(tool).__name__}: {made_with}, not {tool!r}",
            "fitted_on": "whose segmenter was fitted on other maps: to add maps later, fit it "
            "yourself first",
        }
        what = in_words.get(key, f"with {key}={old.get(key)!r}, not {new.get(key)!r}")
        msg = (
            f"output folder {str(self.path)!r} holds a survey {what}; choose another folder, "
            "or resume=False to start again"
        )
        raise ValueError(msg)

    def tile(self, key, suffix):
        """Return the file of a tile."""
        return self.tiles / f"{key.replace('/', '_')}{suffix}"
