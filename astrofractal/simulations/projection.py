"""Simulated gas seen along a line of sight: column density, velocity and velocity dispersion."""

import numpy as np
from astropy import constants as const
from astropy import units as u
from astropy.io import fits
from numpy.typing import ArrayLike
from scipy.spatial.transform import Rotation
from scipy.special import ndtr

from astrofractal._utils.validation import positive_int
from astrofractal.gasmap import GasMap
from astrofractal.gasmap.moments import STANDARD_SHAPE, STANDARD_WIDTH, line_of_sums
from astrofractal.gasmap.units import H2_MEAN_MOLECULAR_WEIGHT, HYDROGEN_MASS
from astrofractal.simulations.snapshot import Snapshot

_AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}
#: N(H2) per integrated intensity of a cube, unless given: about that of 13CO.
X_FACTOR = 1e21 / u.cm**2 / (u.K * u.km / u.s)
_ETA = 1.2  # of the density of a particle, m (eta / h)^3
_H2_MASS = H2_MEAN_MOLECULAR_WEIGHT * HYDROGEN_MASS
_TINY_SPREAD = 1e-6  # of the mean square velocity: below it a variance is rounding


def line_of_sight_basis(line_of_sight: str | ArrayLike | Rotation) -> np.ndarray:
    """
    Return the axes of the image and the line of sight as unit vectors.

    Parameters
    ----------
    line_of_sight : str, array-like or `~scipy.spatial.transform.Rotation`
        ``"x"``, ``"y"`` or ``"z"``; a vector (3,) along which velocities are positive (away from
        the observer); or a rotation, whose matrix is the basis.

    Returns
    -------
    basis : 2D `~numpy.ndarray`
        Three orthonormal rows: the directions of the columns and of the rows of the image, and the
        line of sight.  For a vector the rows of the image point to positive z (to positive y where
        the line of sight is z).

    Raises
    ------
    ValueError
        If the vector is zero or the matrix is not a rotation.

    Examples
    --------
    >>> from astrofractal.simulations import line_of_sight_basis
    >>> line_of_sight_basis("x")
    array([[0., 1., 0.],
           [0., 0., 1.],
           [1., 0., 0.]])
    """
    if hasattr(line_of_sight, "as_matrix"):
        line_of_sight = line_of_sight.as_matrix()
    if isinstance(line_of_sight, str):
        if line_of_sight not in _AXES:
            msg = f"line_of_sight must be 'x', 'y', 'z' or a vector, got {line_of_sight!r}"
            raise ValueError(msg)
        line_of_sight = _AXES[line_of_sight]
    basis = np.asarray(line_of_sight, dtype=float)
    if basis.shape == (3,):
        length = np.linalg.norm(basis)
        if not np.isfinite(length) or length == 0:
            msg = f"line_of_sight must be a vector of finite, non-zero length, got {basis}"
            raise ValueError(msg)
        sight = basis / length
        up = np.array([0.0, 0.0, 1.0] if abs(sight[2]) < 1 - 1e-9 else [0.0, 1.0, 0.0])
        up -= (up @ sight) * sight
        up /= np.linalg.norm(up)
        return np.array([np.cross(up, sight), up, sight]) + 0.0
    right_handed = basis.shape == (3, 3) and np.allclose(basis @ basis.T, np.eye(3), atol=1e-6)
    if not right_handed or np.linalg.det(basis) < 0:
        msg = f"line_of_sight must be a vector (3,) or a rotation matrix (3, 3), got {basis}"
        raise ValueError(msg)
    return basis


def thermal_dispersion(temperature: u.Quantity, *, molecular_weight: float = 2.37) -> u.Quantity:
    """
    Return the velocity dispersion along one direction by thermal motion, sqrt(k T / (mu m_H)).

    Parameters
    ----------
    temperature : `~astropy.units.Quantity`
        Gas temperature.
    molecular_weight : float, optional
        In hydrogen masses: 2.37 for the mean particle of molecular gas [1]_, which gives the
        isothermal sound speed; 17 for NH3 or 29 for N2H+ for a line of that molecule.

    Returns
    -------
    dispersion : `~astropy.units.Quantity`
        In km/s.

    References
    ----------
    .. [1] Kauffmann et al. 2008, A&A 487, 993

    Examples
    --------
    >>> from astropy import units as u
    >>> from astrofractal.simulations import thermal_dispersion
    >>> print(f"{thermal_dispersion(10 * u.K):.3f}")
    0.187 km / s
    """
    square = const.k_B * u.Quantity(temperature, u.K) / (molecular_weight * HYDROGEN_MASS)
    return np.sqrt(square).to(u.km / u.s)


