"""Writing files so that a half-written one can never be mistaken for a result."""

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

__all__ = ["atomic_path", "remove_leftovers"]


@contextmanager
def atomic_path(path, *, overwrite=True):
    """
    Give a temporary name beside ``path`` that is renamed to it on success.

    Parameters
    ----------
    path : path-like
        The final name of a file or folder.

    overwrite : bool, optional
        Whether an existing ``path`` may be replaced.

    Yields
    ------
    temporary : `~pathlib.Path`
        A name that does not exist yet, on the same file system and with the same suffixes.  The
        block may create a file or a folder there.

    Raises
    ------
    FileExistsError
        If ``path`` exists and ``overwrite`` is `False`.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        msg = f"{str(path)!r} exists and overwrite is False"
        raise FileExistsError(msg)
    path.parent.mkdir(parents=True, exist_ok=True)
    holder = Path(tempfile.mkdtemp(prefix=".tmp-", dir=path.parent))
    temporary = holder / path.name
    try:
        yield temporary
        if temporary.is_dir() and path.is_dir():
            shutil.move(path, holder / "replaced")
        os.replace(temporary, path)
    finally:
        shutil.rmtree(holder, ignore_errors=True)


def remove_leftovers(folder):
    """
    Remove what writers that were killed have left in a folder.

    Parameters
    ----------
    folder : path-like
        A folder that nobody else writes to now.
    """
    for leftover in Path(folder).glob(".tmp-*"):
        shutil.rmtree(leftover, ignore_errors=True)
