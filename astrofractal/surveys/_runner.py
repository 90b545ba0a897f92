"""Many independent tasks, here or on a Dask cluster, each result kept as soon as it is there."""

import itertools
import logging
from collections import Counter

from astropy.units import UnitsError

from astrofractal._utils.progress import progress

__all__ = ["run_tasks"]

logger = logging.getLogger(__name__)

# What an unusable map raises; anything else is a fault of the program and stops the survey.
_DATA_ERRORS = (ValueError, TypeError, OSError, UnitsError)


# So many small tasks, at most, are sent to a worker at once.
_BATCH = 16
# So often a task is tried when it was canceled because its worker was lost.
_TRIES = 3


def run_tasks(function, tool, tasks, keep, *, small=(), client=None, progress_bar=False, desc=None):
    """
    Call ``function(tool, *arguments)`` for each task and hand on each result at once.

    Parameters
    ----------
    function : callable
        A function of a module.

    tool : object
        What every task needs, such as an estimator.  It is sent to the cluster once; workers that
        join later take it from the others.

    tasks : dict
        Key of each task to its arguments.

    keep : callable
        Called in this process with the key and the result of each finished task.

    small : set of str, optional
        Keys of tasks that take little time.  Several of them go to a worker at once, so that
        the scheduler has less to do.

    client : `distributed.Client`, optional
        Where the tasks run; here by default.

    progress_bar : bool or callable, optional
        Whether to show progress.

    desc : str, optional
        A short text before the bar.

    Returns
    -------
    failed : dict of str
        Key of each task whose map cannot be used, with the reason.
    """
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
