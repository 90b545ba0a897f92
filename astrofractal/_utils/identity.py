"""Who a tool or a data set is: a digest of all that decides its results, and a `repr` of all options."""

import dataclasses
import hashlib
import html
import inspect
import json
import numbers
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from astropy import units as u

from astrofractal._utils.atomic import atomic_path
from astrofractal._utils.reading import reading, reason_of

try:
    __version__ = version("astrofractal")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0.dev0"


def fingerprint(*values):
    """Return a digest of values that is equal if and only if they are."""
    digest = hashlib.blake2b(digest_size=16)
    for value in values:
        _feed(digest, value)
    return digest.hexdigest()


def _feed(digest, value):
    """Add one value; each kind begins with a tag and its length, so that no two inputs collide."""
    if value is None or isinstance(value, (bool, str, bytes, numbers.Number, np.generic)):
        value = value.item() if isinstance(value, np.generic) else value
        text = value if isinstance(value, bytes) else repr(value).encode()
        digest.update(f"{type(value).__name__}:{len(text)}:".encode() + text)
    elif callable(getattr(value, "fingerprint", None)):
        _feed(digest, value.fingerprint())
    elif isinstance(value, u.Quantity):
        _feed(digest, ["quantity", value.unit.to_string(), np.asarray(value.value)])
    elif isinstance(value, u.UnitBase):
        _feed(digest, ["unit", value.to_string()])
    elif isinstance(value, np.ndarray) and value.dtype.kind in "biufcSU":
        array = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<"))
        digest.update(f"array:{array.dtype.str}:{array.shape}:".encode())
        digest.update(array.tobytes())
    elif isinstance(value, dict):
        items = sorted(value.items(), key=lambda item: str(item[0]))
        _feed(digest, ["dict", *(part for item in items for part in item)])
    elif isinstance(value, (set, frozenset)):
        _feed(digest, ["set", *sorted(value, key=repr)])
    elif isinstance(value, (list, tuple)) or (
        isinstance(value, np.ndarray) and value.dtype.kind == "O"
    ):
        digest.update(f"sequence:{len(value)}:".encode())
        for part in value:
            _feed(digest, part)
    elif callable(getattr(value, "get_params", None)):
        _feed(digest, [_name(type(value)), value.get_params(deep=False)])
    elif dataclasses.is_dataclass(value):
        _feed(digest, [_name(type(value)), fields_of(value)])
    else:
        msg = f"no fingerprint can be made of a {type(value).__name__}: {value!r}"
        raise TypeError(msg)


def _name(kind):
    return f"{kind.__module__}.{kind.__qualname__}"


def fields_of(value):
    """Return the fields of a dataclass by name."""
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def take_apart(value, prefix=""):
    """Return the arrays of a dataclass by name, and its other fields as plain values."""
    arrays, card = {}, {}
    for name, own in fields_of(value).items():
        if dataclasses.is_dataclass(own):
            inner, card[name] = take_apart(own, f"{prefix}{name}.")
            arrays |= inner
        elif isinstance(own, np.ndarray) and own.dtype.kind == "U":
            labels, index = np.unique(own, return_inverse=True)
            arrays[prefix + name], card[name] = index.astype(np.int32), labels.tolist()
        elif isinstance(own, np.ndarray):
            arrays[prefix + name] = own
        else:
            card[name] = own
    return arrays, card


def put_together(cls, arrays, card, prefix="", **kinds):
    """Return the dataclass that `take_apart` was given; ``kinds`` are those of its fields."""
    known = {}
    for field in dataclasses.fields(cls):
        name = prefix + field.name
        own = card[field.name] if name not in arrays else card.get(field.name)
        if field.name in kinds and own is not None:
            own = put_together(kinds[field.name], arrays, own, f"{name}.")
        elif name in arrays:
            own = arrays[name] if own is None else np.array(own)[arrays[name]]
        known[field] = own
    new = cls(**{field.name: own for field, own in known.items() if field.init})
    for field, own in known.items():
        if not field.init:
            setattr(new, field.name, own)
    return new


class Options:
    """A `repr` of every option of the constructor, which notebooks show as well."""

    def _shown(self):
        """Return the options by name."""
        return {
            name: getattr(self, name)
            for name, parameter in inspect.signature(type(self).__init__).parameters.items()
            if name != "self" and parameter.kind is not parameter.VAR_KEYWORD
        }

    def __repr__(self):
        shown = ", ".join(f"{name}={value!r}" for name, value in self._shown().items())
        return f"{type(self).__name__}({shown})"

    def _repr_html_(self):
        return f"<pre>{html.escape(repr(self))}</pre>"

    def _repr_mimebundle_(self, **kwargs):
        # Notebooks ask for this first, and scikit-learn's has its own diagram.
        return {"text/plain": repr(self), "text/html": self._repr_html_()}


def write_archive(path, arrays, card, *, version, overwrite):
    """Write arrays and a card."""
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
    """Read arrays and a card, and check that they are whole."""
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
        found = f"the format {metadata['format']} of astrofractal {metadata.get('version')}"
        msg = f"{str(path)!r} has {found}; {__version__} reads format {version}: {remedy}"
        raise ValueError(msg)
    if metadata.get("digest") != fingerprint(metadata["card"], arrays):
        msg = f"{str(path)!r} was changed after it was saved: its digest does not agree"
        raise ValueError(msg)
    with reading(path, "the card"):
        return arrays, json.loads(metadata["card"])
