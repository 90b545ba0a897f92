"""The paper's table: what can be true of it, on maps whose near-copies are known."""

import numpy as np
import pytest
from astropy.table import QTable

from astrofractal.benchmark import run_study
from astrofractal.benchmark.supervised import SUPERVISED, Scratch
from astrofractal.cli import main
from astrofractal.mapset import MapSet
from tests.factories import make_mapset


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with maps, and the features of encoders that a test has encoded them with."""
    folder = tmp_path_factory.mktemp("paper")
    make_mapset(30, n_maps=6, n_clouds=3).write(folder / "slabs.fits")
    return folder


@pytest.fixture(scope="module")
def maps(folder):
    return MapSet.read(folder / "slabs.fits")


def test_the_table(tmp_path, folder, capsys):
    arguments = [str(folder / "slabs.fits"), "--study", "paper", "--weights", "random"]
    arguments += ["--features-cache", str(folder / "features")]
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


def test_fewer_maps_and_two_sets(tmp_path, folder, maps):
    options = {"weights": "random", "features_cache": folder / "features", "quick": True}
    journal = run_study("paper", {"a": maps, "b": maps}, tmp_path, n_maps=100, **options)
    table = journal.tables["paper"]
    assert set(table["n_maps"]) == {100}
    assert table[:7]["r2"].tolist() == table[7:]["r2"].tolist()


def test_networks_are_trained_on_the_same_splits(tmp_path, folder, maps, monkeypatch):
    short = Scratch("cnn", zoom=1.0, size=24, learning_rate=5e-3, n_views=1, max_epochs=1)
    monkeypatch.setitem(SUPERVISED, "short", short)
    options = {"weights": "random", "quick": True, "n_maps": 120, "networks": ["short"]}
    options["features_cache"] = folder / "features"
    table = run_study("paper", {"a": maps}, tmp_path, **options).tables["paper"]
    assert table["method"][-1] == "short"
    assert np.isfinite([table["r2"][-1], table["r2_clouds"][-1].item()]).all()


def test_options_of_the_paper_alone(tmp_path, folder, capsys):
    arguments = ["benchmark", str(folder / "slabs.fits"), "--output", str(tmp_path / "out")]
    assert main([*arguments, "--networks", "small CNN"]) == 1
    assert "--networks must not be given with the study 'clouds'" in capsys.readouterr().err
    assert main([*arguments, "--study", "paper", "--networks", "big CNN"]) == 1
    assert "--networks must be one of 'small CNN, n^-1/2', " in capsys.readouterr().err
