"""Views, losses and the step sampler, against what they promise."""

import numpy as np
import pytest
import torch

from astrofractal.encoder import ChannelNormalization
from astrofractal.encoder.pooling import LATTICE, effective_rank
from astrofractal.encoder.structure import N_CENTER_TARGETS, at_center, structure_targets
from astrofractal.pretraining import Recipe
from astrofractal.pretraining.images import Flames, StepSampler
from astrofractal.pretraining.terms import (
    Predictor,
    PrototypeLoss,
    consistency_loss,
    mass_loss,
)
from astrofractal.pretraining.views import ViewSampler

pytest.importorskip("lightly")


@pytest.fixture
def recipe():
    return Recipe.load("compact", batch_size=8, n_points=2000, n_images=64)


@pytest.fixture
def images(recipe):
    generator = torch.Generator().manual_seed(0)
    shape = (recipe.batch_size, 3, recipe.images.source_size, recipe.images.source_size)
    return torch.randn(shape, generator=generator)


def _view(recipe, step, images):
    sampler = ViewSampler(recipe, step)
    return sampler.cut(images, sampler.geometry(images.shape[-1]))


def test_views_keep_the_amplitude(recipe, images):
    view = _view(recipe, 0, images)
    assert view.shape == (8, 3, 64, 64)
    values = [np.sort(np.abs(image[1].numpy()).ravel()) for image in images]
    for one, own in zip(view, values):
        found = np.abs(one[1].numpy()).ravel()
        nearest = own[np.searchsorted(own, found).clip(1, len(own) - 1)]
        before = own[np.searchsorted(own, found).clip(1, len(own) - 1) - 1]
        assert np.minimum(abs(nearest - found), abs(before - found)).max() < 2e-3


def test_views_of_half_precision_are_those_of_full(recipe, images):
    with torch.autocast("cpu", torch.bfloat16):
        half = _view(recipe, 0, images)
    torch.testing.assert_close(half, _view(recipe, 0, images), rtol=0, atol=0)


def test_views_of_other_numbers_are_others(recipe, images):
    places = [ViewSampler(recipe, 0, view=view).geometry(96) for view in (0, 1, 0)]
    assert (places[0].center != places[1].center).any()
    torch.testing.assert_close(places[0].center, places[2].center, rtol=0, atol=0)


def test_views_are_a_function_of_seed_and_step(recipe, images):
    one, two, other = (_view(recipe, step, images) for step in (3, 3, 4))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_symmetric_views_show_the_same_gas_in_the_patches_that_they_name():
    recipe = Recipe.load("compact_invariant", batch_size=16, max_shift=0, jitter=0.0)
    sampler = ViewSampler(recipe, 0)
    y, x = np.mgrid[:96, :96] - 47.5
    plane = torch.from_numpy(x + 3 * y).float().expand(16, 3, 96, 96)  # without a symmetry
    one = sampler.geometry(96)
    other = sampler.symmetric(one)
    assert (one.symmetry != other.symmetry).any()
    patches = [
        sampler.cut(plane, place)[:, 0].unflatten(1, (8, 8)).unflatten(3, (8, 8)).mean((2, 4))
        for place in (one, other)
    ]
    index = other.tokens_in(one, 8)
    same = patches[1].flatten(1).gather(1, index)
    # The other views are moved by up to half a pixel along both axes.
    inside = (patches[0].flatten(1).abs() < 100) & (one.zoom > 1.5)[:, None]
    assert (same - patches[0].flatten(1)).abs()[inside].max() <= 0.5 * (1 + 3) + 0.01


def test_velocities_change_their_sign_with_the_line_of_sight():
    recipe = Recipe.load("compact_invariant", batch_size=32)
    sampler = ViewSampler(recipe, 0)
    views = sampler.cut(torch.ones(32, 3, 96, 96), sampler.geometry(96))
    assert set(views[:, 1].mean((1, 2)).round().tolist()) == {-1.0, 1.0}
    torch.testing.assert_close(views[:, [0, 2]], torch.ones(32, 2, 64, 64))


