"""Cutouts: resampling through the WCS, NaN-aware, weighted by column density."""

from dataclasses import replace
from functools import partial

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord

from astrofractal._utils.optional import require
from astrofractal._utils.validation import positive_int, warn
from astrofractal.gasmap import wcs as _wcs
from astrofractal.gasmap.channel import MAX_COLUMN_DENSITY
from astrofractal.gasmap.checks import need_distance, need_wcs
from astrofractal.gasmap.moments import CHANNEL_UNITS, CHANNELS, transform, transform_errors

#: The widest ratio of output to input pixels that is reached by sub-sampling alone; beyond it the
#: input is first averaged in blocks.
_MAX_SUBSAMPLES = 4

#: Scales of map and cutout that differ by less than this fraction count as the same.
_SAME_SCALE = 0.05

#: A grid that departs from the map's axes by less than this part of a pixel counts as parallel.
_STRAIGHT = 0.1

#: A beam or map pixel of more than this many pixels of the cutout is flagged.
_BEAM_PIXELS = 3.0


def _nodes():
    """Return 25 nodes in [-1, 1]^2 and the pseudo-inverse of the cubic polynomials on them."""
    one = np.cos(np.pi * (np.arange(5) + 0.5) / 5)
    a, b = (grid.ravel() for grid in np.meshgrid(one, one))
    return a, b, np.linalg.pinv(_cubic(a, b))


def _cubic(a, b):
    """Return the ten monomials of up to third degree, as columns."""
    return np.stack(
        [np.ones_like(a), a, b, a * a, a * b, b * b, a**3, a * a * b, a * b * b, b**3], axis=-1
    )


_NODE_A, _NODE_B, _NODE_INVERSE = _nodes()


