"""Names of a package that are imported on first use, so that the package itself is light."""

import sys
from importlib import import_module

__all__ = ["lazy_names"]


def lazy_names(package, homes):
    """
    Return the module functions of PEP 562 that import names on first use.

    Parameters
    ----------
    package : str
        The package's name.

    homes : dict of str
        The module that each name comes from.

    Returns
    -------
    getattr, dir : callable
        What the package calls ``__getattr__`` and ``__dir__``.
    """

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
