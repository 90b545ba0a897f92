"""Labeled maps around sinks, and the command that makes them from a folder."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable

from astrofractal.cli import main
from astrofractal.exceptions import AstrofractalWarning
from astrofractal.mapset import MapSet
from astrofractal.simulations import Snapshot, map_set, sink_maps

PC, MSUN = (1 * u.pc).to_value(u.cm), (1 * u.solMass).to_value(u.g)


def make(masses, *, name="cloud", time=1.0, n=3000):
    random = np.random.default_rng(5)
    sinks = QTable({"sink": np.arange(len(masses)) + 3, "mass": masses * u.solMass})
    for axis in "xyz":
        sinks[axis] = random.uniform(-0.1, 0.1, len(masses)) * u.pc
    return Snapshot(
        random.uniform(-1, 1, (n, 3)) * u.pc, np.ones(n) * 0.1 * u.solMass,
        random.normal(size=(n, 3)) * u.km / u.s, smoothing_lengths=np.full(n, 0.15) * u.pc,
        sinks=sinks, time=time * u.Myr, name=name,
    )  # fmt: skip


def test_sink_maps_are_labeled():
    snapshot = make([0.01, 1.0, 50.0, 2.0])
    maps = sink_maps(snapshot, lines_of_sight=["x", [1, 1, 0]], shape=(16, 16), depth=0.5 * u.pc)
    assert [(m.meta["sink"], m.meta["axis"]) for m in maps] == [
        ("4", "x"), ("4", "los1"), ("6", "x"), ("6", "los1"),
    ]  # fmt: skip
    assert maps[0].meta["mass"] == 1 * u.solMass
    assert maps[0].shape == (16, 16)
    assert u.isclose(maps[0].pixel_scale, 0.5 * u.pc / 16)
    assert len(sink_maps(snapshot, lines_of_sight="z", mass_range=None, shape=(8, 8))) == 4


def test_map_set_from_snapshots(tmp_path):
    snapshots = [make([0.5, 1.0], time=1.0), make([0.6, 1.2], time=1.1), make([3.0], name="other")]
    seen = []

    def bar(items, **options):
        seen.append(options["total"])
        return items

    maps = map_set(snapshots, shape=(16, 16), progress_bar=bar)
    assert seen == [3]
    assert len(maps) == 4 * 3 + 3
    assert set(maps.protostars) == {"cloud/3", "cloud/4", "other/3"}
    assert sorted(set(maps.times.value)) == [1.0, pytest.approx(1.1)]
    maps.write(tmp_path / "maps.fits")
    again = MapSet.read(tmp_path / "maps.fits")
    assert np.allclose(again.masses.value, maps.masses.value, rtol=1e-6)
    assert np.nanmax(np.abs(again.images - maps.images)) < 0.02
    assert again.axes.tolist() == maps.axes.tolist()


def test_snapshots_without_sinks():
    with pytest.warns(AstrofractalWarning, match="1 snapshots hold no sink"):
        maps = map_set([make([1.0]), make([])], shape=(8, 8), lines_of_sight="z")
    assert len(maps) == 1
    with pytest.raises(ValueError, match="there is no label"):
        map_set(make([]))


@pytest.fixture
def folder(tmp_path, writers):
    """Two Phantom dumps with two sinks."""
    pytest.importorskip("sarracen")
    random = np.random.default_rng(6)
    n = 2000
    run = tmp_path / "cloudA"
    run.mkdir()
    for number in (0, 1):
        writers.write_phantom(
            run / f"dump_0000{number}", random.uniform(-1, 1, (n, 3)), 0.1,
            random.normal(size=(n, 3)), np.full(n, 0.15), time=0.5 + number,
            sinks=([[0.1, 0, 0], [-0.1, 0.1, 0]], [1.0 + number, 0.3]),
            units=(PC, MSUN, PC / 1e5),
        )  # fmt: skip
    return run


def test_project_command(folder, tmp_path, capsys):
    output = tmp_path / "maps.fits"
    arguments = ["project", str(folder), "--output", str(output), "--pixels", "16"]
    assert main([*arguments, "--axes", "z", "1,1,0", "--depth", "0.5"]) == 0
    maps = MapSet.read(output)
    assert len(maps) == 2 * 2 * 2
    assert set(maps.protostars) == {"cloudA/0", "cloudA/1"}
    assert sorted(maps.masses.value)[-1] == pytest.approx(2)
    assert maps.meta["clouds"]["cloudA"]["DEPTH"] == 0.5
    assert "8 maps" in capsys.readouterr().out
    assert main(arguments) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main([*arguments, "--overwrite", "--temperature", "10"]) == 0
    assert len(MapSet.read(output)) == 2 * 2 * 3


def test_project_command_with_one_file(folder, tmp_path):
    output = tmp_path / "maps.fits"
    path = folder / "dump_00001"
    assert main(["project", str(path), "-o", str(output), "-q", "--axes", "z"]) == 0
    maps = MapSet.read(output)
    assert set(maps.protostars) == {"cloudA/0", "cloudA/1"}
    assert set(maps.clouds) == {"cloudA"}


def test_project_command_with_something_else(folder, tmp_path, capsys):
    path = folder / "notes.txt"
    path.write_text("nothing")
    assert main(["project", str(path), "-o", str(tmp_path / "maps.fits")]) == 1
    assert "notes.txt' is not a snapshot of a known code" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--axes", "1,b,0"], "--axes must be"),
        (["--axes", "w"], "line_of_sight must be"),
        (["--mass-range", "100", "200"], "there is no label"),
        (["--starforge", "reservoir"], "not supported for Phantom"),
        (["--starforge", "molecular"], "not supported for Phantom"),
    ],
)
def test_project_command_says_what_is_wrong(folder, tmp_path, capsys, arguments, message):
    output = tmp_path / "maps.fits"
    assert main(["project", str(folder), "-o", str(output), "-q", *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not output.exists()


def test_units_that_are_none_are_wrong_arguments(folder, tmp_path, capsys):
    with pytest.raises(SystemExit) as info:
        main(
            [
                "project",
                str(folder),
                "-o",
                str(tmp_path / "maps.fits"),
                "--units",
                "length=1furlong",
            ]
        )
    assert info.value.code == 2
    assert "--units" in capsys.readouterr().err


def test_project_command_with_an_empty_folder(tmp_path, capsys):
    assert main(["project", str(tmp_path), "-o", str(tmp_path / "maps.fits")]) == 1
    assert "no snapshot found" in capsys.readouterr().err
