"""Fingerprints: equal for equal values, different for all others."""

import numpy as np
import pytest
from astropy import units as u
from sklearn.linear_model import Ridge

from astrofractal._utils.identity import Options, fingerprint

DIFFERENT = [
    None,
    0,
    0.0,
    False,
    "",
    "0",
    b"0",
    [],
    {},
    [0],
    ["0"],
    [[0], []],
    [[], [0]],
    ["a", "b"],
    ["ab"],
    np.zeros(4),
    np.zeros((2, 2)),
    np.zeros(4, np.float32),
    np.array(["a", "b"]),
    1 * u.pc,
    1 * u.kpc,
    1 * u.m,
    u.m,
    {"a": 1},
    {"a": 2},
    {"b": 1},
    Ridge(1.0),
    Ridge(2.0),
]


def test_different_values_have_different_fingerprints():
    assert len({fingerprint(value) for value in DIFFERENT}) == len(DIFFERENT)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ((1, 2), [1, 2]),
        (np.arange(4.0), np.arange(4.0).astype(">f8")),
        (np.arange(8.0)[::2], np.arange(8.0)[::2].copy()),
        (np.float64(2), 2.0),
        (Ridge(1.0), Ridge(1.0)),
    ],
)
def test_equal_values_have_one_fingerprint(one, other):
    assert fingerprint(one) == fingerprint(other)


def test_what_has_no_identity_is_refused():
    with pytest.raises(TypeError, match="no fingerprint can be made of a object"):
        fingerprint([object()])


def test_repr_shows_every_option():
    class Tool(Options):
        def __init__(self, size, *, color="red"):
            self.size, self.color = size, color

    assert repr(Tool(3)) == "Tool(size=3, color='red')"
