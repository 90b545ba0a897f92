"""Velocities and dispersions that are on another grid than the column density: brought to it, once."""

from dataclasses import replace

import numpy as np

from astrofractal._utils.optional import require
from astrofractal._utils.warn import warn
from astrofractal.gasmap import wcs as _wcs
from astrofractal.gasmap.channels import MAX_COLUMN_DENSITY
from astrofractal.gasmap.gas_moments import transform

__all__ = ["grid_offset", "regrid_motions"]

#: Maps whose pixels lie on one another within this part of a pixel are on one grid.
_SAME_GRID = 0.5

#: Pixels that are finer than those of the other grid by more than this factor are averaged.
_FINER = 1.2

#: Pixels beyond the border of a map that its interpolation reaches.
_MARGIN = 3


def grid_offset(channel, first):
    """
    Return by how many pixels a channel is off the grid of another; 0 where they are on one.

    Parameters
    ----------
    channel, first : `~astrofractal.gasmap.channels.Channel`
        The channels.

    Returns
    -------
    offset : float
        The largest offset, infinite where the shapes differ.
    """
    shape = first.values.shape
    if channel.values.shape != shape:
        return np.inf
    if channel is first or channel.wcs is None or first.wcs is None:
        return 0.0
    y, x = np.meshgrid([0, (shape[0] - 1) / 2, shape[0] - 1], [0, shape[1] - 1])
    positions = _wcs.pixel_to_sky(channel.wcs, x.ravel(), y.ravel())
    back = _wcs.sky_to_pixel(first.wcs, positions, shape=shape)
    offset = np.hypot(back[0] - x.ravel(), back[1] - y.ravel())
    offset = np.inf if not np.isfinite(offset).any() else np.nanmax(offset)
    return float(offset) if offset > _SAME_GRID else 0.0


def regrid_motions(channels):
    """
    Bring velocity and dispersion to the grid of the column density, in place; say that it was done.

    Parameters
    ----------
    channels : dict
        The channels; the column density in cm-2.

    Returns
    -------
    names : list of str
        The channels that were on another grid.

    Raises
    ------
    ValueError
        If one is on another grid without a WCS, or does not overlap with the column density.

    Notes
    -----
    N v and N (sigma^2 + v^2), with the column density as it is seen on the grid of the velocities,
    are averaged over wider pixels by ``reproject_exact`` and interpolated in finer ones by
    ``reproject_interp``; where less than half of a pixel is covered there is no velocity.  Errors are
    averaged in quadrature, and do not fall where pixels are averaged.
    """
    first = channels["column_density"]
    names = [
        name
        for name in ("velocity", "dispersion")
        if name in channels and grid_offset(channels[name], first)
    ]
    for name in names:
        if channels[name].wcs is None or first.wcs is None:
            msg = (
                f"{name} has shape {channels[name].values.shape}, column_density has "
                f"{first.values.shape}, and one of them has no WCS: reproject them to one grid"
            )
            raise ValueError(msg)
    together = len(names) == 2 and not grid_offset(channels[names[1]], channels[names[0]])
    for group in [names] if together else [[name] for name in names]:
        _regrid(channels, group)
    return names


