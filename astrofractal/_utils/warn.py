"""Warnings that point at the line of the caller, outside the package."""

import sys
import warnings
from pathlib import Path

from astrofractal.exceptions import AstrofractalWarning

__all__ = ["warn"]

_HOME = str(Path(__file__).parents[1])


def _is_inside(frame):
    """Tell whether a frame is of the package, or of a progress bar between two of its frames."""
    bar = frame.f_globals.get("__name__", "").partition(".")[0] == "tqdm"
    return bar or frame.f_code.co_filename.startswith(_HOME)


def warn(message, category=AstrofractalWarning):
    """
    Issue a warning that points at the line that called the package.

    Parameters
    ----------
    message : str
        The message.
    category : type, optional
        The class of the warning.
    """
    level, frame = 1, sys._getframe()
    while frame is not None and _is_inside(frame):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
