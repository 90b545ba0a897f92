"""Score the masses on clouds left out of the calibration, next to simpler methods.

MAPS is a folder of labeled maps (or a file). Written to the output folder:

  scores.ecsv        per map and per protostar, all clouds together and each
  paired.ecsv        differences of methods on the same maps, with errors
  predictions.ecsv   the masses by each method
  learning.ecsv      scores against the number of labeled protostars
  degradation.ecsv   scores on maps of lower quality
  intervals.ecsv     the masses by the default with their intervals

With --protocol paper only paper.ecsv: the published methods by the published
protocol (a random quarter of the maps), and with whole clouds held out; several
sets of maps may be given.

A method that fails is noted in the tables, and the others go on.

examples:
  astrofractal benchmark MAPS --output OUT --quick
  astrofractal benchmark MAPS --output OUT --parts scores learning
  astrofractal benchmark SLABS BOXES --output OUT --protocol paper
"""

from astrofractal._utils.validation import refuse
from astrofractal.cli.options import (
    add_output,
    add_weights,
    check_folder,
    check_inputs,
    show_table,
)

# Of astrofractal.benchmark, whose import takes seconds.
PARTS = ("scores", "learning", "degradation", "intervals")

HELP = "score the masses on clouds left out, next to simpler methods"

_SCORES = ("protocol", "method", "r2_protostar", "r2_protostar_err", "r2", "r2_err")
_PAPER = ("maps", "method", "r2", "rmse", "r2_published", "r2_clouds")


def add_arguments(parser):
    """Declare the arguments of ``astrofractal benchmark``."""
    add = parser.add_argument
    add("MAPS", nargs="+", help="labeled maps: a folder or a file")
    add_output(parser, "OUT", "the folder to write to", required=True)
    add(
        "--quick", action="store_true",
        help="a part of the maps, in minutes; with --protocol paper: without the default",
    )  # fmt: skip
    add(
        "--protocol", choices=("clouds", "paper"), default="clouds", metavar="NAME",
        help="clouds (left out, the default) or paper",
    )  # fmt: skip
    add(
        "--networks", nargs="+", default=(), choices=("small CNN", "ResNet-18"), metavar="NAME",
        help="with --protocol paper: train 'small CNN' or 'ResNet-18' as well (hours)",
    )  # fmt: skip
    add_weights(parser)
    add(
        "--parts", nargs="+", default=PARTS, choices=PARTS, metavar="PART",
        help=f"of {', '.join(PARTS)}; the tables of the others stay (default: all)",
    )  # fmt: skip
    add("--per-protostar", type=int, metavar="N", help="calibrate on at most N maps of each")
    add("--features-cache", metavar="DIR", help="keep the features of the encoders for later runs")
    add(
        "--predictions", metavar="FILE", nargs="+", default=(),
        help="tables of masses by other methods (method, cloud, row, log_mass) to score as well",
    )  # fmt: skip


def run(args):
    """Run ``astrofractal benchmark``."""
    check_folder(args, empty=True)
    check_folder(args, "features_cache")
    check_inputs(*args.MAPS, *args.predictions)
    from astrofractal.benchmark import run_benchmark, run_paper

    options = {
        "weights": args.weights,
        "features_cache": args.features_cache,
        "overwrite": args.overwrite,
        "progress_bar": not args.quiet,
    }
    paper = args.protocol == "paper"
    several = len(args.MAPS) > 1 or args.networks
    refuse({"several MAPS and --networks are for --protocol paper": several and not paper})
    if paper:
        options |= {"networks": args.networks, "default": not args.quick}
        journal = run_paper(args.MAPS, args.output, **options)
    else:
        journal = run_benchmark(
            args.MAPS[0],
            args.output,
            quick=args.quick,
            parts=args.parts,
            n_per_protostar=args.per_protostar,
            predictions=args.predictions,
            **options,
        )
    if args.quiet:
        return
    if "scores" in journal.tables:
        table = journal.tables["scores"]
        show_table(table[table["cloud"] == "all"], _SCORES)
    if "paper" in journal.tables:
        show_table(journal.tables["paper"], _PAPER)
    for failure in journal.failed:
        print(f"failed: {failure}")
    print(f"written to {args.output}")
