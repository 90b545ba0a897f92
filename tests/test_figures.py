"""Every figure that the package draws, compared with references in ``baseline``."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from astropy.utils.masked import Masked
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from radio_beam import Beam

from astrofractal import GasMap
from astrofractal.catalogs import compare, plot_catalog, plot_intervals
from astrofractal.cli import main
from astrofractal.cli.demo import overview
from astrofractal.segmentation import Segmentation
from tests.factories import make_column, make_gas, make_wcs

_TEXT = ("text.", "axes.label", "xtick.label", "ytick.label", "legend.label")

# Text has no color, so that the fonts of another version of matplotlib pass, and the tolerance
# leaves room for anti-aliasing, not for a lost element or another color.
figure_test = pytest.mark.mpl_image_compare(
    baseline_dir="baseline",
    style=["default", {f"{key}color": "none" for key in _TEXT}],
    remove_text=True,
    tolerance=1,
    savefig_kwargs={"dpi": 60},
)
CORES = [(24, 30, 4e22, 5), (60, 50, 2e22, 7)]


def _colors(column):
    """Three planes from 0 to 1, unknown where the column is."""
    level = np.clip(np.log10(column) - 21, 0, 2) / 2
    return np.stack([level, level**2, 1 - level], axis=-1)


@pytest.fixture(scope="module")
def result():
    """Three segments by column density alone."""
    column = make_column((72, 88), CORES)
    column[:12, :16] = np.nan
    x = np.indices(column.shape)[1]
    gas = make_gas(column, 0.01 * x, 0.2 + column / 1e23)
    labels = np.digitize(np.nan_to_num(column, nan=-1), [0, 2e21, 1e22]).astype(np.int32)
    return Segmentation(
        gas,
        labels,
        np.stack([np.log10(column), column / 1e22]),
        n_segments=3,
        rgb=_colors(column),
        meta={"weights_id": "none"},
    )


@pytest.fixture
def table(result):
    sky = result.gas.to_sky([core[0] for core in CORES], [core[1] for core in CORES])
    mass = [0.5, 3] * u.solMass
    table = QTable({"id": ["A", "B"], "position": sky, "mass": mass})
    table["mass_lower"], table["mass_upper"] = mass / 2, mass * 2
    table["mass_true"] = [0.4, 7] * u.solMass
    table["flags"] = ["", ""]
    table.meta["level"] = 0.68
    return table


@figure_test
def test_figure_of_a_map(result):
    """All channels; a long beam to the north-east on a turned map, of which a corner is missing."""
    wcs = make_wcs(result.gas.shape, turn=30)
    beam = Beam(60 * u.arcsec, 25 * u.arcsec, 45 * u.deg)
    figure = Figure(figsize=(12, 4), layout="constrained")
    return result.gas.replace(wcs=wcs, beam=beam).plot(figure=figure)


@figure_test
def test_figure_of_one_channel(result):
    """Without a distance the bar is an angle; colors and axes of the user's own."""
    gas = result.gas.replace(distance=None, wcs=make_wcs((72, 88), ctype=("GLON-CAR", "GLAT-CAR")))
    figure = Figure(figsize=(5, 4), layout="constrained")
    return gas.plot("velocity", figure=figure, cmap="PuOr", norm=Normalize(0, 1), colorbar=False)


@figure_test
def test_figure_of_segments(result):
    figure = Figure(figsize=(12, 5), layout="constrained")
    result.plot(figure=figure)
    return figure


@figure_test
def test_figure_of_segments_without_a_wcs():
    """Axes in pixels, more segments than named colors, and a scale bar from the width of a pixel."""
    column = make_column((72, 88), CORES)
    gas = GasMap(column * u.cm**-2, pixel_scale=0.005 * u.pc)
    labels = np.digitize(np.log10(column), np.linspace(20.5, 22.4, 7)).astype(np.int32)
    figure = Figure(figsize=(12, 5), layout="constrained")
    Segmentation(
        gas,
        labels,
        np.stack([np.log10(column)]),
        n_segments=7,
        rgb=_colors(column),
        meta={"weights_id": "none"},
    ).plot(figure=figure)
    return figure


@pytest.fixture
def catalog(table):
    """A good mass, a doubtful one, none, and a protostar beyond the map."""
    table = table[[0, 1, 0, 0]]
    mass = Masked([0.5, 3, 1, 1] * u.solMass, mask=[False, False, True, False])
    table["mass"], table["mass_lower"], table["mass_upper"] = mass, mass / 2, mass * 2
    table["id"] = ["A", "B", "none", "beyond"]
    table["trust"] = ["yes", "no", "doubt", "yes"]
    table["position"][2:] = SkyCoord([51.99, 80], [31.0, 31], unit="deg")
    return table


@figure_test
def test_figure_of_a_catalog(catalog, result):
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    return plot_catalog(catalog, result.gas, figure=figure)


@figure_test
def test_figure_of_intervals(catalog):
    figure = Figure(figsize=(6, 3), layout="constrained")
    plot_intervals(catalog, axes=figure.add_subplot())
    return figure


@figure_test
def test_figure_of_the_demo(result, table):
    return overview(table, result)


@figure_test
def test_figure_of_a_comparison(table):
    figure = Figure(figsize=(5, 5))
    compare(table, table["mass_true"]).plot(figure.add_subplot())
    return figure


@figure_test
def test_figure_of_a_comparison_of_its_own(table):
    """Errors of the other masses, a color, a label, and a protostar without an estimate."""
    table["mass"][0] = np.nan * u.solMass
    other = QTable(
        {"id": ["B", "A"], "mass": [7, 0.4] * u.solMass, "mass_error": [2, 0.1] * u.solMass}
    )
    axes = compare(table, other).plot(names=False, color="tab:red", label="disks")
    axes.legend()
    return axes.figure


@figure_test
@pytest.mark.parametrize("rendering", ["gas", "palette"])
def test_figure_of_flames(tmp_path, rendering):
    pytest.importorskip("numba")
    from matplotlib.image import imread

    path = tmp_path / "sheet.png"
    options = ["--n-images", "4", "--size", "32", "--n-points", "2000", "--quiet"]
    assert main(["fractals", *options, "--rendering", rendering, "--contact-sheet", str(path)]) == 0
    figure = Figure(figsize=(4, 4))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(imread(path), aspect="auto")
    return figure


def test_arguments_in_the_wrong_order(result):
    with pytest.raises(TypeError, match=r"catalog must be a table, got a GasMap: plot_catalog"):
        plot_catalog(result.gas, QTable({"id": [1]}))
