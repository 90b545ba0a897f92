"""The warning class that all of astrofractal's warnings share."""

from astropy.utils.exceptions import AstropyUserWarning

__all__ = ["AstrofractalWarning"]


class AstrofractalWarning(AstropyUserWarning):
    """A result is usable but something about it deserves attention."""
