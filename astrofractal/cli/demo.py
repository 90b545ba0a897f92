"""Estimate the masses of the protostars of a bundled cloud and divide its gas into
regions.

The cloud is simulated, so the true masses are known; it is left out of the
calibration that is used. Written to the output folder:

  masses.ecsv    the table of masses, beside the true ones
  regions.reg    the outlines of the regions on the sky (DS9)
  labels.fits    the region that each pixel belongs to
  overview.png   the picture
"""

from pathlib import Path

import numpy as np

from astrofractal.cli.options import add_report, check_folder, check_report, show_table

__all__ = ["overview"]

HELP = "masses of the protostars of a bundled cloud, and a map of its regions"

_CLOUD = "example_cloud.fits"

_FILES = ("masses.ecsv", "regions.reg", "labels.fits", "overview.png")


def add_arguments(parser):
    """Declare the arguments of ``astrofractal demo``."""
    parser.add_argument(
        "--output",
        "-o",
        default="astrofractal-demo",
        metavar="DIR",
        help="the folder to write to; an earlier demo's is replaced (default: %(default)s)",
    )
    parser.add_argument(
        "--n-segments", type=int, default=8, metavar="N", help="how many regions (default: 8)"
    )
    add_report(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace the page of --report")


def run(args):
    """Run ``astrofractal demo``."""
    import tempfile

    from astrofractal import FeatureSegmenter, GasMap
    from astrofractal._utils.atomic import atomic_path
    from astrofractal.catalogs import write_catalog
    from astrofractal.data import data_path

    folder = Path(args.output)
    _check_folder(folder, args.report)
    check_report(args.report, overwrite=args.overwrite)
    # few views: a demo takes seconds
    segmenter = FeatureSegmenter(n_segments=args.n_segments, n_views=4)
    gas = GasMap.read(data_path(_CLOUD))
    table, estimator = estimate_masses(gas, progress_bar=not args.quiet)
    result = segmenter.segment(gas, progress_bar=not args.quiet)
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        write_catalog(table, temporary / "masses.ecsv")
        with tempfile.TemporaryDirectory(dir=temporary.parent) as scratch:
            paths = result.write(scratch)
            paths["regions"].rename(temporary / "regions.reg")
            paths["labels"].rename(temporary / "labels.fits")

        overview(table, result).savefig(temporary / "overview.png", dpi=150)
    if args.report is not None:
        from astrofractal.report import write_report

        write_report(
            args.report,
            catalog=table,
            segmentation=result,
            estimator=estimator,
            command=args.command,
            title="Example cloud (simulated): masses of protostars and segments of the gas",
            overwrite=args.overwrite,
        )
    if not args.quiet:
        _report(table, result, folder)
        if args.report is not None:
            print(f"Written to {args.report}")


def estimate_masses(gas, *, progress_bar=False):
    """Estimate the masses of the example cloud with a calibration that has not seen it."""
    from astropy.io import fits
    from astropy.table import QTable

    from astrofractal import StellarMassEstimator
    from astrofractal.data import data_path

    path = data_path(_CLOUD)
    sinks = QTable.read(path, hdu="SINKS")
    sinks["id"] = np.arange(1, len(sinks) + 1)
    cloud = fits.getval(path, "CLOUD")
    estimator = StellarMassEstimator().leave_out(cloud, channels=[gas.channels])
    table = estimator.catalog(gas, sinks["id", "ra", "dec"], progress_bar=progress_bar)
    table["id"].info.description = "number in the picture"
    where = table.colnames.index("mass")
    table.add_column(sinks["mass"].to("solMass"), name="mass_true", index=where)
    table["mass_true"].info.description = "mass of the sink particle"
    table["mass_true"].info.format = ".3g"
    inside = (table["mass_lower"] <= table["mass_true"]) & (
        table["mass_true"] <= table["mass_upper"]
    )
    table.add_column(inside, name="within", index=where + 4)
    table["within"].info.description = "whether the true mass lies within the interval"
    table.meta["cloud"] = "simulated; not part of this calibration"
    return table, estimator


def _check_folder(folder, report):
    """Refuse to replace what is not an earlier demo's."""
    check_folder("--output", folder)
    found = list(folder.iterdir()) if folder.exists() else []
    page = None if report is None else Path(report).absolute()
    others = sorted(p.name for p in found if p.name not in _FILES and p.absolute() != page)
    if others:
        msg = (
            f"--output {str(folder)!r} has other files, such as {others[0]!r}: it would be "
            "replaced; name another folder"
        )
        raise FileExistsError(msg)


def _report(table, result, folder):
    import numpy as np

    columns = (
        "id",
        "mass_true",
        "mass",
        "mass_lower",
        "mass_upper",
        "within",
        "ood_score",
        "flags",
    )
    print("\nProtostars of the example cloud, by a calibration on other clouds (solar masses):\n")
    show_table(table, columns, show_unit=False)
    error = np.log10((table["mass"] / table["mass_true"]).to_value(""))
    print(
        f"\n{np.count_nonzero(table['within'])} of {len(table)} true masses lie within their "
        f"{table.meta['level']:.0%} interval; "
        f"root-mean-square error {np.sqrt(np.mean(error**2)):.2f} dex."
    )
    print(f"\n{result.n_segments} regions, from thin to dense gas:\n")
    show_table(result.table, ("label", "area", "gas_mass", "character", "touches"))
    print(f"\nWritten to {folder}:")
    for name in _FILES:
        print(f"  {name}")


def overview(table, result):
    """Draw a cloud with its protostars and regions, its components, and the masses."""
    from matplotlib.figure import Figure

    from astrofractal.gasmap.plotting import draw_channel, draw_scale_bar, limit_to, sky_axes
    from astrofractal.segmentation.plotting import draw_rgb, draw_segments

    gas, known = result.gas, result.labels.data > 0
    height, width = np.ptp(np.argwhere(known), axis=0) + 1
    figure = Figure(figsize=(12, np.clip(11 * height / width + 2, 7, 12)), layout="constrained")
    cells = figure.add_gridspec(2, 2)
    axes = [sky_axes(figure, cell, gas) for cell in (cells[0, 0], cells[0, 1], cells[1, 0])]
    draw_channel(axes[0], gas, scale_bar=False, beam=False)
    draw_segments(axes[1], result)
    draw_rgb(axes[2], result)
    for panel in axes:
        limit_to(panel, known)
    draw_scale_bar(axes[0], gas)
    names = [str(name) for name in table["id"]]
    x, y = gas.to_pixel(table["position"])
    axes[0].plot(x, y, "*", markersize=9, mfc="white", mec="black", zorder=5)
    _label(axes[0], x, y, names, color="white", halo="black")
    axes[0].set_title("Column density and protostars (simulated cloud)", fontsize="medium")
    _draw_masses(figure.add_subplot(cells[1, 1]), table, names)
    return figure


def _draw_masses(axes, table, names):
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
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(low, high),
        ylim=(low, high),
        aspect="equal",
        xlabel=r"true mass  [M$_\odot$]",
        ylabel=r"estimated mass  [M$_\odot$]",
        title="Masses, calibrated on other clouds",
    )
    _label(axes, true, mass, names, color="black", halo="white")
    axes.legend(loc="upper left", fontsize=8)


