from astrofractal import __version__
from astrofractal.cli import main
from astrofractal.data import data_path


def test_info(capsys):
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert f"astrofractal {__version__}" in out
    assert "example_cloud.fits" in out
    assert "images_seen" in out  # the card of the bundled weights


def test_info_of_a_map(capsys):
    assert main(["info", str(data_path("example_cloud.fits")), "--distance", "300"]) == 0
    out = capsys.readouterr().out
    assert "<GasMap" in out
    assert "R2 = " in out
    assert "factor of" in out
