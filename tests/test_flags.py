"""The registry of flags against the code that sets them and the table that explains them."""

from pathlib import Path

import numpy as np
import pytest

from astrofractal.flags import skill_flags, trust_of

ROOT = Path(__file__).parents[1]


def test_documentation_shows_the_table_of_flags():
    assert ".. flag-table::" in (ROOT / "docs" / "understand" / "results.rst").read_text()


@pytest.mark.parametrize(
    ("r2", "flags"),
    [
        (0.25, []),
        (0.24, ["weak-skill"]),
        (0.1, ["weak-skill"]),
        (0.09, ["no-skill"]),
        (np.nan, ["no-skill"]),
    ],
)
def test_one_rule_for_predictive_power(r2, flags):
    assert skill_flags(r2) == flags


@pytest.mark.parametrize(
    ("flags", "numbers", "trust"),
    [
        ([], (0.5, 2.0, 0.3), "yes"),
        (["other-pixel-scale", "no-velocity"], (), "yes"),
        (["edge", "other-pixel-scale"], (), "doubt"),
        (["edge", "unlike-references", "weak-skill"], (), "no"),
        (["no-skill"], (), "no"),
        ([], (0.5, np.inf, 0.3), "no"),
        ([], (0.5, 2.0, np.nan), "no"),
        ([""], (), "yes"),
    ],
)
def test_trust_is_that_of_the_worst_flag(flags, numbers, trust):
    assert trust_of(flags, *numbers) == trust
