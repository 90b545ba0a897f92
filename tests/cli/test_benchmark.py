from types import SimpleNamespace

import pytest
from astropy.table import QTable

import astrofractal.benchmark
from astrofractal.benchmark import COLUMNS
from astrofractal.cli import main


@pytest.fixture
def calls(monkeypatch):
    """Calls of the benchmark, which is not run."""
    calls = []
    words = ("protocol", "method", "features", "regressor", "channels")

    def run_benchmark(*args, **kwargs):
        calls.append((args, kwargs))
        row = {name: "default" if name in words else 0.5 for name in COLUMNS}
        notes = {"minutes": 2.0, "failed": ["mlp: ValueError: no"]}
        return SimpleNamespace(scores=QTable(rows=[row]), notes=notes)

    monkeypatch.setattr(astrofractal.benchmark, "run_benchmark", run_benchmark)
    return calls


def test_arguments(calls, capsys):
    assert main(["benchmark", "--data", "maps", "--output", "out", "--quick"]) == 0
    (args, kwargs), text = calls[0], capsys.readouterr().out
    assert args == ("maps", "out")
    assert kwargs["quick"]
    assert kwargs["weights"] == "bundled"
    assert kwargs["random_state"] == 0
    assert not kwargs["overwrite"]
    assert "default" in text
    assert "failed: mlp: ValueError: no" in text
    assert "2.0 minutes; written to out" in text
    assert main(["benchmark", "--data", "maps", "--output", "out", "--quiet"]) == 0
    assert not calls[1][1]["progress_bar"]
    assert capsys.readouterr().out == ""


def test_errors(tmp_path, capsys):
    arguments = ["benchmark", "--data", str(tmp_path / "none"), "--output"]
    assert main([*arguments, str(tmp_path / "out")]) == 1
    assert "none" in capsys.readouterr().err
    assert main([*arguments, str(tmp_path)]) == 1
    assert "exists" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
