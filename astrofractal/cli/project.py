"""Make a labeled map set from a folder of simulation snapshots.

Around each sink particle of each snapshot a map is made along each line of sight: column density,
velocity and velocity dispersion, with the mass of the sink as its label.  The result is one FITS
file that `astrofractal mass --calibrate` and `StellarMassEstimator.fit` understand.

Snapshots of GADGET, GIZMO and AREPO (HDF5), FLASH, Enzo, Athena++, RAMSES and Phantom are found by
what they hold.

examples:
  astrofractal project runs/cloud1 --output cloud1.fits
  astrofractal project runs/cloud1 --output slab.fits --depth 0.5 --axes z
  astrofractal project athena/ --output maps.fits --sinks "sinks/{stem}.ecsv" \\
      --units length=1pc density=2e-21g/cm3 velocity=1km/s
"""

from pathlib import Path

NAME = "project"
HELP = "make labeled maps from simulation snapshots"


def add_arguments(parser):
    """Declare the arguments of ``astrofractal project``."""
    parser.add_argument("folder", help="folder of snapshots of one simulation, or one snapshot")
    parser.add_argument("--output", "-o", required=True, help="the FITS file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
    parser.add_argument("--name", help="name of the simulation (default: the folder's name)")
    parser.add_argument(
        "--axes", nargs="+", default=["x", "y", "z"], metavar="AXIS",
        help="lines of sight: x, y, z or vectors as 1,1,0 (default: x y z)",
    )  # fmt: skip
    parser.add_argument(
        "--size", type=float, default=0.5, help="width of a map in pc (%(default)s)"
    )
    parser.add_argument("--pixels", type=int, default=64, help="pixels a side (%(default)s)")
    parser.add_argument(
        "--depth", type=float, help="depth along the line of sight in pc (default: all the gas)"
    )
    parser.add_argument(
        "--mass-range", nargs=2, type=float, default=[0.05, 30.0], metavar=("LOW", "HIGH"),
        help="masses of the sinks that get a map, in solar masses (default: 0.05 30)",
    )  # fmt: skip
    parser.add_argument(
        "--temperature", type=float, metavar="K",
        help="add the thermal dispersion of gas at this temperature (default: none)",
    )  # fmt: skip
    parser.add_argument(
        "--sinks", metavar="TABLE",
        help="table of sinks (mass, x, y, z with units; sink) for snapshots that hold none; "
        "{stem} stands for the snapshot's name without its suffix",
    )  # fmt: skip
    parser.add_argument(
        "--units", nargs="+", metavar="NAME=VALUE",
        help="one code unit of length, mass or density, velocity or time, as length=1pc",
    )  # fmt: skip
    parser.add_argument("--every", type=int, default=1, help="take every n-th snapshot")
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress bar")


def _sight(text):
    if "," not in text:
        return text
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        msg = f"--axes must be x, y, z or a vector as 1,1,0, got {text!r}"
        raise ValueError(msg) from None


def _units(pairs):
    from astropy import units as u

    units = {}
    for pair in pairs or ():
        name, _, value = pair.partition("=")
        try:
            units[name] = u.Quantity(value)
        except (TypeError, ValueError):
            msg = f"--units must be as length=1pc density=1e-21g/cm3 velocity=1km/s, got {pair!r}"
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
        snapshot_format,
    )

    sights = {text: _sight(text) for text in args.axes}
    for sight in sights.values():
        line_of_sight_basis(sight)
    if Path(args.output).exists() and not args.overwrite:
        msg = f"{args.output!r} exists: give --overwrite to replace it"
        raise FileExistsError(msg)
    folder = Path(args.folder)
    single = snapshot_format(folder) is not None
    paths = [folder] if single else find_snapshots(folder)
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
                yield read_snapshot(path, sinks=sinks, units=units, name=name)

    maps = map_set(
        Snapshots(),
        lines_of_sight=sights,
        size=args.size * u.pc,
        shape=(args.pixels, args.pixels),
        depth=None if args.depth is None else args.depth * u.pc,
        mass_range=args.mass_range * u.solMass,
        thermal=None if args.temperature is None else args.temperature * u.K,
        progress_bar=not args.quiet,
    )
    maps.write(args.output, overwrite=args.overwrite)
    print(f"{args.output}: {maps!r}")
