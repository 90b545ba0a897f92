"""The engine of surveys: named maps, their parts, work here or on a cluster, a folder to resume from."""

import hashlib
import io
import itertools
import json
import logging
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from astropy.io import fits
from astropy.nddata import NDData
from astropy.units import UnitsError

import astrofractal
from astrofractal._utils.atomic import atomic_path, remove_dead
from astrofractal._utils.identity import fingerprint
from astrofractal._utils.progress import progress
from astrofractal._utils.reading import reading
from astrofractal._utils.validation import warn
from astrofractal.catalogs.positions import resolve_positions
from astrofractal.gasmap import GasMap
from astrofractal.surveys.lazymap import LazyMap, Tile

__all__ = [
    "DATA_ERRORS",
    "Part",
    "SurveyFolder",
    "check_failures",
    "named_maps",
    "plan",
    "positions_fingerprint",
    "run_survey",
    "run_tasks",
]

logger = logging.getLogger(__name__)

#: What an unusable map raises; anything else is a fault of the program and stops the survey.
DATA_ERRORS = (ValueError, TypeError, OSError, UnitsError)

#: Files below this size (bytes) take little time: cutouts around protostars.
_SMALL_FILE = 2**20

# So many small tasks, at most, are sent to a worker at once.
_BATCH = 16

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

    @property
    def is_small(self):
        """Whether it takes little time."""
        return _is_path(self.item) and 0 < _size(self.item) < _SMALL_FILE

    def read(self, distance, *, need_gas=True):
        """Return the gas (`None` where there is none), and the identity of all that was read."""
        gas = content = None
        if self.tile is None and _is_path(self.item):
            content = _file_digest(self.item)
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


def _size(path):
    return Path(path).stat().st_size if Path(path).is_file() else 0


def _file_digest(path):
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def positions_fingerprint(positions):
    """Return the identity of positions."""
    if positions is None or (isinstance(positions, str) and positions == "center"):
        return fingerprint(positions)
    if _is_path(positions) and Path(positions).is_file():
        return _file_digest(positions)
    if hasattr(positions, "colnames"):
        text = io.StringIO()
        positions.write(text, format="ascii.ecsv")
        return fingerprint(text.getvalue())
    return resolve_positions(positions).fingerprint()


def named_maps(maps):
    """Give each map of a survey a name of its own."""
    if _is_path(maps) and Path(maps).is_dir() and not _is_lazy(maps):
        folder = Path(maps)
        maps = sorted(
            p for p in folder.iterdir() if p.name.endswith((".fits", ".fits.gz", ".zarr"))
        )
        if not maps:
            msg = f"folder {str(folder)!r} has no FITS file and no Zarr map"
            raise ValueError(msg)
    elif _is_lazy(maps) or (
        isinstance(maps, (str, Path, GasMap, NDData, fits.HDUList)) or not hasattr(maps, "__iter__")
    ):
        maps = [maps]
    maps = list(maps)
    if not maps:
        msg = "maps must hold at least one map, got none"
        raise ValueError(msg)
    named = {}
    for number, item in enumerate(maps):
        if _is_path(item):
            name = Path(item).name.removesuffix(".gz").removesuffix(".fits").removesuffix(".zarr")
        else:
            name = getattr(item, "name", None) or f"map{number:05d}"
        unique, copies = name, 1
        while unique in named:
            copies += 1
            unique = f"{name}_{copies}"
        named[unique] = item
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


def run_survey(job, tool, parts, folder=None, *, client=None, progress_bar=False):
    """
    Return the results by part, and why some parts have none.

    A job has a ``distance``, ``run(tool, gas, part)`` (on a worker), and for a folder a ``suffix``,
    ``save(path, result, identity)``, which returns what is kept of a result, and ``load(path)``,
    which returns that and the identity.
    """
    results = {} if folder is None else _finished(job, parts, folder)

    def keep(key, found):
        result, identity = found
        if folder is not None:
            with atomic_path(folder.tile(key, job.suffix), tidy=False) as temporary:
                job.save(temporary, result, identity)
            result = job.kept(folder.tile(key, job.suffix), result)
        results[key] = result

    left = {key: (job, part) for key, part in parts.items() if key not in results}
    small = {key for key in left if parts[key].is_small}
    failed = run_tasks(
        _do, tool, left, keep, small=small, client=client, progress_bar=progress_bar, desc="tiles"
    )
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


