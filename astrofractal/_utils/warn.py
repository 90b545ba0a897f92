"""Warnings that point at the line of the caller, outside the package."""

import sys
import warnings
from pathlib import Path

from astrofractal.exceptions import AstrofractalWarning

__all__ = ["warn"]

_HOME = str(Path(__file__).parents[1])


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
    while frame is not None and frame.f_code.co_filename.startswith(_HOME):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
