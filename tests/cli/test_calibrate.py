"""The command ``astrofractal calibrate``."""

import pytest

from astrofractal import StellarMassEstimator
from astrofractal.cli import main
from tests.factories import make_mapset


@pytest.fixture
def maps(tmp_path):
    path = tmp_path / "maps.fits"
    make_mapset(6).write(path)
    return path


@pytest.mark.filterwarnings("ignore::astrofractal.mass.NoSkillWarning")
def test_calibration_is_kept(maps, tmp_path, capsys):
    path = tmp_path / "my.astrofractal"
    arguments = ["calibrate", str(maps), "--weights", "random", "--regressor", "ridge"]
    assert main([*arguments, "--output", str(path)]) == 0
    assert "clouds left out" in capsys.readouterr().out
    assert StellarMassEstimator.load(path).calibrations_


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "maps.fits"], "--output 'maps.fits' exists: add --overwrite"),
        (["--output", "maps.fits/my.astrofractal"], "cannot be written"),
    ],
)
def test_errors(maps, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(maps.parent)
    assert main(["calibrate", "maps.fits", *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.filterwarnings("ignore::astrofractal.mass.NoSkillWarning")
def test_a_telescope_is_matched(maps, tmp_path, capsys):
    path = tmp_path / "matched.astrofractal"
    arguments = ["calibrate", str(maps), "--output", str(path), "--quiet", "--weights", "random"]
    telescope = ["--telescope", "beam=20 arcsec", "distance=140 pc", "noise=0.1"]
    assert main([*arguments, *telescope]) == 0
    assert set(StellarMassEstimator.load(path).choice_) == {"features", "r2_protostar"}
    for wrong in ("speed=3", "beam=wide"):
        with pytest.raises(SystemExit) as info:
            main([*arguments, "--overwrite", "--telescope", wrong])
        assert info.value.code == 2
        assert "--telescope" in capsys.readouterr().err
