"""Options that several subcommands share, the types of their values, and how tables are shown."""

import argparse
import os
import re
from pathlib import Path


def add_output(parser, metavar, help, **options):
    """Declare ``--output`` and ``--overwrite``."""
    parser.add_argument("--output", "-o", metavar=metavar, help=help, **options)
    parser.add_argument("--overwrite", action="store_true", help="replace what exists")


def add_report(parser):
    """Declare ``--report``."""
    parser.add_argument(
        "--report", metavar="PAGE", type=_page, help="write all of it as a page for the browser"
    )


def add_weights(parser, *, default="bundled"):
    """Declare ``--weights``."""
    parser.add_argument(
        "--weights", metavar="FILE", default=default, help="other weights, or 'random'"
    )


def _page(path):
    """Return the path of a page that `write_report` can write."""
    from astrofractal.report.report import check_page

    return _checked(check_page, path)


def catalog_path(path):
    """Return the path of a table that `write_catalog` can write."""
    from astrofractal.catalogs.files import check_suffix

    return _checked(check_suffix, path)


def _checked(check, path):
    try:
        check(path)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return path


def check_inputs(*paths):
    """Refuse files and folders that do not exist, before anything slow is imported."""
    for path in paths:
        if path is not None and not Path(path).exists():
            msg = f"no such file or folder: {path!r}"
            raise FileNotFoundError(msg)


def check_files(args, *names):
    """Refuse before the work files that could not be written after it."""
    for name in names:
        path = getattr(args, name)
        if path is None:
            continue
        option, path = _option(name), Path(path)
        if path.exists() and not args.overwrite:
            msg = f"{option} {str(path)!r} exists: add --overwrite"
            raise FileExistsError(msg)
        if path.is_dir():
            msg = f"{option} must be a file, {str(path)!r} is a folder"
            raise IsADirectoryError(msg)
        _check_writable(option, path, path.absolute().parent)


def check_folder(args, name="output", *, empty=False):
    """Refuse before the work a folder that could not be written to after it."""
    if getattr(args, name) is None:
        return
    option, path = _option(name), Path(getattr(args, name))
    if path.exists() and not path.is_dir():
        msg = f"{option} must be a folder, {str(path)!r} is a file"
        raise NotADirectoryError(msg)
    if empty and not args.overwrite and path.is_dir() and any(path.iterdir()):
        msg = f"{option} {str(path)!r} is not empty: choose another folder or add --overwrite"
        raise FileExistsError(msg)
    _check_writable(option, path, path.absolute())


def _option(name):
    return f"--{name.replace('_', '-')}"


def _check_writable(option, path, folder):
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        msg = f"{option} {str(path)!r} cannot be written: {str(folder)!r} is not a folder"
        raise NotADirectoryError(msg)
    if not os.access(folder, os.W_OK | os.X_OK):
        msg = f"{option} {str(path)!r} cannot be written: no permission in {str(folder)!r}"
        raise PermissionError(msg)


def quantity(example, *, bare=None, check=True, words=()):
    """Return a type for `argparse`: a number with a unit (``bare`` if it has none), or a word."""

    def convert(text):
        from astropy import units as u

        if text in words:
            return text
        value = _parse_quantity(text)
        if value is not None and value.unit == u.one and bare is float:
            return float(value.value)
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


def add_quantity(group, option, example, help, *, bare=None, check=True, **options):
    """Declare an option whose value is a number with a unit."""
    kind = quantity(example, bare=bare, check=check)
    help = f"{help}, such as '{example}'"
    group.add_argument(option, type=kind, metavar="VALUE", help=help, **options)


def _parse_quantity(text):
    """Return the quantity that a text stands for, or `None`."""
    from astropy import units as u

    # astropy reads no quotient within parentheses: "cm-2 / (K km/s)", "cm-2 (K km/s)^-1"
    plain = re.sub(r"\b(k?m)\s*/\s*s\b(?=[^(]*\))", r"\1 s-1", text)
    plain = re.sub(r"\s*\(([^()]*)\)\s*(?:\^|\*\*)?\(?-1\)?$", r" / (\1)", plain)
    try:
        return u.Quantity(plain)
    except (TypeError, ValueError):
        return None


def setting(convert, names=None):
    """Return a type for `argparse`: NAME=VALUE, as a pair whose value is converted."""

    def pair(text):
        name, equals, value = text.partition("=")
        if not equals or (names is not None and name not in names):
            among = "" if names is None else f" with a name among {', '.join(names)}"
            msg = f"must be NAME=VALUE{among}, got {text!r}"
            raise argparse.ArgumentTypeError(msg)
        try:
            return name, convert(value)
        except (TypeError, ValueError) as error:
            msg = f"{name}: {error}"
            raise argparse.ArgumentTypeError(msg) from None

    return pair


def as_quantity(text):
    """Return a quantity, which may have no unit."""
    from astropy import units as u

    return u.Quantity(text)


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


#: The options that are parameters of `GasMap.read`, and those of `GasMap.from_cube` alone.
_OF_READ = (
    "velocity", "dispersion", "dispersion_kind", "hdu", "distance", "pixel_scale", "unit",
    "no_data", "beam", "line_width",
)  # fmt: skip
_OF_CUBES = ("velocity_range", "snr")
_OF_BOTH = {"distance", "unit", "hdu", "beam", "column", "line_width"}


