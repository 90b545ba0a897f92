"""Progress of long work, shown only when asked for."""

import logging
import warnings
from contextlib import contextmanager

__all__ = ["progress", "quiet_lightning"]


def progress(iterable, progress_bar=False, *, total=None, desc=None):
    """Wrap an iterable in a progress bar."""
    if not progress_bar:
        return iterable
    if progress_bar is True:
        from tqdm.auto import tqdm as progress_bar
    return progress_bar(iterable, total=total, desc=desc)


@contextmanager
def quiet_lightning():
    """Keep Lightning's advice about other products, and its own deprecations, from the user."""
    names = ("pytorch_lightning", "lightning.pytorch", "lightning_fabric")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        warnings.filterwarnings("ignore", ".*treespec.*", FutureWarning)
        warnings.filterwarnings("ignore", ".*GPU available but not used.*")
        warnings.filterwarnings("ignore", ".*log_every_n_steps.*|.*logging interval.*")
        warnings.filterwarnings("ignore", ".*isn't allowed to be re-loaded.*|.*ckpt_path.*")
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels):
                logger.setLevel(level)
