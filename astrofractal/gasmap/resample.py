"""Cutouts: resampling through the WCS, NaN-aware, weighted by column density."""

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord

from .._utils.validation import positive_int
from . import wcs as _wcs

__all__ = ["Resampler"]

#: The widest ratio of output to input pixels that is reached by sub-sampling alone; beyond it the
#: input is first averaged in blocks.
_MAX_SUBSAMPLES = 4

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
    """
    Makes cutouts of one map, all of one size and shape.

    Parameters
    ----------
    gas : `~astrofractal.GasMap`
        The map.

    size : `~astropy.units.Quantity`
        Width along x, a length or an angle.

    shape : tuple of int
        Shape (ny, nx).
    """

    def __init__(self, gas, *, size, shape):
        self.gas = gas
        self.shape = _shape(shape)
        self.size = _size(size)
        self.angular = self.size.unit.is_equivalent(u.rad)
        self.on_sky = gas.wcs is not None and (self.angular or gas.distance is not None)
        if self.on_sky:
            if self.angular:
                width = np.tan(self.size.to_value(u.rad) / 2) * 2
            else:
                width = (self.size / gas.distance).to_value(u.one)
            self.step = width / self.shape[1]
        elif self.angular:
            gas._need_wcs("a cutout of a size given as an angle")
        elif "pixel_scale" in gas.meta:
            self.step = (self.size / gas.meta["pixel_scale"]).to_value(u.one) / self.shape[1]
        else:
            gas._need_wcs("a cutout of a size given as a length")
            gas._need_distance("a cutout of a size given as a length")

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
                wcs = _wcs.tangent_wcs(
                    self.gas.wcs, longitude[index], latitude[index], self.step, self.shape
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
        # p = centre + xi east + eta north, in the plane of the centre's meridian
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
        ny, nx = self.shape
        ratio = self._ratio(mapping)
        n_sub = int(np.clip(np.ceil(ratio - 0.05), 1, _MAX_SUBSAMPLES))
        block = max(int(ratio / 2), 1) if ratio > _MAX_SUBSAMPLES else 1
        shift = (np.arange(n_sub) + 0.5) / n_sub - 0.5
        i = (np.arange(nx)[:, None] + shift).ravel()
        j = (np.arange(ny)[:, None] + shift).ravel()
        x, y = mapping(i, j)
        height, width = self.gas.shape
        with np.errstate(invalid="ignore"):
            within = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
        arrays, errors = self._sample(x, y, within, n_sub, block, ratio)
        covered = _mean(within.astype(np.float64), n_sub)
        masked = ~np.isfinite(arrays["column_density"])
        flags = []
        if not inside:
            flags.append("outside")
        if (covered < 1).any():
            flags.append("edge")
        if (masked & (covered > 0.5)).any():
            flags.append("masked")
        if abs(ratio - 1) > 0.05:
            flags.append("resampled")
        if self._resolution(ratio) > _BEAM_PIXELS:
            flags.append("beam")
        meta = {key: value for key, value in self.gas.meta.items() if key != "pixel_scale"}
        meta |= {
            "flags": flags,
            "masked_fraction": float(masked.mean()),
            "size": self.size,
            "pixel": (float(pixel[0]), float(pixel[1])),
        }
        if not self.angular:
            meta["pixel_scale"] = self.size / nx
        return self.gas._trusted(
            arrays,
            errors,
            wcs=wcs,
            distance=self.gas.distance,
            beam=self.gas.beam,
            meta=meta,
        )

    def _ratio(self, mapping):
        """Return the width of an output pixel in pixels of the map, at the centre."""
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
            pixels = max(pixels, self.gas.beam.to_value(u.rad) / self.step)
        return pixels

    def _sample(self, x, y, within, n_sub, block, ratio):
        """Return arrays and errors on the output grid."""
        nothing = np.full(self.shape, np.nan)
        if not within.any():
            names = self.gas._arrays
            return dict.fromkeys(names, nothing), dict.fromkeys(self.gas._errors, nothing)
        margin = 1 + block
        height, width = self.gas.shape
        x0 = max(int(np.floor(x[within].min())) - margin, 0)
        y0 = max(int(np.floor(y[within].min())) - margin, 0)
        x1 = min(int(np.ceil(x[within].max())) + margin + 1, width)
        y1 = min(int(np.ceil(y[within].max())) + margin + 1, height)
        part = (slice(y0, y1), slice(x0, x1))
        planes, offset, scale = _moment_planes(
            {name: array[part] for name, array in self.gas._arrays.items()}, squares=block > 1
        )
        names = list(planes)
        stack = np.stack([planes[name] for name in names], axis=-1)
        error_names = list(self.gas._errors)
        for name in error_names:
            error = self.gas._errors[name][part].astype(np.float64)
            if name == "column_density":
                error = error / scale
            good = np.isfinite(error)
            stack = np.concatenate(
                [stack, np.where(good, error**2, 0)[..., None], good[..., None]], axis=-1
            )
        if block > 1:
            stack = _blocks(stack, block)
        px, py = ((value - start + 0.5) / block - 0.5 for value, start in ((x, x0), (y, y0)))
        sampled = _bilinear(stack, px, py, within)
        planes = {name: sampled[..., index] for index, name in enumerate(names)}
        arrays = _from_planes(planes, offset, scale, n_sub)
        errors = {}
        independent = max(1.0, ratio**2 / self._pixels_per_resolution(ratio))
        for index, name in enumerate(error_names):
            variance = _mean(sampled[..., len(names) + 2 * index], n_sub)
            weight = _mean(sampled[..., len(names) + 2 * index + 1], n_sub)
            with np.errstate(invalid="ignore", divide="ignore"):
                error = np.sqrt(np.where(weight > 0, variance / weight, np.nan) / independent)
            errors[name] = error * scale if name == "column_density" else error
        return arrays, errors

    def _pixels_per_resolution(self, ratio):
        """Return how many pixels of the map are not independent of one another."""
        if self.gas.beam is None or not self.on_sky:
            return 1.0
        area = _wcs.beam_area(self.gas.beam, self.gas.beam).value
        return max(1.0, area / (self.step / ratio) ** 2)


def _moment_planes(arrays, *, squares=False):
    """
    Return planes that may be added up, so that averages are right: weights, N, N v, N sigma^2.

    With ``squares``, N v^2 as well, for input that is averaged in blocks first.

    Also returned are the velocity and column density that were taken out for precision.
    """
    column = arrays["column_density"].astype(np.float64)
    valid = np.isfinite(column)
    scale = float(np.mean(column[valid])) if valid.any() else 1.0
    column = np.where(valid, column / scale, 0)
    planes = {"weight": valid.astype(np.float64), "column": column}
    offset = 0.0
    for name in ("velocity", "dispersion"):
        if name not in arrays:
            continue
        values = arrays[name].astype(np.float64)
        known = np.isfinite(values)
        weight = np.where(known, column, 0)
        values = np.where(known, values, 0)
        if name == "velocity":
            total = weight.sum()
            offset = float((weight * values).sum() / total) if total > 0 else 0.0
            values = np.where(known, values - offset, 0)
            if squares:
                planes["velocity_square"] = weight * values**2
        else:
            values = values**2
        planes[f"{name}_weight"] = weight
        planes[name] = weight * values
    return planes, offset, scale


def _from_planes(planes, offset, scale, n_sub):
    """Return the channels of sampled planes, averaged over the n_sub x n_sub samples of a pixel."""
    arrays = {}
    with np.errstate(invalid="ignore", divide="ignore"):
        weight, column = (_mean(planes[name], n_sub) for name in ("weight", "column"))
        arrays["column_density"] = np.where(weight >= 0.5, column / weight, np.nan) * scale
        if "velocity" in planes:
            known = _mean(planes["velocity_weight"], n_sub)
            mean = _mean(planes["velocity"], n_sub) / known
            arrays["velocity"] = np.where(known >= 0.5 * column, mean + offset, np.nan)
        if "dispersion" in planes:
            known = _mean(planes["dispersion_weight"], n_sub)
            square = _mean(planes["dispersion"], n_sub) / known
            if n_sub > 1 and "velocity" in planes:
                square = square + _spread(planes, n_sub)
            square = np.maximum(square, 0)
            arrays["dispersion"] = np.where(known >= 0.5 * column, np.sqrt(square), np.nan)
    return arrays


def _spread(planes, n_sub):
    """Return the column-weighted variance of the velocities of the samples in each pixel."""
    weight, product = planes["velocity_weight"], planes["velocity"]
    if "velocity_square" in planes:
        square = planes["velocity_square"]
    else:
        square = np.where(weight > 0, product**2 / np.where(weight > 0, weight, 1), 0)
    total = _mean(weight, n_sub)
    variance = _mean(square, n_sub) / total - (_mean(product, n_sub) / total) ** 2
    return np.where(np.isfinite(variance), np.maximum(variance, 0), 0)


def _mean(array, n_sub):
    """Return the mean over blocks of n_sub x n_sub."""
    if n_sub == 1:
        return array
    height, width = array.shape
    return array.reshape(height // n_sub, n_sub, width // n_sub, n_sub).mean(axis=(1, 3))


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
