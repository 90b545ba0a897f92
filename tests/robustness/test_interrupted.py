"""A full disk or a kill -9 leaves the former file or the new one, whole, and a sentence."""

import errno
import os
import signal
import subprocess
import time
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from astropy.io import fits
from numpy.testing import assert_array_equal
from regions import Regions

from astrofractal import FeatureSegmenter, FractalEncoder, GasMap, StellarMassEstimator
from astrofractal._utils.atomic import atomic_path
from astrofractal._utils.tables import read_table
from astrofractal.catalogs import write_catalog, write_regions
from astrofractal.encoder import load_weights
from astrofractal.mapset import MapSet
from astrofractal.mass import FeatureSet
from astrofractal.surveys import LazyMap, survey_segment, write_zarr
from tests.factories import make_column, make_gas, make_mapset
from tests.robustness.cases import THOROUGH
from tests.segmentation.conftest import PatchMeans

NAMES = (
    "map.fits", "maps.fits", "a.astrofractal", "a.safetensors", "table.ecsv", "table.vot", "table.reg",
    "map.zarr", "segments",
)  # fmt: skip


def make_map(shape):
    column = make_column(shape, [(shape[1] / 2, shape[0] / 2, 1e23, 5)], roughness=0.3)
    return make_gas(column, np.zeros(shape), column / 1e23)


def make_writers():
    """Return for each kind of file a function that writes it, and one that reads it whole."""
    gas, maps = make_map((160, 160)), make_mapset(24, n_maps=1)
    features = FeatureSet(pooling=None, profiles=True)
    estimator = StellarMassEstimator(features=features, regressor="ridge")
    estimator.fit(maps, channels=[gas.channels])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = estimator.catalog(gas, [(80.0, 80.0)] * 3)
    encoder = FractalEncoder(weights="random", device="cpu")
    segments = FeatureSegmenter(2, encoder=PatchMeans()).segment(gas)
    writers = (
        (lambda p: gas.write(p, overwrite=True), GasMap.read),
        (lambda p: maps.write(p, overwrite=True), MapSet.read),
        (lambda p: estimator.save(p, overwrite=True), StellarMassEstimator.load),
        (encoder.save, load_weights),
        (lambda p: write_catalog(table, p, overwrite=True), read_table),
        (lambda p: write_catalog(table, p, overwrite=True), read_table),
        (lambda p: write_regions(table, p, overwrite=True), Path.read_text),
        (lambda p: write_zarr(gas, p, overwrite=True), lambda p: check_zarr(p, gas)),
        (lambda p: segments.write(p, overwrite=True), lambda p: check_segments(p, segments)),
    )
    return dict(zip(NAMES, writers, strict=True))


def check_zarr(path, gas):
    read = LazyMap.open_zarr(path).read(*(slice(0, n) for n in gas.shape))
    for name in gas.channels:
        assert_array_equal(getattr(read, name), getattr(gas, name).astype(np.float32))


def check_segments(path, segments):
    with fits.open(path / "labels.fits") as labels, fits.open(path / "components.fits") as parts:
        assert_array_equal(labels["LABELS"].data, segments.labels.data)
        assert_array_equal(parts["COMPONENTS"].data, segments.components.data)
    for name in ("segments", "islands", "correlations"):
        read_table(path / f"{name}.ecsv")
    assert len(Regions.read(path / "regions.reg"))
    assert plt.imread(path / "overview.png").size


def content(path):
    """Return the bytes of a file, or those of all files in a folder."""
    if path.is_file():
        return path.read_bytes()
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def state(path):
    """Return what changes when a file is replaced."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


@pytest.fixture(scope="module")
def writers():
    return make_writers()


@pytest.fixture
def mount(tmp_path):
    """Return a function that mounts a file system of some size, which can be filled."""
    mounted = []

    def mount(size):
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(tmp_path)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no small file system can be mounted here ({error})")
        mounted.append(tmp_path)
        return tmp_path

    yield mount
    for path in mounted:
        subprocess.run(["umount", "-l", str(path)], check=True)


def fill(folder):
    """Leave no space; return the file that takes it."""
    path = folder / "filler"
    for size in (1 << 20, 1 << 12):
        with pytest.raises(OSError, match="No space"), path.open("ab", buffering=0) as file:
            while file.write(bytes(size)):
                pass
    return path


@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk(writers, mount, name):
    folder, (write, read) = mount("32m"), writers[name]
    path = folder / name
    write(path)
    before = content(path)
    filler = fill(folder)
    with pytest.raises(OSError, match="no space is left on the disk for") as info:
        write(path)
    assert info.value.errno == errno.ENOSPC
    written = Path(info.value.filename)
    written = written.parent if name == "segments" else written  # one of the files in the folder
    assert written.stem == path.stem
    assert content(path) == before
    assert not list(folder.glob(".tmp-*"))
    filler.unlink()
    write(path)
    read(path)


def test_a_disk_that_is_full_before_the_labels_are_written(mount):
    """The labels of a survey go through a memory map: where the disk is full, that kills."""
    segmenter = FeatureSegmenter(2, encoder=PatchMeans())
    gas = make_map((160, 160))
    segmenter.fit([gas])
    folder = mount("48k")
    with pytest.raises(OSError, match="no space is left on the disk for.*fits"):
        survey_segment(segmenter, [gas], output=folder / "run")
    assert not list(folder.rglob("labels/*"))


def write_without_end(writers, folder, names):
    """Start a process that writes files again and again; return its number."""
    process = os.fork()
    while not process:
        try:
            for name in names:
                writers[name][0](folder / name)
        except BaseException:  # never back into the tests that this process is a copy of
            os._exit(1)
    return process


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_killed_writers(writers, tmp_path):
    for name, (write, _) in writers.items():
        write(tmp_path / name)
    rng = np.random.default_rng(0)
    n_leftovers, seen = 0, {}
    for _ in range(100 if THOROUGH else 12):
        process = write_without_end(writers, tmp_path, rng.permutation(NAMES))
        time.sleep(rng.uniform(0, 0.3))
        os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        assert os.WIFSIGNALED(status), "a writer failed"
        n_leftovers += len(list(tmp_path.glob(".tmp-*")))
        for name, (_, read) in writers.items():
            if seen.get(name) != state(tmp_path / name):
                read(tmp_path / name)
                seen[name] = state(tmp_path / name)
    assert n_leftovers, "no writer was killed while it wrote"
    for name, (write, _) in writers.items():
        write(tmp_path / name)
    assert not list(tmp_path.glob(".tmp-*"))  # the next writer removes them


def test_what_others_write_now_is_left_alone(writers, tmp_path):
    write, _ = writers["map.fits"]
    with atomic_path(tmp_path / "other.txt") as temporary:
        temporary.write_text("half")
        write(tmp_path / "map.fits")
        assert temporary.read_text() == "half"
    assert (tmp_path / "other.txt").read_text() == "half"
