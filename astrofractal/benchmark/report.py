"""Pages and figures of a benchmark: what the documentation includes."""

from pathlib import Path

import numpy as np

from astrofractal.benchmark.protocols import PROTOCOLS

__all__ = ["headline", "rst_table", "write_report"]

_FULL = "column_density+velocity+dispersion"

_TITLES = {
    "leave-cloud-out": "Leave-cloud-out: the headline",
    "leave-sinks-out": "Leave-sinks-out",
    "random": "Random split",
}


def rst_table(header, rows):
    """
    Format a table in reStructuredText.

    Parameters
    ----------
    header : list of str
        The titles of the columns.

    rows : list of list of str
        The cells.

    Returns
    -------
    text : str
        A simple list-table.
    """
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in [header, *rows]:
        lines += [f"   {'*' if i == 0 else ' '} - {cell}" for i, cell in enumerate(row)]
    return "\n".join(lines) + "\n"


def _number(value, error=None, digits=2):
    if not np.isfinite(value):
        return "—"
    text = f"{value:.{digits}f}".replace("-", "−")
    if error is not None and np.isfinite(error):
        text += f" ± {error:.{digits}f}"
    return text


def _features(row):
    # Unescaped, name@4x would be taken for an address of electronic mail.
    return str(row["features"]).replace("+", " + ").replace("@", "\\@")


def headline(benchmark):
    """
    Say the result in one paragraph.

    Parameters
    ----------
    benchmark : `~astrofractal.benchmark.Benchmark`
        After its run.

    Returns
    -------
    text : str
        In reStructuredText.
    """
    scores = _all_labels(benchmark)
    cloud = scores[scores["protocol"] == "leave-cloud-out"]
    full = cloud[cloud["channels"] == _FULL]
    default = full[full["method"] == "default"][0]
    others = full[full["method"] != "default"]
    best = others[np.argmax(others["r2"])]
    meta = benchmark.meta
    return (
        f"{meta['n_maps']} maps of {meta['n_sinks']} protostars in {meta['n_clouds']} clouds, "
        f"weights ``{meta['weights_id']}``, version {meta['version']}, seed "
        f"{meta['random_state']}{', a quick run on a part of the maps' if meta['quick'] else ''}; "
        f"{meta.get('minutes', np.nan):.0f} minutes. On a cloud that the calibration has not seen "
        f"the default reaches R\\ :sup:`2` = {_number(default['r2'], default['r2_err'])} and "
        f"{default['rmse'].value:.2f} dex; its 68 % and 90 % intervals hold "
        f"{100 * default['coverage_68']:.0f} % and {100 * default['coverage_90']:.0f} % of the "
        f"masses. The best of all the others is {best['method']} ({_features(best)}, "
        f"{best['regressor']}) with {_number(best['r2'], best['r2_err'])}.\n"
    )


def _all_labels(benchmark):
    """Return the scores without those of the learning curves, which stand last."""
    scores = benchmark.scores
    return scores[: len(scores) - len(benchmark.learning)]


def _scores_page(benchmark):
    scores = _all_labels(benchmark)
    parts = [".. The output of ``astrofractal benchmark``; not edited by hand.\n"]
    parts.append(headline(benchmark))
    header = ["method", "features", "regressor", "R\\ :sup:`2`", "RMSE (dex)",
              "median \\|error\\|", "68 %", "90 %"]  # fmt: skip
    for protocol in reversed(PROTOCOLS):
        rows = scores[scores["protocol"] == protocol]
        full = rows[rows["channels"] == _FULL]
        if len(full) == 0:
            continue
        parts.append(f".. rubric:: {_TITLES[protocol]}\n")
        order = np.argsort(-full["r2"], kind="stable")
        parts.append(rst_table(header, [_cells(full[i]) for i in order]))
    fewer = scores[scores["channels"] != _FULL]
    if len(fewer):
        parts.append(".. rubric:: Fewer channels, leave-cloud-out\n")
        rows = [[str(row["channels"]).replace("+", " + "), *_cells(row)] for row in fewer]
        parts.append(rst_table(["channels", *header], rows))
    epochs = {k: v for k, v in benchmark.notes.items() if k.startswith("epochs of")}
    for name, values in epochs.items():
        parts.append(
            f"The {name.removeprefix('epochs of ')} was trained for {min(values):g} to "
            f"{max(values):g} epochs, with augmentation, a cosine schedule and early stopping on a "
            "validation set; more time may improve it.\n"
        )
    for failure in benchmark.notes.get("failed", []):
        parts.append(f"Not in the tables, because it failed: ``{failure}``\n")
    return "\n".join(parts)


