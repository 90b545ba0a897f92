import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable, Table
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import Ridge

from astrofractal.benchmark import (
    FeatureStore,
    Method,
    Scorer,
    list_methods,
    make_protocol,
    run_study,
)
from astrofractal.benchmark.methods import HAND_MADE, BestRadius, ClassicalMasses
from astrofractal.benchmark.studies import DEGRADATIONS, degraded, label_groups, learning_rows
from astrofractal.gasmap.moments import CHANNELS
from astrofractal.mass import FeatureSet
from tests.factories import make_mapset

PROFILES = FeatureSet(pooling=None, profiles=True)
METHODS = (
    Method("default", PROFILES, "ridge"),
    Method(HAND_MADE, FeatureSet(pooling=None, profiles=True, contrasts=True), ("ridge", "svr")),
    Method("nested virial masses", ClassicalMasses("virial"), Ridge()),
    Method("virial mass, best radius", ClassicalMasses("virial"), BestRadius()),
    Method("mean mass", PROFILES, DummyRegressor()),
)


class Counting:
    """An encoder that counts the maps that it is given."""

    def __init__(self, *heads):
        self.n = 0
        self.heads = dict.fromkeys(heads)

    def fingerprint(self):
        return "counting"

    def encode(self, images, *, pooling, zoom=1.0, symmetrize=False):
        if len(images) > 1:
            self.n += len(images)
        mean = np.nan_to_num(images).mean((2, 3))
        return np.hstack([mean * len(name) for name in pooling]).astype(np.float32)


@pytest.fixture(scope="module")
def maps():
    return make_mapset(24, n_maps=3)


@pytest.mark.filterwarnings("ignore::astrofractal.mass.NoSkillWarning")
def test_tables(tmp_path, maps):
    out = tmp_path / "out"
    broken = Method("broken", PROFILES, Ridge(alpha="no number"))
    options = {"weights": "random", "methods": [*METHODS, broken]}
    journal = run_study(
        "clouds", maps, out, parts=["scores", "intervals"], n_per_protostar=2, **options
    )
    assert len(journal.failed) == 2  # by both protocols
    assert "broken" in journal.failed[0]
    scores = QTable.read(out / "scores.ecsv")
    assert set(scores["cloud"]) == {"all", "cloud0", "cloud1", "cloud2"}
    assert scores["rmse_protostar"].unit == u.dex
    assert scores.meta["n_protostars"] == 24
    unseen = scores[(scores["protocol"] == "leave-cloud-out") & (scores["cloud"] == "all")]
    found = dict(zip(unseen["method"].tolist(), unseen["r2_protostar"]))
    assert set(found) == {method.name for method in METHODS}
    assert found["default"] > 0.5
    assert found["mean mass"] <= 0
    paired = QTable.read(out / "paired.ecsv")
    row = paired[(paired["method"] == "default") & (paired["cloud"] == "all")][0]
    assert_allclose(row["r2_protostar"], found["default"] - found[row["reference"]], atol=2e-5)
    intervals = QTable.read(out / "intervals.ecsv")
    assert len(intervals) == len(maps)
    assert np.all(intervals["half_90"] > intervals["half_68"])
    # What was predicted is a table of a method that was run elsewhere.
    own = Table.read(out / "predictions.ecsv")
    assert own.colnames == ["cloud", "row", "log_mass", "method"]
    own = own[own["method"] == "default"]
    own["method"], own["seed"] = "network", 1
    own.write(tmp_path / "network.ecsv")
    with pytest.raises(FileExistsError, match="overwrite"):
        run_study("clouds", maps, out, **options)
    run_study(
        "clouds", maps, out, parts=["scores"], overwrite=True, predictions=[tmp_path / "network.ecsv"],
        weights="random", methods=METHODS[:2], n_per_protostar=2,
    )  # fmt: skip
    scores = QTable.read(out / "scores.ecsv")
    again = scores[scores["cloud"] == "all"]
    assert_allclose(
        again[again["method"] == "network, seed 1"]["r2"][0], unseen["r2"][0], atol=1e-4
    )
    assert len(Table.read(out / "intervals.ecsv")) == len(maps)  # of the part that was not run


