"""A result as one page: pictures, tables, what they mean and what they come from."""

from __future__ import annotations

import base64
import hashlib
import html
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from astropy.table import QTable, Table

from astrofractal._utils.annotations import PathLike
from astrofractal._utils.atomic import atomic_path
from astrofractal._utils.html import data_table, facts_table, figure_image
from astrofractal.catalogs.columns import channel_code, verdict
from astrofractal.flags import FLAGS
from astrofractal.gasmap import GasMap
from astrofractal.gasmap.plotting import map_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from astrofractal.mass import StellarMassEstimator
    from astrofractal.segmentation import Segmentation

_PACKAGES = ("astrofractal", "astropy", "numpy", "photutils", "scikit-learn", "timm", "torch")
_MEASURES = {
    "r2": "R² of log mass, each map alike",
    "r2_protostar": "R² of log mass, each protostar alike",
    "rmse": "root-mean-square error [dex], each map alike",
    "rmse_protostar": "root-mean-square error [dex], each protostar alike",
    "coverage_68_protostar": "part of the true masses in their 68 % interval",
    "coverage_90_protostar": "part of the true masses in their 90 % interval",
    "coverage_68_thirds": "the same by the thirds of the estimated mass, 68 %",
    "bias_thirds": "bias by the thirds of the estimated mass [dex]",
    "n_protostars": "protostars",
    "n_clouds": "clouds, each left out in turn",
    "n_maps": "maps of them",
}

_WHY = (
    "Above: the change of log M where a patch of a channel has the mean of its surroundings. Below: the "
    "reference protostars that look most alike, and their true masses."
)


def check_page(path):
    """Raise an error if a page cannot have that name."""
    if Path(path).suffix.lower() not in (".html", ".htm"):
        msg = f"path must end in .html or .htm, got {str(path)!r}"
        raise ValueError(msg)


