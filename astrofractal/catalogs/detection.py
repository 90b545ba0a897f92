"""Detection: peaks of the column density, where protostars may be."""

import warnings
from contextlib import suppress

import numpy as np
from astropy import units as u
from scipy.ndimage import binary_erosion, gaussian_filter
from scipy.spatial import cKDTree

from astrofractal._utils.validation import warn
from astrofractal.gasmap import GasMap
from astrofractal.gasmap.checks import in_pixels
from astrofractal.gasmap.moments import STANDARD_WIDTH
from astrofractal.gasmap.noise import pixel_noise
from astrofractal.gasmap.units import to_column_density

#: The smallest column density of a peak where the noise is not known, as of a map read part by part.
COLUMN_THRESHOLD = 3e22 / u.cm**2


def find_protostars(
    gas: GasMap,
    *,
    min_separation: u.Quantity = 0.05 * u.pc,
    threshold: u.Quantity | str | float = 5.0,
    max_sources: int | None = None,
) -> np.ndarray:
    """
    Find the peaks of the column density, where protostars may be.

    Parameters
    ----------
    gas : `~astrofractal.GasMap`
        The map, with a physical scale (WCS and distance).
    min_separation : `~astropy.units.Quantity`, optional
        The smallest separation of two peaks: a length or an angle.
    threshold : `~astropy.units.Quantity`, str or float, optional
        The smallest ratio of signal to noise of a peak as a number, or its smallest column density
        (text such as "5e22 cm-2" as well).
    max_sources : int, optional
        Keep only the highest peaks.

    Returns
    -------
    positions : 2D `~numpy.ndarray`, shape (n, 2)
        Pixels (x, y), the highest peak first.  With none, a warning says what to change.

    Notes
    -----
    Two signal-to-noise ratios must exceed the threshold: the height above the local background (the
    median in boxes of 0.5 pc) over the robust scatter about it, and the height above the surroundings
    (the median between half of ``min_separation`` and all of it) over the noise of a pixel.  Peaks next
    to a pixel without data or at the border of the map are left out.

    Examples
    --------
    >>> from astrofractal import GasMap
    >>> from astrofractal.data import data_path
    >>> from astrofractal.catalogs import find_protostars
    >>> gas = GasMap.read(data_path("example_cloud.fits"))
    >>> find_protostars(gas, max_sources=3).shape
    (3, 2)
    """
    from photutils.detection import find_peaks
    from photutils.utils.exceptions import NoDetectionsWarning

    width = u.Quantity(min_separation)
    separation = in_pixels("min_separation", width, length=gas.pixel_scale, distance=gas.distance)
    threshold = _threshold(threshold)
    column = np.where(gas.mask, 0, gas.column_density.value.astype(float))
    with_limit = isinstance(threshold, u.Quantity)
    if with_limit:
        data = column
        limit = to_column_density(threshold, name="threshold").to_value(u.cm**-2)
        what = f"{limit:.3g} cm-2"
    else:
        data, limit = _significance(gas, column), threshold
        what = f"{limit:g} (signal to noise)"
    inside = binary_erosion(~np.asarray(gas.mask), np.ones((3, 3)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoDetectionsWarning)
        peaks = find_peaks(np.where(gas.mask, -np.inf, data), limit, mask=~inside)
    pixels = np.empty((0, 2))
    if peaks is not None and len(peaks):
        pixels = np.column_stack([np.asarray(peaks[name], float) for name in ("x_peak", "y_peak")])
        height = column[pixels[:, 1].astype(int), pixels[:, 0].astype(int)]
        pixels = pixels[np.argsort(-height, kind="stable")]
        pixels = pixels[_separated(pixels, separation)]
        if not with_limit:
            pixels = pixels[_local_contrast(gas, pixels, separation) >= limit]
    if not len(pixels):
        highest = f"{data[inside].max():.3g}" if inside.any() else "nothing"
        found = f"no peak above the threshold {what}; the highest value of the map is {highest}"
        warn(f"{found}: lower threshold, or give positions")
    return pixels[:max_sources]


def _threshold(threshold):
    """Return a threshold, a number or a column density, from either or from text of either."""
    try:
        value = u.Quantity(threshold)
    except (TypeError, ValueError) as error:
        msg = f"threshold must be a number or a column density ('5e22 cm-2'), got {threshold!r}"
        raise ValueError(msg) from error
    return float(value) if value.unit == u.one else value


def check_detection(options):
    """Raise `TypeError` if there is an option that `find_protostars` does not have."""
    known = find_protostars.__kwdefaults__
    unknown = [name for name in options if name not in known]
    if unknown:
        taken = f"the detection takes {', '.join(known)}, and cutouts are always 0.5 pc wide"
        msg = f"catalog has no parameter {unknown[0]!r}: {taken}"
        raise TypeError(msg)


def _significance(gas, column):
    """Return the height above the local background over the scatter about it."""
    from astropy.stats import mad_std
    from photutils.background import Background2D, MADStdBackgroundRMS, MedianBackground

    mask = np.asarray(gas.mask)
    good = column[~mask]
    if not good.size:
        return np.zeros_like(column)
    width = max(8, round((STANDARD_WIDTH / gas.pixel_scale).to_value(u.one)))
    background, scatter = np.median(good), mad_std(good)
    if width < max(gas.shape):
        box = [min(width, n) for n in gas.shape]
        options = {"mask": mask, "filter_size": 3, "exclude_percentile": 90}
        kinds = {"bkg_estimator": MedianBackground(), "bkg_rms_estimator": MADStdBackgroundRMS()}
        with suppress(ValueError):  # no box has enough pixels with data
            found = Background2D(column, box, **options, **kinds)
            background, scatter = found.background, found.background_rms
    height = column - background
    scatter = np.maximum(scatter, mad_std(height[~mask]))
    return height / np.maximum(scatter, 1e-6 * max(np.abs(good).max(), 1e-30))


def _local_contrast(gas, pixels, separation):
    """Return the heights of peaks above what surrounds them, over the noise of a pixel."""
    reach = max(separation, 3.0)
    size = int(np.ceil(min(reach, max(gas.shape))))  # no more than the map, whatever its pixels are
    column = np.where(gas.mask, np.nan, gas.column_density.value.astype(float))
    noise = max(pixel_noise(gas), 1e-30)
    contrast = np.empty(len(pixels))
    for row, (x, y) in enumerate(pixels.astype(int)):
        around = np.s_[max(y - size, 0) : y + size + 1, max(x - size, 0) : x + size + 1]
        dy, dx = np.ogrid[around[0].start - y : size + 1, around[1].start - x : size + 1]
        near = column[around]
        distance = np.hypot(dx, dy)[: near.shape[0], : near.shape[1]]
        ring = near[(distance >= reach / 2) & (distance <= reach)]
        ring = ring if np.isfinite(ring).any() else column
        contrast[row] = (column[y, x] - np.nanmedian(ring)) / noise
    return contrast


def _separated(pixels, separation):
    """Keep, from the first on, what is no closer than ``separation`` to what is kept."""
    tree = cKDTree(pixels)
    free = np.ones(len(pixels), dtype=bool)
    keep = []
    for number, place in enumerate(pixels):
        if free[number]:
            keep.append(number)
            free[tree.query_ball_point(place, separation)] = False
    return keep


# In px of the standard map; the last is one, and rounding.
_REACH, _SMOOTHING, _TOLERANCE = 3.0, 0.7, 1.01


def peak_offset(image, *, kinematic=False):
    """Return where the local peak is relative to the center of a map, (0, 0) within one pixel."""
    # image (3, ny, nx); the peak of the column density, or of that times the square of the dispersion
    ny, nx = image.shape[1:]
    near = np.s_[max(ny // 2 - 8, 0) : ny // 2 + 8, max(nx // 2 - 8, 0) : nx // 2 + 8]
    y, x = (grid[near] for grid in np.mgrid[:ny, :nx])
    x, y = x - (nx - 1) / 2, y - (ny - 1) / 2
    value, _, dispersion = image[(slice(None), *near)]
    if kinematic:
        value = 10.0 ** (value - 22) * dispersion**2
    known = np.isfinite(value)
    inside = known & (np.hypot(x, y) <= _REACH)
    if not inside.any():
        return 0.0, 0.0
    weight = gaussian_filter(known.astype(float), _SMOOTHING)
    height = np.where(known, value - value[known].min(), 0).astype(float)
    smooth = gaussian_filter(height, _SMOOTHING) / np.maximum(weight, 1e-6)
    best = np.argmax(np.where(inside, smooth, -np.inf))
    dx, dy = float(x.flat[best]), float(y.flat[best])
    return (dx, dy) if np.hypot(dx, dy) > _TOLERANCE else (0.0, 0.0)


def is_off_center(image):
    """Return whether no local peak is within one pixel of the center."""
    # image (3, ny, nx)
    kinds = (False, True) if np.isfinite(image[2]).any() else (False,)
    return all(any(peak_offset(image, kinematic=kind)) for kind in kinds)
