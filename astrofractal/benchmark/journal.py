"""What a benchmark knows so far: rows as they come, and what failed."""

import json
import logging
import time
from pathlib import Path

__all__ = ["Journal"]

logger = logging.getLogger(__name__)


class Journal:
    """
    Keeps rows on disk as they come, and goes on where one method fails.

    Parameters
    ----------
    folder : path-like, optional
        Where ``rows.jsonl`` is appended to, one row a line; nothing is written without it.

    Attributes
    ----------
    seconds : dict
        The time that each part took.

    failed : list of str
        What failed, and how.
    """

    def __init__(self, folder=None):
        self.path = None if folder is None else Path(folder) / "rows.jsonl"
        self.seconds = {}
        self.failed = []
        self._start = time.perf_counter()

    @property
    def elapsed(self):
        """The time since the beginning in seconds."""
        return time.perf_counter() - self._start

    def row(self, part, row):
        """
        Keep a row.

        Parameters
        ----------
        part : str
            The part of the benchmark that it belongs to.

        row : dict
            Plain values.

        Returns
        -------
        row : dict
            The same one.
        """
        text = json.dumps({"part": part, "seconds": round(self.elapsed, 1), **row})
        logger.info(text)
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(text + "\n")
        return row

    def attempt(self, what, function, *args, required=False, **kwargs):
        """
        Call a function that gives rows; if it fails, note that and go on.

        Parameters
        ----------
        what : str
            What is done, for the note.

        function : callable
            Returns a list of rows.

        *args, **kwargs : object
            Its arguments.

        required : bool, optional
            Whether the benchmark is worth nothing without it.

        Returns
        -------
        rows : list of dict
            None after a failure.
        """
        try:
            return function(*args, **kwargs)
        except Exception as error:  # hours of other methods must not be lost
            if required:
                raise
            logger.exception("%s failed", what)
            self.failed.append(f"{what}: {type(error).__name__}: {error}")
            return []

    def timed(self, part, function, *args):
        """
        Call a function and keep the time that it takes.

        Parameters
        ----------
        part : str
            The name of the part.

        function : callable
            What to call.

        *args : object
            Its arguments.

        Returns
        -------
        result : object
            What it returns.
        """
        start = time.perf_counter()
        result = function(*args)
        self.seconds[part] = round(time.perf_counter() - start, 1)
        logger.info("%s: %.0f s", part, self.seconds[part])
        return result
