"""Score a calibration on labeled maps.

MAPS is a file or a folder of labeled maps, as 'astrofractal project' writes
them. Keep their clouds out of the calibration: on clouds that it has seen, the
scores are too good. Printed are R2 and the root-mean-square error of log10 M,
with the same weight for each protostar and for each map, and the share of the
true masses that the intervals contain.

examples:
  astrofractal evaluate other_clouds.fits --calibration my.astrofractal
  astrofractal evaluate other_clouds.fits --output masses.ecsv --plot masses.png
"""

from astrofractal.cli.options import add_output, check_output

HELP = "score a calibration on labeled maps"


def add_arguments(parser):
    """Declare the arguments of ``astrofractal evaluate``."""
    parser.add_argument("maps", metavar="MAPS", help="labeled maps: a file or a folder")
    parser.add_argument(
        "--calibration", metavar="FILE",
        help="a calibration of 'astrofractal calibrate' (default: the bundled one)",
    )  # fmt: skip
    add_output(parser, metavar="FILE", help="write true and estimated masses: .ecsv, .fits, ...")
    parser.add_argument(
        "--plot", metavar="FILE", help="draw estimated against true masses (.png, .pdf)"
    )


def run(args):
    """Run ``astrofractal evaluate``."""
    from astrofractal import StellarMassEstimator
    from astrofractal.catalogs import plot_intervals, write_catalog
    from astrofractal.catalogs.files import check_suffix
    from astrofractal.mapset import MapSet

    if args.output is not None:
        check_suffix(args.output)
    check_output("--output", args.output, overwrite=args.overwrite)
    check_output("--plot", args.plot, overwrite=args.overwrite)
    maps = MapSet.read(args.maps)
    estimator = StellarMassEstimator()
    if args.calibration is not None:
        estimator = StellarMassEstimator.load(args.calibration)
    result = estimator.evaluate(maps, progress_bar=not args.quiet)
    scores = result.scores(maps.masses, maps.protostars, maps.represents)
    table = result.to_table(meta=estimator.meta)
    table.add_column(maps.protostars, 0, "id")
    table.add_column(maps.masses.to("solMass"), 1, "mass_true")
    if args.output is not None:
        write_catalog(table, args.output, overwrite=args.overwrite)
    if args.plot is not None:
        plot_intervals(table).figure.savefig(args.plot, dpi=150)
    if args.quiet:
        return
    print(f"{maps!r}\n")
    print(f"{'log10 M':<28}{'per protostar':>14}{'per map':>10}")
    for name, label in (
        ("r2", "R2"),
        ("rmse", "rms error (dex)"),
        ("coverage_68", "68 % interval contains"),
        ("coverage_90", "90 % interval contains"),
    ):
        print(f"{label:<28}{scores[f'{name}_protostar']:14.2f}{scores[name]:10.2f}")
    known = [c.clouds_ for c in estimator.calibrations_.values() if c.clouds_ is not None]
    seen = sorted({str(cloud) for clouds in known for cloud in clouds} & set(maps.clouds.tolist()))
    if seen:
        print(f"\nThe calibration has seen {', '.join(seen)}: these scores are too good.")
    for path in (args.output, args.plot):
        if path is not None:
            print(f"written to {path}")
