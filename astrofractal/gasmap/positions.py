"""Where things are on a map: positions as pixels and back, and cutouts, as methods of a GasMap."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord

from astrofractal.gasmap import wcs as _wcs
from astrofractal.gasmap.checks import check_pixels, need_wcs
from astrofractal.gasmap.moments import STANDARD_SHAPE, STANDARD_WIDTH
from astrofractal.gasmap.resample import Resampler, on_map

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from regions import Region

    import astrofractal

    _Map = TypeVar("_Map", bound="astrofractal.GasMap")  # whose module imports this one


def cutout(
    gas: _Map,
    position: SkyCoord | tuple[float, ...] | Region,
    *,
    size: u.Quantity = STANDARD_WIDTH,
    shape: tuple[int, ...] = STANDARD_SHAPE,
) -> _Map:
    """
    Return a part of the map of a given physical size, resampled.

    Parameters
    ----------
    position : `~astropy.coordinates.SkyCoord`, tuple of float or `~regions.Region`
        The center: a sky position in any frame, or a 0-based pixel (x, y).  With a region, the
        pixels of its bounding box are returned as they are.
    size : `~astropy.units.Quantity`, optional
        Width of the cutout: a length, or an angle.
    shape : tuple of int, optional
        Shape (ny, nx) of the cutout.  Pixels are square; for ny different from nx, ``size`` is
        the width along x.

    Returns
    -------
    cutout : `GasMap`
        North is up and east is left in the frame of the map's WCS; its own WCS is a tangent
        projection about ``position``.  A map without WCS keeps the directions of its pixels.
        ``flags`` are those of `~astrofractal.flags.FLAGS`; ``meta`` has the ``"size"``, and as
        ``"pixel"`` the position in the parent.

    Raises
    ------
    ValueError
        If the position is not on the map, or WCS or distance are needed and missing.

    Notes
    -----
    Values are interpolated bilinearly through the WCS, or averaged over wider pixels.  Velocities
    are weighted by column density, and their spread becomes part of the dispersion.  A pixel is
    masked when more than half of its weight is.

    Examples
    --------
    >>> from astropy import units as u
    >>> from astrofractal import GasMap
    >>> from astrofractal.data import data_path
    >>> gas = GasMap.read(data_path("example_cloud.fits"))
    >>> gas.cutout((191, 194), size=0.5 * u.pc, shape=(64, 64))
    <GasMap 64 x 64 px, column_density + velocity + dispersion, 0.007812 pc/px, at 300 pc>
    """
    if hasattr(position, "bounding_box") or hasattr(position, "contains"):  # of regions
        if size is not STANDARD_WIDTH or shape is not STANDARD_SHAPE:
            msg = "size and shape must not be given with a region: its bounding box has both"
            raise ValueError(msg)
        return _bounding_box(gas, position)
    if isinstance(position, SkyCoord):
        positions, where = position.reshape(-1), position.to_string("decimal")
    else:
        positions, where = np.atleast_2d(check_pixels("position", position)), position
    if positions.shape not in ((1,), (1, 2)):
        msg = f"position must be one SkyCoord or pixel (x, y), got {where!r}: use cutouts"
        raise ValueError(msg)
    (cutout,) = Resampler(gas, size=size, shape=shape)(positions)
    if "outside" in cutout.flags:
        x, y = cutout.meta["pixel"]
        msg = f"position {where} is not on the map: pixel ({x:.1f}, {y:.1f}) of shape {gas.shape}"
        raise ValueError(msg)
    return cutout


def _bounding_box(gas, region):
    """Return the part of a map in the bounding box of a region."""
    if not hasattr(region, "bounding_box"):
        need_wcs(gas, "a region of the sky")
        region = region.to_pixel(gas.wcs)
    part, _ = region.bounding_box.get_overlap_slices(gas.shape)
    if part is None:
        msg = f"position {region} is not on the map, whose shape (ny, nx) is {gas.shape}"
        raise ValueError(msg)
    return gas[part]


def cutouts(
    gas: _Map,
    positions: SkyCoord | ArrayLike,
    *,
    size: u.Quantity = STANDARD_WIDTH,
    shape: tuple[int, ...] = STANDARD_SHAPE,
) -> list[_Map]:
    """
    Return parts of the map around many positions, as `cutout` does of one.

    Parameters
    ----------
    positions : `~astropy.coordinates.SkyCoord` or array_like, shape (n, 2)
        The centers: sky positions in any frame, or 0-based pixels (x, y).
    size, shape : optional
        As of `cutout`.

    Returns
    -------
    cutouts : list of `GasMap`
        Those of positions that are not on the map have the flag ``"outside"``.
    """
    if isinstance(positions, SkyCoord):
        positions = positions.reshape(-1)
    else:
        positions = check_pixels("positions", positions)
        if positions.size and (positions.ndim != 2 or positions.shape[1] != 2):
            msg = f"positions must be a SkyCoord or of shape (n, 2), got shape {positions.shape}"
            raise ValueError(msg)
    return Resampler(gas, size=size, shape=shape)(positions) if positions.size else []


def contains(gas: _Map, positions: SkyCoord | ArrayLike) -> np.ndarray:
    """Return which positions, as `to_pixel` takes them, lie on the map: 1D, bool."""
    return on_map(*gas.to_pixel(positions), gas.shape)


def to_pixel(gas: _Map, positions: SkyCoord | ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return sky positions in any frame, or pixels (x, y), as 0-based pixels x and y, 1D each."""
    if isinstance(positions, SkyCoord):
        need_wcs(gas, "a position given as SkyCoord")
        return _wcs.sky_to_pixel(gas.wcs, positions.reshape(-1), shape=gas.shape)
    array = np.atleast_2d(check_pixels("positions", positions))
    return array[:, 0], array[:, 1]


def to_sky(gas: _Map, x: ArrayLike, y: ArrayLike) -> SkyCoord:
    """Return 0-based pixels x and y, of the same shape, as sky positions in the frame of the WCS."""
    need_wcs(gas, "a sky position")
    return _wcs.pixel_to_sky(gas.wcs, x, y)


def pixel_direction(gas: _Map, angle: u.Quantity) -> u.Quantity:
    """Return the direction of a position angle in the pixels of a map, at its center."""
    if gas.wcs is None:
        return angle + 90 * u.deg
    center = [(n - 1) / 2 for n in gas.shape[::-1]]
    sky = gas.to_sky(*center)
    step = np.sqrt(gas.pixel_solid_angle.to_value(u.sr)) * u.rad
    x, y = gas.to_pixel(sky.directional_offset_by(angle, step))
    return np.arctan2(y[0] - center[1], x[0] - center[0]) * u.rad
