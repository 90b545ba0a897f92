"""Tests of the comparison of masses."""

import matplotlib
import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable, Table

from astrofractal.catalogs import compare
from astrofractal.exceptions import AstrofractalWarning

matplotlib.use("Agg")


def catalog():
    table = QTable({"id": ["A", "B", "C"], "mass": [0.4, 1.0, np.nan] * u.solMass})
    table["mass_lower"], table["mass_upper"] = table["mass"] / 2, table["mass"] * 2
    table["flags"] = ["", "beam", "outside"]
    table["ra"], table["dec"] = [10, 11, 12] * u.deg, [1, 2, 3] * u.deg
    table.meta["level"] = 0.6826894921370859
    return table


def test_ratios_pulls_and_coverage():
    result = compare(catalog(), [0.2, 4.0, 1.0] * u.solMass)
    assert np.allclose(result.table["ratio"][:2], [2, 0.25])
    # A factor of two is one standard deviation at the level of one sigma.
    assert np.allclose(result.table["pull"][:2], [1, -2])
    assert result.table["inside"].tolist() == [True, False, False]
    assert "median |log ratio| 0.45 dex, 1 of 2 in the 68.3 % intervals" in repr(result)
    assert result.table["flags"][1] == "beam"


def test_errors_of_both_sides_add_up():
    masses = QTable({"name": ["B", "A"], "mass": [4.0, 0.2] * u.solMass})
    masses["mass_lower"], masses["mass_upper"] = masses["mass"] / 2, masses["mass"] * 2
    result = compare(catalog(), masses)
    assert result.table["id"].tolist() == ["A", "B"]
    assert np.allclose(result.table["pull"], [2**-0.5, -(2**0.5)])
    masses = QTable({"id": ["A"], "mass": [200] * u.Mjup, "mass_error": [1e-9] * u.solMass})
    assert np.isclose(compare(catalog(), masses).table["true_mass"][0].value, 0.1909, rtol=1e-3)


def test_positions():
    masses = QTable(
        {
            "ra": [11.0002] * u.deg,
            "dec": [2.0] * u.deg,
            "mass": [2.0] * u.solMass,
            "name": ["other"],
        }
    )
    result = compare(catalog(), masses, max_separation=2 * u.arcsec)
    assert result.table["id"].tolist() == ["B"]
    with pytest.raises(ValueError, match="the nearest is 0.7"):
        compare(catalog(), masses, max_separation=0.1 * u.arcsec)
    with pytest.raises(ValueError, match="several rows to one protostar"):
        compare(catalog(), masses, max_separation=5 * u.deg)


def test_what_matches_nothing_is_said():
    masses = QTable({"name": ["A", "Z"], "mass": [0.2, 1] * u.solMass})
    with pytest.warns(AstrofractalWarning, match="nothing in the catalog: Z"):
        assert len(compare(catalog(), masses).table) == 1
    with pytest.raises(ValueError, match="no name of masses"):
        compare(catalog(), masses[1:])


@pytest.mark.parametrize(
    ("masses", "error", "text"),
    [
        ([1, 2, 3], u.UnitConversionError, "unit of mass"),
        ([1, 2] * u.solMass, ValueError, "one per row"),
        ([1, 2, 0] * u.solMass, ValueError, "positive"),
        (Table({"name": ["A"]}), ValueError, "column 'mass'"),
        (QTable({"mass": [1] * u.solMass}), ValueError, "'id' or 'name'"),
        (QTable({"id": ["A", "A"], "mass": [1, 2] * u.solMass}), ValueError, "each name once"),
    ],
)
def test_bad_masses(masses, error, text):
    with pytest.raises(error, match=text):
        compare(catalog(), masses)


def test_level_is_needed():
    table = catalog()
    del table.meta["level"]
    with pytest.raises(ValueError, match="level"):
        compare(table, [1, 1, 1] * u.solMass)
    assert compare(table, [1, 1, 1] * u.solMass, level=0.9).level == 0.9


def test_plot():
    import matplotlib.pyplot as plt

    axes = compare(catalog(), [0.2, 4.0, 1.0] * u.solMass).plot(label="masses")
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert [text.get_text() for text in axes.texts] == ["A", "B"]
    plt.close(axes.figure)