class Resampler:
    """Makes cutouts of one map, all of one size and shape."""

    def __init__(self, gas, *, size, shape):
        self.gas = gas
        self.arrays = {name: getattr(gas, name).value for name in gas.channels}
        deviations = {name: getattr(gas, f"{name}_uncertainty") for name in gas.channels}
        self.errors = {name: error.value for name, error in deviations.items() if error is not None}
        self.shape = _shape(shape)
        self.size = _size(size)
        self.angular = self.size.unit.is_equivalent(u.rad)
        if not self.angular:
            self.pixel_scale = (self.size / self.shape[1]).to(u.pc)
        self.on_sky = gas.wcs is not None and (self.angular or gas.distance is not None)
        if self.on_sky:
            if self.angular:
                width = np.tan(self.size.to_value(u.rad) / 2) * 2
            else:
                width = (self.size / gas.distance).to_value(u.one)
            self.step = width / self.shape[1]
        elif self.angular:
            need_wcs(gas, "a cutout of a size given as an angle")
        elif gas.has_pixel_scale:
            self.step = (self.size / gas.pixel_scale).to_value(u.one) / self.shape[1]
        else:
            need_wcs(gas, "a cutout of a size given as a length")
            need_distance(gas, "a cutout of a size given as a length")

    def __call__(self, positions):
        """Return the list of cutouts around a SkyCoord array or pixels of shape (n, 2)."""
        x, y = self.gas.to_pixel(positions)
        if self.on_sky:
            if isinstance(positions, SkyCoord):
                frame = _wcs.frame_of(self.gas.wcs)
                sky = positions if frame is None else positions.transform_to(frame)
                longitude, latitude = sky.spherical.lon.deg, sky.spherical.lat.deg
            else:
                longitude, latitude = _wcs.pixel_to_degrees(self.gas.wcs, x, y)
            maps = self._sky_maps(np.asarray(longitude), np.asarray(latitude))
        else:
            longitude = latitude = None
            maps = [self._pixel_map(*position) for position in zip(x, y, strict=True)]
        ny, nx = self.gas.shape
        with np.errstate(invalid="ignore"):
            inside = (x >= -0.5) & (x <= nx - 0.5) & (y >= -0.5) & (y <= ny - 0.5)
        cutouts = []
        for index, mapping in enumerate(maps):
            wcs = None
            if longitude is not None and np.isfinite(longitude[index]):
                wcs = partial(
                    _wcs.tangent_wcs,
                    self.gas.wcs,
                    longitude[index],
                    latitude[index],
                    self.step,
                    self.shape,
                )
            cutouts.append(self._cut(mapping, (x[index], y[index]), inside[index], wcs))
        return cutouts

    def _pixel_map(self, x, y):
        """Return a function from the output grid to pixels of the map, along its axes."""
        half = [(n - 1) / 2 for n in self.shape]

        def mapping(i, j):
            grid = np.meshgrid(x + (i - half[1]) * self.step, y + (j - half[0]) * self.step)
            return grid[0], grid[1]

        return mapping

    def _sky_maps(self, longitude, latitude):
        """Return functions from the output grid to pixels, through the WCS."""
        half = [n / 2 for n in self.shape]
        xi, eta = -_NODE_A * half[1] * self.step, _NODE_B * half[0] * self.step
        x, y = self._through(longitude[:, None], latitude[:, None], xi, eta)
        maps = []
        basis = _cubic(_NODE_A, _NODE_B)
        for index in range(len(longitude)):
            good = np.isfinite(x[index]).all() and np.isfinite(y[index]).all()
            if good:
                fit_x, fit_y = _NODE_INVERSE @ x[index], _NODE_INVERSE @ y[index]
                error = max(
                    np.abs(basis @ fit_x - x[index]).max(), np.abs(basis @ fit_y - y[index]).max()
                )
                good = error < 0.02
            if good:
                maps.append(self._polynomial(fit_x, fit_y))
            else:
                maps.append(self._exact(longitude[index], latitude[index]))
        return maps

    def _polynomial(self, fit_x, fit_y):
        half = [n / 2 for n in self.shape]

        def mapping(i, j):
            a = (i - (self.shape[1] - 1) / 2) / half[1]
            b = ((j - (self.shape[0] - 1) / 2) / half[0])[:, None]
            grids = []
            for c in (fit_x, fit_y):
                constant = c[0] + a * (c[1] + a * (c[3] + a * c[6]))
                linear = c[2] + a * (c[4] + a * c[7])
                square = c[5] + a * c[8]
                grids.append(constant + b * (linear + b * (square + b * c[9])))
            return grids[0], grids[1]

        return mapping

    def _exact(self, longitude, latitude):
        """Return the map for a place where the projection is no smooth function (or ends)."""

        def mapping(i, j):
            xi = -(i - (self.shape[1] - 1) / 2) * self.step
            eta = (j - (self.shape[0] - 1) / 2) * self.step
            xi, eta = np.meshgrid(xi, eta)
            if not np.isfinite(longitude):
                return np.full(xi.shape, np.nan), np.full(xi.shape, np.nan)
            return self._through(longitude, latitude, xi, eta)

        return mapping

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

    def _cut(self, mapping, pixel, inside, wcs):
        ratio = self._ratio(mapping)
        arrays, errors, covered = self._sample(mapping, ratio)
        masked = ~np.isfinite(arrays["column_density"])
        flags = []
        if not inside:
            flags.append("outside")
        if (covered < 0.999).any():
            flags.append("edge")
        if (masked & (covered > 0.5)).any():
            flags.append("masked")
        if abs(ratio - 1) > _SAME_SCALE:
            flags.append("resampled")
        if self._resolution(ratio) > _BEAM_PIXELS:
            flags.append("beam")
        parts = {name: array << CHANNEL_UNITS[name] for name, array in arrays.items()}
        parts |= {
            f"{name}_uncertainty": error << CHANNEL_UNITS[name] for name, error in errors.items()
        }
        place = {"size": self.size, "pixel": (float(pixel[0]), float(pixel[1]))}
        return self.gas.replace(
            **parts,
            wcs=wcs,
            pixel_scale=None if self.angular else self.pixel_scale,
            flags=flags,
            meta=self.gas.meta | place,
        )

    def _ratio(self, mapping):
        """Return the width of an output pixel in pixels of the map, at the center."""
        i, j = (np.array([(n - 1) / 2 - 0.5, (n - 1) / 2 + 0.5]) for n in self.shape[::-1])
        x, y = mapping(i, j)
        area = abs(
            (x[0, 1] - x[0, 0]) * (y[1, 0] - y[0, 0]) - (x[1, 0] - x[0, 0]) * (y[0, 1] - y[0, 0])
        )
        return float(np.sqrt(area)) if np.isfinite(area) and area > 0 else 1.0

    def _resolution(self, ratio):
        """Return the resolution of the map in pixels of the cutout."""
        pixels = 1 / ratio
        if self.gas.beam is not None and self.on_sky:
            pixels = max(pixels, self.gas.beam.major.to_value(u.rad) / self.step)
        return pixels

    def _sample(self, mapping, ratio):
        """Return arrays, errors and the part of each pixel that lies on the map."""
        ny, nx = self.shape
        height, width = self.gas.shape
        wide = ratio > 1 + _SAME_SCALE
        x, y = mapping(np.arange(nx), np.arange(ny))
        lines = _separable(x, y, ratio)
        n_sub = 1
        if wide and lines is None:
            n_sub = min(int(np.ceil(ratio)), _MAX_SUBSAMPLES)
            shift = (np.arange(n_sub) + 0.5) / n_sub - 0.5
            x, y = mapping(
                (np.arange(nx)[:, None] + shift).ravel(), (np.arange(ny)[:, None] + shift).ravel()
            )
        with np.errstate(invalid="ignore"):
            within = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
        if not within.any():
            nothing = np.full(self.shape, np.nan)
            arrays = dict.fromkeys(self.arrays, nothing)
            return arrays, dict.fromkeys(self.errors, nothing), np.zeros(self.shape)
        block = int(ratio / 2) if n_sub == _MAX_SUBSAMPLES and ratio > _MAX_SUBSAMPLES else 1
        margin = int(np.ceil(max(ratio, 1))) + 1
        x0 = max(int(np.floor(x[within].min())) - margin, 0)
        y0 = max(int(np.floor(y[within].min())) - margin, 0)
        x1 = min(int(np.ceil(x[within].max())) + margin + 1, width)
        y1 = min(int(np.ceil(y[within].max())) + margin + 1, height)
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
                stack = np.stack(list(planes), axis=-1)
                stack = _blocks(stack, block) if block > 1 else stack
                return np.moveaxis(_mean(_bilinear(stack, px, py, within), n_sub), -1, 0)

        channels = [self.arrays[name][part] if name in self.arrays else None for name in CHANNELS]
        errors = [self.errors[name][part] if name in self.errors else None for name in CHANNELS]
        moved = transform(*channels, operator, full=1.0)
        independent = max(1.0, ratio**2 / self._pixels_per_resolution(ratio))
        errors = transform_errors(channels, errors, moved, operator, independent=independent)
        arrays, errors = (
            {name: one for name, one in zip(CHANNELS, planes, strict=True) if one is not None}
            for planes in (moved, errors)
        )
        return arrays, errors, covered

    def _pixels_per_resolution(self, ratio):
        """Return how many pixels of the map are not independent of one another."""
        if self.gas.beam is None or not self.on_sky:
            return 1.0
        return max(1.0, self.gas.beam.sr.to_value(u.sr) / (self.step / ratio) ** 2)


