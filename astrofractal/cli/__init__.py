"""The command ``astrofractal``: one module per subcommand, each a thin shell over the API.

A subcommand's module has a docstring (its help), ``HELP``, ``add_arguments(parser)`` and
``run(args)``, which raises on error.  Only ``run`` may import what is slow.  An option has the name
of the parameter that it sets, and messages of the API are shown with options in place of
parameters.  Positional arguments have uppercase names.
"""

import argparse
import re
import shlex
import sys
from importlib import import_module

__all__ = ["COMMANDS", "as_command", "main", "make_parser"]

#: The subcommands, in the order in which they interest a newcomer.
COMMANDS = (
    "demo", "mass", "calibrate", "evaluate", "segment", "fractals", "pretrain", "project",
    "benchmark", "info",
)  # fmt: skip

_EPILOG = """\
examples:
  astrofractal demo                            masses of the protostars of a bundled cloud
  astrofractal mass cloud.fits --distance 300  those of yours
  astrofractal COMMAND --help                  the options of a command

exit codes: 0 done; 1 the input or a file cannot be used, with one line that gives the reason;
2 wrong arguments; 130 interrupted
"""

#: The options that stand for the conversions to a column density.
_CONVERSIONS = {
    "XFactor": "--x-factor",
    "Extinction": "--extinction",
    "DustEmission": "--dust",
    "Abundance": "--abundance",
}

_CONVERSION = re.compile(rf"(?:column=)?\b({'|'.join(_CONVERSIONS)})\b(?:\(\.\.\.\))?")

#: A parameter of the API: ``distance=``, or the subject of "n_segments must be ...".
_PARAMETER = re.compile(
    r"(?<![-\w'.])([a-z]+(?:_[a-z]+)*)(=(?:True\b)?|(?= must\b))|^([a-z]+)(?=: )"
)

_MAP_UNIT = re.compile(r"\bunit=\{'(velocity|dispersion)': '([^']*)'\}")

_QUANTITY = re.compile(r"(\d+(?:\.\d+)?) \* u\.(\w+)")


def as_command(message, options):
    """Return a message with options in place of the parameters that they set."""

    def option(match):
        name = match[1] or match[3]
        following = message[match.end() : match.end() + 1]
        space = " " if match[2] == "=" and following not in (*" ,.;:)", "") else ""
        return f"--{name.replace('_', '-')}{space}" if name in options else match[0]

    commas = {"velocity": ",", "dispersion": ",,"}
    message = _MAP_UNIT.sub(lambda match: f"unit='{commas[match[1]]}{match[2]}'", message)
    message = _PARAMETER.sub(option, message)
    if "x_factor" in options:
        message = _CONVERSION.sub(lambda match: _CONVERSIONS[match[1]], message)
    return _QUANTITY.sub(r"'\1 \2'", message)


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


class _Help(argparse.RawDescriptionHelpFormatter):
    """Help whose usage names only what is needed: the options are listed below it."""

    def __init__(self, prog):
        super().__init__(f"{prog} [options]", max_help_position=27)

    def add_usage(self, usage, actions, groups, prefix=None):
        needed = [action for action in actions if action.required]
        super().add_usage(usage, needed, (), prefix)


def make_parser(commands=None):
    """Make the parser of the command line."""
    from astrofractal import __version__

    if commands is None:
        commands = {name: import_module(f"astrofractal.cli.{name}") for name in COMMANDS}
    parser = _Parser(
        prog="astrofractal",
        description="Masses of protostars hidden in dense gas, and maps of the structure around them.",
        epilog=_EPILOG,
        formatter_class=_Help,
    )
    parser.add_argument("--version", action="version", version=f"astrofractal {__version__}")
    parser.add_argument(
        "--traceback", action="store_true", help="show where an error came from (for bug reports)"
    )
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True, prog="astrofractal")
    for name, module in commands.items():
        subparser = subparsers.add_parser(
            name, help=module.HELP, description=module.__doc__.strip(), formatter_class=_Help
        )
        module.add_arguments(subparser)
        subparser.add_argument(
            "--quiet", "-q", action="store_true", help="print nothing but warnings and errors"
        )
        subparser.set_defaults(run=module.run)
    return parser


def _one_line(error):
    """Return the message of an error as one line."""
    # str() of a KeyError is the repr of its argument
    text = error.args[0] if isinstance(error, KeyError) and len(error.args) == 1 else error
    return " ".join(str(text).split()) or type(error).__name__


def main(argv=None, *, commands=None):
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        # An ASCII terminal gets "?" for what it cannot show, not an error after the work is done.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    argv = sys.argv[1:] if argv is None else argv
    args = make_parser(commands).parse_args(argv)
    args.command = shlex.join(["astrofractal", *argv])
    try:
        args.run(args)
        if sys.stdout is not None:  # it was closed before the start
            sys.stdout.flush()
    except KeyboardInterrupt:
        print("astrofractal: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of the output, such as `head`, has gone: nothing is wrong
        sys.stdout = None
        return 0
    except Exception as error:
        from astropy.units import UnitsError  # no ValueError

        expected = (ValueError, TypeError, KeyError, OSError, ImportError, MemoryError, UnitsError)
        if args.traceback or not isinstance(error, expected):
            raise
        print(f"astrofractal: error: {as_command(_one_line(error), vars(args))}", file=sys.stderr)
        return 1
    return 0
