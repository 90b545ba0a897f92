"""Configuration of the tests: what the header shows, and one thread for each process."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "agg")

# Scripts, not tests: the documentation's build runs them.
collect_ignore_glob = ["benchmarks/*", "docs/*.py", "docs/*/*.py", "tools/*"]

try:
    from pytest_astropy_header.display import PYTEST_HEADER_MODULES, TESTED_VERSIONS
except ImportError:
    pass
else:
    from astrofractal import __version__

    PYTEST_HEADER_MODULES.clear()
    PYTEST_HEADER_MODULES.update(
        {
            "NumPy": "numpy",
            "Astropy": "astropy",
            "photutils": "photutils",
            "regions": "regions",
            "scikit-learn": "sklearn",
            "torch": "torch",
            "timm": "timm",
        }
    )
    TESTED_VERSIONS["astrofractal"] = __version__
