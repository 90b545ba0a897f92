"""Folders for what is kept between runs, where only the user can write."""

import os
import stat
from pathlib import Path

__all__ = ["own_folder"]


def own_folder(name, *, named=None, environ=os.environ):
    """
    Return a folder of the user's own, which is made where there is none.

    Parameters
    ----------
    name : str
        Its name in ``astrofractal`` in ``XDG_CACHE_HOME`` or ``~/.cache``.

    named : path-like, optional
        Another folder to take instead.

    environ : dict, optional
        The environment.

    Returns
    -------
    folder : `~pathlib.Path` or `None`
        `None` where it cannot be written, or where others could write to it.
    """
    base = environ.get("XDG_CACHE_HOME")
    try:
        home = Path(base) if base else Path.home() / ".cache"
        folder = Path(named) if named else home / "astrofractal" / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except (OSError, RuntimeError):  # no home, or one that cannot be written
        return None
    if not os.access(folder, os.W_OK):
        return None
    if hasattr(os, "getuid"):
        others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if others or status.st_uid != os.getuid():
            return None
    return folder
