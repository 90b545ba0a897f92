"""The map at the physical scale that the encoder knows."""

import numbers
from dataclasses import dataclass
from functools import partial

import numpy as np
from astropy import units as u

from astrofractal._utils.validation import warn
from astrofractal.gasmap.moments import STANDARD_WIDTH, mean_velocity, transform

__all__ = [
    "WorkingMap",
    "area_in_pixels",
    "beam_width",
    "block_means",
    "check_area",
    "guided_rows",
    "scale_factor",
    "smooth_lines",
    "subtract_local_mean",
    "working_map",
]

# Pixels within this factor of the encoder's are taken as they are.
_TOLERANCE = 1.5

# Small maps are magnified until a beam is as wide as this.
_MOST_PIXELS_PER_BEAM = 8.0

# Coarser maps are interpolated by no more than this: there is nothing between their pixels.
_MOST_UPSAMPLING = 6.0


@dataclass(frozen=True)
class WorkingMap:
    """
    The channels of a map on the pixels that the encoder sees.

    Parameters
    ----------
    array : 3D float32 `~numpy.ndarray`
        Channels as `astrofractal.GasMap.to_array` returns them.

    factor : float
        Width of a working pixel in pixels of the map.

    origin : tuple of float
        Lower edge (y, x) of the first working pixel in pixels of the map, whose own first pixel
        begins at 0.

    anchor : tuple of int
        Working pixel (y, x) at which a window of the encoder begins.
    """

    array: np.ndarray
    factor: float
    origin: tuple
    anchor: tuple

    def positions(self, features, shape):
        """Return rows and columns of the map's pixels in units of cells of ``features``."""
        return tuple(
            ((np.arange(n) + 0.5 - edge) / self.factor - first) / features.stride - 0.5
            for n, edge, first in zip(shape, self.origin, features.origin, strict=True)
        )


def beam_width(gas):
    """Return the full width at half maximum of the beam in pixels, of a circle of its area."""
    if gas.beam is None:
        return 0.0
    area = float((gas.beam.sr / gas.pixel_solid_angle).to_value(u.one))
    return float(np.sqrt(area * 4 * np.log(2) / np.pi))


def scale_factor(gas, pixel_scale, image_size, *, quiet=False):
    """Return how many pixels of the map make one working pixel."""
    if pixel_scale is None:
        return 1.0
    if isinstance(pixel_scale, u.Quantity):
        return float((pixel_scale / gas.pixel_scale).to_value(u.one))
    if not gas.has_pixel_scale:
        return 1.0
    factor = float((STANDARD_WIDTH / image_size / gas.pixel_scale).to_value(u.one))
    finest = max(min(gas.shape) / image_size, beam_width(gas) / _MOST_PIXELS_PER_BEAM, 1.0)
    factor = min(factor, finest) if factor > 1 else factor
    if 1 / _TOLERANCE <= factor <= _TOLERANCE:
        return 1.0
    if factor * _MOST_UPSAMPLING >= 1:
        return factor
    if not quiet:
        warn(
            f"the pixels of the map ({gas.pixel_scale:.3g}) are much wider than those of the "
            f"encoder ({STANDARD_WIDTH / image_size:.3g}): the segments follow structures of "
            f"{image_size / _MOST_UPSAMPLING:.0f} pixels of the map, larger than those "
            "the encoder was made for",
        )
    return 1 / _MOST_UPSAMPLING


def _overlaps(n_in, n_out, factor, origin):
    """`~astrofractal.gasmap.resample.overlaps` of evenly spaced boxes, as a sparse matrix."""
    from scipy.sparse import csr_matrix

    width = max(factor, 1.0)
    low = (origin + (np.arange(n_out) + 0.5) * factor - width / 2)[:, None]
    index = np.floor(low).astype(np.intp) + np.arange(int(np.ceil(width)) + 1)
    share = np.minimum(index + 1, low + width) - np.maximum(index, low)
    use = (share > 0) & (index >= 0) & (index < n_in)
    return csr_matrix((share[use] / width, (np.nonzero(use)[0], index[use])), shape=(n_out, n_in))


def working_map(gas, array, factor):
    """Bring the channels of a map to the encoder's pixels."""
    # array 3D
    anchor = (0, 0)
    if gas.wcs is not None:
        anchor = tuple(int(np.floor(value)) for value in gas.wcs.wcs.crpix[::-1])
    if factor == 1:
        return WorkingMap(array, 1.0, (0.0, 0.0), anchor)
    first = [int(np.floor(-point / factor)) for point in anchor]
    origin = tuple(point + n * factor for point, n in zip(anchor, first, strict=True))
    shape = [
        max(int(np.ceil((n - edge) / factor - 1e-9)), 1)
        for n, edge in zip(gas.shape, origin, strict=True)
    ]
    rows, columns = (
        _overlaps(*sizes, factor, edge)
        for sizes, edge in zip(zip(gas.shape, shape, strict=True), origin, strict=True)
    )

    def operator(planes):
        return np.stack([rows @ plane @ columns.T for plane in planes])

    result = _through(operator, array)
    return WorkingMap(result, factor, origin, tuple(-n for n in first))


def _through(operator, array, **options):
    """Return the channels of a map of which the lines have gone through a linear operator."""
    log_column, velocity, dispersion = array.astype(np.float64)
    channels = transform(10.0**log_column, velocity, dispersion, operator, **options)
    return np.stack([np.log10(channels[0]), *channels[1:]]).astype(np.float32)


