"""Observing one map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.convolution import convolve_fft
from astropy.wcs.utils import proj_plane_pixel_scales
from radio_beam import Beam
from radio_beam.utils import BeamError
from scipy import fft

from astrofractal._utils.identity import fingerprint
from astrofractal._utils.validation import positive_int
from astrofractal.gasmap import GasMap
from astrofractal.gasmap.channel import check_distance, need_distance, need_wcs
from astrofractal.gasmap.moments import (
    CHANNEL_SETS,
    CHANNEL_UNITS,
    CHANNELS,
    STANDARD_WIDTH,
    channels_of,
    mean_velocity,
    transform,
)
from astrofractal.gasmap.noise import median_error, pixel_noise
from astrofractal.gasmap.positions import pixel_direction
from astrofractal.gasmap.resample import overlaps
from astrofractal.observing.beam import (
    add_noise,
    beam_kernel,
    blurred,
    column_level,
    parse_beam,
    to_length,
    velocity_level,
)

__all__ = ["Observation", "observe", "observe_images"]

if TYPE_CHECKING:
    from regions import Region

    from astrofractal.gasmap.annotations import MapSource


def observe(
    gas: GasMap | MapSource,
    *,
    distance: u.Quantity | None = None,
    beam: Beam | u.Quantity | tuple[u.Quantity, ...] | None = None,
    pixel: u.Quantity | None = None,
    noise: u.Quantity | float | None = None,
    velocity_noise: u.Quantity | None = None,
    dispersion_noise: u.Quantity | None = None,
    correlated: bool = False,
    footprint: np.ndarray | Region | None = None,
    random_state: int | np.random.Generator = 0,
) -> GasMap:
    """
    Return a map as a telescope would see it.

    The steps are, in this order: distance, beam, pixel grid, noise, footprint.

    Parameters
    ----------
    gas : `~astrofractal.GasMap`, or what `~astrofractal.GasMap.read` takes
        The map, usually a simulated one.

    distance : `~astropy.units.Quantity`, optional
        Where the cloud is put; lengths in the cloud stay, angles change.

    beam : `~radio_beam.Beam`, `~astropy.units.Quantity` or tuple, optional
        The beam of the result, or its FWHM, an angle or a length, or (major, minor, position angle),
        the last from north to east (without a WCS: from the y axis, counter-clockwise).  A map
        that has a beam already, also an elliptical one, is convolved with what is missing.

    pixel : `~astropy.units.Quantity`, optional
        Width of the pixels of the result, an angle or a length.  A result on a new grid has north
        up and covers the same area.

    noise : `~astropy.units.Quantity` or float, optional
        Standard deviation of the column density in a pixel: a column density, or a fraction of
        the pixel's value.

    velocity_noise, dispersion_noise : `~astropy.units.Quantity`, optional
        Standard deviations of velocity and dispersion in a pixel.

    correlated : bool, optional
        Whether the noise is correlated over the beam (at the same standard deviation), as in maps
        with pixels smaller than the beam.

    footprint : 2D `~numpy.ndarray` of bool or `~regions.Region`, optional
        The part that is observed (`True` is observed), on the grid of the result, or a pixel or
        sky region.

    random_state : int or `~numpy.random.Generator`, optional
        The seed of the noise.

    Returns
    -------
    gas : `~astrofractal.GasMap`
        The observed map.  Its uncertainties are those of the noise that was added.  Column
        densities that the noise makes negative are masked.

    Raises
    ------
    ValueError
        If no convolution leads from the map's beam to the new one, the distance is needed and
        unknown, or the footprint has another shape.

    astropy.units.UnitsError
        If a unit does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from astrofractal import GasMap
    >>> from astrofractal.observing import observe
    >>> gas = GasMap(np.full((64, 64), 1e22) / u.cm**2, pixel_scale=0.01 * u.pc)
    >>> seen = observe(gas, distance=140 * u.pc, beam=36 * u.arcsec, noise=1e21 / u.cm**2)
    >>> print(f"{np.std(seen.column_density.value):.1e}")
    1.0e+21
    """
    gas = GasMap.read(gas)
    levels = (
        column_level(noise),
        velocity_level("velocity_noise", velocity_noise),
        velocity_level("dispersion_noise", dispersion_noise),
    )
    beam = parse_beam(beam)
    if distance is not None:
        gas = _moved(gas, check_distance(distance))
    if beam is not None:
        gas = _through_beam(gas, beam)
    if pixel is not None:
        gas = _on_grid(gas, pixel)
    gas = _with_noise(gas, levels, beam if correlated else None, random_state)
    if footprint is not None:
        gas = _within(gas, footprint)
    return gas


def _arrays(gas):
    """Return the three channels in double precision, NaN for absent ones."""
    nothing = np.full(gas.shape, np.nan)
    return tuple(
        getattr(gas, name).value.astype(np.float64) if name in gas.channels else nothing
        for name in CHANNEL_UNITS
    )


def _replaced(gas, arrays, errors=None, **changes):
    """Return a map with other channels (`None` stays absent), and errors by their names."""
    channels = {
        name: array * unit
        for (name, unit), array in zip(CHANNEL_UNITS.items(), arrays, strict=True)
        if name in gas.channels
    }
    for name in gas.channels:
        error = (errors or {}).get(name)
        channels[f"{name}_uncertainty"] = None if error is None else error * CHANNEL_UNITS[name]
    return gas.replace(**channels, **changes)


def _moved(gas, distance):
    """Return the map at another distance: the same lengths, other angles."""
    beam, wcs = gas.beam, gas.wcs
    if gas.distance is not None:
        ratio = (gas.distance / distance).to_value(u.one)
        if beam is not None:
            beam = Beam(beam.major * ratio, beam.minor * ratio, beam.pa)
        if wcs is not None and ratio != 1:
            if wcs.has_distortion:
                msg = "distance cannot change for a map with a distorted WCS: cut it out first"
                raise ValueError(msg)
            wcs = wcs.deepcopy()
            if wcs.wcs.has_cd():
                wcs.wcs.cd = wcs.wcs.cd * ratio
            else:
                wcs.wcs.cdelt = wcs.wcs.cdelt * ratio
            wcs.wcs.set()
    return gas.replace(wcs=wcs, beam=beam, distance=distance)


def _pixel_length(gas):
    """Return the width of a pixel in pc."""
    if not gas.has_pixel_scale and gas.wcs is not None:
        msg = "gas has no distance, which lengths need: give distance="
        raise ValueError(msg)
    return gas.pixel_scale


def _widths(gas, quantities, name):
    """Return angles or lengths in pixels of the map."""
    if gas.wcs is not None and all(one.unit.is_equivalent(u.rad) for one in quantities):
        width = np.sqrt(gas.pixel_solid_angle.to_value(u.sr))
        return [one.to_value(u.rad) / width for one in quantities]
    scale = _pixel_length(gas)
    lengths = [to_length(name, one, distance=gas.distance, pixel_scale=scale) for one in quantities]
    return [(length / scale).to_value(u.one) for length in lengths]


def _kernel(gas, beam):
    """Return the kernel that gives a map its new beam."""
    major, minor, angle = beam
    if gas.beam is not None:
        wanted = Beam(*_angles(gas, (major, minor)), angle)
        own = gas.beam
        ratios = [(w / o).to_value(u.one) for w, o in zip(_axes(wanted), _axes(own), strict=True)]
        turned = 0 if own.iscircular() else abs(np.sin((wanted.pa - own.pa).to_value(u.rad)))
        if np.allclose([*ratios, 1 + turned], 1, atol=1e-3):
            return None
        try:
            missing = wanted.deconvolve(own)
        except BeamError:
            msg = f"beam {wanted} does not cover that of the map, {own}: no convolution leads to it"
            raise ValueError(msg) from None
        major, minor, angle = missing.major, missing.minor, missing.pa
    pixels = _widths(gas, (major, minor), "beam")
    return beam_kernel(*pixels, angle=pixel_direction(gas, angle))


def _axes(beam):
    return beam.major, beam.minor


def _angles(gas, widths):
    """Return angles, or lengths as they are seen from the map's distance."""
    if widths[0].unit.is_equivalent(u.rad):
        return widths
    need_distance(gas, "a beam given as a length, for a map that has a beam")
    return [(width / gas.distance).to_value(u.one) * u.rad for width in widths]