# Size of a label and distances at which it may stand from its point, in parts of the axes.
_LABEL = np.array([0.045, 0.04])
_AWAY = (0.04, 0.07, 0.1, 0.14)


def _label(axes, x, y, names, *, color, halo):
    """Write names next to points where they overlap neither points nor one another."""
    from matplotlib.patheffects import Normal, Stroke

    to_axes = axes.transData - axes.transAxes
    points = to_axes.transform(np.column_stack([x, y]))
    angles = np.deg2rad(np.arange(45, 405, 30))
    offsets = [r * np.array([np.cos(a), np.sin(a)]) for r in _AWAY for a in angles]
    taken = list(points)
    for point, name in zip(points, names, strict=True):
        places = [p for p in point + np.array(offsets) if (p > 0.03).all() and (p < 0.97).all()]
        # How far the nearest taken place is, in sizes of a label; the first free place wins.
        free = [np.abs((np.array(taken) - place) / _LABEL).max(1).min() for place in places]
        if not places:
            continue
        place = places[int(np.argmax(np.minimum(free, 1)))]
        taken.append(place)
        axes.annotate(
            name,
            point,
            place,
            xycoords="axes fraction",
            ha="center",
            va="center",
            fontsize=8,
            color=color,
            arrowprops={"arrowstyle": "-", "color": color, "lw": 0.5},
            path_effects=[Stroke(linewidth=2, foreground=halo), Normal()],
            zorder=6,
        )