def smooth_lines(array, sigma):
    """Return the map that a Gaussian beam would see, by the moments of the lines."""
    # array 3D
    if sigma == 0:
        return array
    from scipy.ndimage import gaussian_filter

    def operator(planes):
        return np.stack([gaussian_filter(plane, sigma, mode="constant") for plane in planes])

    result = _through(operator, array, full=0.0)
    result[:, np.isnan(array[0])] = np.nan
    return result


def subtract_local_mean(array, width):
    """Subtract from the velocity its column-weighted mean in a box around each pixel, in place."""
    # array 3D
    from scipy.ndimage import uniform_filter

    box = partial(uniform_filter, size=2 * round(width / 2) + 1, mode="constant")
    array[1] -= mean_velocity(array[1], 10.0 ** array[0], box)


def check_area(min_area):
    """Check an area given in pixels, pc2, a solid angle or beams."""
    if min_area is None:
        return
    value = min_area
    if isinstance(min_area, u.Quantity):
        if not any(
            min_area.unit.is_equivalent(unit) for unit in (u.pc**2, u.sr, u.beam, u.pix, u.one)
        ):
            msg = f"min_area must be pixels, an area, a solid angle or beams, got {min_area}"
            raise u.UnitConversionError(msg)
        value = min_area.value
    elif isinstance(min_area, bool) or not isinstance(min_area, numbers.Real):
        msg = f"min_area must be a number of pixels or a Quantity, got {min_area!r}"
        raise TypeError(msg)
    if np.ndim(value) or not np.isfinite(value) or value < 0:
        msg = f"min_area must be one area of at least 0, got {min_area!r}"
        raise ValueError(msg)


def area_in_pixels(area, gas):
    """Return an area in pixels of a map."""
    if not isinstance(area, u.Quantity):
        return float(area)
    unit = area.unit
    if unit.is_equivalent(u.pc**2):
        return float((area / gas.pixel_area).to_value(u.one))
    if unit.is_equivalent(u.beam):
        if gas.beam is None:
            msg = (
                f"min_area={area} needs the beam, the map has none: give beam=, e.g. 18 * u.arcsec"
            )
            raise ValueError(msg)
        return float((area.to_value(u.beam) * gas.beam.sr / gas.pixel_solid_angle).to_value(u.one))
    if unit.is_equivalent(u.sr) and not unit.is_equivalent(u.one):
        return float((area / gas.pixel_solid_angle).to_value(u.one))
    return float(area.value)


def block_means(array, origin, stride, shape):
    """Average the good pixels of each cell."""
    # array (n_channels, height, width)
    means = np.empty((len(array), *shape), np.float32)
    before = [-start for start in origin]
    after = [
        n * stride - first - length
        for n, first, length in zip(shape, before, array.shape[1:], strict=True)
    ]
    for channel, mean in zip(array, means, strict=True):
        padded = np.pad(
            channel, list(zip(before, after, strict=True)), constant_values=np.nan
        ).reshape(shape[0], stride, shape[1], stride)
        good = np.isfinite(padded)
        count = good.sum((1, 3))
        total = np.where(good, padded, 0).sum((1, 3), dtype=np.float32)
        mean[...] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return means


def _neighbors(positions, n_cells):
    """Return the three nearest cells of each position and their quadratic B-spline weights."""
    nearest = np.rint(positions).astype(np.intp)
    t = (positions - nearest).astype(np.float32)
    weights = np.stack([(0.5 - t) ** 2 / 2, 0.75 - t**2, (0.5 + t) ** 2 / 2])
    index = nearest + np.arange(-1, 2)[:, None]
    weights *= (index >= 0) & (index < n_cells)
    return np.clip(index, 0, n_cells - 1), weights


def guided_rows(values, valid, cell_guide, guide, positions, *, sharpness, block=65536):
    """Yield bands of rows of features on the pixel grid."""
    # values (rows, columns, n_components); valid 2D; cell_guide (n_channels, rows, columns);
    # guide (n_channels, height, width); positions 1D in pixels
    height, width = guide.shape[1:]
    y_index, y_weight = _neighbors(positions[0], values.shape[0])
    x_index, x_weight = _neighbors(positions[1], values.shape[1])
    planes = np.ascontiguousarray(np.moveaxis(values, -1, 0), dtype=np.float32)
    exponent = np.float32(-0.5 / sharpness**2)
    weak = np.float32(1e-6)  # a pixel unlike all of its cells still takes their mean
    known = valid.astype(np.float32)
    low = np.where(np.isfinite(cell_guide), cell_guide, 0).astype(np.float32)
    n_rows = max(block // width, 1)
    for start in range(0, height, n_rows):
        rows = slice(start, min(start + n_rows, height))
        high = guide[:, rows]
        missing = [bool(np.isnan(channel).any()) for channel in high]
        total = np.zeros((len(planes), high.shape[1], width), np.float32)
        norm = np.zeros(high.shape[1:], np.float32)
        for y, wy in zip(y_index[:, rows], y_weight[:, rows], strict=True):
            low_y, known_y, planes_y = low[:, y], known[y], planes[:, y]
            for x, wx in zip(x_index, x_weight, strict=True):
                distance = np.zeros_like(norm)
                for channel, cell, has_gaps in zip(high, low_y, missing, strict=True):
                    difference = channel - cell[:, x]
                    difference *= difference
                    if has_gaps:
                        difference[np.isnan(difference)] = 0
                    distance += difference
                distance *= exponent
                weight = np.exp(distance, out=distance)
                weight += weak
                weight *= wy[:, None]
                weight *= wx * known_y[:, x]
                norm += weight
                for plane, source in zip(total, planes_y, strict=True):
                    plane += weight * source[:, x]
        found = norm > 0
        total /= np.where(found, norm, 1)
        yield rows, np.moveaxis(total, 0, -1), found
