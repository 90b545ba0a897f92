from types import SimpleNamespace

import pytest
from astropy.table import QTable

import astrofractal.benchmark
from astrofractal.benchmark.study import STUDIES
from astrofractal.cli import benchmark, main
from astrofractal.data import data_path


@pytest.fixture
def calls(monkeypatch):
    """Calls of the benchmark, which is not run."""
    calls = []
    words = {"protocol": "leave-cloud-out", "method": "default", "cloud": "all"}

    def run_study(*args, **kwargs):
        calls.append((args, kwargs))
        numbers = dict.fromkeys(("r2_protostar", "r2_protostar_err", "r2", "r2_err"), 0.5)
        tables = {"scores": QTable(rows=[words | numbers, words | numbers | {"cloud": "cloud09"}])}
        return SimpleNamespace(tables=tables, failed=["mlp: ValueError: no"])

    monkeypatch.setattr(astrofractal.benchmark, "run_study", run_study)
    return calls


def test_arguments(calls, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("maps", "a", "b"):
        (tmp_path / name).mkdir()
    words = ["benchmark", "maps", "--output", "out"]
    assert main([*words, "--quick", "--features-cache", "kept", "--predictions", "a", "b"]) == 0
    (args, kwargs), text = calls[0], capsys.readouterr().out
    assert args == ("clouds", "maps", "out")
    assert kwargs["quick"]
    assert kwargs["features_cache"] == "kept"
    assert kwargs["predictions"] == ["a", "b"]
    assert not kwargs.keys() & {"weights", "parts", "n_per_protostar"}  # the defaults
    assert tuple(STUDIES) == benchmark.STUDIES
    assert not kwargs["overwrite"]
    assert text.count("default") == 1
    assert "failed: mlp: ValueError: no" in text
    assert "written to out" in text
    assert main([*words, "--quiet", "--parts", "learning", "--per-protostar", "5"]) == 0
    assert not calls[1][1]["progress_bar"]
    assert calls[1][1]["parts"] == ["learning"]
    assert calls[1][1]["n_per_protostar"] == 5
    assert capsys.readouterr().out == ""


def test_arguments_of_studies(calls, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("maps", "a", "b"):
        (tmp_path / name).mkdir()
    words = ["benchmark", "--output", "out", "--quiet", "--study"]
    assert main([*words, "weights", "--weights", "random", "bundled", "--parts", "clean"]) == 0
    args, kwargs = calls.pop()
    assert args == ("weights", data_path("reference_maps.fits"), "out")
    assert kwargs["weights"] == ["random", "bundled"]
    assert kwargs["parts"] == ["clean"]
    assert main([*words, "segments", "--weights", "random", "--", "a", "b"]) == 0
    args, kwargs = calls.pop()
    assert args == ("segments", ["a", "b"], "out")
    assert kwargs["weights"] == "random"
    assert main([*words, "telescopes", "--quick"]) == 0
    assert calls.pop()[0] == ("telescopes", [], "out")
    assert main([*words, "networks", "--networks", "small CNN", "--seeds", "1", "2"]) == 0
    assert calls.pop()[1]["seeds"] == [1, 2]
    capsys.readouterr()
    for wrong, message in (
        (["defaults", "--", "a", "b"], "several MAPS are for the studies paper,"),
        (["segments"], "--study segments needs MAPS"),
        (
            ["paper", "--weights", "random", "bundled", "--", "a"],
            "several --weights are for --study",
        ),
    ):
        assert main([*words, *wrong]) == 1
        assert message in capsys.readouterr().err
    assert calls == []


def test_errors(tmp_path, capsys):
    arguments = ["benchmark", str(tmp_path / "none"), "--output"]
    assert main([*arguments, str(tmp_path / "out")]) == 1
    assert "none" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "notes.txt").write_text("mine")
    assert main([*arguments, str(tmp_path)]) == 1
    assert "is not empty: choose another folder or add --overwrite" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
