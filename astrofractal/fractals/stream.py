"""Deterministic streams of images: flames, and Gaussian random fields to compare them with."""

import operator
from typing import Literal

import numpy as np

from astrofractal._utils.identity import Options
from astrofractal._utils.validation import one_of, positive_int
from astrofractal.fractals.gas import as_gas, draw_amplitude
from astrofractal.fractals.renderer import CENTERS, draw_image, find_flame
from astrofractal.fractals.systems import FlameSystem, random_system

STREAM_RENDERINGS = ("gas", "moments", "palette")

#: The ranges from which slopes of power spectra in the plane are drawn: of the logarithm of the column
#: density, of the velocity, and of the logarithm of the dispersion.
_SLOPES = ((1.5, 4.5), (2.0, 5.0), (1.5, 4.5))


class Stream(Options):
    """A series of images as a map-style dataset of torch; image ``i`` is a function of ``i`` alone."""

    def __init__(self, seed: int, size: int = 96, *, n_images: int = 1_000_000) -> None:
        self.seed = positive_int("seed", seed, minimum=0)
        self.size = positive_int("size", size, minimum=8)
        self.n_images = positive_int("n_images", n_images)

    def __len__(self) -> int:
        return self.n_images

    def __getitem__(self, index: int) -> np.ndarray:
        index = operator.index(index)
        if not 0 <= index < self.n_images:
            msg = f"index must be between 0 and {self.n_images - 1}, got {index}"
            raise IndexError(msg)
        return self._image(index)

    def _image(self, index: int) -> np.ndarray:
        raise NotImplementedError


class FlameStream(Stream):
    """
    An endless series of fractal flames, as a map-style dataset of torch.

    Image ``i`` is a pure function of the parameters and of ``i``: the same for any order, number of
    processes and platform.

    Parameters
    ----------
    seed : int
        The seed of the series.
    size : int, optional
        Pixels on a side.
    n_points : int, optional
        The number of points wanted in the frame.  At most four times as many are played, for
        flames that lie mostly outside of it.
    rendering : {"gas", "moments", "palette"}, optional
        What the three channels are.  ``"moments"``: log10 of the number of points relative to its
        mean, mean and standard deviation of the tracer that points carry.  ``"gas"``: the same as
        log10 N(H2) [cm-2], velocity [km/s] and velocity dispersion [km/s], with physical scales
        drawn once per image (`GasAmplitude`).  ``"palette"``: the classic flame, RGB in [0, 1].
    coverage : float, optional
        The least share of 16 x 16 cells of the frame that must receive points of an 8192-point
        pilot run; other candidates are rejected.
    center : {"peak", "attractor"}, optional
        ``"peak"`` centers the frame on a density peak, as gas maps are on a protostar, and zooms in
        by a factor of 1 to 4, drawn per image.  ``"attractor"`` shows the whole flame.
    n_images : int, optional
        The length of the dataset.

    Notes
    -----
    A candidate is drawn by `random_system` and passed over if it scatters points at random (noise,
    blur, gaussian), or if `frame_system` does not accept it: one in two, at the default coverage.

    Examples
    --------
    >>> from astrofractal.fractals import FlameStream
    >>> stream = FlameStream(0, size=32, n_points=5000)
    >>> stream[3].shape
    (3, 32, 32)
    """

    def __init__(
        self,
        seed: int,
        size: int = 96,
        n_points: int = 50_000,
        rendering: Literal["gas", "moments", "palette"] = "gas",
        *,
        coverage: float = 0.5,
        center: Literal["peak", "attractor"] = "peak",
        n_images: int = 1_000_000,
    ) -> None:
        super().__init__(seed, size, n_images=n_images)
        self.n_points = positive_int("n_points", n_points)
        self.rendering = one_of("rendering", rendering, STREAM_RENDERINGS)
        self.center = one_of("center", center, CENTERS)
        self.coverage = float(coverage)
        if not 0 <= self.coverage <= 1:
            msg = f"coverage must be between 0 and 1, got {coverage!r}"
            raise ValueError(msg)

    def _image(self, index):
        gas = self.rendering == "gas"
        rendering = "moments" if gas else self.rendering
        arrays, key, frame, _ = self._find(index)
        image = draw_image(arrays, key, frame, self.size, self.n_points, rendering)
        return as_gas(image, draw_amplitude(self.seed, index)) if gas else image

    def _find(self, index):
        return find_flame(self.seed, index, coverage=self.coverage, center=self.center)

    def system(self, index: int) -> FlameSystem:
        """Return the system of an image: the first candidate of its index that was not rejected."""
        return random_system(self.seed, index, attempt=self._find(index)[3])


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
    to four times it and the smoothing ``s`` from 0.3 to 2 pixels, both uniform in the logarithm.
    Fields of four times the area are drawn, so that images are not periodic, and are centered on their
    peak of column density, as gas maps are on a protostar.

    Examples
    --------
    >>> from astrofractal.fractals import RandomFieldStream
    >>> stream = RandomFieldStream(0, size=32)
    >>> stream[3].shape
    (3, 32, 32)
    """

    def _image(self, index):
        # Philox is counter-based: the numbers of an image do not depend on those drawn before.
        random = np.random.Generator(np.random.Philox(key=self.seed, counter=[0, 0, 4, index]))
        fields = np.stack([self._field(random, *slopes) for slopes in _SLOPES])
        # The fields are periodic: the peak of the first one is moved to the center.
        row, column = np.unravel_index(fields[0].argmax(), fields[0].shape)
        half = self.size // 2
        moved = np.roll(fields, (half - row, half - column), axis=(1, 2))
        moments = moved[:, : self.size, : self.size].astype(np.float32)
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
