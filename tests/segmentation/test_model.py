"""Components and clusters."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score

from astrofractal.segmentation.model import (
    RunningCovariance,
    cluster_stability,
    fit_centers,
    nearest_center,
)


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    return (rng.normal(size=(500, 5)) * [5, 3, 2, 1, 0.5]) @ rotation + 30


def covariance_of(features, column=None, n_parts=1):
    covariance = RunningCovariance(features.shape[1])
    column = features[:, 0] if column is None else column
    for part in np.array_split(np.arange(len(features)), n_parts):
        covariance.update(features[part], column[part], np.ones(len(part)))
    return covariance


def test_components_in_batches_are_those_of_scikit_learn(features):
    """Where views do not differ, components are principal components, scaled to a variance of 1."""
    mean, axes, colors, ratios = covariance_of(features, n_parts=7).components(3, 3, np.eye(5))
    expected = PCA(3).fit(features)
    np.testing.assert_allclose(mean, expected.mean_, rtol=1e-6)
    np.testing.assert_allclose(ratios, expected.explained_variance_ratio_, rtol=1e-5)
    shown = np.abs((features - mean) @ colors)
    np.testing.assert_allclose(shown, np.abs(expected.transform(features)), atol=1e-3)
    found = (features - mean) @ axes
    assert found.var(0).sum() == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(np.corrcoef(found.T), np.eye(3), atol=1e-5)


def test_weights_count_features_several_times(features):
    weights = np.random.default_rng(1).integers(1, 4, len(features))
    one, other = RunningCovariance(5), RunningCovariance(5)
    one.update(features, features[:, 0], weights)
    repeated = features.repeat(weights, 0)
    other.update(repeated, repeated[:, 0], np.ones(len(repeated)))
    for found, expected in zip(
        one.components(3, 2, np.eye(5)), other.components(3, 2, np.eye(5)), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_components_are_of_the_gas_and_not_of_the_view():
    """What differs most between the views of one place comes last, whatever its variance."""
    rng = np.random.default_rng(3)
    gas, views = (
        rng.normal(size=(2000, 3)) * [1, 1, 0.5],
        rng.normal(size=(2000, 3)) * [0.1, 2, 0.1],
    )
    mixed = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    tokens = (gas + views) @ mixed
    scatter = mixed.T @ np.diag([0.1, 2, 0.1]) ** 2 @ mixed
    mean, axes, colors, ratios = covariance_of(tokens, gas[:, 0]).components(3, 3, scatter)
    values = (tokens - mean) @ axes
    matrix = np.abs(np.corrcoef(values.T, (gas + views).T)[:3, 3:])
    np.testing.assert_array_equal(matrix.argmax(1), [0, 2, 1])
    assert ratios.sum() == pytest.approx(1, rel=1e-3)
    # of two components, the colors do not show what is of the view
    _, _, colors, ratios = covariance_of(tokens, gas[:, 0]).components(2, 2, scatter)
    shown = (tokens - mean) @ colors
    assert np.abs(np.corrcoef(shown.T, views[:, 1])[:2, 2]).max() < 0.2
    assert ratios.sum() < 0.4


def test_sign_follows_the_column_density(features):
    for sign in (1, -1):
        column = sign * features @ np.ones(5)
        mean, axes, colors, _ = covariance_of(features, column).components(3, 3, np.eye(5))
        for projected in ((features - mean) @ np.hstack([axes, colors])).T:
            assert np.corrcoef(projected, column)[0, 1] > -0.1


def clusters(n=300):
    rng = np.random.default_rng(1)
    centers = np.array([[0, 0], [6, 0], [0, 6]])
    index = np.repeat([0, 1, 2], n)
    return centers[index] + rng.normal(0, 0.5, (3 * n, 2)), index


def test_clusters_are_numbered_by_column():
    points, index = clusters()
    column = np.array([22.0, 23.0, 21.0])[index]
    centers = fit_centers(points, column[:, None], np.ones(len(points)), 3)
    expected = np.array([1, 2, 0])[index]
    assert (nearest_center(points, centers) == expected).mean() > 0.999


def test_heavy_points_draw_the_centers():
    points = np.array([[0.0], [1.0], [10.0], [11.0]])
    weights = np.array([3.0, 1, 1, 3])
    centers = fit_centers(points, points, weights, 2)
    # the starts, 0.798 standard deviations of 5.27 from the mean of 5.5, weigh as much as the points
    np.testing.assert_allclose(centers[:, 0], [(0.25 + 1.30) / 2, (10.75 + 9.70) / 2], atol=0.05)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8])
def test_noise_changes_few_labels(n):
    """A continuous distribution has many minima that are nearly alike."""
    rng = np.random.default_rng(2)
    points = rng.normal(size=(4000, 4)) * [1, 0.8, 0.6, 0.4]
    noisy = points + rng.normal(0, 0.03, points.shape)
    weights = np.exp(points[:, 0])
    one, other = (
        nearest_center(found, fit_centers(found, found[:, :3], weights, n))
        for found in (points, noisy)
    )
    assert len(np.unique(one)) == n
    assert n == 1 or adjusted_rand_score(one, other) > 0.8


@pytest.mark.parametrize("n", [3, 5, 8])
@pytest.mark.parametrize("axis", [1, 2])
def test_gas_that_is_cut_off_changes_few_other_labels(n, axis):
    """The lowest inertia of k-means from eight starts has 0.5 for eight segments."""
    points = np.random.default_rng(2).normal(size=(4000, 4)) * [1, 0.8, 0.6, 0.4]
    left = points[:, axis] < np.quantile(points[:, axis], 0.95)
    one, other = (
        nearest_center(points[left], fit_centers(part, part[:, :3], np.exp(part[:, 0]), n))
        for part in (points, points[left])
    )
    assert adjusted_rand_score(one, other) > 0.85


@pytest.mark.parametrize("n", range(1, 13))
def test_few_cells_and_one_of_most_weight(n):
    points = np.random.default_rng(4).normal(size=(n, 2))
    weights = np.r_[1e9, np.ones(n - 1)]
    centers = fit_centers(points, points, weights, n)
    assert len(np.unique(nearest_center(points, centers))) == n


def test_stability_is_high_for_groups_and_low_for_cuts_through_one():
    points, _ = clusters()
    blocks = np.arange(len(points)) % 40
    parts = (points, points, np.ones(len(points)))
    stable = cluster_stability(fit_centers(*parts, 3), *parts, blocks, 0)
    np.testing.assert_allclose(stable, 1, atol=0.01)
    blob = np.random.default_rng(5).normal(size=(400, 2))
    parts = (blob, blob, np.ones(400))
    centers = fit_centers(*parts, 6)
    cut = cluster_stability(centers, *parts, np.arange(400) // 20, 0)
    assert cut.shape == (6,)
    assert 0.2 < cut.min() <= cut.max() < 0.95
    few = cluster_stability(centers, *(part[:8] for part in parts), np.zeros(8, int), 0)
    assert np.isnan(few).all()


def test_more_segments_than_points():
    with pytest.raises(ValueError, match="n_segments=5 is more than the 3 cells of gas"):
        fit_centers(np.eye(3), np.eye(3), np.ones(3), 5)
