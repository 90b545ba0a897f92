"""Files that come from others: whatever they provoke leaves as one error that names the file."""

import errno
import hashlib
import json
import re
import tomllib
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from astropy.units import UnitConversionError, UnitsError

from astrofractal.exceptions import AstrofractalWarning

#: Characters of a reason; a damaged file may have put any number of them into a message.
_LONGEST = 400

#: Where in wcslib an error was found, which helps nobody.
_WCSLIB = re.compile(r"ERROR \d+ in \w+\(\) at line \d+ of file \S+: ")

#: Characters that control a terminal, or change the direction of text.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]")


@contextmanager
def reading(path, part=None, *, otherwise=ValueError):
    """Let only an `OSError`, `ValueError` or error of units, which names the file, out of a block."""
    try:
        yield
    except (AstrofractalWarning, ImportError):
        raise
    except Exception as error:
        passes = isinstance(error, (OSError, ValueError, UnitsError))
        text = str(error)
        if passes and not isinstance(error, UnicodeError) and _names(path, text):
            raise
        kinds = (UnitConversionError, UnitsError, OSError, ValueError)
        kind = next((kind for kind in kinds if isinstance(error, kind)), otherwise)
        if otherwise is None:
            if not passes:
                raise
            msg = f"{str(path)!r}: {text}"
            raise kind(msg) from error
        where = "the data" if path is None else repr(str(path))
        where = where if part is None else f"{part} of {where}"
        msg = f"cannot read {where}: {reason_of(error)}"
        raise kind(msg) from error


def _names(path, text):
    """Return whether a message names a file, if there is one."""
    return path is None or re.search(rf"(?<!\w){re.escape(Path(path).name)}(?!\w)", text)


def reason_of(error):
    """Return what an error means, in one line."""
    text = _WCSLIB.sub("", " ".join(str(error).split()))
    if len(text) > _LONGEST:
        text = text[:_LONGEST] + "..."
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    if isinstance(error, OSError) and error.errno == errno.EINVAL:
        return "its parts do not fit together"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if type(error).__name__ == "SafetensorError":
        return f"it is not a safetensors file, or it is damaged ({text})"
    if isinstance(error, (json.JSONDecodeError, tomllib.TOMLDecodeError)):
        return f"it is not {type(error).__name__[:4]} ({text})"
    if isinstance(error, KeyError):
        return f"it lacks {text}"
    if isinstance(error, UnicodeError):
        return f"it is not text in UTF-8 ({text})"
    if isinstance(error, (OSError, ValueError, UnitsError)) and text:
        return text
    return f"it is damaged ({type(error).__name__}: {text})".replace(": )", ")")


def sha256(path):
    """Return the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def printable(text):
    """Return a text of others with escapes in place of control characters, for terminals."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def filled(values, fill_value=np.nan):
    """Return values without a mask."""
    if not hasattr(values, "filled"):
        return values
    unit = getattr(values, "unit", None)
    if unit is None or not hasattr(values, "to_value"):
        return values.filled(fill_value)
    return values.filled(fill_value * unit)


def sky_format(sky):
    """Return a format for a column of sky positions: degrees with five digits."""
    names = list(sky.representation_component_names)[:2]
    return ",".join(f"{{0.{name}.deg:.5f}}" for name in names)
