"""Outlines of islands as polygons along the edges of pixels, and as regions."""

import numpy as np

__all__ = ["island_rings", "keyhole", "polygon_regions", "rings", "signed_area"]

# Directions of travel, with the island on the left: +x, +y, -x, -y.
_DX = np.array([1, 0, -1, 0])
_DY = np.array([0, 1, 0, -1])


def rings(mask):
    """
    Trace the boundary of a mask along the edges of its pixels.

    Parameters
    ----------
    mask : 2D bool `~numpy.ndarray`
        The pixels inside.

    Returns
    -------
    rings : list of 2D `~numpy.ndarray`, shape (n_vertices, 2)
        Closed rings of corners (x, y), where the first pixel is centered on (0, 0); the first vertex
        is not repeated.  Outer rings run counter-clockwise (x to the right, y up), holes
        clockwise.  Their signed areas add up to the number of pixels.
    """
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
    # Where two pixels touch at a corner only, turn left: stay on the same pixel.
    left = np.searchsorted(edges, end * 4 + (direction + 1) % 4)
    following = np.where(several, left, first).tolist()

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
    """
    Return the area of a ring.

    Parameters
    ----------
    ring : 2D `~numpy.ndarray`, shape (n_vertices, 2)
        Vertices (x, y).

    Returns
    -------
    area : float
        Positive when counter-clockwise.
    """
    x, y = ring.T
    return 0.5 * float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


def island_rings(islands):
    """
    Trace each connected island.

    Parameters
    ----------
    islands : 2D int `~numpy.ndarray`
        Numbered islands, 0 is none.

    Returns
    -------
    outlines : list of list of 2D `~numpy.ndarray`
        For island 1, 2, ...: its outer ring, then its holes.
    """
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
    """
    Join the outer ring of an island and its holes to one polygon.

    The polygon runs from the outer ring to each hole and back along one line of no width, so that
    by the even-odd rule it holds the pixels of the island and none of its holes.

    Parameters
    ----------
    outline : list of 2D `~numpy.ndarray`
        The outer ring and the holes.

    Returns
    -------
    polygon : 2D `~numpy.ndarray`, shape (n_vertices, 2)
        Vertices (x, y).
    """
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


def polygon_regions(outlines, segments, *, holes, wcs=None, colors=None):
    """
    Make regions of outlines.

    Parameters
    ----------
    outlines : list of list of 2D `~numpy.ndarray`
        Rings of the islands.

    segments : sequence of int
        The segment of each island.

    holes : {"keyhole", "fill"}
        Whether a polygon leaves its holes out or covers them.

    wcs : `~astropy.wcs.WCS`, optional
        If given, the regions are sky regions.

    colors : sequence of str, optional
        One color per segment.

    Returns
    -------
    regions : `regions.Regions`
        One polygon per island.
    """
    from regions import PixCoord, PolygonPixelRegion, PolygonSkyRegion, Regions

    polygons = [keyhole(o) if holes == "keyhole" else o[0] for o in outlines]
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
