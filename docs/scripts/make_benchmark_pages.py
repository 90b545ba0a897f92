"""Make the tables and figures of the benchmark's page from what the benchmark wrote.

    astrofractal benchmark MAPS --output docs/research/benchmark --overwrite
    python docs/scripts/make_benchmark_pages.py docs/research/benchmark

writes ``*.rst``, which docs/research/benchmark.rst includes, and ``*.png``. Parts of the benchmark
that were not run are left out. From ``*_segments.fits`` of the study of segments it draws
``segments.png``, the methods on the first cloud, and ``segments_real.png``; from ``flames.ecsv`` of
the study of weights and ``flames_six.ecsv``, the same with six maps of each, ``flames.png``.
"""

import argparse
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import QTable
from matplotlib.figure import Figure

REFERENCE = "contrasts + profiles"
#: The rows of the table on the page, and what they are called there.
ROWS = {
    "default": "**the package's default**",
    "default, untrained network": "the same network, untrained",
    "fractal tokens, symmetrized, + contrasts + profiles": "fractal tokens + hand-made features",
    "fractal tokens, symmetrized": "fractal tokens alone",
    "random tokens, symmetrized": "tokens of the untrained network alone",
    REFERENCE: "hand-made features, **no network**",
    "nested virial masses": "ten nested virial masses, least squares",
    "aperture gas mass, best radius": "gas mass in the best aperture",
    "virial mass, best radius": "virial mass in the best aperture",
    "fractal class token, neighbors (of the paper)": "fractal class token, kNN (the paper)",
}
#: At most six lines in a figure: color and marker of each method.
LINES = {
    "default": ("black", "o"),
    "default, untrained network": ("#009E73", "x"),
    "fractal tokens, symmetrized, + contrasts + profiles": ("#0072B2", "s"),
    "fractal tokens, symmetrized": ("#56B4E9", "^"),
    "random tokens, symmetrized": ("#E69F00", "v"),
    REFERENCE: ("#D55E00", "D"),
}
#: The methods whose scores on degraded maps the page shows.
LIMITS = {
    "default": "default",
    "default, untrained network": "the same network, untrained",
    REFERENCE: "hand-made features, no network",
}
#: The ends of the ranges of log10 of the true mass.
MASSES = (-1.5, -0.5, 0.0, 0.5, 1.0, 1.6)
KINDS = {
    "none": "unchanged",
    "signal-to-noise": "S/N {:g}",
    "beam": "beam {:g} px",
    "pixels": "pixels x {:g}",
    "mask": "{:.0%} masked",
    "off-center": "{:g} px off",
    "largest scale": "largest scale {:g} px",
}


def shown(method):
    """Return what a method of the tables is called on the page."""
    name = str(method).replace(REFERENCE, "hand-made features")
    return name.replace("neighbors (of the paper)", "kNN").replace("neighbors", "kNN")


def condition(level):
    """Return what a kind, a level and channels of degraded maps are called on the page."""
    kind, degree, channels = level
    return KINDS[kind].format(degree) if kind in KINDS else channels.replace("_", " ")


def number(value, error=None):
    """Return a number with its error, with a true minus sign."""
    if not np.isfinite(value):
        return ""
    text = f"{round(value, 2) + 0.0:.2f}"  # no negative zero
    return (text + ("" if error is None else f" ± {error:.2f}")).replace("-", "−")


def value(cell):
    """Return a plain number."""
    return float(getattr(cell, "value", cell))


def list_table(header, rows):
    """Return a table of reStructuredText."""
    lines = [".. list-table::", "    :header-rows: 1", ""]
    for row in [header, *rows]:
        lines += [f"    {'*' if i == 0 else ' '} - {c}".rstrip() for i, c in enumerate(row)]
    return "\n".join(lines) + "\n"


def pick(table, **wanted):
    """Return the rows that have the wanted values."""
    keep = np.ones(len(table), bool)
    for name, cell in wanted.items():
        keep &= np.asarray(table[name]) == cell
    return table[keep]


def summary(tables):
    """Return the table of the page: per protostar first, paired with the hand-made features."""
    scores = pick(tables["scores"], protocol="leave-cloud-out", cloud="all")
    header = ["features", "R2 per protostar", "difference from hand-made", "R2 per map",
              "difference from hand-made", "RMSE per protostar (dex)"]  # fmt: skip
    rows = []
    order = np.argsort(-np.asarray(scores["r2_protostar"]))
    for row in scores[order]:
        name = row["method"]
        if name in ROWS:
            cells = [ROWS[name]]
            pair = pick(tables["paired"], method=name, reference=REFERENCE, cloud="all")
            for score in ("r2_protostar", "r2"):
                cells.append(number(row[score], row[f"{score}_err"]))
                cells += [number(p[score], p[f"{score}_err"]) for p in pair] or [""]
            rows.append([*cells, number(value(row["rmse_protostar"]))])
    meta = scores.meta
    kept = meta["n_per_protostar"]
    text = (
        f"{meta['n_maps']:,} maps of {meta['n_protostars']} protostars in {meta['n_clouds']} clouds, "
        "each cloud predicted by a calibration on the others"
    )
    if kept:
        text += f" (on at most {kept} maps of each protostar, weighted by what they represent)"
    default = pick(scores, method="default")[0]
    text += (
        f". Errors of maps of one protostar are correlated: for the default, the maps are "
        f"equivalent to {default['n_effective']:.0f} independent ones.\n\n"
    )
    return text + list_table(header, rows)


