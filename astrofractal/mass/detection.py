"""Detection: peaks of the column density, where protostars may be."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from scipy.spatial import cKDTree

from astrofractal._utils.warn import warn
from astrofractal.gasmap.units import to_column_density

if TYPE_CHECKING:
    from astrofractal.gasmap import GasMap


__all__ = ["find_protostars"]


def find_protostars(
    gas: GasMap,
    *,
    min_separation: u.Quantity = 0.05 * u.pc,
    threshold: u.Quantity | float | None = None,
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

    threshold : `~astropy.units.Quantity` or float, optional
        The smallest column density of a peak (cm-2 or what GasMap takes), or the smallest ratio of
        signal to noise as a number.  The noise is the map's uncertainty or, where it has none, the
        scatter about the median of the pixels that are left after clipping at 3 sigma.  By
        default 3e22 cm-2.

    max_sources : int, optional
        Keep only the highest peaks.

    Returns
    -------
    positions : 2D `~numpy.ndarray`, shape (n, 2)
        Pixels (x, y), the highest peak first.  With none, a warning tells what to change.
    """
    from photutils.detection import find_peaks
    from photutils.utils.exceptions import NoDetectionsWarning

    scale = gas.pixel_scale
    min_separation = u.Quantity(min_separation)
    if min_separation.unit.is_equivalent(u.deg):
        if gas.distance is None:
            msg = f"min_separation {min_separation} is an angle: it needs the map's distance"
            raise ValueError(msg)
        min_separation = min_separation.to_value(u.rad) * gas.distance
    if not min_separation.unit.is_equivalent(u.pc):
        msg = f"min_separation must be a length or an angle, such as 0.05 pc, got {min_separation}"
        raise u.UnitConversionError(msg)
    separation = (min_separation / scale).to_value(u.one)
    column = gas.column_density.value.astype(float)
    data, limit = column, 3e22
    if isinstance(threshold, u.Quantity) and threshold.unit != u.one:
        limit = to_column_density(threshold, name="threshold").to_value(u.cm**-2)
    elif threshold is not None:
        data, limit = column / _noise(gas), float(threshold)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoDetectionsWarning)
        peaks = find_peaks(
            np.where(gas.mask, 0, data),
            limit,
            mask=np.array(gas.mask),
        )
    if peaks is None or len(peaks) == 0:
        highest = np.nanmax(data)
        msg = (
            f"no peak above the threshold {limit:.3g}; the highest value of the map is "
            f"{highest:.3g}: lower threshold, or give positions"
        )
        warn(msg)
        return np.empty((0, 2))
    peaks.sort("peak_value", reverse=True)
    pixels = np.column_stack([np.asarray(peaks[name], float) for name in ("x_peak", "y_peak")])
    return pixels[_separated(pixels, separation)][:max_sources]


def _separated(pixels, separation):
    """Keep, from the first on, what is no closer than ``separation`` to what is kept."""
    near = cKDTree(pixels).query_ball_point(pixels, separation)
    free = np.ones(len(pixels), dtype=bool)
    keep = []
    for number, neighbors in enumerate(near):
        if free[number]:
            keep.append(number)
            free[neighbors] = False
    return keep


def _noise(gas):
    if gas.column_density_uncertainty is not None:
        return np.where(gas.mask, np.nan, gas.column_density_uncertainty.value)
    from astropy.stats import sigma_clipped_stats

    _, _, noise = sigma_clipped_stats(gas.column_density.value[~gas.mask].astype(float))
    return max(float(noise), 1e-30)
