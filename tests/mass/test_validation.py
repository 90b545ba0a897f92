import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.metrics import mean_absolute_error, r2_score

from astrofractal.mass import weights as validation

RNG = np.random.default_rng(0)


def test_folds():
    folds = validation.folds_of(["b", "a", "b"])
    assert folds[0] == folds[2] != folds[1]
    assert validation.folds_of(["a", "a"]).tolist() == [0, 0]
    groups = RNG.integers(0, 40, 300)
    folds = validation.folds_of(groups)
    assert folds.max() == 11
    assert all(len(set(folds[groups == g])) == 1 for g in set(groups))


@pytest.mark.parametrize("exponent", [0, 0.5, 1])
def test_weights_of_protostars(exponent):
    weights = validation.protostar_weights(["a", "a", "b", "a", "a"], exponent)
    assert_allclose(weights / weights[2], [4**-exponent] * 2 + [1] + [4**-exponent] * 2)
    assert_allclose(weights.mean(), 1)


def test_scores_are_sklearns():
    true = RNG.standard_normal(60)
    predicted = true + 0.5 * RNG.standard_normal(60)
    protostars = RNG.integers(0, 7, 60)
    found = validation.scores(true, predicted, protostars)
    weights = 1 / np.bincount(protostars)[protostars]
    assert_allclose(found["r2"], r2_score(true, predicted))
    assert_allclose(found["r2_protostar"], r2_score(true, predicted, sample_weight=weights))
    assert_allclose(found["rmse"] ** 2, np.mean((true - predicted) ** 2))
    assert_allclose(found["mae"], mean_absolute_error(true, predicted))  # not the median
    by_star = [np.mean((true - predicted)[protostars == s] ** 2) for s in range(7)]
    assert_allclose(found["rmse_protostar"] ** 2, np.mean(by_star))


def test_weighted_quantile():
    values = RNG.permutation(10).astype(float)
    assert validation.weighted_quantile(values, np.ones(10), 0.7) == 6
    assert validation.weighted_quantile(np.arange(3.0), [1, 1, 8], 0.3) == 2
