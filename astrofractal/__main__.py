"""``python -m astrofractal`` is the command ``astrofractal``."""

import os
import sys


def _forget_current_folder():
    """Take the current folder, where files of others may lie, from the places of modules."""
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if not sys.flags.safe_path and sys.path and os.path.realpath(sys.path[0]) != home:
        del sys.path[0]


if __name__ == "__main__":
    _forget_current_folder()
    from astrofractal.cli import main

    raise SystemExit(main())
