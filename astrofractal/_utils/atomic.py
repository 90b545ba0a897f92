"""Writing files so that a half-written one can never be mistaken for a result."""

import errno
import os
import re
import shutil
import socket
import tempfile
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def atomic_path(path, *, overwrite=True, tidy=True):
    """Give a temporary name next to ``path`` that is renamed to it on success."""
    path = Path(path)
    if path.exists() and not overwrite:
        msg = f"{str(path)!r} exists and overwrite is False"
        raise FileExistsError(msg)
    path.parent.mkdir(parents=True, exist_ok=True)
    if tidy:
        remove_dead(path.parent)
    holder = None
    try:
        holder = Path(tempfile.mkdtemp(prefix=f"{_mark()}{os.getpid()}-", dir=path.parent))
        temporary = holder / path.name
        yield temporary
        _sync(temporary)
        if temporary.is_dir() and path.is_dir():
            shutil.move(path, holder / "replaced")
        os.replace(temporary, path)
    except Exception as error:
        if _is_full(path.parent, error):
            raise OSError(errno.ENOSPC, "no space is left on the disk for", str(path)) from error
        raise
    finally:
        if holder is not None:
            shutil.rmtree(holder, ignore_errors=True)


def _sync(path):
    """Wait until a file, or each in a folder, is on the disk: after a power cut none is empty."""
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            with file.open("rb+") as opened:
                os.fsync(opened.fileno())


def _is_full(folder, error):
    """Return whether an error means that the disk is full: not every library says so."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
    wrong_input = isinstance(error, (ValueError, TypeError, LookupError))
    return not wrong_input and shutil.disk_usage(folder).free < 2**16


def _mark():
    """Begin the name of what a writer on this machine leaves when it is killed."""
    host = re.sub(r"\W", "", socket.gethostname())[:32]
    return f".tmp-{host}-"


def remove_dead(folder, *, alone=False):
    """Remove what killed writers have left in a folder, which has one writer ``alone`` or several."""
    for leftover in Path(folder).glob(".tmp-*"):
        if alone or not _is_written(leftover):
            shutil.rmtree(leftover, ignore_errors=True)


def _is_written(leftover):
    """Return whether a process of this machine, or one elsewhere within a day, is at work on it."""
    process = re.match(rf"{re.escape(_mark())}(\d+)-", leftover.name)
    try:
        if process is None or os.name == "nt":  # where a signal of 0 ends a process
            return time.time() - leftover.stat().st_mtime < 86400
        os.kill(int(process[1]), 0)
    except PermissionError:  # a living process of somebody else
        return True
    except (OSError, OverflowError):  # none, or what it wrote is gone by now
        return False
    return True


@contextmanager
def only_writer(folder):
    """Hold a folder against other writers while the block runs."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    owner = folder / ".lock-owner"
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        who = "another process"  # which has only just begun, if it has not written who it is
        with suppress(OSError):
            who = owner.read_text(encoding="utf-8") or who
        msg = f"{str(folder)!r} is being written by {who}: wait for it, or end it"
        raise BlockingIOError(msg) from None
    try:
        began = datetime.now(UTC).isoformat(timespec="seconds")
        who = f"process {os.getpid()} on {socket.gethostname()} since {began}"
        owner.write_text(who, encoding="utf-8")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()
