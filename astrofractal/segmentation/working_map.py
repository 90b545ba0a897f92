"""The gas of a map, on the pixels that the encoder sees, and the channels next to its features."""

from dataclasses import dataclass

import numpy as np
from astropy import units as u

from astrofractal.gasmap.moments import STANDARD_WIDTH, mean_velocity, transform
from astrofractal.gasmap.noise import pixel_noise
from astrofractal.gasmap.resample import overlaps

#: Gas is where the column is more than this many times that of the background.
GAS_OVER_BACKGROUND = 2.0

#: A token covers at least so many pixels of the map, and a smoothed map has this relative noise.
LEAST_PIXELS = 2.0
MOST_NOISE = 0.1

#: Standard deviation in working pixels of a Gaussian that the encoder's map goes through.
SMOOTHING = 1.0

#: The velocity channel is relative to a mean over this length, or over so many tokens at least.
MEAN_LENGTH = STANDARD_WIDTH
MEAN_TOKENS = 32
LEAST_MEAN_TOKENS = 8

#: Contrasts of log N are relative to means over so many tokens.
CONTRAST_TOKENS = (2, 4, 8)

# The mode of log N is that of a background where the values above it reach so many times further
# than those below it: a map of gas alone has wings of like width.
_ASYMMETRY = 4.0

# Gaussians end at so many standard deviations.
_TRUNCATE = 3.0


@dataclass(frozen=True)
class Scale:
    """Widths in pixels of the map: of a token, of the smoothing of lines, of the mean of velocities."""

    token: float
    smoothing: float
    mean: float


@dataclass(frozen=True)
class WorkingMap:
    """The channels of a map on the pixels that the encoder sees, velocities relative to a mean."""

    array: np.ndarray  # (3, height, width), float32
    factor: float  # width of a working pixel in pixels of the map
    origin: tuple  # lower edge (y, x) of the first one in pixels of the map, which begins at 0
    anchor: tuple  # working pixel (y, x) at which a window of the encoder begins

    def _cells(self, features):
        """Return the width of the cells of ``features`` and their first edge, in pixels of the map."""
        edge = np.array(self.origin) + np.array(features.origin) * self.factor
        return features.stride * self.factor, edge

    def to_cells(self, planes, features):
        """Return planes (n, height, width) of the map averaged over the cells of ``features``."""
        width, edge = self._cells(features)
        return _resampled(planes, features.valid.shape, width, edge)

    def to_pixels(self, planes, features, shape):
        """Return planes (n, rows, columns) on cells of ``features`` interpolated to the map's pixels."""
        width, edge = self._cells(features)
        return _resampled(planes, shape, 1 / width, -edge / width)


def beam_width(gas):
    """Return the full width at half maximum of the beam in pixels, of a circle of its area."""
    if gas.beam is None:
        return 0.0
    area = float((gas.beam.sr / gas.pixel_solid_angle).to_value(u.one))
    return float(np.sqrt(area * 4 * np.log(2) / np.pi))


def background_level(gas):
    """Return the column density in cm-2 below which a map shows background; 0 if it is all gas."""
    log_column = np.log10(gas.column_density.value[~gas.mask])
    if len(log_column) < 64:
        return 0.0
    low, high = np.percentile(log_column, [1, 99.5])
    mode = _mode(log_column)
    if high - mode < max(_ASYMMETRY * (mode - low), np.log10(GAS_OVER_BACKGROUND)):
        return 0.0
    # Where noise spreads the background, its upper wing is as wide as the lower one.
    return float(10 ** (mode + max(np.log10(GAS_OVER_BACKGROUND), 2 * (mode - low))))


