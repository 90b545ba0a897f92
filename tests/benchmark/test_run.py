import json

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable

from astrofractal.benchmark import COLUMNS, Benchmark, run_benchmark
from astrofractal.benchmark.methods import Method, feature_methods
from tests.factories import make_mapset


@pytest.fixture(scope="module")
def maps():
    """Three clouds of six protostars, whose dispersion follows their mass."""
    return make_mapset(18)


@pytest.mark.filterwarnings("ignore::astrofractal.mass.NoSkillWarning")
def test_quick_run(tmp_path, maps, monkeypatch):
    # One cheap network, and no natural images: what is tested is the way through.
    from astrofractal.benchmark import run, studies

    some = ("default", "random ViT", "mean mass")
    monkeypatch.setattr(
        run,
        "feature_methods",
        lambda *args, **options: [
            m
            for m in feature_methods(*args, **options)
            if m.name == "default"
            or (
                m.regressor in ("ridge", "mean")
                and (
                    m.name in some or (m.name.startswith("hand-crafted") and not m.features.pooling)
                )
            )
        ],
    )
    monkeypatch.setattr(run, "_levels", lambda quick: [("beam", 4)])
    monkeypatch.setattr(studies, "_SIZES", (10,))
    monkeypatch.setattr(run, "natural_image_weights", lambda: None)
    benchmark = run_benchmark(maps, tmp_path / "out", weights="random", quick=True, minutes=0.02)
    scores = QTable.read(tmp_path / "out" / "scores.ecsv")
    assert scores.colnames == list(COLUMNS)
    assert set(scores["protocol"]) == {"leave-cloud-out"}
    methods = set(scores["method"])
    assert {"default", "random ViT", "hand-crafted", "virial mass"} <= methods
    assert {"aperture gas mass", "mean mass"} <= methods
    assert len(set(scores["channels"])) == 4
    assert scores["rmse"].unit == u.dex
    assert scores["fit_time"].unit == u.s
    best = scores[scores["method"] == "hand-crafted profiles"]["r2"].max()
    assert best > 0.5
    assert scores[scores["method"] == "mean mass"]["r2"][0] <= 0
    assert scores.meta["weights_id"] == "random-0"
    for name in ("predicted.png", "coverage.png", "degradation.png", "scores.rst"):
        assert (tmp_path / "out" / name).stat().st_size > 500
    assert "R\\ :sup:`2`" in (tmp_path / "out" / "scores.rst").read_text(encoding="utf-8")
    assert set(benchmark.degradation["matched"]) == {True, False}
    assert benchmark.notes["failed"] == []
    assert set(benchmark.learning["n_labels"]) == {10}
    assert {"fractal ViT", "random ViT"} <= set(benchmark.learning["method"])
    assert len(scores[scores["n_labels"] == 10]) == len(benchmark.learning)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with pytest.raises(FileExistsError, match="overwrite"):
        run_benchmark(maps, tmp_path / "out", weights="random", quick=True)


def test_nothing_is_written_after_an_error(tmp_path):
    with pytest.raises(ValueError, match="at least two clouds"):
        run_benchmark(make_mapset(6, n_clouds=1), tmp_path / "out", weights="random", quick=True)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_loses_nothing(tmp_path, maps, monkeypatch):
    from astrofractal.benchmark import run
    from astrofractal.mass import FeatureSet

    profiles = FeatureSet(pooling=None, profiles="all")

    def methods(*args, **options):
        return [
            Method("default", None, profiles, "ridge"),
            Method("broken", None, profiles, ("ridge", {"alphas": "no numbers"})),
            Method("mean mass", None, profiles, "mean"),
        ]

    def interrupted(self, *args):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "feature_methods", methods)
    monkeypatch.setattr(run, "natural_image_weights", lambda: None)
    monkeypatch.setattr(run.Benchmark, "_channel_rows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_benchmark(maps, tmp_path / "out", weights="random", quick=True)
    partial = tmp_path / "out.partial"
    rows = [json.loads(line) for line in (partial / "rows.jsonl").read_text().splitlines()]
    assert [row["method"] for row in rows] == ["default", "mean mass"]
    scores = QTable.read(partial / "scores.ecsv")
    assert "virial mass" in scores["method"]
    assert "broken" in scores.meta["failed"][0]


@pytest.mark.filterwarnings("ignore::astrofractal.mass.NoSkillWarning")
def test_symmetries(maps, monkeypatch):
    from astrofractal.benchmark.studies import symmetry_rows
    from astrofractal.benchmark.tables import symmetry_table

    small = Benchmark(maps[::3], weights="random")
    table = symmetry_table(symmetry_rows(small))
    assert set(table["n_views"]) == {1, 16}
    assert set(table["pooling"]) == {"central"}
    assert np.all(np.isfinite(table["r2"]))
