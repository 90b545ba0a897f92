"""Many independent tasks, here or on a Dask cluster, each result kept as soon as it is there."""

import hashlib
import io
import itertools
import json
import logging
import shutil
from collections import Counter
from pathlib import Path

from astropy.io import fits
from astropy.nddata import NDData
from astropy.units import UnitsError

import astrofractal
from astrofractal._utils.atomic import atomic_path
from astrofractal._utils.identity import fingerprint
from astrofractal._utils.progress import progress
from astrofractal.catalogs.positions import resolve_positions
from astrofractal.gasmap import GasMap
from astrofractal.surveys.lazymap import LazyMap

__all__ = [
    "SurveyFolder",
    "is_lazy",
    "is_small",
    "map_fingerprint",
    "named_maps",
    "open_map",
    "part_fingerprint",
    "positions_fingerprint",
    "run_tasks",
]

logger = logging.getLogger(__name__)

# What an unusable map raises; anything else is a fault of the program and stops the survey.
_DATA_ERRORS = (ValueError, TypeError, OSError, UnitsError)

# So many small tasks, at most, are sent to a worker at once.
_BATCH = 16

# So often a task is tried when it was canceled because its worker was lost.
_TRIES = 3


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
    except _DATA_ERRORS as error:
        return None, f"{type(error).__name__}: {' '.join(str(error).split())}"


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
                    reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
                    yield batch[0], None, reason
            else:
                for key, result in zip(batch, results, strict=True):
                    yield (key, *result)
            fill()
    finally:
        client.cancel(list(keys))


def _file(path):
    digest = hashlib.blake2b(digest_size=16)
    with Path(path).open("rb") as file:
        while block := file.read(2**24):
            digest.update(block)
    return digest.hexdigest()


def part_fingerprint(gas):
    """Return the identity of a map, or of a part of one, in memory."""
    return "empty" if gas is None else gas.fingerprint()


def map_fingerprint(item, *, distance=None):
    """Return the identity of a map that fits into memory."""
    try:
        if isinstance(item, (str, Path)):
            return _file(item)
        return part_fingerprint(GasMap.read(item, distance=distance))
    except (ValueError, TypeError, OSError):
        return None  # the survey itself says what is wrong with it


def positions_fingerprint(positions):
    """Return the identity of positions."""
    if positions is None or (isinstance(positions, str) and positions == "center"):
        return fingerprint(positions)
    if isinstance(positions, (str, Path)) and Path(positions).is_file():
        return _file(positions)
    if hasattr(positions, "colnames"):
        text = io.StringIO()
        positions.write(text, format="ascii.ecsv")
        return fingerprint(text.getvalue())
    return resolve_positions(positions).fingerprint()


#: Files below this size (bytes) take little time: cutouts around protostars.
_SMALL_FILE = 2**20


def is_lazy(item):
    """Whether a map is to be read part by part: a LazyMap, Zarr, or an NDData around Dask."""
    if isinstance(item, LazyMap):
        return True
    if isinstance(item, (str, Path)):
        return Path(item).suffix == ".zarr"
    data = item.data if isinstance(item, NDData) else item
    return hasattr(data, "dask")


def is_small(item):
    """Whether a map is a small file."""
    return (
        isinstance(item, (str, Path))
        and Path(item).is_file()
        and Path(item).stat().st_size < _SMALL_FILE
    )


def open_map(item, *, distance=None):
    """Return a `GasMap` or a `LazyMap`."""
    if isinstance(item, LazyMap):
        return item
    if is_lazy(item):
        if isinstance(item, (str, Path)):
            return LazyMap.open_zarr(item, distance=distance)
        return LazyMap(item, distance=distance)
    return GasMap.read(item, distance=distance)


def named_maps(maps):
    """Give each map of a survey a name of its own."""
    if isinstance(maps, (str, Path)) and Path(maps).is_dir() and not is_lazy(maps):
        folder = Path(maps)
        maps = sorted(
            p for p in folder.iterdir() if p.name.endswith((".fits", ".fits.gz", ".zarr"))
        )
        if not maps:
            msg = f"folder {str(folder)!r} has no FITS file and no Zarr map"
            raise ValueError(msg)
    elif is_lazy(maps) or (
        isinstance(maps, (str, Path, GasMap, NDData, fits.HDUList)) or not hasattr(maps, "__iter__")
    ):
        maps = [maps]
    maps = list(maps)
    if not maps:
        msg = "maps must hold at least one map, got none"
        raise ValueError(msg)
    named = {}
    for number, item in enumerate(maps):
        if isinstance(item, (str, Path)):
            name = Path(item).name.removesuffix(".gz").removesuffix(".fits").removesuffix(".zarr")
        else:
            name = getattr(item, "name", None) or f"map{number:05d}"
        unique, copies = name, 1
        while unique in named:
            copies += 1
            unique = f"{name}_{copies}"
        named[unique] = item
    return named


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
            self._compare(json.loads(manifest.read_text(encoding="utf-8")), settings, tool)
        elif not manifest.is_file() and self.path.exists() and any(self.path.iterdir()):
            msg = f"output folder {str(self.path)!r} is neither empty nor a survey"
            raise ValueError(msg)
        else:
            shutil.rmtree(self.tiles, ignore_errors=True)
        about = {"made_with": repr(tool), "settings": settings}
        with atomic_path(manifest) as temporary:
            temporary.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        self.tiles.mkdir(exist_ok=True)

    def _compare(self, old, new, tool):
        settings = old.get("settings", {})
        for key in sorted(set(settings) | set(new)):
            if settings.get(key) == new.get(key):
                continue
            what = f"with {key}={settings.get(key)!r}, not {new.get(key)!r}"
            if key in _IN_WORDS:
                what = _IN_WORDS[key].format(
                    tool=type(tool).__name__, old=old.get("made_with"), new=repr(tool)
                )
            msg = (
                f"output folder {str(self.path)!r} holds a survey {what}; choose another folder, "
                "or resume=False to start again"
            )
            raise ValueError(msg)

    def tile(self, key, suffix):
        """Return the file of a tile."""
        return self.tiles / f"{key.replace('/', '_')}{suffix}"
