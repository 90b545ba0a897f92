import numpy as np
import pytest
import torch
from astropy import units as u

from astrofractal import FractalEncoder, StellarMassEstimator
from astrofractal.encoder import read_card
from astrofractal.mass.fine_tuning import (
    SYMMETRIES,
    draw_rows,
    fine_tune,
    hold_out,
    make_views,
    random_poses,
)
from tests.factories import make_mapset

QUICK = {"n_views": 4, "max_epochs": 2, "validation": "cloud2"}


@pytest.fixture(scope="module")
def encoder():
    """A tiny Vision Transformer."""
    return FractalEncoder("timm:test_vit", weights="random", device="cpu")


@pytest.fixture(scope="module")
def maps():
    return make_mapset(60, n_maps=1)


def _state(encoder):
    return {name: value.clone() for name, value in encoder.model.state_dict().items()}


def test_views_are_exact_symmetries():
    images = torch.randn(1, 3, 16, 16)
    views = make_views(images.repeat(16, 1, 1, 1), SYMMETRIES, zoom=1, size=16)
    sign = torch.tensor([1.0, -1.0, 1.0])[:, None, None]
    expected = [
        torch.rot90(image, turns, (-2, -1)) * (sign if flipped else 1)
        for image in (images[0], images[0].flip(-1))
        for turns in range(4)
        for flipped in (False, True)
    ]
    for wanted in expected:
        assert min(float((view - wanted).abs().max()) for view in views) < 1e-4
    distances = torch.cdist(views.flatten(1), views.flatten(1)) + torch.eye(16)
    assert distances.min() > 0.1


def test_views_shift_and_magnify():
    image = torch.zeros(1, 3, 16, 16)
    image[:, 0, 8, 9] = 1.0
    shifted = make_views(image, np.array([[0, 0, 1, 1.0, 0.0]]), zoom=1, size=16)
    assert shifted[0, 0, 8, 8] == pytest.approx(1, abs=1e-5)
    cut = make_views(image, SYMMETRIES[:1], zoom=1, size=8)
    torch.testing.assert_close(cut, image[:, :, 4:12, 4:12], atol=1e-5, rtol=0)
    poses = random_poses(200, 0.5, np.random.default_rng(0))
    assert 0.4 < np.abs(poses[:, 3:]).max() <= 0.5
    assert set(poses[:, 0]) == {0, 1, 2, 3}
    assert set(poses[:, 2]) == {-1, 1}


@pytest.mark.parametrize(("exponent", "heavy"), [(1.0, 50), (0.0, 99), (0.5, 91)])
def test_draws_are_even_over_protostars(exponent, heavy):
    protostars = ["one"] + ["many"] * 99
    rows = draw_rows(protostars, 100, exponent, np.random.default_rng(0))
    assert abs((rows > 0).sum() - heavy) <= 1
    if exponent == 1:  # no map of the many comes twice
        assert len(np.unique(rows[rows > 0])) == (rows > 0).sum()


def test_whole_clouds_are_held_out():
    clouds = np.repeat(["a", "b", "c"], [4, 4, 4])
    protostars = np.arange(12)
    assert (
        hold_out(clouds, protostars, ["a", "c"], None).tolist()
        == [True] * 4 + [False] * 4 + [True] * 4
    )
    for part, n_clouds in ((0.1, 1), (0.9, 2)):
        held = hold_out(clouds, protostars, part, np.random.default_rng(0))
        assert len(set(clouds[held])) == n_clouds
        assert held.sum() == 4 * n_clouds
    with pytest.raises(ValueError, match="at least two clouds"):
        hold_out(clouds[:4], protostars[:4], 0.1, np.random.default_rng(0))


def test_it_learns_more_than_a_probe_of_random_tokens(encoder):
    maps = make_mapset(120, n_maps=1)
    options = {"blocks": "all", "n_views": 8, "learning_rate": 2e-3}
    tuned = fine_tune(encoder, maps, validation="cloud2", max_epochs=12, patience=12, **options)
    assert tuned.best_epoch > 0
    history = tuned.history
    assert history["loss"][-1] < 0.5 * history["loss"][1]
    best = history[tuned.best_epoch]
    assert best["validation_r2"] == max(history["validation_r2"])
    assert best["validation_r2"] > history["validation_r2"][0]
    held = maps[maps.clouds == "cloud2"]
    ratio = np.log10((tuned.predict(held) / held.masses).to_value(u.one))
    assert np.std(ratio) < 0.6 * np.std(held.log_masses)
    new = make_mapset(30, n_maps=1, seed=5)
    found = np.log10(tuned.predict(new).to_value(u.solMass))
    assert np.corrcoef(found, new.log_masses)[0, 1] > 0.8


