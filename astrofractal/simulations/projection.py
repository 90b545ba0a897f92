"""Simulated gas seen along a line of sight: column density, velocity and velocity dispersion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy import constants as const
from astropy import units as u

from astrofractal._utils.validation import positive_int
from astrofractal.gasmap import GasMap
from astrofractal.gasmap.moments import STANDARD_SHAPE, STANDARD_WIDTH, line_of_sums

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord
    from numpy.typing import ArrayLike
    from scipy.spatial.transform import Rotation

    from astrofractal.gasmap import GasMap
    from astrofractal.simulations.snapshot import Snapshot


__all__ = ["line_of_sight_basis", "project", "thermal_dispersion"]

_AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}
_TINY_SPREAD = 1e-6  # of the mean square velocity: below it a variance is rounding


def line_of_sight_basis(line_of_sight: str | ArrayLike | Rotation) -> np.ndarray:
    """
    Return the axes of the image and the line of sight as unit vectors.

    Parameters
    ----------
    line_of_sight : str, array-like or `~scipy.spatial.transform.Rotation`
        ``"x"``, ``"y"`` or ``"z"``; a vector (3,) along which velocities count as positive (away
        from the observer); a rotation matrix (3, 3) whose rows are the column axis of the image,
        its row axis and the line of sight; or a scipy rotation that brings these onto x, y and z.

    Returns
    -------
    basis : 2D `~numpy.ndarray`
        Three orthonormal rows: the direction in which columns count, that in which rows count, and
        the line of sight.  For a vector the rows point to positive z as far as they can (to
        positive y where the line of sight is z).

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
            msg = (
                "line_of_sight must be 'x', 'y', 'z', a vector or a rotation, "
                f"got {line_of_sight!r}"
            )
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
    Velocity dispersion along one direction from thermal motion, sqrt(k T / (mu m_H)).

    Parameters
    ----------
    temperature : `~astropy.units.Quantity`
        Gas temperature.

    molecular_weight : float, optional
        Weight of the particles that move, in hydrogen masses: 2.37 for the mean particle of
        molecular gas [1]_ (the dispersion is then the isothermal sound speed), 17 for NH3 or 29 for
        N2H+ to imitate a line of that molecule.

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
    hydrogen = const.m_p + const.m_e
    square = const.k_B * u.Quantity(temperature, u.K) / (molecular_weight * hydrogen)
    return np.sqrt(square).to(u.km / u.s)


def _thermal_squares(snapshot, thermal, molecular_weight):
    """Return the squared thermal dispersion of every particle, in km2/s2."""
    if thermal is None or thermal is False:
        return np.zeros(len(snapshot))
    if thermal is True:
        if snapshot.temperatures is None:
            msg = "thermal is True but the snapshot has no temperatures: give one as a Quantity"
            raise ValueError(msg)
        thermal = snapshot.temperatures
    if not isinstance(thermal, u.Quantity):
        msg = f"thermal must be a bool, a temperature or a sound speed (Quantity), got {thermal!r}"
        raise TypeError(msg)
    if thermal.unit.is_equivalent(u.K):
        thermal = thermal_dispersion(thermal, molecular_weight=molecular_weight)
    return np.broadcast_to(thermal.to_value(u.km / u.s) ** 2, (len(snapshot),)).copy()


def _frame(size, shape, pixel_scale):
    """Return the shape (ny, nx) of the map and its pixel in pc."""
    if pixel_scale is None:
        n_rows, n_columns = (positive_int("shape", n) for n in np.broadcast_to(shape, 2).tolist())
        pixel = u.Quantity(size).to_value(u.pc) / n_columns
    else:
        pixel = u.Quantity(pixel_scale).to_value(u.pc)
        n_columns = n_rows = max(round(u.Quantity(size).to_value(u.pc) / pixel), 1)
    if not np.isfinite(pixel) or pixel <= 0:
        msg = f"size and pixel_scale must be positive lengths, got {size} and {pixel_scale}"
        raise ValueError(msg)
    return (n_rows, n_columns), pixel


def _deposit(snapshot, basis, center, shape, pixel, depth, squares, bulk):
    """Return the planes mass, m v, m v^2 and m c^2 of the map."""
    from astrofractal.simulations import _deposit as loops
    from astrofractal.simulations._kernel import cumulative_table

    offsets = snapshot.positions.value - center
    if snapshot.box_size is not None:
        box = snapshot.box_size.to_value(u.pc)
        offsets -= box * np.round(offsets / box)
    position = offsets @ (basis.T / pixel)
    position[:, 0] += shape[1] / 2
    position[:, 1] += shape[0] / 2
    velocity = (snapshot.velocities.value - bulk) @ basis[2]
    half_depth = np.inf if depth is None else depth / pixel / 2
    grid = np.zeros((4, *shape))
    sizes = snapshot.cell_widths if snapshot.is_grid else snapshot.smoothing_lengths
    size = sizes.value / pixel
    masses = snapshot.masses.value
    if not snapshot.is_grid:
        loops.deposit_particles(
            grid,
            cumulative_table(),
            position,
            size,
            masses,
            velocity,
            squares,
            half_depth,
        )
    elif np.allclose(np.abs(basis).max(axis=1), 1, rtol=0, atol=1e-12):
        loops.deposit_aligned_cells(
            grid, position, size @ np.abs(basis.T), masses, velocity, squares, half_depth
        )
    else:
        loops.deposit_rotated_cells(
            grid, position, size, masses, velocity, squares, half_depth, basis
        )
    return grid


