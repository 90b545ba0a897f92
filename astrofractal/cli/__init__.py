"""The command ``astrofractal``: one module a subcommand, each a thin shell over the API.

A subcommand's module has ``NAME``, ``HELP``, ``add_arguments(parser)`` and ``run(args)``, which
raises on error.  Only ``run`` may import what is slow.
"""

import argparse
import pkgutil
import sys
from importlib import import_module

__all__ = ["main"]

# The order of a newcomer's interest; a module that is not named here comes after these.
_ORDER = ("demo", "mass", "segment", "fractals", "pretrain", "project", "benchmark", "info")

_EPILOG = """\
examples:
  astrofractal demo                            weigh the protostars of a bundled cloud
  astrofractal mass cloud.fits --distance 300  weigh those of yours
  astrofractal COMMAND --help                  what a command takes

exit codes: 0 done; 1 the input or a file is not usable, with one line that says why;
2 wrong arguments; 130 interrupted
"""


def _commands():
    """Return the subcommands' modules in the order in which they are listed."""
    names = [module.name for module in pkgutil.iter_modules(__path__) if module.name[0] != "_"]
    names.sort(key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))
    return [import_module(f"{__name__}.{name}") for name in names]


def _make_parser():
    from astrofractal import __version__

    parser = argparse.ArgumentParser(
        prog="astrofractal",
        description="Weigh protostars hidden in dense gas, and map the structure around them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"astrofractal {__version__}")
    parser.add_argument(
        "--traceback", action="store_true", help="show where an error came from (for bug reports)"
    )
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in _commands():
        subparser = subparsers.add_parser(
            module.NAME,
            help=module.HELP,
            description=(module.__doc__ or module.HELP).strip(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(subparser)
        subparser.set_defaults(run=module.run)
    return parser


def _one_line(error):
    """Return the message of an error as one line."""
    if isinstance(error, KeyError) and len(error.args) == 1:
        message = str(error.args[0])  # str() of a KeyError is the repr of its argument
    else:
        message = str(error)
    return " ".join(message.split()) or type(error).__name__


def main(argv=None):
    """
    Run the command line.

    Parameters
    ----------
    argv : list of str, optional
        The arguments after the command's name; those of the process by default.

    Returns
    -------
    exit_code : int
        0 if all went well; 1 after an error, whose message is one line on the standard error; 130
        if interrupted.  Wrong arguments exit with 2.
    """
    args = _make_parser().parse_args(argv)
    try:
        args.run(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("astrofractal: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of the output, as `head`, has gone: nothing is wrong
        sys.stdout = None
        return 0
    except (ValueError, TypeError, KeyError, OSError, ImportError, MemoryError) as error:
        if args.traceback:
            raise
        print(f"astrofractal: error: {_one_line(error)}", file=sys.stderr)
        return 1
    return 0