def everything(tables):
    """Return a table of all methods by both protocols."""
    parts = []
    for protocol, title in (
        ("leave-cloud-out", "Whole clouds held out"),
        ("random", "Maps held out at random, as in the paper"),
    ):
        scores = pick(tables["scores"], protocol=protocol, cloud="all")
        if len(scores):
            order = np.argsort(-np.asarray(scores["r2_protostar"]))
            rows = [
                [shown(r["method"]), str(r["regressor"]),
                 *(number(r[k], r[f"{k}_err"]) for k in ("r2_protostar", "r2"))]
                for r in scores[order]
            ]  # fmt: skip
            header = ["method", "regressor", "R2 per protostar", "R2 per map"]
            parts.append(f".. rubric:: {title}\n\n{list_table(header, rows)}")
    for failure in tables["scores"].meta["failed"]:
        parts.append(f"Not in the tables, because it failed: ``{failure}``\n")
    return "\n".join(parts)


def plot_paired(tables):
    """Draw the differences from the hand-made features, all clouds together."""
    pairs = pick(tables["paired"], reference=REFERENCE, cloud="all")
    pairs = pairs[np.asarray(pairs["r2_protostar"]) > -0.5]
    pairs = pairs[np.argsort(pairs["r2_protostar"])]
    figure = Figure(figsize=(8, 0.8 + 0.3 * len(pairs)), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(pairs))
    for shift, score, label, color in (
        (0.12, "r2_protostar", "per protostar", "black"),
        (-0.12, "r2", "per map", "#E69F00"),
    ):
        axes.errorbar(pairs[score], places + shift, xerr=pairs[f"{score}_err"], fmt="o", ms=4,
                      color=color, label=label)  # fmt: skip
    axes.axvline(0, color="gray", lw=1)
    axes.set_yticks(places, [shown(name) for name in pairs["method"]])
    axes.set_xlabel("difference of R$^2$ from hand-made features")
    axes.legend(loc="upper left")
    return figure


def plot_learning(tables):
    """Draw the learning curves in labeled protostars."""
    figure = Figure(figsize=(9.6, 4.8), layout="constrained")
    for axes, maps in zip(figure.subplots(ncols=2, sharey=True), ("one", "all")):
        for name, (color, marker) in LINES.items():
            line = pick(tables["learning"], method=name, maps=maps)
            axes.errorbar(line["n_labels"], line["r2_protostar"], yerr=line["r2_protostar_scatter"],
                          color=color, marker=marker, ms=5, lw=1.2, capsize=2,
                          label=shown(name))  # fmt: skip
        axes.set(
            xscale="log",
            xlabel="labeled protostars",
            title=f"{maps} map{'s' * (maps == 'all')} of each",
        )
        ticks = (4, 8, 16, 32, 64, 128, 413)
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.set_xticks([], minor=True)
        axes.axhline(0, color="gray", lw=0.7)
        axes.set_ylim(-0.6, 0.45)
    figure.axes[0].set_ylabel("R$^2$ per protostar, unseen clouds")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def plot_degradation(tables):
    """Draw the scores on degraded maps."""
    table = tables["degradation"]
    levels = list(dict.fromkeys(zip(table["kind"], table["level"], table["channels"])))
    figure = Figure(figsize=(9.6, 4.8), layout="constrained")
    axes = figure.subplots()
    for name, (color, marker) in LINES.items():
        line = pick(table, method=name)
        found = {(r["kind"], r["level"], r["channels"]): float(r["r2_protostar"]) for r in line}
        axes.plot(range(len(levels)), [found.get(level, np.nan) for level in levels], marker,
                  color=color, ms=7, label=shown(name))  # fmt: skip
    axes.set_xticks(range(len(levels)), [condition(x) for x in levels], rotation=40, ha="right")
    axes.set_ylabel("R$^2$, one map of each protostar")
    axes.axhline(0, color="gray", lw=0.7)
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def plot_predicted(tables):
    """Draw each protostar's mean prediction, with intervals."""
    table = tables["intervals"]
    points = []
    for sink in dict.fromkeys(table["sink"].tolist()):
        own = pick(table, sink=sink)
        points.append([value(np.mean(own[name])) for name in ("log_mass", "predicted", "half_68")])
    true, predicted, half = 10 ** np.transpose(points)
    figure = Figure(figsize=(6, 5.4), layout="constrained")
    axes = figure.subplots()
    bars = [predicted - predicted / half, predicted * half - predicted]
    axes.errorbar(true, predicted, yerr=bars, fmt="o", ms=3, lw=0.4, alpha=0.6, color="#0072B2")
    axes.plot((0.04, 40), (0.04, 40), color="black", lw=1)
    axes.set(xscale="log", yscale="log", xlim=(0.04, 40), ylim=(0.04, 40))
    axes.set(xlabel="true mass (solar masses)", ylabel="estimated mass (solar masses)")
    axes.set_title("one point per protostar, its cloud held out, 68 % intervals")
    return figure