def _mode(values):
    """Return the middle of the shortest interval that contains a tenth of the values."""
    values = np.sort(values)
    n = max(len(values) // 10, 2)
    start = (values[n - 1 :] - values[: 1 - n]).argmin()
    return values[start : start + n].mean()


def find_scale(gas, scale="auto"):
    """Return the `Scale` of a map: the one that was chosen, or that of its beam, pixels and noise."""
    column = gas.column_density.value
    noise = pixel_noise(gas) / np.nanmedian(column)
    # White noise falls by 2 sqrt(pi) sigma through a Gaussian.
    smoothing = 0.0 if noise <= MOST_NOISE else noise / MOST_NOISE / (2 * np.sqrt(np.pi))
    if isinstance(scale, u.Quantity):
        is_length = scale.unit.is_equivalent(u.pc)
        token = (scale / gas.pixel_scale).to_value(u.one) if is_length else scale.to_value(u.pix)
        return _scale(gas, float(token), min(smoothing, float(token)))
    token = max(LEAST_PIXELS, beam_width(gas), 4 * smoothing)
    return _scale(gas, min(token, max(min(gas.shape) / 8, LEAST_PIXELS)), smoothing)


def coarsest(maps, scales):
    """Return the last arguments of `fixed_scale` that describe the widest token of several maps."""
    pixels = [gas.pixel_scale.to_value(u.pc) if gas.has_pixel_scale else np.nan for gas in maps]
    tokens = np.array([scale.token for scale in scales])
    widths = tokens * pixels
    widest = np.argmax(tokens if np.isnan(widths).any() else widths)
    return widths[widest], tokens[widest], scales[widest].smoothing / tokens[widest]


def fixed_scale(gas, token_width, token_pixels, smoothing):
    """Return the `Scale` of a map for a fitted model: widths in pc where they are known."""
    token = float(token_pixels)
    if gas.has_pixel_scale and np.isfinite(token_width):
        token = float(token_width / gas.pixel_scale.to_value(u.pc))
    return _scale(gas, token, float(smoothing) * token)


def _scale(gas, token, smoothing):
    mean = MEAN_TOKENS * token
    if gas.has_pixel_scale:
        pixels = float((MEAN_LENGTH / gas.pixel_scale).to_value(u.one))
        mean = max(pixels, LEAST_MEAN_TOKENS * token)
    return Scale(token, smoothing, mean)


def gas_of(gas, level, scale):
    """Return the channels of the map where there is gas, velocities relative to a local mean."""
    array = smooth_lines(gas.to_array(), scale.smoothing)
    column = 10.0 ** array[0].astype(float)
    if level > 0:
        # Judged on the scale of half a token, so that noise does not make holes.
        smooth = _smooth(column, scale.token / 4)
        array[:, ~(smooth > level)] = np.nan
    mean = mean_velocity(
        array[1], np.where(np.isfinite(array[0]), column, np.nan), _mean(scale.mean)
    )
    array[1] -= mean
    return array


def _mean(sigma):
    """Return a function that smooths a plane by a Gaussian, zero beyond the map."""
    from scipy.ndimage import gaussian_filter

    def operator(plane):
        if sigma == 0:
            return plane
        return gaussian_filter(plane, sigma, mode="constant", truncate=_TRUNCATE)

    return operator


def _smooth(values, sigma):
    """Return the mean of the known values under a Gaussian; NaN where a value is missing."""
    known = np.isfinite(values)
    operator = _mean(sigma)
    weight = operator(known.astype(float))
    mean = operator(np.where(known, values, 0)) / np.maximum(weight, 1e-30)
    return np.where(known, mean, np.nan)


def pixel_channels(gas, array, scale):
    """Return the channels next to the components: contrasts, velocity and log dispersion."""
    # array (3, height, width) of `gas_of`; the result is NaN where there is no gas
    column = np.where(np.isfinite(array[0]), 10.0 ** array[0].astype(float), np.nan)
    whole = gas.column_density.value  # the surroundings count, background or not
    fine = np.log10(_smooth(whole, scale.token / 4))
    contrasts = [fine - np.log10(_smooth(whole, n * scale.token)) for n in CONTRAST_TOKENS]
    lines = smooth_lines(array, scale.token / 2)
    dispersion = np.log10(np.maximum(lines[2], 0.01))
    found = np.stack([*contrasts, lines[1], dispersion])
    found[:, np.isnan(column)] = np.nan
    return found.astype(np.float32)


def working_map(gas, array, factor, *, smoothing=SMOOTHING):
    """Bring channels to the encoder's pixels, of which one begins at the reference pixel of the WCS."""
    # array (3, height, width)
    anchor = (0, 0)
    if gas.wcs is not None:
        anchor = tuple(int(np.floor(value)) for value in gas.wcs.wcs.crpix[::-1])
    first = [int(np.floor(-point / factor)) for point in anchor]
    origin = tuple(point + n * factor for point, n in zip(anchor, first, strict=True))
    shape = [
        max(int(np.ceil((n - edge) / factor - 1e-9)), 1)
        for n, edge in zip(gas.shape, origin, strict=True)
    ]
    rows, columns = _operators(gas.shape, shape, factor, origin)
    smooth = _mean(smoothing)

    def operator(planes):
        return np.stack([smooth(rows @ plane @ columns.T) for plane in planes])

    return WorkingMap(_through(operator, array), factor, origin, tuple(-n for n in first))


def _operators(shape_in, shape_out, factor, origin):
    """Return sparse matrices that average rows and columns over boxes from ``origin`` (y, x) on."""
    from scipy.sparse import csr_matrix

    return [
        csr_matrix(overlaps(edge + (np.arange(n_out) + 0.5) * factor - 0.5, max(factor, 1.0), n_in))
        for n_in, n_out, edge in zip(shape_in, shape_out, origin, strict=True)
    ]


def _resampled(planes, shape, factor, origin):
    """Return planes with gaps (n, height, width) averaged over boxes; NaN where nothing is known."""
    rows, columns = _operators(planes.shape[1:], shape, factor, origin)
    found = []
    for plane in planes:
        known = np.isfinite(plane)
        weight = rows @ known.astype(np.float32) @ columns.T
        total = rows @ np.where(known, plane, 0) @ columns.T
        found.append(np.where(weight > 1e-9, total / np.maximum(weight, 1e-9), np.nan))
    return np.stack(found).astype(np.float32)


def _through(operator, array, **options):
    """Return the channels of a map of which the lines have gone through a linear operator."""
    log_column, velocity, dispersion = array.astype(np.float64)
    channels = transform(10.0**log_column, velocity, dispersion, operator, **options)
    return np.stack([np.log10(channels[0]), *channels[1:]]).astype(np.float32)


def smooth_lines(array, sigma):
    """Return the map that a Gaussian beam would see, by the moments of the lines."""
    # array (3, height, width)
    if sigma == 0:
        return array
    smooth = _mean(sigma)

    def operator(planes):
        return np.stack([smooth(plane) for plane in planes])

    result = _through(operator, array, full=0.0)
    result[:, np.isnan(array[0])] = np.nan
    return result
