"""Labels of many maps and of a tiled map are those of the segmenter."""

import copy

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from astrofractal import FeatureSegmenter, FractalEncoder
from astrofractal.exceptions import AstrofractalWarning
from astrofractal.surveys import LazyMap, survey_segment
from tests.factories import make_gas

DISTANCE = 300 * u.pc


def make_map(shape, seed=0):
    """Smooth random gas with a WCS at the encoder's scale."""
    from scipy.ndimage import gaussian_filter

    random = np.random.default_rng(seed)
    field = gaussian_filter(random.normal(size=shape), 6)
    return make_gas(10 ** (22 + 8 * field))


@pytest.fixture(scope="module")
def segmenter():
    encoder = FractalEncoder(weights="random", device="cpu")
    segmenter = FeatureSegmenter(3, background=None, n_views=2, encoder=encoder)
    return segmenter.fit([make_map((128, 128))])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    for k in range(2):
        make_map((64, 72), seed=k).write(folder / f"cloud{k}.fits")
    return folder


@pytest.fixture(scope="module")
def labels(segmenter, files):
    """The labels of the files, made here."""
    return [segmenter.segment(files / f"cloud{k}.fits").labels.data for k in range(2)]


def test_files(segmenter, files, labels, tmp_path):
    table = survey_segment(segmenter, files, output=tmp_path / "run")
    assert sorted(set(table["map"])) == ["cloud0", "cloud1"]
    for k in range(2):
        with fits.open(tmp_path / "run" / "labels" / f"cloud{k}.fits", checksum=True) as hdus:
            assert np.array_equal(hdus["LABELS"].data, labels[k])
            assert WCS(hdus["LABELS"].header).has_celestial
        rows = table[table["map"] == f"cloud{k}"]
        assert rows["n_pixels"].sum() == (labels[k] > 0).sum()
    # nothing is done again
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "run" / "tiles").iterdir()}
    assert {path.suffix for path in before} == {".npz"}
    assert len(before) == 2
    again = survey_segment(segmenter, files, output=tmp_path / "run")
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "run" / "tiles").iterdir()}
    assert again["n_pixels"].tolist() == table["n_pixels"].tolist()


def test_tiles_of_a_lazy_map(segmenter, tmp_path):
    gas = make_map((64, 256), seed=7)
    expected = segmenter.segment(gas).labels.data
    lazy = LazyMap(gas.column_density.value, wcs=gas.wcs, distance=DISTANCE, name="plane")
    survey_segment(segmenter, lazy, output=tmp_path / "run", tile_shape=(32, 128), overlap=64)
    found = fits.getdata(tmp_path / "run" / "labels" / "plane.fits", "LABELS")
    assert found.shape == expected.shape
    assert (found == expected).mean() > 0.995


def test_two_workers(segmenter, files, labels, client, tmp_path):
    survey_segment(segmenter, files, output=tmp_path / "there", client=client)
    for k in range(2):
        found = fits.getdata(tmp_path / "there" / "labels" / f"cloud{k}.fits", "LABELS")
        assert (found == labels[k]).mean() > 0.999


def test_a_bad_file_and_another_overlap(segmenter, files, tmp_path):
    bad = tmp_path / "bad.fits"
    bad.write_text("nothing")
    maps = [*sorted(files.iterdir()), bad]
    with pytest.warns(AstrofractalWarning, match="1 of 3 tiles could not be used"):
        table = survey_segment(segmenter, maps, output=tmp_path / "run")
    assert list(table.meta["failed"]) == ["bad"]
    with pytest.raises(ValueError, match="holds a survey with overlap=192, not 64"):
        survey_segment(segmenter, maps, output=tmp_path / "run", overlap=64)
    with pytest.raises(NotFittedError):
        survey_segment(clone(segmenter), maps, output=tmp_path / "other")


OTHER = {
    "background": 1e21 / u.cm**2,
    "scale": 3 * u.pix,
    "min_area": 0,
    "n_views": 1,
    "random_state": 1,
}


def test_another_segmenter_does_not_return_old_labels(segmenter, files, tmp_path):
    survey_segment(segmenter, files, output=tmp_path)
    for name, value in OTHER.items():
        other = copy.copy(segmenter).set_params(**{name: value})
        with pytest.raises(ValueError, match=rf"another FeatureSegmenter: .*{name}="):
            survey_segment(other, files, output=tmp_path)
    table = survey_segment(other, files, output=tmp_path, resume=False)
    assert len(table)


def test_other_content_and_more_maps_are_segmented(segmenter, tmp_path):
    maps = [make_map((64, 72), seed=k) for k in range(2)]
    survey_segment(segmenter, maps, output=tmp_path)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "tiles").iterdir()}
    survey_segment(segmenter, [make_map((64, 72), seed=0), maps[1]], output=tmp_path)
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "tiles").iterdir()}
    maps[1:] = [make_map((64, 72), seed=8), make_map((64, 72), seed=2)]
    table = survey_segment(segmenter, maps, output=tmp_path)
    assert len(set(table["map"])) == 3
    found = fits.getdata(tmp_path / "labels" / "map00001.fits", "LABELS")
    assert np.array_equal(found, segmenter.segment(maps[1]).labels.data)