def _cells(row):
    return [
        str(row["method"]),
        _features(row),
        str(row["regressor"]),
        _number(row["r2"], row["r2_err"]),
        _number(row["rmse"].value, row["rmse_err"].value),
        _number(row["median_absolute_error"].value),
        _number(row["coverage_68"]),
        _number(row["coverage_90"]),
    ]


def _learning_page(benchmark):
    table = benchmark.learning
    rows = [
        [str(r["channels"]).replace("+", " + "), str(r["method"]),
         _features(r), str(r["regressor"]), str(r["n_labels"]),
         _number(r["r2"], r["r2_err"]), _number(r["rmse"].value)]
        for r in table
    ]  # fmt: skip
    header = ["channels", "method", "features", "regressor", "labeled maps", "R\\ :sup:`2`",
              "RMSE (dex)"]  # fmt: skip
    return rst_table(header, rows)


def _symmetry_page(benchmark):
    rows = [
        [str(r["method"]), str(r["pooling"]), str(r["regressor"]), str(r["n_views"]),
         _number(r["r2"], r["r2_err"]), _number(r["rmse"]), _number(r["encode_time"].value, digits=0)]
        for r in benchmark.symmetry
    ]  # fmt: skip
    header = ["encoder", "pooling", "regressor", "views", "R\\ :sup:`2`", "RMSE (dex)",
              "forward passes (s)"]  # fmt: skip
    return rst_table(header, rows)


def _degradation_page(benchmark):
    table = benchmark.degradation
    rows = [
        [str(r["kind"]), f"{r['level']:g}", str(r["method"]), "yes" if r["matched"] else "no",
         _number(r["r2"], r["r2_err"]), _number(r["rmse"])]
        for r in table
    ]  # fmt: skip
    header = ["what", "level", "method", "matched", "R\\ :sup:`2`", "RMSE (dex)"]
    return rst_table(header, rows)


def _mass_page(benchmark):
    rows = [
        [f"{r['log_mass_min']:g} to {r['log_mass_max']:g}".replace("-", "−"), str(r["n_maps"]),
         _number(r["bias"]), _number(r["rmse"]), _number(r["coverage_68"])]
        for r in benchmark.mass_ranges
    ]  # fmt: skip
    return rst_table(["log10 M", "maps", "bias (dex)", "RMSE (dex)", "68 %"], rows)


def write_report(benchmark, folder):
    """
    Write the pages and figures.

    Parameters
    ----------
    benchmark : `~astrofractal.benchmark.Benchmark`
        After its run.

    folder : path-like
        An existing folder.
    """
    folder = Path(folder)
    pages = {"scores": _scores_page(benchmark)}
    if len(benchmark.learning):
        pages["learning"] = _learning_page(benchmark)
    if len(benchmark.degradation):
        pages["degradation"] = _degradation_page(benchmark)
    if len(benchmark.symmetry):
        pages["symmetry"] = _symmetry_page(benchmark)
    if len(benchmark.mass_ranges):
        pages["mass_ranges"] = _mass_page(benchmark)
    for name, text in pages.items():
        (folder / f"{name}.rst").write_text(text, encoding="utf-8")
    figures = {"predicted": _plot_predicted, "coverage": _plot_coverage}
    if len(benchmark.learning):
        figures["learning"] = _plot_learning
    if len(benchmark.degradation):
        figures["degradation"] = _plot_degradation
    for name, plot in figures.items():
        figure = plot(benchmark)
        figure.savefig(folder / f"{name}.png", dpi=150)


def _figure(width=6.4, height=4.8, **options):
    # Without pyplot: no display is asked for and no figure stays open.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(**options)


def _plot_predicted(benchmark):
    table = benchmark.predictions
    figure, axes = _figure(6.0, 5.4)
    clouds = sorted(set(table["cloud"].tolist()))
    for cloud in clouds:
        rows = table[table["cloud"] == cloud]
        # One mean point a protostar: its maps are near-copies of one another.
        points = []
        for sink in sorted(set(rows["sink"].tolist())):
            own = rows[rows["sink"] == sink]
            points.append([np.mean(own[c]) for c in ("log_mass", "predicted", "half_68")])
        true, predicted, half = 10 ** np.transpose(points)
        bars = [predicted - predicted / half, predicted * half - predicted]
        axes.errorbar(
            true, predicted, yerr=bars, fmt="o", ms=4, lw=0.5, alpha=0.7, label=cloud
        )  # fmt: skip
    limits = (0.04, 40)
    axes.plot(limits, limits, color="black", lw=1)
    axes.set(xscale="log", yscale="log", xlim=limits, ylim=limits)
    axes.set_xlabel("true mass (solar masses)")
    axes.set_ylabel("predicted mass (solar masses)")
    axes.set_title("each cloud predicted by the others, with 68 % intervals")
    axes.legend(fontsize="small")
    return figure


