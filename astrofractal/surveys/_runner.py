"""Many independent tasks, here or on a Dask cluster, each result kept as soon as it is there."""

import itertools
import logging
import uuid

from astrofractal._utils.progress import progress

__all__ = ["run_tasks"]

logger = logging.getLogger(__name__)

# What an unusable map raises; anything else is a fault of the program and stops the survey.
_DATA_ERRORS = (ValueError, TypeError, OSError)


def run_tasks(function, tool, tasks, keep, *, client=None, progress_bar=False, desc=None):
    """
    Call ``function(tool, *arguments)`` for each task and hand on each result at once.

    Parameters
    ----------
    function : callable
        A function of a module.

    tool : object
        What every task needs, such as an estimator.  It is sent to the cluster once.

    tasks : dict
        Key of each task to its arguments.

    keep : callable
        Called in this process with the key and the result of each finished task.

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
    finished = run(function, tool, tasks, client)
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


def _here(function, tool, tasks, _client):
    for key, arguments in tasks.items():
        yield (key, *_guarded(function, tool, arguments))


def _on_worker(function, name, arguments):
    import torch
    from distributed import get_worker

    # every thread of a worker runs a task of its own: they must not fight for the cores
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)
    return _guarded(function, get_worker().plugins[name].get(), arguments)


def _on_cluster(function, tool, tasks, client):
    from distributed import CancelledError, KilledWorker, as_completed

    from astrofractal.surveys._plugin import ToolPlugin

    if not tasks:
        return
    name = f"astrofractal-{uuid.uuid4().hex}"
    client.register_plugin(ToolPlugin(tool), name=name)
    keys = {}
    try:
        waiting = iter(tasks.items())
        running = as_completed([])

        def fill():
            room = max(16, 4 * sum(client.nthreads().values()))
            for key, arguments in itertools.islice(waiting, max(room - len(keys), 0)):
                future = client.submit(_on_worker, function, name, arguments, pure=False)
                keys[future] = key
                running.add(future)

        fill()
        for future in running:
            key = keys.pop(future)
            try:
                yield (key, *future.result())
            except (KilledWorker, CancelledError) as error:
                yield key, None, f"{type(error).__name__}: {' '.join(str(error).split())}"
            fill()
    finally:
        client.cancel(list(keys))
        client.unregister_worker_plugin(name)
