"""Score the masses on clouds left out of the calibration, next to simpler methods.

MAPS is a folder of labeled maps or a file (without it: the bundled maps).
Written to the output folder:

  scores.ecsv        per map and per protostar, all clouds together and each
  paired.ecsv        differences of methods on the same maps, with errors
  predictions.ecsv   the masses by each method
  learning.ecsv      scores against the number of labeled protostars
  degradation.ecsv   scores on maps of lower quality
  intervals.ecsv     the masses by the default with their intervals

With --study NAME only the tables of another study:

  paper              the published methods by the published protocol (a random
                     quarter of the maps), on several sets of maps
  defaults           features, regressor and weights by nested cross-validation
  weights            weights next to hand-made features, on degraded maps too
  networks           networks trained on the maps, next to predictions.ecsv
  telescopes         matched calibrations; MAPS are whole clouds with SINKS
  segments           segments next to those of other methods; MAPS are whole
                     clouds, or observed maps, which are turned and cut

A method that fails is noted in the tables, and the others go on.

examples:
  astrofractal benchmark MAPS --output OUT --quick
  astrofractal benchmark MAPS --output OUT --parts scores learning
  astrofractal benchmark SLABS BOXES --output OUT --study paper
"""

from astrofractal._utils.validation import refuse
from astrofractal.cli.options import (
    add_output,
    check_folder,
    check_inputs,
    given,
    show_table,
)

#: Those of astrofractal.benchmark, whose import takes seconds.
STUDIES = ("clouds", "paper", "defaults", "weights", "networks", "telescopes", "segments")

HELP = "score the masses on clouds left out, next to simpler methods"

#: The columns that are printed; all of those of the other studies.
_COLUMNS = {
    "scores": ("protocol", "method", "r2_protostar", "r2_protostar_err", "r2", "r2_err"),
    "paper": ("maps", "method", "r2", "rmse", "r2_published", "r2_clouds"),
}


def add_arguments(parser):
    """Declare the arguments of ``astrofractal benchmark``."""
    add = parser.add_argument
    add("MAPS", nargs="*", help="labeled maps: a folder or a file")
    add_output(parser, "OUT", "the folder to write to", required=True)
    add(
        "--quick", action="store_true", default=None,
        help="a part of the maps, in minutes; paper: without the default, telescopes: without the "
        "network",
    )  # fmt: skip
    add(
        "--study", choices=STUDIES, default=STUDIES[0], metavar="NAME",
        help="another study than that of clouds left out",
    )  # fmt: skip
    add(
        "--networks", nargs="+", metavar="NAME",
        help="paper, networks: train 'small CNN', 'ResNet-18' ... as well (hours)",
    )  # fmt: skip
    add("--seeds", nargs="+", type=int, metavar="N", help="networks: one training for each")
    add("--weights", nargs="+", metavar="FILE", help="other weights, or 'random'; weights: several")
    add(
        "--parts", nargs="+", metavar="PART",
        help="some of scores, learning, degradation, intervals (the tables of the others stay); "
        "weights: conditions, telescopes: numbers of rows, networks: clouds",
    )  # fmt: skip
    add("--per-protostar", type=int, metavar="N", help="calibrate on at most N maps of each")
    add("--features-cache", metavar="DIR", help="keep the features of the encoders for later runs")
    add(
        "--predictions", metavar="FILE", nargs="+",
        help="tables of masses by other methods (method, cloud, row, log_mass) to score as well",
    )  # fmt: skip


def run(args):
    """Run ``astrofractal benchmark``."""
    check_folder(args, empty=True)
    check_folder(args, "features_cache")
    check_inputs(*args.MAPS, *(args.predictions or ()))
    weights, files = args.weights or (), args.study in ("paper", "segments", "telescopes")
    refuse({
        "several MAPS are for the studies paper, segments and telescopes":
            args.MAPS[1:] and not files,
        "--study segments needs MAPS": args.study == "segments" and not args.MAPS,
        "several --weights are for --study weights": weights[1:] and args.study != "weights",
    })  # fmt: skip
    from astrofractal import benchmark
    from astrofractal.data import data_path

    names = ("networks", "seeds", "parts", "features_cache", "predictions", "quick")
    options = given(args, names)
    if args.per_protostar is not None:
        options["n_per_protostar"] = args.per_protostar
    if weights:
        options["weights"] = weights if args.study == "weights" else weights[0]
    maps = args.MAPS
    if args.study not in ("segments", "telescopes"):
        maps = maps or [data_path("reference_maps.fits")]
    journal = benchmark.run_study(
        args.study, maps if files else maps[0], args.output,
        overwrite=args.overwrite, progress_bar=not args.quiet, **options,
    )  # fmt: skip
    if args.quiet:
        return
    for name, table in journal.tables.items():
        if name == "scores":
            table = table[table["cloud"] == "all"]
        if name in _COLUMNS or args.study != STUDIES[0]:
            show_table(table, _COLUMNS.get(name))
    for failure in journal.failed:
        print(f"failed: {failure}")
    print(f"written to {args.output}")
