"""Unresolved accretion onto a point: what a protostar adds to the gas around it.

A flame has filaments and clumps at all scales but nothing like a point mass, whose pull shows in the
few pixels around it: a steep peak of column density, fast unresolved motion, and a velocity gradient
across it. `add_cusps` puts such points into a flame, with amplitudes that are drawn and never told to
the network: to tell two flames apart it has to learn to measure them.
"""

import numpy as np

__all__ = ["add_cusps"]


def add_cusps(gas, seed, index, *, probability=0.8):
    """
    Add point-like accretion signatures to a flame rendered as gas.

    The first point is at the center of the frame, up to four more lie on its densest pixels.  Each has
    a softened power-law profile in the radius, elliptical as an inclined disc, that raises the column
    density, adds to the velocity dispersion in quadrature, shifts the velocity and adds a dipole of
    rotation or infall.

    Parameters
    ----------
    gas : 3D `~numpy.ndarray`, shape (3, size, size)
        log10 N(H2) [cm-2], velocity [km/s] and velocity dispersion [km/s].

    seed, index : int
        The seed of the stream and the index of the image, which define the points.

    probability : float, optional
        The share of images that get any.

    Returns
    -------
    gas : 3D float32 `~numpy.ndarray`
        The map with its points; the velocity again less its column-weighted mean.
    """
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
