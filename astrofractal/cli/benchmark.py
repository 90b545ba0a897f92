"""Score the masses on clouds that the calibration has not seen, beside simpler
methods.

MAPS is a folder of labeled maps (or a file), in the format that the
documentation of astrofractal.mapset.MapSet describes. Written to the output
folder:

  scores.ecsv        per map and per protostar, all clouds together and each
  paired.ecsv        differences of methods on the same maps, with errors
  predictions.ecsv   the masses by each method, each cloud predicted by the others
  learning.ecsv      scores against the number of labeled protostars
  degradation.ecsv   scores on maps that are seen less well
  intervals.ecsv     the masses by the default with their intervals
  mass_ranges.ecsv   bias and scatter by mass

With --protocol paper, paper.ecsv alone is written: the published methods by the
published protocol, a random quarter of the maps, and with whole clouds held out.
Several sets of maps may be given; --quick leaves out the default.

A table is written whenever it grows. A method that fails is noted in the
tables, and the others go on. Features of the encoders, which take most of the
time, are kept in the folder of --features-cache for later runs.

examples:
  astrofractal benchmark MAPS --output OUT --quick       minutes
  astrofractal benchmark MAPS --output OUT --features-cache DIR
  astrofractal benchmark MAPS --output OUT --parts scores learning
  astrofractal benchmark MAPS --output OUT --predictions mine.ecsv
  astrofractal benchmark SLABS BOXES --output OUT --protocol paper
"""

from astrofractal.cli.options import (
    add_output,
    add_weights,
    check_folder,
    show_table,
)

# Of astrofractal.benchmark, whose import takes seconds.
PARTS = ("scores", "learning", "degradation", "intervals")

HELP = "score the masses on unseen clouds, beside simpler methods"


def add_arguments(parser):
    """Declare the arguments of ``astrofractal benchmark``."""
    parser.add_argument("maps", metavar="MAPS", nargs="+", help="labeled maps: a folder or a file")
    add_output(parser, metavar="OUT", help="the folder to write to", required=True)
    parser.add_argument(
        "--quick", action="store_true", help="a part of the maps, in less than five minutes"
    )
    parser.add_argument(
        "--protocol",
        choices=("clouds", "paper"),
        default="clouds",
        help="score on clouds held out, or the paper's table (default: %(default)s)",
    )
    parser.add_argument(
        "--networks",
        nargs="+",
        default=(),
        choices=("small CNN", "ResNet-18"),
        help="with --protocol paper: train these on the same splits as well (hours)",
    )
    parser.add_argument(
        "--n-maps", type=int, metavar="N", help="with --protocol paper: N maps drawn at random"
    )
    add_weights(parser)
    parser.add_argument(
        "--parts",
        nargs="+",
        default=PARTS,
        choices=PARTS,
        help="the parts to run; the tables of the others stay as they are (default: all)",
    )
    parser.add_argument(
        "--per-protostar",
        type=int,
        metavar="N",
        help="calibrate on at most N maps of a protostar, which stand for the others",
    )
    parser.add_argument(
        "--features-cache", metavar="DIR", help="a folder that keeps the features of the encoders"
    )
    parser.add_argument(
        "--predictions",
        metavar="FILE",
        nargs="+",
        default=(),
        help="tables of masses by other methods (method, cloud, row, log_mass), to be scored too",
    )


def run(args):
    """Run ``astrofractal benchmark``."""
    check_folder("--output", args.output, overwrite=args.overwrite)
    check_folder("--features-cache", args.features_cache)
    from astrofractal.benchmark import run_benchmark, run_paper

    if args.protocol == "paper":
        journal = run_paper(
            args.maps,
            args.output,
            weights=args.weights,
            default=not args.quick,
            networks=args.networks,
            n_maps=args.n_maps,
            features_cache=args.features_cache,
            overwrite=args.overwrite,
            progress_bar=not args.quiet,
        )
        if not args.quiet:
            columns = ("maps", "method", "r2", "rmse", "r2_published", "r2_clouds")
            show_table(journal.tables["paper"], columns)
            print(f"written to {args.output}")
        return
    if len(args.maps) > 1 or args.networks or args.n_maps:
        msg = "several MAPS, --networks and --n-maps are for --protocol paper"
        raise ValueError(msg)
    journal = run_benchmark(
        args.maps[0],
        args.output,
        weights=args.weights,
        quick=args.quick,
        parts=args.parts,
        n_per_protostar=args.per_protostar,
        features_cache=args.features_cache,
        predictions=args.predictions,
        overwrite=args.overwrite,
        progress_bar=not args.quiet,
    )
    if args.quiet:
        return
    if "scores" in journal.tables:
        table = journal.tables["scores"]
        columns = ("protocol", "method", "r2_protostar", "r2_protostar_err", "r2", "r2_err")
        show_table(table[table["cloud"] == "all"], columns)
    for failure in journal.failed:
        print(f"failed: {failure}")
    print(f"written to {args.output}")