def add_map_arguments(group):
    """Declare the arguments of `read_map`: parameters of `GasMap.read` and its conversions."""
    add = group.add_argument
    add("--velocity", metavar="FILE", help="map of the line-of-sight velocity")
    add("--dispersion", metavar="FILE", help="map of the velocity dispersion")
    add("--dispersion-kind", metavar="KIND", help="sigma, fwhm or variance (default: by its unit)")
    add(
        "--uncertainty", metavar="FILE", action="append", default=[],
        help="map of the error of the column density; given again, of velocity and dispersion",
    )  # fmt: skip
    add("--hdu", metavar="NAME", type=number_or_text, help="extension with the map or cube")
    add_quantity(group, "--distance", "0.3 kpc", "of the gas, in pc or with a unit", bare="pc")
    add_quantity(group, "--pixel-scale", "0.01 pc", "pixel of a map without WCS")
    add(
        "--unit", type=_units,
        help="in place of BUNIT, such as 'dex(cm-2)' for a logarithm; 'cm-2,m/s,m/s' for three "
        "maps, ',m/s' for the velocity alone",
    )  # fmt: skip
    add("--no-data", type=float, metavar="VALUE", help="value of missing data, such as 0")
    add_quantity(group, "--beam", "20 arcsec", "FWHM, in arcsec or with a unit", bare="arcsec")
    add_quantity(group, "--line-width", "0.07 km/s", "dispersion to subtract")
    add_quantity(
        group, "--x-factor", "2e20 cm-2 / (K km/s)",
        "for a cube or an integrated line: N(H2) per intensity", check=False,
    )  # fmt: skip
    add_quantity(group, "--rest-frequency", "110.2 GHz", "of the line")
    add_quantity(group, "--extinction", "9.4e20 cm-2 / mag", "for an extinction map", check=False)
    add(
        "--dust", nargs=3, metavar=("T", "NU", "KAPPA"),
        help="for dust emission: temperature '15 K' (or a map), frequency '850 um', opacity per "
        "gram of gas '0.02 cm2/g' or hildebrand[:BETA]",
    )  # fmt: skip
    add("--abundance", type=float, metavar="X", help="for a map of molecules: molecules per H2")
    add(
        "--velocity-range", type=quantity("0 km/s"), nargs=2, metavar=("LOW", "HIGH"),
        help="of the line in a cube, such as '0 km/s' '12 km/s'",
    )  # fmt: skip
    add("--snr", type=float, help="lowest signal-to-noise ratio in a cube (default: 4)")


def number_or_text(text):
    """Return an integer where a text is one, or the text."""
    return int(text) if text.isdigit() else text


def _units(text):
    """Return a unit, or the units of some channels by name."""
    from astrofractal.gasmap.moments import CHANNELS

    units = [part.strip() for part in text.split(",")]
    named = {name: unit for name, unit in zip(CHANNELS, units, strict=False) if unit}
    return text if len(units) == 1 else named


def read_map(args, path):
    """Read the map or cube at ``path`` as the arguments require."""
    from astropy import units as u

    from astrofractal import GasMap
    from astrofractal.gasmap.moments import CHANNELS

    if len(args.uncertainty) > len(CHANNELS):
        msg = f"--uncertainty must be given at most {len(CHANNELS)} times"
        raise ValueError(msg)
    options = given(args, _OF_READ)
    if args.uncertainty:
        options["uncertainty"] = dict(zip(CHANNELS, args.uncertainty, strict=False))
    column = _column(args)
    if column is not None:
        options["column"] = column
    of_cubes = given(args, _OF_CUBES)
    if not of_cubes:
        return GasMap.read(path, **options)
    wrong = set(options) - _OF_BOTH
    if wrong:
        msg = f"{_option(min(wrong))} describes maps and {_option(min(of_cubes))} cubes: leave one out"
        raise ValueError(msg)
    if "velocity_range" in of_cubes:
        of_cubes["velocity_range"] = u.Quantity(args.velocity_range)
    return GasMap.from_cube(path, **options, **of_cubes)


def given(args, names):
    """Return the arguments that were given, by name."""
    values = {name: getattr(args, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _column(args):
    """Return the conversion to a column density that was asked for, or `None`."""
    from astrofractal.gasmap import Abundance, Extinction, XFactor

    kinds = {
        "x_factor": lambda factor: XFactor(factor, args.rest_frequency),
        "extinction": Extinction,
        "dust": lambda words: _dust(*words),
        "abundance": Abundance,
    }
    asked = given(args, kinds)
    if len(asked) > 1:
        options = " and ".join(_option(name) for name in asked)
        msg = f"{options} exclude one another: give the one that describes the map"
        raise ValueError(msg)
    if args.rest_frequency is not None and args.x_factor is None:
        msg = "--rest-frequency is that of a line: give --x-factor as well"
        raise ValueError(msg)
    return next((kinds[name](value) for name, value in asked.items()), None)


def _dust(temperature, frequency, opacity):
    """Return dust emission from the three words of ``--dust``."""
    from astrofractal.gasmap import DustEmission, hildebrand_opacity

    try:
        if not Path(temperature).is_file():
            temperature = quantity("15 K")(temperature)
        frequency = quantity("850 um")(frequency)
        name, _, beta = opacity.partition(":")
        if name == "hildebrand":
            kappa = hildebrand_opacity(frequency, beta=float(beta or 2))
        else:
            kappa = quantity("0.02 cm2/g")(opacity)
    except argparse.ArgumentTypeError as error:
        msg = f"--dust: a part {error}"
        raise ValueError(msg) from None
    except ValueError as error:
        msg = f"--dust hildebrand:BETA needs a number, got {opacity!r}"
        raise ValueError(msg) from error
    return DustEmission(temperature, frequency, kappa)