def _convolver(kernel):
    def spread(planes):
        return np.stack(
            [
                convolve_fft(
                    plane,
                    kernel,
                    boundary="fill",
                    fill_value=0.0,
                    normalize_kernel=True,
                    allow_huge=True,
                )
                for plane in planes
            ]
        )

    return spread


def _through_beam(gas, beam):
    """Return the map convolved to a beam."""
    kernel = _kernel(gas, beam)
    arrays = _arrays(gas)
    if kernel is not None:
        arrays = blurred(*arrays, _convolver(kernel))
    major, minor, angle = beam
    seen = None
    if gas.distance is not None or major.unit.is_equivalent(u.rad):
        seen = Beam(*(axis.to(u.arcsec) for axis in _angles(gas, (major, minor))), angle)
    return _replaced(gas, arrays, beam=seen)


def _on_grid(gas, pixel):
    """Return the map on pixels of another width."""
    if not isinstance(pixel, u.Quantity) or not pixel.isscalar or not pixel.value > 0:
        msg = f"pixel must be a positive angle or length such as 6 * u.arcsec, got {pixel!r}"
        raise TypeError(msg)
    (width,) = _widths(gas, (pixel,), "pixel")
    ny, nx = gas.shape
    scales = (1.0, 1.0)
    if gas.wcs is not None:
        sides = proj_plane_pixel_scales(gas.wcs)
        scales = sides / np.sqrt(np.prod(sides))
    shape = [
        max(int(n * scale / width + 0.01), 1)
        for n, scale in zip((ny, nx), scales[::-1], strict=True)
    ]
    if gas.wcs is not None and pixel.unit.is_equivalent(u.rad):
        size = 2 * np.arctan(shape[1] * pixel.to_value(u.rad) / 2) * u.rad
    else:
        length = to_length("pixel", pixel, distance=gas.distance, pixel_scale=_pixel_length(gas))
        size = shape[1] * length
    cutout = gas.cutout(((nx - 1) / 2, (ny - 1) / 2), size=size, shape=shape)
    return cutout.replace(flags=gas.flags, meta=gas.meta)


