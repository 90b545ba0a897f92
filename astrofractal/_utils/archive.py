"""Fitted tools on disk: arrays and JSON in one safetensors file, never pickle."""

import json
from pathlib import Path

import numpy as np

from astrofractal._utils.atomic import atomic_path
from astrofractal._utils.identity import fingerprint
from astrofractal._utils.reading import reading, reason_of
from astrofractal._utils.version import __version__

__all__ = ["read_archive", "write_archive"]


def write_archive(path, arrays, card, *, version, overwrite):
    """
    Write arrays and a card.

    Parameters
    ----------
    path : path-like
        The file.

    arrays : dict of `~numpy.ndarray`
        The numbers.

    card : dict
        Plain values that JSON can hold.

    version : str
        The kind and version of the format; a file of another one is refused by `read_archive`.

    overwrite : bool
        Whether an existing file may be replaced.
    """
    from safetensors.numpy import save_file

    text = json.dumps(card, sort_keys=True)
    arrays = {name: np.ascontiguousarray(value) for name, value in arrays.items()}
    metadata = {
        "format": version,
        "version": __version__,
        "card": text,
        "digest": fingerprint(text, arrays),
    }
    with atomic_path(path, overwrite=overwrite) as temporary:
        save_file(arrays, temporary, metadata=metadata)
        temporary.chmod(0o644)  # safetensors makes files that only their owner can read


def read_archive(path, *, version, what, remedy):
    """
    Read arrays and a card, and check that they are whole.

    Parameters
    ----------
    path : path-like
        A file of `write_archive`.

    version : str
        The kind and version of the format.

    what : str
        What the file should hold, for messages.

    remedy : str
        What makes such a file anew, for messages.

    Returns
    -------
    arrays : dict of `~numpy.ndarray`
        The numbers.

    card : dict
        The plain values.

    Raises
    ------
    FileNotFoundError
        If there is no such file.

    ValueError
        If the file is damaged, changed, or of another format.
    """
    from safetensors import safe_open

    path = Path(path)
    if not path.is_file():
        msg = f"no such file: {str(path)!r}"
        raise FileNotFoundError(msg)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # SafetensorError is no ValueError; a dtype may be unknown to NumPy
        msg = f"{str(path)!r} is not {what} of astrofractal, or it is damaged: {reason_of(error)}"
        raise ValueError(msg) from error
    if "format" not in metadata or "card" not in metadata:
        msg = f"{str(path)!r} is not {what} of astrofractal"
        raise ValueError(msg)
    if metadata["format"] != version:
        msg = (
            f"{str(path)!r} has the format {metadata['format']} of astrofractal "
            f"{metadata.get('version')}; this is astrofractal {__version__}, which "
            f"reads format {version}: {remedy}"
        )
        raise ValueError(msg)
    if metadata.get("digest") != fingerprint(metadata["card"], arrays):
        msg = f"{str(path)!r} was changed after it was saved: its digest does not agree"
        raise ValueError(msg)
    with reading(path, "the card"):
        return arrays, json.loads(metadata["card"])
