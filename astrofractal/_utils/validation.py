"""Checks of arguments, with errors that name the parameter and the value."""

import numbers
import sys
import warnings
from pathlib import Path

from astrofractal.exceptions import AstrofractalWarning


def at_least(name, value, minimum):
    """Raise `ValueError` if a number is below a minimum."""
    if not value >= minimum:
        msg = f"{name} must be a number of at least {minimum:g}, got {value!r}"
        raise ValueError(msg)


def positive_int(name, value, *, minimum=1):
    """Return ``value`` as an `int`, at least ``minimum``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < minimum:
        kind = "a positive integer" if minimum == 1 else f"an integer of at least {minimum}"
        msg = f"{name} must be {kind}, got {value!r}"
        raise ValueError(msg)
    return int(value)


def one_of(name, value, choices):
    """Return ``value`` if it is one of ``choices``."""
    if value not in choices:
        msg = f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}"
        raise ValueError(msg)
    return value


def refuse(mistakes, subject=""):
    """Raise an error with the first message whose condition holds."""
    for message, found in mistakes.items():
        if found:
            raise ValueError(subject + message)


_HOME = str(Path(__file__).parents[1])


def _is_inside(frame):
    """Tell whether a frame is of the package, or of a progress bar between two of its frames."""
    bar = frame.f_globals.get("__name__", "").partition(".")[0] == "tqdm"
    return bar or frame.f_code.co_filename.startswith(_HOME)


def warn(message, category=AstrofractalWarning):
    """Issue a warning that points at the line that called the package."""
    level, frame = 1, sys._getframe()
    while frame is not None and _is_inside(frame):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
