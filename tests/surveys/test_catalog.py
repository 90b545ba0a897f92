"""Catalogs of many maps and of tiled maps: the same numbers on one machine and on two workers."""

import os
import sys
import time
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.nddata import NDData
from astropy.table import QTable, Table, vstack

from astrofractal import FractalEncoder, GasMap, StellarMassEstimator
from astrofractal.catalogs import write_hats
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
def expected(estimator, files):
    """The catalog of the files, made here."""
    return survey_catalog(estimator, files, "center")


@pytest.fixture(scope="module")
def whole(estimator, big):
    """The catalog of the large map in one piece."""
    return estimator.catalog(big)


def compare(found, expected):
    """Compare two catalogs."""
    assert len(found) == len(expected)
    for name in ("x", "y", "mass", "mass_lower", "mass_upper", "ood_score"):
        a, b = (u.Quantity(t[name]).value for t in (found, expected))
        assert np.allclose(a, b, rtol=1e-4, atol=1e-6, equal_nan=True), name
    assert u.allclose(found["position"].ra, expected["position"].ra)
    assert found["flags"].tolist() == expected["flags"].tolist()
    assert [str(i) for i in found["id"]] == [str(i) for i in expected["id"]]


def test_files_and_folder(estimator, files, expected):
    assert expected["map"].tolist() == [f"core{k}" for k in range(5)]
    masses = [
        estimator.catalog(GasMap.read(files / f"core{k}.fits"), [[31.5, 31.5]])["mass"][0]
        for k in range(5)
    ]
    assert u.allclose(expected["mass"], u.Quantity(masses), rtol=1e-5)
    some = survey_catalog(
        estimator, [files / "core3.fits", make_map(seed=1)], {"core3": [[20, 20], [40, 30]]}
    )
    assert some["map"].tolist()[:2] == ["core3", "core3"]
    assert set(some["map"]) == {"core3", "map00001"}


def test_tiles_of_a_dask_map_give_the_catalog_of_the_whole(estimator, big, whole):
    dask_array = pytest.importorskip("dask.array")
    lazy = LazyMap(
        dask_array.from_array(big.column_density.value, chunks=100),
        dask_array.from_array(big.velocity.value, chunks=100),
        dask_array.from_array(big.dispersion.value, chunks=100),
        wcs=big.wcs, distance=DISTANCE,
    )  # fmt: skip
    found = survey_catalog(estimator, lazy, tile_shape=(128, 150))
    assert len(found) > 5
    compare(found, whole)
    few = survey_catalog(estimator, lazy, tile_shape=(128, 150), max_sources=3)
    compare(few, whole[:3])
    sky = big.to_sky([30, 200, 149.5], [250, 20, 127.6])
    compare(survey_catalog(estimator, lazy, sky), estimator.catalog(big, sky))
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


def test_two_workers_give_the_same(estimator, files, big, client, tmp_path, expected, whole):
    there = survey_catalog(estimator, files, "center", client=client, output=tmp_path / "run")
    compare(there, expected)
    assert there["map"].tolist() == expected["map"].tolist()
    write_zarr(big, tmp_path / "plane.zarr")
    tiled = survey_catalog(estimator, tmp_path / "plane.zarr", client=client, tile_shape=(128, 150))
    compare(tiled, whole)


@pytest.fixture
def by_value():
    """Send the classes of this module to workers, which do not see the tests."""
    cloudpickle = pytest.importorskip("cloudpickle")
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


class Deadly:
    """An estimator whose first task, in all processes together, ends its worker at once."""

    def __init__(self, estimator, marker):
        self.estimator, self.marker = estimator, marker

    @property
    def meta(self):
        return self.estimator.meta

    def fingerprint(self):
        return self.estimator.fingerprint()

    def catalog(self, *arguments, **options):
        try:
            self.marker.touch(exist_ok=False)
        except FileExistsError:
            return self.estimator.catalog(*arguments, **options)
        os._exit(1)


