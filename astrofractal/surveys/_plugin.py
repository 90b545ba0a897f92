"""How an estimator reaches the workers of a Dask cluster (imported only where there is one)."""

import hashlib
import pickle
import threading

import cloudpickle
from distributed import WorkerPlugin, get_worker

__all__ = ["ToolPlugin", "find_tool", "holds_tool"]

# On a worker: the tool that was used last, under the digest of what it was unpacked from.
_held = {}
_lock = threading.Lock()


class ToolPlugin(WorkerPlugin):
    """
    A tool on every worker, also on those that join or come back later.

    Parameters
    ----------
    tool : object
        What the tasks need.  It is sent once to each worker and unpacked at the first task there.
        A worker keeps the last tool, so that the next survey need not send it again.
    """

    idempotent = True

    def __init__(self, tool):
        self._packed = cloudpickle.dumps(tool)
        self.digest = hashlib.sha256(self._packed).hexdigest()

    def get(self):
        """Return the tool."""
        with _lock:
            if self.digest not in _held:
                _held.clear()
                _held[self.digest] = pickle.loads(self._packed)
            return _held[self.digest]


def holds_tool(digest):
    """Whether this worker has unpacked the tool."""
    return digest in _held


def find_tool(name, digest):
    """Return the tool on this worker: the one it holds, or that of the plugin; else `None`."""
    tool = _held.get(digest)
    if tool is None:
        plugin = get_worker().plugins.get(name)
        tool = None if plugin is None else plugin.get()
    return tool
