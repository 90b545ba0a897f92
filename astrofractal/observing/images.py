"""Observing many small maps at once: the reference maps of a calibration."""

from __future__ import annotations

import numpy as np
from astropy import units as u
from radio_beam import Beam
from scipy import fft

from astrofractal._utils.validation import positive_int
from astrofractal.gasmap.checks import check_distance
from astrofractal.gasmap.gas_moments import STANDARD_WIDTH, mean_velocity, transform
from astrofractal.gasmap.resample import overlaps
from astrofractal.observing.beam import beam_kernel, blurred, parse_beam, to_length
from astrofractal.observing.noise import add_noise, column_level, velocity_level

__all__ = ["observe_images"]


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
    >>> from astrofractal.observing import observe_images
    >>> images = np.full((2, 3, 64, 64), [[[22.0]], [[0.0]], [[0.3]]])
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
    kernel = _kernel(beam, scale, distance)
    noise_kernel = _kernel(beam, scale * grid.width, distance) if correlated else None
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


def _kernel(beam, scale, distance):
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
