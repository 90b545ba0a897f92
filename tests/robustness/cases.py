"""How many cases the strategies give, and what a door may do with a file."""

import os
import warnings
from datetime import timedelta

import pytest
from astropy.units import UnitsError
from hypothesis import HealthCheck, settings

#: Ten times the cases, other ones each time, by ``HYPOTHESIS_PROFILE=thorough``.
THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"


def cases(n):
    """
    Return the settings for so many cases, ten times as many in a thorough run.

    No case may take longer than 20 s: nothing that a file says may keep a program busy.
    """
    return settings(
        max_examples=10 * n if THOROUGH else n,
        derandomize=not THOROUGH,
        deadline=timedelta(seconds=20),
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def enter(door, path):
    """
    Call a door with a file that may be damaged; return what it gives, or `None`.

    Nothing may leave it but an `OSError`, a `ValueError` or an error of units that names the file.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return door(path)
    except (OSError, ValueError, UnitsError) as error:
        if path.name not in str(error):
            pytest.fail(f"{type(error).__name__} without the name of the file: {error}")
    return None
