"""Studies of the package's choices: what can be true of their tables on maps of known content."""

from functools import partial

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable, Table
from numpy.testing import assert_allclose

from astrofractal import FeatureSegmenter
from astrofractal.benchmark import (
    FeatureStore,
    Method,
    Scorer,
    make_protocol,
    run_study,
    segments,
    telescopes,
)
from astrofractal.benchmark.methods import HAND_MADE, HAND_MADE_FEATURES
from astrofractal.benchmark.supervised import SUPERVISED, Scratch
from astrofractal.mass.weights import scores
from tests.factories import make_column, make_gas, make_mapset


@pytest.fixture(scope="module")
def maps():
    return make_mapset(24, n_maps=2)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    """A file of a cloud of three cores, with its dense gas and a protostar in each."""
    cores = [(30, 30, 4e22, 5), (64, 48, 3e22, 6), (48, 68, 2e22, 4)]
    column = make_column((96, 96), cores, background=1e21, roughness=0.02)
    rng = np.random.default_rng(0)
    velocity = 0.1 * rng.standard_normal(column.shape) + np.linspace(0, 1, 96)
    gas = make_gas(column, velocity, 0.3 + 1e-23 * column)
    path = tmp_path_factory.mktemp("fields") / "cloud0_z.fits"
    gas.write(path)
    places = gas.to_sky(*np.transpose([core[:2] for core in cores]))
    table = Table({"ra": places.ra, "dec": places.dec})
    with fits.open(path, mode="append") as hdus:
        hdus.append(fits.ImageHDU(np.where(column > 1e22, column, 0), name="DENSE_COLUMN"))
        hdus.append(fits.BinTableHDU(table, name="SINKS"))
    return path


def test_options_of_another_study_are_refused(tmp_path, maps):
    with pytest.raises(ValueError, match="seeds must not be given with the study 'weights', which"):
        run_study("weights", maps, tmp_path, seeds=(1,))
    with pytest.raises(ValueError, match="study must be one of 'clouds', 'paper', "):
        run_study("weight", maps, tmp_path)
    (tmp_path / "flames.ecsv").touch()
    with pytest.raises(FileExistsError, match="overwrite is False"):
        run_study("weights", maps, tmp_path)


def test_defaults(tmp_path, maps, cache):
    run_study("defaults", maps, tmp_path, weights="random", quick=True, features_cache=cache)
    table = QTable.read(tmp_path / "defaults.ecsv")
    assert len(table) == 5 * 6 + 1
    assert table["n_chosen"].sum() == 3  # clouds
    # Candidates are scored as the benchmark scores methods.
    few = maps.limit(1)
    method = Method("own", HAND_MADE_FEATURES, "kernel_ridge", weight_exponent=0.6)
    own = Scorer(few, FeatureStore({})).evaluate(method, make_protocol("leave-cloud-out", few))
    expected = scores(few.log_masses, own.log_mass, few.protostars, few.represents)
    same = table["features"] == HAND_MADE
    same &= (table["regressor"] == "kernel_ridge") & (table["weight_exponent"] == 0.6)
    assert_allclose(table["r2_protostar"][same], expected["r2_protostar"], atol=1e-5)
    assert_allclose(table["r2"][same], expected["r2"], atol=1e-5)
    # The choice is made without the cloud: it is no better than the best candidate.
    candidates, nested = table[:-1], table[-1]
    assert nested["features"] == "nested"
    assert nested["r2_protostar"] + nested["r2"] < max(
        candidates["r2_protostar"] + candidates["r2"]
    )
    paired = QTable.read(tmp_path / "defaults_paired.ecsv")
    assert paired["cloud"].tolist() == ["all", "cloud0", "cloud1", "cloud2"]
    assert paired["r2_protostar_err"][0] > 0


def test_weights(tmp_path, maps, cache):
    options = {"weights": ["random"], "features_cache": cache, "n_per_protostar": 1}
    journal = run_study("weights", maps, tmp_path, parts=["clean", "sn10"], **options)
    table = QTable.read(tmp_path / "flames.ecsv")
    assert table["weights"].tolist() == ["hand-made", "random"]
    for part in ("clean", "sn10"):
        r2, lead = table[f"r2_{part}"], table[f"lead_{part}"]
        assert_allclose(lead, r2 - r2[0], atol=2e-5)
        assert table[f"lead_{part}_err"][0] == 0
        assert table[f"lead_{part}_err"][1] > 0
        assert np.isnan(table[f"tokens_{part}"][0])
    assert table["r2_clean"][0] > table["r2_sn10"][0]
    assert np.isnan(table["rank"][0])
    assert 1 < table["rank"][1] < 40
    files = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    again = run_study("weights", maps, tmp_path, parts=["clean"], overwrite=True, **options)
    assert (
        again.tables["flames"]["r2_clean"].tolist() == journal.tables["flames"]["r2_clean"].tolist()
    )
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == files
    with pytest.raises(ValueError, match="parts must be one of 'clean', 'sn10'"):
        run_study("weights", maps, tmp_path / "new", parts=["beam9"])


