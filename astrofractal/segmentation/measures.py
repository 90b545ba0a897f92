"""What the segments hold and what the components follow, in physical units."""

import numpy as np
from astropy import constants as const
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable

from astrofractal._utils.reading import sky_format
from astrofractal.gasmap import H2_MEAN_MOLECULAR_WEIGHT, column_to_mass
from astrofractal.gasmap.moments import transform
from astrofractal.segmentation.islands import borders

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


def measure(gas, labels):
    """
    Measure the gas in labels of any origin, as the table of a segmentation does.

    Parameters
    ----------
    gas : `~astrofractal.GasMap`
        The map.
    labels : 2D int `~numpy.ndarray`
        A label for each pixel of the map, 0 for none: levels of a dendrogram, a
        `~photutils.segmentation.SegmentationImage`'s ``data``, masks drawn by hand.

    Returns
    -------
    table : `~astropy.table.QTable`
        One row per label that has a pixel, with the columns of
        `astrofractal.segmentation.Segmentation.table` apart from ``stability``.

    Raises
    ------
    ValueError
        If ``labels`` are not integers of at least 0 in the shape of the map.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from astrofractal import GasMap
    >>> from astrofractal.segmentation import measure
    >>> gas = GasMap(np.linspace(1e21, 4e22, 64).reshape(8, 8) / u.cm**2)
    >>> table = measure(gas, (gas.column_density.value > 2e22).astype(int))
    >>> table["n_pixels"].tolist()
    [33]
    """
    labels = np.asarray(labels)
    if labels.shape != gas.shape or labels.dtype.kind not in "iu" or labels.min(initial=0) < 0:
        got = f"{labels.dtype} of shape {labels.shape}"
        msg = f"labels must be integers of at least 0 of shape {gas.shape}, got {got}"
        raise ValueError(msg)
    numbers, index = np.unique(np.where(gas.mask, 0, labels), return_inverse=True)
    index = index.reshape(labels.shape) + (numbers[0] > 0)
    return show_in_print(segment_table(gas, index, numbers[numbers > 0]))


def segment_table(gas, index, names):
    """Measure the pixels that share a number from 1; ``names`` are the labels of these numbers."""
    # index 2D, 0 for no segment; names 1D int
    n = len(names)
    inside = index > 0
    number = index[inside]
    column = gas.column_density.value[inside].astype(float)
    n_pixels = np.bincount(number, minlength=n + 1)[1:]
    table = QTable()
    table["label"] = names
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
    table["character"] = _characters(gas, number, inside, n)
    table["touches"] = _touches(index, names)
    table.meta["mu_H2"] = H2_MEAN_MOLECULAR_WEIGHT
    if gas.distance is not None:
        table.meta["distance_pc"] = float(gas.distance.to_value(u.pc))
    for name, text in _DESCRIPTIONS.items():
        if name in table.colnames:
            table[name].info.description = text
    _show_numbers(table)
    return table


#: What a segment is called where a measure is above or below that of the rest of the gas.
_WORDS = {
    "column": ("dense", "thin"),
    "contrast": ("ridges", "diffuse"),
    "velocity": ("redshifted", "blueshifted"),
    "dispersion": ("broad lines", "narrow lines"),
}

# In standard deviations of the gas: a smaller difference has no word.
_LEAST_DIFFERENCE = 0.3


def _characters(gas, number, inside, n):
    """Name for each segment the two measures that differ most from the rest of the gas."""
    from scipy.ndimage import gaussian_filter

    array = gas.to_array().astype(float)
    known = ~gas.mask
    column = np.where(known, gas.column_density.value, 0)
    sigma = min(gas.shape) / 40
    around = gaussian_filter(column, sigma) / np.maximum(gaussian_filter(known * 1.0, sigma), 1e-6)
    measures = {
        "column": array[0],
        "contrast": array[0] - np.log10(np.maximum(around, 1e-30)),
        "velocity": array[1],
        "dispersion": np.log10(np.maximum(array[2], 1e-3)),
    }
    found = []
    weights = np.sqrt(column[inside] / 1e22)
    for values in measures.values():
        values = values[inside]
        use = np.isfinite(values)
        spread = np.std(values[use]) if use.any() else 0.0
        mean = _mean(number, n, values, weights)
        total = np.bincount(number, weights * use, minlength=n + 1)[1:]
        whole = np.nansum(mean * total)
        rest = (whole - mean * total) / np.maximum(total.sum() - total, 1e-30)
        found.append((mean - rest) / spread if spread > 0 else np.full(n, np.nan))
    found = np.nan_to_num(np.reshape(found, (len(_WORDS), n)))
    words = []
    for difference in found.T:
        order = np.argsort(-np.abs(difference), kind="stable")[:2]
        names = [
            list(_WORDS.values())[k][int(difference[k] < 0)]
            for k in order
            if abs(difference[k]) >= _LEAST_DIFFERENCE
        ]
        words.append(", ".join(names) or "average")
    return np.array(words, dtype="U26") if words else np.empty(0, "U26")


