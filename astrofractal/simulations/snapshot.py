"""The state of a simulation at one time: its gas, as particles or cells, and its sink particles."""

from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable, Table

from astrofractal._utils.tables import read_table

_SINK_UNITS = {"mass": u.solMass, "x": u.pc, "y": u.pc, "z": u.pc}


def _checked(name, value, unit, shape):
    """Return a Quantity in ``unit``, checked to be finite and of the shape expected."""
    if not isinstance(value, u.Quantity):
        msg = f"{name} must be a Quantity with units of {unit.physical_type}, got {type(value)}"
        raise TypeError(msg)
    array = np.ascontiguousarray(value.to_value(unit), dtype=float)
    if array.shape != shape:
        msg = f"{name} must have the shape {shape}, got {array.shape}"
        raise ValueError(msg)
    if not np.isfinite(array).all():
        msg = f"{name} must be finite, got {np.count_nonzero(~np.isfinite(array))} values that are not"
        raise ValueError(msg)
    return array << unit


def sink_table(sinks):
    """Return a QTable with the columns sink (str), mass, x, y and z, from one or a file of one."""
    if sinks is None:
        sinks = {name: [] * unit for name, unit in _SINK_UNITS.items()}
    elif not isinstance(sinks, (Table, dict)):
        sinks = read_table(sinks, cls=QTable)
    table = QTable(sinks)
    missing = [name for name in _SINK_UNITS if name not in table.colnames]
    if missing:
        msg = f"sinks needs the columns mass, x, y and z, got {table.colnames}"
        raise ValueError(msg)
    for name, unit in _SINK_UNITS.items():
        if not isinstance(table[name], u.Quantity):
            msg = f"the column {name!r} of sinks needs a unit, such as {unit}"
            raise u.UnitsError(msg)
    names = table["sink"] if "sink" in table.colnames else np.arange(len(table))
    columns = {"sink": np.array([str(name) for name in names], dtype=str)}
    columns |= {name: table[name].to(unit) for name, unit in _SINK_UNITS.items()}
    table = QTable(columns)
    if len(set(table["sink"])) < len(table):
        msg = "the column 'sink' of sinks must name each sink once"
        raise ValueError(msg)
    return table


class Snapshot:
    """
    The gas of a simulation at one time, with its sink particles.

    Parameters
    ----------
    positions, masses, velocities : `~astropy.units.Quantity`
        Of the particles, or of the cells (positions are their centers): (n, 3), (n,), (n, 3).
    smoothing_lengths : `~astropy.units.Quantity`, optional
        For particles: h of the M4 cubic spline, (n,), whose kernel vanishes at 2 h, as in Phantom
        (GADGET and GIZMO write 2 h).
    cell_widths : `~astropy.units.Quantity`, optional
        For cells: widths along x, y and z, (n, 3), or (n,) for cubes.
    temperatures : `~astropy.units.Quantity`, optional
        Gas temperatures, (n,), for the thermal part of the velocity dispersion.
    sinks : `~astropy.table.QTable`, optional
        Sink (star) particles: ``mass``, ``x``, ``y``, ``z`` with units, in the frame of
        ``positions``, and ``sink``, a name that is the same in all snapshots (default: the row).
    time : `~astropy.units.Quantity`, optional
        Time of the snapshot.
    box_size : `~astropy.units.Quantity`, optional
        Side of a periodic box, a scalar or (3,).  Without it the gas ends where it ends.
    name : str, optional
        Name of the simulation, which becomes the cloud of its maps.
    meta : dict, optional
        Anything else; it is carried along.

    Raises
    ------
    TypeError, ValueError
        If a value has no unit, the wrong shape or is not finite, or unless one of
        ``smoothing_lengths`` and ``cell_widths`` is given.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from astrofractal.simulations import Snapshot
    >>> random = np.random.default_rng(1)
    >>> Snapshot(
    ...     random.normal(size=(100, 3)) * u.pc,
    ...     np.ones(100) * u.solMass,
    ...     random.normal(size=(100, 3)) * u.km / u.s,
    ...     smoothing_lengths=np.full(100, 0.1) * u.pc,
    ...     name="blob",
    ... )
    <Snapshot 'blob': 100 particles, 100 solMass, 0 sinks>
    """

    def __init__(
        self,
        positions: u.Quantity,
        masses: u.Quantity,
        velocities: u.Quantity,
        *,
        smoothing_lengths: u.Quantity | None = None,
        cell_widths: u.Quantity | None = None,
        temperatures: u.Quantity | None = None,
        sinks: QTable | None = None,
        time: u.Quantity | None = None,
        box_size: u.Quantity | None = None,
        name: str | None = None,
        meta: dict[str, Any] | None = None,
    ) -> None:
        if (smoothing_lengths is None) == (cell_widths is None):
            msg = "give either smoothing_lengths (particles) or cell_widths (cells)"
            raise ValueError(msg)
        n = len(positions)
        self.positions = _checked("positions", positions, u.pc, (n, 3))
        self.masses = _checked("masses", masses, u.solMass, (n,))
        self.velocities = _checked("velocities", velocities, u.km / u.s, (n, 3))
        self.smoothing_lengths = self.cell_widths = self.temperatures = None
        if cell_widths is None:
            sizes = _checked("smoothing_lengths", smoothing_lengths, u.pc, (n,))
            self.smoothing_lengths = sizes
        else:
            if np.ndim(cell_widths) == 1:
                cell_widths = np.repeat(cell_widths[:, None], 3, axis=1)
            self.cell_widths = sizes = _checked("cell_widths", cell_widths, u.pc, (n, 3))
        if (sizes <= 0).any() or (self.masses < 0).any():
            msg = "masses must not be negative, smoothing_lengths and cell_widths must be positive"
            raise ValueError(msg)
        if temperatures is not None:
            self.temperatures = _checked("temperatures", temperatures, u.K, (n,))
        self.sinks = sink_table(sinks)
        self.time = None if time is None else u.Quantity(time).to(u.Myr)
        self.box_size = None
        if box_size is not None:
            self.box_size = np.broadcast_to(u.Quantity(box_size).to_value(u.pc), (3,)) * u.pc
        self.name = None if name is None else str(name)
        self.meta = dict(meta or {})

    def __len__(self) -> int:
        return len(self.masses)

    def __repr__(self):
        kind = "cells" if self.is_grid else "particles"
        name = "" if self.name is None else f" {self.name!r}"
        return f"<Snapshot{name}: {len(self)} {kind}, {self.gas_mass:.6g}, {len(self.sinks)} sinks>"

    @property
    def is_grid(self) -> bool:
        """Whether the gas is in cells (`True`) or in particles (`False`)."""
        return self.cell_widths is not None

    @property
    def gas_mass(self) -> u.Quantity:
        """Mass of all the gas."""
        return self.masses.sum()

    @property
    def center(self) -> u.Quantity:
        """Center of mass of the gas, (3,), in pc."""
        return np.average(self.positions.value, axis=0, weights=self.masses.value) * u.pc
