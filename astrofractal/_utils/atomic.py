"""Writing files so that a half-written one can never be mistaken for a result."""

import errno
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

__all__ = ["atomic_path", "remove_leftovers"]

#: A disk with less space (bytes) is full.
_LEAST_SPACE = 2**16


@contextmanager
def atomic_path(path, *, overwrite=True):
    """Give a temporary name beside ``path`` that is renamed to it on success."""
    path = Path(path)
    if path.exists() and not overwrite:
        msg = f"{str(path)!r} exists and overwrite is False"
        raise FileExistsError(msg)
    path.parent.mkdir(parents=True, exist_ok=True)
    holder = None
    try:
        holder = Path(tempfile.mkdtemp(prefix=".tmp-", dir=path.parent))
        temporary = holder / path.name
        yield temporary
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


def _is_full(folder, error):
    """Return whether an error means that the disk is full: not every library says so."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
    wrong_input = isinstance(error, (ValueError, TypeError, LookupError))
    return not wrong_input and shutil.disk_usage(folder).free < _LEAST_SPACE


def remove_leftovers(folder):
    """Remove what writers that were killed have left in a folder."""
    for leftover in Path(folder).glob(".tmp-*"):
        shutil.rmtree(leftover, ignore_errors=True)
