r"""Protostars added to a flame: point masses with envelopes, and the motion of the gas around them.

**Gravity.** Gas of the envelope moves at a fraction of the speed of free fall towards the star and the
gas within its radius (Shu 1977, ApJ 214, 488; Larson 1969, MNRAS 145, 271):

.. math:: v(r)^2 = \frac{2 G\,[M + m(<r)]}{\sqrt{r^2 + \epsilon^2}}, \qquad
          m(<r) = m_0 \frac{f(r)}{f(r_0)}, \quad f(r) = \frac{r^3}{(a^2 + r^2)^{p/2}}, \quad r < R

with :math:`r_0` = 0.1 pc, so that the density is flat within a and falls as r^-p beyond, out to R: p =
1 for logotropic gas, 3/2 for free fall, 2 for an isothermal sphere (Shu 1977; McLaughlin & Pudritz
1997, ApJ 476, 750). The softening represents discs, accretion radii and pixels.

**Projection.** Along a line of sight at the projected radius, density-weighted means over the depth z
give the column density and the first two moments of the velocity:

- unordered motion adds the square of a fraction of v(r) to the variance;
- infall, v(r) z / r along the line of sight, is symmetric front to back and adds to the variance as well
  (Evans 1999, ARA&A 37, 311); where the front and the back differ it also gives a dipole;
- rotation gives a dipole, v(r) x / r (Goodman et al. 1993, ApJ 406, 528).

The star and its envelope move with a velocity of their own.

**Mixture.** A line of sight crosses both the flame and the envelope: column densities add, and so do N v
and N (sigma^2 + v^2), the sums over which velocity and dispersion are means.

**Draws** are broader than what is known of protostars (domain randomization; Tobin et al. 2017,
arXiv:1703.06907), and functions of the seed and the number of the image alone.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

#: Masses of the star at the center in solMass, drawn evenly in the logarithm.
MASS_RANGE = (0.05, 30.0)

#: Width of a pixel in pc: that of the encoder's maps.
PIXEL_SCALE = 0.5 / 64

_G = 4.30091e-3  # pc (km/s)^2 / solMass

# N(H2) in cm^-2 of 1 solMass / pc^2, with a mean molecular weight of 2.8 per H2.
_COLUMN = 4.4580e19

_N_RADII, _N_DEPTHS = 48, 40


@dataclass(frozen=True)
class Protostar:
    """A star, its envelope, and how it is seen, with the ranges of what is drawn."""

    #: Mass of the star in solMass: 0.05 to 30, log-uniform.
    mass: float
    #: Gas within 0.1 pc in solMass, if the envelope extends that far: 0.1 to 50, log-uniform.
    envelope: float
    #: Radius R of the envelope in pc: 0.03 to 0.3, log-uniform.
    extent: float
    #: Radius a in pc within which the density is flat: 0.3 to 6 px of 0.5 pc / 64, log-uniform.
    core: float
    #: Power p of the density beyond: 1 to 2.4.
    power: float
    #: Softening of the potential in pc: 0.4 to 3 px, log-uniform.
    softening: float
    #: Unordered motion as a fraction of the speed of free fall: 0.1 to 0.8, log-uniform.
    random: float
    #: Infall as a fraction of it: 0 to 1.
    infall: float
    #: Rotation about an axis in the plane of the sky as a fraction of it: 0 to 0.8.
    rotation: float
    #: Infall that front and back do not cancel: -0.6 to 0.6, along the envelope's long axis.
    front: float
    #: Amplitude of the quadrupole of the dispersion: 0 to 0.4.
    anisotropy: float
    #: The source's velocity in km/s: normal, with a log-uniform standard deviation of 0.05 to 0.8.
    motion: float
    #: Position angle of the long axis.
    angle: float
    #: Ratio of the axes: 0.4 to 1.
    axis_ratio: float
    #: Position angle of the velocity gradient of rotation.
    spin_angle: float
    #: Power with which the envelope follows the flame's own structure: 0 to 1.
    clumpiness: float

    def speed(self, radius: ArrayLike) -> np.ndarray:
        """Return the speed of free fall in km/s at distances from the star in pc."""
        radius = np.asarray(radius, dtype=float)
        mass = self.mass + self.enclosed(radius)
        return np.sqrt(2 * _G * mass / np.hypot(radius, self.softening))

    def enclosed(self, radius: ArrayLike) -> np.ndarray:
        """Return the mass of the gas in solMass within distances from the star in pc."""
        return self.envelope * self._f(np.minimum(radius, self.extent)) / self._f(0.1)

    def _f(self, radius):
        """The shape of the enclosed mass, up to the extent."""
        return radius**3 * (self.core**2 + radius**2) ** (-self.power / 2)

    def density(self, radius: ArrayLike) -> np.ndarray:
        """Return the density in solMass / pc^3, the derivative of `enclosed` over 4 pi r^2."""
        radius = np.asarray(radius, dtype=float)
        inner = self.core**2 + radius**2
        slope = 3 - self.power * radius**2 / inner
        density = self.envelope / self._f(0.1) * slope * inner ** (-self.power / 2) / (4 * np.pi)
        return np.where(radius < self.extent, density, 0.0)

    def projected(self, radius: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """
        Project the envelope onto the sky, at distances from the star in pc.

        Returns N(H2) in cm^-2, and means along the line of sight: of the squared speed of free fall,
        of that of its part along the line of sight if it all points to the star, both in (km/s)^2, and
        of the speed over the distance from the star in km/s / pc.
        """
        radius = np.asarray(radius, dtype=float)[:, None]
        # Steps in z that grow with z; the trapezoidal rule from the middle plane to the edge.
        z = self.extent * np.linspace(0, 1, _N_DEPTHS) ** 3
        r = np.hypot(radius, z)
        weight = self.density(r) * np.gradient(z)
        total = weight.sum(1)
        speed = self.speed(r)

        def mean(x):
            return (weight * x).sum(1) / np.maximum(total, 1e-12)

        r = np.maximum(r, 1e-6)
        return (
            2 * _COLUMN * total,
            mean(speed**2),
            mean((speed * z / r) ** 2),
            mean(speed / np.hypot(r, self.softening)),
        )


def draw_protostar(random, mass_range=MASS_RANGE):
    """Draw a star with its envelope."""

    def log_uniform(low, high):
        return low * (high / low) ** random.random()

    return Protostar(
        mass=log_uniform(*mass_range),
        envelope=log_uniform(0.1, 50),
        extent=log_uniform(0.03, 0.3),
        core=PIXEL_SCALE * log_uniform(0.3, 6),
        power=random.uniform(1, 2.4),
        softening=PIXEL_SCALE * log_uniform(0.4, 3),
        random=log_uniform(0.1, 0.8),
        infall=random.random(),
        rotation=0.8 * random.random(),
        front=random.uniform(-0.6, 0.6),
        anisotropy=0.4 * random.random(),
        motion=log_uniform(0.05, 0.8) * random.standard_normal(),
        angle=random.uniform(0, 2 * np.pi),
        axis_ratio=random.uniform(0.4, 1),
        spin_angle=random.uniform(0, 2 * np.pi),
        clumpiness=random.random(),
    )


def add_protostars(gas: np.ndarray, seed: int, index: int) -> tuple[np.ndarray, float]:
    """
    Add a star at the center of a flame, and in half of the images one to three lighter ones elsewhere.

    Parameters
    ----------
    gas : 3D `~numpy.ndarray`, shape (3, size, size)
        log10 N(H2) [cm-2], velocity [km/s] and velocity dispersion [km/s], on pixels of 0.5 pc / 64.
    seed, index : int
        The seed of the stream and the index of the image, which define the stars.

    Returns
    -------
    gas : 3D float32 `~numpy.ndarray`
        The map with its stars; the velocity again less its column-weighted mean.
    log_mass : float
        log10 of the mass in solMass of the star at the center.

    Examples
    --------
    >>> from astrofractal.fractals import FlameStream, add_protostars
    >>> gas, log_mass = add_protostars(FlameStream(0, n_points=5000)[3], 0, 3)
    >>> -1.31 < log_mass < 1.48
    True
    """
    # Philox is counter-based: the numbers of an image do not depend on those drawn before.
    random = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 2, index]))
    gas = np.asarray(gas, dtype=np.float64)
    size = gas.shape[-1]
    middle = 0.5 * (size - 1)
    central = draw_protostar(random)
    stars = [(central, middle, middle)]
    for _ in range(random.integers(1, 4) if random.random() < 0.5 else 0):
        distance, angle = 3.0 * 10 ** random.random(), random.uniform(0, 2 * np.pi)
        star = draw_protostar(random, (MASS_RANGE[0], central.mass + 0.1))
        stars.append((star, middle + distance * np.sin(angle), middle + distance * np.cos(angle)))
    relative = gas[0] - gas[0].mean()
    column = 10.0 ** gas[0]
    first, second = column * gas[1], column * (gas[1] ** 2 + gas[2] ** 2)
    for star, row, col in stars:
        added = _seen(star, size, row, col, relative)
        for total, part in zip((column, first, second), added):
            total += part
    velocity = first / column
    dispersion = np.sqrt(np.maximum(second / column - velocity**2, 0))
    velocity -= (column * velocity).sum() / column.sum()
    gas = np.stack([np.log10(column), velocity, dispersion])
    return gas.astype(np.float32), float(np.log10(central.mass))


def _seen(star, size, row, col, relative):
    """The sums N, N v and N (sigma^2 + v^2) of a star's envelope on the pixels of a map."""
    y, x = PIXEL_SCALE * (np.indices((size, size)) - np.array([row, col])[:, None, None])
    along = x * np.cos(star.angle) + y * np.sin(star.angle)
    across = y * np.cos(star.angle) - x * np.sin(star.angle)
    # An ellipse of the same area.
    radius = np.sqrt(star.axis_ratio * along**2 + across**2 / star.axis_ratio)
    # A pixel is not a point: its mean distance from its own center is 0.38 of its width.
    radius = np.hypot(radius, 0.38 * PIXEL_SCALE)
    table = np.geomspace(0.3 * PIXEL_SCALE, size * PIXEL_SCALE * 1.2, _N_RADII)
    n, square, radial, gradient = (
        np.interp(radius, table, values) for values in star.projected(table)
    )
    n = n * 10 ** np.clip(star.clumpiness * relative, -1, 1)
    spin = x * np.cos(star.spin_angle) + y * np.sin(star.spin_angle)
    v = star.motion + gradient * (star.rotation * spin + star.front * along)
    quadrupole = (along**2 - across**2) / (along**2 + across**2 + PIXEL_SCALE**2)
    variance = star.random**2 * square + star.infall**2 * radial
    variance *= 1 + star.anisotropy * quadrupole
    return n, n * v, n * (variance + v**2)


