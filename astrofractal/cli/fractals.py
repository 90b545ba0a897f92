"""Make fractal flames: a folder of images for pretraining, a picture to look at,
or both.

Image i depends on the seed and i alone. An interrupted command is resumed by
the same command, and a larger --n-images adds to a folder. The folder gets:

  flames-000000.npy, ...   16-bit images of shape (n, 3, size, size)
  flames.json              the settings
"""

from astrofractal._utils.validation import refuse
from astrofractal.cli.options import add_output, check_files, check_folder

HELP = "render fractal flames to files or to a picture"


def add_arguments(parser):
    add = parser.add_argument
    add("--n-images", type=int, default=64, metavar="N", help="how many (default: %(default)s)")
    add("--size", type=int, default=96, metavar="PX", help="width in pixels (default: %(default)s)")
    add("--seed", type=int, default=0, help="the seed of the stream (default: %(default)s)")
    add(
        "--rendering", default="gas", choices=("gas", "moments", "palette"), metavar="KIND",
        help="gas (log N, velocity and dispersion), moments (unitless) or palette (colors); "
        "default: gas",
    )  # fmt: skip
    add(
        "--n-points", type=int, default=50_000, metavar="N",
        help="points of the chaos game in the frame (default: %(default)s)",
    )  # fmt: skip
    add("--n-workers", type=int, default=1, metavar="N", help="processes (default: %(default)s)")
    add_output(parser, "DIR", "the folder to write to, or to continue")
    add("--contact-sheet", metavar="PNG", help="write the first images, 64 at most, as one picture")


def run(args):
    nothing = args.output is None and args.contact_sheet is None
    refuse({"one of --output and --contact-sheet is needed": nothing})
    check_folder(args)
    check_files(args, "contact_sheet")
    from astrofractal.fractals import FlameStream, write_contact_sheet, write_shards

    images = FlameStream(
        args.seed, args.size, args.n_points, args.rendering, n_images=args.n_images
    )
    if args.output is not None:
        options = {"n_workers": args.n_workers, "progress_bar": not args.quiet}
        images = write_shards(args.output, images, **options)
        if not args.quiet:
            print(f"{args.output}: {len(images)} images")
    if args.contact_sheet is not None:
        shown = [images[i] for i in range(min(64, len(images)))]
        write_contact_sheet(shown, args.contact_sheet, rendering=args.rendering)
        if not args.quiet:
            print(args.contact_sheet)
