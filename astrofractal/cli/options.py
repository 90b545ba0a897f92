"""Options that several subcommands share, the types of their values, and how tables are shown."""

import argparse
import os
import re
from pathlib import Path

__all__ = [
    "add_hidden_map_arguments",
    "add_map_arguments",
    "add_n_workers",
    "add_output",
    "add_quiet",
    "add_random_state",
    "add_report",
    "add_weights",
    "check_folder",
    "check_output",
    "check_report",
    "number_or_quantity",
    "number_or_text",
    "quantity",
    "read_map",
    "show_table",
]


def add_quiet(parser):
    """Declare ``--quiet``, which every subcommand has."""
    parser.add_argument(
        "--quiet", "-q", action="store_true", help="print nothing but warnings and errors"
    )


def add_output(parser, *, metavar, help, default=None, required=False):
    """Declare ``--output`` and ``--overwrite``."""
    parser.add_argument(
        "--output", "-o", metavar=metavar, default=default, required=required, help=help
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what exists")


def add_report(parser):
    """Declare ``--report``."""
    parser.add_argument(
        "--report", metavar="PAGE",
        help="write a page for the browser (.html) with all of it: pictures, tables, what flags "
        "mean, calibration, versions",
    )  # fmt: skip


def add_weights(parser, *, default="bundled", help=""):
    """Declare ``--weights``."""
    parser.add_argument(
        "--weights", metavar="FILE", default=default,
        help="weights other than the bundled ones, or 'random'" + help,
    )  # fmt: skip


def add_random_state(parser):
    """Declare ``--random-state``."""
    parser.add_argument(
        "--random-state", type=int, default=0, metavar="SEED", help="default: %(default)s"
    )


def add_n_workers(parser):
    """Declare ``--n-workers``."""
    parser.add_argument(
        "--n-workers", type=int, default=1, metavar="N",
        help="processes that render (default: %(default)s)",
    )  # fmt: skip


def check_output(option, path, *, overwrite):
    """Refuse before the work a file that could not be written after it."""
    if path is None:
        return
    path = Path(path)
    if path.exists() and not overwrite:
        msg = f"{option} {str(path)!r} exists: add --overwrite"
        raise FileExistsError(msg)
    if path.is_dir():
        msg = f"{option} must be a file, {str(path)!r} is a folder"
        raise IsADirectoryError(msg)
    _check_writable(option, path, path.absolute().parent)


def check_folder(option, path, *, overwrite=True):
    """Refuse before the work a folder that could not be written to after it."""
    if path is None:
        return
    path = Path(path)
    if path.exists() and not path.is_dir():
        msg = f"{option} must be a folder, {str(path)!r} is a file"
        raise NotADirectoryError(msg)
    if not overwrite and path.is_dir() and any(path.iterdir()):
        msg = f"{option} {str(path)!r} is not empty: choose another folder or add --overwrite"
        raise FileExistsError(msg)
    _check_writable(option, path, path.absolute())


def _check_writable(option, path, folder):
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        msg = f"{option} {str(path)!r} cannot be written: {str(folder)!r} is not a folder"
        raise NotADirectoryError(msg)
    if not os.access(folder, os.W_OK | os.X_OK):
        msg = f"{option} {str(path)!r} cannot be written: no permission in {str(folder)!r}"
        raise PermissionError(msg)


def check_report(path, *, overwrite):
    """Refuse before the work a page that could not be written after it."""
    if path is not None:
        from astrofractal.report.page import check_page

        try:
            check_page(path)
        except ValueError as error:
            msg = f"--report: {error}"
            raise ValueError(msg) from error
        check_output("--report", path, overwrite=overwrite)


def quantity(example, *, bare=None, check=True):
    """Return a type for `argparse`: a number with a unit."""

    def convert(text):
        from astropy import units as u

        value = _parse_quantity(text)
        if value is not None and value.unit == u.one and bare is not None:
            value = value.value * u.Unit(bare)
        if value is None or value.unit == u.one:
            msg = f"must be a number with a unit, such as {example!r}, got {text!r}"
            raise argparse.ArgumentTypeError(msg)
        unit = _parse_quantity(example).unit
        if check and not value.unit.is_equivalent(unit, u.spectral()):
            msg = f"must be in a unit such as in {example!r}, got {text!r}"
            raise argparse.ArgumentTypeError(msg)
        return value

    return convert


def _parse_quantity(text):
    """Return the quantity that a text says, or `None`."""
    from astropy import units as u

    # astropy reads no quotient within parentheses: "cm-2 / (K km/s)", "cm-2 (K km/s)^-1"
    plain = re.sub(r"\b(k?m)\s*/\s*s\b(?=[^(]*\))", r"\1 s-1", text)
    plain = re.sub(r"\s*\(([^()]*)\)\s*(?:\^|\*\*)?\(?-1\)?$", r" / (\1)", plain)
    try:
        return u.Quantity(plain)
    except (TypeError, ValueError):
        return None


def number_or_quantity(example, *, check=True):
    """Return a type like that of `quantity` that leaves a plain number as it is."""

    def convert(text):
        try:
            return float(text)
        except ValueError:
            return quantity(example, check=check)(text)

    return convert


def number_or_text(*texts):
    """Return a type for `argparse`: an integer or one of some words."""

    def convert(text):
        if text in texts:
            return text
        try:
            return int(text)
        except ValueError:
            words = " or ".join(repr(word) for word in texts)
            msg = f"must be a number or {words}, got {text!r}"
            raise argparse.ArgumentTypeError(msg) from None

    return convert


def show_table(table, columns=None, **options):
    """Print all rows of a table, and those of the columns that it has."""
    columns = table.colnames if columns is None else columns
    table = table[[name for name in columns if name in table.colnames]]
    table.pprint_exclude_names = ()
    for column in table.itercols():
        kind = getattr(getattr(column, "dtype", None), "kind", None)  # sky coordinates have none
        if kind == "f" and not column.info.format:
            column.info.format = ".3g"
    print("\n".join(table.pformat(max_lines=-1, max_width=-1, **options)))


#: Options that only a cube takes.
_OF_CUBES = ("velocity_range", "noise", "snr")

_OF_MAPS = ("distance", "beam", "pixel_scale", "no_data", "dispersion_kind", "line_width")

_OPACITY = "0.02 cm2/g"


def add_map_arguments(group):
    """Declare the arguments of `read_map`, those of `GasMap.read` and the dataclasses of its column."""
    group.add_argument("--velocity", metavar="FILE", help="map of the line-of-sight velocity")
    group.add_argument("--dispersion", metavar="FILE", help="map of the velocity dispersion")
    group.add_argument(
        "--dispersion-kind", choices=("sigma", "fwhm", "variance"),
        help="what --dispersion holds (default: as its unit says)",
    )  # fmt: skip
    group.add_argument(
        "--uncertainty", metavar="FILE", action="append", default=[],
        help="map of the standard deviation of the column density; given again, of velocity and "
        "dispersion",
    )  # fmt: skip
    group.add_argument("--hdu", metavar="NAME", help="extension that holds the map or cube")
    group.add_argument(
        "--distance", type=quantity("0.3 kpc", bare="pc"), metavar="D",
        help="in pc, or with a unit, such as '0.3 kpc' (default: the header's)",
    )  # fmt: skip
    group.add_argument(
        "--pixel-scale", type=quantity("0.01 pc"), metavar="LENGTH",
        help="width of a pixel of a map without WCS, such as '0.01 pc'",
    )  # fmt: skip
    group.add_argument(
        "--unit",
        help="unit of the column density (or cube) in place of BUNIT, such as 'dex(cm-2)' for a "
        "logarithm; 'cm-2,m/s,m/s' for three maps, ',m/s' for the velocity alone",
    )
    group.add_argument(
        "--no-data", type=float, metavar="VALUE",
        help="a value that means 'nothing here', such as 0",
    )  # fmt: skip
    group.add_argument(
        "--beam", type=quantity("20 arcsec", bare="arcsec"), metavar="FWHM",
        help="in arcsec, or with a unit (default: the header's)",
    )  # fmt: skip
    group.add_argument(
        "--line-width", type=quantity("0.07 km/s"), metavar="SIGMA",
        help="thermal and instrumental dispersion to take out, such as '0.07 km/s'",
    )  # fmt: skip
    group.add_argument(
        "--x-factor", type=quantity("2e20 cm-2 / (K km/s)", check=False), metavar="X",
        help="FILE is a cube or an integrated line: N(H2) per K km/s, such as "
        "'2e20 cm-2 / (K km/s)'",
    )  # fmt: skip
    group.add_argument(
        "--rest-frequency", type=quantity("110.201354 GHz"), metavar="NU",
        help="of the line, where the header has none, such as '110.201354 GHz'",
    )  # fmt: skip
    group.add_argument(
        "--extinction", type=quantity("9.4e20 cm-2 / mag", check=False), metavar="N/A",
        help="FILE is an extinction: N(H2) per magnitude, such as '9.4e20 cm-2 / mag'",
    )  # fmt: skip
    group.add_argument(
        "--dust", nargs=3, metavar=("T|FILE", "NU", "KAPPA"),
        help="FILE is dust emission: its temperature such as '15 K' (or a map), frequency such as "
        "'850 um', and opacity per gram of gas and dust such as '0.02 cm2/g', or hildebrand, or "
        "hildebrand:BETA",
    )  # fmt: skip
    group.add_argument(
        "--abundance", type=float, help="FILE is the column density of a molecule: molecules per H2"
    )
    group.add_argument(
        "--velocity-range", type=quantity("0 km/s"), nargs=2, metavar=("LOW", "HIGH"),
        help="the cube's line is between these, such as '0 km/s' '12 km/s'",
    )  # fmt: skip
    group.add_argument(
        "--noise", type=quantity("0.1 K", check=False), metavar="RMS",
        help="of a channel of the cube, such as '0.1 K' (default: measured)",
    )  # fmt: skip
    group.add_argument(
        "--snr", type=float, metavar="RATIO",
        help="lowest signal-to-noise ratio of a line in the cube (default: 4)",
    )  # fmt: skip


class _Hidden:
    """A group whose arguments the help of another command shows."""

    def __init__(self, parser):
        self._parser = parser

    def add_argument(self, *names, help, **options):
        self._parser.add_argument(*names, help=argparse.SUPPRESS, **options)


def add_hidden_map_arguments(parser):
    """Declare the arguments of `read_map`, which the help of ``mass`` describes."""
    add_map_arguments(_Hidden(parser))


def read_map(args, path):
    """Read the map or cube at ``path`` as the arguments say."""
    from astropy import units as u

    from astrofractal import GasMap
    from astrofractal.gasmap.moments import CHANNELS

    options = _given(args, (*_OF_MAPS, "velocity", "dispersion", "hdu"))
    if args.hdu is not None and args.hdu.isdigit():
        options["hdu"] = int(args.hdu)
    if args.uncertainty:
        if len(args.uncertainty) > len(CHANNELS):
            msg = f"--uncertainty must be given at most {len(CHANNELS)} times"
            raise ValueError(msg)
        options["uncertainty"] = dict(zip(CHANNELS, args.uncertainty, strict=False))
    if args.unit is not None:
        units = [part.strip() for part in args.unit.split(",")]
        named = {name: one for name, one in zip(CHANNELS, units, strict=False) if one}
        options["unit"] = args.unit if len(units) == 1 else named
    column = _column(args)
    if column is not None:
        options["column"] = column
    of_cubes = _given(args, _OF_CUBES)
    if not of_cubes:
        return GasMap.read(path, **options)
    wrong = set(options) - {"distance", "unit", "hdu", "beam", "column", "line_width"}
    if wrong:
        one, other = (f"--{name.replace('_', '-')}" for name in (min(wrong), min(of_cubes)))
        msg = f"{one} describes maps and {other} a cube: one of them is not for {path!r}"
        raise ValueError(msg)
    if "velocity_range" in of_cubes:
        of_cubes["velocity_range"] = u.Quantity(args.velocity_range)
    return GasMap.from_cube(path, **options, **of_cubes)


def _given(args, names):
    """Return the arguments that were given, by name."""
    values = {name: getattr(args, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _column(args):
    """Return the conversion to a column density that was asked for, or `None`."""
    from astrofractal.gasmap import Abundance, Extinction, XFactor

    asked = _given(args, ("x_factor", "extinction", "dust", "abundance"))
    if len(asked) > 1:
        options = " and ".join(f"--{name.replace('_', '-')}" for name in asked)
        msg = f"{options} exclude one another: give the one that describes the map"
        raise ValueError(msg)
    if args.rest_frequency is not None and args.x_factor is None:
        msg = "--rest-frequency is that of a line: give --x-factor as well"
        raise ValueError(msg)
    if args.x_factor is not None:
        return XFactor(args.x_factor, args.rest_frequency)
    if args.extinction is not None:
        return Extinction(args.extinction)
    if args.dust is not None:
        return _dust(*args.dust)
    return None if args.abundance is None else Abundance(args.abundance)


def _dust(temperature, frequency, opacity):
    """Return dust emission from the three words of ``--dust``."""
    from astrofractal.gasmap import DustEmission, hildebrand_opacity

    if not Path(temperature).is_file():
        temperature = _convert(temperature, "15 K")
    frequency = _convert(frequency, "850 um")
    name, _, beta = opacity.partition(":")
    if name != "hildebrand":
        return DustEmission(temperature, frequency, _convert(opacity, _OPACITY))
    try:
        kappa = hildebrand_opacity(frequency, beta=float(beta or 2))
    except ValueError as error:
        msg = f"--dust hildebrand:BETA needs a number, got {opacity!r}"
        raise ValueError(msg) from error
    return DustEmission(temperature, frequency, kappa)


def _convert(text, example):
    try:
        return quantity(example)(text)
    except argparse.ArgumentTypeError as error:
        msg = f"--dust: a part {error}"
        raise ValueError(msg) from None
