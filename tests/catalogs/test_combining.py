"""Tests of several estimates of one mass."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from astropy.utils.masked import Masked

from astrofractal.catalogs import combine
from astrofractal.catalogs.combination import combine_estimates


def make_catalog(names, masses, half=0.3, *, offset=0.0, **columns):
    """Return a catalog; a mass of NaN is masked."""
    masses = np.array(masses, float)
    table = QTable({"id": names})
    n = np.arange(len(names))
    table["position"] = SkyCoord(50 + n + offset / 3600, 30 + 0.0 * n, unit="deg")
    for name, sign in (("mass", 0), ("mass_lower", -1), ("mass_upper", 1)):
        values = masses * 10 ** (sign * np.broadcast_to(half, len(names))) * u.solMass
        table[name] = Masked(values, mask=np.isnan(masses)) if np.isnan(masses).any() else values
    table["ood_score"], table["velocity_known"] = np.full(len(n), 0.5), np.full(len(n), 1.0)
    table["channels"], table["flags"] = ["N"] * len(n), ["edge"] * len(n)
    for name, values in columns.items():
        table[name] = values
    table.meta.update(level=0.68, version="1", fingerprint=str(offset))
    return table


@pytest.mark.parametrize("correlation", [0.0, 0.7])
def test_the_interval_holds_what_it_should(correlation):
    rng = np.random.default_rng(0)
    sigma = np.array([0.3, 0.4, 0.25])
    common, own = rng.standard_normal((4000, 1)), rng.standard_normal((4000, 3))
    errors = sigma * (correlation**0.5 * common + (1 - correlation) ** 0.5 * own)
    found = [combine_estimates(e, sigma, correlation=correlation) for e in errors]
    inside = [abs(mass) < width for mass, width, _ in found]
    assert np.isclose(np.mean(inside), 0.683, atol=0.02)


def test_weights_and_widths():
    mass, half, weights = combine_estimates([0.0, 0.3], [0.2, 0.1], correlation=1.0)
    assert np.allclose(weights, [1 / 3, 2 / 3])
    assert np.isclose(mass, 0.2)
    assert np.isclose(half, 2 / 3 * 0.2)  # the mean of the widths: no error is averaged away
    assert np.isclose(combine_estimates([0.0] * 4, [0.2] * 4, correlation=0)[1], 0.1)
    with pytest.raises(ValueError, match="correlation must be between 0 and 1, got 1.5"):
        combine_estimates([0.0], [0.1], correlation=1.5)


def test_catalogs_of_two_lines():
    one = make_catalog(["A", "B", "C"], [1.0, 2.0, np.nan], flux=[1, 2, 3] * u.Jy)
    two = make_catalog(
        ["C", "A"], [np.nan, 4.0], offset=0.5, flags=["outside", "unlike-references"]
    )
    two["ood_score"][1] = 1.5
    table = combine([one, two])
    assert table["id"].tolist() == ["A", "B", "C"]
    assert table["n_maps"].tolist() == [2, 1, 0]
    assert np.allclose(table["mass"][:2].unmasked.to_value(u.solMass), [2, 2])
    assert table["mass"].mask.tolist() == [False, False, True]
    half = np.log10((table["mass_upper"] / table["mass"])[:2].unmasked.value)
    assert np.allclose(half, [0.3 * np.sqrt(0.7 + 0.3 / 2), 0.3])
    assert table["flags"].tolist() == ["edge,unlike-references", "edge", "edge,outside"]
    assert table["ood_score"][0] == 1.5
    assert table["position"].separation(one["position"]).max() < 1e-6 * u.arcsec
    assert table["flux"].unit == u.Jy
    assert table.meta["version"] == "1"
    assert "fingerprint" not in table.meta
    assert table["mass"].info.format == ".3g"


def test_catalogs_are_matched_by_position():
    one = make_catalog([1, 2], [1.0, 2.0])
    two = make_catalog([1, 2, 3], [1.0, 2.0, 3.0], offset=2.0)[::-1]
    with pytest.raises(ValueError, match="give max_separation="):
        combine([one, two])
    table = combine([one, two], max_separation=5 * u.arcsec)
    assert table["n_maps"].tolist() == [2, 2, 1]
    assert np.allclose(table["mass"].value, [1, 2, 3])
    apart = combine([one, two], max_separation=1 * u.arcsec)
    assert apart["n_maps"].tolist() == [1] * 5
    with pytest.raises(ValueError, match="several rows to one protostar"):
        combine([one, two], max_separation=5 * u.deg)


def test_catalogs_that_do_not_fit_together():
    one = make_catalog(["A", "B"], [1.0, 2.0])
    other = one.copy()
    other.meta["level"] = 0.9
    for catalogs, message in [
        ([], "at least one"),
        ([one, other], "intervals of one level"),
        ([one, one["id", "mass"]], "must have the column 'mass_lower'"),
        ([make_catalog(["A", "A"], [1.0, 2.0]), one], "'A' several times"),
    ]:
        with pytest.raises(ValueError, match=message):
            combine(catalogs)


def test_one_table_is_no_list_of_catalogs():
    with pytest.raises(TypeError, match=r"one table: combine\(\[first, second\]\)"):
        combine(make_catalog(["A"], [1.0]))
