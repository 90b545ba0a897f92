"""Checks of arguments, with errors that name the parameter and the value."""

import numbers

__all__ = ["at_least", "one_of", "positive_int"]


def at_least(name, value, minimum):
    """
    Raise `ValueError` if a number is below a minimum.

    Parameters
    ----------
    name : str
        The parameter's name, for the message.

    value : float
        The value to check; NaN is refused.

    minimum : float
        The smallest value allowed.

    Raises
    ------
    ValueError
        If ``value`` is smaller than ``minimum``.
    """
    if not value >= minimum:
        msg = f"{name} must be a number of at least {minimum:g}, got {value!r}"
        raise ValueError(msg)


def positive_int(name, value, *, minimum=1):
    """
    Return ``value`` as an `int`, at least ``minimum``.

    Parameters
    ----------
    name : str
        The parameter's name, for the message.

    value : int
        The value to check; a `bool` or a `float` is refused.

    minimum : int, optional
        The smallest value allowed.

    Raises
    ------
    ValueError
        If ``value`` is not an integer or is smaller than ``minimum``.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < minimum:
        kind = "a positive integer" if minimum == 1 else f"an integer of at least {minimum}"
        msg = f"{name} must be {kind}, got {value!r}"
        raise ValueError(msg)
    return int(value)


def one_of(name, value, choices):
    """
    Return ``value`` if it is one of ``choices``.

    Parameters
    ----------
    name : str
        The parameter's name, for the message.

    value : object
        The value to check.

    choices : sequence
        The values allowed.

    Raises
    ------
    ValueError
        If ``value`` is not among ``choices``.
    """
    if value not in choices:
        msg = f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}"
        raise ValueError(msg)
    return value
