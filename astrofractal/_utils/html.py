"""Pieces of HTML, for notebooks and reports: whatever comes from outside is escaped."""

import base64
import html
import io

import numpy as np

from astrofractal._utils.reading import filled


def facts_table(facts):
    """Return a table of names and values."""
    rows = "".join(
        f'<tr><th scope="row" style="text-align:left">{html.escape(str(name))}</th>'
        f'<td style="text-align:left">{html.escape(str(value))}</td></tr>'
        for name, value in facts.items()
        if value is not None
    )
    return f"<table>{rows}</table>"


def data_table(table, *, marked=None):
    """Return an astropy table as a table that a script may sort."""
    heads, cells = [], []
    for name in table.colnames:
        info = table[name].info
        title = html.escape(str(info.description or ""), quote=True)
        unit = "" if not info.unit else f"<br><small>{html.escape(str(info.unit))}</small>"
        heads.append(f'<th scope="col" title="{title}"><span>{html.escape(name)}</span>{unit}</th>')
        keys, numeric = _sort_keys(table[name])
        shown = [str(text) for text in info.iter_str_vals()]
        make = (marked or {}).get(name, html.escape)
        kind = ' class="number"' if numeric else ""
        cells.append(
            [
                f'<td{kind} data-sort="{html.escape(key, quote=True)}">'
                f"{make(text) if key else '—'}</td>"
                for key, text in zip(keys, shown, strict=True)
            ]
        )
    rows = "".join(f"<tr>{''.join(row)}</tr>" for row in zip(*cells, strict=True))
    return (
        f'<div class="wide"><table class="sortable"><thead><tr>{"".join(heads)}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _sort_keys(column):
    """Return the texts by which a script sorts a column, and whether they are numbers."""
    if hasattr(column, "spherical"):
        values = column.spherical.lon.deg
    elif getattr(column, "dtype", np.dtype(object)).kind in "iuf":
        values = np.asarray(getattr(filled(column, 0), "value", filled(column, 0)), float)
        values = np.where(getattr(column, "mask", False), np.nan, values)
    else:
        return [str(value) or " " for value in column], False
    return ["" if np.isnan(value) else repr(float(value)) for value in values], True


def figure_image(figure, alt, *, dpi=110):
    """Return a figure as an inline image."""
    buffer = io.BytesIO()
    # without the version of matplotlib, so that equal figures are equal images
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return _image(buffer, alt)


def thumbnail(values, alt, caption="", *, cmap=None, norm=None, size=180):
    """Return a small inline image of an array, with a caption."""
    # values (ny, nx, 3)
    import matplotlib
    from matplotlib.image import imsave

    step = max(1, max(values.shape[:2]) // (2 * size))
    values = values[::step, ::step]
    if values.ndim == 2:
        colors = matplotlib.colormaps[cmap].with_extremes(bad="0.85")
        values = colors(norm(np.ma.masked_invalid(values)))
    else:
        values = np.where(np.isfinite(values), values, 0.85)
    buffer = io.BytesIO()
    imsave(buffer, np.ascontiguousarray(values[..., :3]), format="png", origin="lower")
    ny, nx = values.shape[:2]
    width, height = (max(1, round(n * size / max(nx, ny))) for n in (nx, ny))
    picture = _image(buffer, alt, f' width="{width}" height="{height}"')
    return (
        f'<figure style="display:inline-block;margin:0 1em 0.5em 0;max-width:{size}px">'
        f'{picture}<figcaption style="font-size:small">{caption}</figcaption></figure>'
    )


def _image(buffer, alt, more=""):
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="{html.escape(alt, quote=True)}"{more} src="data:image/png;base64,{data}">'
