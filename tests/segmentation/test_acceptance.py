"""Segments of the bundled cloud: what they must be good for."""

import numpy as np
import pytest
from astropy.table import QTable
from scipy.ndimage import gaussian_filter
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

from astrofractal import FeatureSegmenter, GasMap
from astrofractal.data import data_path


@pytest.fixture(scope="module")
def gas():
    return GasMap.read(data_path("example_cloud.fits"))


@pytest.fixture(scope="module")
def result(gas):
    return FeatureSegmenter().segment(gas)


@pytest.fixture(scope="module")
def pixels(gas, result):
    """Segments of the same gas by k-means of the channels, smoothed by a pixel."""
    array, inside = gas.to_array(), result.labels.data > 0
    array[2] = np.log10(array[2])
    channels = np.stack([gaussian_filter(plane, 1)[inside] for plane in array], axis=1)
    found = np.zeros(gas.shape, int)
    channels = (channels - channels.mean(0)) / channels.std(0)
    found[inside] = KMeans(8, n_init=3, random_state=0).fit_predict(channels) + 1
    return found


def share(labels, values):
    """Share of the variance of values between labels."""
    count, total = np.bincount(labels), np.bincount(labels, values)
    means = total / np.maximum(count, 1)
    return np.var(means[labels]) / np.var(values)


def ridges(gas):
    log_column = np.log10(gas.column_density.value)
    return log_column - np.log10(gaussian_filter(gas.column_density.value, 6)) > 0.12


def test_segments_describe_the_gas(gas, result):
    labels = result.labels.data
    inside = labels > 0
    array = gas.to_array()[:, inside]
    found = [share(labels[inside], values) for values in (*array[:2], np.log10(array[2]))]
    assert np.all(np.array(found) > (0.65, 0.45, 0.55)), found


def test_background_is_no_segment(gas, result):
    column = gas.column_density.value
    assert 0.1 < (result.labels.data > 0).mean() < 0.4
    assert (result.labels.data[column > 3e21] > 0).all()


@pytest.mark.parametrize(
    ("truth", "least"), [(ridges, 2.0), (lambda gas: gas.column_density.value > 2e22, 4 / 3)]
)
def test_segments_follow_ridges_and_cores_better_than_pixels(gas, result, pixels, truth, least):
    inside = result.labels.data > 0
    truth = truth(gas)[inside]
    own, other = (
        adjusted_mutual_info_score(truth, labels[inside]) for labels in (result.labels.data, pixels)
    )
    assert own > least * other, (own, other)


def test_protostars_are_in_the_densest_segments(gas, result):
    sinks = QTable.read(data_path("example_cloud.fits"), hdu="SINKS")
    labels = result.labels.data
    at = result.label_at((np.asarray(sinks["x"]), np.asarray(sinks["y"])))
    dense = range(result.n_segments - 2, result.n_segments + 1)
    assert np.isin(at, dense).mean() > np.isin(labels[labels > 0], dense).mean() + 0.4


def test_filaments_stay_connected(result):
    """The longest island of the densest segments is long and thin."""
    from scipy.ndimage import find_objects

    islands = result.islands.data
    dense = np.flatnonzero(result.island_segments >= result.n_segments - 3) + 1
    boxes = find_objects(islands)
    lengths = [max(part.stop - part.start for part in boxes[k - 1]) for k in dense]
    longest = dense[int(np.argmax(lengths))]
    assert max(lengths) > 25
    assert (islands == longest).sum() < 0.5 * max(lengths) ** 2


def test_noise_moves_few_pixels(gas, result):
    rng = np.random.default_rng(1)
    noise = 0.1 * rng.standard_normal((3, *gas.shape))
    noisy = gas.replace(
        column_density=gas.column_density * (1 + noise[0]),
        velocity=gas.velocity + noise[1] * gas.dispersion,
        dispersion=gas.dispersion * (1 + noise[2]),
    )
    labels = FeatureSegmenter().segment(noisy).labels.data
    both = (labels > 0) & (result.labels.data > 0)
    assert adjusted_rand_score(labels[both], result.labels.data[both]) > 0.8
