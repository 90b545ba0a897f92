"""Connected islands of segments: numbering, merging of small ones, nesting."""

import numpy as np

__all__ = ["connected_islands", "merge_small", "number_by_density", "parents"]


def connected_islands(labels):
    """
    Number the connected islands of all segments.

    Parameters
    ----------
    labels : 2D int `~numpy.ndarray`
        Segments; 0 is no segment.

    Returns
    -------
    islands : 2D int32 `~numpy.ndarray`
        Numbers from 1, by segment and then by position; pixels that touch only at a corner belong
        to different islands.  0 where ``labels`` is.

    segments : 1D `~numpy.ndarray`
        The segment of each island; the first is that of island 1.
    """
    from scipy.ndimage import label

    islands = np.zeros(labels.shape, np.int32)
    segments = []
    for segment in np.unique(labels[labels > 0]):
        mask = labels == segment
        found, n_found = label(mask)
        islands[mask] = found[mask] + len(segments)
        segments += [segment] * n_found
    return islands, np.array(segments, dtype=np.int32)


def _borders(islands):
    """Pairs of islands that touch along a pixel edge, and the length of their border."""
    pairs = []
    for one, other in ((islands[:, 1:], islands[:, :-1]), (islands[1:], islands[:-1])):
        edge = one != other
        pairs.append(np.stack([one[edge], other[edge]], 1))
    pairs = np.concatenate(pairs)
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    if not len(pairs):
        return np.empty((0, 2), int), np.empty(0, int)
    return np.unique(pairs, axis=0, return_counts=True)


def merge_small(labels, n_pixels, *, keep_isolated=False):
    """
    Give islands that are too small to their neighbors.

    Parameters
    ----------
    labels : 2D int `~numpy.ndarray`
        Segments; 0 is no segment.

    n_pixels : float
        An island with fewer pixels joins the segment with which it shares the longest border.

    keep_isolated : bool, optional
        Whether a small island with no neighbor keeps its label or becomes 0.

    Returns
    -------
    labels : 2D int `~numpy.ndarray`
        New labels; none is given to a pixel that had none.
    """
    labels = labels.copy()
    while n_pixels > 1:
        islands, segments = connected_islands(labels)
        sizes = np.bincount(islands.ravel(), minlength=len(segments) + 1)
        small = sizes < n_pixels
        small[0] = False
        if not small.any():
            break
        segment_of = np.r_[0, segments]
        pairs, lengths = _borders(islands)
        # Into large neighbors first; where there are none, small ones join one another.  Only ever
        # into an island of higher rank, so that no two islands change places for ever.
        use = small[pairs[:, 0]] & (pairs[:, 1] > 0)
        has_large = np.zeros(len(sizes), dtype=bool)
        has_large[pairs[use & ~small[pairs[:, 1]], 0]] = True
        rank = np.empty(len(sizes), dtype=int)
        rank[np.lexsort((-np.arange(len(sizes)), sizes))] = np.arange(len(sizes))
        higher = rank[pairs[:, 1]] > rank[pairs[:, 0]]
        alone = np.ones(len(sizes), dtype=bool)
        alone[pairs[use, 0]] = False
        use &= np.where(has_large[pairs[:, 0]], ~small[pairs[:, 1]], higher)
        pairs, lengths = pairs[use], lengths[use]
        order = np.lexsort((-pairs[:, 1], lengths))  # the longest border last, so that it wins
        target = np.arange(len(sizes))
        target[pairs[order, 0]] = pairs[order, 1]
        if not keep_isolated:
            target[small & alone] = 0
        if np.array_equal(target, np.arange(len(sizes))):
            break
        while not np.array_equal(target, target[target]):
            target = target[target]
        labels = segment_of[target][islands].astype(labels.dtype)
    return labels


def number_by_density(labels, column):
    """
    Number segments by their mean column density, without gaps.

    Parameters
    ----------
    labels : 2D int `~numpy.ndarray`
        Segments; 0 is no segment.

    column : 2D `~numpy.ndarray`
        Column density.

    Returns
    -------
    labels : 2D int `~numpy.ndarray`
        1 for the segment of the lowest mean; 0 where ``labels`` is.

    former : 1D `~numpy.ndarray`
        The former number of segment 1, 2, ...: those that have a pixel.
    """
    inside = labels > 0
    found, index = np.unique(labels[inside], return_inverse=True)
    mean = np.bincount(index, column[inside].astype(float)) / np.maximum(np.bincount(index), 1)
    former = found[np.argsort(mean, kind="stable")]
    number = np.zeros(labels.max(initial=0) + 1, labels.dtype)
    number[former] = np.arange(1, len(former) + 1)
    return number[labels], former


def parents(islands):
    """
    Find for each island the smallest island that encloses it.

    Parameters
    ----------
    islands : 2D int `~numpy.ndarray`
        Numbered islands.

    Returns
    -------
    parent : 1D `~numpy.ndarray`
        For island 1, 2, ...: the number of the island in whose hole it lies, or 0.
    """
    from scipy.ndimage import binary_fill_holes, find_objects

    boxes = find_objects(islands)
    parent = np.zeros(len(boxes), np.int32)
    around = np.full(len(boxes), np.inf)
    for number, box in enumerate(boxes, start=1):
        if box is None or min(part.stop - part.start for part in box) < 3:
            continue
        here = islands[box] == number
        filled = binary_fill_holes(here)
        area = filled.sum()
        if area == here.sum():
            continue
        inside = np.unique(islands[box][filled & ~here])
        inside = inside[inside > 0]
        closer = inside[area < around[inside - 1]]
        parent[closer - 1] = number
        around[closer - 1] = area
    return parent
