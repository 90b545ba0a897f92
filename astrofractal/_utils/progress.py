"""Progress of long work, shown only when asked for."""

__all__ = ["progress"]


def progress(iterable, progress_bar=False, *, total=None, desc=None):
    """
    Wrap an iterable in a progress bar.

    Parameters
    ----------
    iterable : iterable
        What is iterated over.

    progress_bar : bool or callable, optional
        `True` for a tqdm bar, `False` for none, or a callable with tqdm's signature
        ``callable(iterable, total=..., desc=...)``.

    total : int, optional
        The number of items, where ``iterable`` has no length.

    desc : str, optional
        A short text before the bar.

    Returns
    -------
    iterable : iterable
        The same items.
    """
    if not progress_bar:
        return iterable
    if progress_bar is True:
        from tqdm.auto import tqdm as progress_bar
    return progress_bar(iterable, total=total, desc=desc)