def plot_flames(tables):
    """Draw the lead of weights over hand-made features, and the rank of their tokens."""
    table, six = tables["flames"][1:], tables["flames_six"][1:]
    images = np.maximum(table["images_seen"] / 1000, 380)  # random weights: at the left
    figure = Figure(figsize=(8, 6), layout="constrained")
    lead, rank = figure.subplots(nrows=2, sharex=True, height_ratios=(3, 1))
    lines = [("sharp maps, six of each", six, "clean", "black")]
    names = {"clean": "sharp maps", "sn10": "S/N 10", "beam2": "beam 2 px",
             "beam2_sn10": "beam 2 px, S/N 10", "beam4": "beam 4 px"}  # fmt: skip
    lines += [(label, table, part, f"C{i}") for i, (part, label) in enumerate(names.items())]
    for i, (label, rows, part, color) in enumerate(lines):
        column = f"lead_{part}"
        lead.errorbar(images + 2.5 * (i - 2.5), rows[column], yerr=rows[f"{column}_err"], fmt="o-",
                      color=color, ms=4, lw=1, capsize=2, label=label)  # fmt: skip
    lead.axhline(0, color="gray", lw=1)
    lead.set_ylabel("R$^2$ per protostar, difference\nfrom hand-made features")
    rank.plot(images, table["rank"], "o-", color="black", ms=4, lw=1)
    rank.set(ylim=(0, None), ylabel="effective rank\nof tokens")
    ticks = (380, *range(440, 1001, 80))
    rank.set_xticks(ticks, ["random", *map(str, ticks[1:])])
    rank.set_xlabel("images seen (thousands)")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def _shares(table):
    """Return the weights that give each protostar of a table the same total weight."""
    names = np.char.add(np.char.add(table["cloud"].astype(str), "/"), table["sink"].astype(str))
    _, place, counts = np.unique(names, return_inverse=True, return_counts=True)
    return 1 / counts[place]


def _inside(table, level):
    """Return which masses are within their intervals."""
    return np.abs(table["predicted"] - table["log_mass"]) <= table[f"half_{level}"].value


def limits_clouds(tables):
    """Return the coverage of the intervals in each cloud, per protostar and per map."""
    table = tables["intervals"]
    names = np.unique(table["cloud"])
    rows = []
    for name, part in [("**all**", table), *((name, pick(table, cloud=name)) for name in names)]:
        weights = _shares(part)
        row = [str(name), f"{weights.sum():.0f}", f"{len(part):,}"]
        for level in (68, 90):
            inside = _inside(part, level)
            row += [f"{np.average(inside, weights=weights):.0%}", f"{np.mean(inside):.0%}"]
        rows.append(row)
    header = ["cloud", "protostars", "maps"]
    header += [
        f"inside {level} %, per {unit}" for level in (68, 90) for unit in ("protostar", "map")
    ]
    return list_table(header, rows)


def limits_masses(tables):
    """Return error and coverage in ranges of the true mass, per protostar."""
    table = tables["intervals"]
    header = ["true mass (solar masses)", "maps", "bias (dex)", "RMSE (dex)", "inside 68 %"]
    rows = []
    for low, high in zip(MASSES, MASSES[1:]):
        part = table[(table["log_mass"] >= low) & (table["log_mass"] < high)]
        if not len(part):
            continue
        weights, error = _shares(part), part["predicted"] - part["log_mass"]
        bias, square = (np.average(e, weights=weights) for e in (error, error**2))
        rows.append(
            [f"{10**low:.2g} to {10**high:.2g}", f"{len(part):,}", f"{bias:+.2f}".replace("-", "−"),
             number(np.sqrt(square)), f"{np.average(_inside(part, 68), weights=weights):.0%}"]
        )  # fmt: skip
    return list_table(header, rows)


