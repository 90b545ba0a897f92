"""The command ``astrofractal segment``."""

from contextlib import suppress

import pytest
from astropy.io import fits

from astrofractal.cli import main
from tests.factories import make_column, make_header

pytestmark = pytest.mark.usefixtures("few_views")


@pytest.fixture
def cloud(tmp_path):
    column = make_column((70, 70), [(20, 40, 5e22, 7)])
    path = tmp_path / "cloud.fits"
    fits.writeto(path, column, make_header(column.shape, step=0.0015))
    return path


def arguments(cloud, *more):
    return ["segment", str(cloud), "--distance", "300", "-n", "3", "--weights", "random", *more]


def test_writes_everything(cloud, tmp_path, capsys):
    output, page = tmp_path / "result", tmp_path / "page.html"
    assert main(arguments(cloud, "--output", str(output), "--report", str(page))) == 0
    assert "3 segments, from thin to dense gas" in page.read_text(encoding="utf-8")
    assert sorted(path.name for path in output.iterdir()) == [
        "components.fits", "correlations.ecsv", "islands.ecsv", "labels.fits", "map.fits",
        "overview.png", "regions.crtf", "regions.reg", "segments.ecsv",
    ]  # fmt: skip
    shown = capsys.readouterr()
    assert "gas_mass" in shown.out
    assert "labels.fits" in shown.out


def test_does_not_replace_unasked(cloud, tmp_path, capsys):
    output = tmp_path / "result"
    output.mkdir()
    (output / "notes.txt").write_text("mine")
    assert main(arguments(cloud, "--output", str(output))) == 1
    assert "add --overwrite" in capsys.readouterr().err
    assert [path.name for path in output.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--min-area", "3 furlong2x"], "--min-area: must be a number with a unit"),
        (["--min-area", "2 beam"], "needs the beam"),
        (["-n", "six"], "--n-segments must be 'auto' or an integer from 1 to 64, got 'six'"),
        (["-n", "1000"], "--n-segments must be 'auto' or an integer from 1 to 64, got 1000"),
        (["--background", "1 km"], "--background: must be in a unit such as in '2e21 cm-2'"),
        (["--background", "1e30"], "leaves no gas in the map"),
        (["--unit", "km/s"], "km"),
        (["--velocity", "nowhere.fits"], "nowhere.fits"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(cloud, tmp_path, capsys, more, words):
    output = tmp_path / "result"
    with suppress(SystemExit):  # from what is wrong by itself
        assert main(arguments(cloud, "--output", str(output), "--quiet", *more)) == 1
    err = capsys.readouterr().err.strip()
    assert words in err
    assert err.count("\n") == 0
    assert not output.exists()
