import pytest

from astrofractal.cli import main

pytest.importorskip("numba")

_SMALL = ["fractals", "--size", "16", "--n-points", "500", "--n-images", "6"]


def test_folder_and_contact_sheet(tmp_path, capsys):
    from astrofractal.fractals import FlameStream, ShardedFlames

    folder, sheet = tmp_path / "flames", tmp_path / "sheet.png"
    command = [*_SMALL, "--output", str(folder)]
    assert main([*command, "--contact-sheet", str(sheet), "--seed", "3"]) == 0
    assert "6 images" in capsys.readouterr().out
    assert sheet.read_bytes().startswith(b"\x89PNG")
    flames = ShardedFlames(folder)
    assert abs(flames[5] - FlameStream(3, 16, 500)[5]).max() < 2e-3
    # The same command again has nothing to do; another seed is refused.
    written = (folder / "flames-000000.npy").stat().st_mtime_ns
    assert main([*command, "--seed", "3"]) == 0
    assert (folder / "flames-000000.npy").stat().st_mtime_ns == written
    capsys.readouterr()
    assert main([*command, "--seed", "4"]) == 1
    assert "seed must be 3" in capsys.readouterr().err


def test_errors(tmp_path, capsys):
    assert main(_SMALL) == 1
    assert "--output" in capsys.readouterr().err
    assert main([*_SMALL, "--size", "4", "--output", str(tmp_path / "a")]) == 1
    assert "size must be" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()
