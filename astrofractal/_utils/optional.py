"""Optional dependencies, imported where they are used."""

from importlib import import_module

__all__ = ["require"]


def require(module, *, extra):
    """
    Import an optional dependency or say how to install it.

    Parameters
    ----------
    module : str
        The name of the module to import.

    extra : str
        The extra of astrofractal that installs it.

    Returns
    -------
    module : module
        The imported module.

    Raises
    ------
    ImportError
        If the module is not installed; the message names the extra.
    """
    try:
        return import_module(module)
    except ImportError as error:
        msg = f'{module} is needed here: python -m pip install "astrofractal[{extra}]"'
        raise ImportError(msg) from error
