"""Components, clusters and upsampling."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from astrofractal.exceptions import AstrofractalWarning
from astrofractal.segmentation.clusters import RunningCovariance, cluster_stability, fit_clusters
from astrofractal.segmentation.working_map import block_means, guided_rows


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    return (rng.normal(size=(500, 5)) * [5, 3, 2, 1, 0.5]) @ rotation + 30


def test_components_in_batches_are_those_of_scikit_learn(features):
    covariance = RunningCovariance(5)
    for part in np.array_split(features, 7):
        covariance.update(part, part[:, 0])
    found = covariance.components(3)
    expected = PCA(3).fit(features)
    np.testing.assert_allclose(found.ratios, expected.explained_variance_ratio_, rtol=1e-6)
    overlap = np.abs((found.axes * expected.components_.T).sum(0))
    np.testing.assert_allclose(overlap, 1, atol=1e-5)
    np.testing.assert_allclose(
        np.abs(found(features)), np.abs(expected.transform(features)), atol=1e-4
    )


def test_components_tell_of_the_gas_and_not_of_the_view():
    """What differs most between the views of one place comes last, whatever its variance."""
    rng = np.random.default_rng(3)
    gas, views = (
        rng.normal(size=(2000, 3)) * [1, 1, 0.5],
        rng.normal(size=(2000, 3)) * [0.1, 2, 0.1],
    )
    mixed = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    covariance = RunningCovariance(3)
    covariance.update((gas + views) @ mixed, gas[:, 0])
    scatter = mixed.T @ np.diag([0.1, 2, 0.1]) ** 2 @ mixed
    found = covariance.components(3, scatter)
    values = found((gas + views) @ mixed)
    matrix = np.abs(np.corrcoef(values.T, (gas + views).T)[:3, 3:])
    np.testing.assert_array_equal(matrix.argmax(1), [0, 2, 1])
    np.testing.assert_allclose(np.corrcoef(values.T), np.eye(3), atol=1e-3)
    assert found.ratios.sum() == pytest.approx(1)
    assert covariance.components(3).ratios[0] == pytest.approx(found.ratios[2], rel=0.1)


def test_sign_follows_the_column_density(features):
    for sign in (1, -1):
        covariance = RunningCovariance(5)
        column = sign * features @ np.ones(5)
        covariance.update(features, column)
        found = covariance.components(3)
        for projected in found(features).T:
            correlation = np.corrcoef(projected, column)[0, 1]
            assert correlation > -0.1


def clusters(n=300):
    rng = np.random.default_rng(1)
    centers = np.array([[0, 0], [6, 0], [0, 6]])
    index = np.repeat([0, 1, 2], n)
    return centers[index] + rng.normal(0, 0.5, (3 * n, 2)), index


OPTIONS = {"random_state": 0, "min_cluster_fraction": 0.05}


@pytest.mark.parametrize("method", ["kmeans", "gmm", "hdbscan"])
def test_clusters_are_numbered_by_column(method):
    points, index = clusters()
    column = np.array([22.0, 23.0, 21.0])[index]
    found = fit_clusters(points, column, method=method, n_segments=3, **OPTIONS)
    assert found.n_segments == 3
    expected = np.array([2, 3, 1])[index]
    found = found(points.astype(np.float32))
    assert (found == expected).mean() > (0.85 if method == "hdbscan" else 0.999)
    assert ((found == expected) | (found == 0)).all()


def test_mixture_is_that_of_scikit_learn():
    from sklearn.mixture import GaussianMixture

    points, index = clusters()
    points = points * [1, 3]
    found = fit_clusters(points, index * 1.0, method="gmm", n_segments=3, **OPTIONS)
    model = GaussianMixture(3, random_state=0).fit(points)
    np.testing.assert_allclose(np.sort(found.arrays["weights"]), np.sort(model.weights_), rtol=1e-3)
    pairs = set(zip(found(points).tolist(), model.predict(points).tolist(), strict=True))
    assert len(pairs) == 3


@pytest.mark.parametrize("method", ["kmeans", "gmm"])
def test_clusters_do_not_depend_on_the_seed(method):
    points = np.random.default_rng(2).normal(size=(400, 3)) * [1, 2, 3]
    one, other = (
        fit_clusters(
            points, points[:, 0], method=method, n_segments=5, random_state=seed,
            min_cluster_fraction=0.05,
        )(points)
        for seed in (0, 1)
    )  # fmt: skip
    np.testing.assert_array_equal(one, other)


def test_stability_tells_groups_from_cuts_through_one():
    points, index = clusters()
    blocks = np.arange(len(points)) % 40
    found = fit_clusters(points, index * 1.0, method="kmeans", n_segments=3, **OPTIONS)
    stable = cluster_stability(found, points, index * 1.0, blocks, 0)
    np.testing.assert_allclose(stable, 1, atol=0.01)
    blob = np.random.default_rng(5).normal(size=(400, 2))
    column = np.random.default_rng(6).normal(size=400)
    found = fit_clusters(blob, column, method="kmeans", n_segments=6, **OPTIONS)
    cut = cluster_stability(found, blob, column, np.arange(400) // 20, 0)
    assert cut.shape == (6,)
    assert cut.max() < 0.95
    assert cut.min() > 0.2
    few = cluster_stability(found, blob[:8], column[:8], np.zeros(8, int), 0)
    assert np.isnan(few).all()


@pytest.mark.parametrize("method", ["kmeans", "gmm"])
def test_number_is_chosen(method):
    points, index = clusters()
    found = fit_clusters(points, index * 1.0, method=method, n_segments="auto", **OPTIONS)
    assert found.n_segments == 3


def test_more_segments_than_points():
    with pytest.raises(ValueError, match="n_segments=5 is more than the 3 feature cells"):
        fit_clusters(np.eye(3), np.ones(3), method="kmeans", n_segments=5, **OPTIONS)
    with pytest.raises(ValueError, match="n_segments='auto' needs more than 3"):
        fit_clusters(np.eye(3), np.ones(3), method="kmeans", n_segments="auto", **OPTIONS)


def test_hdbscan_without_clusters_warns():
    points = np.random.default_rng(0).uniform(size=(60, 2))
    options = {"random_state": 0, "min_cluster_fraction": 0.9}
    with pytest.warns(AstrofractalWarning, match="no cluster"):
        found = fit_clusters(points, points[:, 0], method="hdbscan", n_segments=2, **options)
    assert found.n_segments == 0
    assert (found(points) == 0).all()


def test_block_means_skip_nan():
    array = np.arange(24.0).reshape(1, 4, 6)
    array[0, 0, 0] = np.nan
    found = block_means(array, (0, -2), 2, (2, 4))
    assert np.isnan(found[0, 0, 0])
    np.testing.assert_allclose(found[0, 0, 1], np.nanmean(array[0, :2, :2]))
    np.testing.assert_allclose(found[0, 1, 3], array[0, 2:, 4:].mean())


def upsample(guide, stride=8, **options):
    shape = tuple(n // stride for n in guide.shape)
    cells = block_means(guide[None], (0, 0), stride, shape)
    positions = tuple((np.arange(n) + 0.5) / stride - 0.5 for n in guide.shape)
    valid = options.pop("valid", np.ones(shape, bool))
    result = np.zeros(guide.shape)
    everywhere = np.zeros(guide.shape, bool)
    for rows, values, found in guided_rows(
        cells[0][..., None], valid, cells, guide[None], positions, sharpness=0.3, **options
    ):
        result[rows], everywhere[rows] = values[..., 0], found
    return result, everywhere


def test_edges_of_the_guide_are_kept_on_the_pixel_grid():
    guide = np.zeros((64, 64), np.float32)
    guide[:, 27:] = 5  # not on the border of a cell
    result, found = upsample(guide, block=500)
    assert found.all()
    assert ((result > 2.5) == (guide > 2.5)).mean() > 0.995


def test_constant_features_stay_and_gaps_are_told():
    guide = np.full((32, 48), 3, np.float32)
    guide[5, 6] = np.nan
    result, found = upsample(guide)
    np.testing.assert_allclose(result, 3, rtol=1e-5)
    valid = np.zeros((4, 6), bool)
    valid[0, 0] = True
    _, found = upsample(guide, valid=valid)
    assert found[:8, :8].all()
    assert not found[24:, 24:].any()
