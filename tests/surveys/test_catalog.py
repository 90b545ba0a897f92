"""Catalogs of many maps and of tiled maps: the same numbers on one machine and on two workers."""

import os
import sys
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import NDData
from astropy.table import QTable

from astrofractal import FractalEncoder, GasMap, StellarMassEstimator
from astrofractal.exceptions import AstrofractalWarning
from astrofractal.mass import FeatureSet
from astrofractal.surveys import LazyMap, survey_catalog, write_zarr
from tests.factories import make_column, make_gas

DISTANCE = 300 * u.pc
CM2 = u.cm**-2

pytestmark = pytest.mark.filterwarnings("ignore::astrofractal.mass.NoSkillWarning")


def make_map(shape=(64, 64), *, seed=0, n_peaks=1):
    """A map with Gaussian cores on a turbulent plane."""
    random = np.random.default_rng(seed)
    cores = []
    for k in range(n_peaks):
        center = random.uniform(10, shape[1] - 10), random.uniform(10, shape[0] - 10)
        if n_peaks == 1:
            center = (shape[1] - 1) / 2, (shape[0] - 1) / 2
        cores.append((*center, 5e22 * (1 + 0.1 * k), random.uniform(2, 5)))
    column = make_column(shape, cores, roughness=0.1, seed=seed)
    return make_gas(column, random.normal(0, 0.2, shape), 0.3 + 0.1 * random.random(shape))