def test_shuffled_masses_teach_nothing(encoder, maps):
    shuffled = make_mapset(60, n_maps=1)
    shuffled.masses = np.random.default_rng(1).permutation(maps.masses.value) * u.solMass
    tuned = fine_tune(encoder, shuffled, blocks=1, **QUICK)
    assert tuned.history["validation_r2"].max() < 0.3


@pytest.mark.parametrize("blocks", [1, "all"])
def test_only_what_is_asked_for_changes(encoder, maps, blocks):
    before = _state(encoder)
    options = {"max_epochs": 6, "learning_rate": 1e-3, "validation": "cloud2", "n_views": 8}
    tuned = fine_tune(encoder, maps, blocks=blocks, **options)
    assert tuned.best_epoch > 0
    assert all(torch.equal(value, before[name]) for name, value in _state(encoder).items())
    after = _state(tuned.encoder)
    last = f"blocks.{len(encoder.model.blocks) - 1}."
    changed = {name for name in before if (before[name] - after[name]).abs().max() > 2e-4}
    assert any(name.startswith(last) for name in changed)
    assert tuned.encoder.fingerprint() != encoder.fingerprint()
    if blocks == 1:
        assert all(name.startswith((last, "norm")) for name in changed)
    else:
        assert any(name.startswith("blocks.0.") for name in changed)


@pytest.mark.parametrize("blocks", [1, "all"])
def test_one_seed_one_result(encoder, maps, blocks):
    torch.manual_seed(1)
    first = fine_tune(encoder, maps, blocks=blocks, random_state=3, **QUICK)
    torch.manual_seed(2)
    second = fine_tune(encoder, maps, blocks=blocks, random_state=3, **QUICK)
    assert first.encoder.fingerprint() == second.encoder.fingerprint()
    np.testing.assert_array_equal(first.predict(maps[:5]), second.predict(maps[:5]))
    other = fine_tune(encoder, maps, blocks=blocks, random_state=4, **QUICK)
    assert not np.array_equal(first.history["loss"][1:], other.history["loss"][1:])


def test_tuned_encoder_is_saved_and_used(encoder, maps, tmp_path):
    path = tmp_path / "tuned.safetensors"
    tuned = fine_tune(encoder, maps, blocks=1, **QUICK)
    tuned.encoder.save(path)
    again = FractalEncoder("timm:test_vit", weights=path, device="cpu")
    assert again.fingerprint() == tuned.encoder.fingerprint()
    card = read_card(path)
    assert card["fine_tuning"]["validation"] == ["cloud2"]
    assert card["fine_tuning"]["from"] == encoder.weights_id
    features = tuned.encoder.encode(maps.images[:3], pooling="central")
    np.testing.assert_array_equal(again.encode(maps.images[:3], pooling="central"), features)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blocks": 0}, "blocks must be 'all' or from 1 to"),
        ({"blocks": "last"}, "blocks must be"),
        ({"validation": "nowhere"}, "validation must be names of the clouds .* got 'nowhere'"),
        ({"validation": []}, "validation must be names of the clouds"),
        ({"validation": 1.5}, "validation must be .* between 0 and 1"),
        ({"n_views": 0}, "n_views must be"),
    ],
)
def test_errors_name_the_parameter(encoder, maps, options, message):
    with pytest.raises(ValueError, match=message):
        fine_tune(encoder, maps, **options)


def test_other_inputs_are_refused(encoder, maps):
    with pytest.raises(TypeError, match="maps must be a MapSet"):
        fine_tune(encoder, maps.images)
    with pytest.raises(ValueError, match="Vision Transformer"):
        fine_tune(FractalEncoder("timm:resnet10t", weights="random", device="cpu"), maps)
    with pytest.raises(ValueError, match="maps must leave at least 10"):
        fine_tune(encoder, maps[:12], validation="cloud0")


def test_an_estimator_takes_the_tuned_encoder(maps):
    from astrofractal.mass import FeatureSet

    bundled = FractalEncoder(device="cpu")
    few = maps[:30]
    tuned = fine_tune(bundled, few, blocks=1, n_views=1, max_epochs=1, validation="cloud2")
    features = FeatureSet(pooling="central", symmetrize=False)
    estimator = StellarMassEstimator(tuned.encoder, features=features, regressor="ridge").fit(few)
    assert np.isfinite(estimator.predict(few[:2]).value).all()
    assert estimator.meta["weights_id"] == tuned.encoder.weights_id
    assert "tuned" in tuned.encoder.weights_id
