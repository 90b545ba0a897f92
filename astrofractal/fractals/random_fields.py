"""Gaussian random fields as maps of gas: structure at all scales, without a flame's filaments."""

from __future__ import annotations

import numpy as np

from astrofractal.fractals.gas import as_gas, draw_amplitude
from astrofractal.fractals.stream import Stream

__all__ = ["RandomFieldStream"]

#: The ranges from which slopes of power spectra in the plane are drawn: of the logarithm of the column
#: density, of the velocity, and of the logarithm of the dispersion.
_SLOPES = ((1.5, 4.5), (2.0, 5.0), (1.5, 4.5))


class RandomFieldStream(Stream):
    """
    An endless series of Gaussian random fields as gas, as a map-style dataset of torch.

    Image ``i`` is a pure function of the seed, the size and ``i``.  Its three channels are those of
    `FlameStream` with ``rendering="gas"``, with the same physical scales.

    Parameters
    ----------
    seed, size, n_images : int
        The seed of the series, the pixels on a side and the length of the dataset.

    Notes
    -----
    The logarithms of the column density and of the dispersion, and the velocity, are Gaussian fields
    with isotropic power spectra ``(k**2 + k0**2)**(-slope / 2) exp(-(2 pi k s)**2)``.  Slopes are drawn
    uniformly from 1.5 to 4.5 (velocity: 2 to 5), the outer scale ``1 / k0`` from a quarter of the image
    to four times it and the smoothing ``s`` from 0.3 to 2 pixels, both uniform in the logarithm.  A
    projection has the slope of the power spectrum in three dimensions, 11/3 after Kolmogorov and 4
    for shocks, which these ranges bracket.  Fields of four times the area are drawn, so that images are
    not periodic, and are centered on their peak of column density, as gas maps are on a protostar.

    Examples
    --------
    >>> from astrofractal.fractals import RandomFieldStream
    >>> stream = RandomFieldStream(0, size=32)
    >>> stream[3].shape
    (3, 32, 32)
    """

    def __init__(self, seed: int, size: int = 96, *, n_images: int = 1_000_000) -> None:
        super().__init__(seed, size, n_images)

    def _image(self, index):
        # Philox is counter-based: the numbers of an image do not depend on those drawn before.
        random = np.random.Generator(np.random.Philox(key=self.seed, counter=[0, 0, 4, index]))
        fields = np.stack([self._field(random, *slopes) for slopes in _SLOPES])
        moments = _centered(fields, self.size).astype(np.float32)
        moments[2] = np.exp(random.uniform(0.2, 0.8) * moments[2])
        return as_gas(moments, draw_amplitude(self.seed, index))

    def _field(self, random, flattest, steepest):
        """A periodic field of zero mean and unit variance, twice as wide as the image."""
        width = 2 * self.size
        slope = random.uniform(flattest, steepest)
        outer = self.size * np.exp(random.uniform(np.log(0.25), np.log(4.0)))
        smoothing = np.exp(random.uniform(np.log(0.3), np.log(2.0)))
        k = np.hypot(np.fft.fftfreq(width)[:, None], np.fft.rfftfreq(width))
        amplitude = (k**2 + outer**-2) ** (-slope / 4) * np.exp(
            -0.5 * (2 * np.pi * k * smoothing) ** 2
        )
        amplitude[0, 0] = 0.0
        noise = np.fft.rfft2(random.standard_normal((width, width)))
        field = np.fft.irfft2(amplitude * noise, (width, width))
        return field / field.std()

    def __repr__(self):
        return f"RandomFieldStream({self.seed}, {self.size}, n_images={self.n_images})"


def _centered(fields, size):
    """Cut the middle out of periodic fields, after moving a peak of the first one there."""
    row, column = np.unravel_index(fields[0].argmax(), fields[0].shape)
    half = size // 2
    moved = np.roll(fields, (half - row, half - column), axis=(1, 2))
    return moved[:, :size, :size]
