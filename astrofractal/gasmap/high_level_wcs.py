"""Any WCS of the sky (gwcs, sliced and compound ones) as a FITS WCS that was fitted to it."""

import warnings

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import fit_wcs_from_points
from astropy.wcs.wcsapi import BaseHighLevelWCS, BaseLowLevelWCS, HighLevelWCSWrapper

from astrofractal.gasmap import wcs as _wcs

__all__ = ["as_fits_wcs"]

#: A fitted WCS may be off by this many pixels; with less than the first, it is no more refined.
_GOOD, _WORST = 0.01, 0.2

#: Degrees of the polynomial distortions (SIP) that are tried in turn.
_DEGREES = (None, 2, 3, 4, 5)


def as_fits_wcs(source, shape, *, name="wcs"):
    """
    Return a FITS WCS and by how many pixels it is off: one that was fitted where it is no FITS WCS.
    """
    # shape (ny, nx) of the pixels over which it is fitted
    low_level = getattr(source, "low_level_wcs", source)
    if isinstance(source, WCS | fits.Header) or not isinstance(
        low_level, BaseHighLevelWCS | BaseLowLevelWCS
    ):
        return _wcs.celestial_wcs(source, name=name), 0.0
    try:
        return _wcs.celestial_wcs(source, name=name), 0.0
    except TypeError:
        return _fitted(source, shape, name)


def _fitted(source, shape, name):
    """Return the best FITS WCS over a grid of pixels, and its largest error in pixels."""
    if not isinstance(source, BaseHighLevelWCS):
        source = HighLevelWCSWrapper(source)
    kinds = source.low_level_wcs.world_axis_physical_types
    y, x = (grid.ravel() for grid in np.mgrid[0 : shape[0] - 1 : 15j, 0 : shape[1] - 1 : 15j])
    sky = source.pixel_to_world(x, y) if source.low_level_wcs.pixel_n_dim == 2 else None
    if not isinstance(sky, SkyCoord):
        msg = (
            f"{name} is a {type(source).__name__} with the axes {kinds}: a map needs two pixel axes "
            "and two of the sky; slice it, or give an astropy.wcs.WCS"
        )
        raise ValueError(msg)
    known = np.isfinite(sky.spherical.lon) & np.isfinite(sky.spherical.lat)
    if known.sum() < 2 * _DEGREES[-1] ** 2:
        msg = f"{name} gives no position on the sky for most pixels of the map"
        raise ValueError(msg)
    x, y, sky = x[known], y[known], sky[known]
    best, error = None, np.inf
    for degree in _DEGREES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wcs = fit_wcs_from_points((x, y), sky, projection="TAN", sip_degree=degree)
            back = _wcs.sky_to_pixel(wcs, sky)
        off = np.hypot(back[0] - x, back[1] - y)
        off = np.inf if not np.isfinite(off).all() else float(off.max())
        if off < error:
            best, error = wcs, off
        if error < _GOOD:
            break
    if not error < _WORST:
        msg = (
            f"{name} is a {type(source).__name__} that no FITS WCS fits: the best is off by {error:.2g} "
            "pixels; reproject the map to an astropy.wcs.WCS"
        )
        raise ValueError(msg)
    return _wcs.celestial_wcs(best, name=name), error