def _thermal_squares(snapshot, thermal):
    """Return the squared thermal dispersion of every particle, in km2/s2."""
    if thermal is None or thermal is False:
        return np.zeros(len(snapshot))
    if thermal is True:
        thermal = snapshot.temperatures
        if thermal is None:
            msg = "thermal is True but the snapshot has no temperatures: give one as a Quantity"
            raise ValueError(msg)
    if not isinstance(thermal, u.Quantity):
        msg = f"thermal must be a bool, a temperature or a sound speed (Quantity), got {thermal!r}"
        raise TypeError(msg)
    if thermal.unit.is_equivalent(u.K):
        thermal = thermal_dispersion(thermal)
    return np.broadcast_to(thermal.to_value(u.km / u.s) ** 2, (len(snapshot),)).copy()


def _depositor(snapshot, basis, center, shape, pixel, depth):
    """Return a function that puts particles or cells on the grid of the map."""
    from astrofractal.simulations import _deposit as loops

    offsets = snapshot.positions.value - center
    if snapshot.box_size is not None:
        box = snapshot.box_size.to_value(u.pc)
        offsets -= box * np.round(offsets / box)
    position = offsets @ (basis.T / pixel)
    position[:, 0] += shape[1] / 2
    position[:, 1] += shape[0] / 2
    half_depth = np.inf if depth is None else depth / pixel / 2
    size = (snapshot.cell_widths if snapshot.is_grid else snapshot.smoothing_lengths).value / pixel
    is_aligned = np.allclose(np.abs(basis).max(axis=1), 1, rtol=0, atol=1e-12)
    if snapshot.is_grid and is_aligned:
        size = size @ np.abs(basis.T)

    def put(chosen, masses, velocities, squares):
        """Return the planes mass, m v, m v^2 and m c^2 (4, ny, nx) of chosen ones, which have (n,)."""
        grid = np.zeros((4, *shape))
        what = (position[chosen], size[chosen], masses, velocities, squares, half_depth)
        if not snapshot.is_grid:
            loops.deposit_particles(grid, loops.cumulative_table(), *what)
        elif is_aligned:
            loops.deposit_aligned_cells(grid, *what)
        else:
            loops.deposit_rotated_cells(grid, *what, basis)
        return grid

    return put


def _counted_masses(snapshot, densities):
    """Return the masses (n,), in solar masses, of which those outside a range of densities are 0."""
    masses = snapshot.masses.value
    if densities is None:
        return masses
    if snapshot.is_grid:
        volume = snapshot.cell_widths.value.prod(axis=1) * u.pc**3
    else:
        volume = (snapshot.smoothing_lengths / _ETA) ** 3
    found = (snapshot.masses / volume / _H2_MASS).to(u.cm**-3)  # of H2
    low, high = densities
    counted = np.ones(len(found), bool) if low is None else found >= low
    if high is not None:
        counted &= found <= high
    return np.where(counted, masses, 0.0)


def _check_channels(velocities):
    """Return the centers of the channels in km/s, and their width."""
    centers = u.Quantity(velocities).to_value(u.km / u.s)
    steps = np.diff(centers) if centers.ndim == 1 else np.zeros(0)
    if not len(steps) or not steps.all() or not np.allclose(steps, steps[0], rtol=1e-3):
        msg = f"velocities must be the evenly spaced centers of two channels or more, got {velocities}"
        raise ValueError(msg)
    return centers, abs(steps.mean())


def _cube(put, masses, velocities, squares, centers, width):
    """Return the mass in each channel and pixel (n_channels, ny, nx), of lines with thermal widths."""
    spread = np.sqrt(np.maximum(squares, (1e-6 * width) ** 2))
    cube = []
    for center in centers:
        upper, lower = (ndtr((center + side * width / 2 - velocities) / spread) for side in (1, -1))
        part = masses * (upper - lower)
        chosen = np.flatnonzero(part > 1e-12 * masses)
        zeros = np.zeros(len(chosen))
        cube.append(put(chosen, part[chosen], zeros, zeros)[0])
    return np.array(cube)


