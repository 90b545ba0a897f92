"""Make a labeled map set from a folder of simulation snapshots.

Around each sink particle of each snapshot a map is made along each line of
sight: column density, velocity and velocity dispersion, with the mass of the
sink as its label.  The result is one FITS file that `astrofractal calibrate`
and `StellarMassEstimator.fit` understand.

Snapshots of GADGET, GIZMO and AREPO (HDF5), FLASH, Enzo, Athena++, RAMSES and
Phantom are found by what they hold.

examples:
  astrofractal project runs/cloud1 --output cloud1.fits
  astrofractal project runs/cloud1 --output slab.fits --depth 0.5 --axes z
  astrofractal project athena/ --output maps.fits --sinks "sinks/{stem}.ecsv" \\
      --units length=1pc density=2e-21g/cm3 velocity=1km/s
"""

from pathlib import Path

from astrofractal.cli.options import add_output, check_output, quantity

HELP = "make labeled maps from simulation snapshots"


def add_arguments(parser):
    """Declare the arguments of ``astrofractal project``."""
    parser.add_argument("folder", help="folder of snapshots of one simulation, or one snapshot")
    add_output(parser, metavar="FILE", help="the FITS file to write", required=True)
    parser.add_argument("--name", help="name of the simulation (default: the folder's name)")
    parser.add_argument(
        "--axes", nargs="+", default=["x", "y", "z"], metavar="AXIS",
        help="lines of sight: x, y, z or vectors such as 1,1,0 (default: x y z)",
    )  # fmt: skip
    parser.add_argument(
        "--size",
        type=quantity("0.5 pc", bare="pc"),
        default="0.5 pc",
        metavar="LENGTH",
        help="width of a map, in pc or with a unit (default: %(default)s)",
    )
    parser.add_argument(
        "--pixels", type=int, default=64, help="pixels on a side (default: %(default)s)"
    )
    parser.add_argument(
        "--depth",
        type=quantity("0.5 pc", bare="pc"),
        metavar="LENGTH",
        help="depth along the line of sight (default: all the gas)",
    )
    parser.add_argument(
        "--mass-range", nargs=2, type=float, default=[0.05, 30.0], metavar=("LOW", "HIGH"),
        help="masses of the sinks that get a map, in solar masses (default: 0.05 30)",
    )  # fmt: skip
    parser.add_argument(
        "--temperature", type=quantity("10 K", bare="K"), metavar="T",
        help="add the thermal dispersion of gas at this temperature, in K (default: none)",
    )  # fmt: skip
    parser.add_argument(
        "--sinks", metavar="TABLE",
        help="table of sinks (mass, x, y, z with units; sink) for snapshots that hold none; "
        "{stem} stands for the snapshot's name without its suffix",
    )  # fmt: skip
    parser.add_argument(
        "--reservoir", action="store_true",
        help="GIZMO, STARFORGE: add the gas that waits in a sink to the mass of its star",
    )  # fmt: skip
    parser.add_argument(
        "--molecular", action="store_true", help="GIZMO, STARFORGE: count molecular gas alone"
    )
    parser.add_argument(
        "--units", nargs="+", metavar="NAME=VALUE",
        help="one code unit of length, mass or density, velocity or time, such as length=1pc",
    )  # fmt: skip
    parser.add_argument("--every", type=int, default=1, help="take every n-th snapshot")


def _sight(text):
    if "," not in text:
        return text
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        msg = f"--axes must be x, y, z or a vector such as 1,1,0, got {text!r}"
        raise ValueError(msg) from None


def _units(pairs):
    from astropy import units as u

    units = {}
    for pair in pairs or ():
        name, _, value = pair.partition("=")
        try:
            units[name] = u.Quantity(value)
        except (TypeError, ValueError):
            msg = f"--units must be like length=1pc density=1e-21g/cm3 velocity=1km/s, got {pair!r}"
            raise ValueError(msg) from None
    return units or None


def run(args):
    """Run ``astrofractal project``."""
    from astropy import units as u

    from astrofractal._utils.validation import positive_int
    from astrofractal.simulations import (
        find_snapshots,
        line_of_sight_basis,
        map_set,
        read_snapshot,
    )

    sights = {text: _sight(text) for text in args.axes}
    for sight in sights.values():
        line_of_sight_basis(sight)
    check_output("--output", args.output, overwrite=args.overwrite)
    folder = Path(args.folder)
    paths = find_snapshots(folder)
    single = paths == [folder]
    paths = paths[:: positive_int("--every", args.every)]
    name = args.name or (folder.resolve().parent if single else folder.resolve()).name
    units = _units(args.units)

    class Snapshots:
        """The snapshots, read one at a time, with a length for the progress bar."""

        def __len__(self):
            return len(paths)

        def __iter__(self):
            for path in paths:
                sinks = None if args.sinks is None else args.sinks.replace("{stem}", path.stem)
                yield read_snapshot(
                    path,
                    sinks=sinks,
                    units=units,
                    name=name,
                    molecular=args.molecular,
                    reservoir=args.reservoir,
                )

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
