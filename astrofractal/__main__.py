"""``python -m astrofractal`` is the command ``astrofractal``."""

from astrofractal.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