def _separable(x, y, ratio):
    """Return the lines (x of the columns, y of the rows) of a grid along the axes, or `None`."""
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return None
    across = max(np.ptp(x, axis=0).max(), np.ptp(y, axis=1).max())
    if across > 2 * _STRAIGHT * ratio:
        return None
    return x.mean(axis=0), y.mean(axis=1)


def overlaps(centers, width, n):
    """
    Return which part of each box (rows) is covered by each of ``n`` pixels (columns).

    At a width of one pixel these are the weights of linear interpolation.
    """
    low = np.clip(centers[:, None] - width / 2, np.arange(n) - 0.5, np.arange(n) + 0.5)
    high = np.clip(centers[:, None] + width / 2, np.arange(n) - 0.5, np.arange(n) + 0.5)
    return (high - low) / width


def _mean(array, n_sub):
    """Return the mean over blocks of n_sub x n_sub of the first two axes."""
    if n_sub == 1:
        return array
    height, width = (n // n_sub for n in array.shape[:2])
    return array.reshape(height, n_sub, width, n_sub, *array.shape[2:]).mean(axis=(1, 3))


def _blocks(stack, block):
    """Return the mean over blocks; what is left over at the far border is averaged by itself."""
    rows = np.arange(0, stack.shape[0], block)
    columns = np.arange(0, stack.shape[1], block)
    total = np.add.reduceat(np.add.reduceat(stack, rows, axis=0), columns, axis=1)
    counts = np.outer(
        np.diff(np.append(rows, stack.shape[0])), np.diff(np.append(columns, stack.shape[1]))
    )
    return total / counts[..., None]


def _bilinear(stack, x, y, within):
    """Return the planes (..., n) of a stack (ny, nx, n) at (x, y); zero where not ``within``."""
    height, width, n_planes = stack.shape
    x = np.clip(np.where(within, x, 0), 0, width - 1).ravel()
    y = np.clip(np.where(within, y, 0), 0, height - 1).ravel()
    left = np.minimum(x.astype(np.intp), max(width - 2, 0))
    low = np.minimum(y.astype(np.intp), max(height - 2, 0))
    fx, fy = (x - left)[:, None], (y - low)[:, None]
    right, high = min(1, width - 1), min(1, height - 1) * width
    flat = stack.reshape(-1, n_planes)
    index = low * width + left
    below = flat[index] * (1 - fx) + flat[index + right] * fx
    above = flat[index + high] * (1 - fx) + flat[index + high + right] * fx
    sampled = below * (1 - fy) + above * fy
    sampled[~within.ravel()] = 0
    return sampled.reshape(*within.shape, n_planes)


def _shape(shape):
    try:
        height, width = shape
    except (TypeError, ValueError):
        msg = f"shape must be two positive integers (ny, nx), got {shape!r}"
        raise ValueError(msg) from None
    return positive_int("shape[0]", height), positive_int("shape[1]", width)


def _size(size):
    if not isinstance(size, u.Quantity):
        msg = f"size must be a Quantity such as 0.5 * u.pc, got {size!r}"
        raise TypeError(msg)
    if not (size.unit.is_equivalent(u.pc) or size.unit.is_equivalent(u.rad)):
        msg = f"size must be a length or an angle such as 0.5 * u.pc, got {size}"
        raise u.UnitConversionError(msg)
    if not size.isscalar or not np.isfinite(size) or size <= 0:
        msg = f"size must be one positive, finite length or angle, got {size}"
        raise ValueError(msg)
    return size


#: Maps whose pixels lie on one another within this part of a pixel are on one grid.
_SAME_GRID = 0.5

#: Pixels that are finer than those of the other grid by more than this factor are averaged.
_FINER = 1.2

#: Pixels beyond the border of a map that its interpolation reaches.
_MARGIN = 3


def grid_offset(channel, first):
    """Return by how many pixels a channel is off the grid of another; 0 where they are on one."""
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


def regrid_motions(channels, beam=None):
    """
    Bring velocity and dispersion to the grid of the column density, in place; say that it was done.
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
        _regrid(channels, group, beam)
    return names


def _regrid(channels, names, beam):
    """Bring channels that are on one grid to that of the column density."""
    first, source = channels["column_density"], channels[names[0]]
    part = _part_within(source, first)
    known = np.zeros(first.values.shape, bool)
    if part is not None:
        target = first.wcs.slice(part)
        shape = known[part].shape
        weight = _seen_by(_column(first)[part], target, source)
        factors = {name: channels[name].unit.to(source.unit) for name in names}
        arrays, errors = [weight], [None]
        for name in CHANNELS[1:]:
            channel = channels[name] if name in names else None
            factor = factors.get(name)
            arrays.append(None if channel is None else _cleaned(channel) * factor)
            absent = channel is None or channel.error is None
            errors.append(None if absent else channel.error * factor)
        operator = _operator(source.wcs, source.values.shape, target, shape)
        moved = transform(*arrays, operator, full=1.0)
        correlated = max(
            _scale(source.wcs, source.values.shape), 0 if beam is None else np.sqrt(beam.sr.value)
        )
        independent = max(1.0, (_scale(target, shape) / correlated) ** 2)
        errors = transform_errors(arrays, errors, moved, operator, independent=independent)
        errors = dict(zip(CHANNELS, errors, strict=True))
        moved = dict(zip(CHANNELS, moved, strict=True))
        known[part] = np.isfinite(moved[names[0]])
    known &= np.isfinite(_column(first))
    if not known.any():
        msg = (
            f"{names[0]} is on another grid than column_density, and the two do not overlap: see "
            "their coordinates"
        )
        raise ValueError(msg)
    for name in names:
        whole = []
        for planes in (moved, errors):
            whole.append(None if planes[name] is None else np.full(known.shape, np.nan))
            if planes[name] is not None:
                whole[-1][part] = planes[name] / factors[name]
        values, error = whole
        channels[name] = replace(
            channels[name], values=values, mask=None, error=error, wcs=first.wcs
        )
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
    return np.sqrt(_wcs.central_solid_angle(wcs, shape))


def _seen_by(column, wcs, source):
    """Return the mean column density in the pixels of another grid, from what is known of it."""
    known = np.isfinite(column)
    scale = column[known].mean() if known.any() else 1.0
    planes = np.stack([np.where(known, column / scale, 0), known.astype(np.float64)])
    gas, weight = _operator(wcs, column.shape, source.wcs, source.values.shape)(planes)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((weight > 0) & (gas > 0), gas / weight * scale, np.nan)
