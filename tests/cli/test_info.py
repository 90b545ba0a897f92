import json

from astrofractal import __version__
from astrofractal.cli import main


def test_info(capsys):
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert f"astrofractal {__version__}" in out
    assert "example_cloud.fits" in out
    assert "images_seen" in out  # the card of the bundled weights


def test_info_json(capsys):
    assert main(["info", "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert info["packages"]["numpy"]
    assert info["data"]["example_cloud.fits"] > 0
    assert all(card["sha256"] for card in info["weights"].values())
