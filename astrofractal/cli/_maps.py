"""The arguments that say what a map is, for every subcommand that reads one."""

__all__ = ["add_map_arguments", "read_map"]


def add_map_arguments(group):
    """Declare the arguments of `read_map`."""
    group.add_argument("--velocity", metavar="FILE", help="map of the line-of-sight velocity")
    group.add_argument("--dispersion", metavar="FILE", help="map of the velocity dispersion")
    group.add_argument(
        "--distance", type=float, metavar="PC", help="distance in pc (default: the header's)"
    )
    group.add_argument("--unit", help="unit of the column density, in place of BUNIT")
    group.add_argument("--log10", action="store_true", help="the values are log10 of the column")
    group.add_argument(
        "--no-data", type=float, metavar="VALUE", help="a value that means 'nothing here', as 0"
    )
    group.add_argument(
        "--abundance", type=float, help="molecules per H2, where N is that of another molecule"
    )
    group.add_argument("--beam", type=float, metavar="ARCSEC", help="FWHM of the beam")


def read_map(args, path):
    """Read the map at ``path`` as the arguments say."""
    from astropy import units as u

    from astrofractal import GasMap

    options = {
        "distance": None if args.distance is None else args.distance * u.pc,
        "beam": None if args.beam is None else args.beam * u.arcsec,
        "unit": args.unit,
        "log10": args.log10,
        "no_data": args.no_data,
    }
    if args.velocity is None and args.dispersion is None and args.abundance is None:
        return GasMap.read(path, **options)
    return GasMap.from_maps(
        path, args.velocity, args.dispersion, abundance=args.abundance, **options
    )