@pytest.fixture(scope="module")
def estimator():
    """A small estimator of its own: what is tested is not how well it weighs."""
    random = np.random.default_rng(1)
    maps = [make_map(seed=k) for k in range(24)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return StellarMassEstimator(
            FractalEncoder(weights="random", device="cpu"), regressor="ridge",
            features=FeatureSet("central", zoom=1, symmetrize=False),
        ).fit(maps, 10 ** random.normal(size=24) * u.solMass)  # fmt: skip


@pytest.fixture(scope="module")
def big():
    return make_map((300, 420), seed=5, n_peaks=25)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cutouts")
    for k in range(5):
        make_map(seed=k).write(folder / f"core{k}.fits")
    return folder


@pytest.fixture(scope="module")
def client():
    """Two workers with one thread each."""
    distributed = pytest.importorskip("distributed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cluster = distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None,
            silence_logs=50,
        )  # fmt: skip
        client = distributed.Client(cluster)
        yield client
        client.close()
        cluster.close()


def compare(found, expected):
    """Compare two catalogs."""
    assert len(found) == len(expected)
    for name in ("x", "y", "mass", "mass_lower", "mass_upper", "ood_score"):
        a, b = (u.Quantity(t[name]).value for t in (found, expected))
        assert np.allclose(a, b, rtol=1e-4, atol=1e-6, equal_nan=True), name
    assert u.allclose(found["ra"], expected["ra"])
    assert found["flags"].tolist() == expected["flags"].tolist()
    assert [str(i) for i in found["id"]] == [str(i) for i in expected["id"]]


def test_files_and_folder(estimator, files):
    table = survey_catalog(estimator, files, "center")
    assert table["map"].tolist() == [f"core{k}" for k in range(5)]
    expected = [
        estimator.catalog(GasMap.read(files / f"core{k}.fits"), [[31.5, 31.5]])["mass"][0]
        for k in range(5)
    ]
    assert u.allclose(table["mass"], u.Quantity(expected), rtol=1e-5)
    some = survey_catalog(
        estimator, [files / "core3.fits", make_map(seed=1)], {"core3": [[20, 20], [40, 30]]}
    )
    assert some["map"].tolist()[:2] == ["core3", "core3"]
    assert set(some["map"]) == {"core3", "map00001"}


def test_tiles_of_a_dask_map_give_the_catalog_of_the_whole(estimator, big):
    dask_array = pytest.importorskip("dask.array")
    expected = estimator.catalog(big)
    lazy = LazyMap(
        dask_array.from_array(big.column_density.value, chunks=100),
        dask_array.from_array(big.velocity.value, chunks=100),
        dask_array.from_array(big.dispersion.value, chunks=100),
        wcs=big.wcs, distance=DISTANCE,
    )  # fmt: skip
    found = survey_catalog(estimator, lazy, tile_shape=(128, 150))
    assert len(found) > 5
    compare(found, expected)
    few = survey_catalog(estimator, lazy, tile_shape=(128, 150), max_sources=3)
    compare(few, expected[:3])
    sky = survey_catalog(estimator, lazy, big.to_sky([30, 200, 149.5], [250, 20, 127.6]))
    whole = estimator.catalog(big, big.to_sky([30, 200, 149.5], [250, 20, 127.6]))
    compare(sky, whole)
    nddata = NDData(
        dask_array.from_array(big.column_density.value, chunks=100), unit=CM2, wcs=big.wcs
    )
    column = GasMap(big.column_density, wcs=big.wcs, distance=DISTANCE)
    compare(
        survey_catalog(estimator, nddata, distance=DISTANCE, tile_shape=(128, 150)),
        estimator.catalog(column),
    )


def test_zarr_map(estimator, big, tmp_path):
    pytest.importorskip("zarr")
    write_zarr(big, tmp_path / "plane.zarr", chunks=(64, 64))
    names = QTable({"name": ["a", "b"], "x": [200.0, 60.0], "y": [20.0, 200.0]})
    found = survey_catalog(estimator, tmp_path / "plane.zarr", names, tile_shape=(128, 150))
    assert found["map"].tolist() == ["plane"] * 2
    compare(found, estimator.catalog(big, names))


def test_two_workers_give_the_same(estimator, files, big, client, tmp_path):
    here = survey_catalog(estimator, files, "center")
    there = survey_catalog(estimator, files, "center", client=client, output=tmp_path / "run")
    compare(there, here)
    assert there["map"].tolist() == here["map"].tolist()
    write_zarr(big, tmp_path / "plane.zarr")
    tiled = survey_catalog(estimator, tmp_path / "plane.zarr", client=client, tile_shape=(128, 150))
    compare(tiled, estimator.catalog(big))


class Deadly:
    """An estimator whose first task, in all processes together, ends its worker at once."""

    def __init__(self, estimator, marker):
        self.estimator, self.marker = estimator, marker

    @property
    def meta(self):
        return self.estimator.meta

    def catalog(self, *arguments, **options):
        try:
            self.marker.touch(exist_ok=False)
        except FileExistsError:
            return self.estimator.catalog(*arguments, **options)
        os._exit(1)


@pytest.mark.filterwarnings("ignore")
def test_loss_of_a_worker(estimator, files, client, tmp_path):
    cloudpickle = pytest.importorskip("cloudpickle")
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers do not see the tests
    try:
        deadly = Deadly(estimator, tmp_path / "marker")
        table = survey_catalog(deadly, files, "center", client=client)
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    assert (tmp_path / "marker").exists()  # a worker died
    compare(table, survey_catalog(estimator, files, "center"))


class Counting(Deadly):
    """An estimator that counts, and fails after some maps."""

    def __init__(self, estimator, after):
        self.estimator, self.after, self.calls = estimator, after, 0

    def catalog(self, *arguments, **options):
        self.calls += 1
        if self.calls > self.after:
            raise KeyboardInterrupt
        return self.estimator.catalog(*arguments, **options)


def test_resume(estimator, files, tmp_path):
    first = Counting(estimator, 3)
    with pytest.raises(KeyboardInterrupt):
        survey_catalog(first, files, "center", output=tmp_path / "run")
    kept = sorted(p.name for p in (tmp_path / "run" / "tiles").iterdir())
    assert kept == ["core0.ecsv", "core1.ecsv", "core2.ecsv"]
    second = Counting(estimator, 99)
    table = survey_catalog(second, files, "center", output=tmp_path / "run")
    assert second.calls == 2
    compare(table, survey_catalog(estimator, files, "center"))
    again = QTable.read(tmp_path / "run" / "catalog.ecsv")
    compare(again, table)
    # a changed file is worked on again, and other settings are refused
    os.utime(files / "core1.fits", (1, 1))
    third = Counting(estimator, 99)
    survey_catalog(third, files, "center", output=tmp_path / "run")
    assert third.calls == 1
    with pytest.raises(ValueError, match="level=0.68, not 0.9"):
        survey_catalog(estimator, files, "center", output=tmp_path / "run", level=0.9)
    fourth = Counting(estimator, 99)
    survey_catalog(fourth, files, "center", output=tmp_path / "run", level=0.9, resume=False)
    assert fourth.calls == 5
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(ValueError, match="neither empty nor a survey"):
        survey_catalog(estimator, files, "center", output=tmp_path / "other")


def test_a_bad_file_does_not_stop_the_survey(estimator, files, tmp_path):
    bad = tmp_path / "bad.fits"
    bad.write_text("nothing")
    with pytest.warns(AstrofractalWarning, match="1 of 2 tiles could not be used, e.g. bad"):
        table = survey_catalog(estimator, [bad, files / "core0.fits"], "center")
    assert table["map"].tolist() == ["core0"]
    assert list(table.meta["failed"]) == ["bad"]
    with pytest.raises(ValueError, match="none of 1 maps could be used"):
        survey_catalog(estimator, [bad], "center")


def test_nothing_found_is_an_empty_table(estimator, files):
    with pytest.warns(AstrofractalWarning, match="lower threshold"):
        table = survey_catalog(estimator, files, threshold=1e25 * CM2)
    assert len(table) == 0


def test_wrong_input_is_named(estimator, big):
    lazy = LazyMap(big.column_density.value, wcs=big.wcs, distance=DISTANCE)
    with pytest.raises(ValueError, match="threshold must be a column density"):
        survey_catalog(estimator, lazy, threshold=5)
    with pytest.raises(ValueError, match="needs a WCS and a distance"):
        survey_catalog(estimator, LazyMap(big.column_density.value, wcs=big.wcs))
    with pytest.raises(ValueError, match="positions names maps"):
        survey_catalog(estimator, [big], {"other": "center"})
    with pytest.raises(ValueError, match="at least one map"):
        survey_catalog(estimator, [])
    with pytest.raises(ValueError, match="must be 2D"):
        LazyMap(np.zeros(3))
    with pytest.raises(ValueError, match="one shape"):
        LazyMap(np.zeros((3, 3)), np.zeros((3, 4)))


def test_small_files_go_to_workers_several_at_a_time(estimator, files, client):
    from astrofractal.surveys._runner import _batches

    keys = [f"k{n}" for n in range(40)]
    batches = list(_batches(keys, set(keys[:33]), 2))
    assert [len(batch) for batch in batches] == [4] * 8 + [1] * 7 + [1]
    assert sorted(key for batch in batches for key in batch) == sorted(keys)
    assert max(map(len, _batches(keys * 99, set(keys), 1))) == 16
    assert [len(batch) for batch in _batches(keys[:5], set(keys), 8)] == [1] * 5
    bad = files.parent / "bad.fits"
    bad.write_text("nothing")
    many = 4 * sorted(files.iterdir()) + [bad]  # 21 files in lists of two
    with pytest.warns(AstrofractalWarning, match="1 of 21 tiles"):
        there = survey_catalog(estimator, many, "center", client=client)
    with pytest.warns(AstrofractalWarning, match="1 of 21 tiles"):
        compare(there, survey_catalog(estimator, many, "center"))


def test_the_estimator_is_sent_once(estimator, files, client, monkeypatch):
    """Not again while all workers hold it, but again to a worker that has lost it."""
    from astrofractal.surveys import _plugin

    sent = []
    register = type(client).register_plugin

    def count(self, plugin, **options):
        sent.append(plugin.digest)
        return register(self, plugin, **options)

    def forget():
        from astrofractal.surveys import _plugin

        _plugin._held.clear()

    monkeypatch.setattr(type(client), "register_plugin", count)
    expected = survey_catalog(estimator, files, "center")
    for _ in range(2):
        compare(survey_catalog(estimator, 4 * sorted(files.iterdir()), "center", client=client)[:5],
                expected)  # fmt: skip
    assert len(sent) <= 1
    sent.clear()
    client.run(forget)
    compare(survey_catalog(estimator, files, "center", client=client), expected)
    assert len(sent) == 1
    # a worker that loses it after it has been asked
    client.run(forget)
    monkeypatch.setattr(_plugin, "holds_tool", bool)
    compare(survey_catalog(estimator, files, "center", client=client), expected)
    assert len(sent) == 2
