"""How an estimator reaches the workers of a Dask cluster (imported only where there is one)."""

import pickle
import threading

import cloudpickle
from distributed import WorkerPlugin

__all__ = ["ToolPlugin"]


class ToolPlugin(WorkerPlugin):
    """
    A tool on every worker, also on those that join or come back later.

    Parameters
    ----------
    tool : object
        What the tasks need.  It is sent once to each worker and unpacked at the first task there.
    """

    idempotent = True

    def __init__(self, tool):
        self._packed = cloudpickle.dumps(tool)
        self._unpacked = None
        self._lock = threading.Lock()

    def __getstate__(self):
        return {"_packed": self._packed}

    def __setstate__(self, state):
        self.__dict__.update(state, _unpacked=None, _lock=threading.Lock())

    def get(self):
        """Return the tool."""
        with self._lock:
            if self._unpacked is None:
                self._unpacked = pickle.loads(self._packed)
        return self._unpacked
