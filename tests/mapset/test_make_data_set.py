"""The folder for Zenodo and the Hub: all maps are in it, whole clouds are held out, sums are right."""

import hashlib
import json
import runpy
from pathlib import Path

import pytest
from numpy.testing import assert_array_equal

from astrofractal.mapset import MapSet
from tests.factories import make_mapset

SCRIPT = Path(__file__).parents[2] / "docs" / "scripts" / "make_data_set.py"

pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="the source tree is not here")


def run(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["make_data_set.py", *map(str, arguments)])
    runpy.run_path(str(SCRIPT), run_name="__main__")


def test_the_folder(tmp_path, monkeypatch, capsys):
    maps = make_mapset(18, n_maps=2, size=16)
    maps.write(tmp_path / "maps.fits")
    folder = tmp_path / "set"
    run(monkeypatch, tmp_path / "maps.fits", folder, "--creator", "Doe, Jo", "--about", "Toys.")
    assert "36 maps" in capsys.readouterr().out
    parts = {part: MapSet.read(folder / part) for part in ("train", "validation", "test")}
    clouds = [set(part.clouds.tolist()) for part in parts.values()]
    assert set.union(*clouds) == set(maps.clouds.tolist())
    assert sum(len(names) for names in clouds) == len(set(maps.clouds.tolist()))
    for part in parts.values():
        own = MapSet.concatenate([maps[maps.clouds == c] for c in dict.fromkeys(part.clouds)])
        assert_array_equal(part.protostars, own.protostars)
        difference = abs(part.images - own.images).max(axis=(0, 2, 3))
        # half a step of the files (0.01 dex, 0.02 km/s; a finer one would double the bundled maps);
        # velocities are relative to a mean, which rounding moves as well
        assert (difference < [0.0051, 0.012, 0.0101]).all()
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    card = (folder / "README.md").read_text()
    assert card.startswith("---\npretty_name: ")
    assert "Toys." in card
    assert json.loads((folder / ".zenodo.json").read_text())["creators"] == [{"name": "Doe, Jo"}]
    with pytest.raises(SystemExit):
        run(monkeypatch, tmp_path / "maps.fits", folder)


def test_parts_that_do_not_fit(tmp_path, monkeypatch):
    make_mapset(18, n_maps=1, size=16).write(tmp_path / "maps.fits")
    with pytest.raises(SystemExit, match="must name different clouds"):
        run(monkeypatch, tmp_path / "maps.fits", tmp_path / "set", "--test", "nowhere")
