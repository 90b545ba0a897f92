"""Maps of gas without labels as images to pretrain on."""

import numpy as np
import pytest
from astropy import units as u

pytest.importorskip("lightly")

import torch

from astrofractal.mapset import MapSet
from astrofractal.pretraining import Recipe, export_run, pretrain
from astrofractal.pretraining.images import CutMaps, Flames, cut_maps
from astrofractal.pretraining.views import ViewSampler
from tests.factories import make_column, make_gas, make_mapset

CORES = [(40.0, 50.0, 2e22, 4.0), (140.0, 60.0, 1e22, 3.0)]
TINY = {"batch_size": 4, "n_images": 16, "steps_per_checkpoint": 2, "n_prototypes": 32}
OPTIONS = {"n_workers": 0, "devices": 1, "precision": "32-true"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One map set, and one map with cores, a part without data and no dispersion."""
    folder = tmp_path_factory.mktemp("maps")
    make_mapset(6, n_maps=2).write(folder / "a.fits")
    column = make_column((112, 176), CORES, roughness=0.05)
    column[:, 100:112] = np.nan
    velocity = np.tile(np.linspace(-1, 1, 176), (112, 1))
    make_gas(column, velocity).write(folder / "b.fits")
    return folder


@pytest.fixture(scope="module")
def cut(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("cut") / "maps.npy"
    assert cut_maps(path, folder, Recipe.load("adapt")) == len(CutMaps(path))
    return CutMaps(path)


def test_images_are_the_maps_and_the_peaks_between(cut, folder):
    images = np.stack([cut[i] for i in range(len(cut))])
    of_set = images[np.isfinite(images[:, 2]).all((1, 2))]
    expected = MapSet.read(folder / "a.fits").images
    order = [abs(of_set - image).mean((1, 2, 3)).argmin() for image in expected]
    assert sorted(order) == list(range(12)) != order
    np.testing.assert_allclose(of_set[order], expected, atol=4e-3)
    of_map = images[~np.isfinite(images[:, 2]).all((1, 2))]
    assert np.isnan(of_map[:, 2]).all()
    assert np.isnan(of_map[:, 0]).any()
    assert (np.isfinite(of_map[:, 0]).mean((1, 2)) > 0.5).all()
    central = of_map[:, 0, 31:33, 31:33].mean((1, 2))
    assert sorted(central)[-2:] == pytest.approx(np.log10([1e22, 2e22]), abs=0.1)


def test_masses_are_not_read(cut, folder, tmp_path):
    maps = MapSet.read(folder / "a.fits")
    other = MapSet(
        maps.images, maps.masses[::-1] * 3, clouds=maps.clouds, protostars=maps.protostars,
    )  # fmt: skip
    for name, one in {"one": maps, "two": other}.items():
        (tmp_path / name).mkdir()
        one.write(tmp_path / name / "a.fits")
        cut_maps(tmp_path / f"{name}.npy", tmp_path / name, Recipe.load("adapt"))
    assert (tmp_path / "one.npy").read_bytes() == (tmp_path / "two.npy").read_bytes()


def test_where_there_are_no_data_views_have_none(cut):
    recipe = Recipe.load("adapt", batch_size=len(cut))
    flames = Flames(recipe, maps=cut.path)
    images = torch.from_numpy(np.stack([flames[i][0] for i in range(len(cut))]))
    seen = ViewSampler(recipe, 0).degraded(images)
    assert (images == 0).any()
    assert (seen[images == 0] == 0).all()
    assert (seen != images).any()


def test_adapted_run_goes_on_without_the_maps(folder, tmp_path):
    whole, run = tmp_path / "whole", tmp_path / "run"
    values = {"maps": folder, "start_from": "bundled", **OPTIONS, **TINY}
    pretrain("adapt", output=whole, **values)
    pretrain("adapt", output=run, max_steps=2, **values)
    pretrain(resume=run, n_workers=0, devices=1)
    cards = [export_run(path, tmp_path / f"{path.name}.safetensors") for path in (whole, run)]
    assert cards[0] == cards[1]  # with the checksum of the weights
    assert cards[0]["origin"]["recipe"] == "compact_invariant"
    with pytest.raises(ValueError, match="maps is for a new run"):
        pretrain(resume=run, maps=folder)


@pytest.mark.parametrize(
    ("recipe", "maps", "message"),
    [
        ("adapt", None, "maps must be a folder with the recipe's source='maps' .* got None"),
        ("compact", "x", "maps must be .* None with others, got 'x' and source='flames'"),
    ],
)
def test_maps_and_recipe_go_together(recipe, maps, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        pretrain(recipe, maps=maps, output=tmp_path / "run", **OPTIONS)
    assert not (tmp_path / "run").exists()


def test_maps_without_scale_are_named(tmp_path):
    recipe, path = Recipe.load("adapt"), tmp_path / "maps.npy"
    with pytest.raises(FileNotFoundError, match=r"maps: no \.fits files"):
        cut_maps(path, tmp_path, recipe)
    make_gas(make_column((64, 64)), distance=None).write(tmp_path / "a.fits")
    with pytest.raises(ValueError, match=r"maps: the map .*a\.fits' has no scale"):
        cut_maps(path, tmp_path, recipe)
    make_mapset(2, pixel_scale=0.1 * u.pc).write(tmp_path / "a.fits", overwrite=True)
    with pytest.raises(ValueError, match=r"at least 64 x 64 pixels of 0\.007812 pc .* 0\.1 pc"):
        cut_maps(path, tmp_path, recipe)
    make_gas(make_column((64, 64))).write(tmp_path / "a.fits", overwrite=True)
    assert cut_maps(path, tmp_path, recipe) == 1
