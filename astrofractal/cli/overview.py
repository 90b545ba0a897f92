"""The picture that ``astrofractal demo`` draws."""

import numpy as np

from astrofractal.gasmap.plotting import draw_channel, sky_axes

__all__ = ["overview"]


def overview(table, result):
    """
    Draw a cloud with its regions and protostars, and the masses beside the true ones.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        ``id``, ``position``, ``mass_true``, ``mass``, ``mass_lower`` and ``mass_upper``.

    result : `~astrofractal.segmentation.Segmentation`
        The segmentation of the cloud, which has a WCS and a distance.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        The figure.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5.6), layout="constrained")
    left, right = figure.add_gridspec(1, 2, width_ratios=(1.25, 1))
    _draw_cloud(figure, left, table, result)
    _draw_masses(figure, right, table)
    return figure


def _draw_cloud(figure, cell, table, result):
    from matplotlib.collections import LineCollection
    from matplotlib.lines import Line2D

    gas = result.gas
    axes = sky_axes(figure, cell, gas)
    draw_channel(axes, gas, cmap="gray")
    handles = []
    for number, color in enumerate(result.colors, start=1):
        rings = [
            np.concatenate([ring, ring[:1]])
            for outline, segment in zip(result.outlines, result.island_segments, strict=True)
            if segment == number
            for ring in outline
        ]
        axes.add_collection(LineCollection(rings, colors=color, linewidths=1.2), autolim=False)
        handles.append(Line2D([], [], color=color, label=f"region {number}"))
    marks = {"marker": "*", "markersize": 10, "mfc": "white", "mec": "black", "ls": "none"}
    axes.plot(*gas.to_pixel(table["position"]), zorder=5, **marks)
    handles.append(Line2D([], [], label="protostar", **marks))
    axes.legend(handles=handles, loc="upper left", fontsize=8, framealpha=0.9)
    axes.set_title("Example cloud (simulated)")


def _draw_masses(figure, cell, table):
    axes = figure.add_subplot(cell)
    true, mass, lower, upper = (
        table[name].to_value("solMass")
        for name in ("mass_true", "mass", "mass_lower", "mass_upper")
    )
    axes.errorbar(
        true,
        mass,
        yerr=[np.maximum(mass - lower, 0), np.maximum(upper - mass, 0)],
        fmt="o",
        color="#0072B2",
        ecolor="0.6",
        capsize=2,
        label="68 % interval",
    )
    every = np.concatenate([true, lower, upper])
    low, high = every.min() / 1.4, every.max() * 1.4
    axes.plot([low, high], [low, high], color="0.3", ls="--", lw=1, label="equal")
    for k, name in enumerate(table["id"]):
        axes.annotate(
            str(name), (true[k], mass[k]), xytext=(5, 4), textcoords="offset points", fontsize=8
        )
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(low, high),
        ylim=(low, high),
        aspect="equal",
        xlabel=r"true sink mass  [M$_\odot$]",
        ylabel=r"estimated mass  [M$_\odot$]",
        title="Masses, calibrated on other clouds",
    )
    axes.legend(loc="upper left", fontsize=8)