def limits_maps(tables):
    """Return the scores on degraded maps, one map of each protostar."""
    table = tables["degradation"]
    rows, kinds = [], list(KINDS)
    levels = set(zip(table["kind"], table["level"], table["channels"]))
    for level in sorted(levels, key=lambda x: ((kinds + [x[0]]).index(x[0]), x[1], x[2])):
        part = pick(table, **dict(zip(("kind", "level", "channels"), level)))
        cells = [condition(level) + " only" * (level[0] not in KINDS)]
        for name in LIMITS:
            found = pick(part, method=name)
            cells += [number(r["r2_protostar"], r["r2_protostar_err"]) for r in found] or [""]
        rows.append(cells)
    return list_table(["maps", *LIMITS.values()], rows)


def supervised(tables):
    """Return the scores of networks that were trained end to end, paired on the same maps."""
    header = ["network", "clouds", "seeds", "weights", "R2 per protostar",
              "difference from the default", "R2 per map", "difference from the default"]  # fmt: skip
    rows = []
    for row in tables["supervised_scores"]:
        name = row["method"]
        cells = [str(name).partition(",")[0] if "n^" in name else name, f"{row['n_clouds']}"]
        cells += [f"{row['n_seeds']}", "1/n" if row["weight_exponent"] == 1 else "n\\ :sup:`-1/2`"]
        for score in ("r2_protostar", "r2"):
            for column in (score, f"less_default_{score}"):
                cells.append(number(row[column], row[f"{column}_err"]))
        rows.append(cells)
    return list_table(header, rows)


def plot_segments(panels):
    """Draw column densities, and labels (0: thin gas, -1: none), each cut to the gas, as one picture."""
    n_rows = -(-len(panels) // 4)
    figure = Figure(figsize=(10.4, 2.7 * n_rows))
    axes = figure.subplots(n_rows, 4, squeeze=False)
    for panel in axes.flat:
        panel.axis("off")
    for panel, (title, (column, labels)) in zip(axes.flat, panels.items(), strict=False):
        rows, columns = (slice(part.min(), part.max() + 1) for part in np.nonzero(column > 0))
        if labels is None:
            panel.imshow(np.log10(column)[rows, columns], origin="lower", cmap="gray_r")
        else:
            found = ordered(labels, column)[rows, columns]
            panel.imshow(found, origin="lower", cmap="turbo", interpolation="nearest")
        panel.set_title(title, fontsize=7)
    figure.tight_layout(pad=0.3)
    return figure


def ordered(labels, column):
    """Return labels as numbers in the order of their mean column density, NaN without a label."""
    use = (labels >= 0) & (column > 0)
    found, index = np.unique(labels[use], return_inverse=True)
    order = np.argsort(np.argsort(np.bincount(index, column[use]) / np.bincount(index)))
    picture = np.full(labels.shape, np.nan)
    picture[use] = order[index] if len(found) <= 8 else np.minimum(index, 1)  # leaves, or a mask
    return picture


def segments(paths):
    """Return what `plot_segments` draws, by the name of the figure."""
    figures = {"segments": {}, "segments_real": {}}
    for path in paths:
        name = path.stem.removesuffix("_segments")
        with fits.open(path) as hdus:
            column, *labels = [(hdu.header["TITLE"], hdu.data) for hdu in hdus[1:]]
        real = len(labels) == 1
        panels = figures["segments_real" if real else "segments"]
        if real or not panels:  # one cloud alone
            panels[f"{name}{'' if real else ': column density'}"] = column[1], None
            panels |= {f"{name}: {t}" if real else t: (column[1], image) for t, image in labels}
    return {name: panels for name, panels in figures.items() if panels}


PAGES = {
    "summary": (summary, "paired"),
    "everything": (everything, "scores"),
    "supervised_scores": (supervised, "supervised_scores"),
    "limits_clouds": (limits_clouds, "intervals"),
    "limits_masses": (limits_masses, "intervals"),
    "limits_maps": (limits_maps, "degradation"),
}
FIGURES = {
    "paired": (plot_paired, "paired"),
    "learning": (plot_learning, "learning"),
    "degradation": (plot_degradation, "degradation"),
    "predicted": (plot_predicted, "intervals"),
    "flames": (plot_flames, "flames_six"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where the tables are")
    folder = parser.parse_args().folder
    tables = {path.stem: QTable.read(path) for path in sorted(folder.glob("*.ecsv"))}
    for name, (make, needed) in PAGES.items():
        if needed in tables:
            (folder / f"{name}.rst").write_text(make(tables), encoding="utf-8")
    for name, (plot, needed) in FIGURES.items():
        if needed in tables:
            plot(tables).savefig(folder / f"{name}.png", dpi=120)
    for name, panels in segments(sorted(folder.glob("*_segments.fits"))).items():
        path = folder / f"{name}.png"
        plot_segments(panels).savefig(path, dpi=90, pil_kwargs={"optimize": True})


if __name__ == "__main__":
    main()
