"""Functions compiled by numba, whose cache, a pickle that runs code, only the user can write."""

import os
import stat
import warnings
from pathlib import Path

from astropy.config import get_cache_dir

from astrofractal._utils.optional import require


def own_folder(name, *, named=None):
    """Return a folder of the user's cache, or `None` where others could write to it."""
    try:
        if named is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a variable that names no folder
                named = Path(get_cache_dir("astrofractal"), name)
        folder = Path(named).resolve()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mine = os.access(folder, os.W_OK) and _is_safe(folder, group=False)
        mine = mine and all(map(_is_safe, folder.parents))
    except (OSError, RuntimeError):  # no home, or one that cannot be written
        return None
    return folder if mine else None


def _is_safe(folder, *, group=True):
    """Return whether only the user, root and perhaps the user's group can change a folder."""
    if not hasattr(os, "getuid"):
        return True
    status = folder.stat()
    own_group = group and status.st_gid == os.getgid()
    others = stat.S_IWOTH if own_group else stat.S_IWOTH | stat.S_IWGRP
    sticky = status.st_mode & stat.S_ISVTX  # as in /tmp: only the owner replaces a file
    return status.st_uid in (0, os.getuid()) and (sticky or not status.st_mode & others)


def cache_folder():
    """Return the folder for compiled functions, or `None`."""
    return own_folder("numba", named=os.environ.get("NUMBA_CACHE_DIR"))


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