def _touches(index, names):
    """List for each segment the others that it touches, those with the longest border first."""
    found = [[] for _ in range(len(names) + 1)]
    pairs, lengths = borders(index)
    for one, other in pairs[np.argsort(-lengths, kind="stable")]:
        if one and other:
            found[one].append(str(names[other - 1]))
    return np.array([" ".join(touching) for touching in found[1:]], dtype=str)


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
    "character": "the two measures that differ most from the rest of the gas",
    "touches": "segments with a common border, the longest first",
}


# Distance of the samples that are correlated, and side of the boxes of power spectra, in pixels.
_SPACING = 4
_BOX = 32

#: Columns of a table of segments that `print` shows, which fit into 80 characters.
_SHOWN = ("label", "segment", "area", "mean_column_density", "gas_mass", "stability", "character")


def show_in_print(table):
    """Let ``print`` show a choice of the columns, and return the table."""
    table.pprint_exclude_names = [name for name in table.colnames if name not in _SHOWN]
    return table


def correlation_table(gas, labels, components):
    """Correlate the components with physical quantities."""
    # labels 2D; components (n_components, height, width)
    from scipy.stats import spearmanr

    array = gas.to_array()
    at = (slice(_SPACING // 2, None, _SPACING),) * 2
    quantities = {
        "log_column_density": array[0][at],
        "velocity": array[1][at],
        "dispersion": array[2][at],
        "column_density_gradient": _gradient(array[0])[at],
        "spectral_slope": _local_slopes(array[0], at),
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


def _local_slopes(log_column, at):
    """Slope of the power spectrum of log N in a box around each sample; NaN at bad pixels."""
    height, width = log_column.shape
    rows, columns = (np.arange(n)[part] for n, part in zip(log_column.shape, at, strict=True))
    slopes = np.full((len(rows), len(columns)), np.nan)
    if min(height, width) < _BOX:
        return slopes
    taper = np.outer(*[np.hanning(_BOX + 2)[1:-1]] * 2)
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(_BOX) * _BOX] * 2))
    ring = np.rint(frequency).astype(int)
    wave_numbers = np.arange(2, _BOX // 3)
    design = np.log10(wave_numbers) - np.log10(wave_numbers).mean()
    for i, y in enumerate(rows):
        y0 = min(max(y - _BOX // 2, 0), height - _BOX)
        for j, x in enumerate(columns):
            x0 = min(max(x - _BOX // 2, 0), width - _BOX)
            box = log_column[y0 : y0 + _BOX, x0 : x0 + _BOX]
            if not np.isfinite(box).all() or np.ptp(box) == 0:
                continue
            power = np.abs(np.fft.fft2((box - box.mean()) * taper)) ** 2
            total = np.bincount(ring.ravel(), power.ravel())
            count = np.bincount(ring.ravel())
            profile = np.log10(total[wave_numbers] / count[wave_numbers] + 1e-30)
            slopes[i, j] = design @ profile / (design @ design)
    return slopes


def area_in_pixels(area, gas):
    """Return an area in pixels of a map."""
    if not isinstance(area, u.Quantity):
        return float(area)
    if area.unit.is_equivalent(u.pc**2):
        return float((area / gas.pixel_area).to_value(u.one))
    if area.unit.is_equivalent(u.beam):
        if gas.beam is None:
            msg = f"min_area={area} needs the beam, the map has none: give beam=, its FWHM"
            raise ValueError(msg)
        area = area.to_value(u.beam) * gas.beam.sr
    if area.unit.is_equivalent(u.sr):
        return float((area / gas.pixel_solid_angle).to_value(u.one))
    return float(area.to_value(u.pix))
