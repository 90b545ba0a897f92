"""Divide a map of gas into segments by the features of the frozen network.

FILE is a FITS map of the column density; extensions V_LOS and SIGMA_V, or a cube of three planes, add
the velocities, or --velocity and --dispersion name their files. With a conversion factor it may be an
extinction map, dust emission, an integrated line or a position-position-velocity cube. The unit
is BUNIT (cm-2, g/cm2, Msun/pc2), or say it with --unit. No label is needed: segments are numbered by
column density, from 1 (thin) up; 0 is where the map has no data. Written to the output folder:

  labels.fits        the segment and the connected piece that each pixel belongs to
  regions.reg        the outlines on the sky (DS9); also regions.crtf (CASA), regions.fits (pixels)
  segments.ecsv      area, column density, gas mass, velocities, virial parameter of each segment
  pieces.ecsv        the same for each connected piece, and which piece encloses it
  components.fits    the principal components of the features, and their colors
  correlations.ecsv  what the components follow
  overview.png       the picture

examples:
  astrofractal segment cloud.fits --distance 300
  astrofractal segment N.fits --velocity v.fits --dispersion sigma.fits --distance 140 -n 5
  astrofractal segment nh3.fits --log10 --no-data 0 --abundance 1e-8 --distance 138
  astrofractal segment av.fits --unit mag --extinction-ratio "9.4e20 cm-2 / mag" --distance 300
"""

from astrofractal.cli._maps import add_map_arguments, read_map

NAME = "segment"
HELP = "divide a map into segments: labels, regions, masses, a picture"


def add_arguments(parser):
    """Declare the arguments of ``astrofractal segment``."""
    parser.add_argument("file", metavar="FILE", help="the map (FITS)")
    parser.add_argument(
        "--output",
        "-o",
        metavar="DIR",
        help="the folder to write to (default: FILE's name with -segments, in this folder)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files of an earlier run")
    add_map_arguments(parser.add_argument_group("the map"))
    group = parser.add_argument_group("the segments")
    group.add_argument(
        "-n",
        "--n-segments",
        default="6",
        metavar="N",
        help="how many segments, or 'auto' (default: %(default)s)",
    )
    group.add_argument(
        "--method",
        choices=("kmeans", "gmm", "hdbscan"),
        default="kmeans",
        help="the clustering (default: %(default)s)",
    )
    group.add_argument(
        "--min-area",
        metavar="AREA",
        help="smaller pieces join a neighbor: pixels, or with a unit, as '0.01 pc2', '3 beam'",
    )
    group.add_argument(
        "--scale",
        metavar="PC",
        help="parsecs a pixel at which the network sees the map, or 'none' for pixels as they are "
        "(default: 0.5 pc for a window, where WCS and distance are known)",
    )
    group.add_argument("--random-state", type=int, default=0, metavar="SEED", help="default: 0")
    group.add_argument(
        "--weights", default="bundled", metavar="FILE", help="weights other than the bundled ones"
    )
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress bar, no table")


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
    if not args.overwrite and folder.is_dir() and any(folder.iterdir()):
        msg = f"--output {output!r} is not empty: choose another folder or add --overwrite"
        raise FileExistsError(msg)
    gas = read_map(args, args.file)

    from astrofractal import FeatureSegmenter, FractalEncoder

    segmenter = FeatureSegmenter(
        _number(args.n_segments),
        method=args.method,
        encoder=FractalEncoder(weights=args.weights),
        min_area=_area(args.min_area),
        pixel_scale=_scale(args.scale),
        random_state=args.random_state,
    )
    result = segmenter.segment(gas, progress_bar=not args.quiet)
    paths = result.write(folder, overwrite=args.overwrite)
    if args.quiet:
        return
    print(f"{gas!r}")
    _print_table(result.table)
    print(f"{len(result.piece_segments)} pieces; written to {folder}:")
    print("  " + ", ".join(path.name for path in paths.values()))


def _number(text):
    if text == "auto":
        return text
    try:
        return int(text)
    except ValueError:
        msg = f"--n-segments must be a number or 'auto', got {text!r}"
        raise ValueError(msg) from None


def _quantity(name, text, example):
    from astropy import units as u

    try:
        return u.Quantity(text)
    except (TypeError, ValueError):
        msg = f"{name} must be a number with a unit, as {example!r}, got {text!r}"
        raise ValueError(msg) from None


def _area(text):
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        return _quantity("--min-area", text, "0.01 pc2")


def _scale(text):
    from astropy import units as u

    if text is None:
        return "auto"
    if text == "none":
        return None
    try:
        return float(text) * u.pc
    except ValueError:
        return _quantity("--scale", text, "0.01 pc")


def _print_table(table):
    shown = (
        "label",
        "n_pieces",
        "area",
        "n_pixels",
        "mean_column_density",
        "gas_mass",
        "mean_velocity",
        "total_dispersion",
        "virial_parameter",
    )
    brief = table[[name for name in shown if name in table.colnames]]
    for name in brief.colnames:
        if brief[name].dtype.kind == "f":
            brief[name].info.format = ".3g"
    print("\n".join(brief.pformat(max_lines=-1, max_width=-1)))
