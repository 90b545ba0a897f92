"""Score the masses on clouds that the calibration has not seen, beside simpler
methods.

MAPS is a folder of labeled maps (or a file), in the format that the
documentation of astrofractal.mapset.MapSet describes. Written to the output
folder:

  scores.ecsv        one row per protocol, method, features, regressor and channels
  learning.ecsv      those of its rows that have fewer labeled maps
  degradation.ecsv   scores against beam and noise
  symmetry.ecsv      what features averaged over the symmetries of the sky cost and gain
  mass_ranges.ecsv   bias and scatter by mass
  predictions.ecsv   the masses of the default, each cloud predicted by the others
  *.rst, *.png       the tables and figures of the documentation

Until the end everything so far stands in OUT.partial, where rows.jsonl grows
by one line per score. A method that fails is noted there, and the others go
on.

examples:
  astrofractal benchmark --data MAPS --output OUT --quick       minutes
  astrofractal benchmark --data MAPS --output OUT               an hour on two cores
  astrofractal benchmark --data MAPS --output OUT --weights mine.safetensors
"""

from astrofractal.cli._options import add_output, add_random_state, add_weights, show_table

HELP = "score the masses on unseen clouds, beside simpler methods"


def add_arguments(parser):
    """Declare the arguments of ``astrofractal benchmark``."""
    parser.add_argument("--data", metavar="MAPS", required=True, help="labeled maps")
    add_output(parser, metavar="OUT", help="the folder to write to", required=True)
    parser.add_argument(
        "--quick", action="store_true", help="a part of the maps, in less than five minutes"
    )
    add_weights(parser)
    parser.add_argument(
        "--minutes",
        type=float,
        default=50.0,
        help="how long it may take, roughly: the trainings of the supervised networks get what "
        "the rest leaves (default: %(default)s)",
    )
    add_random_state(parser)


def run(args):
    """Run ``astrofractal benchmark``."""
    from astrofractal.benchmark import run_benchmark

    benchmark = run_benchmark(
        args.data,
        args.output,
        weights=args.weights,
        quick=args.quick,
        minutes=args.minutes,
        random_state=args.random_state,
        overwrite=args.overwrite,
        progress_bar=not args.quiet,
    )
    if args.quiet:
        return
    columns = (
        "protocol",
        "method",
        "features",
        "regressor",
        "channels",
        "n_labels",
        "r2",
        "r2_err",
    )
    show_table(benchmark.scores, columns)
    for failure in benchmark.notes["failed"]:
        print(f"failed: {failure}")
    print(f"{benchmark.notes['minutes']:.1f} minutes; written to {args.output}")
