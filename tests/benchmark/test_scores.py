import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.metrics import r2_score

from astrofractal.benchmark import Bootstrap, paired_rows
from astrofractal.benchmark.scores import effective_sample_size, score


@pytest.fixture(scope="module")
def sample():
    """Masses of 80 protostars of one to 40 maps in four clouds."""
    rng = np.random.default_rng(0)
    protostar = np.repeat(np.arange(80), rng.integers(1, 41, 80))
    true = rng.standard_normal(80)[protostar] + 0.3 * rng.standard_normal(len(protostar))
    return true, protostar.astype(str), (protostar % 4).astype(str), rng


def test_scores_are_the_weighted_ones(sample):
    true, protostars, clouds, rng = sample
    predicted = true + 0.5 * rng.standard_normal(len(true))
    found = score(true, predicted, Bootstrap(protostars, clouds), protostars=protostars)
    _, index, counts = np.unique(protostars, return_inverse=True, return_counts=True)
    assert_allclose(found["r2"], r2_score(true, predicted))
    assert_allclose(
        found["r2_protostar"], r2_score(true, predicted, sample_weight=1 / counts[index])
    )
    assert_allclose(found["rmse"], np.sqrt(np.mean((true - predicted) ** 2)))
    assert 0.001 < found["r2_err"] < 0.1
    # Errors that are independent leave every map its worth.
    assert found["n_effective"] > 0.8 * len(true)


def test_an_error_that_maps_share_makes_the_bars_wide_and_the_sample_small(sample):
    true, protostars, clouds, rng = sample
    alone = 0.5 * rng.standard_normal(len(true))
    shared = 0.5 * rng.standard_normal(80)[protostars.astype(int)]
    bootstrap = Bootstrap(protostars, clouds)
    one, other = (
        score(true, true + error, bootstrap, protostars=protostars) for error in (alone, shared)
    )
    assert other["rmse_err"] > 2 * one["rmse_err"]
    assert other["n_effective"] < 80
    assert effective_sample_size(alone[:5], np.arange(5)) == 5


def test_paired_differences_are_surer_than_scores(sample):
    true, protostars, clouds, rng = sample
    shared = 0.7 * rng.standard_normal(80)[protostars.astype(int)]
    predictions = {"a": true + shared, "b": true + 1.1 * shared}
    rows = list(paired_rows(true, predictions, [("a", "b")], protostars=protostars, clouds=clouds))
    assert [row["cloud"] for row in rows] == ["all", "0", "1", "2", "3"]
    assert sum(row["n_maps"] for row in rows[1:]) == rows[0]["n_maps"] == len(true)
    bootstrap = Bootstrap(protostars, clouds)
    a, b = (score(true, predictions[n], bootstrap, protostars=protostars) for n in "ab")
    assert_allclose(rows[0]["r2"], a["r2"] - b["r2"])
    assert rows[0]["r2"] > 2 * rows[0]["r2_err"] > 0
    assert rows[0]["r2_err"] < 0.5 * a["r2_err"]


def test_a_map_that_stands_for_others_counts_as_often():
    rng = np.random.default_rng(1)
    protostars, clouds = np.array(list("aabbcc")), np.array(list("xxxyyy"))
    true, predicted = rng.standard_normal((2, 6))
    represents = np.array([1, 3, 2, 2, 1, 1])
    rows = np.repeat(np.arange(6), represents)
    few = Bootstrap(protostars, clouds, n_draws=20, represents=represents).scores(true, predicted)
    all_ = Bootstrap(protostars[rows], clouds[rows], n_draws=20).scores(true[rows], predicted[rows])
    for name, values in few.items():
        np.testing.assert_allclose(values, all_[name])
    masses = {"a": predicted, "b": np.zeros(6)}
    whole = {name: values[rows] for name, values in masses.items()}
    options = {"pairs": [("a", "b")], "n_draws": 20}
    limited = paired_rows(
        true, masses, protostars=protostars, clouds=clouds, represents=represents, **options
    )
    repeated = paired_rows(
        true[rows], whole, protostars=protostars[rows], clouds=clouds[rows], **options
    )
    for one, other in zip(limited, repeated, strict=True):
        np.testing.assert_allclose([one["r2"], one["r2_err"]], [other["r2"], other["r2_err"]])
