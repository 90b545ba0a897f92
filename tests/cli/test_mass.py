import re

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable
from scipy.stats import gmean

from astrofractal import StellarMassEstimator
from astrofractal.cli import main
from astrofractal.mapset import MapSet
from astrofractal.mass import FeatureSet, NoSkillWarning
from tests.factories import make_header, make_mapset

pytestmark = pytest.mark.filterwarnings("ignore::astrofractal.mass.NoSkillWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A calibration, a map set and a map of a field with two peaks."""
    folder = tmp_path_factory.mktemp("mass")
    maps = make_mapset(18)
    maps[:6].write(folder / "maps.fits")
    estimator = StellarMassEstimator(
        features=FeatureSet(pooling=None, profiles=True), regressor="ridge"
    )
    estimator.fit(maps).save(folder / "my.astrofractal")
    y, x = np.mgrid[:128, :160]
    column = np.full((128, 160), 3e21)
    for px, py in ((50, 60), (120, 70)):
        column += 1e23 * np.exp(-np.hypot(x - px, y - py) / 8)
    hdu = fits.PrimaryHDU(column.astype(">f4"), make_header(column.shape))
    hdu.writeto(folder / "cloud.fits")
    return folder


def run(folder, *arguments):
    calibration = ["--calibration", str(folder / "my.astrofractal"), "--quiet"]
    return main(["mass", *map(str, arguments), *calibration])


def test_catalog(folder, tmp_path):
    output, regions = tmp_path / "masses.ecsv", tmp_path / "masses.reg"
    arguments = [folder / "cloud.fits", "--distance", 300, "--output", output]
    assert run(folder, *arguments, "--regions", regions) == 0
    table = QTable.read(output)
    assert len(table) == 2
    assert table["mass"].unit == u.solMass
    assert "no-velocity" in table["flags"][0]
    assert regions.read_text().count("circle") == 2
    assert run(folder, *arguments) == 1


def test_report(folder, tmp_path, capsys):
    page = tmp_path / "page.html"
    arguments = [folder / "cloud.fits", "--distance", 300, "--report", page]
    assert run(folder, *arguments) == 0
    text = page.read_text(encoding="utf-8")
    assert f"--report {page}" in text
    assert "Masses of 2 protostars" in text
    assert text.count("<img") == 3  # protostars, intervals, the one channel
    assert "Why these masses" not in text
    assert run(folder, *arguments, "--explain", "--overwrite") == 0
    text = page.read_text(encoding="utf-8")
    assert "Why these masses" in text
    assert text.count("<img") == 5
    assert run(folder, *arguments[:-2], "--explain") == 1
    assert "--explain needs --report" in capsys.readouterr().err
    assert run(folder, "nowhere.fits", "--report", page) == 1  # refused before the map is opened
    assert "--report" in capsys.readouterr().err
    with pytest.raises(SystemExit) as info:
        run(folder, "nowhere.fits", "--report", tmp_path / "page.pdf")
    assert info.value.code == 2
    assert "--report: path must end in .html" in capsys.readouterr().err


def test_positions(folder, tmp_path, capsys):
    output = tmp_path / "masses.vot"
    arguments = [folder / "cloud.fits", "--distance", 300, "--positions"]
    assert run(folder, *arguments, "52.0,31.0", "52.01,31.0", "--output", output) == 0
    assert len(QTable.read(output, format="votable")) == 2
    (tmp_path / "stars.csv").write_text("name,color\na,red\n")
    assert run(folder, *arguments, tmp_path / "stars.csv") == 1
    error = capsys.readouterr().err
    assert "no column of positions" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("icrs\npoint(82.0, 31.0)\n", "no position is on the map, which spans right ascension 51."),
        ("# Region file format: DS9 version 4.1\n", "no position is given"),
    ],
)
def test_nothing_to_measure_is_an_error(folder, tmp_path, capsys, text, message):
    (tmp_path / "stars.reg").write_text(text)
    options = ["--positions", tmp_path / "stars.reg", "--output", tmp_path / "masses.ecsv"]
    assert run(folder, folder / "cloud.fits", "--distance", 300, *options) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "masses.ecsv").exists()


def test_two_maps_of_the_same_protostars(folder, tmp_path):
    output, cloud = tmp_path / "masses.ecsv", folder / "cloud.fits"
    where = ["--distance", 300, "--positions", "52.0,31.0", "52.01,31.0", "--output", output]
    assert run(folder, cloud, cloud, *where, "--combine") == 0
    both = QTable.read(output)
    assert run(folder, cloud, *where, "--overwrite") == 0
    one = QTable.read(output)
    assert both["n_maps"].tolist() == [2, 2]
    assert u.allclose(both["mass"], one["mass"])
    widths = [np.log10((t["mass_upper"] / t["mass_lower"]).value) for t in (both, one)]
    assert np.allclose(widths[0], widths[1] * np.sqrt(0.7 + 0.3 / 2))


