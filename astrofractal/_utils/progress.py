"""Progress of long work, shown only when asked for."""

import logging
import os
import threading
import warnings
from contextlib import contextmanager
from typing import Any


def progress(iterable, progress_bar=False, *, total=None, desc=None):
    """Wrap an iterable in a progress bar."""
    if not progress_bar:
        return iterable
    if progress_bar is True:
        from tqdm.auto import tqdm as progress_bar
    return progress_bar(iterable, total=total, desc=desc)


@contextmanager
def quiet(level, *names):
    """Log nothing below a level from the loggers of these names."""
    before = {logger: logger.level for logger in map(logging.getLogger, names)}
    for logger in before:
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, own in before.items():
            logger.setLevel(own)


@contextmanager
def quiet_lightning():
    """Keep Lightning's advice about other products, and its own deprecations, from the user."""
    names = ("pytorch_lightning", "lightning.pytorch", "lightning_fabric")
    with warnings.catch_warnings(), quiet(logging.WARNING, *names):
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        warnings.filterwarnings("ignore", ".*treespec.*", FutureWarning)
        warnings.filterwarnings("ignore", ".*GPU available but not used.*")
        warnings.filterwarnings("ignore", ".*log_every_n_steps.*|.*logging interval.*")
        warnings.filterwarnings("ignore", ".*isn't allowed to be re-loaded.*|.*ckpt_path.*")
        yield


_lock = threading.Lock()

_entered: list[Any] = []  # the limits of threadpoolctl


@contextmanager
def one_blas_thread():
    """Let linear algebra compute with one thread while the block runs, here or in another thread."""
    # The first block that is entered sets the limit of the process, the last one restores it: each for
    # itself would take back what others need, and leave what others set.
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
    """Let processes that are spawned in a block not look for modules in the current folder."""
    # Else a ``pickle.py`` among downloaded maps would run.
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