def check_failures(failed, n_done, n_parts):
    """Warn of maps that could not be used; raise an error if none could."""
    if not failed:
        return
    key, reason = next(iter(failed.items()))
    if not n_done:
        msg = f"none of {len(failed)} maps could be used; {key}: {reason}"
        raise ValueError(msg)
    msg = f"{len(failed)} of {n_parts} tiles could not be used, e.g. {key}: {reason}"
    warn(msg)


def _reason(error):
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def run_tasks(function, tool, tasks, keep, *, small=(), client=None, progress_bar=False, desc=None):
    """Call ``function(tool, *arguments)`` for each task and hand on each result at once."""
    failed = {}
    run = _here if client is None else _on_cluster
    finished = run(function, tool, tasks, client, small)
    for key, result, error in progress(finished, progress_bar, total=len(tasks), desc=desc):
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


def _here(function, tool, tasks, _client, _small):
    for key, arguments in tasks.items():
        yield (key, *_guarded(function, tool, arguments))


def _on_worker(function, tool, batch):
    """Return the results of a batch."""
    import torch

    # every thread of a worker runs a task of its own: they must not fight for the cores
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)
    return [_guarded(function, tool, arguments) for arguments in batch]


def _batches(keys, small, n_threads):
    """Yield lists of keys: small tasks together, but some lists for each thread."""
    n_small = sum(key in small for key in keys)
    size = min(max(n_small // (4 * max(n_threads, 1)), 1), _BATCH)
    batch = []
    for key in keys:
        if key not in small:
            yield [key]
            continue
        batch.append(key)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _on_cluster(function, tool, tasks, client, small):
    from distributed import CancelledError, KilledWorker, as_completed

    if not tasks:
        return
    waiting = _batches(tasks, small, sum(client.nthreads().values()))
    shared = client.scatter(tool, broadcast=True, hash=False)
    running, keys, tries = as_completed([]), {}, Counter()

    def fill():
        room = max(16, 4 * sum(client.nthreads().values()))
        for batch in itertools.islice(waiting, max(room - len(keys), 0)):
            arguments = [tasks[key] for key in batch]
            future = client.submit(_on_worker, function, shared, arguments, pure=False)
            keys[future] = batch
            running.add(future)

    try:
        fill()
        for future in running:
            batch = keys.pop(future)
            try:
                results = future.result()
            except (KilledWorker, CancelledError) as error:
                tries.update(batch)
                if isinstance(error, CancelledError) and tries[batch[0]] < _TRIES:
                    if shared.status != "finished":  # all workers that held the tool are lost
                        shared = client.scatter(tool, broadcast=True, hash=False)
                    waiting = itertools.chain([batch], waiting)
                elif len(batch) > 1:  # one of them is to blame: the others are tried alone
                    waiting = itertools.chain([[key] for key in batch], waiting)
                else:
                    yield batch[0], None, _reason(error)
            else:
                for key, result in zip(batch, results, strict=True):
                    yield (key, *result)
            fill()
    finally:
        client.cancel(list(keys))


# What differs, in words, where the values of a setting are digests.
_IN_WORDS = {
    "tool": "made with another {tool}: {old}, not {new}",
    "fitted_on": "whose segmenter was fitted on other maps: to add maps later, fit it yourself first",
}


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
        for key in sorted(set(old) | set(new)):
            if old.get(key) == new.get(key):
                continue
            what = f"with {key}={old.get(key)!r}, not {new.get(key)!r}"
            if key in _IN_WORDS:
                what = _IN_WORDS[key].format(
                    tool=type(tool).__name__, old=made_with, new=repr(tool)
                )
            msg = (
                f"output folder {str(self.path)!r} holds a survey {what}; choose another folder, "
                "or resume=False to start again"
            )
            raise ValueError(msg)

    def tile(self, key, suffix):
        """Return the file of a tile."""
        return self.tiles / f"{key.replace('/', '_')}{suffix}"
