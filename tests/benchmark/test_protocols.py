import numpy as np
import pytest
from astropy import units as u
from numpy.testing import assert_allclose, assert_array_equal

from astrofractal.benchmark import PROTOCOLS, make_protocol, mass_range_scores, score
from astrofractal.mapset import MapSet


@pytest.fixture
def maps():
    n = 60
    clouds = np.repeat(["a", "b", "c"], 20)
    images = np.full((n, 3, 8, 8), 22.0)
    sinks = np.arange(n) // 5
    return MapSet(images, np.full(n, 1.0) * u.solMass, clouds=clouds, sinks=sinks)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_nothing_leaks(maps, name):
    protocol = make_protocol(name, maps)
    for train, test in protocol.splits:
        assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(60))
        if name == "leave-sinks-out":
            assert not set(maps.sinks[train]) & set(maps.sinks[test])
        if name == "leave-cloud-out":
            assert not set(maps.clouds[train]) & set(maps.clouds[test])
    tested = np.concatenate([test for _, test in protocol.splits])
    assert len(tested) == len(set(tested.tolist())) == (15 if name == "random" else 60)


def test_same_seed_same_split(maps):
    first, again = (make_protocol("random", maps, random_state=3) for _ in range(2))
    other = make_protocol("random", maps, random_state=4)
    assert_array_equal(first.splits[0][1], again.splits[0][1])
    assert not np.array_equal(first.splits[0][1], other.splits[0][1])


def test_one_cloud_cannot_be_left_out(maps):
    with pytest.raises(ValueError, match="at least two clouds"):
        make_protocol("leave-cloud-out", maps[:20])
    with pytest.raises(ValueError, match="protocol must be one of"):
        make_protocol("leave-one-out", maps)


def test_scores():
    rng = np.random.default_rng(0)
    true = rng.standard_normal(4000)
    groups = np.arange(4000) % 50
    predicted = true + 0.5 * rng.standard_normal(4000)
    half = np.full(4000, 0.5)
    result = score(true, predicted, groups, half_68=half, half_90=1.645 * half)
    assert_allclose(result["r2"], 0.75, atol=0.03)
    assert_allclose(result["rmse"], 0.5, atol=0.02)
    assert_allclose(result["coverage_68"], 0.683, atol=0.02)
    assert_allclose(result["coverage_90"], 0.9, atol=0.02)
    assert 0.001 < result["r2_err"] < 0.03
    assert np.isnan(score(true, predicted, groups)["coverage_68"])
    # An error that a whole group shares makes the bars wide.
    shared = true + rng.standard_normal(50)[groups]
    assert score(true, shared, groups)["r2_err"] > 3 * result["r2_err"]


def test_mass_ranges():
    true = np.array([-1.0, -0.8, 0.2, 0.3])
    rows = mass_range_scores(true, true + [0.5, 0.5, -0.1, -0.1], np.full(4, 0.2))
    assert [row["n_maps"] for row in rows] == [2, 2]
    assert_allclose([row["bias"] for row in rows], [0.5, -0.1])
    assert [row["coverage_68"] for row in rows] == [0, 1]
