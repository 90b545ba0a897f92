"""Damaged files of every other door: what they should hold, or one error that names the file."""

import bz2
import gzip
import json
import lzma

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from hypothesis import given
from hypothesis import strategies as st
from regions import CirclePixelRegion, CircleSkyRegion, PixCoord, Regions

from astrofractal import FractalEncoder, StellarMassEstimator
from astrofractal._utils.identity import fingerprint
from astrofractal.catalogs.positions import resolve_positions
from astrofractal.encoder import read_card, save_weights
from astrofractal.fractals import ShardedFlames
from astrofractal.mapset import MapSet
from astrofractal.mass import FeatureSet
from astrofractal.pretraining import Recipe
from tests.factories import make_mapset
from tests.robustness.cases import cases, enter
from tests.robustness.mutations import (
    apply,
    byte_changes,
    fits_changes,
    json_changes,
    mutated,
    text_changes,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


def contents(write, path):
    """Return the bytes of a file that a function writes."""
    write(path)
    return path.read_bytes()


def same_name(name, steps):
    """A case is the name of a sound file and what is done to it."""
    return st.lists(steps, min_size=1, max_size=3).map(lambda changes: (name, changes))


# Map sets


@pytest.fixture(scope="module")
def mapset_files(folder):
    maps = make_mapset(6, n_maps=2, size=16)
    cloud = maps[maps.clouds == "cloud0"]
    return {
        "several": contents(maps.write, folder / "several.fits"),
        "one": contents(cloud.write, folder / "one.fits"),
    }


@cases(150)
@given(case=mutated(["several", "one"], fits_changes))
def test_damaged_map_sets(folder, mapset_files, case):
    name, steps = case
    path = folder / "maps.fits"
    path.write_bytes(apply(mapset_files[name], steps))
    maps = enter(MapSet.read, path)
    assert maps is None or (maps.fingerprint() and repr(maps))


# Calibrations: cards and arrays of strangers, whose digest is right


@pytest.fixture(scope="module")
def calibration(folder):
    """Return the arrays, the metadata and the card of a small calibration."""
    from safetensors import safe_open

    path = folder / "sound.astrofractal"
    features = FeatureSet(pooling=None, profiles=True)
    estimator = StellarMassEstimator(features=features, regressor="ridge")
    estimator.fit(make_mapset(30, n_maps=1)).save(path)
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return arrays, metadata, json.loads(metadata["card"])


def write_archive(path, arrays, metadata, card):
    from safetensors.numpy import save_file

    text = json.dumps(card)
    digest = fingerprint(text, arrays)
    save_file(arrays, path, metadata={**metadata, "card": text, "digest": digest})


@cases(150)
@given(steps=st.lists(json_changes, min_size=1, max_size=3))
def test_changed_cards_of_calibrations(folder, calibration, steps):
    arrays, metadata, card = calibration
    path = folder / "changed.astrofractal"
    write_archive(path, arrays, metadata, apply(card, steps))
    enter(StellarMassEstimator.load, path)


@cases(60)
@given(data=st.data())
def test_changed_arrays_of_calibrations(folder, calibration, data):
    arrays, metadata, card = calibration
    name = data.draw(st.sampled_from(sorted(arrays)))
    change = data.draw(
        st.sampled_from(
            [
                lambda a: a[:-1],
                lambda a: a[:0],
                lambda a: a[None],
                lambda a: a.astype(np.int8),
                lambda a: np.full_like(a, np.nan) if a.dtype.kind == "f" else a + 10**6,
                lambda a: np.zeros_like(a),
                lambda a: None,
            ]
        )
    )
    changed = change(arrays[name])
    others = {key: value for key, value in arrays.items() if key != name}
    path = folder / "changed.astrofractal"
    write_archive(path, others if changed is None else {**others, name: changed}, metadata, card)
    enter(StellarMassEstimator.load, path)


@cases(40)
@given(steps=st.lists(byte_changes, min_size=1, max_size=3))
def test_damaged_calibrations(folder, calibration, steps):
    path = folder / "damaged.astrofractal"
    path.write_bytes(apply((folder / "sound.astrofractal").read_bytes(), steps))
    enter(StellarMassEstimator.load, path)


# Weights, their cards, and checkpoints of others


@pytest.fixture(scope="module")
def weights(folder):
    import torch

    tensors = {"patch_embed.proj.weight": torch.zeros(4, 3, 2, 2), "norm.weight": torch.ones(4)}
    path = folder / "weights.safetensors"
    card = {"architecture": "vit_tiny_patch8_64", "in_chans": 3, "images_seen": 1, "seed": 0}
    card |= {"normalization": {"center": [0] * 3, "scale": [1] * 3}, "recipe": "compact"}
    save_weights(tensors, path, card)
    torch.save({"model": tensors, "epoch": 3}, folder / "checkpoint.pth")
    return path


@cases(60)
@given(steps=st.lists(json_changes, min_size=1, max_size=3))
def test_changed_cards_of_weights(folder, weights, steps):
    card = folder / "weights.json"
    sound = card.read_text()
    card.write_text(json.dumps(apply(read_card(weights), steps)))
    try:
        enter(lambda _: FractalEncoder(weights=weights), card if read_fails(weights) else weights)
    finally:
        card.write_text(sound)


def read_fails(weights):
    try:
        read_card(weights)
    except ValueError:
        return True
    return False


@cases(100)
@given(name=st.sampled_from(["weights.safetensors", "checkpoint.pth"]), data=st.data())
def test_damaged_weights(folder, weights, name, data):
    steps = data.draw(st.lists(byte_changes, min_size=1, max_size=3))
    path = folder / f"damaged{name[name.index('.') :]}"
    path.write_bytes(apply((folder / name).read_bytes(), steps))
    enter(lambda path: FractalEncoder(weights=path), path)


# Shards


@pytest.fixture(scope="module")
def shards(folder):
    """Return a folder as `write_shards` makes it, without rendering."""
    home = folder / "flames"
    home.mkdir()
    for number, n_images in enumerate((2, 1)):
        np.save(home / f"flames-{number:06d}.npy", np.zeros((n_images, 3, 8, 8), "<f2"))
    manifest = {"format": 1, "n_images": 3, "shard_size": 2, "offset": [22, 0, 0]}
    manifest |= {"seed": 0, "size": 8, "n_points": 9, "rendering": "gas", "coverage": 0.5}
    manifest |= {"center": "peak"}
    return home, manifest


def read_shards(path):
    flames = ShardedFlames(path)
    return [flames[0], flames[len(flames) - 1]]


@cases(150)
@given(steps=st.lists(json_changes, min_size=1, max_size=3))
def test_changed_manifests_of_shards(shards, steps):
    home, manifest = shards
    (home / "flames.json").write_text(json.dumps(manifest))
    assert len(read_shards(home)) == 2
    (home / "flames.json").write_text(json.dumps(apply(manifest, steps)))
    enter(read_shards, home)


@cases(60)
@given(steps=st.lists(byte_changes, min_size=1, max_size=3))
def test_damaged_shards(shards, steps):
    home, manifest = shards
    path = home / "flames-000001.npy"
    sound = path.read_bytes()
    changed = apply(sound, steps)
    (home / "flames.json").write_text(json.dumps(manifest))
    path.write_bytes(changed)
    try:
        enter(read_shards, home)
    finally:
        path.write_bytes(sound)


# Recipes


@cases(100)
@given(steps=st.lists(json_changes, min_size=1, max_size=3))
def test_changed_recipes(folder, steps):
    path = folder / "recipe.json"
    path.write_text(json.dumps(apply(Recipe.load("compact").to_dict(), steps)))
    try:
        assert isinstance(enter(Recipe.load, path), Recipe | None)
    finally:
        path.unlink()


@cases(100)
@given(
    steps=st.lists(text_changes, min_size=1, max_size=3), suffix=st.sampled_from(["toml", "json"])
)
def test_damaged_recipes(folder, steps, suffix):
    values = Recipe.load("compact").to_dict()
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    text = "\n".join(lines) if suffix == "toml" else json.dumps(values, indent=1)
    path = folder / f"recipe.{suffix}"
    path.write_bytes(apply(text.encode(), steps))
    enter(Recipe.load, path)


# Positions: tables and regions


@pytest.fixture(scope="module")
def position_files(folder):
    sky = SkyCoord([52.0, 52.01], [31.0, 31.01], unit="deg")
    table = QTable({"id": ["a", "b"], "ra": sky.ra, "dec": sky.dec, "flux": [1, 2] * u.Jy})
    on_sky = Regions([CircleSkyRegion(one, 10 * u.arcsec) for one in sky])
    in_pixels = Regions([CirclePixelRegion(PixCoord(x, x), 3.0) for x in (4.0, 9.0)])
    names = ("p.csv", "p.ecsv", "p.vot", "p.fits", "p.txt", "p.reg", "p.crtf")
    formats = dict(
        zip(names, ("ascii.csv", "ascii.ecsv", "votable", "fits", "ascii", "ds9", "crtf"))
    )
    for name in names[:5]:
        table.write(folder / name, format=formats[name])
    for name in names[5:]:
        on_sky.write(folder / name, format=formats[name])
    in_pixels.write(folder / "q.reg", format="ds9")
    return {name: (folder / name).read_bytes() for name in (*names, "q.reg")}


NAMES = ["p.csv", "p.ecsv", "p.vot", "p.fits", "p.txt", "p.reg", "p.crtf", "q.reg"]


@pytest.mark.parametrize("pack", [None, gzip, bz2, lzma])
@pytest.mark.parametrize("name", NAMES)
def test_sound_positions(folder, position_files, name, pack):
    sound = position_files[name]
    path = folder / f"sound.{name.partition('.')[2]}"
    path.write_bytes(sound if pack is None else pack.compress(sound))
    assert len(resolve_positions(path)) == 2


@cases(300)
@given(name=st.sampled_from(NAMES), data=st.data())
def test_damaged_positions(folder, position_files, name, data):
    changes = fits_changes if name.endswith("fits") else text_changes
    steps = data.draw(st.lists(changes, min_size=1, max_size=4))
    path = folder / f"damaged.{name.partition('.')[2]}"
    path.write_bytes(apply(position_files[name], steps))
    places = enter(resolve_positions, path)
    assert places is None or len(places) >= 0


@cases(300)
@given(name=st.sampled_from(NAMES), pack=st.sampled_from([gzip, bz2, lzma]), data=st.data())
def test_damaged_packed_positions(folder, position_files, name, pack, data):
    changes = fits_changes if name.endswith("fits") else text_changes
    before = data.draw(st.lists(changes, max_size=3))
    after = data.draw(st.lists(byte_changes, min_size=not before, max_size=2))
    path = folder / f"packed.{name.partition('.')[2]}"
    path.write_bytes(apply(pack.compress(apply(position_files[name], before)), after))
    places = enter(resolve_positions, path)
    assert places is None or len(places) >= 0
