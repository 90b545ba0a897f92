"""Functions compiled by numba, whose cache is kept where only the user can write.

Numba's cache is a pickle: whoever can write to it runs code.  By default numba keeps it beside the
source, or where a file ``.numba_config.yaml`` in the current folder says; here it is a folder of the
user's own, or none.
"""

import os
import stat
from pathlib import Path

from astrofractal._utils.optional import require

__all__ = ["cache_folder", "njit", "own_folder"]


def own_folder(name, *, named=None, environ=os.environ):
    """Return a folder of the user's own, which is made where there is none."""
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


def cache_folder(environ=os.environ):
    """Return the folder for compiled functions, which is made where there is none."""
    return own_folder("numba", named=environ.get("NUMBA_CACHE_DIR"), environ=environ)


def njit(**options):
    """Compile a function with `numba.njit` when it is first called."""
    numba = require("numba", extra="pretrain")

    def compiled(function):
        folder = cache_folder()
        former = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = "" if folder is None else str(folder)  # read in this call only
        try:
            return numba.njit(cache=folder is not None, **options)(function)
        finally:
            numba.config.CACHE_DIR = former

    return compiled
