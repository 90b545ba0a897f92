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
    column = gas.column_density.value
    if min(gas.shape) <= 2 * lag:
        return 0.0
    middle = column[:, lag:-lag]
    steps = middle - (column[:, : -2 * lag] + column[:, 2 * lag :]) / 2
    if not np.isfinite(steps).any():
        return 0.0
    faint = middle < np.nanquantile(column, 0.25)
    if np.isfinite(steps[faint]).any():
        steps = steps[faint]
    return float(1.4826 * np.nanmedian(np.abs(steps)) / np.sqrt(1.5))
