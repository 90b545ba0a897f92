"""What the segments hold and what the components follow, in physical units."""

import numpy as np
from astropy import constants as const
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable

from astrofractal._utils.reading import sky_format
from astrofractal.gasmap import H2_MEAN_MOLECULAR_WEIGHT, column_to_mass
from astrofractal.gasmap.moments import transform

__all__ = ["correlation_table", "segment_table", "virial_parameter"]

_COLUMN = u.cm**-2

_SPEED = u.km / u.s


def virial_parameter(mass, radius, dispersion):
    """Return the virial parameter of a sphere of uniform density."""
    return (5 * dispersion**2 * radius / (const.G * mass)).to(u.one)


def _mean(index, n, values, weights):
    """Weighted means for each index in 1..n, NaN where nothing has weight."""
    use = np.isfinite(values) & (weights > 0)
    weights = np.where(use, weights, 0)
    total = np.bincount(index, np.where(use, values, 0) * weights, minlength=n + 1)[1:]
    norm = np.bincount(index, weights, minlength=n + 1)[1:]
    return np.divide(total, norm, out=np.full(n, np.nan), where=norm > 0)


def segment_table(gas, index, n, components):
    """Measure the pixels that share a number."""
    # index 2D; components (n_components, height, width)
    inside = index > 0
    number = index[inside]
    column = gas.column_density.value[inside].astype(float)
    n_pixels = np.bincount(number, minlength=n + 1)[1:]
    table = QTable()
    table["label"] = np.arange(1, n + 1)
    table["n_pixels"] = n_pixels
    rows, columns = (axis.astype(float) for axis in np.nonzero(inside))
    table["x_centroid"] = _mean(number, n, columns, column)
    table["y_centroid"] = _mean(number, n, rows, column)
    if gas.wcs is not None:
        table["sky_centroid"] = gas.wcs.pixel_to_world(table["x_centroid"], table["y_centroid"])
        table["solid_angle"] = n_pixels * gas.pixel_solid_angle.to(u.arcmin**2)
    physical = gas.has_pixel_scale
    if physical:
        table["area"] = n_pixels * gas.pixel_area
    table["mean_column_density"] = _mean(number, n, column, np.ones_like(column)) * _COLUMN
    peak = np.zeros(n + 1)
    np.maximum.at(peak, number, column)
    table["peak_column_density"] = np.where(n_pixels > 0, peak[1:], np.nan) * _COLUMN
    if physical:
        total = np.bincount(number, column, minlength=n + 1)[1:] * _COLUMN
        table["gas_mass"] = column_to_mass(total, gas.pixel_area)
        table["effective_radius"] = np.sqrt(table["area"] / np.pi)
    _add_motions(table, gas, number, inside, column, n)
    if physical and "total_dispersion" in table.colnames:
        with np.errstate(divide="ignore", invalid="ignore"):
            table["virial_parameter"] = virial_parameter(
                table["gas_mass"], table["effective_radius"], table["total_dispersion"]
            )
    if len(components) and n:
        levels = np.stack(
            [_mean(number, n, plane[inside], np.ones_like(column)) for plane in components]
        )
        spread = [np.nanstd(plane[inside]) for plane in components]
        levels = np.nan_to_num(levels / np.maximum(spread, 1e-30)[:, None])
        dominant = np.abs(levels).argmax(0)
        table["dominant_component"] = dominant + 1
        table["dominant_level"] = levels[dominant, np.arange(n)]
    table.meta["mu_H2"] = H2_MEAN_MOLECULAR_WEIGHT
    if gas.distance is not None:
        table.meta["distance_pc"] = float(gas.distance.to_value(u.pc))
    for name, text in _DESCRIPTIONS.items():
        if name in table.colnames:
            table[name].info.description = text
    _show_numbers(table)
    return table


def _show_numbers(table):
    """Set how the columns of a table are shown: positions to 0.04 arcsec, other numbers to 3 digits."""
    for name in table.colnames:
        column = table[name]
        if isinstance(column, SkyCoord):
            column.info.format = sky_format(column)
        elif name.endswith("_centroid"):
            column.info.format = ".1f"
        elif np.dtype(column.dtype).kind == "f":
            column.info.format = ".3g"


def _add_motions(table, gas, number, inside, column, n):
    velocity, dispersion = (
        None if values is None else values.value[inside].astype(float)[None]
        for values in (gas.velocity, gas.dispersion)
    )

    def totals(planes):
        return np.stack([[np.bincount(number, line, minlength=n + 1)[1:]] for (line,) in planes])

    _, mean, total = transform(column[None], velocity, dispersion, totals)
    if velocity is not None:
        table["mean_velocity"] = mean[0] * _SPEED
        table["velocity_spread"] = (
            transform(column[None], velocity, 0 * velocity, totals)[2][0] * _SPEED
        )
    if dispersion is not None:
        table["mean_dispersion"] = _mean(number, n, dispersion[0], column) * _SPEED
        table["total_dispersion"] = total[0] * _SPEED


