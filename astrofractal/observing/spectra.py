"""Spectra: Gaussian lines of gas in velocity channels, and the moments that a map keeps of them."""

from dataclasses import dataclass

import numpy as np
from astropy import units as u
from scipy.special import ndtr

from astrofractal._utils.limits import check_size
from astrofractal.gasmap.channel import Channel, subtract_line_width
from astrofractal.gasmap.io.cubes import moments


@dataclass(frozen=True)
class Spectrometer:
    """The width (km/s) and noise (cm-2) of channels, and the width of lines of gas at rest (km/s)."""

    channel_width: float
    channel_noise: float
    line_width: float
    snr: float

    def lines(self, column, velocity, dispersion):
        """Return the velocities of channels, and the column densities in them of one line per pixel."""
        # column, velocity about 0, dispersion (ny, nx); result (n_channels,), (n_channels, ny, nx)
        step = self.channel_width
        # a channel widens lines as well, which is a part of line_width
        thermal = max(self.line_width**2 - step**2 / 12, (1e-3 * step) ** 2)
        sigma = np.sqrt(dispersion**2 + thermal)
        known = np.isfinite(column + velocity + sigma)
        low = np.min(velocity - 4 * sigma, where=known, initial=-step)
        high = np.max(velocity + 4 * sigma, where=known, initial=step)
        n_bytes = 20 * (high - low) / step * column.size
        check_size(n_bytes, f"channel_width={step:g} km/s: the cube of lines")
        edges = np.arange(low - step, high + 2 * step, step)
        column, velocity, sigma = (
            np.where(known, one, np.nan).astype(np.float32) for one in (column, velocity, sigma)
        )
        below = ndtr((edges.astype(np.float32)[:, None, None] - velocity) / sigma)
        return edges[:-1] + step / 2, np.diff(below, axis=0) * column

    def moments(self, cube, velocities):
        """Return N, v and sigma of a cube of column densities, and their errors, (2, 3, ny, nx)."""
        each = np.ones(len(cube), dtype=cube.dtype)
        velocities = velocities.astype(cube.dtype)
        found = moments(cube, velocities, each, self.channel_noise, self.snr, use=each > 0)
        width = Channel(found[4], u.km / u.s, error=found[5])
        if self.line_width:
            subtract_line_width(width, self.line_width * width.unit)
        return np.stack(
            [found[0], found[2], width.values, found[1], found[3], width.error]
        ).reshape(2, 3, *cube.shape[1:])


def through(cube, operator, least=None):
    """Return a cube after a linear operator, normalized by what is known, which is whole spectra."""
    # Unknown pixels stay unknown; where the grid changes, those of which less than ``least`` is known.
    known = np.isfinite(cube[:1]).astype(cube.dtype)
    weight, good = operator(known), known > 0
    if least is not None:
        good = (weight > 0) & (weight >= least * operator(np.ones_like(known)))
    with np.errstate(invalid="ignore", divide="ignore"):
        moved = operator(np.where(known > 0, cube, 0)) / weight
    return np.where(good, moved, np.nan).astype(cube.dtype)