@pytest.mark.filterwarnings("ignore")
def test_loss_of_a_worker(estimator, files, client, by_value, tmp_path, expected):
    deadly = Deadly(estimator, tmp_path / "marker")
    table = survey_catalog(deadly, files, "center", client=client)
    assert (tmp_path / "marker").exists()  # a worker died
    compare(table, expected)


class Counting(Deadly):
    """An estimator that counts, and fails after some maps."""

    def __init__(self, estimator, after):
        self.estimator, self.after, self.calls = estimator, after, 0

    def catalog(self, *arguments, **options):
        self.calls += 1
        if self.calls > self.after:
            raise KeyboardInterrupt
        return self.estimator.catalog(*arguments, **options)


def test_resume(estimator, files, tmp_path, expected):
    first = Counting(estimator, 3)
    with pytest.raises(KeyboardInterrupt):
        survey_catalog(first, files, "center", output=tmp_path / "run")
    kept = sorted(p.name for p in (tmp_path / "run" / "tiles").iterdir())
    assert kept == ["core0.ecsv", "core1.ecsv", "core2.ecsv"]
    second = Counting(estimator, 99)
    table = survey_catalog(second, files, "center", output=tmp_path / "run")
    assert second.calls == 2
    compare(table, expected)
    again = QTable.read(tmp_path / "run" / "catalog.ecsv")
    compare(again, table)
    # a touched file is not worked on again, a changed one is; other settings are refused
    os.utime(files / "core1.fits", (1, 1))
    third = Counting(estimator, 99)
    survey_catalog(third, files, "center", output=tmp_path / "run")
    assert third.calls == 0
    with pytest.raises(ValueError, match="level=0.68, not 0.9"):
        survey_catalog(estimator, files, "center", output=tmp_path / "run", level=0.9)
    fourth = Counting(estimator, 99)
    survey_catalog(fourth, files, "center", output=tmp_path / "run", level=0.9, resume=False)
    assert fourth.calls == 5
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(ValueError, match="neither empty nor a survey"):
        survey_catalog(estimator, files, "center", output=tmp_path / "other")


