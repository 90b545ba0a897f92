"""The picture of a segmentation."""

import numpy as np
from astropy import units as u

__all__ = ["plot_segmentation", "segment_colors"]

# Okabe & Ito's colors, which the color-blind tell apart; without the yellow, which print loses.
_PALETTE = ("#0072B2", "#56B4E9", "#009E73", "#CC79A7", "#E69F00", "#D55E00")


def segment_colors(n_segments):
    """
    Return one color per segment, from thin gas (blue) to dense gas (orange, red).

    Parameters
    ----------
    n_segments : int
        The number of segments.

    Returns
    -------
    colors : list of str
        Hexadecimal colors: Okabe & Ito's for up to six segments, matplotlib's ``cividis`` for
        more.
    """
    chosen = {1: [5], 2: [0, 5], 3: [0, 2, 5], 4: [0, 1, 2, 5], 5: [0, 1, 2, 4, 5], 6: range(6)}
    if n_segments in chosen:
        return [_PALETTE[index] for index in chosen[n_segments]]
    import matplotlib
    from matplotlib.colors import to_hex

    return [to_hex(c) for c in matplotlib.colormaps["cividis"](np.linspace(0, 1, n_segments))]


def _axes(figure, position, gas):
    if gas.wcs is None:
        ax = figure.add_subplot(position)
        ax.set_xlabel("x [pixel]")
        ax.set_ylabel("y [pixel]")
        return ax
    ax = figure.add_subplot(position, projection=gas.wcs)
    names = [str(ctype)[:4].strip("-") for ctype in gas.wcs.wcs.ctype]
    known = {
        "RA": "Right ascension",
        "DEC": "Declination",
        "GLON": "Galactic longitude",
        "GLAT": "Galactic latitude",
    }
    for coord, name in zip(ax.coords, names, strict=True):
        coord.set_axislabel(known.get(name, name))
        coord.set_ticklabel(exclude_overlapping=True)
    return ax


def _crop(labels, margin=0.02):
    """Limits of the axes around the labeled pixels."""
    limits = []
    for axis in (0, 1):
        used = np.flatnonzero(labels.any(axis=axis))
        low, high = (used[0], used[-1]) if len(used) else (0, labels.shape[1 - axis] - 1)
        pad = margin * (high - low + 1)
        limits.append((low - 0.5 - pad, high + 0.5 + pad))
    return limits


def _outline(ax, outlines, segments, colors, legend):
    from matplotlib.collections import LineCollection
    from matplotlib.lines import Line2D
    from matplotlib.patheffects import Normal, Stroke

    handles = []
    for segment in sorted(set(segments)):
        lines = [
            np.concatenate([ring, ring[:1]])
            for outline, own in zip(outlines, segments, strict=True)
            if own == segment
            for ring in outline
        ]
        ax.add_collection(
            LineCollection(
                lines,
                colors=colors[segment - 1],
                linewidths=1.1,
                path_effects=[Stroke(linewidth=2.2, foreground="white"), Normal()],
                zorder=2 + segment / 100,
            ),
            autolim=False,
        )
        handles.append(Line2D([], [], color=colors[segment - 1], label=f"{segment}"))
    if legend and handles:
        ax.figure.legend(
            handles=handles[::-1],
            title="Segment (highest: densest gas)",
            loc="lower center",
            ncols=min(len(handles), 8),
            frameon=False,
        )


def _numbers(ax, islands, segments, colors):
    """Write the number of each segment into its largest island, for print without colors."""
    from matplotlib.patheffects import Normal, Stroke
    from scipy.ndimage import distance_transform_edt, find_objects

    sizes = np.bincount(islands.ravel(), minlength=len(segments) + 1)
    boxes = find_objects(islands)
    for segment in sorted(set(segments)):
        own = np.flatnonzero(segments == segment) + 1
        largest = own[sizes[own].argmax()]
        box = boxes[largest - 1]
        depth = distance_transform_edt(np.pad(islands[box] == largest, 1))[1:-1, 1:-1]
        y, x = np.unravel_index(depth.argmax(), depth.shape)
        ax.annotate(
            f"{segment}",
            (x + box[1].start, y + box[0].start),
            ha="center",
            va="center",
            color=colors[segment - 1],
            weight="bold",
            path_effects=[Stroke(linewidth=3, foreground="white"), Normal()],
            zorder=4,
        )


