"""Options that several subcommands share, the types of their values, and how tables are shown."""

import argparse
import os
import re
from pathlib import Path

__all__ = [
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


#: What only `GasMap.from_maps`, only `GasMap.from_cube`, and either of it and `GasMap.read` take.
_OF_MAPS = (
    "velocity", "dispersion",
    "column_density_uncertainty", "velocity_uncertainty", "dispersion_uncertainty",
    "abundance", "variance", "extinction_ratio", "dust_temperature", "dust_opacity", "frequency",
)  # fmt: skip

_OF_CUBES = ("velocity_convention", "velocity_range", "noise", "snr")

_OF_ALL = ("distance", "beam", "hdu", "x_factor", "rest_frequency", "line_width")

_NOT_OF_CUBES = ("log10", "no_data", "pixel_scale")


def add_map_arguments(group):
    """Declare the arguments of `read_map`."""
    group.add_argument("--velocity", metavar="FILE", help="map of the line-of-sight velocity")
    group.add_argument("--dispersion", metavar="FILE", help="map of the velocity dispersion")
    group.add_argument(
        "--variance", action="store_true", help="--dispersion is a variance (moment 2)"
    )
    for name in ("column-density", "velocity", "dispersion"):
        group.add_argument(
            f"--{name}-uncertainty", metavar="FILE", help="map of its standard deviation"
        )
    group.add_argument("--hdu", metavar="NAME", help="extension that holds the map or cube")
    group.add_argument(
        "--distance", type=quantity("0.3 kpc", bare="pc"), metavar="D",
        help="in pc, or with a unit, such as '0.3 kpc' (default: the header's)",
    )  # fmt: skip
    group.add_argument(
        "--pixel-scale", type=quantity("0.01 pc"), metavar="LENGTH",
        help="width of a pixel of a map without WCS, such as '0.01 pc'",
    )  # fmt: skip
    group.add_argument("--unit", help="unit of the column density (or cube), in place of BUNIT")
    group.add_argument("--velocity-unit", metavar="UNIT", help="unit of both velocity maps")
    group.add_argument("--log10", action="store_true", help="the values are log10 of the column")
    group.add_argument(
        "--no-data",
        type=float,
        metavar="VALUE",
        help="a value that means 'nothing here', such as 0",
    )
    group.add_argument(
        "--abundance", type=float, help="molecules per H2, where N is that of another molecule"
    )
    group.add_argument(
        "--beam", type=quantity("20 arcsec", bare="arcsec"), metavar="FWHM",
        help="in arcsec, or with a unit (default: the header's)",
    )  # fmt: skip
    group.add_argument(
        "--extinction-ratio", type=quantity("9.4e20 cm-2 / mag", check=False), metavar="N/A",
        help="the map is an extinction: N(H2) per magnitude, such as '9.4e20 cm-2 / mag'",
    )  # fmt: skip
    group.add_argument(
        "--dust-temperature", metavar="T|FILE",
        help="the map is dust emission: a temperature such as '15 K', or a map",
    )  # fmt: skip
    group.add_argument(
        "--dust-opacity", metavar="KAPPA",
        help="per gram of gas and dust, such as '0.02 cm2/g', or hildebrand, or hildebrand:BETA",
    )  # fmt: skip
    group.add_argument(
        "--frequency", type=quantity("850 um"), metavar="NU",
        help="of the dust emission, such as '850 um' or '350 GHz'",
    )  # fmt: skip
    group.add_argument(
        "--x-factor", type=quantity("2e20 cm-2 / (K km/s)", check=False), metavar="X",
        help="FILE is a cube or an integrated line: N(H2) per K km/s, such as "
        "'2e20 cm-2 / (K km/s)'",
    )  # fmt: skip
    group.add_argument(
        "--line-width", type=quantity("0.07 km/s"), metavar="SIGMA",
        help="thermal and instrumental dispersion to take out, such as '0.07 km/s'",
    )  # fmt: skip
    group.add_argument(
        "--rest-frequency", type=quantity("110.201354 GHz"), metavar="NU",
        help="of the line of a cube or of a map in Jy/beam km/s, such as '110.201354 GHz'",
    )  # fmt: skip
    group.add_argument(
        "--velocity-convention", choices=("radio", "optical", "relativistic"),
        help="how frequencies of the cube become velocities (default: radio)",
    )  # fmt: skip
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


def read_map(args, path):
    """Read the map or cube at ``path`` as the arguments say."""
    from pathlib import Path

    from astropy import units as u

    from astrofractal import GasMap

    options = {name: getattr(args, name) for name in _OF_ALL}
    if args.hdu is not None and args.hdu.isdigit():
        options["hdu"] = int(args.hdu)
    of_maps, of_cubes = _given(args, _OF_MAPS), _given(args, _OF_CUBES)
    if of_cubes:
        wrong = [*of_maps, *_given(args, (*_NOT_OF_CUBES, "velocity_unit"))]
        if wrong:
            one, other = (
                f"--{name.replace('_', '-')}" for name in (wrong[0], next(iter(of_cubes)))
            )
            msg = f"{one} describes maps and {other} a cube: one of them is not for {path!r}"
            raise ValueError(msg)
        if "velocity_range" in of_cubes:
            of_cubes["velocity_range"] = u.Quantity(args.velocity_range)
        return GasMap.from_cube(path, unit=args.unit, **options, **of_cubes)
    if Path(path).is_dir():
        return _read_folder(args, path)
    options |= _given(args, _NOT_OF_CUBES)
    options["unit"] = args.unit
    if args.velocity_unit is not None:
        options["unit"] = dict.fromkeys(("velocity", "dispersion"), args.velocity_unit)
        if args.unit is not None:
            options["unit"]["column_density"] = args.unit
    if not of_maps:
        return GasMap.read(path, **options)
    return GasMap.from_maps(path, **of_maps | _dust(args), **options)


def _read_folder(args, path):
    """Read a folder of the GBT Ammonia Survey."""
    from astrofractal import GasMap

    known = ("abundance", "distance", "beam", "line_width")
    others = ("hdu", "x_factor", "rest_frequency", "unit", "velocity_unit")
    wrong = [
        name for name in _given(args, (*_OF_MAPS, *_NOT_OF_CUBES, *others)) if name not in known
    ]
    if wrong:
        msg = f"--{wrong[0].replace('_', '-')} is not for a folder of maps, {path!r}"
        raise ValueError(msg)
    return GasMap.from_gas_survey(path, **{"abundance": None} | _given(args, known))


def _given(args, names):
    """Return the arguments that were given, by name."""
    values = {name: getattr(args, name) for name in names}
    return {k: value for k, value in values.items() if value is not None and value is not False}


def _dust(args):
    """Return the temperature and opacity of the dust that were given."""
    from pathlib import Path

    from astrofractal.gasmap import hildebrand_opacity

    dust = {}
    if args.dust_temperature is not None:
        dust["dust_temperature"] = args.dust_temperature
        if not Path(args.dust_temperature).is_file():
            dust["dust_temperature"] = _convert(args, "dust_temperature", "15 K")
    if args.dust_opacity is None:
        return dust
    name, _, beta = args.dust_opacity.partition(":")
    if name != "hildebrand":
        return dust | {"dust_opacity": _convert(args, "dust_opacity", "0.02 cm2/g")}
    if args.frequency is None:
        msg = "--dust-opacity hildebrand needs --frequency"
        raise ValueError(msg)
    try:
        opacity = hildebrand_opacity(args.frequency, beta=float(beta or 2))
    except ValueError as error:
        msg = f"--dust-opacity hildebrand:BETA needs a number, got {args.dust_opacity!r}"
        raise ValueError(msg) from error
    return dust | {"dust_opacity": opacity}


def _convert(args, name, example):
    from argparse import ArgumentTypeError

    try:
        return quantity(example)(getattr(args, name))
    except ArgumentTypeError as error:
        msg = f"--{name.replace('_', '-')} {error}"
        raise ValueError(msg) from None
