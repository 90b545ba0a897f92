"""The beam: an elliptical Gaussian, what it does to moments, and what an interferometer leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from astropy import units as u
from astropy.convolution import Gaussian2DKernel
from astropy.stats import gaussian_fwhm_to_sigma
from radio_beam import Beam
from scipy.signal import fftconvolve

from astrofractal.gasmap.checks import in_pixels
from astrofractal.gasmap.moments import mean_velocity, transform, transform_errors
from astrofractal.gasmap.positions import pixel_direction

#: A kernel whose sigma is below this many pixels changes nothing that the grid could show.
_NO_SIGMA = 0.1


def parse_beam(beam):
    """Return the beam as (major, minor, position angle), or `None`."""
    if beam is None:
        return None
    if isinstance(beam, Beam):
        beam = (beam.major, beam.minor, beam.pa)
    parts = beam if isinstance(beam, tuple | list) else (beam, beam, 0 * u.deg)
    if len(parts) == 3 and all(isinstance(part, u.Quantity) and part.isscalar for part in parts):
        major, minor, angle = parts
        if major.unit.is_equivalent(minor.unit) and angle.unit.is_equivalent(u.deg):
            if not (np.isfinite(major) and minor.value > 0 and major >= minor):
                msg = f"beam must have axes of positive FWHM, the major one first, got {beam}"
                raise ValueError(msg)
            return major, minor.to(major.unit), angle.to(u.deg)
    msg = f"beam must be a FWHM, or (major, minor, position angle), as Quantities, got {beam!r}"
    raise TypeError(msg)


@dataclass
class Pixels:
    """The pixels of a map or of images: their width as length and angle, and where north is."""

    length: u.Quantity | None = None
    angle: u.Quantity | None = None
    distance: u.Quantity | None = None
    direction: Callable | None = None

    @classmethod
    def of(cls, gas):
        """Return the pixels at the center of a map."""
        length = gas.pixel_scale if gas.has_pixel_scale else None
        angle = None if gas.wcs is None else np.sqrt(gas.pixel_solid_angle.to_value(u.sr)) * u.rad
        return cls(length, angle, gas.distance, partial(pixel_direction, gas))

    def count(self, name, width):
        """Return a length, an angle or a number of pixels in pixels."""
        known = {"length": self.length, "angle": self.angle, "distance": self.distance}
        return in_pixels(name, width, **known)

    def kernel(self, name, beam, step=1.0):
        """Return the kernel of a beam on pixels that are wider by a factor, `None` for no beam."""
        if beam is None:
            return None
        major, minor, angle = beam
        widths = (self.count(name, width) / step for width in (major, minor))
        angle = angle + 90 * u.deg if self.direction is None else self.direction(angle)
        return beam_kernel(*widths, angle)


def beam_kernel(major, minor=None, angle=90 * u.deg):
    """Return the kernel of a Gaussian beam, `None` for one that the pixels do not resolve."""
    # FWHM in pixels; angle of the major axis, counter-clockwise from the x axis of the pixels
    minor = major if minor is None else minor
    sigmas = [max(width, 0.0) * gaussian_fwhm_to_sigma for width in (major, minor)]
    if sigmas[0] < _NO_SIGMA:
        return None
    sigmas = [max(sigma, _NO_SIGMA) for sigma in sigmas]
    size = 2 * int(np.ceil(5 * sigmas[0])) + 1
    # sampled at the center, narrow Gaussians would lose their width
    mode = "center" if sigmas[1] > 0.7 else "oversample"
    kernel = Gaussian2DKernel(
        *sigmas, theta=angle.to_value(u.rad), x_size=size, y_size=size, mode=mode
    )
    kernel.normalize()
    return kernel.array


def convolver(kernel):
    """Return the operator that convolves planes with a kernel, with zeros outside."""

    def operator(planes):
        # planes (n_planes, ..., ny, nx), one at a time to save memory
        wide = kernel.reshape((1,) * (planes.ndim - 3) + kernel.shape).astype(planes.dtype)
        return np.stack([fftconvolve(one, wide, "same", axes=(-2, -1)) for one in planes])

    return operator


def blurred(channels, kernel, errors=(None, None, None), independent=1.0):
    """Return channels and their errors as seen through a beam; unknown pixels stay unknown."""
    # channels, errors (..., ny, nx) each, or None; errors of 2D channels alone
    known = np.isfinite(channels[0])
    operator, squares = convolver(kernel), convolver(kernel**2)
    moved = transform(*channels, operator, full=0.0)
    errors = transform_errors(
        channels, errors, moved, operator, squares=squares, independent=independent
    )
    return [
        [None if one is None else np.where(known, one, np.nan) for one in planes]
        for planes in (moved, errors)
    ]


def high_pass(column, velocity, dispersion, kernel):
    """Return channels less what a kernel makes of them, as an interferometer filters each channel."""
    # column, velocity, dispersion (..., ny, nx); the column density of the result has negative bowls
    known = np.isfinite(column)
    smooth = convolver(kernel)
    (weight,) = smooth(known[None].astype(float))
    scale = (np.nanmax(column) if known.any() else 0) or 1.0  # about 1: nothing overflows
    offset = mean_velocity(velocity, column)

    def filtered(*values):
        planes = np.stack([np.where(known & np.isfinite(value), value, 0) for value in values])
        with np.errstate(invalid="ignore", divide="ignore"):
            return planes - smooth(planes) / weight

    gas, v = column / scale, velocity - offset
    moving, wide = (np.where(np.isfinite(channel), gas, 0) for channel in (v, dispersion))
    left, part, momentum, square, wide, inner = filtered(
        gas, moving, gas * v, gas * v**2, wide, gas * dispersion**2
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = momentum / part
        variance = inner / wide
        variance += np.where(np.isfinite(velocity), square / part - mean**2, 0)
        seen = left > 0.3 * gas  # else the negative channels around a line outweigh it
        return (
            np.where(known, left * scale, np.nan),
            np.where(seen & np.isfinite(velocity), mean + offset, np.nan),
            np.where(seen & (variance >= 0) & np.isfinite(dispersion), np.sqrt(variance), np.nan),
        )


def filtered_errors(channels, errors, left):
    """Return the errors of what `high_pass` left: the mean that it subtracts has next to none."""
    found = transform_errors(channels, errors, left, lambda planes: planes)
    with np.errstate(invalid="ignore", divide="ignore"):
        gain = channels[0] / left[0]
    return [None if e is None else e * factor for e, factor in zip(found, (1.0, gain, gain))]


def noise_level(name, noise, convert, what):
    """Return the level of a noise, 0 by default, as one number that is not negative."""
    if noise is None:
        return 0.0
    if not isinstance(noise, u.Quantity):
        msg = f"{name} must be {what}, got {noise!r}"
        raise TypeError(msg)
    value = convert(noise, name=name).value
    if np.ndim(value) or not 0 <= value < np.inf:
        msg = f"{name} must be one number that is not negative, got {value}"
        raise ValueError(msg)
    return float(value)


def add_noise(channels, levels, random):
    """Return channels with noise; column densities that are not positive are unknown."""
    # channels (..., ny, nx) in cm-2 and km/s; random (3, ..., ny, nx)
    column, velocity, dispersion = channels
    (absolute, relative), velocity_noise, dispersion_noise = levels
    column = column + random[0] * np.hypot(absolute, relative * column)
    velocity = velocity + random[1] * velocity_noise
    if dispersion_noise:
        dispersion = np.maximum(dispersion + random[2] * dispersion_noise, 0)
    return np.where(column > 0, column, np.nan), velocity, dispersion


def correlate(random, kernel):
    """Return noise that is correlated by a kernel (if any) and still has variance 1."""
    # random (..., ny, nx); wrapped around, so that the border has the variance of the rest
    if kernel is None:
        return random
    half = [n // 2 for n in kernel.shape]
    padding = [(0, 0)] * (random.ndim - 2) + [(h, h) for h in half]
    wide = np.pad(random, padding, mode="wrap")
    spread = convolver(kernel)(wide)
    inner = tuple(slice(h, h + n) for h, n in zip(half, random.shape[-2:], strict=True))
    return spread[..., inner[0], inner[1]] / np.sqrt((kernel**2).sum())