def _with_noise(gas, levels, beam, random_state):
    """Return the map with noise and its uncertainties."""
    (absolute, relative), velocity_noise, dispersion_noise = levels
    arrays = _arrays(gas)
    random = np.random.default_rng(random_state).standard_normal((3, *gas.shape))
    if beam is not None:
        major, minor, angle = beam
        kernel = beam_kernel(
            *_widths(gas, (major, minor), "beam"), angle=pixel_direction(gas, angle)
        )
        if kernel is not None:
            gain = np.sqrt((kernel.array**2).sum())
            random = np.stack([_periodic(one, kernel.array) / gain for one in random])
    noisy = add_noise(arrays, levels, random)
    column = np.where(noisy[0] > 0, noisy[0], np.nan)
    errors = {
        "column_density": np.hypot(absolute, relative * arrays[0]),
        "velocity": np.full(gas.shape, velocity_noise),
        "dispersion": np.full(gas.shape, dispersion_noise),
    }
    wanted = {
        "column_density": bool(absolute or relative),
        "velocity": bool(velocity_noise),
        "dispersion": bool(dispersion_noise),
    }
    errors = {name: errors[name] for name in gas.channels if wanted[name]}
    return _replaced(gas, (column, *noisy[1:]), errors)


def _periodic(array, kernel):
    """Return a convolution that wraps around, which keeps the variance of noise at the border."""
    return convolve_fft(array, kernel, boundary="wrap", normalize_kernel=True, allow_huge=True)


def _within(gas, footprint):
    """Return the map, masked outside a footprint."""
    if hasattr(footprint, "contains"):
        footprint = _region_mask(gas, footprint)
    footprint = np.asarray(footprint)
    if footprint.shape != gas.shape or footprint.dtype.kind != "b":
        msg = (
            f"footprint must be a region or a boolean array of shape {gas.shape}, got "
            f"{footprint.dtype} of shape {footprint.shape}"
        )
        raise ValueError(msg)
    seen = np.where(footprint, gas.column_density.value, np.nan)
    return gas.replace(column_density=seen * CHANNEL_UNITS["column_density"])


