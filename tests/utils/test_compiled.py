"""Numba's cache is where only the user can write."""

import os
import subprocess
import sys

import pytest

from astrofractal._utils.compiled import cache_folder

pytest.importorskip("numba")

CODE = """
from astrofractal._utils.compiled import njit

@njit(nogil=True)
def twice(x):
    return 2 * x

print(twice(21))
"""


def run(folder, **environ):
    (folder / "code.py").write_text(CODE)
    environ = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"} | environ
    done = subprocess.run(
        [sys.executable, "code.py"],
        cwd=folder,
        env=environ | {"PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "42\n"


def test_folder_is_the_users_own(tmp_path, monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "astrofractal").mkdir()
    folder = cache_folder()
    assert folder == tmp_path / "astrofractal" / "numba"
    assert folder.stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(folder))
    assert cache_folder() == folder


@pytest.mark.parametrize(("mode", "inside"), [(0o777, "."), (0o770, "."), (0o777, "sub/folder")])
def test_folder_of_all_is_not_used(tmp_path, monkeypatch, mode, inside):
    """Neither is one within it, which others could replace."""
    tmp_path.chmod(mode)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / inside))
    assert cache_folder() is None


def test_no_folder_no_cache(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file"))
    assert cache_folder() is None
    run(tmp_path, XDG_CACHE_HOME=str(tmp_path / "file"), HOME=str(tmp_path / "file"))


def test_the_current_folder_is_not_asked(tmp_path):
    """A configuration of numba that lies in the current folder does not move the cache there."""
    (tmp_path / ".numba_config.yaml").write_text(f"cache_dir: {tmp_path / 'planted'}\n")
    (tmp_path / "mine" / "astrofractal").mkdir(parents=True)
    run(tmp_path, XDG_CACHE_HOME=str(tmp_path / "mine"))
    assert not (tmp_path / "planted").exists()
    assert not (tmp_path / "__pycache__").exists()
    assert list((tmp_path / "mine" / "astrofractal" / "numba").rglob("*.nbi"))
