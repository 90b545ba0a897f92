"""Pictures of a catalog: the protostars on their map, and their masses with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from astrofractal._utils.reading import filled
from astrofractal.catalogs.columns import solar_masses
from astrofractal.gasmap import GasMap
from astrofractal.gasmap.plotting import draw_channel, draw_scales, map_figure, sky_axes

if TYPE_CHECKING:
    from typing import Any

    from astropy.table import QTable
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from astrofractal._utils.annotations import MapSource

#: More protostars than these are not named.
_MOST_NAMES = 60


def plot_catalog(
    catalog: QTable, gas: GasMap | MapSource, *, figure: Figure | None = None
) -> Figure:
    """
    Draw the protostars of a catalog on their map.

    Parameters
    ----------
    catalog : `~astropy.table.QTable`
        ``position``, or ``x`` and ``y``; ``mass``; perhaps ``id`` and ``trust``.
    gas : `~astrofractal.GasMap`
        The map, or what `GasMap.read` takes.
    figure : `~matplotlib.figure.Figure`, optional
        The figure to draw in; a new one by default.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        The column density, with masses as colors; those whose ``trust`` is "doubt" or "no" are squares,
        protostars without a mass crosses.  More than 60 protostars are not named.

    Raises
    ------
    ValueError
        If the catalog has no positions.
    """
    from matplotlib.colors import LogNorm

    _need_table(catalog, "plot_catalog(catalog, gas)")
    gas = GasMap.read(gas)
    figure = map_figure(gas, 1, figure=figure)
    axes = sky_axes(figure, 111, gas)
    draw_channel(axes, gas, "column_density", cmap="gray_r", colorbar=False)
    draw_scales(axes, gas)
    where = np.transpose(_pixels(catalog, gas))
    seen = gas.contains(where)
    x, y = where[seen].T
    mass, doubtful = solar_masses(catalog["mass"])[seen], _doubtful(catalog)[seen]
    known = np.isfinite(mass)
    axes.plot(x[~known], y[~known], "x", color="black", mew=1.5, zorder=7, label="no mass")
    if known.any():
        norm = LogNorm(mass[known].min() / 1.1, mass[known].max() * 1.1)
        options = {"norm": norm, "cmap": "plasma", "edgecolors": "white", "zorder": 7, "s": 55}
        for marker, shown in (("o", known & ~doubtful), ("s", known & doubtful)):
            points = axes.scatter(x[shown], y[shown], c=mass[shown], marker=marker, **options)
        bar = figure.colorbar(points, ax=axes, label=r"mass [M$_\odot$]", shrink=0.8)
        _plain_numbers(bar.ax.yaxis)
    if "id" in catalog.colnames and len(catalog) <= _MOST_NAMES:
        name_points(axes, catalog["id"][seen], x, y)
    axes.set_title("Protostars")
    return figure


def name_points(axes, names, x, y):
    """Write names next to points, readable on any map; where they would overlap, at a line from them."""
    from matplotlib.patheffects import Normal, Stroke

    style = {"fontsize": "small", "zorder": 8, "in_layout": False, "annotation_clip": True}
    style["path_effects"] = [Stroke(linewidth=2.5, foreground="white"), Normal()]
    axes.figure.canvas.figure.draw_without_rendering()  # it places the axes
    frame, pixel = axes.get_window_extent(), 72 / axes.figure.dpi  # in units of 1/72 inch
    points = axes.transData.transform(np.column_stack([x, y])) * pixel
    taken = [(*(point - 4), *(point + 4)) for point in points]  # boxes: x, y; x, y
    for name, place, point in zip(names, zip(x, y), points, strict=True):
        text = axes.annotate(str(name), place, (0, 0), textcoords="offset points", **style)
        size = text.get_window_extent().size * pixel
        for offset in _offsets(*size):
            low, high = point + offset, point + offset + size
            inside = (low > frame.min * pixel).all() and (high < frame.max * pixel).all()
            free = [(low > old[2:]).any() or (high < old[:2]).any() for old in taken]
            if inside and all(free):
                break
        else:
            offset = np.array([6, 4])
        text.set_position(offset)
        taken.append((*(point + offset), *(point + offset + size)))
        end = np.clip(0, offset, offset + size)  # of the name, nearest to the point
        if np.hypot(*end) > 7:
            line = {"arrowstyle": "-", "color": "0.2", "lw": 0.7, "shrinkA": 0, "shrinkB": 3}
            axes.annotate("", place, end, textcoords="offset points", arrowprops=line, zorder=6)


def _offsets(width, height):
    """Return where a name may begin relative to its point, the nearest place first."""
    angles = np.arange(16) * np.pi / 8
    x, y = np.cos(angles), np.sin(angles)
    rings = [np.array([[6, 4]])]
    for radius in np.arange(1, 12) * height:
        left = radius * x - width * (x < -0.1) - width / 2 * (np.abs(x) < 0.1)
        rings.append(np.column_stack([left, radius * y - height / 2]))
    return np.concatenate(rings)


def _need_table(catalog, call):
    if not hasattr(catalog, "colnames"):
        msg = f"catalog must be a table, got a {type(catalog).__name__}: {call}"
        raise TypeError(msg)


def _plain_numbers(axis):
    """Write 0.2, 0.5, 1, 2 rather than powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def plot_intervals(catalog: QTable, *, axes: Axes | None = None) -> Axes:
    """
    Draw the masses of a catalog with their intervals, the largest on top.

    Parameters
    ----------
    catalog : `~astropy.table.QTable`
        ``mass``, ``mass_lower``, ``mass_upper``; perhaps ``id``, ``trust`` and ``mass_true`` (stars).
    axes : `~matplotlib.axes.Axes`, optional
        Where; a new figure by default.

    Returns
    -------
    axes : `~matplotlib.axes.Axes`
        One row per protostar that has a mass, with its name if they are at most 60; those whose
        ``trust`` is "doubt" or "no" are open squares.
    """
    _need_table(catalog, "plot_intervals(catalog)")
    mass = solar_masses(catalog["mass"])
    order = np.argsort(mass)[: np.isfinite(mass).sum()]
    lower, upper = (solar_masses(catalog[f"mass_{end}"]) for end in ("lower", "upper"))
    if axes is None:
        from matplotlib import pyplot as plt

        height = float(np.clip(0.26 * len(order) + 1.3, 2.2, 14))
        _, axes = plt.subplots(figsize=(6, height), layout="constrained")
    rows, doubtful = np.arange(len(order)), _doubtful(catalog)[order]
    level = catalog.meta.get("level")
    label = "interval" if level is None else f"{100 * level:.3g} % interval"
    style: dict[str, Any] = {"color": "#0072B2", "ecolor": "0.6", "capsize": 2}
    trusted = style | {"fmt": "o", "label": label}
    others = style | {"fmt": "s", "mfc": "white", "label": "not to be trusted (see flags)"}
    for chosen, own in ((~doubtful, trusted), (doubtful, others)):
        if chosen.any():
            value, low, high = (values[order[chosen]] for values in (mass, lower, upper))
            ends = [value - low, high - value]
            axes.errorbar(value, rows[chosen], xerr=ends, **own)
    if "mass_true" in catalog.colnames:
        true = solar_masses(catalog["mass_true"])[order]
        axes.plot(true, rows, "*", color="#D55E00", ms=9, label="true mass", zorder=3)
    axes.set(xscale="log", xlabel=r"mass [M$_\odot$]", ylim=(-0.7, len(order) - 0.3))
    _plain_numbers(axes.xaxis)
    if "id" in catalog.colnames and len(order) <= _MOST_NAMES:
        axes.set_yticks(rows, [str(name) for name in catalog["id"][order]])
    else:
        axes.set_yticks([])
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    if len(order):
        axes.figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return axes


def _pixels(catalog, gas):
    """Return the pixels of the protostars on a map."""
    if "position" in catalog.colnames and gas.wcs is not None:
        return gas.to_pixel(catalog["position"])
    if not {"x", "y"} <= set(catalog.colnames):
        msg = f"catalog must have 'position' or 'x' and 'y', it has {', '.join(catalog.colnames)}"
        raise ValueError(msg)
    return [np.asarray(filled(catalog[name]), float) for name in ("x", "y")]


def _doubtful(catalog):
    """Return which masses are not to be trusted, or only with doubt."""
    if "trust" in catalog.colnames:
        return np.array([str(trust) != "yes" for trust in catalog["trust"]], bool)
    return np.zeros(len(catalog), bool)
