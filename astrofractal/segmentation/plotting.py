"""The picture of a segmentation."""

import numpy as np

from astrofractal._utils.html import facts_table, thumbnail
from astrofractal.gasmap.plotting import (
    color_norm,
    draw_beam,
    draw_channel,
    draw_scale_bar,
    limit_to,
    map_figure,
    sky_axes,
)

__all__ = ["html", "plot_segmentation", "segment_colors"]

# Okabe & Ito's colors, which the color-blind tell apart; without the yellow, which print loses.
_PALETTE = ("#0072B2", "#56B4E9", "#009E73", "#CC79A7", "#E69F00", "#D55E00")


def segment_colors(n_segments):
    """Return one color per segment, from thin gas (blue) to dense gas (orange, red)."""
    chosen = {1: [5], 2: [0, 5], 3: [0, 2, 5], 4: [0, 1, 2, 5], 5: [0, 1, 2, 4, 5], 6: range(6)}
    if n_segments in chosen:
        return [_PALETTE[index] for index in chosen[n_segments]]
    import matplotlib
    from matplotlib.colors import to_hex

    return [to_hex(c) for c in matplotlib.colormaps["cividis"](np.linspace(0, 1, n_segments))]


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
        managed = ax.figure.get_layout_engine() is not None
        ax.figure.legend(
            handles=handles[::-1],
            title="Segment (highest: densest gas)",
            loc="outside lower center" if managed else "lower center",
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


def plot_segmentation(result, *, figure=None, outlines=True, legend=True):
    """Draw the outlines over the column density beside the first three components."""
    gas, labels = result.gas, result.labels.data
    figure = map_figure(gas, 2, figure=figure)
    column = gas.column_density.value
    norm = color_norm("column_density", column[labels > 0] if labels.any() else column)
    left = sky_axes(figure, 121, gas)
    draw_channel(left, gas, cmap="gray_r", norm=norm, scale_bar=False, beam=False)
    left.set_title("Column density and segments", fontsize="medium")
    right = sky_axes(figure, 122, gas)
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
    for axes in (left, right):
        limit_to(axes, labels > 0)
        draw_scale_bar(axes, gas)
        draw_beam(axes, gas)
    return figure


def html(result):
    """
    Return what a notebook shows: pictures of the segments and of the components, and their table.
    """
    from matplotlib.colors import to_rgb

    labels = result.labels.data
    colors = np.array([(np.nan,) * 3, *(to_rgb(color) for color in result.colors)])
    pictures = {"Segments": colors[labels], "Components": result.rgb.data}
    shown = "".join(
        '<figure style="display:inline-block;margin:0 1em 0.5em 0;max-width:180px">'
        f"{thumbnail(values, f'{title}.')}"
        f'<figcaption style="font-size:small">{title}</figcaption></figure>'
        for title, values in pictures.items()
    )
    counts = np.bincount(labels.ravel(), minlength=result.n_segments + 1)
    facts = {"pixels": f"{labels.shape[1]} × {labels.shape[0]}"}
    for number, color in enumerate(result.colors, 1):
        facts[f"segment {number} ({color})"] = f"{counts[number] / labels.size:.1%} of the map"
    return f"<div><strong>Segmentation</strong><div>{shown}</div>{facts_table(facts)}</div>"