def _scale_bar(ax, gas, limits):
    """Draw a bar of a round length over about a fifth of the width."""
    try:
        scale = gas.pixel_scale.to_value(u.pc)
    except ValueError:
        return
    width = limits[0][1] - limits[0][0]
    wanted = 0.22 * width * scale
    power = 10.0 ** np.floor(np.log10(wanted))
    length = max(step * power for step in (1, 2, 5) if step * power <= wanted)
    x0 = limits[0][0] + 0.05 * width
    y0 = limits[1][0] + 0.05 * (limits[1][1] - limits[1][0])
    from matplotlib.patheffects import Normal, Stroke

    halo = [Stroke(linewidth=4, foreground="white"), Normal()]
    ax.plot([x0, x0 + length / scale], [y0, y0], color="black", lw=2, path_effects=halo, zorder=5)
    ax.annotate(
        f"{length:g} pc",
        (x0 + length / scale / 2, y0),
        xytext=(0, 4),
        textcoords="offset points",
        ha="center",
        path_effects=[Stroke(linewidth=2.5, foreground="white"), Normal()],
        zorder=5,
    )


def plot_segmentation(result, *, figure=None, outlines=True, legend=True):
    """
    Draw the outlines over the column density beside the first three components.

    Parameters
    ----------
    result : `~astrofractal.segmentation.Segmentation`
        The segmentation.

    figure : `~matplotlib.figure.Figure`, optional
        The figure to draw in; a new one by default.

    outlines, legend : bool, optional
        Whether to draw them.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        The figure.
    """
    from matplotlib.colors import LogNorm

    gas, labels = result.gas, result.labels.data
    limits = _crop(labels)
    if figure is None:
        from matplotlib import pyplot as plt

        aspect = (limits[1][1] - limits[1][0]) / (limits[0][1] - limits[0][0])
        height = float(np.clip(5.2 * aspect + 1.0, 4.2, 9))
        figure = plt.figure(figsize=(12.5, height), layout="constrained")
    column = gas.column_density.value
    shown = column[labels > 0] if (labels > 0).any() else column[np.isfinite(column)]
    low, high = np.percentile(shown, [1, 99.8])
    left = _axes(figure, 121, gas)
    image = left.imshow(
        column,
        origin="lower",
        cmap="gray_r",
        norm=LogNorm(low, max(high, low * 1.01)),
        interpolation="nearest",
    )
    figure.colorbar(
        image, ax=left, label=r"$N(\mathrm{H}_2)$ [cm$^{-2}$]", shrink=0.8, extend="both"
    )
    left.set_title("Column density and segments", fontsize="medium")
    right = _axes(figure, 122, gas)
    right.set_facecolor("0.85")
    rgb = result.rgb.data
    opaque = np.isfinite(rgb).all(-1, keepdims=True)
    right.imshow(
        np.concatenate([np.nan_to_num(rgb), opaque], axis=-1),
        origin="lower",
        interpolation="nearest",
    )
    ratios = ", ".join(f"{ratio:.0%}" for ratio in result.explained_variance_ratio[:3])
    right.set_title(
        f"Components as red, green, blue\n({ratios} of the variance)", fontsize="medium"
    )
    if outlines:
        _outline(left, result.outlines, result.island_segments, result.colors, legend)
        _numbers(left, result.islands.data, result.island_segments, result.colors)
    for ax in (left, right):
        ax.set_xlim(limits[0])
        ax.set_ylim(limits[1])
    _scale_bar(left, gas, limits)
    _scale_bar(right, gas, limits)
    return figure
