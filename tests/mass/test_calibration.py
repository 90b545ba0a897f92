import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.dummy import DummyRegressor

from astrofractal._utils.identity import fingerprint
from astrofractal.mass import Calibration, FeatureSet
from astrofractal.mass.intervals import ConformalIntervals, Scaler, Whitener
from astrofractal.mass.measures import appearance

ALL = ("column_density", "velocity", "dispersion")


def make_data(n_protostars=60, seed=0):
    """Features of protostars of which each third has ten maps and the others one."""
    rng = np.random.default_rng(seed)
    counts = np.where(np.arange(n_protostars) % 3, 1, 10)
    star = np.arange(n_protostars).repeat(counts)
    mass = rng.normal(0, 0.5, n_protostars)
    X = rng.standard_normal((len(star), 6)).astype(np.float32)
    X[:, 0] += 3 * mass[star]
    X[::17, 2] = np.nan
    look = rng.standard_normal((len(star), 4)).astype(np.float32)
    options = {"blocks": [4, 2], "appearance": look}
    return X, mass[star], options, np.array([f"c{s % 5}" for s in star]), star


@pytest.fixture(scope="module")
def data():
    return make_data()


def calibrate(data, exponent=0.5, rows=slice(None), regressor=("ridge", "svr")):
    X, y, options, groups, stars = data
    calibration = Calibration(ALL, FeatureSet(), regressor, exponent)
    options = {**options, "appearance": options["appearance"][rows]}
    return calibration.fit(X[rows], y[rows], **options, clouds=groups[rows], protostars=stars[rows])


def test_leave_out_is_a_calibration_without(data):
    """Scaling and whitening of the features are those of the clouds that are left."""
    keep = data[3] != "c1"
    found, expected = calibrate(data).leave_out(["c1"]), calibrate(data, rows=keep)
    X, look = data[0][~keep], data[2]["appearance"][~keep]
    for one, other in zip(found.evaluate(X, look), expected.evaluate(X, look)):
        # Stored in 16 bit, one neighbor may change places with the next.
        assert np.mean(np.abs(one - other) < 0.005 + 0.02 * np.abs(other)) > 0.95
    for name, value in expected.skill_.items():
        assert_allclose(found.skill_[name], value, atol=0.05)


def test_scaling_twice_is_scaling_once(data):
    X = data[0]
    first = Scaler([4, 2]).fit(X)
    second = Scaler([4, 2]).fit(first.transform(X)[:100])
    once = Scaler([4, 2]).fit(X[:100])
    assert_allclose(second.after(first).transform(X), once.transform(X), atol=1e-5)


@pytest.mark.parametrize("scale", [1, 0])
@pytest.mark.parametrize("largest", [1e10, 3e38, np.inf])
def test_distances_of_absurd_features_are_finite(scale, largest):
    """A warning of NumPy would be an error here."""
    rng = np.random.default_rng(0)
    whitener = Whitener(scale * rng.normal(size=(200, 40)))
    X = rng.normal(size=(3, 40)).astype(np.float32)
    X[0], X[1, 3], X[2, 4] = largest, -largest, np.nan
    assert np.isfinite(whitener(X)).all()
    assert np.isfinite(whitener.nearest(X, 5)[0]).all()


@pytest.mark.parametrize("exponent", [0, 0.5, 1])
def test_weights_reach_the_regressor_and_the_intervals(data, exponent):
    calibration = calibrate(data, exponent, regressor=DummyRegressor())
    _, y, _, _, stars = data
    weights = (np.bincount(stars) ** -float(exponent))[stars]
    predicted, difficulty, _ = calibration.evaluate(data[0][:1], data[2]["appearance"][:1])
    assert_allclose(predicted, np.average(y, weights=weights), atol=1e-6)
    assert calibration.half_width(0.68, difficulty)[0] > 0
    assert len({fingerprint(calibrate(data, e)) for e in (0, 0.5, 1)}) == 3


def test_skill_counts_maps_and_protostars(data):
    skill = calibrate(data).skill_
    assert skill["n_maps"] == len(data[1])
    assert skill["n_protostars"] == 60
    assert skill["n_clouds"] == 5
    assert 0 < skill["r2_protostar"] < 1
    assert skill["r2"] != skill["r2_protostar"]
    assert 0.5 < skill["coverage_68"] < 0.85