def test_telescopes(tmp_path, cloud, monkeypatch):
    monkeypatch.setattr(telescopes, "reference_maps", lambda: make_mapset(30, n_maps=2))
    run_study("telescopes", [], tmp_path, parts=["4"], quick=True)
    path = tmp_path / "telescopes.csv"
    before = path.read_text(encoding="utf-8").splitlines()
    assert before[0].startswith(
        "channels,beam_px,signal_to_noise,position_error_px,largest_scale_pc"
    )
    assert before[1].startswith("Nvs,1,10,0,0,0.0078,11.5,5.4,3.6,contrasts + profiles,")
    assert before[1].endswith(",nan")
    # Other rows stay as they are, and all are in the order of the study.
    run_study("telescopes", [cloud], tmp_path, parts=[0], quick=True, overwrite=True)
    after = path.read_text(encoding="utf-8").splitlines()
    assert after[0] == before[0]
    assert after[2] == before[1]
    row = dict(zip(after[0].split(","), after[1].split(",")))
    assert (row["beam_px"], row["signal_to_noise"]) == ("0", "30")
    assert 0 <= float(row["ood"]) <= 1
    assert 0 < float(row["r2_protostar"]) < 1
    with pytest.raises(ValueError, match="parts must be one of 0, 1, "):
        run_study("telescopes", [], tmp_path / "new", parts=["99"])


def test_segments(tmp_path, cloud, monkeypatch):
    few = partial(FeatureSegmenter, n_views=1)
    monkeypatch.setattr(segments, "FeatureSegmenter", few)
    real = tmp_path / "real.fits"
    with fits.open(cloud) as hdus:
        hdus[:-2].writeto(real)
    out = tmp_path / "out"
    journal = run_study("segments", [cloud, real], out, weights="random")
    missing = {failure.partition(",")[0] for failure in journal.failed}
    assert missing <= {"astrodendro", "FilFinder"}
    table = Table.read(out / "segments.csv")
    assert table.colnames == [
        "Method", "log N", "v", "log sigma", "AMI dense gas", "AMI ridges",
        "Protostars above area", "ARI, S/N 10",
    ]  # fmt: skip
    assert len(table) == 9 - len(missing)
    rows = {row["Method"]: row for row in table}
    own, other = rows["random weights: tokens alone"], rows["fractal weights: tokens alone"]
    assert list(own)[1:] == list(other)[1:]  # both are random
    levels = rows["levels of log N"]
    assert levels["log N"] > 0.9
    assert levels["log N"] == max(table["log N"])
    assert levels["v"] < rows["k-means of pixels"]["v"]
    found = Table.read(out / "segments_real.csv")
    assert found["Map"].tolist() == ["real"]
    assert found.colnames[1:] == ["Seed", "Turned 90", "Turned 180", "Cut", "Distance + 3 %"]
    assert all(0.5 < value <= 1 for value in list(found[0])[1:])
    with fits.open(out / "cloud0_z_segments.fits") as hdus:
        assert hdus[1].header["TITLE"] == "column density"
        assert hdus[2].data.shape == (96, 96)
        assert [hdu.header["TITLE"] for hdu in hdus[2:]] == list(rows)
    with fits.open(out / "real_segments.fits") as hdus:
        assert hdus[2].data.max() > 0


def test_networks(tmp_path, maps, monkeypatch):
    short = Scratch("cnn", zoom=1.0, size=24, learning_rate=5e-3, n_views=1, max_epochs=1)
    monkeypatch.setitem(SUPERVISED, "short", short)
    with pytest.raises(FileNotFoundError, match=r"must have the predictions\.ecsv"):
        run_study("networks", maps, tmp_path)
    rng = np.random.default_rng(0)
    default = maps.log_masses + 0.2 * rng.standard_normal(len(maps))
    table = Table({"cloud": maps.clouds, "log_mass": default, "method": ["default"] * len(maps)})
    table["row"] = 0
    for name in np.unique(maps.clouds):
        own = maps.clouds == name
        table["row"][own] = np.arange(own.sum())
    table.write(tmp_path / "predictions.ecsv")
    options = {"networks": ["short"], "overwrite": True}
    run_study("networks", maps, tmp_path, seeds=(0, 1), parts=["cloud1"], **options)
    stored = Table.read(tmp_path / "supervised.ecsv")
    assert len(stored) == 2 * (maps.clouds == "cloud1").sum()
    [row] = QTable.read(tmp_path / "supervised_scores.ecsv")
    assert (row["n_clouds"], row["n_seeds"], row["weight_exponent"]) == (1, 2, 1.0)
    own = maps.clouds == "cloud1"
    r2 = []
    for seed in (0, 1):
        predicted = stored["log_mass"][stored["seed"] == seed]
        r2.append(scores(maps.log_masses[own], predicted, maps.protostars[own])["r2_protostar"])
    reference = scores(maps.log_masses[own], default[own], maps.protostars[own])["r2_protostar"]
    assert_allclose(row["r2_protostar"], np.mean(r2), atol=1e-5)
    assert_allclose(row["r2_protostar_scatter"], np.std(r2, ddof=1), atol=1e-5)
    assert_allclose(row["less_default_r2_protostar"], np.mean(r2) - reference, atol=2e-5)
    # Only what lacks is trained: nothing here, and without networks nothing at all.
    again = run_study("networks", maps, tmp_path, overwrite=True)
    assert again.tables["supervised_scores"]["r2"].tolist() == [row["r2"]]
    assert len(Table.read(tmp_path / "supervised.ecsv")) == len(stored)