def _plot_coverage(benchmark):
    table = benchmark.predictions
    figure, axes = _figure(5.0, 4.6)
    clouds = sorted(set(table["cloud"].tolist()))
    for level, column in ((0.68, "half_68"), (0.9, "half_90")):
        inside = np.abs(table["predicted"] - table["log_mass"]) <= table[column]
        values = [np.mean(inside[table["cloud"] == cloud]) for cloud in clouds]
        line = axes.plot(range(len(clouds)), values, "o", label=f"{100 * level:.0f} % intervals")
        axes.axhline(level, color=line[0].get_color(), lw=1)
    axes.set_xticks(range(len(clouds)), clouds, rotation=45)
    axes.set(ylim=(0, 1.02), ylabel="part of the masses inside", title="coverage on unseen clouds")
    axes.legend()
    return figure


def _plain_ticks(axes, values):
    """Mark the values that were measured, as plain numbers."""
    ticks = sorted(set(np.asarray(values).tolist()))
    axes.set_xticks(ticks, [f"{tick:,g}" for tick in ticks])
    axes.set_xticks([], minor=True)


def _plot_learning(benchmark):
    table = benchmark.learning
    channels = sorted(set(table["channels"].tolist()), key=len, reverse=True)
    figure, axes = _figure(
        5.2 * max(len(channels), 1.2), 7.6, ncols=len(channels), sharey=True, squeeze=False
    )
    colors, markers = {}, {}
    for panel, wanted in zip(axes[0], channels):
        rows = table[table["channels"] == wanted]
        keys = zip(*(rows[key].tolist() for key in ("method", "features", "regressor")))
        for method, features, regressor in dict.fromkeys(keys):
            keep = (rows["method"] == method) & (rows["features"] == features)
            line = rows[keep & (rows["regressor"] == regressor)]
            # An encoder and its random twin look the same but for the dashes.
            kind = (method.removeprefix("fractal ViT").removeprefix("random ViT"), features)
            color = colors.setdefault(kind, f"C{len(colors) % 10}")
            marker = markers.setdefault(regressor, "osv^D"[len(markers) % 5])
            panel.errorbar(
                line["n_labels"], line["r2"], yerr=line["r2_err"], marker=marker, ms=5, lw=1,
                elinewidth=0.5, capsize=2, color=color,
                ls="--" if method.startswith("random") else "-",
                label=f"{method}, {features}, {regressor}",
            )  # fmt: skip
        panel.set(xscale="log", xlabel="labeled maps", title=wanted.replace("+", ", "))
        _plain_ticks(panel, table["n_labels"])
    low, high = float(np.min(table["r2"])), float(np.max(table["r2"]))
    axes[0, 0].set_ylim(max(low - 0.1, -1), min(high + 0.15, 1))
    axes[0, 0].set_ylabel("R$^2$, leave-cloud-out")
    _legend_below(figure, axes[0, 0])
    return figure


def _legend_below(figure, panel):
    """List the lines of a panel below all of them, where nothing is covered."""
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize="x-small")


def _plot_degradation(benchmark):
    table = benchmark.degradation
    kinds = list(dict.fromkeys(table["kind"].tolist()))
    figure, axes = _figure(9.6, 4.4, ncols=len(kinds), sharey=True, squeeze=False)
    names = list(dict.fromkeys(table["method"].tolist()))
    for panel, kind in zip(axes[0], kinds):
        for color, name in enumerate(names):
            for matched in (False, True):
                keep = table["kind"] == kind
                keep &= (table["method"] == name) & (table["matched"] == matched)
                rows = table[keep]
                label = f"{name}{', matched reference maps' if matched else ''}"
                panel.plot(
                    rows["level"], rows["r2"], marker="o", color=f"C{color}", label=label,
                    ls="-" if matched else ":",
                )  # fmt: skip
        text = {"beam": "FWHM of the beam (pixels)"}.get(kind, kind)
        panel.set(xscale="log", xlabel=text)
        _plain_ticks(panel, table["level"][table["kind"] == kind])
    axes[0, 0].set_ylabel("R$^2$, leave-cloud-out")
    axes[0, 0].set_ylim(bottom=max(-1, float(np.min(table["r2"])) - 0.05))
    _legend_below(figure, axes[0, 0])
    return figure
