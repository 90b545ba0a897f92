"""Show versions and bundled files, or what masses from a map would be worth.

Without MAP: the version, the bundled files and what the weights were made from;
include this output in a bug report. With MAP: beam, pixels and noise of the map,
and the R2 per protostar and the error factor of a calibration that matches it.

examples:
  astrofractal info
  astrofractal info cloud.fits --distance 300
"""

import json
import platform
from importlib.metadata import PackageNotFoundError, version

from astrofractal.cli.options import quantity

HELP = "show versions, bundled files and the card of the weights"

_PACKAGES = (
    "numpy", "scipy", "astropy", "photutils", "regions", "scikit-learn", "torch", "timm",
    "safetensors", "lightly", "numba", "pytorch-lightning", "spectral-cube", "reproject", "yt",
    "sarracen", "dask", "zarr", "onnxruntime",
)  # fmt: skip


def add_arguments(parser):
    """Declare the arguments of ``astrofractal info``."""
    parser.add_argument("map", metavar="MAP", nargs="?", help="a map of gas (FITS)")
    parser.add_argument(
        "--distance", type=quantity("300 pc", bare="pc"), help="of the cloud: in pc, or with a unit"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")


def describe_map(path, distance):
    """Return what a map was observed with, and what masses from it are worth."""
    from astrofractal import GasMap
    from astrofractal.mass.matching import expected_score

    gas = GasMap.read(path, **({} if distance is None else {"distance": distance}))
    return f"{gas!r}\n{expected_score(gas)}"


def collect():
    """Gather what `run` shows."""
    from astrofractal import __version__
    from astrofractal.data import data_path

    folder = data_path("__init__.py").parent
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.suffix != ".py")
    weights = {}
    for path in files:
        card = path.with_suffix(".json")
        if path.suffix == ".safetensors" and card.is_file():
            weights[path.name] = json.loads(card.read_text(encoding="utf-8"))
    return {
        "astrofractal": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "data": {path.name: path.stat().st_size for path in files},
        "weights": weights,
    }


def _version(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def run(args):
    """Run ``astrofractal info``."""
    if args.map is not None:
        print(describe_map(args.map, args.distance))
        return
    info = collect()
    if args.quiet:
        print(info["astrofractal"])
        return
    if args.json:
        print(json.dumps(info, indent=2))
        return
    print(f"astrofractal {info['astrofractal']}")
    print(f"Python {info['python']}, {info['platform']}")
    print("\nPackages")
    for name, found in info["packages"].items():
        print(f"  {name:<18} {found or 'not installed'}")
    print("\nBundled files")
    for name, size in info["data"].items():
        print(f"  {name:<44} {size / 1e6:8.2f} MB")
    for name, card in info["weights"].items():
        print(f"\nWeights {name}")
        for key, value in card.items():
            text = json.dumps(value) if isinstance(value, (dict, list)) else str(value)
            print(f"  {key:<18} {text if len(text) <= 70 else text[:67] + '...'}")
