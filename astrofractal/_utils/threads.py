"""How many threads linear algebra uses, which is a setting of the whole process."""

import os
import threading
from contextlib import contextmanager
from typing import Any

__all__ = ["one_blas_thread", "safe_workers"]

_lock = threading.Lock()

_entered: list[Any] = []  # the limits of threadpoolctl


@contextmanager
def one_blas_thread():
    """
    Let linear algebra compute with one thread while the block runs, here or in another thread.

    The limit holds for the process: the first block that is entered sets it, and the last one that is
    left takes it back.  Each for itself would take back what others need, and leave what others set.
    """
    from threadpoolctl import threadpool_limits

    with _lock:
        _entered.append(_entered[0] if _entered else threadpool_limits(1, user_api="blas"))
    try:
        yield
    finally:
        with _lock:
            limits = _entered.pop()
            if not _entered:
                limits.restore_original_limits()


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
