"""From snapshots to labeled maps around their sink particles."""

from collections.abc import Iterable, Sequence, Sized
from typing import Any

import numpy as np
from astropy import units as u

from astrofractal._utils.annotations import PathLike, ProgressBar
from astrofractal._utils.progress import progress
from astrofractal._utils.validation import warn
from astrofractal.gasmap import GasMap
from astrofractal.mapset.mapset import MapSet
from astrofractal.simulations.projection import line_of_sight_basis, project
from astrofractal.simulations.readers import read_snapshot
from astrofractal.simulations.snapshot import Snapshot


def sink_maps(
    snapshot: Snapshot,
    *,
    lines_of_sight: Sequence[Any] | dict[str, Any] = ("x", "y", "z"),
    mass_range: u.Quantity | None = (0.05, 30) * u.solMass,
    **projection: Any,
) -> list[GasMap]:
    """
    Make a map around each sink particle of a snapshot, along each line of sight.

    Parameters
    ----------
    snapshot : `Snapshot`
        Gas and sink particles.
    lines_of_sight : sequence or dict, optional
        Axes, vectors or rotations, see `line_of_sight_basis`; the keys of a dictionary name them.
    mass_range : `~astropy.units.Quantity`, optional
        Smallest and largest mass of the sinks that get a map, `None` for all.
    **projection : dict
        Options of `project`, such as ``size``, ``shape``, ``depth``, ``thermal`` and ``densities``.

    Returns
    -------
    maps : list of `~astrofractal.GasMap`
        One map for each sink and line of sight, the sink at the center.  ``meta`` carries its
        ``mass``, ``sink``, ``axis``, ``center``, ``time`` and ``cloud``.
    """
    sights = _named(lines_of_sight)
    sinks = snapshot.sinks
    if mass_range is not None:
        low, high = u.Quantity(mass_range)
        sinks = sinks[(sinks["mass"] >= low) & (sinks["mass"] <= high)]
    maps = []
    for row in sinks:
        center = u.Quantity([row["x"], row["y"], row["z"]])
        for name, sight in sights.items():
            gas = project(snapshot, line_of_sight=sight, center=center, **projection)
            gas.meta.update(sink=str(row["sink"]), mass=row["mass"], axis=name)
            maps.append(gas)
    return maps


def _named(lines_of_sight):
    """Return lines of sight by name."""
    sights = lines_of_sight
    if isinstance(sights, str):
        sights = [sights]
    if not isinstance(sights, dict):
        sights = {s if isinstance(s, str) else f"los{k}": s for k, s in enumerate(sights)}
    for sight in sights.values():
        line_of_sight_basis(sight)
    if not sights:
        msg = "lines_of_sight must hold at least one line of sight"
        raise ValueError(msg)
    return sights


def map_set(
    snapshots: Iterable[Snapshot | PathLike] | Snapshot | PathLike,
    *,
    lines_of_sight: Sequence[Any] | dict[str, Any] = ("x", "y", "z"),
    mass_range: u.Quantity | None = (0.05, 30) * u.solMass,
    progress_bar: ProgressBar = False,
    **projection: Any,
) -> MapSet:
    """
    Make a labeled map set from snapshots, to calibrate a mass estimator with.

    Parameters
    ----------
    snapshots : iterable of `Snapshot` or path-like, or one of these
        Snapshots, or files that `read_snapshot` understands; read one at a time.  Snapshots of one
        simulation must have one ``name``, and a sink one name at all times.
    lines_of_sight, mass_range : optional
        As for `sink_maps`.
    progress_bar : bool or callable, optional
        Whether to show progress over the snapshots.
    **projection : dict
        Options of `project`.

    Returns
    -------
    maps : `~astrofractal.mapset.MapSet`
        The maps, their labels and where they come from.

    Raises
    ------
    ValueError
        If no snapshot holds a sink in ``mass_range``.

    Warns
    -----
    AstrofractalWarning
        If some snapshots hold no such sink.
    """
    if isinstance(snapshots, Snapshot) or not hasattr(snapshots, "__iter__"):
        snapshots = [snapshots]
    options = {"lines_of_sight": lines_of_sight, "mass_range": mass_range, **projection}
    depth = projection.get("depth")
    properties = {} if depth is None else {"DEPTH": u.Quantity(depth).to_value(u.pc)}
    maps, empty, clouds = [], [], {}
    total = len(snapshots) if isinstance(snapshots, Sized) else None
    for item in progress(snapshots, progress_bar, total=total, desc="snapshots"):
        snapshot = item if isinstance(item, Snapshot) else read_snapshot(item)
        made = sink_maps(snapshot, **options)
        if made:
            cloud = snapshot.name or "cloud"
            clouds[cloud] = dict(properties)
            maps.append(_as_set(made, cloud))
        else:
            empty.append(repr(snapshot))
    if not maps:
        msg = f"no sink with a mass in {mass_range} in {len(empty)} snapshots: there is no label"
        raise ValueError(msg)
    if empty:
        msg = f"{len(empty)} snapshots hold no sink with a mass in {mass_range}, e.g. {empty[0]}"
        warn(msg)
    result = MapSet.concatenate(maps)
    result.meta["clouds"] = clouds
    return result


def _as_set(maps, cloud):
    """Return the maps of one snapshot as a MapSet."""
    times = [np.nan * u.Myr if gas.meta["time"] is None else gas.meta["time"] for gas in maps]
    return MapSet(
        np.stack([gas.to_array() for gas in maps]),
        u.Quantity([gas.meta["mass"] for gas in maps]),
        clouds=[cloud] * len(maps),
        protostars=[gas.meta["sink"] for gas in maps],
        times=u.Quantity(times),
        axes=[gas.meta["axis"] for gas in maps],
        positions=u.Quantity([gas.meta["center"] for gas in maps]),
        pixel_scale=maps[0].pixel_scale,
    )
