"""Optional dependencies, imported where they are used."""

import sys
from importlib import import_module


def require(module, *, extra):
    """Import an optional dependency or say how to install it."""
    try:
        return import_module(module)
    except ImportError as error:
        msg = f'{module} is needed here: python -m pip install "astrofractal[{extra}]"'
        raise ImportError(msg) from error


def lazy_names(package, homes):
    """Return the module functions of PEP 562 that import names on first use."""

    def get(name):
        if name not in homes:
            msg = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(msg)
        value = getattr(import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    def names():
        return sorted(set(vars(sys.modules[package])) | set(homes))

    return get, names
