"""Pictures of gas maps: axes on the sky, a channel in colors, a scale bar, the beam."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u

from astrofractal._utils.html import facts_table, thumbnail
from astrofractal._utils.validation import one_of
from astrofractal.gasmap.moments import mean_velocity
from astrofractal.gasmap.positions import pixel_direction
from astrofractal.gasmap.wcs import central_solid_angle

if TYPE_CHECKING:
    from typing import TypeVar

    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure

    import astrofractal

    _Map = TypeVar("_Map", bound="astrofractal.GasMap")  # whose module imports this one

_AXES = {
    "RA": "Right ascension",
    "DEC": "Declination",
    "GLON": "Galactic longitude",
    "GLAT": "Galactic latitude",
}

#: Title, label and color map of each channel.  The color-blind can distinguish them; that of
#: the velocity is white in the middle, for the velocity that most of the gas has.
_CHANNELS = {
    "column_density": ("Column density", r"$N(\mathrm{H}_2)$ [cm$^{-2}$]", "cividis"),
    "velocity": ("Line-of-sight velocity", r"$v_\mathrm{los}$ [km s$^{-1}$]", "RdBu_r"),
    "dispersion": ("Velocity dispersion", r"$\sigma_v$ [km s$^{-1}$]", "viridis"),
}

#: Units of a scale bar by their labels, and the shortest bar that is given in each.
_LENGTHS = {" pc": (u.pc, 0.01), " au": (u.au, 0)}
_ANGLES = {"°": (u.deg, 1), "′": (u.arcmin, 1), "″": (u.arcsec, 0)}


def sky_axes(figure, position, gas):
    """Add axes with the coordinates of a map to a figure."""
    if gas.wcs is None:
        axes = figure.add_subplot(position)
        axes.set_xlabel("x [pixel]")
        axes.set_ylabel("y [pixel]")
        return axes
    axes = figure.add_subplot(position, projection=gas.wcs)
    names = [str(ctype)[:4].strip("-") for ctype in gas.wcs.wcs.ctype]
    for coord, name in zip(axes.coords, names, strict=True):
        coord.set_axislabel(_AXES.get(name, name))
        coord.set_ticklabel(exclude_overlapping=True)
    return axes


def limit_to(axes, known, *, margin=0.02):
    """Limit axes to the pixels that are known."""
    # known 2D in pixels
    for axis, limit in ((0, axes.set_xlim), (1, axes.set_ylim)):
        used = np.flatnonzero(known.any(axis=axis))
        low, high = (used[0], used[-1]) if len(used) else (0, known.shape[1 - axis] - 1)
        pad = margin * (high - low + 1)
        limit(low - 0.5 - pad, high + 0.5 + pad)


def color_norm(channel, values, column=None):
    """Return how the values of a channel become colors."""
    # values in the unit of the channel; column in cm-2, of the same pixels
    from matplotlib.colors import LogNorm, Normalize

    good = values[np.isfinite(values)]
    if not good.size:
        return Normalize(0, 1)
    if channel == "column_density":
        low, high = np.percentile(good, [1, 99.8])
        return LogNorm(low, max(high, 1.01 * low))
    if channel == "velocity":
        middle = float(mean_velocity(values, column).squeeze())
        half = max(float(np.percentile(np.abs(good - middle), 99)), 1e-3)
        return Normalize(middle - half, middle + half)
    low, high = np.percentile(good, [1, 99])
    return Normalize(low, max(high, low + 1e-3))


def draw_channel(axes, gas, channel="column_density", *, cmap=None, norm=None, colorbar=True):
    """Draw one channel of a map into axes."""
    title, label, colors = _CHANNELS[channel]
    values = getattr(gas, channel).value
    image = axes.imshow(
        values,
        origin="lower",
        cmap=cmap or colors,
        norm=norm or color_norm(channel, values, gas.column_density.value),
        interpolation="nearest",
    )
    axes.set_facecolor("0.85")
    axes.set_title(title, fontsize="medium")
    limit_to(axes, ~gas.mask, margin=0)
    if colorbar:
        axes.figure.colorbar(image, ax=axes, label=label, shrink=0.8, extend="both")
    return image


def draw_scales(axes, gas):
    """Draw a scale bar at the lower left and the beam at the lower right, as far as they are known."""
    area = 0 if gas.wcs is None else central_solid_angle(gas.wcs, gas.shape)
    pixel = np.sqrt(area) * u.rad if area > 0 else None
    if gas.has_pixel_scale or pixel is not None:
        _draw_scale_bar(axes, gas.pixel_scale if gas.has_pixel_scale else pixel)
    if gas.beam is not None and pixel is not None:
        _draw_beam(axes, gas, pixel)


def _draw_scale_bar(axes, pixel):
    """Draw a bar of a round length over about a fifth of the width."""
    from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar

    width = abs(np.subtract(*axes.get_xlim()))
    wanted = 0.22 * width * pixel
    units = _LENGTHS if wanted.unit.is_equivalent(u.pc) else _ANGLES
    label, unit = next((n, one) for n, (one, least) in units.items() if wanted >= least * one)
    wanted = wanted.to_value(unit)
    power = 10.0 ** np.floor(np.log10(wanted))
    length = max(step * power for step in (1, 2, 5) if step * power <= wanted)
    bar = AnchoredSizeBar(
        axes.transData,
        (length * unit / pixel).to_value(u.one),
        f"{length:g}{label}",
        "lower left",
        pad=0.3,
        borderpad=0.5,
        sep=3,
        size_vertical=0.004 * width,
        fill_bar=True,
        label_top=True,
    )
    _behind(bar, axes)


def _draw_beam(axes, gas, pixel):
    """Draw the beam of a map."""
    from matplotlib.offsetbox import AnchoredOffsetbox, AuxTransformBox
    from matplotlib.patches import Ellipse

    major, minor = ((axis / pixel).to_value(u.one) for axis in (gas.beam.major, gas.beam.minor))
    angle = pixel_direction(gas, gas.beam.pa).to_value(u.deg)
    child = AuxTransformBox(axes.transData)
    child.add_artist(Ellipse((0, 0), major, minor, angle=angle, facecolor="0.25", lw=0))
    _behind(AnchoredOffsetbox("lower right", child=child, pad=0.3, borderpad=0.5), axes)


def _behind(box, axes):
    """Give a box a background on which it is seen over any gas, and put it above all else."""
    box.patch.set(facecolor="white", alpha=0.75, linewidth=0)
    box.set_zorder(6)
    axes.add_artist(box)


def map_figure(gas, n=1, *, figure=None, pyplot=True):
    """Return a figure for maps side by side."""
    if figure is not None:
        return figure
    if pyplot:
        from matplotlib.pyplot import figure as make
    else:
        from matplotlib.figure import Figure as make  # noqa: N813
    ny, nx = np.ptp(np.argwhere(~gas.mask), axis=0) + 1
    height = float(np.clip(4.3 * ny / nx + 0.7, 3.2, 9))
    return make(figsize=(5.4 * n, height), layout="constrained")


def plot(
    gas: _Map,
    channel: str | None = None,
    *,
    figure: Figure | None = None,
    cmap: str | Colormap | None = None,
    norm: Normalize | None = None,
    colorbar: bool = True,
) -> Figure:
    """
    Draw the channels of the map side by side, or one of them.

    Parameters
    ----------
    channel : {"column_density", "velocity", "dispersion"}, optional
        The channel; all that the map has by default.
    figure : `~matplotlib.figure.Figure`, optional
        The figure to draw in; a new one by default.
    cmap : str or `~matplotlib.colors.Colormap`, optional
        The colors of ``channel``.
    norm : `~matplotlib.colors.Normalize`, optional
        From values of ``channel`` in cm-2 or km/s to colors; by default logarithmic for column
        densities, and about the mean velocity of the gas for velocities.
    colorbar : bool, optional
        Whether to draw color bars.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        The figure, whose axes are `~astropy.visualization.wcsaxes.WCSAxes` for a map with WCS.
    """
    if channel is not None:
        one_of("channel", channel, gas.channels)
    elif cmap is not None or norm is not None:
        msg = "cmap and norm are those of one channel: give channel="
        raise ValueError(msg)
    channels = gas.channels if channel is None else (channel,)
    figure = map_figure(gas, len(channels), figure=figure)
    grid = figure.add_gridspec(1, len(channels))
    for i, name in enumerate(channels):
        axes = sky_axes(figure, grid[0, i], gas)
        draw_channel(axes, gas, name, cmap=cmap, norm=norm, colorbar=colorbar)
        draw_scales(axes, gas)
    return figure


def html(gas):
    """Return what a notebook shows of a map: a small picture of each channel, and what is known."""
    pictures = []
    for channel in gas.channels:
        values = getattr(gas, channel)
        norm = color_norm(channel, values.value, gas.column_density.value)
        title, _, colors = _CHANNELS[channel]
        caption = f"{title}, {norm.vmin:.3g} to {norm.vmax:.3g} {values.unit:fits}"
        pictures.append(thumbnail(values.value, f"{title}.", caption, cmap=colors, norm=norm))
    center = None
    if gas.wcs is not None:
        middle = gas.wcs.pixel_to_world((gas.shape[1] - 1) / 2, (gas.shape[0] - 1) / 2)
        if np.isfinite(middle.spherical.lon):
            center = f"{middle.to_string('decimal', precision=5)} deg ({middle.frame.name})"
    facts = {
        "pixels": f"{gas.shape[1]} × {gas.shape[0]}",
        "pixel scale": f"{gas.pixel_scale:.4g}" if gas.has_pixel_scale else "unknown",
        "center": center,
        "distance": None if gas.distance is None else f"{gas.distance:.6g}",
        "beam": None if gas.beam is None else str(gas.beam).removeprefix("Beam: "),
        "masked": f"{gas.masked_fraction:.0%}" if gas.masked_fraction else None,
        "flags": ", ".join(gas.flags) or None,
    }
    return f"<div><strong>GasMap</strong><div>{''.join(pictures)}</div>{facts_table(facts)}</div>"
