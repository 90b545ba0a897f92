"""Score a calibration on labeled maps.

MAPS is a file or a folder of labeled maps, as 'astrofractal project' writes
them. Keep their clouds out of the calibration: otherwise the scores are too
high. Printed are R2 and the root-mean-square error of log10 M, with the same
weight for each protostar and for each map, and the fraction of the true masses
that the intervals contain.

examples:
  astrofractal evaluate other_clouds.fits --calibration my.astrofractal
  astrofractal evaluate other_clouds.fits --output masses.ecsv --plot masses.png
"""

from astrofractal.cli.options import add_output, catalog_path, check_files, check_inputs

HELP = "score a calibration on labeled maps"

_SCORES = {
    "r2": "R2",
    "rmse": "rms error (dex)",
    "coverage_68": "68 % interval contains",
    "coverage_90": "90 % interval contains",
}


def add_arguments(parser):
    parser.add_argument("MAPS", help="labeled maps: a file or a folder")
    parser.add_argument("--calibration", metavar="FILE", help="(default: the bundled one)")
    add_output(parser, "FILE", "write true and estimated masses: .ecsv, ...", type=catalog_path)
    parser.add_argument("--plot", metavar="FILE", help="draw them (.png, .pdf)")


def run(args):
    check_files(args, "output", "plot")
    check_inputs(args.MAPS, args.calibration)
    from astrofractal import StellarMassEstimator
    from astrofractal.catalogs import plot_intervals, write_catalog
    from astrofractal.mapset import MapSet

    maps = MapSet.read(args.MAPS)
    estimator = StellarMassEstimator()
    if args.calibration is not None:
        estimator = StellarMassEstimator.load(args.calibration)
    result = estimator.evaluate(maps, progress_bar=not args.quiet)
    table = result.to_table(meta=estimator.meta)
    table.add_column(maps.protostars, 0, "id")
    table.add_column(maps.masses.to("solMass"), 1, "mass_true")
    if args.output is not None:
        write_catalog(table, args.output, overwrite=args.overwrite)
    if args.plot is not None:
        plot_intervals(table).figure.savefig(args.plot, dpi=150)
    if args.quiet:
        return
    scores = result.scores(maps.masses, maps.protostars, maps.represents)
    print(f"{maps!r}\n\n{'log10 M':<28}{'per protostar':>14}{'per map':>10}")
    for name, label in _SCORES.items():
        print(f"{label:<28}{scores[f'{name}_protostar']:14.2f}{scores[name]:10.2f}")
    known = [c.clouds_ for c in estimator.calibrations_.values() if c.clouds_ is not None]
    seen = sorted({str(cloud) for clouds in known for cloud in clouds} & set(maps.clouds.tolist()))
    if seen:
        print(f"\nCalibrated on {', '.join(seen)} as well: these scores are too high.")
    for path in (args.output, args.plot):
        if path is not None:
            print(f"written to {path}")
