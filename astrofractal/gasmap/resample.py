"""Cutouts: resampling through the WCS, NaN-aware, weighted by column density."""

from functools import partial

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from numpy.polynomial.chebyshev import chebpts1
from numpy.polynomial.polynomial import polygrid2d, polyvander2d
from scipy.ndimage import map_coordinates

from astrofractal._utils.optional import require
from astrofractal._utils.validation import positive_int, warn
from astrofractal.gasmap import wcs as _wcs
from astrofractal.gasmap.channel import Channel, good_columns
from astrofractal.gasmap.checks import check_quantity, need_wcs
from astrofractal.gasmap.moments import CHANNEL_UNITS, CHANNELS, transform, transform_errors

#: The widest ratio of output to input pixels that is reached by sub-sampling alone; beyond it the
#: input is first averaged in blocks.
_MAX_SUBSAMPLES = 4

#: Scales of map and cutout that differ by less than this fraction count as the same.
_SAME_SCALE = 0.05

#: Nodes in [-1, 1]^2 at which a projection is asked, and the bicubic polynomials through them.
_NODE_A, _NODE_B = (grid.ravel() for grid in np.meshgrid(chebpts1(5), chebpts1(5)))
_CUBIC = polyvander2d(_NODE_A, _NODE_B, (3, 3))
_CUBIC_INVERSE = np.linalg.pinv(_CUBIC)


