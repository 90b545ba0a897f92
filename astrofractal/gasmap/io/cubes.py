"""Position-position-velocity cubes: column density, mean velocity and dispersion as moments.

The spectra are looked at one by one, so that a cube may be read in slabs of rows of any height and
gives the same result.
"""

import os
import warnings
from functools import partial

import numpy as np
from astropy import constants as const
from astropy import units as u
from astropy.io import fits
from radio_beam import Beam
from scipy import ndimage

from astrofractal._utils.optional import require
from astrofractal._utils.progress import progress
from astrofractal._utils.validation import one_of
from astrofractal.gasmap import wcs as _wcs
from astrofractal.gasmap.channel import Channel, check_beam, check_quantity, subtract_line_width
from astrofractal.gasmap.column import XFactor, kelvin_per_intensity
from astrofractal.gasmap.io.fits import (
    describe_cube,
    describe_extensions,
    header_beam,
    header_distance,
    header_unit,
    image_hdus,
    is_hdu,
    label,
    opened,
    parameter_names,
    pick,
)
from astrofractal.gasmap.io.registry import MapParts, refuse_unused
from astrofractal.gasmap.moments import CHANNEL_UNITS
from astrofractal.gasmap.unit_text import parse_unit

__all__ = ["load_cube", "moments", "read_cube", "signal_mask", "spectrum_noise"]

#: Median of the absolute value of the negative half of a Gaussian, in units of its sigma.
_HALF_NORMAL = 0.6744897501960817