def _region_mask(gas, region):
    if hasattr(region, "to_pixel"):
        need_wcs(gas, "a footprint given as a sky region")
        region = region.to_pixel(gas.wcs)
    from regions import PixCoord

    y, x = np.mgrid[: gas.shape[0], : gas.shape[1]]
    return region.contains(PixCoord(x, y))


@dataclass(frozen=True)
class Observation:
    """
    How a map was observed, in what matters for the masses of its protostars.

    Parameters
    ----------
    channels : tuple of str
        The channels that the map has.

    beam : tuple of `~astropy.units.Quantity` or None
        Major and minor axis (FWHM, lengths) and position angle.

    pixel : `~astropy.units.Quantity`
        Width of a pixel, a length.

    noise : float
        Standard deviation of the column density in a pixel, relative to it.

    velocity_noise, dispersion_noise : `~astropy.units.Quantity` or None
        Standard deviations in a pixel.

    footprints : 4D `~numpy.ndarray` of bool, shape (n, 3, ny, nx)
        Where the channels of cutouts around the protostars are known.
    """

    channels: tuple
    beam: tuple | None
    pixel: u.Quantity
    noise: float
    velocity_noise: u.Quantity | None
    dispersion_noise: u.Quantity | None
    footprints: np.ndarray

    @classmethod
    def measure(cls, gas, positions, *, size, shape):
        """Measure how a map was observed."""
        # positions 2D
        cutouts = [c for c in gas.cutouts(positions, size=size, shape=shape) if not c.mask.all()]
        cutouts = [c for c in cutouts if "outside" not in c.flags]
        if not cutouts:
            msg = "positions: none of them has data around it on the map"
            raise ValueError(msg)
        images = np.stack([c.to_array() for c in cutouts])
        found = channels_of(images)
        channels = max(CHANNEL_SETS, key=lambda c: (found.count(c), len(c)))
        beam = None
        if gas.beam is not None and gas.distance is not None:
            axes = [
                a.to_value(u.rad) * gas.distance.to(u.pc) for a in (gas.beam.major, gas.beam.minor)
            ]
            beam = (*axes, gas.beam.pa)
        velocities = [
            median_error(gas, getattr(gas, f"{name}_uncertainty", None)) for name in CHANNELS[1:]
        ]
        return cls(
            channels,
            beam,
            gas.pixel_scale.to(u.pc),
            relative_noise(gas),
            *(None if v is None else v * u.km / u.s for v in velocities),
            np.isfinite(images[[set(channels) <= set(names) for names in found]]),
        )

    def fingerprint(self):
        """Return a digest of everything."""
        return fingerprint(*(getattr(self, name) for name in self.__dataclass_fields__))

    def __call__(self, images, random_state=0):
        """Return images as they would look on the map."""
        # images (n, 3, ny, nx)
        scale = STANDARD_WIDTH / images.shape[-1]
        seen = observe_images(
            images,
            beam=self.beam,
            pixel=self.pixel if self.pixel > 1.05 * scale else None,
            noise=self.noise,
            velocity_noise=self.velocity_noise,
            dispersion_noise=self.dispersion_noise,
            correlated=self.beam is not None,
            random_state=random_state,
        )
        random = np.random.default_rng(random_state)
        for image in seen:
            known = self.footprints[random.integers(len(self.footprints))]
            known = np.rot90(known, random.integers(4), (1, 2))
            image[~(known[:, ::-1] if random.integers(2) else known)] = np.nan
        return seen


def relative_noise(gas):
    column = np.where(gas.mask, np.nan, gas.column_density.value.astype(float))
    return float(min(pixel_noise(gas) / np.nanmedian(column), 1.0))


