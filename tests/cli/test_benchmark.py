from types import SimpleNamespace

import pytest
from astropy.table import QTable

import astrofractal.benchmark
from astrofractal.benchmark.run import PARTS
from astrofractal.cli import benchmark, main


@pytest.fixture
def calls(monkeypatch):
    """Calls of the benchmark, which is not run."""
    calls = []
    words = {"protocol": "leave-cloud-out", "method": "default", "cloud": "all"}

    def run_benchmark(*args, **kwargs):
        calls.append((args, kwargs))
        numbers = dict.fromkeys(("r2_protostar", "r2_protostar_err", "r2", "r2_err"), 0.5)
        tables = {"scores": QTable(rows=[words | numbers, words | numbers | {"cloud": "cloud09"}])}
        return SimpleNamespace(tables=tables, failed=["mlp: ValueError: no"])

    monkeypatch.setattr(astrofractal.benchmark, "run_benchmark", run_benchmark)
    return calls


def test_arguments(calls, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("maps", "a", "b"):
        (tmp_path / name).mkdir()
    words = ["benchmark", "maps", "--output", "out"]
    assert main([*words, "--quick", "--features-cache", "kept", "--predictions", "a", "b"]) == 0
    (args, kwargs), text = calls[0], capsys.readouterr().out
    assert args == ("maps", "out")
    assert kwargs["quick"]
    assert kwargs["weights"] == "bundled"
    assert kwargs["features_cache"] == "kept"
    assert kwargs["predictions"] == ["a", "b"]
    assert tuple(kwargs["parts"]) == PARTS == benchmark.PARTS
    assert not kwargs["overwrite"]
    assert text.count("default") == 1
    assert "failed: mlp: ValueError: no" in text
    assert "written to out" in text
    assert main([*words, "--quiet", "--parts", "learning", "--per-protostar", "5"]) == 0
    assert not calls[1][1]["progress_bar"]
    assert calls[1][1]["parts"] == ["learning"]
    assert calls[1][1]["n_per_protostar"] == 5
    assert capsys.readouterr().out == ""


def test_errors(tmp_path, capsys):
    arguments = ["benchmark", str(tmp_path / "none"), "--output"]
    assert main([*arguments, str(tmp_path / "out")]) == 1
    assert "none" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "notes.txt").write_text("mine")
    assert main([*arguments, str(tmp_path)]) == 1
    assert "is not empty: choose another folder or add --overwrite" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