class Resampler:
    """Makes cutouts of one map, all of one size and shape."""

    # Where the pixels of a cutout lie on the map is a function of their distances from its center, x
    # (nx) and y (ny) in pixels, with a result of shape (ny, nx) for each axis.

    def __init__(self, gas, *, size, shape):
        self.gas = gas
        names = [*CHANNELS, *(f"{name}_uncertainty" for name in CHANNELS)]
        self.planes = [getattr(getattr(gas, name), "value", None) for name in names]
        try:
            height, width = shape
        except (TypeError, ValueError):
            msg = f"shape must be two positive integers (ny, nx), got {shape!r}"
            raise ValueError(msg) from None
        self.shape = positive_int("shape[0]", height), positive_int("shape[1]", width)
        what = "a length or an angle"
        self.size = check_quantity("size", size, (u.pc, u.rad), "0.5 * u.pc", what=what, one=True)
        self.angular = self.size.unit.is_equivalent(u.rad)
        if not self.angular:
            self.pixel_scale = (self.size / self.shape[1]).to(u.pc)
        self.on_sky = gas.wcs is not None and (self.angular or gas.distance is not None)
        self.beam = gas.beam if self.on_sky else None
        if self.angular:
            need_wcs(gas, "a cutout of a size given as an angle")
            width = np.tan(self.size.to_value(u.rad) / 2) * 2
        else:
            unit = gas.distance if self.on_sky else gas.pixel_scale
            width = (self.size / unit).to_value(u.one)
        self.step = width / self.shape[1]  # in radians, or in pixels of a map that has no place

    def __call__(self, positions):
        """Return the list of cutouts around a SkyCoord array or pixels of shape (n, 2)."""
        wcs = self.gas.wcs
        x, y = self.gas.to_pixel(positions)
        makers = [None] * len(x)  # of the WCS of each cutout
        if self.on_sky:
            if isinstance(positions, SkyCoord):
                frame = _wcs.frame_of(wcs)
                sky = positions if frame is None else positions.transform_to(frame)
                longitude, latitude = sky.spherical.lon.deg, sky.spherical.lat.deg
            else:
                longitude, latitude = _wcs.pixel_to_degrees(wcs, x, y)
            maps = self._sky_maps(np.asarray(longitude), np.asarray(latitude))
            makers = [
                partial(_wcs.tangent_wcs, wcs, *center, self.step, self.shape)
                if np.isfinite(center[0])
                else None
                for center in zip(longitude, latitude, strict=True)
            ]
        else:
            maps = [partial(self._pixel_map, *position) for position in zip(x, y, strict=True)]
        inside = on_map(x, y, self.gas.shape)
        return [self._cut(*one) for one in zip(maps, x, y, inside, makers, strict=True)]

    def _pixel_map(self, x, y, right, up):
        """Return the pixels of a grid around (x, y) along the axes of the map."""
        return np.meshgrid(x + right * self.step, y + up * self.step)

    def _sky_maps(self, longitude, latitude):
        """Return the functions from the grid of each cutout to pixels, through the WCS."""
        half = np.array(self.shape[::-1]) / 2
        xi, eta = -_NODE_A * half[0] * self.step, _NODE_B * half[1] * self.step
        nodes = np.stack(self._through(longitude[:, None], latitude[:, None], xi, eta), axis=-1)
        maps = []
        for center, pixels in zip(zip(longitude, latitude, strict=True), nodes, strict=True):
            maps.append(partial(self._exact, *center))
            if np.isfinite(pixels).all():
                fit = _CUBIC_INVERSE @ pixels  # (16, 2)
                if np.abs(_CUBIC @ fit - pixels).max() < 0.02:  # of a pixel
                    maps[-1] = partial(_polynomial, fit.reshape(4, 4, 2), half)
        return maps

    def _exact(self, longitude, latitude, right, up):
        """Return the pixels of a grid where the projection is no smooth function (or ends)."""
        xi, eta = np.meshgrid(-right * self.step, up * self.step)
        if not np.isfinite(longitude):
            return np.full((2, *xi.shape), np.nan)
        return self._through(longitude, latitude, xi, eta)

    def _through(self, longitude, latitude, xi, eta):
        """Return the pixels of tangent-plane offsets (xi to the east, eta to the north)."""
        lon, lat = np.radians(longitude), np.radians(latitude)
        # p = center + xi east + eta north, in the plane of the center's meridian
        radial = np.cos(lat) - eta * np.sin(lat)
        height = np.sin(lat) + eta * np.cos(lat)
        world_lon = np.degrees(lon + np.arctan2(xi, radial))
        world_lat = np.degrees(np.arctan2(height, np.hypot(xi, radial)))
        shape = np.broadcast_shapes(np.shape(world_lon), np.shape(world_lat))
        flat_lon = np.broadcast_to(world_lon, shape).ravel()
        flat_lat = np.broadcast_to(world_lat, shape).ravel()
        x, y = _wcs.degrees_to_pixel(self.gas.wcs, flat_lon, flat_lat, shape=self.gas.shape)
        return np.reshape(x, shape), np.reshape(y, shape)

    def _cut(self, mapping, x, y, inside, wcs):
        ratio = self._ratio(mapping)
        channels, errors, covered = self._sample(mapping, ratio)
        masked = ~np.isfinite(channels[0])
        beam = 0 if self.beam is None else self.beam.major.to_value(u.rad) / self.step
        flags = {
            "outside": not inside,
            "edge": (covered < 0.999).any(),
            "masked": (masked & (covered > 0.5)).any(),
            "other-pixel-scale": abs(ratio - 1) > _SAME_SCALE,
            "beam": max(1 / ratio, beam) > 3,
        }
        return replaced(
            self.gas,
            channels,
            errors,
            wcs=wcs,
            pixel_scale=None if self.angular else self.pixel_scale,
            flags=[flag for flag, found in flags.items() if found],
            meta=self.gas.meta | {"size": self.size, "pixel": (float(x), float(y))},
        )

    def _ratio(self, mapping):
        """Return the width of an output pixel in pixels of the map, at the center."""
        x, y = mapping(np.array([-0.5, 0.5]), np.array([-0.5, 0.5]))
        (right_x, up_x), (right_y, up_y) = ((a[0, 1] - a[0, 0], a[1, 0] - a[0, 0]) for a in (x, y))
        area = abs(right_x * up_y - up_x * right_y)
        return float(np.sqrt(area)) if np.isfinite(area) and area > 0 else 1.0

    def _sample(self, mapping, ratio):
        """Return channels, errors and the part of each pixel that lies on the map."""
        height, width = self.gas.shape
        up, right = (np.arange(n) - (n - 1) / 2 for n in self.shape)
        x, y = mapping(right, up)
        lines = _separable(x, y, ratio)
        n_sub = 1
        if ratio > 1 + _SAME_SCALE and lines is None:
            n_sub = min(int(np.ceil(ratio)), _MAX_SUBSAMPLES)
            shift = (np.arange(n_sub) + 0.5) / n_sub - 0.5
            x, y = mapping(np.add.outer(right, shift).ravel(), np.add.outer(up, shift).ravel())
        within = on_map(x, y, self.gas.shape)
        if not within.any():
            nothing = np.full(self.shape, np.nan)
            planes = [None if plane is None else nothing for plane in self.planes]
            return planes[:3], planes[3:], np.zeros(self.shape)
        block = int(ratio / 2) if n_sub == _MAX_SUBSAMPLES and ratio > _MAX_SUBSAMPLES else 1
        margin = int(np.ceil(max(ratio, 1))) + 1
        x0, x1 = _reach(x[within], margin, width)
        y0, y1 = _reach(y[within], margin, height)
        part = (slice(y0, y1), slice(x0, x1))
        if lines is not None:
            rows = overlaps(lines[1] - y0, max(ratio, 1), y1 - y0)
            columns = overlaps(lines[0] - x0, max(ratio, 1), x1 - x0)
            covered = np.outer(rows.sum(axis=1), columns.sum(axis=1))

            def operator(planes):
                return rows @ planes @ columns.T
        else:
            covered = _mean(within.astype(np.float64), n_sub)
            px, py = ((value - at + 0.5) / block - 0.5 for value, at in ((x, x0), (y, y0)))

            def operator(planes):
                planes = _blocks(planes, block) if block > 1 else planes
                return _mean(_bilinear(planes, px, py, within), n_sub)

        planes = [None if plane is None else plane[part] for plane in self.planes]
        channels = planes[:3]
        moved = transform(*channels, operator, full=1.0)
        beam = 0 if self.beam is None else self.beam.sr.value / (self.step / ratio) ** 2
        independent = max(1.0, ratio**2 / max(1.0, beam))  # of pixels within a beam, one is
        errors = transform_errors(channels, planes[3:], moved, operator, independent=independent)
        return moved, errors, covered


