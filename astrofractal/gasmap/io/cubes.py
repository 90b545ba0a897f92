"""The moments of position-position-velocity cubes, spectrum by spectrum, in slabs of any height."""

import numpy as np
from astropy import units as u

from astrofractal._utils.progress import progress
from astrofractal._utils.validation import at_least
from astrofractal.gasmap.channel import Channel, subtract_line_width
from astrofractal.gasmap.checks import check_line, check_quantity
from astrofractal.gasmap.column import XFactor, kelvin_per_intensity
from astrofractal.gasmap.io.fits import used_distance
from astrofractal.gasmap.io.line_cube import line_cube
from astrofractal.gasmap.io.registry import MapParts
from astrofractal.gasmap.moments import CHANNEL_UNITS


def spectrum_noise(data):
    """Return the noise of each spectrum from its negative values; 0 with fewer than five of them."""
    n_negative = (data < 0).sum(axis=0)
    # Sorted along memory, negative values come first: many times faster than a median among NaN.
    spectra = np.moveaxis(np.fmin(data, 0), 0, -1)
    spectra = np.sort(np.ascontiguousarray(spectra), axis=-1)
    middle = (np.maximum(n_negative - 1, 0) // 2, n_negative // 2)
    middle = np.minimum(np.stack(middle, axis=-1), len(data) - 1)
    median = -np.take_along_axis(spectra, middle, axis=-1).mean(axis=-1)
    return np.where(n_negative >= 5, median / 0.6744897501960817, 0.0)  # that of a Gaussian


def signal_mask(data, noise, snr=4.0):
    """Return where spectra have signal."""
    # data (n_channels, n_spectra); noise (n_spectra,)
    with np.errstate(invalid="ignore"):
        core = data > snr * noise
        edge = data > 1.5 * noise
    seed = core[1:] & core[:-1]
    edge |= core
    steps = np.diff(np.pad(edge.T, ((0, 0), (1, 1))).view(np.int8), axis=1)
    (spectrum, start), end = np.nonzero(steps == 1), np.nonzero(steps == -1)[1]  # of runs
    n_seeds = np.pad(seed.cumsum(axis=0, dtype=np.int32), ((1, 1), (0, 0)))
    kept = n_seeds[end - 1, spectrum] > n_seeds[start, spectrum]
    spectrum, start, end = spectrum[kept], start[kept], end[kept]
    pad = np.ceil(0.25 * (end - start)).astype(int)
    count = np.zeros((len(data) + 1, data.shape[1]), dtype=np.int16)
    np.add.at(count, (np.maximum(start - pad, 0), spectrum), 1)
    np.add.at(count, (np.minimum(end + pad, len(data)), spectrum), -1)
    return (count[:-1].cumsum(axis=0, dtype=np.int16) > 0) & np.isfinite(data)


def moments(data, velocity, width, noise, snr, *, use):
    """Return W, its error, v, its error, sigma and its error, (6, ny, nx), NaN without signal."""
    shape = data.shape[1:]
    noise = np.broadcast_to(noise, shape)
    with np.errstate(invalid="ignore"):
        core = (data > snr * noise) & use[:, None, None]
    # Most of the sky is empty: the others need no more than this.
    there = (core[1:] & core[:-1]).any(axis=0)
    planes = np.full((6, *shape), np.nan)
    data, noise = np.where(use[:, None], data[:, there], np.nan), noise[there]
    mask = signal_mask(data, noise, snr)
    dv, v = width[:, None], velocity[:, None]
    weights = np.where(mask, data, 0) * dv
    with np.errstate(invalid="ignore", divide="ignore"):
        total = weights.sum(axis=0)
        total = np.where(total > 0, total, np.nan)
        mean = (weights * v).sum(axis=0) / total
        offset = np.where(mask, v - mean, 0)
        square = (weights * offset**2).sum(axis=0) / total
        sigma = np.sqrt(np.where(square > 0, square, np.nan))
        element = mask * dv**2
        total_error = noise * np.sqrt(element.sum(axis=0))
        mean_error = noise * np.sqrt((element * offset**2).sum(axis=0)) / total
        spread = np.where(mask, offset**2 - square, 0)
        sigma_error = noise * np.sqrt((element * spread**2).sum(axis=0)) / (2 * total * sigma)
    planes[:, there] = total, total_error, mean, mean_error, sigma, sigma_error
    return planes


_VELOCITY = u.km / u.s

#: Voxels that are held at once by default (64-bit, a handful of copies).
CHUNK_VOXELS = 2**22


def read_cube(cube, options):
    """Return the parts of a map of the moments of a cube: see `~astrofractal.GasMap.from_cube`."""
    at_least("snr", options.snr, 0)
    if not isinstance(options.column, XFactor):
        msg = f"column must be XFactor(...), N(H2) per integrated intensity, got {options.column!r}"
        raise TypeError(msg)
    limits = options.velocity_range
    if limits is not None and not (isinstance(limits, u.Quantity) and limits.size == 2):
        msg = f"velocity_range must be two velocities as one Quantity, got {limits!r}"
        raise TypeError(msg)
    if options.wcs is not None:
        cube = cube, options.wcs
    with line_cube(cube, hdu=options.hdu, unit=options.unit) as spectra:
        if options.beam is not None:
            spectra.beam, spectra.areas = options.beam, None
        planes, observed = _moments_of(spectra, options)
    channels = {
        name: Channel(next(planes), unit, error=next(planes))
        for name, unit in CHANNEL_UNITS.items()
    }
    if options.line_width is not None:
        subtract_line_width(channels["dispersion"], options.line_width)
    distance = used_distance(options.distance, spectra.distance)
    observed |= {"line_width": options.line_width, "snr": options.snr}
    meta = {"spectra": observed}
    return MapParts(channels, wcs=spectra.wcs, beam=spectra.beam, distance=distance, meta=meta)


def _moments_of(cube, options):
    """Return N(H2), v and sigma of a cube, each with its error, from slabs of rows, and its channels."""
    n_channels, n_rows, n_columns = cube.shape
    velocity, frequency = cube.velocities(options.column.rest_frequency)
    if n_channels < 3:
        msg = f"cube must have at least 3 channels, got {n_channels}"
        raise ValueError(msg)
    check_line(velocity, velocity_range=options.velocity_range)
    factor, unit = _intensity(cube, frequency, options.column)
    per_line = options.column.to_column_density(1.0 * unit * _VELOCITY).value
    use = _inside(velocity, options.velocity_range)
    rms = _given_noise(options.noise, unit, cube.shape[1:])
    if n_rows * n_columns == 1:
        msg = f"cube is one spectrum of {n_channels} channels, not a map of the sky"
        raise ValueError(msg)
    width = np.abs(np.gradient(velocity))
    chunk_rows = max(1, CHUNK_VOXELS // (n_channels * n_columns))
    # As a map holds them: a wide cube becomes a large one, and little else is in memory.
    columns = np.full((2, n_rows, n_columns), np.nan)
    motions = np.full((4, n_rows, n_columns), np.nan, dtype=np.float32)
    level = np.full((n_rows, n_columns), np.nan, dtype=np.float32)
    observed = np.zeros((n_rows, n_columns), bool)
    for start in progress(range(0, n_rows, chunk_rows), options.progress_bar, desc="cube"):
        rows = slice(start, min(start + chunk_rows, n_rows))
        data = cube.rows(rows)
        observed[rows] = np.isfinite(data).any(axis=0)
        data = data * factor
        noise = spectrum_noise(data) if rms is None else rms[rows]
        if rms is None and cube.errors is not None:
            noise = _stated_noise(cube.errors(rows) * factor, noise)
        found = moments(data, velocity, width, noise, options.snr, use=use)
        columns[:, rows], motions[:, rows], level[rows] = found[:2], found[2:], noise
    if not observed.any():
        msg = f"cube has no finite value (shape {cube.shape}): all of it is NaN"
        raise ValueError(msg)
    if not np.isfinite(columns[0]).any():
        msg = f"cube has no spectrum with two adjacent channels above snr={options.snr}: lower snr"
        raise ValueError(msg)
    step = np.median(width)
    level = np.median(level[np.isfinite(columns[0])]) * per_line * step / u.cm**2
    channels = {"channel_width": step * _VELOCITY, "channel_noise": level, "observed": observed}
    return iter([*(columns * per_line), *motions]), channels


def _inside(velocity, velocity_range):
    """Return which channels are in a range of velocities, all of them without one."""
    if velocity_range is None:
        return np.ones(velocity.size, bool)
    low, high = np.sort(velocity_range.to_value(_VELOCITY))
    use = (velocity >= low) & (velocity <= high)
    if use.sum() < 3:
        span = f"{velocity.min():.4g} to {velocity.max():.4g} km/s"
        msg = f"velocity_range {velocity_range} holds {use.sum()} channels of the cube, {span}"
        raise ValueError(msg)
    return use


def _intensity(cube, frequency, x_factor):
    """Return the factors (channels, 1, 1) of a cube and the unit of intensity that they lead to."""
    if x_factor.fits(cube.unit * _VELOCITY):
        return 1.0, cube.unit
    areas = cube.areas
    if areas is None and cube.beam is not None:
        areas = cube.beam.sr
    kelvin = kelvin_per_intensity(cube.unit, frequency, beam_area=areas, name="cube")
    return np.reshape(kelvin, (-1, 1, 1)), u.K


def _given_noise(noise, intensity, shape):
    if noise is None:
        return None
    what = "in the unit of the intensities"
    check_quantity("noise", noise, intensity, f"0.1 {intensity}", what=what)
    if noise.shape not in ((), shape):
        msg = f"noise has shape {noise.shape}, the map has {shape}"
        raise ValueError(msg)
    return np.broadcast_to(noise.to_value(intensity), shape)


def _stated_noise(errors, otherwise):
    """Return the rms over the channels of the errors of a file, something else where it has none."""
    # errors (channels, ny, nx), of one channel where they are a map; otherwise (ny, nx)
    known = errors > 0
    number = known.sum(axis=0)
    square = np.sum(errors**2, axis=0, where=known) / np.maximum(number, 1)
    return np.where(number > 0, np.sqrt(square), otherwise)
