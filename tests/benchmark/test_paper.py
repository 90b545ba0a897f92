"""The paper's table: what can be true of it, on maps whose near-copies are known."""

import numpy as np
import pytest
from astropy.table import QTable

from astrofractal.benchmark import run_paper
from astrofractal.benchmark.supervised import SUPERVISED, Scratch
from astrofractal.cli import main
from tests.factories import make_mapset


@pytest.fixture(scope="module")
def maps():
    return make_mapset(40, n_maps=8, n_clouds=4)


def test_the_table(tmp_path, maps, capsys):
    maps.write(tmp_path / "slabs.fits")
    arguments = [str(tmp_path / "slabs.fits"), "--protocol", "paper", "--weights", "random"]
    arguments = ["benchmark", *arguments, "--quick", "--output", str(tmp_path / "out")]
    assert main(arguments) == 0
    assert "hand-made features, kNN" in capsys.readouterr().out
    table = QTable.read(tmp_path / "out" / "paper.ecsv")
    assert table["maps"].tolist() == ["slabs.fits"] * 7
    found = {row["method"]: row for row in table}
    mean = found.pop("mean mass")
    assert abs(mean["r2"]) < 0.05
    assert mean["r2_clouds"] <= 0
    assert found["hand-made features, kNN"]["r2"] > 0.5
    assert found["fractal class token, whitened, kNN"]["r2_published"] == 0.81
    assert np.isnan(mean["r2_published"])
    assert main(arguments) == 1
    assert "overwrite" in capsys.readouterr().err


def test_fewer_maps_and_two_sets(tmp_path, maps):
    journal = run_paper(
        {"a": maps, "b": maps}, tmp_path, weights="random", default=False, n_maps=100
    )
    table = journal.tables["paper"]
    assert set(table["n_maps"]) == {100}
    assert table[:7]["r2"].tolist() == table[7:]["r2"].tolist()


def test_networks_are_trained_on_the_same_splits(tmp_path, maps, monkeypatch):
    short = Scratch("cnn", zoom=1.0, size=24, learning_rate=5e-3, n_views=1, max_epochs=1)
    monkeypatch.setitem(SUPERVISED, "short", short)
    options = {"weights": "random", "default": False, "n_maps": 120, "networks": ["short"]}
    table = run_paper({"a": maps}, tmp_path, **options).tables["paper"]
    assert table["method"][-1] == "short"
    assert np.isfinite([table["r2"][-1], table["r2_clouds"][-1].item()]).all()


def test_options_of_the_paper_alone(tmp_path, maps, capsys):
    maps.write(tmp_path / "maps.fits")
    arguments = ["benchmark", str(tmp_path / "maps.fits"), "--output", str(tmp_path / "out")]
    assert main([*arguments, "--networks", "small CNN"]) == 1
    assert "--protocol paper" in capsys.readouterr().err