def replaced(gas, channels, errors, **parts):
    """Return a map with other values (cm-2, km/s) in the channels that it has, and other parts."""
    for (name, unit), channel, error in zip(CHANNEL_UNITS.items(), channels, errors, strict=True):
        if name in gas.channels:
            parts[name] = channel << unit
            parts[f"{name}_uncertainty"] = None if error is None else error << unit
    return gas.replace(**parts)


def _polynomial(fit, half, right, up):
    """Return the pixels of a grid by polynomials that were fitted to the projection."""
    return polygrid2d(right / half[0], up / half[1], fit).transpose(0, 2, 1)


def _reach(values, margin, n):
    """Return the first pixel that values reach with a margin, and the one after the last."""
    return max(int(np.floor(values.min())) - margin, 0), min(
        int(np.ceil(values.max())) + margin + 1, n
    )


def _separable(x, y, ratio):
    """Return the lines (x of the columns, y of the rows) of a grid along the axes, or `None`."""
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return None
    across = max(np.ptp(x, axis=0).max(), np.ptp(y, axis=1).max())
    if across > 0.2 * ratio:
        return None
    return x.mean(axis=0), y.mean(axis=1)


def on_map(x, y, shape):
    """Return which pixels (x, y) lie on a map of a shape (ny, nx)."""
    with np.errstate(invalid="ignore"):
        return (x >= -0.5) & (x <= shape[1] - 0.5) & (y >= -0.5) & (y <= shape[0] - 0.5)


def overlaps(centers, width, n):
    """Return which part of each box (rows) is covered by each of ``n`` pixels (columns)."""
    # At a width of one pixel these are the weights of linear interpolation.
    low = np.clip(centers[:, None] - width / 2, np.arange(n) - 0.5, np.arange(n) + 0.5)
    high = np.clip(centers[:, None] + width / 2, np.arange(n) - 0.5, np.arange(n) + 0.5)
    return (high - low) / width


