"""The noise of a map: from its uncertainties or, where it has none, from its pixels."""

import numpy as np


def median_error(gas, channel):
    """Return the median uncertainty of a channel over a map, `None` where there is none."""
    error = getattr(gas, f"{channel}_uncertainty")
    known = error is not None and np.isfinite(error).any()
    return np.nanmedian(error).astype(float) if known else None


def pixel_noise(gas):
    """Return the standard deviation of the noise of the column density in a pixel."""
    error = median_error(gas, "column_density")
    return column_steps(gas) if error is None else error.value


def column_steps(gas, *, lag=3):
    """Return the standard deviation of white noise that has the steps between pixels of a map."""
    column = np.where(gas.mask, np.nan, gas.column_density.value.astype(float))
    if min(gas.shape) <= 2 * lag or gas.mask.all():
        return 0.0
    level = np.nanquantile(column, 0.25)
    found = []
    for plane in (column, column.T):  # both, so that a turned map has the same noise
        middle = plane[:, lag:-lag]
        steps = middle - (plane[:, : -2 * lag] + plane[:, 2 * lag :]) / 2
        faint = np.isfinite(steps) & (middle < level)
        found.append(steps[faint] if faint.any() else steps[np.isfinite(steps)])
    steps = np.concatenate(found)
    return float(1.4826 * np.median(np.abs(steps)) / np.sqrt(1.5)) if len(steps) else 0.0
