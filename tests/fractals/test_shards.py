import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba")

from astrofractal.fractals import FlameStream, ShardedFlames, write_shards

_OPTIONS = {"seed": 7, "size": 16, "n_points": 500}


def _files(folder):
    return {path.name: path.read_bytes() for path in Path(folder).glob("*.npy")}


@pytest.mark.parametrize("rendering", ["gas", "moments", "palette"])
def test_round_trip(tmp_path, rendering):
    stream = FlameStream(**_OPTIONS, rendering=rendering, n_images=10)
    flames = write_shards(tmp_path / "flames", stream, shard_size=4)
    assert len(flames) == 10
    assert sorted(_files(tmp_path / "flames")) == [f"flames-00000{i}.npy" for i in range(3)]
    copy = pickle.loads(pickle.dumps(flames))
    images = np.stack([stream[i] for i in range(10)])
    found, again = (np.stack([source[i] for i in range(10)]) for source in (flames, copy))
    assert found.dtype == again.dtype == np.float32
    np.testing.assert_allclose(found, images, atol=2e-3)
    np.testing.assert_allclose(again, images, atol=2e-3)
    with pytest.raises(IndexError, match="between 0 and 9, got 10"):
        flames[10]


def test_workers_make_the_same_files(tmp_path):
    stream = FlameStream(**_OPTIONS, n_images=10)
    write_shards(tmp_path / "one", stream, shard_size=3)
    write_shards(tmp_path / "two", stream, shard_size=3, n_workers=2)
    assert _files(tmp_path / "one") == _files(tmp_path / "two")


def test_killed_and_resumed(tmp_path):
    script = (
        "import sys; from astrofractal.fractals import FlameStream, write_shards; "
        f"write_shards(sys.argv[1], FlameStream(**{_OPTIONS}, n_images=4000), shard_size=20)"
    )
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    process = subprocess.Popen([sys.executable, "-c", script, tmp_path / "cut"], env=environment)
    deadline = time.monotonic() + 120
    while len(_files(tmp_path / "cut")) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cut").glob("*.npy")}
    with pytest.raises(ValueError, match="lacks .* run the command that wrote it again"):
        ShardedFlames(tmp_path / "cut")
    # A file that was cut short is made again; the others are kept.
    stream = FlameStream(**_OPTIONS, n_images=100)
    write_shards(tmp_path / "cut", stream, shard_size=20)
    write_shards(tmp_path / "whole", stream, shard_size=20)
    cut = _files(tmp_path / "cut")
    assert {name: cut[name] for name in _files(tmp_path / "whole")} == _files(tmp_path / "whole")
    assert before
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert not list((tmp_path / "cut").glob(".tmp-*"))


def test_a_longer_stream_adds(tmp_path):
    write_shards(tmp_path, FlameStream(**_OPTIONS, n_images=5), shard_size=4)
    first = (tmp_path / "flames-000000.npy").stat().st_mtime_ns
    flames = write_shards(tmp_path, FlameStream(**_OPTIONS, n_images=11), shard_size=4)
    assert len(flames) == 11
    assert (tmp_path / "flames-000000.npy").stat().st_mtime_ns == first
    np.testing.assert_allclose(flames[10], FlameStream(**_OPTIONS)[10], atol=2e-3)


def test_a_shorter_stream_throws_nothing_away(tmp_path):
    write_shards(tmp_path, FlameStream(**_OPTIONS, n_images=10), shard_size=3)
    before = _files(tmp_path)
    flames = write_shards(tmp_path, FlameStream(**_OPTIONS, n_images=5), shard_size=3)
    assert len(flames) == 10
    assert _files(tmp_path) == before
    # A folder that was to have more: its files stay for a longer stream.
    manifest = json.loads((tmp_path / "flames.json").read_text())
    (tmp_path / "flames.json").write_text(json.dumps({**manifest, "n_images": 100}))
    (tmp_path / "flames-000001.npy").unlink()
    times = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.npy")}
    flames = write_shards(tmp_path, FlameStream(**_OPTIONS, n_images=5), shard_size=3)
    assert len(flames) == 5
    assert len(write_shards(tmp_path, FlameStream(**_OPTIONS, n_images=10), shard_size=3)) == 10
    assert _files(tmp_path) == before
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in times} == times


def test_second_writer_is_refused_until_the_first_is_dead(tmp_path):
    script = (
        "import sys; from astrofractal.fractals import FlameStream, write_shards; "
        f"write_shards(sys.argv[1], FlameStream(**{_OPTIONS}, n_images=100_000), shard_size=1)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen([sys.executable, "-c", script, tmp_path], env=environment)
    stream = FlameStream(**_OPTIONS, n_images=2)
    try:
        deadline = time.monotonic() + 120
        while not _files(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.01)
        with pytest.raises(BlockingIOError, match=f"is being written by process {process.pid} on"):
            write_shards(tmp_path, stream, shard_size=1)
    finally:
        process.kill()
        process.wait()
    assert len(write_shards(tmp_path, stream, shard_size=1)) == 2
    assert not list(tmp_path.glob(".tmp-*"))


def test_damaged_files(tmp_path):
    stream = FlameStream(**_OPTIONS, n_images=8)
    write_shards(tmp_path, stream, shard_size=4)
    path = tmp_path / "flames-000001.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(ValueError, match="lacks images .*flames-000001.npy"):
        ShardedFlames(tmp_path)
    write_shards(tmp_path, stream, shard_size=4)
    assert path.read_bytes() == whole


def test_other_settings_are_refused(tmp_path):
    write_shards(tmp_path, FlameStream(**_OPTIONS, n_images=2), shard_size=2)
    other = FlameStream(**{**_OPTIONS, "seed": 8}, n_images=2)
    with pytest.raises(ValueError, match="seed must be 7 to continue the flames in .* got 8"):
        write_shards(tmp_path, other, shard_size=2)
    with pytest.raises(ValueError, match="shard_size must be 2"):
        write_shards(tmp_path, FlameStream(**_OPTIONS, n_images=2), shard_size=3)


def test_not_a_folder_of_flames(tmp_path):
    with pytest.raises(FileNotFoundError):
        ShardedFlames(tmp_path)
    (tmp_path / "flames.json").write_text("{}")
    with pytest.raises(ValueError, match="is not a manifest of flames"):
        ShardedFlames(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="must be a folder"):
        write_shards(tmp_path / "file", FlameStream(**_OPTIONS, n_images=2))


def test_works_as_a_torch_dataset(tmp_path):
    torch = pytest.importorskip("torch")
    flames = write_shards(tmp_path, FlameStream(**_OPTIONS, n_images=4), shard_size=4)
    batch = next(iter(torch.utils.data.DataLoader(flames, batch_size=4)))
    assert batch.shape == (4, 3, 16, 16)
    assert batch.dtype == torch.float32