def spectrum_noise(data):
    """
    Return the noise of each spectrum, from its negative values.

    Spectra with fewer than five of them are taken as free of noise.
    """
    n_negative = (data < 0).sum(axis=0)
    # Sorted along memory, negative values come first: many times faster than a median beside NaN.
    spectra = np.moveaxis(np.fmin(data, 0), 0, -1)
    spectra = np.sort(np.ascontiguousarray(spectra), axis=-1)
    middle = (np.maximum(n_negative - 1, 0) // 2, n_negative // 2)
    middle = np.minimum(np.stack(middle, axis=-1), len(data) - 1)
    median = -np.take_along_axis(spectra, middle, axis=-1).mean(axis=-1)
    return np.where(n_negative >= 5, median / _HALF_NORMAL, 0.0)


def signal_mask(data, noise, *, snr=4.0, snr_edge=1.5, widen=0.25):
    """Return where spectra have signal."""
    # data 3D; noise 2D
    with np.errstate(invalid="ignore"):
        core = data > snr * noise
        edge = data > snr_edge * noise
    seed = np.zeros_like(core)
    pair = core[1:] & core[:-1]
    seed[1:] |= pair
    seed[:-1] |= pair
    along = np.zeros((3, 3, 3), bool)
    along[:, 1, 1] = True
    mask = ndimage.binary_propagation(seed, structure=along, mask=edge | seed)
    return _widened(mask, widen) & np.isfinite(data)


def _widened(mask, fraction):
    """Return the runs of a mask along its first axis, widened by a fraction of their length."""
    if not fraction:
        return mask
    n_channels = mask.shape[0]
    flat = mask.reshape(n_channels, -1).T
    steps = np.diff(np.pad(flat, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    (spectrum, start), end = np.nonzero(steps == 1), np.nonzero(steps == -1)[1]
    pad = np.ceil(fraction * (end - start)).astype(int)
    count = np.zeros((flat.shape[0], n_channels + 1), dtype=np.int32)
    np.add.at(count, (spectrum, np.maximum(start - pad, 0)), 1)
    np.add.at(count, (spectrum, np.minimum(end + pad, n_channels)), -1)
    return (count.cumsum(axis=1)[:, :-1] > 0).T.reshape(mask.shape)


def moments(data, velocity, width, noise, levels, *, use):
    """Return W, its error, v, its error, sigma and its error, (6, ny, nx), NaN without signal."""
    snr, snr_edge, widen = levels
    shape = data.shape[1:]
    noise = np.broadcast_to(noise, shape)
    with np.errstate(invalid="ignore"):
        core = (data > snr * noise) & use[:, None, None]
    # Most of the sky is empty: the others need no more than this.
    there = (core[1:] & core[:-1]).any(axis=0)
    planes = np.full((6, *shape), np.nan)
    data, noise = np.where(use[:, None], data[:, there], np.nan), noise[there]
    mask = signal_mask(data[..., None], noise[:, None], snr=snr, snr_edge=snr_edge, widen=widen)
    mask = mask[..., 0]
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


#: Channels narrower than this (m/s) are not in use.
_NARROWEST = 2.0


def load_cube(hdus, *, hdu, unit):
    """Return the SpectralCube of a file and the distance its header tells."""
    from spectral_cube import SpectralCube

    images = [pick(hdus, hdu)] if hdu is not None else image_hdus(hdus)
    cubes = [image for image in images if len(image.shape) >= 3] or images
    if not cubes:
        msg = f"cube holds no image; {describe_extensions(hdus)}"
        raise ValueError(msg)
    image = cubes[0]
    where = label(image, hdus)
    wcs = _wcs.read_wcs(image.header, hdus=hdus, name=where)
    if not wcs.has_celestial:
        msg = f"{where} {_wcs.describe_cube_axes(image.header)}"
        raise ValueError(msg.replace("two celestial axes", "a spectral axis"))
    axis = _wcs.spectral_axis(wcs)
    if len(image.shape) == 2:
        msg = f"{where} is a 2D map, not a cube: use GasMap.read"
        raise ValueError(msg)
    if parameter_names(image):
        raise ValueError(describe_cube(image, where))
    if axis is None:
        msg = describe_cube(image, where)
        raise ValueError(msg)
    header = image.header
    text = header_unit(image, hdus)
    if unit is None and not text:
        msg = f"{where} has no BUNIT: say what its intensities are with unit=, as in unit='K'"
        raise ValueError(msg)
    unit = parse_unit(unit if unit is not None else text, name=f"BUNIT of {where}", example="K")
    data, plain = _three_axes(image, wcs, axis, where)
    _check_channel_width(header, plain.header, axis, where)
    plain.header["BUNIT"] = unit.to_string("fits")
    for key in ("BMAJ", "BMIN", "BPA", "CASAMBM"):
        if key in header:
            plain.header[key] = header[key]
    tables = [one for one in hdus if one.name == "BEAMS"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if tables and header.get("CASAMBM"):
            cube = SpectralCube.read(fits.HDUList([plain, *tables]), format="fits")
        else:
            plain.header.pop("CASAMBM", None)
            cube = _plain_cube(data, plain.header, unit)
    return cube, header_distance(header, hdus)


def _check_channel_width(header, plain, axis, where):
    """Refuse velocities without a unit that are hardly in m/s, as the standard says they are."""
    width = plain.get("CDELT3", 1.0) * plain.get("PC3_3", 1.0)
    stated = str(header.get(f"CUNIT{axis + 1}", "")).strip()
    if not stated and plain.get("CUNIT3") == "m/s" and abs(width) < _NARROWEST:
        msg = (
            f"{where} has no CUNIT{axis + 1}, and its channels would be {abs(width):g} m/s wide: set "
            f"CUNIT{axis + 1} in its header, e.g. to 'km/s'"
        )
        raise ValueError(msg)


def _plain_cube(data, header, unit):
    """Make a SpectralCube without the reader, which insists on a beam for Jy/beam."""
    from spectral_cube import SpectralCube

    wcs = _wcs.read_wcs(header)
    return SpectralCube(
        data=data,
        wcs=wcs,
        header=header,
        meta={"BUNIT": unit.to_string()},
        beam=header_beam(header),
    )


def _three_axes(image, wcs, spectral, where):
    """Return the data as (spectral, y, x), and an HDU with the header of these three axes."""
    keep = [wcs.wcs.lng, wcs.wcs.lat]
    keep = [*sorted(keep), spectral]
    shape = image.shape
    others = [axis for axis in range(wcs.naxis) if axis not in keep]
    lengths = shape[::-1]
    surplus = [axis for axis in others if axis < len(lengths) and lengths[axis] > 1]
    if surplus:
        msg = (
            f"{where} must have two celestial axes and a spectral one, got data of shape {shape} "
            f"with the axes {[str(ctype) for ctype in wcs.wcs.ctype]}"
        )
        raise ValueError(msg)
    data = image.data
    order = [len(shape) - 1 - axis for axis in keep[::-1]]
    rest = [axis for axis in range(len(shape)) if axis not in order]
    data = np.transpose(data, [*rest, *order]).reshape([shape[axis] for axis in order])
    sub = wcs.sub([axis + 1 for axis in keep])
    header = sub.to_header()
    if sub.wcs.spec < 0:  # a name of no standard, as VELOCITY or VLSR
        header["CTYPE3"] = "VRAD"
        header.setdefault("CUNIT3", "m/s")
    return data, fits.PrimaryHDU(data, header=header)


_VELOCITY = u.km / u.s

_CONVENTIONS = {
    "radio": u.doppler_radio,
    "optical": u.doppler_optical,
    "relativistic": u.doppler_relativistic,
}

#: Voxels that are held at once by default (64-bit, a handful of copies).
CHUNK_VOXELS = 2**22


def read_cube(
    cube,
    *,
    column,
    distance=None,
    unit=None,
    hdu=None,
    beam=None,
    velocity_convention="radio",
    velocity_range=None,
    noise=None,
    snr=4.0,
    snr_edge=1.5,
    widen=0.25,
    line_width=None,
    progress_bar=False,
):
    """Return the parts of a map of the moments of a cube: see `~astrofractal.GasMap.from_cube`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations within spectral-cube are not the caller's
        require("spectral_cube", extra="cube")
    one_of("velocity_convention", velocity_convention, tuple(_CONVENTIONS))
    for name, value in (("snr", snr), ("snr_edge", snr_edge), ("widen", widen)):
        if not 0 <= value < np.inf:
            msg = f"{name} must be a number that is not negative, got {value!r}"
            raise ValueError(msg)
    if not isinstance(column, XFactor):
        msg = (
            "column must be XFactor(...), N(H2) per integrated intensity such as "
            f"XFactor(2e20 * u.cm**-2 / (u.K * u.km / u.s)), got {column!r}"
        )
        raise TypeError(msg)
    if velocity_range is not None and (
        not isinstance(velocity_range, u.Quantity) or velocity_range.size != 2
    ):
        msg = f"velocity_range must be two velocities as one Quantity, got {velocity_range!r}"
        raise TypeError(msg)
    if noise is not None:
        check_quantity("noise", noise, None, "0.1 * u.K")
    reduce = partial(
        _reduce,
        x_factor=column,
        beam=check_beam(beam),
        convention=velocity_convention,
        velocity_range=velocity_range,
        noise=noise,
        levels=(snr, snr_edge, widen),
        progress_bar=progress_bar,
    )
    if isinstance(cube, str | os.PathLike | fits.HDUList) or is_hdu(cube):
        with opened(cube) as hdus:
            spectral, found = load_cube(hdus, hdu=hdu, unit=unit)
            parts = reduce(spectral)
            parts.distance = found if distance is None else distance
    elif hasattr(cube, "spectral_axis") and hasattr(cube, "filled_data"):
        refuse_unused(f"a {type(cube).__name__}", {"hdu": hdu, "unit": unit})
        parts = reduce(cube)
        parts.distance = distance
    else:
        msg = f"cube must be a path, an HDU or a SpectralCube, got {type(cube).__name__}"
        raise TypeError(msg)
    if line_width is not None:
        subtract_line_width(parts.channels["dispersion"], line_width)
    return parts


def _reduce(
    cube,
    *,
    x_factor,
    beam,
    convention,
    velocity_range,
    noise,
    levels,
    progress_bar,
):
    """Return the channels, the celestial WCS and the beam."""
    velocity, frequency = _velocities(cube, x_factor.rest_frequency, convention)
    width = _widths(velocity)
    factor, intensity = _intensity(cube, beam, frequency, x_factor)
    per_line = x_factor.to_column_density(1.0 * intensity * _VELOCITY).value
    use = np.ones(velocity.size, bool)
    if velocity_range is not None:
        use = _inside(velocity, velocity_range)
    n_channels, n_rows, n_columns = cube.shape
    if n_rows * n_columns == 1:
        msg = f"cube is one spectrum of {n_channels} channels, not a map of the sky"
        raise ValueError(msg)
    rms = _given_noise(noise, intensity, (n_rows, n_columns))
    chunk_rows = max(1, CHUNK_VOXELS // (n_channels * n_columns))
    # As a map holds them: a wide cube becomes a large one, and little else is in memory beside it.
    columns = np.full((2, n_rows, n_columns), np.nan)
    motions = np.full((4, n_rows, n_columns), np.nan, dtype=np.float32)
    starts = range(0, n_rows, chunk_rows)
    blank = True
    for start in progress(starts, progress_bar, desc="cube"):
        rows = slice(start, min(start + chunk_rows, n_rows))
        data = np.asarray(cube.filled_data[:, rows, :].value, dtype=np.float64)
        blank = blank and not np.isfinite(data).any()
        data = data * np.reshape(factor, (-1, 1, 1))
        sigma = spectrum_noise(data) if rms is None else rms[rows]
        found = moments(data, velocity, width, sigma, levels, use=use)
        columns[:, rows], motions[:, rows] = found[:2], found[2:]
    columns *= per_line
    if blank:
        msg = f"cube has no finite value (shape {cube.shape}): all of it is NaN"
        raise ValueError(msg)
    if not np.isfinite(columns[0]).any():
        msg = (
            f"cube has no spectrum with two adjacent channels above snr={levels[0]} times the "
            "noise: lower snr, or give noise="
        )
        raise ValueError(msg)
    wcs = _wcs.celestial_wcs(cube.wcs, name="cube")
    planes = iter([*columns, *motions])
    channels = {
        name: Channel(next(planes), unit, None, next(planes))
        for name, unit in CHANNEL_UNITS.items()
    }
    return MapParts(channels, wcs=wcs, beam=_cube_beam(cube) if beam is None else beam)


def _velocities(cube, rest_frequency, convention):
    """Return the velocities of the channels in km/s, and their frequencies or `None`."""
    axis = u.Quantity(cube.spectral_axis)
    rest = rest_frequency
    if rest is None:
        stored = cube.wcs.wcs
        if stored.restfrq > 0:
            rest = stored.restfrq * u.Hz
        elif stored.restwav > 0:
            rest = stored.restwav * u.m
    rest = None if rest is None else rest.to(u.Hz, u.spectral())
    if axis.unit.is_equivalent(_VELOCITY):
        stored = str(cube.wcs.wcs.ctype[_wcs.spectral_axis(cube.wcs)])[:4]
        own = "optical" if stored in ("VOPT", "FELO") else "radio"
        frequency = None if rest is None else axis.to(u.Hz, _CONVENTIONS[own](rest))
        return axis.to_value(_VELOCITY), frequency
    if axis.unit == u.one and stored_redshift(cube):
        return (axis.value * const.c).to_value(_VELOCITY), None
    if not axis.unit.is_equivalent(u.Hz, u.spectral()):
        msg = (
            f"the spectral axis of cube is in {axis.unit}, which is neither velocity nor frequency"
        )
        raise u.UnitConversionError(msg)
    if rest is None:
        msg = (
            f"the spectral axis of cube is in {axis.unit} and its header has no rest frequency: "
            "give the rest_frequency of XFactor, e.g. 110.201354 * u.GHz"
        )
        raise ValueError(msg)
    frequency = axis.to(u.Hz, u.spectral())
    return frequency.to_value(_VELOCITY, _CONVENTIONS[convention](rest)), frequency


def stored_redshift(cube):
    """Return whether the spectral axis is one of redshifts."""
    return str(cube.wcs.wcs.ctype[cube.wcs.wcs.spec]).startswith("ZOPT")


def _widths(velocity):
    if velocity.size < 3:
        msg = f"cube must have at least 3 channels, got {velocity.size}"
        raise ValueError(msg)
    return np.abs(np.gradient(velocity))


def _inside(velocity, velocity_range):
    low, high = np.sort(velocity_range.to_value(_VELOCITY))
    use = (velocity >= low) & (velocity <= high)
    if use.sum() < 3:
        msg = (
            f"velocity_range {velocity_range} holds {use.sum()} channels of the cube, which goes "
            f"from {velocity.min():.4g} to {velocity.max():.4g} km/s"
        )
        raise ValueError(msg)
    return use


def _cube_beam(cube):
    """Return the beam of a cube, or `None`; the mean one, where each channel has its own."""
    from spectral_cube.utils import NoBeamError

    if hasattr(cube, "beams"):
        beams = cube.beams
        axes = (np.mean(axis).to(u.arcsec) for axis in (beams.major, beams.minor))
        return Beam(*axes, beams.pa[0])
    try:
        return cube.beam
    except NoBeamError:
        return None


def _intensity(cube, beam, frequency, x_factor):
    """Return the factors of the channels and the unit of intensity that they lead to."""
    unit = cube.unit
    fitting = x_factor.fits(unit * _VELOCITY)
    if fitting or unit.is_equivalent(u.K):
        return (1.0, unit) if fitting else (unit.to(u.K), u.K)
    one = _cube_beam(cube) if beam is None else beam
    areas = None if one is None else one.sr
    if beam is None and hasattr(cube, "beams"):
        areas = cube.beams.sr
    return kelvin_per_intensity(unit, frequency, beam_area=areas, name="cube"), u.K


def _given_noise(noise, intensity, shape):
    if noise is None:
        return None
    try:
        values = noise.to_value(intensity)
    except u.UnitConversionError:
        msg = f"noise must be in the unit of the intensities, {intensity}, got {noise.unit}"
        raise u.UnitConversionError(msg) from None
    if np.shape(values) not in ((), shape):
        msg = f"noise has shape {np.shape(values)}, the map has {shape}"
        raise ValueError(msg)
    return np.broadcast_to(values, shape)
