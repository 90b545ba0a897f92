"""Estimate the masses of the protostars of a bundled cloud and segment its gas.

The cloud is simulated, so the true masses are known; it is left out of the
calibration that is used. Written to the output folder:

  masses.ecsv    the table of masses, with the true ones
  regions.reg    the outlines of the segments on the sky (DS9)
  labels.fits    the segment of each pixel
  overview.png   the picture
  report.html    all of it as a page for the browser
"""

import tempfile
from pathlib import Path

import numpy as np

from astrofractal.cli.options import check_folder, show_table

HELP = "masses of the protostars of a bundled cloud, and its segments"

_CLOUD = "example_cloud.fits"

_FILES = ("masses.ecsv", "regions.reg", "labels.fits", "overview.png", "report.html")

_SHOWN = ("id", "mass_true", "mass", "mass_lower", "mass_upper", "within", "trust", "flags")

_NEXT = """
Next steps:
  astrofractal info cloud.fits --distance 300      accuracy to expect for a map
  astrofractal mass cloud.fits --distance 300      masses of its protostars
  astrofractal segment cloud.fits --distance 300   its segments"""


def add_arguments(parser):
    parser.add_argument(
        "--output", "-o", metavar="DIR", default="astrofractal-demo",
        help="the folder; an earlier demo's is replaced (default: %(default)s)",
    )  # fmt: skip


def run(args):
    check_folder(args)
    folder = Path(args.output)
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    others = sorted(names - set(_FILES))
    if others:  # not an earlier demo's
        msg = f"--output {str(folder)!r} has other files, e.g. {others[0]!r}: name another folder"
        raise FileExistsError(msg)
    from astrofractal import FeatureSegmenter, GasMap
    from astrofractal._utils.atomic import atomic_path
    from astrofractal.catalogs import write_catalog
    from astrofractal.data import data_path
    from astrofractal.report import write_report

    shown = not args.quiet
    if shown:
        print("Masses and segments of a simulated cloud, about a minute on two cores:")
    gas = GasMap.read(data_path(_CLOUD))
    table, estimator = estimate_masses(gas, progress_bar=shown)
    result = FeatureSegmenter().segment(gas, progress_bar=shown)
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        write_catalog(table, temporary / "masses.ecsv")
        with tempfile.TemporaryDirectory(dir=temporary.parent) as scratch:
            paths = result.write(scratch)
            paths["regions"].rename(temporary / "regions.reg")
            paths["labels"].rename(temporary / "labels.fits")
        overview(table, result).savefig(temporary / "overview.png", dpi=150)
        write_report(
            temporary / "report.html",
            catalog=table,
            segmentation=result,
            estimator=estimator,
            command=args.command,
            title="Example cloud (simulated): masses of protostars and segments of the gas",
        )
    if shown:
        _report(table, result, folder)


def estimate_masses(gas, *, progress_bar=False):
    """Estimate the masses of the example cloud by a calibration without it."""
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
    true = sinks["mass"].to("solMass")
    within = (table["mass_lower"] <= true) & (true <= table["mass_upper"])
    where = table.colnames.index("mass")
    for name, index, column, description in (
        ("mass_true", where, true, "mass of the sink particle"),
        ("within", where + 4, within, "whether the true mass lies within the interval"),
    ):
        table.add_column(column, name=name, index=index)
        table[name].info.description = description
    table["id"].info.description = "number in the picture"
    table["mass_true"].info.format = ".3g"
    table.meta["cloud"] = "simulated; not part of this calibration"
    return table, estimator


def _report(table, result, folder):
    print("\nProtostars of the example cloud, calibrated on other clouds (solar masses):\n")
    show_table(table, _SHOWN, show_unit=False)
    error = np.log10((table["mass"] / table["mass_true"]).to_value(""))
    print(
        f"\n{np.count_nonzero(table['within'])} of {len(table)} true masses lie within their "
        f"{table.meta['level']:.0%} interval.\n"
        f"Root-mean-square error: {np.sqrt(np.mean(error**2)):.2f} dex."
    )
    print(f"\n{result.n_segments} segments, from thin to dense gas:\n")
    show_table(result.table, ("label", "area", "gas_mass", "character", "touches"))
    print(f"\nWritten to {folder}:\n  {', '.join(_FILES)}\n{_NEXT}")


def overview(table, result):
    """Draw a cloud with its protostars, its segments and components, and the masses."""
    from matplotlib.figure import Figure

    from astrofractal.catalogs.plotting import name_points, plot_intervals
    from astrofractal.gasmap.plotting import draw_channel, draw_scales, limit_to, sky_axes
    from astrofractal.segmentation.plotting import draw_rgb, draw_segments

    gas, known = result.gas, result.labels.data > 0
    height, width = np.ptp(np.argwhere(known), axis=0) + 1
    # Two rows of two panels of one shape, in inches, and room for titles, labels and the legend.
    shape = np.array([4.7, 4.7 * height / width])
    size = 2 * shape + [1.75, 2.2]
    figure = Figure(figsize=size)
    edges = {"left": 0.95 / size[0], "right": 1 - 0.2 / size[0]}
    edges |= {"bottom": 1.4 / size[1], "top": 1 - 0.35 / size[1]}
    cells = figure.add_gridspec(2, 2, wspace=0.6 / shape[0], hspace=0.45 / shape[1], **edges)
    panels = [sky_axes(figure, cell, gas) for cell in (cells[0, 0], cells[0, 1], cells[1, 0])]
    image = draw_channel(panels[0], gas, colorbar=False)
    draw_segments(panels[1], result)
    draw_rgb(panels[2], result)
    panels[2].images[-1].set_interpolation("gaussian")  # hides the grid of the windows
    for axes in panels:
        limit_to(axes, known)
    draw_scales(panels[0], gas)
    inset = panels[0].inset_axes([0.62, 0.07, 0.34, 0.025])  # within the panel, at the lower right
    bar = figure.colorbar(image, cax=inset, orientation="horizontal", extend="both")
    bar.set_label(r"$N(\mathrm{H}_2)$ [cm$^{-2}$]", color="white")
    inset.xaxis.set_label_position("top")
    inset.tick_params(which="both", colors="white")
    x, y = gas.to_pixel(table["position"])
    panels[0].plot(x, y, "*", markersize=9, mfc="white", mec="black", zorder=5)
    name_points(panels[0], table["id"], x, y)
    panels[0].set_title("Column density and protostars (simulated cloud)", fontsize="medium")
    for axes, coords in ((panels[0], [0]), (panels[1], [0, 1])):
        for coord in coords if gas.wcs is not None else ():
            axes.coords[coord].set_ticklabel_visible(False)
            axes.coords[coord].set_axislabel("")
    axes = plot_intervals(table, axes=figure.add_subplot(cells[1, 1]))
    axes.set_title("Masses, calibrated on other clouds", fontsize="medium")
    figure.legends[-1].remove()
    axes.legend(loc="lower right", fontsize="small")
    return figure