_DESCRIPTIONS = {
    "label": "number in the map; 0 is no data",
    "x_centroid": "centroid of the column density, 0-based pixel",
    "y_centroid": "centroid of the column density, 0-based pixel",
    "solid_angle": "pixels times the solid angle of the central pixel",
    "area": "pixels times the area of the central pixel",
    "gas_mass": "all gas in the line of sight of the label's pixels",
    "mean_velocity": "weighted by column density",
    "velocity_spread": "standard deviation of the pixels' velocities, weighted by column density",
    "mean_dispersion": "mean of the pixels' dispersions, weighted by column density",
    "total_dispersion": "dispersions and spread of the velocities added in quadrature",
    "effective_radius": "sqrt(area / pi)",
    "virial_parameter": "5 total_dispersion^2 effective_radius / (G gas_mass) of connected pixels",
    "dominant_component": "component whose mean is farthest from the map's, in standard deviations",
    "dominant_level": "that mean, in standard deviations over the labeled pixels",
}


def correlation_table(gas, labels, components, *, spacing, scale):
    """Correlate the components with physical quantities."""
    # labels 2D in pixels; components (n_components, height, width)
    from scipy.stats import spearmanr

    array = gas.to_array()
    at = (slice(spacing // 2, None, spacing), slice(spacing // 2, None, spacing))
    quantities = {
        "log_column_density": array[0][at],
        "velocity": array[1][at],
        "dispersion": array[2][at],
        "column_density_gradient": _gradient(array[0])[at],
        "spectral_slope": _local_slopes(array[0], at, scale),
    }
    here = labels[at] > 0
    table = QTable()
    table["component"] = np.arange(1, len(components) + 1)
    for name, values in quantities.items():
        row = []
        for plane in components:
            sample = plane[at]
            use = here & np.isfinite(values) & np.isfinite(sample)
            enough = use.sum() > 4 and np.ptp(values[use]) > 0 and np.ptp(sample[use]) > 0
            row.append(spearmanr(sample[use], values[use]).statistic if enough else np.nan)
        table[name] = row
    for name in quantities:
        table[name].info.format = ".2f"
    table.meta["n_samples"] = int(here.sum())
    table.meta["statistic"] = "Spearman rank correlation"
    return table


def _gradient(log_column, sigma=1.0):
    """Modulus of the gradient of N, in relative units, of the map smoothed over its good pixels."""
    from scipy.ndimage import gaussian_filter

    good = np.isfinite(log_column)
    column = np.where(good, 10.0 ** (np.where(good, log_column, 0) - 22), 0)
    weight = gaussian_filter(good.astype(float), sigma)
    smooth = gaussian_filter(column, sigma) / np.maximum(weight, 1e-6)
    if min(smooth.shape) < 2:
        return np.full_like(smooth, np.nan)
    modulus = np.hypot(*np.gradient(smooth))
    return np.where(weight > 0.99, modulus, np.nan)


def _local_slopes(log_column, at, scale):
    """Slope of the power spectrum of log N in a box around each sample; NaN at bad pixels."""
    height, width = log_column.shape
    rows, columns = (np.arange(n)[part] for n, part in zip(log_column.shape, at, strict=True))
    slopes = np.full((len(rows), len(columns)), np.nan)
    if min(height, width) < scale:
        return slopes
    taper = np.outer(*[np.hanning(scale + 2)[1:-1]] * 2)
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(scale) * scale] * 2))
    ring = np.rint(frequency).astype(int)
    wave_numbers = np.arange(2, scale // 3)
    design = np.log10(wave_numbers) - np.log10(wave_numbers).mean()
    for i, y in enumerate(rows):
        y0 = min(max(y - scale // 2, 0), height - scale)
        for j, x in enumerate(columns):
            x0 = min(max(x - scale // 2, 0), width - scale)
            box = log_column[y0 : y0 + scale, x0 : x0 + scale]
            if not np.isfinite(box).all() or np.ptp(box) == 0:
                continue
            power = np.abs(np.fft.fft2((box - box.mean()) * taper)) ** 2
            total = np.bincount(ring.ravel(), power.ravel())
            count = np.bincount(ring.ravel())
            profile = np.log10(total[wave_numbers] / count[wave_numbers] + 1e-30)
            slopes[i, j] = design @ profile / (design @ design)
    return slopes