def write_report(
    path: PathLike,
    *,
    catalog: QTable | None = None,
    segmentation: Segmentation | None = None,
    maps: GasMap | Sequence[GasMap] = (),
    estimator: StellarMassEstimator | Sequence[StellarMassEstimator] = (),
    explanations: Iterable[Figure] = (),
    command: str | None = None,
    title: str | None = None,
    overwrite: bool = False,
) -> None:
    """
    Write a result as one page for the browser, in one file that loads nothing else.

    It has pictures, tables that can be sorted, the meaning of each flag, the calibration and its
    scores on unseen clouds, versions and fingerprints.

    Parameters
    ----------
    path : path-like
        The file, ``.html``.
    catalog : `~astropy.table.QTable`, optional
        What `~astrofractal.StellarMassEstimator.catalog` returned.
    segmentation : `~astrofractal.segmentation.Segmentation`, optional
        What `~astrofractal.FeatureSegmenter.segment` returned.
    maps : `~astrofractal.GasMap` or sequence of these, optional
        The maps of the catalog; by default that of the segmentation.
    estimator : `~astrofractal.StellarMassEstimator` or sequence of these, optional
        What estimated the masses; the calibrations that were used are described.
    explanations : iterable of `~matplotlib.figure.Figure`, optional
        Figures of `~astrofractal.mass.plot_explanation`.
    command : str, optional
        The command that made the result.
    title : str, optional
        The title; by default what is in the page.
    overwrite : bool, optional
        Whether an existing file may be replaced.

    Raises
    ------
    ValueError
        If there is neither a catalog nor a segmentation, or ``path`` has another suffix.
    FileExistsError
        If the file exists and ``overwrite`` is `False`.
    """
    check_page(path)
    if catalog is None and segmentation is None:
        msg = "a report needs a catalog or a segmentation, got neither"
        raise ValueError(msg)
    maps = [maps] if isinstance(maps, GasMap) else list(maps)
    if not maps and segmentation is not None:
        maps = [segmentation.gas]
    parts = [] if catalog is None else [*_masses(catalog, maps)]
    why = [figure_image(figure, _WHY) for figure in explanations]
    parts += ["<h2>Why these masses</h2>", *why] if why else []
    if segmentation is not None:
        parts += _segments(segmentation)
    parts += [_channels(gas) for gas in maps]
    parts.append(_flags(catalog, maps))
    if catalog is not None:
        several = estimator if isinstance(estimator, list | tuple) else [estimator]
        parts += [_calibration(catalog, one) for one in dict.fromkeys(several)]
    parts.append(_origin(catalog, segmentation, command))
    if title is None:
        have = {"masses of protostars": catalog, "segments of the gas": segmentation}
        title = " and ".join(name for name, own in have.items() if own is not None).capitalize()
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    footer = f"Made by astrofractal {html.escape(version('astrofractal'))}, {now}."
    page = _page(title, "\n".join(part for part in parts if part), footer)
    with atomic_path(path, overwrite=overwrite) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _page(title, body, footer):
    """Return a page that needs nothing else, and that its browser lets load nothing else."""
    folder = files("astrofractal.report")
    style, script = ((folder / f"page.{kind}").read_text("utf-8") for kind in ("css", "js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    title = html.escape(title)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        f"{body}\n<footer>{footer}</footer>\n<script>{script}</script>\n</body>\n</html>\n"
    )


def _masses(catalog, maps):
    """Pictures, the table, and what an interval is."""
    from matplotlib.figure import Figure

    from astrofractal.catalogs.plotting import plot_catalog, plot_intervals

    pictures = [
        figure_image(
            plot_catalog(catalog, gas, figure=map_figure(gas, pyplot=False)),
            "The protostars on the column density; their colors are their masses.",
        )
        for gas in maps
    ]
    if len(catalog):
        height = min(max(0.26 * len(catalog) + 1.3, 2.2), 14)
        figure = Figure(figsize=(5.4, height), layout="constrained")
        plot_intervals(catalog, axes=figure.add_subplot())
        pictures.append(figure_image(figure, "The masses with their intervals."))
    yield f'<div class="pictures">{"".join(pictures)}</div>'
    yield f"<h2>Masses of {len(catalog)} protostars</h2>"
    yield data_table(catalog, marked={"flags": _links})
    yield f"<p><strong>{html.escape(verdict(catalog)[0])}</strong></p>"
    if "matched" in catalog.meta:
        yield f"<p>Matched calibration: {html.escape(str(catalog.meta['matched']))}.</p>"
    level = catalog.meta.get("level")
    if level is not None:
        yield (
            f"<p>An interval contains the true mass with a probability of {100 * level:.3g} %, for a "
            "cloud that resembles the reference clouds. A score (<code>ood_score</code>) above 1 marks "
            "a map that is unlike all reference maps: do not trust its mass and interval.</p>"
        )


def _links(text):
    """Link flags to what they mean."""
    return ", ".join(
        f'<a href="#flag-{name}">{name}</a>' if name in FLAGS else html.escape(name)
        for name in text.split(",")
    )


def _segments(segmentation):
    """Return the picture and the tables of a segmentation."""
    figure = segmentation.plot(figure=map_figure(segmentation.gas, 3, pyplot=False))
    caption = "Column density, segments, and principal components of the tokens as colors."
    yield f'<div class="wide">{figure_image(figure, caption)}</div>'
    for heading, table in (
        (f"{segmentation.n_segments} segments, from thin to dense gas", segmentation.table),
        (f"{len(segmentation.island_segments)} connected islands", segmentation.island_table),
        ("Rank correlations of the components, from -1 to 1", segmentation.correlations),
    ):
        yield f"<h2>{heading}</h2>{data_table(table)}"


def _channels(gas):
    """Return the pictures and the facts of a map."""
    pictures = [
        figure_image(
            gas.plot(name, figure=map_figure(gas, pyplot=False)), f"{name}.".replace("_", " ")
        )
        for name in gas.channels
    ]
    facts = {
        "map": repr(gas),
        "distance": None if gas.distance is None else f"{gas.distance:.6g}",
        "beam": None if gas.beam is None else str(gas.beam),
        "fingerprint": gas.fingerprint(),
        **{name: value for name, value in gas.meta.items() if isinstance(value, str | int | float)},
    }
    return f'<h2>The map</h2><div class="pictures">{"".join(pictures)}</div>{facts_table(facts)}'


def _flags(catalog, maps):
    """Return what each flag that is there means, and how often it is."""
    found = [name for gas in maps for name in gas.flags]
    if catalog is not None and "flags" in catalog.colnames:
        found += [name for text in catalog["flags"] for name in str(text).split(",") if name]
    if not found:
        return "" if catalog is None else "<h2>Flags</h2><p>None is set.</p>"
    rows = [
        (name, found.count(name), flag.description, flag.remedy)
        for name, flag in FLAGS.items()
        if name in found
    ]
    table = Table(rows=rows, names=("flag", "times", "meaning", "what to do"))
    shown = data_table(table, marked={"flag": '<span id="flag-{0}">{0}</span>'.format})
    return f'<h2>Flags</h2><div class="text">{shown}</div>'


def _calibration(catalog, estimator):
    """Return how well the calibrations that were used do on clouds that they have not seen."""
    used = {channel_code(c): one for c, one in estimator.calibrations_.items()}
    if "channels" in catalog.colnames:
        used = {code: one for code, one in used.items() if code in set(catalog["channels"])} or used
    table = Table({"on clouds that were left out": list(_MEASURES.values())})
    for code, one in used.items():
        table[code] = [_number(one.skill_.get(name)) for name in _MEASURES]
    options = {
        code: f"{one.features!r}; regressor {one.regressor!r}; weight exponent {one.weight_exponent:g}"
        for code, one in used.items()
    }
    return (
        "<h2>Calibration</h2><p>Each reference cloud was left out in turn, and its masses were "
        "estimated by a calibration on the others. N is the column density, v the velocity, sigma "
        f"its dispersion.</p>{data_table(table)}{facts_table(options)}"
    )


def _number(value):
    if isinstance(value, list | tuple):
        return ", ".join(_number(one) for one in value)
    return "—" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)


def _origin(catalog, segmentation, command):
    """Return what the result comes from."""
    parts = ["<h2>Where this comes from</h2>"]
    if command is not None:
        parts.append(f"<pre><code>{html.escape(command)}</code></pre>")
    for heading, result in (("Masses", catalog), ("Segments", segmentation)):
        meta = {} if result is None else result.meta
        known = {key: value for key, value in meta.items() if not key.startswith("_")}
        if known:
            parts.append(f"<h3>{heading}</h3>{facts_table(known)}")
    versions = {"Python": sys.version.split()[0]} | {name: version(name) for name in _PACKAGES}
    parts.append(f"<h3>Versions</h3>{facts_table(versions)}")
    return "".join(parts)
