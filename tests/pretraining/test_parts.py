"""Views, losses and the step sampler, against what they promise."""

import numpy as np
import pytest
import torch

from astrofractal.encoder import ChannelNormalization
from astrofractal.encoder.pooling import LATTICE
from astrofractal.encoder.structure import at_center, n_center_targets, structure_targets
from astrofractal.pretraining import Recipe
from astrofractal.pretraining.augmentations import ViewSampler
from astrofractal.pretraining.data import Flames, StepSampler
from astrofractal.pretraining.heads import Predictor
from astrofractal.pretraining.losses import PrototypeLoss, effective_rank

pytest.importorskip("lightly")


@pytest.fixture
def recipe():
    return Recipe.load("compact", batch_size=8, n_points=2000, n_images=64)


@pytest.fixture
def images(recipe):
    generator = torch.Generator().manual_seed(0)
    shape = (recipe.batch_size, 3, recipe.source_size, recipe.source_size)
    return torch.randn(shape, generator=generator)


def test_views_keep_the_amplitude(recipe, images):
    view = ViewSampler(recipe, 0).geometric(images)
    assert view.shape == (8, 3, 64, 64)
    values = [set(np.abs(image[1].numpy()).ravel().tolist()) for image in images]
    for one, own in zip(view, values):
        assert set(np.abs(one[1].numpy()).ravel().tolist()) <= own


def test_views_are_a_function_of_seed_and_step(recipe, images):
    one, two, other = (ViewSampler(recipe, step).geometric(images) for step in (3, 3, 4))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_shares_of_a_batch_make_up_the_whole(recipe, images):
    def views(share):
        sampler = ViewSampler(recipe, 5, share)
        return sampler.degraded(sampler.geometric(images[share]))

    whole = views(slice(None))
    for rank in range(2):
        share = slice(rank, None, 2)
        torch.testing.assert_close(views(share), whole[share])


def test_scaled_views_stay_inside_the_source(recipe, images):
    scaled = Recipe(**{**recipe.to_dict(), "scale_min": 0.3})
    view = ViewSampler(scaled, 0).geometric(torch.ones_like(images))
    inside = view[:, 0, 2:-2, 2:-2].abs()
    torch.testing.assert_close(inside, torch.ones_like(inside))


def test_windows_are_square_blocks(recipe):
    kept = ViewSampler(recipe, 0).window_tokens(8, 3)
    rows, columns = kept // 8, kept % 8
    assert kept.shape == (8, 9)
    for axis in (rows, columns):
        assert torch.equal(axis.amax(1) - axis.amin(1), torch.full((8,), 2))


def test_scattered_tokens_are_a_permutation(recipe):
    order = ViewSampler(recipe, 0).scattered_tokens(8, 19)
    assert torch.equal(order.sort(1).values, torch.arange(64).expand(8, -1))


def test_blocks_are_a_permutation_that_starts_with_a_square(recipe):
    order = ViewSampler(recipe, 0).block_tokens(8, 4)
    assert torch.equal(order.sort(1).values, torch.arange(64).expand(8, -1))
    for axis in (order[:, :16] // 8, order[:, :16] % 8):
        assert torch.equal(axis.amax(1) - axis.amin(1), torch.full((8,), 3))


@pytest.mark.parametrize("centering", ["sinkhorn", "mean"])
def test_targets_are_probabilities(centering):
    loss = PrototypeLoss(16, centering=centering, student_temperature=0.1)
    logits = torch.randn(64, 16, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)
    targets = loss.targets(logits, 0.06)
    torch.testing.assert_close(targets.sum(1), torch.ones(64))


def test_sinkhorn_uses_every_prototype():
    loss = PrototypeLoss(16, centering="sinkhorn", student_temperature=0.1)
    logits = 0.1 * torch.randn(64, 16, generator=torch.Generator().manual_seed(1))
    logits[:, 3] += 1  # one prototype would take all
    assert logits.argmax(1).unique().numel() == 1
    assert loss.targets(logits, 0.06).mean(0).max() < 2 / 16


def test_agreeing_with_the_teacher_is_the_minimum():
    loss = PrototypeLoss(8, centering="mean", student_temperature=1.0)
    targets = torch.randn(32, 8, generator=torch.Generator().manual_seed(1)).softmax(1)
    best = loss(targets, targets.log())
    for noise in torch.randn(5, 32, 8, generator=torch.Generator().manual_seed(2)):
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
    for step in (0, 7):
        drawn = sorted([*samplers[0], *samplers[1]])
        assert drawn == list(range(step * 8, step * 8 + n_images))


def test_processes_must_divide_the_batch(recipe):
    with pytest.raises(ValueError, match="batch_size must be a multiple of the 3 processes, got 8"):
        StepSampler(recipe, lambda: 0, world_size=3)


def test_flames_are_normalized_and_pure(recipe):
    flames = Flames(recipe)
    assert flames[5].shape == (3, 96, 96)
    assert np.isfinite(flames[5]).all()
    np.testing.assert_array_equal(flames[5], Flames(recipe)[5])
    assert abs(flames[5][1]).max() < 40


def test_magnified_views_keep_the_peak_in_the_middle():
    recipe = Recipe.load("compact_zoom", batch_size=32, max_shift=0, zoom_probability=1.0)
    y, x = torch.meshgrid(*2 * [torch.arange(96) - 47.5], indexing="ij")
    blob = torch.exp(-0.5 * (x**2 + y**2) / 2.0**2)
    views = ViewSampler(recipe, 0).geometric(blob.expand(32, 3, 96, 96))
    profile = views[:, 0].clamp_min(0)
    widths = ((profile.sum((1, 2)) / (2 * torch.pi)).sqrt() / 2.0).clamp_min(1)
    assert (profile.flatten(1).argmax(1) // 64 - 31.5).abs().max() <= 1
    assert widths.min() < 1.5
    assert 4 < widths.max() <= recipe.zoom_max + 0.1


def test_class_token_is_asked_for_the_middle_of_the_view():
    views = torch.randn(2, 3, 64, 64)
    targets = structure_targets(views, 8, ChannelNormalization()).unflatten(1, (8, 8))
    center = at_center(targets.flatten(1, 2))
    # Where four patches meet, all four say the same.
    lattice = targets.unflatten(-1, (-1, LATTICE, LATTICE))
    for row, column in ((3, 3), (3, 4), (4, 3), (4, 4)):
        same = lattice[:, row, column, :, -(4 - row), -(4 - column)]
        torch.testing.assert_close(center, same)
    assert center.shape == (2, n_center_targets())


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