def test_intervals_hold_at_every_predicted_mass():
    """Errors that grow with the mass, and one protostar that has half of the maps."""
    rng = np.random.default_rng(0)
    predicted = rng.uniform(-1, 1, 3000)
    errors = np.abs(rng.standard_normal(3000)) * (0.6 + 0.5 * predicted)
    folds, weights = np.arange(3000) % 10, np.ones(3000)
    twice = [np.concatenate([v, np.repeat(v[:1], 3000)]) for v in (errors, predicted, folds)]
    weights = np.concatenate([weights, np.full(3000, 1 / 3000)])
    plain = ConformalIntervals(errors, np.ones(3000), predicted, folds, np.ones(3000))
    intervals = ConformalIntervals(twice[0], np.ones(6000), *twice[1:], weights)
    third = np.digitize(predicted, [-1 / 3, 1 / 3])
    for level in (0.68, 0.9):
        held = intervals.held(level)[:3000]
        for k in range(3):
            assert abs(held[third == k].mean() - level) < 0.05
        assert_allclose(intervals.quantile(level), plain.quantile(level), rtol=0.02)
    new = rng.uniform(-1, 1, 3000)
    width = intervals.quantile(0.68) * intervals.relative_width(new)
    error = np.abs(rng.standard_normal(3000)) * (0.6 + 0.5 * new)
    assert abs(np.mean(error <= width) - 0.68) < 0.03


@pytest.mark.parametrize("level", [0.5, 0.68, 0.9, 0.99])
def test_one_cloud_of_equals_is_split_conformal(level):
    """The k-th smallest score with k = ceil((n + 1) level), of all where that is beyond them."""
    scores = np.random.default_rng(2).exponential(size=31)
    intervals = ConformalIntervals(
        scores, np.ones(31), np.zeros(31), np.zeros(31, int), np.ones(31)
    )
    k = min(int(np.ceil(32 * level)), 31)
    half = intervals.quantile(level) * intervals.relative_width(np.zeros(1))
    assert_allclose(half, np.sort(scores)[k - 1])


def test_intervals_cover_new_clouds(data):
    calibration = calibrate(data)
    X, y, options, _, _ = make_data(seed=1)
    predicted, difficulty, _ = calibration.evaluate(X, options["appearance"])
    held = np.abs(predicted - y) <= calibration.half_width(0.9, difficulty)
    assert 0.8 < held.mean() < 0.98


def test_appearance_of_a_map_known_at_its_center_alone():
    """The contrast of center and border is unknown, not infinite."""
    images = np.full((1, 3, 64, 64), np.nan, np.float32)
    images[:, :, 20:40, 20:40] = np.random.default_rng(0).normal(22, 1, (1, 3, 20, 20))
    found = appearance(images)
    assert np.isnan(found).sum() == 1
    assert not np.isinf(found).any()


def test_appearance_does_not_take_dense_gas_for_the_map():
    images = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    images[0, 1, 3:] = np.nan
    images[0, 2, 4:] = np.nan
    assert np.isnan(appearance(images)).nonzero()[0].tolist() == [0, 0]
    images[0, 0, 6:] = np.nan  # of what is known of the column, the velocity is known in half
    assert not np.isnan(appearance(images)).any()


def test_maps_stand_for_others(data):
    """A set in which one of ten maps stands for all has the same weights per protostar."""
    _, y, _, _, stars = data
    first = np.r_[True, stars[1:] != stars[:-1]]
    represents = np.bincount(stars)[stars[first]].astype(float)
    X, y, options, groups, stars = data
    small = Calibration(ALL, FeatureSet(), DummyRegressor()).fit(
        X[first], y[first], blocks=[4, 2], appearance=options["appearance"][first],
        clouds=groups[first], protostars=stars[first], represents=represents,
    )  # fmt: skip
    full = calibrate(data, regressor=DummyRegressor())
    X, look = data[0][:1], options["appearance"][:1]
    assert_allclose(small.evaluate(X, look)[0], full.evaluate(X, look)[0], atol=1e-6)
    for name in ("r2", "r2_protostar", "rmse", "rmse_protostar", "mae"):
        assert_allclose(small.skill_[name], full.skill_[name], atol=1e-6)
