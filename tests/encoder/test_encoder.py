import inspect
import json

import numpy as np
import pytest
import torch
from astropy import units as u
from sklearn.decomposition import PCA

from astrofractal import GasMap
from astrofractal.data import data_path
from astrofractal.encoder import (
    ChannelNormalization,
    FractalEncoder,
    create_backbone,
    describe_encoder,
    find_encoder,
    load_weights,
    save_weights,
)
from astrofractal.encoder.dense import dense_features
from astrofractal.encoder.pooling import pool_tokens
from tests.factories import make_mapset


@pytest.fixture(scope="module")
def encoder():
    return FractalEncoder(weights="random", batch_size=4)


@pytest.fixture(scope="module")
def images():
    random = np.random.default_rng(0)
    images = random.normal(size=(6, 3, 64, 64)) * 0.2
    images[:, 0] += 22
    images[:, 2] += 0.5
    return images


CARD = {
    "architecture": "astrofractal_vit_tiny_patch8_64",
    "in_chans": 3,
    "normalization": ChannelNormalization().to_dict(),
    "images_seen": 0,
    "recipe": "test",
    "seed": 0,
}


@pytest.fixture(scope="module")
def saved(encoder, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    return path, save_weights(encoder.model.state_dict(), path, CARD)


def test_architecture_is_the_design():
    model = create_backbone("astrofractal_vit_tiny_patch8_64")
    n_parameters = sum(p.numel() for p in model.parameters())
    assert 5.3e6 < n_parameters < 5.5e6
    assert model.num_prefix_tokens == 5
    assert model.patch_embed.grid_size == (8, 8)


def test_bundled_weights_are_verified_and_finite(images):
    encoder = FractalEncoder()
    assert encoder.card["images_seen"] >= 50_000
    assert encoder.weights_id.endswith(encoder.card["sha256"][:8])
    assert encoder.weights_id in repr(encoder)
    assert np.isfinite(encoder.encode(images)).all()


@pytest.mark.parametrize("pooling", ["class", ("scatter",), "central", ("class", "central")])
def test_shape_of_features(encoder, images, pooling):
    features = encoder.encode(images, pooling=pooling)
    assert features.shape == (6, 192 * (1 if isinstance(pooling, str) else len(pooling)))
    assert features.dtype == np.float32


def test_batches_do_not_matter(images, encoder):
    other = FractalEncoder(weights="random", batch_size=5)
    np.testing.assert_allclose(encoder.encode(images), other.encode(images), atol=2e-5)


def test_bfloat16_is_another_encoder_that_sees_nearly_the_same(images, encoder):
    half = FractalEncoder(weights="random", precision="bfloat16")
    one, other = encoder.encode(images[:2]), half.encode(images[:2])
    assert other.dtype == np.float32
    assert 0 < abs(one - other).max() < 0.05 * abs(one).max()
    assert "precision='bfloat16'" in repr(half)
    assert half.fingerprint() != encoder.fingerprint() == half.fingerprint(precision="float32")
    words = {"made": "calibrated", "remedy": "calibrate again"}
    assert find_encoder(describe_encoder(encoder), "x", half, **words) is half
    with pytest.raises(ValueError, match="'x' was calibrated with .*give that encoder"):
        find_encoder(describe_encoder(half), "x", encoder, **words)
    with pytest.raises(ValueError, match="precision must be one of .*, got 'float16'"):
        FractalEncoder(weights="random", precision="float16")


def test_global_generator_of_torch_is_left_alone():
    before = torch.get_rng_state()
    FractalEncoder()
    FractalEncoder(weights="random")
    assert torch.equal(torch.get_rng_state(), before)


def test_random_weights_follow_the_seed(images):
    one, same, other = (
        FractalEncoder(weights="random", random_state=seed).encode(images[:1]) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert abs(one - other).max() > 0.01


def test_no_data_is_the_center_of_the_normalization(encoder, images):
    holed, filled = images.copy(), images.copy()
    holed[:, :, :10] = np.nan
    filled[:, 0, :10], filled[:, 1, :10], filled[:, 2, :10] = 22, 0, 0.4
    np.testing.assert_allclose(encoder.encode(holed), encoder.encode(filled), atol=1e-5)


def test_symmetrized_features_do_not_know_the_orientation(encoder, images):
    turned = np.rot90(images, axes=(-2, -1)).copy()
    mirrored = images[..., ::-1].copy()
    reversed_sight = images * np.array([1, -1, 1])[:, None, None]
    options = {"pooling": ("class", "central", "scatter"), "symmetrize": True}
    expected = encoder.encode(images, **options)
    for other in (turned, mirrored, reversed_sight):
        np.testing.assert_allclose(encoder.encode(other, **options), expected, atol=1e-4)
    assert abs(encoder.encode(turned) - encoder.encode(images)).max() > 1e-3


def test_central_pooling_takes_the_four_tokens_around_the_center():
    tokens = torch.arange(1 + 64, dtype=torch.float32).reshape(1, -1, 1)
    central = pool_tokens(tokens, (8, 8), 1, "central")
    assert central.item() == pytest.approx(1 + np.mean([27, 28, 35, 36]))


def test_structure_pooling_reads_where_the_central_tokens_meet():
    # One feature a token; the layer copies it to one of the nine points of the lattice.
    tokens = torch.zeros(1, 1 + 4, 1)
    tokens[0, 1:, 0] = torch.tensor([1.0, 2.0, 4.0, 8.0])
    meeting_points = {8: 1.0, 6: 2.0, 2: 4.0, 0: 8.0}
    for point in range(9):
        layer = torch.nn.Linear(1, 9, bias=False)
        torch.nn.init.zeros_(layer.weight)
        with torch.no_grad():
            layer.weight[point] = 1.0
        found = pool_tokens(tokens, (2, 2), 1, "structure", {"structure": layer})
        assert found.tolist() == [[meeting_points.get(point, 0.0) / 4]]


@pytest.mark.parametrize("pooling", ["structure", "protostar_mass"])
def test_pretrained_poolings_need_their_head(encoder, images, pooling):
    with pytest.raises(ValueError, match=f"pooling '{pooling}' needs weights with a head for it"):
        encoder.encode(images, pooling=pooling)


def test_mass_of_the_protostar_is_read_from_class_and_central_tokens():
    tokens = torch.randn(2, 1 + 64, 4)
    head = torch.nn.Linear(12, 2)
    found = pool_tokens(tokens, (8, 8), 1, "protostar_mass", {"protostar_mass": head})
    features = pool_tokens(tokens, (8, 8), 1, ("class", "central", "scatter"))
    torch.testing.assert_close(found, head(features))


def test_patch_features_of_any_size(encoder):
    features = encoder.patch_features(np.zeros((2, 3, 60, 90)))
    assert features.shape == (2, 8, 12, 192)


@pytest.mark.parametrize(
    ("name", "in_chans"), [("timm:resnet18", 3), ("timm:vit_tiny_patch16_224", 1)]
)
def test_any_timm_backbone_stands_in(name, in_chans):
    normalization = ChannelNormalization((22.0,) * in_chans, (0.5,) * in_chans)
    encoder = FractalEncoder(name, weights="random", in_chans=in_chans, normalization=normalization)
    images = np.full((2, in_chans, 64, 64), 22.5)
    assert encoder.encode(images, pooling="central").shape == (2, encoder.embed_dim)
    assert encoder.patch_features(images).ndim == 4


def test_saved_weights_come_back_in_16_bit_precision(saved, encoder, images):
    path, _ = saved
    again = FractalEncoder(weights=path)
    expected = encoder.encode(images)
    np.testing.assert_allclose(again.encode(images), expected, atol=0.02 * expected.std())


def test_damaged_weights_are_refused(saved, tmp_path):
    path, card = saved
    damaged = tmp_path / path.name
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    damaged.write_bytes(content)
    damaged.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(ValueError, match="is damaged or not the file of its card"):
        load_weights(damaged)


@pytest.mark.parametrize(
    ("card", "message"),
    [({"architecture": "x"}, "lacks in_chans"), (None, "is not JSON")],
)
def test_bad_card_is_named(saved, tmp_path, card, message):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(saved[0].read_bytes())
    path.with_suffix(".json").write_text("{" if card is None else json.dumps(card))
    with pytest.raises(ValueError, match=message):
        FractalEncoder(weights=path)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": "vit_huge_of_nowhere"}, ValueError, "model must be the name of a timm model"),
        ({"weights": "nowhere.safetensors"}, FileNotFoundError, "weights: no file"),
        ({"model": "timm:resnet18"}, ValueError, "weights='bundled' are for"),
        ({"batch_size": 0}, ValueError, "batch_size must be a positive integer, got 0"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    arguments = {"weights": "random", **arguments}
    if arguments["model"] == "timm:resnet18" if "model" in arguments else False:
        arguments["weights"] = "bundled"
    with pytest.raises(error, match=message):
        FractalEncoder(**arguments)


def test_maps_of_all_kinds_are_encoded(encoder, tmp_path):
    maps = make_mapset(4, n_maps=1)
    expected = encoder.encode(maps.images)
    gas = maps.gasmap(0)
    gas.write(tmp_path / "gas.fits")
    (tmp_path / "maps").mkdir()
    maps.write(tmp_path / "maps" / "set.fits")
    for one in (gas, tmp_path / "gas.fits", str(tmp_path / "gas.fits")):
        np.testing.assert_allclose(encoder.encode(one), expected[:1], atol=1e-3)
    np.testing.assert_array_equal(encoder.encode(maps), expected)
    for path in (tmp_path / "maps", tmp_path / "maps" / "set.fits"):
        np.testing.assert_allclose(encoder.encode(path), expected, atol=0.05)
    several = encoder.encode([maps.gasmap(0), maps.gasmap(1)])
    np.testing.assert_allclose(several, expected[:2], atol=1e-3)
    assert encoder.patch_features(gas).shape == (1, 8, 8, 192)


def test_components_are_the_principal_ones_of_scikit_learn(encoder):
    gas = GasMap.read(data_path("example_cloud.fits"))[:96, :128]
    found = encoder.components(gas, n=2)
    assert found.data.shape == (96, 128, 2)
    assert found.wcs is gas.wcs
    tokens = dense_features(encoder, gas.to_array()).values.reshape(-1, 192)
    model = PCA(2).fit(tokens)
    expected = model.transform(tokens).reshape(12, 16, 2)
    ratios = found.meta["explained_variance_ratio"]
    np.testing.assert_allclose(ratios, model.explained_variance_ratio_, rtol=1e-3)
    for k in range(2):
        plane = expected[..., k].repeat(8, 0).repeat(8, 1)
        low, high = np.percentile(plane, [1, 99])
        plane = np.clip((plane - low) / (high - low), 0, 1)
        plane = plane if abs(plane - found.data[..., k]).max() < 0.5 else 1 - plane
        np.testing.assert_allclose(found.data[..., k], plane, atol=1e-3)
        column = np.log10(gas.column_density.value)
        assert np.corrcoef(found.data[..., k].ravel(), column.ravel())[0, 1] > 0


def test_components_have_no_value_where_there_are_no_data(encoder):
    images = np.full((3, 64, 64), 0.4)
    images[0] = 22 + np.random.default_rng(0).normal(size=(64, 64))
    images[0, :, :16] = np.nan
    column = 10 ** images[0] / u.cm**2
    found = encoder.components(GasMap(column, pixel_scale=0.01 * u.pc), n=1)
    assert np.array_equal(found.mask[..., 0], np.isnan(images[0]))
    assert found.data[..., 0][~found.mask[..., 0]].min() == 0
    with pytest.raises(ValueError, match="n must be at most 48, .* got 65"):
        encoder.components(GasMap(column, pixel_scale=0.01 * u.pc), n=65)


def test_bad_images_are_named(encoder):
    with pytest.raises(ValueError, match=r"images must have the shape .* got \(3, 64, 64\)"):
        encoder.encode(np.zeros((3, 64, 64)))
    with pytest.raises(ValueError, match="pooling must be one of .* got 'max'"):
        encoder.encode(np.zeros((1, 3, 64, 64)), pooling="max")


def test_zoom_encodes_the_magnified_center(encoder, images):
    smooth = np.repeat(np.repeat(images[:, :, ::8, ::8], 8, 2), 8, 3)  # blocks of 8 px
    magnified = encoder.encode(
        smooth[:, :, 28:36, 28:36].repeat(8, 2).repeat(8, 3), pooling="class"
    )
    found = encoder.encode(smooth, pooling="class", zoom=8)
    plain = encoder.encode(smooth, pooling="class")
    # Interpolation is smooth where repetition is not, hence close and not equal.
    assert np.abs(found - magnified).mean() < 0.3 * np.abs(plain - magnified).mean()
    np.testing.assert_array_equal(encoder.encode(images, zoom=1), encoder.encode(images))


@pytest.mark.parametrize("zoom", [0.5, float("nan"), -1])
def test_zoom_below_one_is_refused(encoder, images, zoom):
    with pytest.raises(ValueError, match="zoom must be a number of at least 1, got"):
        encoder.encode(images, zoom=zoom)


def test_scatter_is_that_of_the_central_tokens(encoder, images):
    tokens = encoder.patch_features(images)[:, 3:5, 3:5].reshape(len(images), 4, -1)
    np.testing.assert_allclose(encoder.encode(images, pooling="scatter"), tokens.std(1), atol=1e-5)


OPTIONS = {
    "model": {"model": "timm:vit_tiny_patch16_224"},
    "weights": {"weights": "bundled"},
    "random_state": {"random_state": 1},
    "in_chans": {"in_chans": 2, "normalization": ChannelNormalization((22, 0), (1, 1))},
    "precision": {"precision": "bfloat16"},
    "normalization": {"normalization": ChannelNormalization((21, 0, 0.4), (0.5, 0.4, 0.25))},
}
NO_MATTER = {"batch_size": {"batch_size": 2}, "device": {"device": "cpu"}}


def test_the_options_below_are_all_of_them():
    names = set(inspect.signature(FractalEncoder).parameters)
    assert names == set(OPTIONS) | set(NO_MATTER)


@pytest.mark.parametrize("option", OPTIONS)
def test_each_option_that_matters_changes_fingerprint_and_repr(encoder, option):
    other = FractalEncoder(**{"weights": "random"} | OPTIONS[option])
    assert other.fingerprint() != encoder.fingerprint()
    assert repr(other) != repr(encoder)


@pytest.mark.parametrize("option", NO_MATTER)
def test_options_of_speed_leave_the_fingerprint(encoder, option):
    other = FractalEncoder(**{"weights": "random"} | NO_MATTER[option])
    assert other.fingerprint() == encoder.fingerprint()
    assert f"{option}=" in repr(other)