def _cube_hdu(cube, wcs, centers, *, x_factor, distance, meta):
    """Return a cube of brightness temperatures with its header."""
    x_factor = u.Quantity(x_factor).to(u.cm**-2 / (u.K * u.km / u.s))
    header = wcs.to_header()
    header["WCSAXES"] = 3
    header.update(
        CTYPE3="VRAD", CUNIT3="m s-1", CRPIX3=1.0, CRVAL3=1e3 * centers[0],
        CDELT3=1e3 * (centers[-1] - centers[0]) / (len(centers) - 1), SPECSYS="LSRK", BUNIT="K",
    )  # fmt: skip
    header["DISTANCE"] = (distance.to_value(u.pc), "[pc]")
    header["XFACTOR"] = (x_factor.value, "[cm-2 / (K km/s)] N(H2) of a unit of intensity")
    if meta["cloud"] is not None and meta["cloud"].isascii() and meta["cloud"].isprintable():
        header["OBJECT"] = meta["cloud"][:60]
    return fits.PrimaryHDU(cube.astype(np.float32), header)


def _wcs(shape, pixel, distance):
    """Return a TAN WCS, north along the rows, centered on the map."""
    from astropy.wcs import WCS

    step = np.degrees(pixel / distance.to_value(u.pc))
    return WCS({
        "CTYPE1": "RA---TAN", "CRVAL1": 0, "CRPIX1": (shape[1] + 1) / 2, "CDELT1": -step,
        "CTYPE2": "DEC--TAN", "CRVAL2": 0, "CRPIX2": (shape[0] + 1) / 2, "CDELT2": step,
        "CUNIT1": "deg", "CUNIT2": "deg", "RADESYS": "ICRS",
    })  # fmt: skip


