"""Options that several subcommands share, the types of their values, and how tables are shown."""

import argparse
import os
import re
from pathlib import Path

__all__ = [
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
    """
    Refuse before the work a file that could not be written after it.

    Parameters
    ----------
    option : str
        The option that names the file, e.g. ``"--output"``.
    path : str or `None`
        The file; `None` is fine.
    overwrite : bool
        Whether it may exist.
    """
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
    """
    Refuse before the work a folder that could not be written to after it.

    Parameters
    ----------
    option : str
        The option that names the folder, e.g. ``"--output"``.
    path : path-like or `None`
        The folder, which may exist; `None` is fine.
    overwrite : bool
        Whether it may hold something.
    """
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
    """
    Return a type for `argparse`: a number with a unit.

    Parameters
    ----------
    example : str
        What a message shows; its unit says which units are accepted.
    bare : str, optional
        The unit of a number without one, which is otherwise refused.
    check : bool, optional
        Whether the unit must be one like the example's.

    Returns
    -------
    convert : callable
        Function that returns a `~astropy.units.Quantity`.
    """

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