def observe_images(
    images: np.ndarray,
    *,
    size: u.Quantity = STANDARD_WIDTH,
    distance: u.Quantity | None = None,
    beam: Beam | u.Quantity | tuple[u.Quantity, ...] | None = None,
    pixel: u.Quantity | None = None,
    noise: u.Quantity | float | None = None,
    velocity_noise: u.Quantity | None = None,
    dispersion_noise: u.Quantity | None = None,
    correlated: bool = False,
    footprint: np.ndarray | None = None,
    random_state: int | np.random.Generator = 0,
    batch_size: int = 256,
) -> np.ndarray:
    """
    Return images of physical channels as a telescope would see them.

    This is what `observe` does to a map, for arrays: use it to make reference maps match a
    telescope, e.g. ``functools.partial(observe_images, distance=140 * u.pc, beam=36 * u.arcsec,
    noise=1e21 / u.cm**2)`` as ``observe=`` of an estimator's ``fit``.

    Parameters
    ----------
    images : 4D `~numpy.ndarray`
        Images of shape (n, 3, ny, nx) as `astrofractal.GasMap.to_array` gives them: log10 N(H2) in
        cm-2, velocity and dispersion in km/s; NaN where unknown.

    size : `~astropy.units.Quantity`, optional
        Width of an image along x, a length.

    distance : `~astropy.units.Quantity`, optional
        Distance, for angles.

    beam : `~radio_beam.Beam`, `~astropy.units.Quantity` or tuple, optional
        The beam, or its FWHM, an angle, a length or pixels (``u.pix``), or (major, minor, position
        angle), the last counter-clockwise from the y axis.

    pixel : `~astropy.units.Quantity`, optional
        Width of the telescope's pixels.  The images come back on their own grid, interpolated from
        these pixels, as cutouts of a map with such pixels are.

    noise : `~astropy.units.Quantity` or float, optional
        Standard deviation of the column density in a pixel (of the telescope): a column density,
        or a fraction of the pixel's value.

    velocity_noise, dispersion_noise : `~astropy.units.Quantity`, optional
        Standard deviations of velocity and dispersion in a pixel.

    correlated : bool, optional
        Whether the noise is correlated over the beam.

    footprint : `~numpy.ndarray` of bool, optional
        The part that is observed (`True` is observed), of shape (ny, nx) or (n, ny, nx).

    random_state : int or `~numpy.random.Generator`, optional
        The seed of the noise.

    batch_size : int, optional
        Images that are handled at once; the result does not depend on it.

    Returns
    -------
    images : 4D `~numpy.ndarray`
        float32, of the same shape.  NaN where nothing is known or the noise made the column density
        negative.  Velocities are relative to the column-weighted mean of the observed image.

    Notes
    -----
    What lies beyond the border of an image is unknown to the beam; pixels near the border are
    averages of what is inside.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>>     >>> images = np.full((2, 3, 64, 64), [[[22.0]], [[0.0]], [[0.3]]])
    >>> observe_images(images, beam=0.03 * u.pc, noise=0.1).shape
    (2, 3, 64, 64)
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype.kind != "f":
        msg = (
            "images must be a float array of shape (n, 3, ny, nx), got "
            f"{images.dtype} of shape {images.shape}"
        )
        raise ValueError(msg)
    positive_int("batch_size", batch_size)
    n_images, _, ny, nx = images.shape
    if not isinstance(size, u.Quantity) or not size.unit.is_equivalent(u.pc):
        msg = f"size must be a length such as 0.5 * u.pc, got {size!r}"
        raise u.UnitsError(msg)
    scale = size.to(u.pc) / nx
    distance = check_distance(distance)
    levels = (
        column_level(noise),
        velocity_level("velocity_noise", velocity_noise),
        velocity_level("dispersion_noise", dispersion_noise),
    )
    beam = parse_beam(beam)
    grid = _Grid((ny, nx), pixel, scale, distance)
    kernel = _image_kernel(beam, scale, distance)
    noise_kernel = _image_kernel(beam, scale * grid.width, distance) if correlated else None
    seen = _footprint(footprint, n_images, (ny, nx))
    generator = np.random.default_rng(random_state)
    result = np.empty(images.shape, dtype=np.float32)
    for start in range(0, n_images, batch_size):
        part = slice(start, start + batch_size)
        batch = images[part].astype(np.float64)
        channels = (10.0 ** batch[:, 0], batch[:, 1], batch[:, 2])
        if kernel is not None:
            channels = blurred(*channels, _Convolver(kernel, (ny, nx)))
        channels = grid.down(*channels)
        random = generator.standard_normal((len(batch), 3, *grid.shape))
        if noise_kernel is not None:
            random = _correlate(random, noise_kernel)
        channels = add_noise(channels, levels, np.moveaxis(random, 1, 0))
        some = np.where(channels[0] > 0, channels[0], np.nan)
        column, velocity, dispersion = grid.up(some, *channels[1:])
        good = np.isfinite(column)
        if seen is not None:
            good &= seen[part] if seen.ndim == 3 else seen
        column = np.where(good, column, np.nan)
        result[part, 0] = np.log10(column)
        result[part, 1] = np.where(good, velocity - mean_velocity(velocity, column), np.nan)
        result[part, 2] = np.where(good, dispersion, np.nan)
    return result


def _image_kernel(beam, scale, distance):
    """Return the kernel of a beam on pixels of a length, or `None`."""
    if beam is None:
        return None
    major, minor, angle = beam
    pixels = [
        (to_length("beam", one, distance=distance, pixel_scale=scale) / scale).to_value(u.one)
        for one in (major, minor)
    ]
    kernel = beam_kernel(*pixels, angle=angle + 90 * u.deg)
    return None if kernel is None else kernel.array


def _footprint(footprint, n_images, shape):
    if footprint is None:
        return None
    footprint = np.asarray(footprint)
    if footprint.shape not in (shape, (n_images, *shape)) or footprint.dtype.kind != "b":
        msg = (
            f"footprint must be a boolean array of shape {shape} or {(n_images, *shape)}, got "
            f"{footprint.dtype} of shape {footprint.shape}"
        )
        raise ValueError(msg)
    return footprint


class _Convolver:
    """Convolves stacks of images with one kernel, with zeros outside."""

    def __init__(self, kernel, shape):
        self.shape = shape
        self.half = [n // 2 for n in kernel.shape]
        full = [n + k - 1 for n, k in zip(shape, kernel.shape, strict=True)]
        self.lengths = [fft.next_fast_len(n, real=True) for n in full]
        self.transform = fft.rfft2(kernel, self.lengths)

    def __call__(self, stack):
        spectrum = fft.rfft2(stack, self.lengths) * self.transform
        full = fft.irfft2(spectrum, self.lengths)
        rows, columns = (slice(h, h + n) for h, n in zip(self.half, self.shape, strict=True))
        return full[..., rows, columns]


def _correlate(random, kernel):
    """Return noise that is correlated by a kernel and still has variance 1."""
    half = [n // 2 for n in kernel.shape]
    padding = [(0, 0), (0, 0), (half[0], half[0]), (half[1], half[1])]
    # wrapped around, so that the border has the variance of the rest
    wide = np.pad(random, padding, mode="wrap")
    spread = _Convolver(kernel, wide.shape[-2:])(wide)
    inner = [slice(h, h + n) for h, n in zip(half, random.shape[-2:], strict=True)]
    return spread[..., inner[0], inner[1]] / np.sqrt((kernel**2).sum())


class _Grid:
    """The telescope's pixels over an image, and back."""

    def __init__(self, shape, pixel, scale, distance):
        self.shape, self.width = shape, 1.0
        self.active = pixel is not None
        if not self.active:
            return
        if not isinstance(pixel, u.Quantity) or not pixel.isscalar or not pixel.value > 0:
            msg = f"pixel must be a positive angle or length such as 6 * u.arcsec, got {pixel!r}"
            raise TypeError(msg)
        length = to_length("pixel", pixel, distance=distance, pixel_scale=scale)
        self.width = (length / scale).to_value(u.one)
        self.matrices = []
        counts = []
        for n in shape:
            count = max(int(np.ceil(n / self.width - 1e-6)), 1)
            centers = (n - 1) / 2 + (np.arange(count) - (count - 1) / 2) * self.width
            down = overlaps(centers, self.width, n)
            back = (np.arange(n) - (n - 1) / 2) / self.width + (count - 1) / 2
            up = overlaps(np.clip(back, 0, count - 1), 1.0, count)
            self.matrices.append((down, up))
            counts.append(count)
        self.shape = tuple(counts)

    def down(self, *channels):
        """Return the channels on the telescope's pixels."""
        return self._apply(0, channels)

    def up(self, *channels):
        """Return the channels on the pixels of the images."""
        return self._apply(1, channels)

    def _apply(self, which, channels):
        if not self.active:
            return channels
        rows, columns = (pair[which] for pair in self.matrices)
        return transform(*channels, lambda planes: rows @ planes @ columns.T)
