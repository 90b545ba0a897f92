"""One translator of errors for whatever a file provokes."""

import errno
import json
import re

import pytest
from astropy import units as u

from astrofractal._utils.reading import reading
from astrofractal.exceptions import AstrofractalWarning


def translated(error, *args, **options):
    with pytest.raises(Exception) as info, reading(*args, **options):  # noqa: PT011
        raise error
    return info.value


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (KeyError("CRVAL1"), ValueError, "it lacks 'CRVAL1'"),
        (IndexError("index 3"), ValueError, r"it is damaged \(IndexError: index 3\)"),
        (TypeError(), ValueError, r"it is damaged \(TypeError\)"),
        (MemoryError(), ValueError, "needs more memory than there is"),
        (RecursionError("too deep"), ValueError, "RecursionError: too deep"),
        (ValueError("no such axis"), ValueError, "no such axis"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), ValueError, "not text in UTF-8"),
        (json.JSONDecodeError("bad", "{", 1), ValueError, "it is not JSON"),
        (OSError(errno.ENOSPC, "No space left"), OSError, "No space left"),
        (u.UnitsError("not in km/s"), u.UnitsError, "not in km/s"),
        (u.UnitConversionError("not in km/s"), u.UnitConversionError, "not in km/s"),
    ],
)
def test_errors_name_the_file(error, kind, reason):
    found = translated(error, "/data/cloud.fits", "the WCS")
    assert type(found) is kind
    assert found.__cause__ is error
    assert re.match(f"cannot read the WCS of '/data/cloud.fits': .*{reason}", str(found))


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file", "/data/cloud.fits"),
        ValueError("cloud.fits[PRIMARY] has no BUNIT"),
        ImportError("spectral_cube is needed here"),
        AstrofractalWarning("the map is faint"),
        KeyboardInterrupt(),
    ],
)
def test_what_says_enough_passes(error):
    with pytest.raises(type(error)) as info, reading("/data/cloud.fits"):
        raise error
    assert info.value is error


def test_a_name_within_a_word_is_no_name():
    assert "cannot read 'wcs'" in str(translated(ValueError("in wcsset()"), "wcs"))


def test_errors_of_arguments_pass_after_reading():
    error = TypeError("distance must be a Quantity")
    assert translated(error, "cloud.fits", otherwise=None) is error
    found = translated(ValueError("no finite value"), "cloud.fits", otherwise=None)
    assert str(found) == "'cloud.fits': no finite value"
