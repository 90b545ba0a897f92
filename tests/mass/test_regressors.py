import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.svm import SVR
from sklearn.utils.estimator_checks import parametrize_with_checks

from astrofractal.mass import (
    AveragedRegressor,
    GroupRidge,
    KernelRidgeRegression,
    make_regressor,
)
from astrofractal.mass.regressors import fit_regressor

RNG = np.random.default_rng(0)
X = RNG.standard_normal((120, 5)).astype(np.float32)
Y = X[:, 0] + 0.3 * np.sin(2 * X[:, 1])

_FOLDS = "without groups the penalty is chosen by interleaved rows, which repeated rows displace"
_RELATIVE = "weights are relative (of mean one), so that a set taken twice has no other penalty"
FAILURES = {
    GroupRidge: {"check_sample_weight_equivalence_on_dense_data": _FOLDS},
    KernelRidgeRegression: {"check_sample_weight_equivalence_on_dense_data": _RELATIVE},
    AveragedRegressor: {"check_sample_weight_equivalence_on_dense_data": _FOLDS},
}


@parametrize_with_checks(
    [
        GroupRidge(),
        KernelRidgeRegression(),
        AveragedRegressor((GroupRidge(), KernelRidgeRegression())),
    ],
    expected_failed_checks=lambda estimator: FAILURES.get(type(estimator), {}),
)
def test_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    "spec", ["ridge", "kernel_ridge", "svr", ExtraTreesRegressor(30, random_state=0)], ids=str
)
def test_interface(spec):
    groups = np.arange(90) % 4
    model = fit_regressor(make_regressor(spec), X[:90], Y[:90], groups=groups)
    predicted = model.predict(X[90:])
    assert predicted.shape == (30,)
    assert np.isfinite(predicted).all()
    error = np.mean((predicted - Y[90:]) ** 2)
    assert error < 0.6 * Y[90:].var()


@pytest.mark.parametrize("spec", ["ridge", "kernel_ridge", "svr", ("ridge", "svr")], ids=str)
def test_weights_of_zero_leave_maps_out(spec):
    """A second population that contradicts the first, with and without weight."""
    weights = np.repeat([1.0, 0.0], 60)
    targets = np.where(weights > 0, Y, 5 - Y)
    alone = fit_regressor(make_regressor(spec), X[:60], Y[:60])
    weighted = fit_regressor(make_regressor(spec), X, targets, sample_weight=weights)
    equal = fit_regressor(make_regressor(spec), X, targets)
    expected = alone.predict(X)
    error = np.abs(weighted.predict(X) - expected).mean()
    assert error < 0.1 * np.abs(equal.predict(X) - expected).mean()


def test_weights_do_not_depend_on_their_scale():
    weights = RNG.uniform(0.5, 2, 120)
    for spec in ("ridge", "kernel_ridge", "svr"):
        one = fit_regressor(make_regressor(spec), X, Y, sample_weight=weights)
        other = fit_regressor(make_regressor(spec), X, Y, sample_weight=100 * weights)
        assert_allclose(one.predict(X), other.predict(X), atol=1e-6)


def test_ridge_weighs_what_chooses_its_penalty():
    """Groups with weight want slopes, those without have none."""
    groups = np.repeat(np.arange(6), 20)
    noise = RNG.standard_normal(120)
    target = np.where(groups < 3, 3 * X[:, 0], 10 * noise)
    weights = np.where(groups < 3, 1.0, 1e-9)
    weighted = GroupRidge().fit(X, target, sample_weight=weights, groups=groups)
    assert weighted.alpha_ < GroupRidge().fit(X, target, groups=groups).alpha_
    assert_allclose(weighted.coef_[0], 3, rtol=0.01)


def test_average():
    both = make_regressor(("ridge", SVR(C=2.0))).fit(X, Y)
    parts = [GroupRidge().fit(X, Y), SVR(C=2.0).fit(X, Y)]
    assert_allclose(both.predict(X), np.mean([p.predict(X) for p in parts], axis=0))


def test_published_knn():
    """Whitening makes the neighbors independent of the scale of the features."""
    rng = np.random.default_rng(0)
    wide = rng.standard_normal((200, 70))
    target = wide[:, 0]
    a = make_regressor("knn").fit(wide[:150], target[:150]).predict(wide[150:])
    scaled = 3 * wide @ np.linalg.qr(rng.standard_normal((70, 70)))[0]
    b = make_regressor("knn").fit(scaled[:150], target[:150]).predict(scaled[150:])
    assert_allclose(a, b, rtol=1e-6)
    with pytest.raises(ValueError, match="takes no sample_weight"):
        fit_regressor(make_regressor("knn"), wide, target, sample_weight=rng.uniform(1, 2, 200))


def test_kernel_ridge_is_the_mean_of_a_gaussian_process():
    weights = RNG.uniform(0.5, 2, 120)
    weights /= weights.mean()
    ours = KernelRidgeRegression(alpha=0.2).fit(X, Y, sample_weight=weights)
    mean = np.average(Y, weights=weights)
    process = GaussianProcessRegressor(
        RBF((0.5 / ours.gamma_) ** 0.5), alpha=0.2 / weights, optimizer=None
    ).fit(X.astype(float), Y - mean)
    assert_allclose(ours.predict(X), process.predict(X.astype(float)) + mean, atol=1e-6)


def test_ridge_does_not_learn_what_tells_groups_apart():
    """Features that are constant in a group memorize its mean; they must get no slope."""
    groups = np.repeat(np.arange(6), 20)
    offset = RNG.standard_normal(6)[groups]
    labels = RNG.standard_normal((6, 40))[groups]
    signal = RNG.standard_normal((120, 3))
    features = np.hstack([labels, signal])
    target = offset + signal[:, 0]
    ridge = GroupRidge().fit(features, target, groups=groups)
    naive = GroupRidge().fit(features, target)
    assert_allclose(ridge.coef_[:40], 0, atol=1e-6)
    assert ridge.coef_[40] > 0.7  # shrunk, since the groups' offsets count as errors
    assert_allclose(ridge.coef_[41:], 0, atol=0.05)
    assert abs(naive.coef_[:40]).max() > 0.05


def test_specifications():
    with pytest.raises(ValueError, match="regressor must be one of.*got 'oracle'"):
        make_regressor("oracle")
    with pytest.raises(ValueError, match="regressor must be one of.*got 'gp'"):
        make_regressor(("ridge", "gp"))
    with pytest.raises(ValueError, match=r"a tuple of these, got \(\)"):
        make_regressor(())
    with pytest.raises(TypeError, match="fit and predict"):
        make_regressor(3)
    model = SVR(C=3.0)
    assert make_regressor(model) is not model
    assert clone(make_regressor(("ridge", model))).members[1].C == 3.0
