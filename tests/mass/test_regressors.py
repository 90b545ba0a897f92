import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.neighbors import KNeighborsRegressor
from sklearn.svm import SVR

from astrofractal.mass import REGRESSORS, make_regressor
from astrofractal.mass.calibration import grouped_folds, leave_out_predictions
from astrofractal.mass.regressors import PublishedKNN, nearest

RNG = np.random.default_rng(0)
X = RNG.standard_normal((120, 5)).astype(np.float32)
Y = X[:, 0] + 0.3 * np.sin(2 * X[:, 1])


@pytest.mark.parametrize("spec", [*REGRESSORS, ExtraTreesRegressor(30, random_state=0)], ids=str)
def test_interface(spec):
    model = make_regressor(spec).fit(X[:90], Y[:90], groups=np.arange(90) % 4)
    predicted = model.predict(X[90:])
    assert predicted.shape == (30,)
    assert np.isfinite(predicted).all()
    error = np.mean((predicted - Y[90:]) ** 2)
    assert error < (1.3 if spec == "mean" else 0.6) * Y[90:].var()


def test_published_knn_is_sklearns():
    ours = PublishedKNN(whiten=False).fit(X[:90], Y[:90]).predict(X[90:])
    theirs = KNeighborsRegressor(5, weights="distance").fit(X[:90], Y[:90]).predict(X[90:])
    assert_allclose(ours, theirs, rtol=1e-4)
    # Whitening makes it blind to the scale of the features.
    scaled = X * np.array([1, 10, 0.1, 3, 5], np.float32)
    a = PublishedKNN().fit(X[:90], Y[:90]).predict(X[90:])
    b = PublishedKNN().fit(scaled[:90], Y[:90]).predict(scaled[90:])
    assert_allclose(a, b, rtol=1e-3)


def test_svr_is_sklearns():
    ours = make_regressor(("svr", {"gamma": 1.0, "C": 2.0})).fit(X, Y)
    theirs = SVR(C=2.0, gamma=1 / X.astype(float).var(0).sum()).fit(X, Y)
    assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-4)


def test_ridge_does_not_learn_what_tells_groups_apart():
    """Features that are constant in a group memorise its mean; they must get no slope."""
    groups = np.repeat(np.arange(6), 20)
    offset = RNG.standard_normal(6)[groups]
    labels = RNG.standard_normal((6, 40))[groups]
    signal = RNG.standard_normal((120, 3))
    features = np.hstack([labels, signal])
    target = offset + signal[:, 0]
    ridge = make_regressor("ridge").fit(features, target, groups=groups)
    naive = make_regressor("ridge").fit(features, target)
    assert_allclose(ridge.coef_[:40], 0, atol=1e-6)
    assert ridge.coef_[40] > 0.7  # shrunk, since the groups' offsets count as errors
    assert_allclose(ridge.coef_[41:], 0, atol=0.05)
    assert abs(naive.coef_[:40]).max() > 0.05


def test_folds():
    assert_array_equal(grouped_folds(["b", "a", "b"]), [1, 0, 1])
    groups = RNG.integers(0, 40, 300)
    folds = grouped_folds(groups)
    assert folds.max() == 7
    assert all(len(set(folds[groups == g])) == 1 for g in set(groups))
    assert np.bincount(folds).min() > 25


def test_leave_out_never_sees_its_own():
    y = np.repeat([0.0, 10.0], 30)
    predicted = leave_out_predictions("mean", np.zeros((60, 1)), y, (y > 5).astype(int))
    assert_allclose(predicted, 10 - y)


def test_nearest():
    distance, index = nearest(X[:7], X, 3)
    full = np.linalg.norm(X[:7, None] - X[None], axis=2)
    assert_array_equal(np.sort(index, axis=1), np.sort(np.argsort(full, axis=1)[:, :3], axis=1))
    assert_allclose(np.sort(distance, axis=1), np.sort(full, axis=1)[:, :3], atol=2e-3)


def test_errors():
    with pytest.raises(ValueError, match="regressor must be one of"):
        make_regressor("oracle")
    with pytest.raises(ValueError, match="hyperparameters"):
        make_regressor(("svr", {"D": 1}))
    with pytest.raises(TypeError, match="fit and predict"):
        make_regressor(3)
