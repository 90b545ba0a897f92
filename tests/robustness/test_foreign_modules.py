"""Files of the current folder are data: none of them is imported, here or in workers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import astrofractal

_NAMES = ("argparse", "csv", "json", "numpy", "pickle", "random", "struct", "tempfile", "torch")


@pytest.fixture
def folder(tmp_path):
    """A folder with modules that leave a trace when they are imported."""
    folder = tmp_path / "downloads"
    folder.mkdir()
    for name in _NAMES:
        text = f"open({str(tmp_path / 'traces')!r}, 'a').write('{name} ')\nraise ImportError\n"
        (folder / f"{name}.py").write_text(text)
    return folder


def run(folder, *arguments):
    """Return the modules of the folder that were imported."""
    environment = {**os.environ, "PYTHONPATH": str(Path(astrofractal.__file__).parents[1])}
    environment.pop("PYTHONSAFEPATH", None)
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    traces = folder.parent / "traces"
    return done, traces.read_text() if traces.exists() else ""


def test_the_trap_works(folder):
    done, traces = run(folder, "-c", "import csv")
    assert done.returncode != 0
    assert traces == "csv "


def test_the_command(folder):
    done, traces = run(folder, "-m", "astrofractal", "mass", "cloud.fits")
    assert traces == ""
    assert done.stderr == "astrofractal: error: no such file or folder: 'cloud.fits'\n"


def test_spawned_workers(folder, tmp_path):
    pytest.importorskip("numba")
    script = tmp_path / "script.py"
    script.write_text(
        "from astrofractal.fractals import FlameStream, write_shards\n"
        "if __name__ == '__main__':\n"
        "    stream = FlameStream(0, 16, 200, n_images=4)\n"
        "    print(len(write_shards('../flames', stream, shard_size=2, n_workers=2)))\n"
    )
    done, traces = run(folder, script)
    assert traces == ""
    assert done.stdout == "4\n", done.stderr
