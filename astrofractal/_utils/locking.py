"""One writer per folder: a second one is refused, and told who the first is."""

import json
import os
import socket
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

__all__ = ["only_writer"]

_LOCK, _OWNER = ".lock", ".lock-owner"


@contextmanager
def only_writer(folder):
    """Hold a folder against other writers while the block runs."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    owner = folder / _OWNER
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        msg = f"{str(folder)!r} is being written by {_named(owner)}: wait for it, or end it"
        raise BlockingIOError(msg) from None
    try:
        began = datetime.now(UTC).isoformat(timespec="seconds")
        who = {"process": os.getpid(), "host": socket.gethostname(), "began": began}
        owner.write_text(json.dumps(who), encoding="utf-8")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def _named(owner):
    """What is known of the writer."""
    try:
        who = json.loads(owner.read_text(encoding="utf-8"))
        return f"process {who['process']} on {who['host']} since {who['began']}"
    except (OSError, ValueError, KeyError, TypeError):  # it has only just begun
        return "another process"
