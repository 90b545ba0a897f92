import numpy as np
import pytest
from astropy.table import Table

from astrofractal.benchmark.supervised import (
    SUPERVISED,
    Scratch,
    Tuned,
    supervised_predictions,
    train_supervised,
)
from tests.factories import make_mapset


@pytest.fixture(scope="module")
def maps():
    return make_mapset(90, n_maps=1)


@pytest.fixture
def tiny(monkeypatch):
    short = Scratch(
        "cnn", zoom=1.0, size=24, learning_rate=5e-3, n_views=8, max_epochs=4, batch_size=32
    )
    monkeypatch.setitem(SUPERVISED, "tiny", short)
    return "tiny"


def test_stored_predictions_are_of_clouds_unseen_and_go_on(maps, tiny, tmp_path):
    path = tmp_path / "supervised.ecsv"
    table = train_supervised(maps, path, methods=[tiny], seeds=[3])
    assert table.colnames == [
        "method", "seed", "cloud", "row", "log_mass", "best_epoch", "minutes"
    ]  # fmt: skip
    assert len(table) == len(maps)
    assert Table.read(path).meta["weight_exponent"] == {tiny: 1.0}
    for name in ("cloud0", "cloud1", "cloud2"):
        own = table[table["cloud"] == name]
        assert own["row"].tolist() == list(range(30))
        truth = maps.log_masses[maps.clouds == name]
        assert np.corrcoef(own["log_mass"], truth)[0, 1] > 0.7
    # A cloud that is missing is trained again and gives the same; the others are left alone.
    changed = table.copy()
    changed["log_mass"][changed["cloud"] == "cloud0"] = 9.0
    changed[changed["cloud"] != "cloud2"].write(path, overwrite=True)
    again = train_supervised(maps, path, methods=[tiny], seeds=[3])
    assert set(again["log_mass"][again["cloud"] == "cloud0"]) == {9.0}
    np.testing.assert_array_equal(
        again["log_mass"][again["cloud"] == "cloud2"], table["log_mass"][table["cloud"] == "cloud2"]
    )
    assert len(Table.read(path)) == len(maps)


def test_some_clouds_are_held_out_and_the_rest_later(maps, monkeypatch, tmp_path):
    short = Scratch("cnn", zoom=1.0, size=24, learning_rate=5e-3, n_views=1, max_epochs=1)
    monkeypatch.setitem(SUPERVISED, "short", short)
    path = tmp_path / "supervised.ecsv"
    table = train_supervised(maps, path, methods=["short"], clouds=["cloud1"])
    assert set(table["cloud"]) == {"cloud1"}
    both = train_supervised(maps, path, methods=["short"], clouds=["cloud2", "cloud1"])
    assert both["cloud"].tolist() == ["cloud1"] * 30 + ["cloud2"] * 30
    with pytest.raises(ValueError, match="clouds must be one of 'cloud0'"):
        train_supervised(maps, path, methods=["short"], clouds=["cloud9"])


@pytest.mark.parametrize("blocks", [1, "all"])
def test_fine_tuned_encoders_predict_each_split(maps, blocks, monkeypatch):
    few = maps[:36]
    quick = Tuned("random", blocks, n_views=1, max_epochs=1)
    monkeypatch.setitem(SUPERVISED, "quick", quick)
    rows = np.arange(len(few))
    out = few.clouds == "cloud1"
    [(test, log_mass, epoch)] = supervised_predictions("quick", few, [(rows[~out], rows[out])])
    np.testing.assert_array_equal(test, rows[out])
    assert np.isfinite(log_mass).all()
    assert epoch in (0, 1)


def test_unknown_methods_are_refused(maps, tmp_path):
    with pytest.raises(ValueError, match="methods must be one of 'small CNN, n.-1/2', "):
        train_supervised(maps, tmp_path / "x.ecsv", methods=["large CNN"])
    assert not (tmp_path / "x.ecsv").exists()