def test_hats(estimator, files, tmp_path):
    pytest.importorskip("hats_import", reason="needs the extra hats")
    from hats import read_hats
    from hats.io.validation import is_valid_catalog
    from pyarrow import parquet

    path = tmp_path / "cores.hats"
    table = survey_catalog(estimator, files, "center")
    write_hats(table, path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations within hats
        assert is_valid_catalog(path, strict=True, verbose=False)
        assert read_hats(path).catalog_info.total_rows == len(table)
        parts = (path / "dataset").rglob("Npix=*.parquet")
        found = vstack([Table.from_pandas(parquet.read_table(part).to_pandas()) for part in parts])
    found.sort("map")
    assert found["map"].tolist() == table["map"].tolist()
    for name, column in (
        ("ra", table["position"].ra.deg),
        ("dec", table["position"].dec.deg),
        ("mass", table["mass"].to_value(u.solMass)),
        ("mass_upper", table["mass_upper"].to_value(u.solMass)),
    ):
        assert np.allclose(found[name].astype(float), np.asarray(column), rtol=1e-12), name
    schema = parquet.read_schema(path / "dataset" / "_common_metadata")
    assert schema.field("mass").metadata[b"unit"] == b"solMass"
    assert schema.field("mass").metadata[b"ucd"] == b"phys.mass"
    assert f"astrofractal_fingerprint={estimator.fingerprint()}" in (
        path / "hats.properties"
    ).read_text(encoding="utf-8")
    assert [p.name for p in tmp_path.iterdir()] == ["cores.hats"]
    table["position"] = SkyCoord(table["position"].ra + [0, 0, 0, 0, np.nan] * u.deg,
                                 table["position"].dec)  # fmt: skip
    with pytest.warns(AstrofractalWarning, match="1 rows without a position"):
        write_hats(table, path, overwrite=True)
    assert "hats_nrows=4" in (path / "hats.properties").read_text(encoding="utf-8")


def test_what_hats_cannot_hold(tmp_path, monkeypatch):
    table = QTable({"id": [1], "mass": [1] * u.solMass})
    with pytest.raises(ValueError, match="needs positions on the sky"):
        write_hats(table, tmp_path / "none.hats")
    (tmp_path / "mine.hats").mkdir()
    with pytest.raises(FileExistsError, match="not a catalog in HATS"):
        write_hats(table, tmp_path / "mine.hats", overwrite=True)
    monkeypatch.setitem(sys.modules, "hats_import", None)
    table["position"] = SkyCoord([52], [31], unit="deg")
    with pytest.raises(ImportError, match=r"astrofractal\[hats\]"):
        write_hats(table, tmp_path / "new.hats")


def test_a_bad_file_does_not_stop_the_survey(estimator, files, tmp_path):
    bad = tmp_path / "bad.fits"
    bad.write_text("nothing")
    with pytest.warns(AstrofractalWarning, match="1 of 2 tiles could not be used, e.g. bad"):
        table = survey_catalog(estimator, [bad, files / "core0.fits"], "center")
    assert table["map"].tolist() == ["core0"]
    assert list(table.meta["failed"]) == ["bad"]
    with pytest.raises(ValueError, match="none of 1 maps could be used"):
        survey_catalog(estimator, [bad], "center")


def test_a_damaged_group_does_not_stop_the_survey(estimator, tmp_path):
    pytest.importorskip("zarr")
    paths = [tmp_path / f"{name}.zarr" for name in ("one", "chunk", "metadata")]
    for path in paths:
        write_zarr(make_map(), path)
    chunk = next(p for p in paths[1].rglob("c/*/*") if p.is_file())
    chunk.write_bytes(chunk.read_bytes()[:40])
    (paths[2] / "velocity" / "zarr.json").write_text("{")
    with pytest.warns(AstrofractalWarning, match="2 of 3 tiles could not be used"):
        table = survey_catalog(estimator, paths, "center")
    assert table["map"].tolist() == ["one"]
    failed = table.meta["failed"]
    assert "chunk.zarr" in failed["chunk__y000000_x000000"]
    assert "metadata.zarr" in failed["metadata"]


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[: len(data) // 2]])
def test_a_damaged_folder(estimator, files, tmp_path, damage):
    maps = sorted(files.iterdir())[:2]
    expected, _ = run(estimator, maps, "center", tmp_path)
    path = tmp_path / "tiles" / "core1.ecsv"
    path.write_bytes(damage(path.read_bytes()))
    table, calls = run(estimator, maps, "center", tmp_path)
    assert calls == 1  # the damaged tile is made again
    compare(table, expected)
    path = tmp_path / "survey.json"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"survey.json': it is not JSON"):
        survey_catalog(estimator, maps, "center", output=tmp_path)


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


def run(estimator, maps, positions, folder, **options):
    """Catalog, and tell how many maps were worked on."""
    counting = Counting(estimator, 999)
    table = survey_catalog(counting, maps, positions, output=folder, **options)
    return table, counting.calls


def test_another_map_in_memory_is_another_input(estimator, tmp_path):
    maps = [make_map(seed=k) for k in (50, 51)]
    _, calls = run(estimator, maps, "center", tmp_path)
    assert calls == 2
    _, calls = run(estimator, [make_map(seed=50), maps[1]], "center", tmp_path)
    assert calls == 0  # equal content
    maps[1] = make_map(seed=52)
    table, calls = run(estimator, maps, "center", tmp_path)
    assert calls == 1
    compare(table, survey_catalog(estimator, maps, "center"))


def test_a_rewritten_file_is_another_input_at_any_date(estimator, tmp_path):
    path = tmp_path / "core.fits"
    make_map(seed=1).write(path)
    date = path.stat().st_mtime_ns
    run(estimator, [path], "center", tmp_path / "run")
    make_map(seed=2).write(path, overwrite=True)
    os.utime(path, ns=(date, date))
    table, calls = run(estimator, [path], "center", tmp_path / "run")
    assert calls == 1
    compare(table, survey_catalog(estimator, [path], "center"))


def test_a_rewritten_zarr_group_is_another_input(estimator, tmp_path):
    pytest.importorskip("zarr")
    path, positions = tmp_path / "plane.zarr", [[40.0, 50.0], [150.0, 60.0]]
    write_zarr(make_map((100, 200), seed=1), path)
    options = {"tile_shape": (100, 100)}
    _, calls = run(estimator, path, positions, tmp_path / "run", **options)
    assert calls == 2
    _, calls = run(estimator, path, positions, tmp_path / "run", **options)
    assert calls == 0
    gas = make_map((100, 200), seed=2)
    write_zarr(gas, path, overwrite=True)
    table, calls = run(estimator, path, positions, tmp_path / "run", **options)
    assert calls == 2
    compare(table, estimator.catalog(gas, positions))


def test_positions_are_known_by_their_place_on_the_sky(estimator, tmp_path):
    gas = make_map((100, 100), seed=3)
    icrs = gas.to_sky([40.0], [60.0])
    _, calls = run(estimator, [gas], icrs, tmp_path)
    assert calls == 1
    _, calls = run(estimator, [gas], SkyCoord(icrs.ra, icrs.dec), tmp_path)
    assert calls == 0
    fk4 = SkyCoord(icrs.ra, icrs.dec, frame="fk4")  # the same numbers in another frame
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table, calls = run(estimator, [gas], fk4, tmp_path)
    assert calls == 1
    assert len(table) == 0 or not u.allclose(table["position"].ra, icrs.ra)


def test_one_map_with_other_positions_is_worked_on_again(estimator, files, tmp_path):
    maps = sorted(files.iterdir())[:2]
    run(estimator, maps, {"core0": "center", "core1": [[30, 30]]}, tmp_path)
    _, calls = run(estimator, maps, {"core0": "center", "core1": [[20, 30]]}, tmp_path)
    assert calls == 1


def test_another_estimator_does_not_return_the_masses_of_the_first(estimator, files, tmp_path):
    survey_catalog(estimator, files, "center", output=tmp_path)
    random = np.random.default_rng(1)
    maps = [make_map(seed=k) for k in range(24)]  # the same reference maps, another regressor
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = StellarMassEstimator(
            estimator.encoder, regressor="knn",
            features=FeatureSet("central", zoom=1, symmetrize=False),
        ).fit(maps, 10 ** random.normal(size=24) * u.solMass)  # fmt: skip
    with pytest.raises(ValueError, match="made with another StellarMassEstimator"):
        survey_catalog(other, files, "center", output=tmp_path)


def test_more_files_than_are_sent_at_once(estimator, files, client, expected):
    bad = files.parent / "bad.fits"
    bad.write_text("nothing")
    many = 4 * sorted(files.iterdir()) + [bad]
    with pytest.warns(AstrofractalWarning, match="1 of 21 tiles"):
        there = survey_catalog(estimator, many, "center", client=client)
    compare(there, vstack(4 * [expected]))


class Patient(Deadly):
    """An estimator that leaves the number of its process, and waits for that of another one."""

    def catalog(self, *arguments, **options):
        (self.marker / f"{os.getpid()}").touch()
        end = time.monotonic() + 120
        while len(list(self.marker.iterdir())) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        return self.estimator.catalog(*arguments, **options)


@pytest.mark.filterwarnings("ignore")
def test_one_worker_that_is_lost_and_one_that_joins_later(
    estimator, files, by_value, tmp_path, expected
):
    distributed = pytest.importorskip("distributed")
    (tmp_path / "seen").mkdir()
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        deadly = Deadly(estimator, tmp_path / "marker")
        table = survey_catalog(deadly, files, "center", client=client)
        assert (tmp_path / "marker").exists()
        compare(table, expected)
        cluster.scale(2)
        patient = Patient(estimator, tmp_path / "seen")
        compare(survey_catalog(patient, files, "center", client=client), expected)
    assert len(list((tmp_path / "seen").iterdir())) == 2
