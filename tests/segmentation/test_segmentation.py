"""What a segmentation tells and writes."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS
from regions import PixCoord, Regions

from astrofractal import FeatureSegmenter, GasMap
from astrofractal.gasmap import column_to_mass
from astrofractal.segmentation import Segmentation, measure
from astrofractal.segmentation.measures import virial_parameter


def build(gas, labels, components=None):
    if components is None:
        components = np.stack([np.log10(gas.column_density.value), gas.column_density.value / 1e22])
    return Segmentation(
        gas, labels, components, rgb=np.where(labels[..., None] > 0, [0.2, 0.5, 1], np.nan),
        n_segments=labels.max(), stability=np.linspace(0.5, 1, labels.max()),
        meta={"weights_id": "none", "background": "0 cm-2"},
    )  # fmt: skip


@pytest.fixture
def result(gas):
    column = gas.column_density.value
    labels = np.digitize(np.nan_to_num(column, nan=-1), [0, 2e21, 1e22]).astype(np.int32)
    return build(gas, labels)


def test_nddata_carry_wcs_and_mask(result, gas):
    assert result.labels.wcs is gas.wcs
    np.testing.assert_array_equal(result.labels.mask, gas.mask)
    assert result.components.wcs.naxis == 3
    assert result.rgb.data.shape == (*gas.shape, 3)
    np.testing.assert_array_equal(np.isnan(result.rgb.data).all(-1), gas.mask)
    shown = result.rgb.data[~gas.mask]
    assert shown.min() >= 0
    assert shown.max() <= 1
    assert set(result.masks) == {1, 2, 3}
    assert result.masks[3].sum() == (result.labels.data == 3).sum()
    assert "3 segments" in repr(result)


def test_photutils_takes_the_labels(result):
    image = result.to_segmentation_image()
    assert image.labels.tolist() == [1, 2, 3]
    assert image.areas.tolist() == result.table["n_pixels"].tolist()


def test_table_in_physical_units(result, gas):
    table, column = result.table, gas.column_density
    here = result.masks[3]
    row = table[2]
    assert row["label"] == 3
    assert row["n_pixels"] == here.sum()
    assert row["n_islands"] == (result.island_segments == 3).sum()
    assert u.isclose(row["area"], here.sum() * gas.pixel_area)
    assert u.isclose(row["mean_column_density"], column[here].mean(), rtol=1e-5)
    assert u.isclose(row["peak_column_density"], column[here].max())
    mass = column_to_mass(column[here].sum(), gas.pixel_area)
    assert u.isclose(row["gas_mass"], mass, rtol=1e-5)
    assert u.isclose(table["gas_mass"].sum(), gas.mass, rtol=1e-5)
    mean = np.average(gas.velocity[here], weights=column[here])
    assert u.isclose(row["mean_velocity"], mean, rtol=1e-4)
    spread = np.sqrt(np.average((gas.velocity[here] - mean) ** 2, weights=column[here]))
    assert u.isclose(row["total_dispersion"], np.hypot(0.3 * u.km / u.s, spread), rtol=1e-4)
    assert u.isclose(row["effective_radius"], np.sqrt(row["area"] / np.pi))
    islands = result.island_table
    one = islands[0]
    alpha = virial_parameter(one["gas_mass"], one["effective_radius"], one["total_dispersion"])
    assert u.isclose(one["virial_parameter"], alpha)
    # a segment in pieces has no radius
    np.testing.assert_array_equal(np.isnan(table["virial_parameter"]), table["n_islands"] != 1)
    assert table.meta["mu_H2"] == 2.8
    assert table.meta["distance_pc"] == 300


def test_numbers_are_shown_with_a_few_digits(result):
    for table in (result.table, result.island_table, result.correlations):
        for name in table.colnames:
            column = table[name]
            shown = [line.strip() for line in table[[name]].pformat(show_unit=False)[2:]]
            if name == "sky_centroid":
                assert all(len(text) <= 19 for text in shown)
            elif column.dtype.kind == "f":
                assert all(len(text) <= 9 for text in shown), name


def test_virial_parameter_of_a_known_sphere():
    alpha = virial_parameter(1 * u.solMass, 0.1 * u.pc, 0.2 * u.km / u.s)
    assert alpha.value == pytest.approx(5 * 0.04 * 0.1 / 0.0043009, rel=1e-3)


def test_islands_and_parents(result, gas):
    table = result.island_table
    assert u.isclose(table["gas_mass"].sum(), gas.mass, rtol=1e-5)
    np.testing.assert_array_equal(table["segment"], result.island_segments)
    peak = np.unravel_index(np.nanargmax(gas.column_density.value), gas.shape)
    densest = result.islands.data[peak]
    parent = table["parent"][densest - 1]
    assert table["segment"][parent - 1] == 2


def test_empty_segment_and_missing_channels(make_gas):
    gas = make_gas(velocities=False)
    labels = np.where(gas.mask, 0, 1).astype(np.int32)
    labels[~gas.mask & (gas.column_density.value > 1e22)] = 3
    table = build(gas, labels).table
    assert table["label"].tolist() == [1, 3]
    assert (table["n_pixels"] > 0).all()
    assert np.isfinite(table["mean_column_density"]).all()
    assert (table["sky_centroid"].ra > 0).all()
    assert table.meta["mu_H2"] == 2.8
    assert "mean_velocity" not in table.colnames
    assert "virial_parameter" not in table.colnames
    assert np.isnan(build(gas, labels).correlations["velocity"]).all()


def test_correlations(result):
    table = result.correlations
    assert table["log_column_density"][0] == pytest.approx(1)
    assert table["log_column_density"][1] == pytest.approx(1)
    assert np.abs(table["velocity"]).max() < 0.9
    assert np.isnan(table["dispersion"]).all()  # constant in this map
    assert np.isfinite(table["spectral_slope"]).all()


def test_regions_lie_where_the_gas_is(result, gas):
    y, x = np.indices(gas.shape)
    islands = result.islands.data
    assert len(result.regions) == len(result.to_regions("pixel")) == islands.max()
    for number, (sky, pixel) in enumerate(
        zip(result.regions, result.to_regions("pixel"), strict=True), start=1
    ):
        here = islands == number
        np.testing.assert_array_equal(pixel.contains(PixCoord(x, y)), here)
        np.testing.assert_array_equal(sky.to_pixel(gas.wcs).contains(PixCoord(x, y)), here)
    with pytest.raises(ValueError, match="kind must be one of"):
        result.to_regions("image")


def test_files_round_trip(result, gas, tmp_path):
    paths = result.write(tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(
        p.name for p in paths.values()
    )
    y, x = np.indices(gas.shape)
    for key, format in (("regions", "ds9"), ("regions_crtf", "crtf")):
        back = Regions.read(paths[key], format=format)
        assert len(back) == len(result.regions)
        covered = np.zeros(gas.shape, int)
        for number, region in enumerate(back, start=1):
            covered[region.to_pixel(gas.wcs).contains(PixCoord(x, y))] = number
        np.testing.assert_array_equal(covered, result.islands.data)
    assert Regions.read(paths["regions"])[0].meta["text"] == "segment 1 island 1"
    with fits.open(paths["labels"]) as hdus:
        np.testing.assert_array_equal(hdus["LABELS"].data, result.labels.data)
        sky = WCS(hdus["LABELS"].header).pixel_to_world(10, 20)
        assert sky.separation(gas.wcs.pixel_to_world(10, 20)) < 1e-6 * u.deg
        assert hdus["LABELS"].header["DISTANCE"] == 300
    with fits.open(paths["components"]) as hdus:
        assert hdus["COMPONENTS"].data.shape == result.components.data.shape
        assert hdus["RGB"].data.shape == (3, *gas.shape)
    table = QTable.read(paths["segments"])
    assert u.allclose(table["gas_mass"], result.table["gas_mass"])
    assert table["gas_mass"].unit == u.solMass


def test_files_are_not_replaced_unasked(result, tmp_path):
    other = tmp_path / "notes.txt"
    other.write_text("mine")
    (tmp_path / "labels.fits").write_text("old")
    with pytest.raises(FileExistsError, match=r"labels\.fits"):
        result.write(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["labels.fits", "notes.txt"]
    result.write(tmp_path, overwrite=True)
    assert other.read_text() == "mine"
    with pytest.raises(NotADirectoryError):
        result.write(other)


def test_nothing_is_left_of_a_failed_write(result, tmp_path, monkeypatch):
    def fail(*_args, **_kwargs):
        msg = "no"
        raise RuntimeError(msg)

    monkeypatch.setattr(Segmentation, "plot", fail)
    with pytest.raises(RuntimeError):
        result.write(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_map_without_wcs_is_drawn_and_written(encoder, tmp_path):
    column = 10 ** np.random.default_rng(0).normal(22, 0.3, (40, 40)) / u.cm**2
    result = FeatureSegmenter(2, background=None, encoder=encoder).segment(GasMap(column))
    paths = result.write(tmp_path / "out")
    assert "regions_crtf" not in paths
    assert len(Regions.read(paths["regions"])) == len(result.to_regions("pixel"))


def test_plot(result):
    from matplotlib.figure import Figure
    from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar

    figure = Figure(figsize=(12, 5), layout="constrained")
    assert result.plot(figure=figure) is figure
    assert len(figure.axes) == 3
    names = [t.get_text() for t in figure.legends[0].get_texts()]
    assert [name.split()[0] for name in names] == ["3", "2", "1"]
    assert names[0].endswith(result.table["character"][2])
    bars = figure.axes[0].findobj(AnchoredSizeBar)
    assert [bar.txt_label.get_text() for bar in bars] == ["0.1 pc"]
    assert len(set(result.colors)) == 3


def test_the_printed_table_fits_a_terminal(result):
    lines = result.table.pformat()
    assert max(map(len, lines)) <= 80
    for name in ("label", "area", "mean_column_density", "gas_mass", "character"):
        assert name in lines[0]
    assert "..." not in lines[0]


def test_what_distinguishes_a_segment():
    """Four strips: dense gas, gas that recedes, broad lines, and the rest."""
    shape = (40, 80)
    strip = np.indices(shape)[1] // 20 + 1
    rng = np.random.default_rng(0)
    column = np.where(strip == 1, 5e22, 1e22) * 10 ** rng.normal(0, 0.01, shape)
    velocity = np.where(strip == 2, 1.0, 0.0) + rng.normal(0, 0.01, shape)
    dispersion = np.where(strip == 3, 1.0, 0.2) * 10 ** rng.normal(0, 0.01, shape)
    kms = u.km / u.s
    table = measure(GasMap(column / u.cm**2, velocity * kms, dispersion * kms), strip)
    words = list(table["character"])
    assert words[0].split(", ")[0] == "dense"
    assert words[1].split(", ")[0] == "redshifted"
    assert words[2].split(", ")[0] == "broad lines"
    assert list(table["touches"]) == ["2", "1 3", "2 4", "3"]


def test_labels_of_the_user_are_measured_alike(result, gas):
    table = measure(gas, result.labels.data * 10)
    assert table["label"].tolist() == [10, 20, 30]
    assert u.allclose(table["gas_mass"], result.table["gas_mass"])
    assert table["touches"].tolist()[0].split()[0] == "20"
    for wrong in (np.zeros((3, 3), int), np.zeros(gas.shape), np.full(gas.shape, -1)):
        with pytest.raises(ValueError, match="labels must be integers of at least 0 of shape"):
            measure(gas, wrong)


def test_labels_at_positions(result, gas):
    peak = np.unravel_index(np.nanargmax(gas.column_density.value), gas.shape)
    sky = gas.wcs.pixel_to_world(peak[1], peak[0])
    assert result.label_at(sky) == result.label_at((peak[1], peak[0])) == 3
    found = result.label_at((np.array([0, 500, np.nan, 40]), np.array([0, 3, 3, 90])))
    assert found.tolist() == [0, 0, 0, result.labels.data[90, 40]]


def test_a_segment_is_a_map(result, gas, tmp_path):
    part = result.cutout(3)
    inside = result.masks[3]
    assert np.count_nonzero(~part.mask) == inside.sum()
    assert u.isclose(part.mass, result.table["gas_mass"][2], rtol=1e-5)
    y, x = np.nonzero(inside)
    corner = part.wcs.pixel_to_world(0, 0).separation(gas.wcs.pixel_to_world(x.min(), y.min()))
    assert corner < 1e-6 * u.deg
    result.write_segment(3, tmp_path / "core.fits")
    np.testing.assert_allclose(
        GasMap.read(tmp_path / "core.fits").column_density.value, part.column_density.value
    )
    with pytest.raises(FileExistsError):
        result.write_segment(3, tmp_path / "core.fits")
    with pytest.raises(ValueError, match=r"label must be one of \[1, 2, 3\], got 9"):
        result.cutout(9)


def test_what_is_written_can_be_read(result, tmp_path):
    result.write(tmp_path / "out")
    back = Segmentation.read(tmp_path / "out")
    np.testing.assert_array_equal(back.labels.data, result.labels.data)
    np.testing.assert_allclose(back.components.data, result.components.data, rtol=1e-6)
    np.testing.assert_allclose(back.rgb.data, result.rgb.data, rtol=1e-6)
    assert back.meta == result.meta
    for name in ("gas_mass", "stability", "mean_velocity"):
        assert u.allclose(back.table[name], result.table[name], rtol=1e-5)
    with pytest.raises(FileNotFoundError, match="is no folder of a segmentation"):
        Segmentation.read(tmp_path)
    (tmp_path / "out" / "labels.fits").write_bytes(b"nothing")
    with pytest.raises((ValueError, OSError), match=r"labels\.fits"):
        Segmentation.read(tmp_path / "out")
