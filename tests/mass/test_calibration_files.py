import json

import numpy as np
import pytest
from numpy.testing import assert_allclose
from safetensors import safe_open
from safetensors.numpy import save_file
from sklearn.base import clone
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import BayesianRidge
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVR

from astrofractal import FractalEncoder, StellarMassEstimator
from astrofractal.mass import FeatureSet, KernelRidgeRegression
from astrofractal.mass.regressors import spec_from_json

ALL = ("column_density", "velocity", "dispersion")


def fitted(mapset, regressor, **options):
    options = {"features": FeatureSet(pooling=None, profiles=True), **options}
    return StellarMassEstimator(regressor=regressor, **options).fit(mapset, channels=[ALL])


@pytest.mark.parametrize(
    "regressor",
    [
        "kernel_ridge",
        KernelRidgeRegression(alpha=0.5),
        SVR(C=3.0),
        ("ridge", "svr"),
        (DummyRegressor(), BayesianRidge()),
    ],
    ids=str,
)
def test_round_trip(tmp_path, mapset, new_maps, regressor):
    estimator = fitted(mapset[:60], regressor)
    path = tmp_path / "my.astrofractal"
    estimator.save(path)
    back = StellarMassEstimator.load(path)
    assert_allclose(back.predict(new_maps), estimator.predict(new_maps), rtol=1e-5)
    one, other = back.evaluate(new_maps), estimator.evaluate(new_maps)
    assert_allclose(10 ** one.interval(0.68)[0], 10 ** other.interval(0.68)[0])
    assert_allclose(one.ood_score, other.ood_score, rtol=1e-4)
    assert back.reference_id_ == estimator.reference_id_
    assert back.calibrations_[ALL].skill_ == estimator.calibrations_[ALL].skill_
    assert back.leave_out("cloud0").calibrations_[ALL].skill_["n_clouds"] == 2
    assert back.fingerprint() == estimator.fingerprint()
    with pytest.raises(FileExistsError):
        estimator.save(path)


def test_a_loaded_estimator_fits_with_its_own_options(tmp_path, mapset, new_maps):
    estimator = fitted(mapset, ("ridge", "svr"), weight_exponent=1)
    estimator.save(tmp_path / "a.astrofractal")
    back = StellarMassEstimator.load(tmp_path / "a.astrofractal")
    assert back.get_params() == estimator.get_params()
    back.fit(mapset, channels=[ALL])
    assert back.fingerprint() == estimator.fingerprint()
    assert_allclose(back.predict(new_maps), estimator.predict(new_maps))


def test_encoder_must_be_the_same(tmp_path, mapset):
    encoder = FractalEncoder(weights="random", random_state=3)
    estimator = StellarMassEstimator(encoder, features=FeatureSet("central", symmetrize=False)).fit(
        mapset[:20], channels=[ALL]
    )
    estimator.save(tmp_path / "a.astrofractal")
    back = StellarMassEstimator.load(tmp_path / "a.astrofractal")
    assert back.meta["weights_id"] == "random-3"
    assert repr(back) == repr(estimator)
    # A copy that is not fitted would fall back on the bundled weights.
    again = clone(back).fit(mapset[:20], channels=[ALL])
    assert again.fingerprint() == estimator.fingerprint()
    other = FractalEncoder(weights="random", random_state=4)
    with pytest.raises(ValueError, match="calibrated with the weights 'random-3'"):
        StellarMassEstimator.load(tmp_path / "a.astrofractal", encoder=other)


def test_pickle_is_refused(tmp_path, mapset):
    estimator = fitted(mapset[:30], make_pipeline(BayesianRidge()))
    with pytest.raises(TypeError, match="without pickle"):
        estimator.save(tmp_path / "a.astrofractal")
    assert list(tmp_path.iterdir()) == []


def rewrite(path, *, arrays=None, **metadata):
    with safe_open(path, framework="numpy") as file:
        old = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file({**tensors, **(arrays or {})}, path, metadata={**old, **metadata})


def test_damaged_files(tmp_path, mapset):
    path = tmp_path / "a.astrofractal"
    estimator = fitted(mapset[:30], "ridge")
    estimator.save(path)
    whole = path.read_bytes()

    with pytest.raises(FileNotFoundError, match="nothing"):
        StellarMassEstimator.load(tmp_path / "nothing")
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="damaged"):
        StellarMassEstimator.load(path)
    path.write_text("hello")
    with pytest.raises(ValueError, match="not a calibration"):
        StellarMassEstimator.load(path)
    path.write_bytes(whole)
    rewrite(path, format="99", version="7.0")
    with pytest.raises(ValueError, match=r"format 99 of astrofractal 7\.0"):
        StellarMassEstimator.load(path)
    path.write_bytes(whole)
    rewrite(path, arrays={"0.y_": np.zeros(30)})
    with pytest.raises(ValueError, match="changed after it was saved"):
        StellarMassEstimator.load(path)
    path.write_bytes(whole)
    with safe_open(path, framework="numpy") as file:
        card = json.loads(file.metadata()["card"])
    card["calibrations"][0]["skill_"]["r2"] = 0.99
    rewrite(path, card=json.dumps(card))
    with pytest.raises(ValueError, match="changed after it was saved"):
        StellarMassEstimator.load(path)


def test_weights_of_the_same_name_are_not_the_same_encoder(tmp_path, mapset):
    names = []
    for seed in (3, 4):
        path = tmp_path / str(seed) / "mine.safetensors"
        path.parent.mkdir()
        FractalEncoder(weights="random", random_state=seed).save(path)
        path.with_suffix(".json").unlink()  # a plain checkpoint, named after its file
        names.append(path)
    encoder, other = (FractalEncoder(weights=path) for path in names)
    assert encoder.weights_id == other.weights_id
    features = FeatureSet("central", symmetrize=False)
    estimator = StellarMassEstimator(encoder, features=features).fit(mapset[:20], channels=[ALL])
    estimator.save(tmp_path / "a.astrofractal")
    StellarMassEstimator.load(tmp_path / "a.astrofractal", encoder=encoder)
    with pytest.raises(ValueError, match="calibrated with the weights 'mine'"):
        StellarMassEstimator.load(tmp_path / "a.astrofractal", encoder=other)


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({"class": "sklearn.ensemble:ExtraTreesRegressor", "options": {}}, "none of GroupRidge"),
        ({"class": "SVR", "options": {"cache_size": 1e9}}, "cache_size of SVR must be between"),
        ({"class": "GroupRidge", "options": {"alphas": [0.1] * 1000}}, "alphas of GroupRidge"),
        ({"class": "Ridge", "options": {"alpha": float("nan")}}, "alpha of Ridge"),
    ],
)
def test_files_name_known_regressors_alone(description, message):
    with pytest.raises(ValueError, match=message):
        spec_from_json(description)
