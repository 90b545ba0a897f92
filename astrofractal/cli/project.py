"""Make a labeled map set from a folder of simulation snapshots.

Around each sink particle of each snapshot a map is made along each line of
sight: column density, velocity and velocity dispersion, with the mass of the
sink as its label. The result is one FITS file for 'astrofractal calibrate' and
`StellarMassEstimator.fit`.

Formats: GADGET, GIZMO and AREPO (HDF5), FLASH, Enzo, Athena++, RAMSES, Phantom.

examples:
  astrofractal project runs/cloud1 --output cloud1.fits
  astrofractal project runs/cloud1 --output slab.fits --depth 0.5 --axes z
  astrofractal project athena/ --output maps.fits --sinks "sinks/{stem}.ecsv" \\
      --units length=1pc density=2e-21g/cm3 velocity=1km/s
"""

from pathlib import Path

from astrofractal.cli.options import add_output, add_quantity, as_quantity, check_files, setting

HELP = "make labeled maps from simulation snapshots"


def add_arguments(parser):
    add = parser.add_argument
    add("FOLDER", help="folder of snapshots of one simulation, or one snapshot")
    add_output(parser, "FILE", "the FITS file to write", required=True)
    add("--name", help="of the simulation (default: the folder's name)")
    add(
        "--axes", nargs="+", default=["x", "y", "z"], metavar="AXIS",
        help="lines of sight: x, y, z or vectors such as 1,1,0 (default: x y z)",
    )  # fmt: skip
    add_quantity(
        parser, "--size", "0.5 pc", "width of a map (default: 0.5 pc)", bare="pc", default="0.5 pc"
    )
    add("--pixels", type=int, default=64, metavar="N", help="on a side (default: %(default)s)")
    add_quantity(parser, "--depth", "0.5 pc", "along the line of sight (default: all)", bare="pc")
    add(
        "--mass-range", nargs=2, type=float, default=[0.05, 30.0], metavar=("LOW", "HIGH"),
        help="masses of the sinks that get a map, in solar masses (default: 0.05 30)",
    )  # fmt: skip
    add_quantity(
        parser, "--temperature", "10 K", "of gas whose thermal dispersion is added", bare="K"
    )
    add(
        "--sinks", metavar="TABLE",
        help="table of sinks (mass, x, y, z with units; sink) for snapshots without; {stem} is "
        "replaced by the snapshot's name without its suffix",
    )  # fmt: skip
    add(
        "--starforge", nargs="+", choices=("reservoir", "molecular"), default=(), metavar="WHAT",
        help="GIZMO, STARFORGE: reservoir adds the gas that waits in a sink to the mass of its "
        "star, molecular counts molecular gas alone",
    )  # fmt: skip
    add(
        "--units", nargs="+", metavar="NAME=VALUE", type=setting(as_quantity),
        help="one code unit of length, mass or density, velocity or time: length=1pc",
    )  # fmt: skip


def _sight(text):
    if "," not in text:
        return text
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        msg = f"--axes must be x, y, z or a vector such as 1,1,0, got {text!r}"
        raise ValueError(msg) from None


def run(args):
    from astropy import units as u

    from astrofractal.simulations import find_snapshots, line_of_sight_basis, map_set, read_snapshot

    sights = {text: _sight(text) for text in args.axes}
    for sight in sights.values():
        line_of_sight_basis(sight)
    check_files(args, "output")
    folder = Path(args.FOLDER)
    paths = find_snapshots(folder)
    name = args.name or (folder.resolve().parent if paths == [folder] else folder.resolve()).name
    options = dict.fromkeys(args.starforge, True)
    if args.units:
        options["units"] = dict(args.units)

    class Snapshots:
        """The snapshots, read one at a time, with a length for the progress bar."""

        def __len__(self):
            return len(paths)

        def __iter__(self):
            for path in paths:
                sinks = None if args.sinks is None else args.sinks.replace("{stem}", path.stem)
                yield read_snapshot(path, sinks=sinks, name=name, **options)

    maps = map_set(
        Snapshots(),
        lines_of_sight=sights,
        size=args.size,
        shape=(args.pixels, args.pixels),
        depth=args.depth,
        mass_range=args.mass_range * u.solMass,
        thermal=args.temperature,
        progress_bar=not args.quiet,
    )
    maps.write(args.output, overwrite=args.overwrite)
    if not args.quiet:
        print(f"{args.output}: {maps!r}")
