"""Processes beside this one, which run no file of the current folder."""

import os
from contextlib import contextmanager

__all__ = ["safe_workers"]


@contextmanager
def safe_workers():
    """
    Let the processes that are spawned in a block not look for modules in the current folder.

    A new interpreter looks there first, so that a ``pickle.py`` among downloaded maps would run.  Where
    the modules of this process come from is handed on to it as ever.
    """
    name = "PYTHONSAFEPATH"
    former = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if former is None:
            del os.environ[name]
        else:
            os.environ[name] = former
