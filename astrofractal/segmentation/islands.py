"""Connected islands of segments: numbering, merging of small ones, nesting."""

import numpy as np


def connected_islands(labels):
    """Number the connected islands of all segments."""
    # labels 2D; pixels that touch at a corner are connected, or thin filaments fall into pieces
    from scipy.ndimage import label

    islands = np.zeros(labels.shape, np.int32)
    segments = []
    for segment in np.unique(labels[labels > 0]):
        mask = labels == segment
        found, n_found = label(mask, np.ones((3, 3)))
        islands[mask] = found[mask] + len(segments)
        segments += [segment] * n_found
    return islands, np.array(segments, dtype=np.int32)


def borders(islands):
    """Return the pairs of labels that touch along a pixel edge, and the lengths of their borders."""
    pairs = []
    for one, other in ((islands[:, 1:], islands[:, :-1]), (islands[1:], islands[:-1])):
        edge = one != other
        pairs.append(np.stack([one[edge], other[edge]], 1))
    pairs = np.concatenate(pairs)
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    if not len(pairs):
        return np.empty((0, 2), int), np.empty(0, int)
    return np.unique(pairs, axis=0, return_counts=True)


def merge_small(labels, n_pixels):
    """Give islands that are too small to their neighbors, or no label where they have none."""
    labels = labels.copy()
    while n_pixels > 1:
        islands, segments = connected_islands(labels)
        sizes = np.bincount(islands.ravel(), minlength=len(segments) + 1)
        small = sizes < n_pixels
        small[0] = False
        if not small.any():
            break
        segment_of = np.r_[0, segments]
        pairs, lengths = borders(islands)
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
        target[small & alone] = 0
        if np.array_equal(target, np.arange(len(sizes))):
            break
        while not np.array_equal(target, target[target]):
            target = target[target]
        labels = segment_of[target][islands].astype(labels.dtype)
    return labels


def number_by_density(labels, column):
    """Number segments by their mean column density, without gaps."""
    inside = labels > 0
    found, index = np.unique(labels[inside], return_inverse=True)
    mean = np.bincount(index, column[inside].astype(float)) / np.maximum(np.bincount(index), 1)
    former = found[np.argsort(mean, kind="stable")]
    number = np.zeros(labels.max(initial=0) + 1, labels.dtype)
    number[former] = np.arange(1, len(former) + 1)
    return number[labels], former


def parents(islands):
    """Find for each island the smallest island that encloses it."""
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


# Directions of travel, with the island on the left: +x, +y, -x, -y.
_DX = np.array([1, 0, -1, 0])
_DY = np.array([0, 1, 0, -1])


def rings(mask):
    """Trace the boundary of a mask along the edges of its pixels."""
    # mask 2D in pixels
    padded = np.pad(np.asarray(mask, dtype=bool), 1)
    inside = padded[1:-1, 1:-1]
    width = inside.shape[1] + 1
    # An edge is 4 * (the corner where it starts) + direction: below, right, above, left.
    outside = (padded[:-2, 1:-1], padded[1:-1, 2:], padded[2:, 1:-1], padded[1:-1, :-2])
    starts = ((0, 0), (0, 1), (1, 1), (1, 0))
    edges = []
    for direction, (beyond, (dy, dx)) in enumerate(zip(outside, starts, strict=True)):
        y, x = np.nonzero(inside & ~beyond)
        edges.append(((y + dy) * width + x + dx) * 4 + direction)
    edges = np.sort(np.concatenate(edges))
    if not len(edges):
        return []
    corner, direction = edges // 4, edges % 4
    end = corner + _DY[direction] * width + _DX[direction]
    first = np.searchsorted(corner, end)
    several = (first + 1 < len(edges)) & (corner[np.minimum(first + 1, len(edges) - 1)] == end)
    # Where two pixels touch at a corner only, turn right: continue with the other pixel.
    right = np.searchsorted(edges, end * 4 + (direction - 1) % 4)
    following = np.where(several, right, first).tolist()

    traced, seen = [], np.zeros(len(edges), dtype=bool).tolist()
    for begin in range(len(edges)):
        if seen[begin]:
            continue
        ring, edge = [], begin
        while not seen[edge]:
            seen[edge] = True
            ring.append(edge)
            edge = following[edge]
        ring = np.array(ring)
        turns = direction[ring] != np.roll(direction[ring], 1)
        vertices = corner[ring[turns]]
        traced.append(np.stack([vertices % width - 0.5, vertices // width - 0.5], axis=1))
    return traced


def signed_area(ring):
    """Return the area of a ring."""
    # ring (n_vertices, 2)
    x, y = ring.T
    return 0.5 * float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


def island_rings(islands):
    """Trace each connected island."""
    from scipy.ndimage import find_objects

    outlines = []
    for number, box in enumerate(find_objects(islands), start=1):
        if box is None:
            outlines.append([])
            continue
        found = rings(islands[box] == number)
        shift = (box[1].start, box[0].start)
        outlines.append([ring + shift for ring in sorted(found, key=signed_area, reverse=True)])
    return outlines


def keyhole(outline):
    """Join the outer ring of an island and its holes to one polygon."""
    polygon = outline[0]
    for hole in outline[1:]:
        # From the hole's corner that is nearest, along the edges of pixels: never through a center.
        start = hole[np.lexsort(hole.T)[0]]
        nearest = np.abs(polygon - start).sum(1).argmin()
        begin = int(np.flatnonzero((hole == start).all(1))[0])
        elbow = np.array([[polygon[nearest, 0], start[1]]])
        loop = np.concatenate([np.roll(hole, -begin, axis=0), start[None]])
        back = np.concatenate([elbow, loop, elbow, polygon[nearest][None]])
        polygon = np.concatenate([polygon[: nearest + 1], back, polygon[nearest + 1 :]])
    return polygon


def polygon_regions(outlines, segments, *, wcs=None, colors=None):
    """Make regions of outlines."""
    from regions import PixCoord, PolygonPixelRegion, PolygonSkyRegion, Regions

    polygons = [keyhole(outline) for outline in outlines]
    if not polygons:
        return Regions([])
    # All vertices at once: a transformation costs the same for one as for thousands.
    x, y = np.concatenate(polygons).T
    sky = None if wcs is None else wcs.pixel_to_world(x, y)
    stops = np.cumsum([len(polygon) for polygon in polygons])
    found = []
    for island, (stop, segment) in enumerate(zip(stops, segments, strict=True), start=1):
        part = slice(stop - len(polygons[island - 1]), stop)
        name = f"segment {segment} island {island}"
        options = {"meta": {"text": name, "label": name}}
        if colors is not None:
            options["visual"] = {"color": colors[segment - 1]}
        if wcs is None:
            found.append(PolygonPixelRegion(PixCoord(x[part], y[part]), **options))
        else:
            found.append(PolygonSkyRegion(sky[part], **options))
    return Regions(found)
