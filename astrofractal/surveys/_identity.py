"""What a survey's inputs are, by their content: names and dates of files do not count."""

import hashlib
import io
from pathlib import Path

from astrofractal._utils.identity import fingerprint
from astrofractal.gasmap import GasMap
from astrofractal.mass.positions import resolve_positions

__all__ = ["map_fingerprint", "part_fingerprint", "positions_fingerprint"]


def _file(path):
    digest = hashlib.blake2b(digest_size=16)
    with Path(path).open("rb") as file:
        while block := file.read(2**24):
            digest.update(block)
    return digest.hexdigest()


def part_fingerprint(gas):
    """
    Return the identity of a map, or of a part of one, in memory.

    Parameters
    ----------
    gas : `~astrofractal.GasMap` or None
        The map; `None` is a part without data.

    Returns
    -------
    digest : str
        Equal for equal content.
    """
    return "empty" if gas is None else gas.fingerprint()


def map_fingerprint(item, *, distance=None):
    """
    Return the identity of a map that fits into memory.

    Parameters
    ----------
    item : map
        What `GasMap.read` takes.

    distance : `~astropy.units.Quantity`, optional
        Distance of the gas, for maps that do not tell it.

    Returns
    -------
    digest : str or None
        Equal for equal content; `None` for a map that cannot be read here.
    """
    try:
        if isinstance(item, (str, Path)):
            return _file(item)
        return part_fingerprint(GasMap.read(item, distance=distance))
    except (ValueError, TypeError, OSError):
        return None  # the survey itself says what is wrong with it


def positions_fingerprint(positions):
    """
    Return the identity of positions.

    Parameters
    ----------
    positions : object
        As `survey_catalog` takes them for one map.

    Returns
    -------
    digest : str
        Equal for equal content; sky positions are compared in ICRS.
    """
    if positions is None or (isinstance(positions, str) and positions == "center"):
        return fingerprint(positions)
    if isinstance(positions, (str, Path)) and Path(positions).is_file():
        return _file(positions)
    if hasattr(positions, "colnames"):
        text = io.StringIO()
        positions.write(text, format="ascii.ecsv")
        return fingerprint(text.getvalue())
    return resolve_positions(positions).fingerprint()
