"""The picture of a segmentation."""

import numpy as np

from astrofractal._utils.html import facts_table, thumbnail
from astrofractal.gasmap import plotting


def segment_colors(n_segments):
    """Return one color per segment, from thin gas (blue) to dense gas (dark red)."""
    import matplotlib
    from matplotlib.colors import to_hex

    places = [0.8] if n_segments == 1 else np.linspace(0.06, 0.97, n_segments)
    return [to_hex(color).upper() for color in matplotlib.colormaps["turbo"](places)]


def segment_image(result):
    """Return the labels as colors (height, width, 4), transparent where there is no gas."""
    from matplotlib.colors import to_rgba

    colors = [(0, 0, 0, 0), *(to_rgba(color) for color in result.colors)]
    return np.array(colors)[result.labels.data]


def color_image(rgb):
    """Return colors (height, width, 3) with transparency where they are unknown."""
    known = np.isfinite(rgb).all(-1, keepdims=True)
    return np.concatenate([np.nan_to_num(rgb), known], axis=-1)


def draw_outlines(axes, result, segments):
    """Draw the outlines of some segments over a map."""
    from matplotlib.collections import LineCollection
    from matplotlib.patheffects import Normal, Stroke

    for segment in segments:
        lines = [
            np.concatenate([ring, ring[:1]])
            for outline, own in zip(result.outlines, result.island_segments, strict=True)
            if own == segment
            for ring in outline
        ]
        collection = LineCollection(
            lines,
            colors=result.colors[segment - 1],
            linewidths=0.9,
            path_effects=[Stroke(linewidth=1.8, foreground="white"), Normal()],
            zorder=2 + segment / 100,
        )
        axes.add_collection(collection, autolim=False)


def draw_segments(axes, result):
    """Draw the segments as colored areas, with a legend of their numbers and characters."""
    from matplotlib.patches import Patch

    axes.set_facecolor("white")
    axes.imshow(segment_image(result), origin="lower", interpolation="nearest")
    table = result.table
    handles = [
        Patch(color=result.colors[label - 1], label=f"{label}  {character}")
        for label, character in zip(table["label"], table["character"], strict=True)
    ]
    managed = axes.figure.get_layout_engine() is not None
    axes.figure.legend(
        handles=handles[::-1],
        title="Segments, from dense to thin gas",
        loc="outside lower center" if managed else "lower center",
        ncols=4,
        fontsize="small",
        frameon=False,
    )
    axes.set_title("Segments", fontsize="medium")


def draw_rgb(axes, result):
    """Draw principal components of the tokens as red, green and blue."""
    axes.set_facecolor("white")
    axes.imshow(color_image(result.rgb.data), origin="lower", interpolation="nearest")
    axes.set_title("Principal components of the tokens as colors", fontsize="medium")


def plot_segmentation(result, *, figure=None):
    """Draw the column density, the segments, and principal components of the tokens."""
    gas, labels = result.gas, result.labels.data
    figure = plotting.map_figure(gas, 3, figure=figure)
    column = gas.column_density.value
    norm = plotting.color_norm("column_density", column[labels > 0] if labels.any() else column)
    panels = [plotting.sky_axes(figure, 131 + number, gas) for number in range(3)]
    plotting.draw_channel(panels[0], gas, cmap="gray_r", norm=norm, colorbar=False)
    n = result.n_segments  # the densest third is outlined
    draw_outlines(panels[0], result, range(n - n // 3 + 1, n + 1))
    draw_segments(panels[1], result)
    draw_rgb(panels[2], result)
    for axes in panels:
        plotting.limit_to(axes, labels > 0)
    plotting.draw_scales(panels[0], gas)
    for axes in panels[1:]:
        if gas.wcs is not None:
            axes.coords[1].set_ticklabel_visible(False)
            axes.coords[1].set_axislabel("")
        else:
            axes.set_ylabel("")
    return figure


def html(result):
    """Return what a notebook shows: pictures of segments and components, and a table."""
    labels = result.labels.data
    pictures = {"Segments": segment_image(result)[..., :3], "Components": result.rgb.data}
    pictures["Segments"][labels == 0] = np.nan
    shown = "".join(thumbnail(values, f"{name}.", name) for name, values in pictures.items())
    counts = np.bincount(labels.ravel(), minlength=result.n_segments + 1)
    facts = {"pixels": f"{labels.shape[1]} × {labels.shape[0]}"}
    for number, color in enumerate(result.colors, 1):
        facts[f"segment {number} ({color})"] = f"{counts[number] / labels.size:.1%} of the map"
    return f"<div><strong>Segmentation</strong><div>{shown}</div>{facts_table(facts)}</div>"
