"""Damaged Zarr groups: a map, or one error that names the group; addresses are not opened."""

import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrofractal.surveys import LazyMap, write_zarr
from tests.factories import make_column, make_gas
from tests.robustness.cases import cases, enter
from tests.robustness.mutations import apply, byte_changes, json_changes

pytest.importorskip("zarr")

PLACES = ("zarr.json", "column_density/zarr.json", "velocity/zarr.json")


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("zarr") / "sound.zarr"
    column = make_column((24, 30), [(12, 12, 1e22, 4)])
    write_zarr(make_gas(column, 0 * column), path, chunks=(12, 30))
    return path


@pytest.fixture
def damaged(sound):
    path = sound.with_name("damaged.zarr")
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(sound, path)
    return path


def read(path):
    gas = LazyMap.open_zarr(path)
    return gas.read(slice(0, min(gas.shape[0], 24)), slice(0, min(gas.shape[1], 30)))


@cases(150)
@given(place=st.sampled_from(PLACES), steps=st.lists(json_changes, min_size=1, max_size=3))
def test_changed_metadata(sound, place, steps):
    path = sound.with_name("changed.zarr")
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(sound, path)
    metadata = apply(json.loads((path / place).read_text()), steps)
    (path / place).write_text(json.dumps(metadata))
    enter(read, path)


@cases(100)
@given(number=st.integers(0, 6), steps=st.lists(byte_changes, min_size=1, max_size=3))
def test_damaged_files(sound, number, steps):
    path = sound.with_name("changed.zarr")
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(sound, path)
    files = sorted(p for p in path.rglob("*") if p.is_file())
    file = files[number % len(files)]
    file.write_bytes(apply(file.read_bytes(), steps))
    enter(read, path)


@pytest.mark.parametrize(
    "address", ["http://localhost:1/a.zarr", "s3://bucket/a.zarr", "none.zarr"]
)
def test_addresses_are_not_opened(address):
    with pytest.raises(FileNotFoundError, match=r"must be a folder \(addresses are not opened\)"):
        LazyMap.open_zarr(address)


def change(path, **values):
    metadata = json.loads(path.read_text())
    path.write_text(json.dumps(metadata | values))


def test_a_chunk_that_needs_too_much_memory(damaged):
    chunks = {"name": "regular", "configuration": {"chunk_shape": [10**6, 10**6]}}
    change(damaged / "column_density" / "zarr.json", chunk_grid=chunks)
    with pytest.raises(OSError, match=r"damaged.zarr.*a chunk of column_density takes"):
        read(damaged)


def test_a_map_of_too_many_tiles(damaged):
    change(damaged / "column_density" / "zarr.json", shape=[10**12, 10])
    with pytest.raises(ValueError, match=r"damaged.zarr.*must have at most"):
        read(damaged)