def project(
    snapshot: Snapshot,
    *,
    line_of_sight: str | ArrayLike | Rotation = "z",
    center: u.Quantity | None = None,
    size: u.Quantity = STANDARD_WIDTH,
    shape: tuple[int, int] = STANDARD_SHAPE,
    depth: u.Quantity | None = None,
    thermal: bool | u.Quantity | None = None,
    densities: tuple[u.Quantity | None, u.Quantity | None] | None = None,
    distance: u.Quantity | None = None,
    velocities: u.Quantity | None = None,
    x_factor: u.Quantity = X_FACTOR,
) -> GasMap | fits.PrimaryHDU:
    """
    Project the gas of a snapshot onto the sky: a map, or a cube of channels.

    Particles are spread with the column of the M4 cubic spline, integrated exactly over each pixel;
    cells by their exact overlap with the pixels (along x, y or z) or by exact chords along many
    lines of sight (at an angle).  Mass is conserved, whatever the sizes.

    Parameters
    ----------
    snapshot : `Snapshot`
        The gas.
    line_of_sight : str, array-like or `~scipy.spatial.transform.Rotation`, optional
        An axis, a vector or a rotation, see `line_of_sight_basis`.
    center : `~astropy.units.Quantity`, optional
        Position (3,) of the middle of the map; the center of mass by default.  In a periodic box
        the nearest image of each particle or cell is taken.
    size : `~astropy.units.Quantity`, optional
        Width of the map (along columns).
    shape : tuple of int, optional
        Shape (ny, nx) of the map; pixels are square.
    depth : `~astropy.units.Quantity`, optional
        Depth of the slab around ``center`` that is seen; all the gas by default, as for a
        telescope.  A particle or cell that straddles a face counts by the part of its mass inside.
    thermal : bool or `~astropy.units.Quantity`, optional
        What is added in quadrature to the velocity dispersion: nothing by default (as in the
        bundled maps), `True` for the snapshot's temperatures, or a temperature or a sound speed.
    densities : tuple of `~astropy.units.Quantity`, optional
        Lowest and highest number density of H2 of the gas that counts, such as
        ``(1e4 / u.cm**3, None)`` for lines of N2H+ or NH3.  That of a particle is m (1.2 / h)^3.
    distance : `~astropy.units.Quantity`, optional
        Distance of the cloud: the map then has a WCS (TAN, about 0, 0), for telescopes and cubes.
    velocities : `~astropy.units.Quantity`, optional
        The centers of evenly spaced velocity channels: a cube is made in place of a map.
    x_factor : `~astropy.units.Quantity`, optional
        For a cube: N(H2) per integrated intensity, which states the (fixed) abundance.

    Returns
    -------
    gas : `~astrofractal.GasMap`, or `~astropy.io.fits.PrimaryHDU` with ``velocities``
        N(H2), and the mass-weighted mean and standard deviation of the velocity along the line of
        sight, in the frame of the simulation.  Pixels without gas are masked.

        A cube (n_channels, ny, nx) has the brightness temperature of an optically thin line, in K,
        for `~astrofractal.GasMap.from_cube`: a Gaussian of the width ``thermal`` per particle or
        cell, integrated over each channel.  The header gives ``x_factor`` as ``XFACTOR``.

    Raises
    ------
    ValueError
        If no gas falls in the map.

    Notes
    -----
    Columns run along the first and rows along the second axis of `line_of_sight_basis`, velocities
    are positive along the third: a mirror image of what is seen on the sky.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from astrofractal.simulations import Snapshot, project
    >>> random = np.random.default_rng(1)
    >>> snapshot = Snapshot(
    ...     random.normal(scale=0.1, size=(1000, 3)) * u.pc,
    ...     np.full(1000, 0.1) * u.solMass,
    ...     random.normal(size=(1000, 3)) * u.km / u.s,
    ...     smoothing_lengths=np.full(1000, 0.03) * u.pc,
    ... )
    >>> gas = project(snapshot, line_of_sight=[1, 1, 0], size=2 * u.pc, shape=(32, 32))
    >>> gas.shape
    (32, 32)
    """
    basis = line_of_sight_basis(line_of_sight)
    shape = tuple(positive_int("shape", n) for n in np.broadcast_to(shape, 2).tolist())
    pixel = u.Quantity(size).to_value(u.pc) / shape[1]
    if not np.isfinite(pixel) or pixel <= 0:
        msg = f"size must be a positive length, got {size}"
        raise ValueError(msg)
    if center is None:
        center = snapshot.center
    center = u.Quantity(center).to_value(u.pc)
    if np.shape(center) != (3,):
        msg = f"center must be a position (3,), got the shape {np.shape(center)}"
        raise ValueError(msg)
    if depth is not None:
        depth = u.Quantity(depth).to_value(u.pc)
        if not depth > 0:
            msg = f"depth must be positive, got {depth} pc"
            raise ValueError(msg)
    if velocities is not None:
        centers, width = _check_channels(velocities)
        if distance is None:
            msg = "velocities needs distance: a cube has a WCS on the sky"
            raise ValueError(msg)
    meta = {
        "line_of_sight": line_of_sight if isinstance(line_of_sight, str) else basis[2].tolist(),
        "center": center * u.pc,
        "depth": None if depth is None else depth * u.pc,
        "cloud": snapshot.name,
        "time": snapshot.time,
    }
    distance = None if distance is None else u.Quantity(distance).to(u.pc)
    wcs = None if distance is None else _wcs(shape, pixel, distance)
    masses = _counted_masses(snapshot, densities)
    squares = _thermal_squares(snapshot, thermal)
    put = _depositor(snapshot, basis, center, shape, pixel, depth)
    if velocities is not None:
        cube = _cube(put, masses, snapshot.velocities.value @ basis[2], squares, centers, width)
        column = (cube / pixel**2 * u.solMass / u.pc**2 / _H2_MASS).to(u.cm**-2)
        cube = (column / (x_factor * width * u.km / u.s)).to_value(u.K)
        return _cube_hdu(cube, wcs, centers, x_factor=x_factor, distance=distance, meta=meta)
    # sums about the mean velocity: differences of large squares would lose digits
    weights = np.maximum(snapshot.masses.value, 1e-300)
    bulk = np.average(snapshot.velocities.value, axis=0, weights=weights)
    along = (snapshot.velocities.value - bulk) @ basis[2]
    mass, momentum, square, warm = put(slice(None), masses, along, squares)
    filled = mass > 0
    if not filled.any():
        msg = f"no gas in the map: center {center} pc, size {pixel * shape[1]:.4g} pc"
        raise ValueError(msg)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean, variance = line_of_sums(mass, momentum, square, rounding=_TINY_SPREAD)
        dispersion = np.sqrt(variance + warm / mass)
    return GasMap(
        np.where(filled, mass / pixel**2, np.nan) * u.solMass / u.pc**2,
        np.where(filled, mean + bulk @ basis[2], np.nan) * u.km / u.s,
        np.where(filled, dispersion, np.nan) * u.km / u.s,
        wcs=wcs,
        distance=distance,
        pixel_scale=pixel * u.pc,
        meta=meta,
    )
