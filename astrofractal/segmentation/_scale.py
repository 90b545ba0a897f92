"""The map at the physical scale that the encoder knows."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from astropy import units as u

from astrofractal._utils.warn import warn
from astrofractal.gasmap.gas_moments import STANDARD_WIDTH, mean_velocity, transform

__all__ = [
    "WorkingMap",
    "beam_width",
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
    """
    Return the full width at half maximum of the beam in pixels, of a circle of its area.

    Parameters
    ----------
    gas : `~astrofractal.GasMap`
        The map.

    Returns
    -------
    width : float
        0 for a map without a beam.
    """
    if gas.beam is None:
        return 0.0
    area = float((gas.beam.sr / gas.pixel_solid_angle).to_value(u.one))
    return float(np.sqrt(area * 4 * np.log(2) / np.pi))


def scale_factor(gas, pixel_scale, image_size, *, quiet=False):
    """
    Return how many pixels of the map make one working pixel.

    Parameters
    ----------
    gas : `~astrofractal.GasMap`
        The map.

    pixel_scale : "auto", None or `~astropy.units.Quantity`
        What was asked for.

    image_size : int
        Side of the encoder's windows.

    quiet : bool, optional
        Whether to leave out the warning.

    Returns
    -------
    factor : float
        1 for a map that is taken as it is.

    Notes
    -----
    A map that is narrower than a window is magnified to its width, as far as its pixels and its beam
    have something to show: fractals have no scale of their own.
    """
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
    """
    Bring the channels of a map to the encoder's pixels.

    Wider pixels are averages over their area, narrower ones are interpolated linearly; the moments
    of the lines go through either (see `astrofractal.gasmap.gas_moments`), with the weights of a
    cutout.  The grid is anchored to the WCS's reference pixel, so that maps cut from one map share it.

    Parameters
    ----------
    gas : `~astrofractal.GasMap`
        The map.

    array : 3D `~numpy.ndarray`
        Its channels.

    factor : float
        Width of a working pixel in pixels of the map.

    Returns
    -------
    working : `WorkingMap`
        The result.
    """
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
    """
    Return the map that a Gaussian beam would see, by the moments of the lines.

    Parameters
    ----------
    array : 3D float32 `~numpy.ndarray`
        Channels as `astrofractal.GasMap.to_array` returns them.

    sigma : float
        Standard deviation in pixels; 0 for the map as it is.

    Returns
    -------
    array : 3D float32 `~numpy.ndarray`
        Masked pixels stay masked and take no part; beyond the border there is nothing.
    """
    if sigma == 0:
        return array
    from scipy.ndimage import gaussian_filter

    def operator(planes):
        return np.stack([gaussian_filter(plane, sigma, mode="constant") for plane in planes])

    result = _through(operator, array, full=0.0)
    result[:, np.isnan(array[0])] = np.nan
    return result


def subtract_local_mean(array, width):
    """
    Subtract from the velocity its column-weighted mean in a box around each pixel, in place.

    Parameters
    ----------
    array : 3D float32 `~numpy.ndarray`
        Channels as `astrofractal.GasMap.to_array` returns them.

    width : float
        Side of the box in pixels; the next odd number is taken.
    """
    from scipy.ndimage import uniform_filter

    box = partial(uniform_filter, size=2 * round(width / 2) + 1, mode="constant")
    array[1] -= mean_velocity(array[1], 10.0 ** array[0], box)