def _regrid(channels, names):
    """Bring channels that are on one grid to that of the column density."""
    first, source = channels["column_density"], channels[names[0]]
    part = _part_within(source, first)
    known = np.zeros(first.values.shape, bool)
    if part is not None:
        target = first.wcs.slice(part)
        shape = known[part].shape
        weight = _seen_by(_column(first)[part], target, source)
        arrays = {name: _cleaned(channels[name]) for name in names}
        units = [channels[name].unit for name in names]
        if len(names) == 2:
            arrays["dispersion"] = arrays["dispersion"] * units[1].to(units[0])
        operator = _operator(source.wcs, source.values.shape, target, shape)
        moved = transform(
            weight, arrays.get("velocity"), arrays.get("dispersion"), operator, full=1.0
        )
        moved = dict(zip(("velocity", "dispersion"), moved[1:], strict=True))
        known[part] = np.isfinite(moved[names[0]])
    known &= np.isfinite(_column(first))
    if not known.any():
        msg = (
            f"{names[0]} is on another grid than column_density, and the two do not overlap: see "
            "their coordinates"
        )
        raise ValueError(msg)
    for name in names:
        channel, whole = channels[name], np.full(known.shape, np.nan)
        whole[part] = moved[name]
        if len(names) == 2 and name == "dispersion":
            whole /= units[1].to(units[0])
        error = None
        if channel.error is not None:
            error = np.full(known.shape, np.nan)
            error[part] = _moved_error(channel, operator)
        channels[name] = replace(channel, values=whole, mask=None, error=error, wcs=first.wcs)
    part_known = known.sum() / np.isfinite(_column(first)).sum()
    msg = (
        f"{' and '.join(names)} {'are' if len(names) > 1 else 'is'} on another grid than "
        f"column_density ({_describe(source)} against {_describe(first)}) and regridded to it; "
        f"{100 * part_known:.2g} % of its pixels have one"
    )
    warn(msg)


def _describe(channel):
    """Return shape and pixel scale of a channel, for a message."""
    shape = channel.values.shape
    scale = np.degrees(_scale(channel.wcs, shape)) * 3600
    return f"{shape[0]} x {shape[1]} px of {scale:.3g} arcsec"


def _cleaned(channel):
    """Return the values of a channel, NaN where there are none."""
    values = channel.values
    return values if channel.mask is None else np.where(channel.mask, np.nan, values)


def _column(channel):
    """Return the column density, NaN where there is none."""
    values = _cleaned(channel)
    with np.errstate(invalid="ignore"):
        return np.where((values > 0) & (values < MAX_COLUMN_DENSITY), values, np.nan)


def _part_within(source, first):
    """Return the slices of the column density that a channel reaches, or `None` if it reaches none."""
    height, width = source.values.shape
    y, x = np.mgrid[-_MARGIN : height - 1 + _MARGIN : 9j, -_MARGIN : width - 1 + _MARGIN : 9j]
    positions = _wcs.pixel_to_sky(source.wcs, x.ravel(), y.ravel())
    shape = first.values.shape
    found = _wcs.sky_to_pixel(first.wcs, positions, shape=shape)
    if not np.isfinite(found).all():
        return (slice(0, shape[0]), slice(0, shape[1]))
    part = []
    for values, n in zip(found[::-1], shape, strict=True):
        low, high = max(int(values.min()) - _MARGIN, 0), min(int(values.max()) + 1 + _MARGIN, n)
        part.append(slice(low, high))
    return tuple(part) if all(one.start < one.stop for one in part) else None


def _operator(source, source_shape, target, shape):
    """Return the linear operator that brings planes from one WCS to another."""
    reproject = require("reproject", extra="cube")
    finer = _scale(target, shape) > _FINER * _scale(source, source_shape)
    method = reproject.reproject_exact if finer else reproject.reproject_interp

    def operator(planes):
        moved, footprint = method((planes, source), target, shape_out=shape)
        return np.nan_to_num(moved) * np.nan_to_num(footprint)

    return operator


def _scale(wcs, shape):
    """Return the width of the central pixel in radians."""
    y, x = ((n - 1) / 2 for n in shape)
    return np.sqrt(float(_wcs.pixel_solid_angle(wcs, x, y)))


def _seen_by(column, wcs, source):
    """Return the mean column density in the pixels of another grid, from what is known of it."""
    known = np.isfinite(column)
    scale = column[known].mean() if known.any() else 1.0
    planes = np.stack([np.where(known, column / scale, 0), known.astype(np.float64)])
    gas, weight = _operator(wcs, column.shape, source.wcs, source.values.shape)(planes)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((weight > 0) & (gas > 0), gas / weight * scale, np.nan)


def _moved_error(channel, operator):
    """Return the standard deviations on another grid, averaged in quadrature."""
    good = np.isfinite(channel.error) & np.isfinite(_cleaned(channel))
    planes = np.stack([np.where(good, channel.error, 0) ** 2, good.astype(np.float64)])
    variance, weight = operator(planes)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt(np.where(weight > 0, variance / weight, np.nan))