def _mean(planes, n_sub):
    """Return the mean over blocks of n_sub x n_sub pixels."""
    if n_sub == 1:
        return planes
    height, width = (n // n_sub for n in planes.shape[-2:])
    return planes.reshape(*planes.shape[:-2], height, n_sub, width, n_sub).mean(axis=(-3, -1))


def _blocks(planes, block):
    """Return the mean over blocks; what is left over at the far border is averaged by itself."""
    rows, columns = (np.arange(0, n, block) for n in planes.shape[-2:])
    total = np.add.reduceat(np.add.reduceat(planes, rows, axis=-2), columns, axis=-1)
    ends = zip((rows, columns), planes.shape[-2:], strict=True)
    return total / np.outer(*(np.diff(np.append(starts, n)) for starts, n in ends))


def _bilinear(planes, x, y, within):
    """Return planes (n, ny, nx) at (x, y), interpolated; zero where not ``within``."""
    at = np.where(within, [y, x], 0)
    sampled = [map_coordinates(plane, at, order=1, mode="nearest") for plane in planes]
    return np.where(within, sampled, 0)


#: Pixels beyond the border of a map that its interpolation reaches.
_MARGIN = 3


def grid_offset(channel, first):
    """Return by how many pixels a channel is off the grid of another; 0 for up to half a pixel."""
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
    return float(offset) if offset > 0.5 else 0.0


def regrid_motions(channels, beam=None):
    """Bring velocity and dispersion to the grid of the column density, in place; return their names."""
    first = channels["column_density"]
    names = [name for name in CHANNELS if name in channels and grid_offset(channels[name], first)]
    for name in names:
        if channels[name].wcs is None or first.wcs is None:
            shapes = f"shape {channels[name].values.shape}, column_density {first.values.shape}"
            msg = f"{name} has {shapes}, and one of them has no WCS: reproject them to one grid"
            raise ValueError(msg)
    together = len(names) == 2 and not grid_offset(channels[names[1]], channels[names[0]])
    for group in [names] if together else [[name] for name in names]:
        _regrid(channels, group, beam)
    return names


def _regrid(channels, names, beam):
    """Bring channels that are on one grid to that of the column density."""
    first, source = channels["column_density"], channels[names[0]]
    part, known = _part_within(source, first), False
    if part is not None:
        column = np.where(good_columns(first), first.values, np.nan)[part]
        target = first.wcs.slice(part)
        operator = _operator(source.wcs, source.values.shape, target, column.shape)
        old = {name: channels[name].scaled(channels[name].unit.to(source.unit)) for name in names}
        arrays = [_seen_by(column, target, source)]
        arrays += [old[name].values if name in names else None for name in CHANNELS[1:]]
        moved = transform(*arrays, operator, full=1.0)
        resolution = 0 if beam is None else np.sqrt(beam.sr.value)
        correlated = max(_scale(source.wcs, source.values.shape), resolution)
        independent = max(1.0, (_scale(target, column.shape) / correlated) ** 2)
        errors = [old[name].error if name in names else None for name in CHANNELS]
        errors = transform_errors(arrays, errors, moved, operator, independent=independent)
        for name, *planes in zip(CHANNELS, moved, errors, strict=True):
            if name in names:
                values, error = (_placed(plane, part, first.values.shape) for plane in planes)
                channels[name] = Channel(values, source.unit, error, first.wcs)
                known = known | (np.isfinite(values[part]) & np.isfinite(column))
    if not np.any(known):
        msg = f"the grids of {names[0]} and column_density do not overlap: see their coordinates"
        raise ValueError(msg)
    grid = f"{'are' if len(names) > 1 else 'is'} on another grid than column_density"
    warn(f"{' and '.join(names)} {grid} and regridded to it")


def _placed(plane, part, shape):
    """Return a plane in a part of a larger one that is NaN elsewhere, `None` without one."""
    if plane is None:
        return None
    whole = np.full(shape, np.nan)
    whole[part] = plane
    return whole


def _part_within(source, first):
    """Return the slices of the column density that a channel reaches, or `None` if it reaches none."""
    height, width = source.values.shape
    y, x = np.mgrid[-_MARGIN : height - 1 + _MARGIN : 9j, -_MARGIN : width - 1 + _MARGIN : 9j]
    positions = _wcs.pixel_to_sky(source.wcs, x.ravel(), y.ravel())
    shape = first.values.shape
    found = _wcs.sky_to_pixel(first.wcs, positions, shape=shape)
    if not np.isfinite(found).all():
        return (slice(0, shape[0]), slice(0, shape[1]))
    part = [
        slice(*_reach(values, _MARGIN, n)) for values, n in zip(found[::-1], shape, strict=True)
    ]
    return tuple(part) if all(one.start < one.stop for one in part) else None


def _operator(source, source_shape, target, shape):
    """Return the linear operator that brings planes from one WCS to another."""
    reproject = require("reproject", extra="cube")
    finer = _scale(target, shape) > 1.2 * _scale(source, source_shape)  # is averaged
    method = reproject.reproject_exact if finer else reproject.reproject_interp

    def operator(planes):
        moved, footprint = method((planes, source), target, shape_out=shape)
        return np.nan_to_num(moved) * np.nan_to_num(footprint)

    return operator


def _scale(wcs, shape):
    """Return the width of the central pixel in radians."""
    return np.sqrt(_wcs.central_solid_angle(wcs, shape))


def _seen_by(column, wcs, source):
    """Return the mean column density in the pixels of another grid, from what is known of it."""
    known = np.isfinite(column)
    scale = column[known].mean() if known.any() else 1.0
    planes = np.stack([np.where(known, column / scale, 0), known.astype(np.float64)])
    gas, weight = _operator(wcs, column.shape, source.wcs, source.values.shape)(planes)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((weight > 0) & (gas > 0), gas / weight * scale, np.nan)
