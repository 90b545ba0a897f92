import io
from contextlib import redirect_stdout

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS
from regions import Regions

from astrofractal.cli import main
from astrofractal.data import data_path


@pytest.fixture(scope="module")
def shown_and_output(tmp_path_factory, few_views):
    """What a demo prints, and its folder, which has a file of an earlier one."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    folder.mkdir()
    (folder / "masses.ecsv").write_text("old")
    with redirect_stdout(io.StringIO()) as shown:
        assert main(["demo", "--output", str(folder)]) == 0
    return shown.getvalue(), folder


@pytest.fixture(scope="module")
def output(shown_and_output):
    return shown_and_output[1]


def test_files(output):
    found = sorted(path.name for path in output.iterdir())
    assert found == ["labels.fits", "masses.ecsv", "overview.png", "regions.reg", "report.html"]
    page = (output / "report.html").read_text(encoding="utf-8")
    assert "Masses of 10 protostars" in page
    assert "8 segments" in page
    assert [path.name for path in output.parent.iterdir()] == ["out"]  # nothing temporary is left
    assert (output / "overview.png").read_bytes().startswith(b"\x89PNG")


def test_masses(output):
    table = QTable.read(output / "masses.ecsv")
    sinks = QTable.read(data_path("example_cloud.fits"), hdu="SINKS")
    assert list(table["id"]) == list(range(1, 11))
    assert np.allclose(table["position"].ra.deg, sinks["ra"].to_value("deg"))
    assert np.allclose(table["mass_true"], sinks["mass"])
    assert str(table["mass"].unit) == "solMass"
    assert (table["mass_lower"] < table["mass"]).all()
    assert (table["mass"] < table["mass_upper"]).all()
    inside = (table["mass_lower"] <= sinks["mass"]) & (sinks["mass"] <= table["mass_upper"])
    assert (table["within"] == inside).all()
    assert table.meta["reference_id"].endswith("without-cloud04")


def test_labels_and_regions_are_on_the_cloud(output):
    with fits.open(output / "labels.fits") as hdus:
        labels = hdus["LABELS"].data
        wcs = WCS(hdus["LABELS"].header)
    with fits.open(data_path("example_cloud.fits")) as hdus:
        column = hdus["COLUMN_DENSITY"].data
        true_wcs = WCS(hdus["COLUMN_DENSITY"].header)
    assert labels.shape == column.shape
    corners = np.array([0, 319, 0, 319]), np.array([0, 0, 319, 319])
    offsets = wcs.pixel_to_world(*corners).separation(true_wcs.pixel_to_world(*corners))
    assert (offsets.arcsec < 0.01).all()
    densest = labels.max()
    assert np.median(column[labels == densest]) > 3 * np.median(column[labels == 1])
    assert (labels[column < 1e21] == 0).all()  # the background
    regions = Regions.read(output / "regions.reg", format="ds9")
    area = sum(region.to_pixel(true_wcs).area for region in regions)
    assert area >= 0.9 * np.count_nonzero(labels)


def test_the_masses_are_shown(shown_and_output):
    shown, folder = shown_and_output
    assert shown.startswith("Masses and segments of a simulated cloud")
    assert "mass_true" in shown
    assert " trust " in shown
    assert f"Written to {folder}" in shown
    assert "Next steps:" in shown


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_other_files_are_not_replaced(kind, tmp_path, capsys):
    mine = tmp_path / "mine"
    mine.write_text("precious")
    target = tmp_path if kind == "folder" else mine
    assert main(["demo", "--quiet", "--output", str(target)]) == 1
    error = capsys.readouterr().err
    assert str(target) in error
    assert len(error.splitlines()) == 1
    assert mine.read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