def _wcs(shape, pixel, distance, coordinate):
    """Return a TAN WCS, north along the rows, centered on the map."""
    from astropy.coordinates import SkyCoord
    from astropy.wcs import WCS

    coordinate = SkyCoord(0 * u.deg, 0 * u.deg) if coordinate is None else coordinate.icrs
    step = np.degrees(pixel / distance.to_value(u.pc))
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crval = [coordinate.ra.deg, coordinate.dec.deg]
    wcs.wcs.crpix = [(shape[1] + 1) / 2, (shape[0] + 1) / 2]
    wcs.wcs.cdelt = [-step, step]
    wcs.wcs.radesys = "ICRS"
    return wcs


def project(
    snapshot: Snapshot,
    *,
    line_of_sight: str | ArrayLike | Rotation = "z",
    center: u.Quantity | None = None,
    size: u.Quantity = STANDARD_WIDTH,
    shape: tuple[int, int] | None = STANDARD_SHAPE,
    pixel_scale: u.Quantity | None = None,
    depth: u.Quantity | None = None,
    thermal: bool | u.Quantity | None = None,
    molecular_weight: float = 2.37,
    distance: u.Quantity | None = None,
    coordinate: SkyCoord | None = None,
) -> GasMap:
    """
    Project the gas of a snapshot onto the sky.

    Particles are spread with the column of the M4 cubic spline, integrated exactly over each pixel;
    cells by their exact overlap with the pixels (along x, y or z) or by exact chords along many
    lines of sight (at an angle).  Mass is conserved: what falls in the map adds up to the mass of
    the gas there, also where particles or cells are far smaller than a pixel.

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

    pixel_scale : `~astropy.units.Quantity`, optional
        Width of a pixel; it takes the place of ``shape``, and the map is square.

    depth : `~astropy.units.Quantity`, optional
        Depth of the slab around ``center`` that is seen; all the gas by default, as for a
        telescope.  A particle or cell that straddles a face counts by the part of its mass inside.

    thermal : bool or `~astropy.units.Quantity`, optional
        What is added in quadrature to the velocity dispersion: nothing by default (as in the
        bundled reference maps), `True` for the snapshot's own temperatures, or a temperature or a
        sound speed for all the gas.

    molecular_weight : float, optional
        For a ``thermal`` temperature, see `thermal_dispersion`.

    distance : `~astropy.units.Quantity`, optional
        Distance of the cloud: the map then has a WCS (TAN), which a telescope's simulation needs.

    coordinate : `~astropy.coordinates.SkyCoord`, optional
        Sky position of the middle of the map, with ``distance``; 0, 0 by default.

    Returns
    -------
    gas : `~astrofractal.GasMap`
        N(H2), the mass-weighted mean velocity along the line of sight in the frame of the
        simulation, and the mass-weighted standard deviation of the velocity along the line of
        sight.  Pixels without gas are masked.  ``meta`` tells how it was made.

    Raises
    ------
    ValueError
        If no gas falls in the map.

    Notes
    -----
    The sky is seen as drawn, columns along the first and rows along the second axis of
    `line_of_sight_basis`, velocities positive along the third.  (Seen from the sky this is a mirror
    image, which physics does not tell apart.)

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
    shape, pixel = _frame(size, shape, pixel_scale)
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
    squares = _thermal_squares(snapshot, thermal, molecular_weight)
    # sums about the mean velocity: differences of large squares would lose digits
    weights = np.maximum(snapshot.masses.value, 1e-300)
    bulk = np.average(snapshot.velocities.value, axis=0, weights=weights)
    mass, momentum, square, warm = _deposit(
        snapshot, basis, center, shape, pixel, depth, squares, bulk
    )
    filled = mass > 0
    if not filled.any():
        msg = f"no gas in the map: center {center} pc, size {pixel * shape[1]:.4g} pc"
        raise ValueError(msg)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean, variance = line_of_sums(mass, momentum, square, rounding=_TINY_SPREAD)
        dispersion = np.sqrt(variance + warm / mass)
    meta = {
        "line_of_sight": line_of_sight if isinstance(line_of_sight, str) else basis[2].tolist(),
        "center": center * u.pc,
        "depth": None if depth is None else depth * u.pc,
        "cloud": snapshot.name,
        "time": snapshot.time,
    }
    return GasMap(
        np.where(filled, mass / pixel**2, np.nan) * u.solMass / u.pc**2,
        np.where(filled, mean + bulk @ basis[2], np.nan) * u.km / u.s,
        np.where(filled, dispersion, np.nan) * u.km / u.s,
        wcs=None if distance is None else _wcs(shape, pixel, u.Quantity(distance), coordinate),
        distance=None if distance is None else u.Quantity(distance).to(u.pc),
        pixel_scale=pixel * u.pc,
        meta=meta,
    )
