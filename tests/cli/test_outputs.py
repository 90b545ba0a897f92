"""What cannot be written is refused before any work, by every command that writes."""

import os

import pytest

from astrofractal.cli import main

FOLDERS = {
    "segment": ["segment", "{map}", "--output"],
    "demo": ["demo", "--output"],
    "fractals": ["fractals", "--output"],
    "benchmark": ["benchmark", "{map}", "--output"],
    "pretrain": ["pretrain", "--output"],
}
FILES = {
    "calibrate": ["calibrate", "{map}", "--output"],
    "project": ["project", "{map}", "--output"],
    "fractals": ["fractals", "--contact-sheet"],
    "pretrain": ["pretrain", "--export", "{map}", "--output"],
    "segment": ["segment", "{map}", "--report"],
}


def run(command, path, tmp_path, capsys):
    """Run a command whose input does not exist, so that any work would end in another error."""
    words = [word.format(map=tmp_path / "none.fits") for word in command]
    assert main([*words, str(path)]) == 1
    error = capsys.readouterr().err.strip()
    assert error.count("\n") == 0
    return error


@pytest.mark.parametrize("command", FOLDERS.values(), ids=FOLDERS)
def test_folders(command, tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("mine")
    assert "--output must be a folder" in run(command, file, tmp_path, capsys)
    error = run(command, file / "out", tmp_path, capsys)
    assert error.endswith("cannot be written: '" + str(file) + "' is not a folder")
    assert file.read_text() == "mine"


@pytest.mark.parametrize("command", FILES.values(), ids=FILES)
def test_files(command, tmp_path, capsys):
    option = command[-1]
    file = tmp_path / "file.html"
    file.write_text("mine")
    assert f"{option} {str(file)!r} exists: add --overwrite" in run(command, file, tmp_path, capsys)
    below = file / "out.html"
    assert f"{option} {str(below)!r} cannot be written" in run(command, below, tmp_path, capsys)
    folder = tmp_path / "folder.html"
    folder.mkdir()
    error = run([*command[:-1], "--overwrite", option], folder, tmp_path, capsys)
    assert f"{option} must be a file" in error
    assert file.read_text() == "mine"


@pytest.mark.parametrize("command", [FOLDERS["segment"], FOLDERS["fractals"]])
def test_no_permission(command, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    assert "no permission in" in run(command, tmp_path / "out", tmp_path, capsys)
