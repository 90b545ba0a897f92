"""Segment a map of gas by the features of the frozen network, without labels.

FILE and the options that describe the map (--distance, --velocity, --unit,
--x-factor, ...) are those of 'astrofractal mass': see its --help. Segments are
numbered by column density, from 1 (thin) up; 0 is where there is no gas above
the background. Written to the output folder:

  labels.fits        the segment and the connected island that each pixel belongs to
  regions.reg        the outlines on the sky (DS9); also regions.crtf (CASA)
  segments.ecsv      area, gas mass, velocities, virial parameter, character of each segment
  islands.ecsv       the same for each connected island, and which island encloses it
  components.fits    what was clustered, and the colors of the picture
  map.fits           the map itself
  correlations.ecsv  what the components follow
  overview.png       the picture

examples:
  astrofractal segment cloud.fits --distance 300
  astrofractal segment N.fits --velocity v.fits --dispersion sigma.fits --distance 140 -n 5
  astrofractal segment nh3.fits --unit "dex(cm-2)" --no-data 0 --abundance 1e-8 --distance 138
  astrofractal segment av.fits --unit mag --extinction "9.4e20 cm-2 / mag" --distance 300
"""

from astrofractal.cli.options import (
    add_hidden_map_arguments,
    add_output,
    add_report,
    add_weights,
    check_folder,
    check_report,
    number_or_quantity,
    number_or_text,
    quantity,
    read_map,
)

HELP = "segment a map: labels, regions, masses, a picture"


def add_arguments(parser):
    """Declare the arguments of ``astrofractal segment``."""
    parser.add_argument("file", metavar="FILE", help="the map (FITS)")
    add_output(
        parser, metavar="DIR",
        help="the folder to write to (default: FILE's name with -segments, in this folder)",
    )  # fmt: skip
    add_report(parser)
    add_hidden_map_arguments(parser)
    group = parser.add_argument_group("the segments")
    group.add_argument(
        "--n-segments",
        "-n",
        type=number_or_text("auto"),
        default=8,
        metavar="N",
        help="how many segments, or 'auto' (default: %(default)s)",
    )
    group.add_argument(
        "--background",
        type=_or_words(quantity("2e21 cm-2", bare="cm-2"), "auto", "none"),
        default="auto",
        metavar="N",
        help="the column density below which there is no gas, or 'none' (default: from the map)",
    )
    group.add_argument(
        "--scale",
        type=_or_words(quantity("0.02 pc", bare="pc"), "auto"),
        default="auto",
        metavar="LENGTH",
        help="width of the smallest structures that are seen (default: a beam or two pixels)",
    )
    group.add_argument(
        "--min-area",
        type=number_or_quantity("0.01 pc2", check=False),
        metavar="AREA",
        help="smaller islands join a neighbor: pixels, or with a unit, such as '0.01 pc2', '3 beam'",
    )
    group.add_argument(
        "--views",
        type=int,
        metavar="N",
        help="about how many windows of the network cover each pixel (default: 8, more in small maps)",
    )
    add_weights(group)


def _or_words(parse, *words):
    """Return a type for `argparse` that leaves some words as they are."""
    return lambda text: text if text in words else parse(text)


def run(args):
    """Run ``astrofractal segment``."""
    from pathlib import Path

    output = args.output
    if output is None:
        stem = Path(args.file).name
        for suffix in (".gz", ".fits", ".fit"):
            stem = stem.removesuffix(suffix)
        output = f"{stem}-segments"
    folder = Path(output)
    check_folder("--output", folder, overwrite=args.overwrite)
    check_report(args.report, overwrite=args.overwrite)
    gas = read_map(args, args.file)

    from astrofractal import FeatureSegmenter, FractalEncoder

    segmenter = FeatureSegmenter(
        args.n_segments,
        background=None if args.background == "none" else args.background,
        scale=args.scale,
        min_area=args.min_area,
        n_views=args.views,
        encoder=FractalEncoder(weights=args.weights),
    )
    result = segmenter.segment(gas, progress_bar=not args.quiet)
    paths = result.write(folder, overwrite=args.overwrite)
    if args.report is not None:
        from astrofractal.report import write_report

        write_report(
            args.report, segmentation=result, command=args.command, overwrite=args.overwrite
        )
    if args.quiet:
        return
    print(f"{gas!r}")
    print(f"background {result.meta['background']}, token {result.meta['token_width']}")
    print("\n".join(result.table.pformat(max_lines=-1)))
    print(f"{len(result.island_segments)} islands; written to {folder}:")
    print("  " + ", ".join(path.name for path in paths.values()))
    if args.report is not None:
        print(f"written to {args.report}")