@pytest.mark.parametrize(("options", "rows"), [([], 6), (["--combine"], 3)])
def test_cutouts(folder, tmp_path, options, rows):
    output = tmp_path / "masses.fits"
    assert run(folder, folder / "maps.fits", "--cutouts", "--output", output, *options) == 0
    table = QTable.read(output)
    assert len(table) == rows
    assert np.all(table["mass_lower"] < table["mass_upper"])
    maps = MapSet.read(folder / "maps.fits")
    for row, name in zip(table, dict.fromkeys(maps.protostars.tolist() if options else range(6))):
        true = maps.masses[maps.protostars == name] if options else maps.masses[name]
        assert row["mass_true"].to_value(u.solMass) == pytest.approx(gmean(np.ravel(true.value)))


@pytest.mark.parametrize("separation", ["1.2", "0.0012 kpc", "825 arcsec"])
@pytest.mark.parametrize("distance", ["300", "0.3 kpc"])
def test_lengths_in_any_unit(folder, tmp_path, distance, separation):
    output = tmp_path / "masses.ecsv"
    options = ["--distance", distance, "--min-separation", separation, "--output", output]
    assert run(folder, folder / "cloud.fits", *options) == 0
    assert len(QTable.read(output)) == 1


def test_no_skill_is_said_aloud(folder, tmp_path, capsys):
    output = tmp_path / "masses.fits"
    arguments = ["mass", str(folder / "cloud.fits"), "--distance", "300", "--output", str(output)]
    calibration = ["--calibration", str(folder / "my.astrofractal")]
    with pytest.warns(NoSkillWarning, match="column_density alone have no predictive power"):
        assert main([*arguments, *calibration]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert re.search(r"None of \d+ masses can be used: .* no-skill: from these channels", out)
    table = QTable.read(output)
    assert all("no-skill" in flags for flags in table["flags"])
    assert table.meta["NOSKILL"].startswith("column_density (leave-cloud-out R2")


def test_cutouts_tell_what_they_come_from(folder, tmp_path):
    output = tmp_path / "masses.ecsv"
    assert run(folder, folder / "maps.fits", "--cutouts", "--output", output) == 0
    meta = QTable.read(output).meta
    assert {"weights_id", "reference_id", "version", "level"} <= set(meta)
    assert "no_skill" not in meta


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cloud.fits"], "distance"),
        (["none.fits", "--distance", "300"], "none.fits"),
        (["cloud.fits", "--distance", "300", "--positions", "none.csv"], "none.csv"),
        (["cloud.fits", "--distance", "300", "--positions", "1,2,3"], "--positions"),
        (["cloud.fits", "--distance", "300", "--positions", "10,100"], "RA,DEC in degrees"),
        (["cloud.fits", "--distance", "300", "--combine"], "--cutouts"),
        (["cloud.fits", "--distance", "300", "--threshold", "1e22"], "without a unit is a signal"),
        (["cloud.fits", "--distance", "300", "--min-separation", "1 K"], "a length or an angle"),
        (["cloud.fits", "cloud.fits"], "one FILE"),
        (["cloud.fits", "cloud.fits", "--combine"], "--combine needs --positions"),
    ],
)
def test_errors(folder, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(folder)
    before = sorted(folder.iterdir())
    assert run(folder, *arguments) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(folder.iterdir()) == before


def test_a_suffix_without_a_format_is_a_wrong_argument(folder, capsys):
    with pytest.raises(SystemExit) as info:
        run(folder, folder / "cloud.fits", "--output", "x.doc")
    assert info.value.code == 2
    assert "output must end in" in capsys.readouterr().err


def test_columns_of_the_positions(folder, tmp_path, capsys):
    output = tmp_path / "masses.ecsv"
    (tmp_path / "stars.csv").write_text("Core,alpha,delta,T,mass\nb,52.0,31.0,12,9\n")
    arguments = [folder / "cloud.fits", "--distance", 300, "--positions", tmp_path / "stars.csv"]
    named = ["--columns", "ra=alpha", "dec=delta", "id=Core"]
    assert run(folder, *arguments, *named, "--output", output) == 0
    table = QTable.read(output)
    assert list(table["id"]) == ["b"]
    assert table["T"][0] == 12
    assert table["mass_input"][0] == 9
    assert table["mass"].unit == u.solMass
    assert run(folder, *arguments, "--columns", "ra=RA") == 1
    assert "no column 'RA'" in capsys.readouterr().err
    assert run(folder, folder / "cloud.fits", "--distance", 300, *named) == 1
    assert "--columns needs --positions" in capsys.readouterr().err


def test_prior(folder, tmp_path):
    masses = []
    for prior in ([], ["--prior", "kroupa"], ["--prior", tmp_path / "mine.csv"]):
        (tmp_path / "mine.csv").write_text("mass,number\n0.1,1\n1,0.001\n")
        output = tmp_path / f"{len(masses)}.ecsv"
        arguments = [folder / "maps.fits", "--cutouts", "--output", output]
        assert run(folder, *arguments, *prior) == 0
        masses.append(QTable.read(output)["mass"])
    assert not u.allclose(masses[0], masses[1])
    assert not u.allclose(masses[0], masses[2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--match"], "--match calibrates on the bundled maps: leave out --calibration"),
        (["--largest-scale", "60 arcsec"], "--largest-scale needs --match"),
    ],
)
def test_options_that_mean_nothing_together_are_rejected(folder, capsys, options, message):
    assert run(folder, folder / "cloud.fits", *options) != 0
    assert message in capsys.readouterr().err
