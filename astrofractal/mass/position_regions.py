"""Regions as positions: their centers, and the centroids of polygons."""

import numpy as np
from astropy.coordinates import CartesianRepresentation, SkyCoord

__all__ = ["centers_of", "read_regions"]


def read_regions(path, kind):
    """
    Read a file of regions.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file.

    kind : {"ds9", "crtf", "fits"}
        Its format.

    Returns
    -------
    regions : `~regions.Regions`
        What it holds.

    Raises
    ------
    ValueError
        If it cannot be read.
    """
    from regions import Regions

    try:
        return Regions.read(path, format=kind)
    except Exception as error:  # the parsers raise whatever they stumble over
        msg = f"positions: cannot read the regions of {str(path)!r}: {error}"
        raise ValueError(msg) from error


def centers_of(regions, where):
    """
    Return the centers of regions.

    Parameters
    ----------
    regions : `~regions.Regions`, `~regions.Region` or list of these
        All on the sky, or all in pixels.  A polygon's center is its centroid.

    where : str
        What an error calls them.

    Returns
    -------
    centers : `~astropy.coordinates.SkyCoord` or 2D `~numpy.ndarray`
        On the sky (ICRS), or 0-based pixels of shape (n, 2).

    labels : list of str or None
        Their texts or labels, where all have one.

    Raises
    ------
    ValueError
        If one has no center, or sky and pixels are mixed.
    """
    regions = [regions] if hasattr(regions, "meta") else list(regions)
    if not regions:
        return np.empty((0, 2)), None
    centers = [_center(region, where) for region in regions]
    labels = [r.meta.get("text") or r.meta.get("label") or "" for r in regions]
    labels = labels if all(labels) else None
    on_sky = [isinstance(center, SkyCoord) for center in centers]
    if all(on_sky):
        xyz = np.array([center.icrs.cartesian.xyz.value for center in centers])
        return SkyCoord(
            CartesianRepresentation(*xyz.T), representation_type="unitspherical"
        ), labels
    if any(on_sky):
        msg = f"positions: {where} mixes sky and pixel regions"
        raise ValueError(msg)
    return np.array([[c.x, c.y] for c in centers], dtype=float), labels


def _center(region, where):
    vertices = getattr(region, "vertices", None)
    if hasattr(region, "center"):
        return region.center
    if vertices is None:
        msg = (
            f"positions: {type(region).__name__} of {where} has no center; points, circles, "
            "ellipses, rectangles, annuli and polygons have one"
        )
        raise ValueError(msg)
    if not isinstance(vertices, SkyCoord):
        return type(vertices)(*_centroid(np.stack([vertices.x, vertices.y])))
    # In the plane that touches the sky at the mean of the vertices, where great circles are straight.
    xyz = vertices.icrs.cartesian.xyz.value
    middle = xyz.mean(1) / np.linalg.norm(xyz.mean(1))
    axes = np.linalg.svd(middle[None])[2][1:]
    plane = _centroid(axes @ (xyz / (middle @ xyz)))
    return SkyCoord(
        CartesianRepresentation(*(middle + plane @ axes)), representation_type="unitspherical"
    )


def _centroid(vertices):
    """Return the centroid of a polygon; of one without an area, the mean of its vertices."""
    origin = vertices.mean(1)
    x, y = vertices - origin[:, None]
    x_next, y_next = np.roll(x, -1), np.roll(y, -1)
    cross = x * y_next - x_next * y
    area = cross.sum() / 2
    if abs(area) <= 1e-12 * (np.ptp(x) * np.ptp(y) or 1):
        return origin
    moments = [((own + nxt) * cross).sum() for own, nxt in ((x, x_next), (y, y_next))]
    return origin + np.array(moments) / (6 * area)
