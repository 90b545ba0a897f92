"""Segment a map of gas by the features of the frozen network, without labels.

FILE and the options that describe the map (--distance, --velocity, --unit,
--x-factor, ...) are those of 'astrofractal mass': see its --help. Segments are
numbered by column density, from 1 (thin) up; 0 is where there is no gas above
the background. Written to the output folder:

  labels.fits        the segment and the connected island of each pixel
  regions.reg        the outlines on the sky (DS9); also regions.crtf (CASA)
  segments.ecsv      area, mass, velocities, character of each segment
  islands.ecsv       the same for each connected island
  components.fits    what was clustered, and the colors of the picture
  map.fits           the map itself
  correlations.ecsv  correlations of the components with the gas
  overview.png       the picture

examples:
  astrofractal segment cloud.fits --distance 300
  astrofractal segment N.fits --velocity v.fits --distance 140 -n 5
  astrofractal segment av.fits --extinction "9.4e20 cm-2 / mag" --distance 300
"""

import argparse
from pathlib import Path

from astrofractal.cli.options import (
    add_map_arguments,
    add_output,
    add_report,
    add_weights,
    check_files,
    check_folder,
    number_or_text,
    quantity,
    read_map,
)

HELP = "segment a map: labels, regions, masses, a picture"


class _Hidden:
    """A group whose arguments the help of ``mass`` shows."""

    def __init__(self, parser):
        self._parser = parser

    def add_argument(self, *names, help, **options):
        self._parser.add_argument(*names, help=argparse.SUPPRESS, **options)


def add_arguments(parser):
    add = parser.add_argument
    add("FILE", help="the map (FITS)")
    add_output(parser, "DIR", "the folder to write to (default: FILE's name with -segments)")
    add_report(parser)
    add_map_arguments(_Hidden(parser))
    add(
        "--n-segments", "-n", type=number_or_text, default=8, metavar="N",
        help="how many segments, or 'auto' (default: %(default)s)",
    )  # fmt: skip
    add(
        "--background", type=quantity("2e21 cm-2", bare="cm-2", words=("auto", "none")),
        default="auto", metavar="N",
        help="the column density below which there is no gas, or 'none' (default: from the map)",
    )  # fmt: skip
    add(
        "--scale", type=quantity("0.02 pc", bare="pc", words=("auto",)), default="auto",
        metavar="LENGTH", help="of the smallest structures (default: a beam or two pixels)",
    )  # fmt: skip
    add(
        "--min-area", type=quantity("0.01 pc2", bare=float, check=False), metavar="AREA",
        help="smaller islands join a neighbor: pixels, or with a unit: '0.01 pc2', '3 beam'",
    )  # fmt: skip
    add_weights(parser)


def run(args):
    if args.output is None:
        stem = Path(args.FILE).name
        for suffix in (".gz", ".fits", ".fit"):
            stem = stem.removesuffix(suffix)
        args.output = f"{stem}-segments"
    check_folder(args, empty=True)
    check_files(args, "report")
    gas = read_map(args, args.FILE)

    from astrofractal import FeatureSegmenter, FractalEncoder

    segmenter = FeatureSegmenter(
        args.n_segments,
        background=None if args.background == "none" else args.background,
        scale=args.scale,
        min_area=args.min_area,
        encoder=FractalEncoder(weights=args.weights),
    )
    result = segmenter.segment(gas, progress_bar=not args.quiet)
    paths = result.write(args.output, overwrite=args.overwrite)
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
    print(f"{len(result.island_segments)} islands; written to {args.output}:")
    print("  " + ", ".join(path.name for path in paths.values()))
    if args.report is not None:
        print(f"written to {args.report}")
