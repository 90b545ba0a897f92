"""A full disk or a kill -9 leaves the former file or the new one, whole, and a sentence."""

import errno
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

import astrofractal
from astrofractal import FeatureSegmenter, FractalEncoder, GasMap, StellarMassEstimator
from astrofractal._utils.tables import read_table
from astrofractal.encoder import load_weights
from astrofractal.mapset import MapSet
from astrofractal.mass import FeatureSet, write_catalog, write_regions
from astrofractal.surveys import survey_segment
from tests.factories import make_column, make_gas, make_mapset
from tests.robustness.cases import THOROUGH

NAMES = (
    "map.fits", "maps.fits", "a.astrofractal", "a.safetensors", "table.ecsv", "table.vot", "table.reg",
)  # fmt: skip


def make_map(shape):
    column = make_column(shape, [(shape[1] / 2, shape[0] / 2, 1e23, 5)], roughness=0.3)
    return make_gas(column, np.zeros(shape), column / 1e23)


def make_writers():
    """Return for each kind of file a function that writes it, and one that reads it whole."""
    gas, maps = make_map((160, 160)), make_mapset(24, n_maps=1)
    features = FeatureSet(pooling=None, profiles="all")
    estimator = StellarMassEstimator(features=features, regressor="ridge")
    estimator.fit(maps, channels=[gas.channels])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = estimator.catalog(gas, [(80.0, 80.0)] * 3)
    encoder = FractalEncoder(weights="random", device="cpu")
    writers = (
        (lambda p: gas.write(p, overwrite=True), GasMap.read),
        (lambda p: maps.write(p, overwrite=True), MapSet.read),
        (lambda p: estimator.save(p, overwrite=True), StellarMassEstimator.load),
        (encoder.save, load_weights),
        (lambda p: write_catalog(table, p, overwrite=True), read_table),
        (lambda p: write_catalog(table, p, overwrite=True), read_table),
        (lambda p: write_regions(table, p, overwrite=True), Path.read_text),
    )
    return dict(zip(NAMES, writers, strict=True))


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
    before = path.read_bytes()
    filler = fill(folder)
    with pytest.raises(OSError, match="no space is left on the disk for") as info:
        write(path)
    assert info.value.errno == errno.ENOSPC
    assert Path(info.value.filename).stem == path.stem
    assert path.read_bytes() == before
    assert not list(folder.glob(".tmp-*"))
    filler.unlink()
    write(path)
    read(path)


def test_a_disk_that_is_full_before_the_labels_are_written(mount):
    """The labels of a survey go through a memory map: where the disk is full, that kills."""
    encoder = FractalEncoder(weights="random", device="cpu")
    segmenter = FeatureSegmenter(2, encoder=encoder, stride=8, n_components=4, pixel_scale=None)
    gas = make_map((160, 160))
    segmenter.fit([gas])
    folder = mount("48k")
    with pytest.raises(OSError, match="no space is left on the disk for.*fits"):
        survey_segment(segmenter, [gas], output=folder / "run")
    assert not list(folder.rglob("labels/*"))


def serve(folder):
    """Start a process that writes all files again and again, whenever a line is read."""
    import torch

    torch.set_num_threads(1)
    writers = make_writers()
    for name, (write, _) in writers.items():
        write(folder / name)
    print("ready", flush=True)
    for _ in sys.stdin:
        process = os.fork()
        while not process:
            for name, (write, _) in writers.items():
                write(folder / name)
        print(process, flush=True)
        os.waitpid(process, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_killed_writers(writers, tmp_path):
    root = Path(astrofractal.__file__).parents[1]
    code = (
        "import pathlib, sys, types; tests = types.ModuleType('tests');"
        "tests.__path__ = [sys.argv[1]]; sys.modules['tests'] = tests;"
        "from tests.robustness.test_interrupted import serve; serve(pathlib.Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parents[1]), str(tmp_path)]
    rng = np.random.default_rng(0)
    n_leftovers = 0
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as server:
        assert server.stdout.readline() == "ready\n"
        for _ in range(100 if THOROUGH else 12):
            server.stdin.write("write\n")
            server.stdin.flush()
            process = int(server.stdout.readline())
            time.sleep(rng.uniform(0, 0.3))
            os.kill(process, signal.SIGKILL)
            n_leftovers = len(list(tmp_path.glob(".tmp-*")))
            for name, (_, read) in writers.items():
                read(tmp_path / name)
        server.stdin.close()
    assert n_leftovers, "no writer was killed while it wrote"
    for name, (write, _) in writers.items():
        write(tmp_path / name)