def add_cusps(gas, seed, index, *, probability=0.8):
    """Add point-like accretion signatures to a flame rendered as gas."""
    # gas (3, size, size) in cm-2
    # Philox is counter-based: the numbers of an image do not depend on those drawn before.
    random = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 1, index]))
    gas = np.array(gas, dtype=np.float32)
    if random.random() >= probability:
        return gas
    size = gas.shape[-1]
    y, x = np.indices((size, size), dtype=np.float32)
    n_more = random.integers(0, 5)
    dense = np.flatnonzero(gas[0] >= np.quantile(gas[0], 0.95))
    places = [(0.5 * (size - 1),) * 2]
    for pixel in random.choice(dense, n_more):
        offset = random.random(2) - 0.5
        places.append((pixel // size + offset[0], pixel % size + offset[1]))
    for row, column in places:
        speed = 0.45 * np.exp(0.7 * random.standard_normal())
        softening = np.exp(random.uniform(np.log(0.4), np.log(4.0)))
        slope = random.uniform(0.7, 2.0)
        angle, minor = random.uniform(0, 2 * np.pi), random.uniform(0.4, 1.0)
        inclination = np.sqrt(1 - minor**2)
        along = (x - column) * np.cos(angle) + (y - row) * np.sin(angle)
        across = (y - row) * np.cos(angle) - (x - column) * np.sin(angle)
        radius2 = along**2 + (across / minor) ** 2
        profile = (1 + radius2 / softening**2) ** (-slope / 2)
        dipole = along / np.sqrt(radius2 + softening**2)
        scatter = np.exp(0.4 * random.standard_normal(3))
        gas[0] += random.uniform(0.1, 0.8) * profile
        gas[1] += speed * scatter[0] * inclination * dipole * profile
        gas[1] += speed * scatter[1] * random.uniform(-0.7, 0.7) * profile
        gas[2] = np.hypot(gas[2], speed * scatter[2] * profile)
    column = 10.0 ** (gas[0] - gas[0].max())
    gas[1] -= (column * gas[1]).sum() / column.sum()
    return gas