@pytest.mark.parametrize("clouds", [["cloud0"], ["cloud0", "x"]])
def test_predictions_of_a_part_are_refused(tmp_path, maps, clouds):
    table = Table({"cloud": clouds})
    table["row"], table["log_mass"], table["method"] = 0, 0.1, "network"
    table.write(tmp_path / "part.ecsv")
    with pytest.raises(ValueError, match="must have a log_mass for each of the 72 maps"):
        run_study("clouds", maps, tmp_path / "out", weights="random", methods=METHODS,
                  predictions=[tmp_path / "part.ecsv"])  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_one_cloud_is_refused(tmp_path, maps):
    with pytest.raises(ValueError, match="at least two clouds"):
        run_study("clouds", maps[maps.clouds == "cloud0"], tmp_path / "out", weights="random")
    assert not (tmp_path / "out").exists()


def test_a_map_is_encoded_once(tmp_path, maps):
    encoder = Counting()
    first = FeatureStore({"a": lambda: encoder}, folder=tmp_path)
    images = maps.images
    X = first.encode("a", images[:20], ("class",))
    assert encoder.n == 20
    # Another pooling of the same pass, some of the maps, an order of its own, a later run.
    later = FeatureStore({"a": lambda: encoder}, folder=tmp_path)
    Y = later.encode("a", images[[7, 3, 25, 26]], ("central", "class"))
    assert encoder.n == 22
    assert_array_equal(Y[:2, 3:], X[[7, 3]])
    assert_allclose(5 * Y[:, :3], 7 * Y[:, 3:], rtol=1e-6)
    later.encode("a", images[:2], ("class",), zoom=4.0)
    assert encoder.n == 24


@pytest.mark.parametrize("degradation", DEGRADATIONS, ids=lambda d: f"{d[0]}-{d[1]:g}")
def test_degraded_maps_are_of_the_same_protostars(maps, degradation):
    kind, level, _ = degradation
    seen = degraded(maps[:8], *degradation)
    assert_array_equal(seen.protostars, maps.protostars[:8])
    changed = not np.array_equal(seen.images, maps.images[:8])
    assert changed == (kind not in ("none", "channels"))
    known = np.isfinite(seen.images[:, 0]).mean()
    hidden = level if kind == "mask" else 0
    if kind == "largest scale":  # negative bowls
        assert known > 0.05
    else:
        assert abs(1 - known - hidden) < 0.02
    assert_array_equal(degraded(maps[:8], *degradation).images, seen.images)


def test_few_labels(maps):
    scorer = Scorer(maps, FeatureStore({}))
    rows = list(
        learning_rows(scorer, METHODS[0], make_protocol("leave-cloud-out", maps), sizes=(4, None))
    )
    assert [(row["n_labels"], row["maps"]) for row in rows] == [
        (4, "one"), (4, "all"), (16, "one"), (16, "all")
    ]  # fmt: skip
    assert rows[-1]["r2_protostar"] > rows[0]["r2_protostar"]
    protostars = np.arange(6).astype(str)
    # Six protostars of five clouds are too few to be compared within a cloud.
    groups = label_groups(protostars, np.array(list("aabcde")))
    assert_array_equal(groups, 0)
    assert_array_equal(label_groups(protostars.repeat(4), np.array(["a"] * 24)), "a")


def test_maps_that_calibrate_stand_for_the_others(maps):
    few = Scorer(maps, FeatureStore({}), n_per_protostar=1)
    result = few.evaluate(METHODS[0], make_protocol("leave-cloud-out", maps))
    assert np.isfinite(result.log_mass).all()
    assert result.n_labels == 16


def test_the_best_aperture_is_found():
    rng = np.random.default_rng(0)
    y = rng.standard_normal(50)
    X = y[:, None] + rng.standard_normal((50, 3)) * [1, 0.1, 2] - 0.7
    model = BestRadius().fit(X, y)
    assert model.best_ == 1
    assert_allclose(model.predict(X) - X[:, 1], 0.7, atol=0.1)


def test_methods_have_names_of_their_own():
    makers = dict.fromkeys(("fractal", "random"), lambda: Counting("structure"))
    methods = list_methods(FeatureStore(makers), CHANNELS)
    names = [method.name for method in methods]
    assert len(set(names)) == len(names)
    assert all(method.twin in (None, *names) for method in methods)
    assert HAND_MADE in names
    makers["fractal"] = Counting
    assert not any("structure" in m.name for m in list_methods(FeatureStore(makers), CHANNELS))