def test_beam_keeps_the_mass_and_turns_gradients_into_dispersion():
    recipe = Recipe.load(
        "compact_invariant", batch_size=4, blur_probability=1.0, beam_max=4.0, noise=0.0,
        noise_probability=0.0, border_probability=0.0, drop_velocity_probability=0.0,
    )  # fmt: skip
    images = torch.zeros(4, 3, 96, 96)
    images[:, 0, 48, 48] = 4.0  # two dex
    images[:, 1] = torch.arange(96) - 47.5  # 0.4 km/s a pixel
    seen = ViewSampler(recipe, 0).degraded(images)
    mass, before = ((10 ** (0.5 * x[:, 0])).sum((1, 2)) for x in (seen, images))
    torch.testing.assert_close(mass, before, rtol=1e-3, atol=0)
    assert (seen[:, 2, 20, 20] - images[:, 2, 20, 20]).max() > 0.1
    assert (seen[:, 0].amax((1, 2)) < 4.0).all()


def test_missing_velocities_are_missing_in_a_third(images):
    recipe = Recipe.load("compact_invariant", batch_size=256)
    seen = ViewSampler(recipe, 0).degraded(torch.randn(256, 3, 96, 96))
    absent = (seen == 0).flatten(2).all(2)
    assert not absent[:, 0].any()
    assert 0.23 < absent.any(1).float().mean() < 0.43


def test_consistency_does_not_reward_small_features():
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 64, 8, generator=generator)
    loss = consistency_loss(one, other)
    torch.testing.assert_close(consistency_loss(0.1 * one, 0.1 * other), loss)
    assert consistency_loss(one, one) == 0


def test_likelihood_of_masses_is_best_at_the_truth():
    log_mass = torch.linspace(-1, 1, 64)
    asked = torch.ones(64, dtype=torch.bool)
    asked[3] = False

    def loss(offset, log_sigma):
        found = torch.stack([log_mass + offset, torch.full_like(log_mass, log_sigma)], 1)
        found[3] = 1e3  # not asked
        return mass_loss(found, log_mass, asked)

    assert loss(0.0, -1.0) < loss(0.2, -1.0)
    # The best uncertainty of an error is its size.
    assert loss(0.5, np.log(0.5)) < min(loss(0.5, np.log(0.3)), loss(0.5, np.log(0.8)))
    assert mass_loss(torch.randn(4, 2), torch.full((4,), 0.0), torch.zeros(4).bool()) == 0


@pytest.mark.parametrize("rank", [0, 1])
def test_shares_of_a_batch_make_up_the_whole(recipe, images, rank):
    def views(share):
        sampler = ViewSampler(recipe, 5, share)
        return sampler.cut(sampler.degraded(images[share]), sampler.geometry(96))

    share = slice(rank, None, 2)
    torch.testing.assert_close(views(share), views(slice(None))[share])


def test_scaled_views_stay_inside_the_source(recipe, images):
    scaled = Recipe.of(recipe.to_dict(), scale_min=0.3)
    view = _view(scaled, 0, torch.ones_like(images))
    inside = view[:, 0, 2:-2, 2:-2].abs()
    torch.testing.assert_close(inside, torch.ones_like(inside))


def test_windows_are_square_blocks(recipe):
    kept = ViewSampler(recipe, 0).window_tokens(8, 3)
    rows, columns = kept // 8, kept % 8
    assert kept.shape == (8, 9)
    places = torch.stack([rows, columns])
    assert torch.equal(places.amax(2) - places.amin(2), torch.full((2, 8), 2))


def test_scattered_tokens_are_a_permutation(recipe):
    order = ViewSampler(recipe, 0).scattered_tokens(8, 19)
    assert torch.equal(order.sort(1).values, torch.arange(64).expand(8, -1))


