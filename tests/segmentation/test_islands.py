"""Connected islands, their merging, nesting and outlines."""

import numpy as np
import pytest
from regions import PixCoord
from scipy.ndimage import gaussian_filter

from astrofractal.segmentation.islands import (
    connected_islands,
    island_rings,
    keyhole,
    merge_small,
    parents,
    polygon_regions,
    rings,
    signed_area,
)


@pytest.fixture
def labels():
    """Blobs of three values with masked gaps, pinched corners and holes."""
    smooth = gaussian_filter(np.random.default_rng(3).normal(size=(40, 50)), 1.0)
    return np.digitize(smooth, np.quantile(smooth, [0.2, 0.5, 0.8]))


def test_islands_are_numbered_by_segment(labels):
    islands, segments = connected_islands(labels)
    assert (np.diff(segments) >= 0).all()
    np.testing.assert_array_equal(np.r_[0, segments][islands], labels)
    assert islands.max() == len(segments)


def test_thin_diagonal_filaments_stay_connected():
    labels = np.eye(12, dtype=int) + 1
    islands, segments = connected_islands(labels)
    assert segments.tolist() == [1, 2]
    np.testing.assert_array_equal(merge_small(labels, 10), labels)
    (region,) = polygon_regions([island_rings(islands)[1]], [2])
    y, x = np.indices(labels.shape)
    np.testing.assert_array_equal(region.contains(PixCoord(x, y)), labels == 2)


def test_small_islands_join_the_longest_border():
    labels = np.full((12, 12), 1)
    labels[:, 6:] = 2
    labels[4:6, 6:8] = 3  # two pixels of border with 1, six with 2
    merged = merge_small(labels, 5)
    assert 3 not in merged
    assert (merged[4:6, 6:8] == 2).all()


@pytest.mark.parametrize("smallest", [2, 9, 60])
def test_no_small_island_is_left_and_no_mask_is_filled(labels, smallest):
    merged = merge_small(labels, smallest)
    islands, _ = connected_islands(merged)
    sizes = np.bincount(islands.ravel())[1:]
    assert (sizes >= smallest).all()
    assert (merged[labels == 0] == 0).all()


def test_isolated_islands_become_unlabeled():
    labels = np.zeros((20, 20), int)
    labels[2:4, 2:4] = 1
    labels[10:, 10:] = 2
    merged = merge_small(labels, 10)
    assert not merged[:5, :5].any()
    assert (merged[10:, 10:] == 2).all()


def test_alternating_pixels_end():
    board = np.indices((9, 9)).sum(0) % 2 + 1
    assert len(np.unique(merge_small(board, 45))) == 1


def test_parents_are_the_smallest_island_around():
    labels = np.full((20, 20), 1)
    labels[3:17, 3:17] = 2
    labels[6:14, 6:14] = 3
    labels[8:12, 8:10] = 1
    labels[8:12, 10:12] = 2
    islands, _ = connected_islands(labels)
    parent = np.r_[0, parents(islands)]
    outer, ring, inner = islands[0, 0], islands[4, 4], islands[7, 7]
    assert parent[outer] == 0
    assert parent[ring] == outer
    assert parent[inner] == ring
    assert parent[islands[9, 9]] == parent[islands[9, 11]] == inner


def test_rings_hold_exactly_the_pixels(labels):
    islands, _ = connected_islands(labels)
    for number, outline in enumerate(island_rings(islands), start=1):
        areas = [signed_area(ring) for ring in outline]
        assert areas[0] > 0
        assert all(area < 0 for area in areas[1:])
        assert sum(areas) == (islands == number).sum()


def test_ring_of_a_square():
    (ring,) = rings(np.ones((2, 3), bool))
    assert sorted(map(tuple, ring.tolist())) == [(-0.5, -0.5), (-0.5, 1.5), (2.5, -0.5), (2.5, 1.5)]
    assert rings(np.zeros((3, 3), bool)) == []


def test_keyhole_polygon_leaves_the_hole_out():
    mask = np.ones((9, 9), bool)
    mask[2:4, 2:5] = mask[6, 6] = False
    found = keyhole(sorted(rings(mask), key=signed_area, reverse=True))
    (region,) = polygon_regions([[found]], [1])
    y, x = np.indices(mask.shape)
    np.testing.assert_array_equal(region.contains(PixCoord(x, y)), mask)


def test_regions_of_islands_are_the_islands(labels):
    islands, segments = connected_islands(labels)
    outlines = island_rings(islands)
    y, x = np.indices(labels.shape)
    for number, region in enumerate(polygon_regions(outlines, segments), start=1):
        np.testing.assert_array_equal(region.contains(PixCoord(x, y)), islands == number)
        assert region.meta["text"] == f"segment {segments[number - 1]} island {number}"