def test_blocks_are_a_permutation_that_starts_with_a_square(recipe):
    order = ViewSampler(recipe, 0).block_tokens(8, 4)
    assert torch.equal(order.sort(1).values, torch.arange(64).expand(8, -1))
    places = torch.stack([order[:, :16] // 8, order[:, :16] % 8])
    assert torch.equal(places.amax(2) - places.amin(2), torch.full((2, 8), 3))


@pytest.mark.parametrize("centering", ["sinkhorn", "mean"])
def test_targets_are_probabilities(centering):
    loss = PrototypeLoss(16, centering)
    logits = torch.randn(64, 16, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)
    targets = loss.targets(logits, 0.06)
    torch.testing.assert_close(targets.sum(1), torch.ones(64))


def test_sinkhorn_uses_every_prototype():
    loss = PrototypeLoss(16, "sinkhorn")
    logits = 0.1 * torch.randn(64, 16, generator=torch.Generator().manual_seed(1))
    logits[:, 3] += 1  # one prototype would take all
    assert logits.argmax(1).unique().numel() == 1
    assert loss.targets(logits, 0.06).mean(0).max() < 2 / 16


@pytest.mark.parametrize("seed", range(5))
def test_agreeing_with_the_teacher_is_the_minimum(seed):
    loss = PrototypeLoss(8, "mean", student_temperature=1.0)
    targets = torch.randn(32, 8, generator=torch.Generator().manual_seed(1)).softmax(1)
    best = loss(targets, targets.log())
    noise = torch.randn(32, 8, generator=torch.Generator().manual_seed(2 + seed))
    assert loss(targets, targets.log() + noise) > best


def test_effective_rank_counts_directions():
    random = torch.randn(512, 4, generator=torch.Generator().manual_seed(1))
    embedded = random @ torch.linalg.qr(torch.randn(16, 16))[0][:4]
    assert effective_rank(embedded) == pytest.approx(4, rel=0.05)
    assert effective_rank(torch.ones(8, 4)) == pytest.approx(1, abs=1e-3)


def test_steps_follow_one_another_without_gap(recipe):
    step = 0
    samplers = [StepSampler(recipe, lambda: step, rank=rank, world_size=2) for rank in range(2)]
    n_images = recipe.steps_per_checkpoint * recipe.batch_size
    for step in (0, 7):  # the same samplers go on
        drawn = sorted([*samplers[0], *samplers[1]])
        assert drawn == list(range(step * 8, step * 8 + n_images))


def test_processes_must_divide_the_batch(recipe):
    with pytest.raises(ValueError, match="batch_size must be a multiple of the 3 processes, got 8"):
        StepSampler(recipe, lambda: 0, world_size=3)


def test_flames_are_normalized_and_pure(recipe):
    flames = Flames(recipe)
    image, log_mass = flames[5]
    assert image.shape == (3, 96, 96)
    assert np.isfinite(image).all()
    assert np.isnan(log_mass)
    np.testing.assert_array_equal(image, Flames(recipe)[5][0])
    assert abs(image[1]).max() < 40


def test_flames_with_protostars_come_with_their_mass():
    recipe = Recipe.load("compact_invariant", n_points=2000)
    log_masses = [Flames(recipe)[index][1] for index in range(5)]
    assert np.isfinite(log_masses).all()
    assert len(set(log_masses)) == 5


def test_magnified_views_keep_the_peak_in_the_middle():
    recipe = Recipe.load("compact_zoom", batch_size=32, max_shift=0, zoom_probability=1.0)
    y, x = torch.meshgrid(*2 * [torch.arange(96) - 47.5], indexing="ij")
    blob = torch.exp(-0.5 * (x**2 + y**2) / 2.0**2)
    views = _view(recipe, 0, blob.expand(32, 3, 96, 96))
    profile = views[:, 0].clamp_min(0)
    widths = ((profile.sum((1, 2)) / (2 * torch.pi)).sqrt() / 2.0).clamp_min(1)
    assert (profile.flatten(1).argmax(1) // 64 - 31.5).abs().max() <= 1
    assert widths.min() < 1.5
    assert 4 < widths.max() <= recipe.views.zoom_max + 0.1


@pytest.mark.parametrize(("row", "column"), [(3, 3), (3, 4), (4, 3), (4, 4)])
def test_class_token_is_asked_for_the_middle_of_the_view(row, column):
    views = torch.randn(2, 3, 64, 64)
    targets = structure_targets(views, 8, ChannelNormalization()).unflatten(1, (8, 8))
    center = at_center(targets.flatten(1, 2))
    # Where four patches meet, all four say the same.
    lattice = targets.unflatten(-1, (-1, LATTICE, LATTICE))
    same = lattice[:, row, column, :, -(4 - row), -(4 - column)]
    torch.testing.assert_close(center, same)
    assert center.shape == (2, N_CENTER_TARGETS)


def test_gradients_of_the_predictor_are_the_same_every_time():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        torch.manual_seed(0)
        predictor = Predictor(192, 64, 16, dim=128, depth=1)
        order = torch.stack([torch.randperm(64) for _ in range(64)])
        tokens = torch.randn(64, 5 + 16, 192)
        found = []
        for _ in range(6):
            predictor.zero_grad()
            sum(part.square().sum() for part in predictor(tokens, 5, order)).backward()
            found.append(predictor.position.grad.clone())
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(gradient, found[0]) for gradient in found)
