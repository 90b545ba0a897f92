"""Show versions and bundled files, or what masses from a map would be worth.

Without MAP: the version, the bundled files and what the weights were made from;
include this output in a bug report. With MAP: beam, pixels and noise of the
map, and the R2 per protostar and the error factor to expect.

examples:
  astrofractal info
  astrofractal info cloud.fits --distance 300
"""

import json
import platform
from importlib.metadata import PackageNotFoundError, version

from astrofractal.cli.options import add_quantity, check_inputs, given

HELP = "show versions and bundled files, or the accuracy to expect for a map"

_PACKAGES = (
    "numpy", "scipy", "astropy", "photutils", "regions", "scikit-learn", "torch", "timm",
    "safetensors", "lightly", "numba", "pytorch-lightning", "spectral-cube", "reproject", "yt",
    "sarracen", "dask", "zarr", "onnxruntime",
)  # fmt: skip


def add_arguments(parser):
    parser.add_argument("MAP", nargs="?", help="a map of gas (FITS)")
    add_quantity(parser, "--distance", "0.3 kpc", "of the gas, in pc or with a unit", bare="pc")


def run(args):
    check_inputs(args.MAP)
    if args.MAP is not None:
        from astrofractal import GasMap
        from astrofractal.mass.matching import expected_score

        gas = GasMap.read(args.MAP, **given(args, ["distance"]))
        print(f"{gas!r}\n{expected_score(gas)}")
        return
    from astrofractal import __version__
    from astrofractal.data import data_path

    print(f"astrofractal {__version__}")
    if args.quiet:
        return
    print(f"Python {platform.python_version()}, {platform.platform()}\n\nPackages")
    for name in _PACKAGES:
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "not installed"
        print(f"  {name:<18} {found}")
    folder = data_path("__init__.py").parent
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.suffix != ".py")
    print("\nBundled files")
    for path in files:
        print(f"  {path.name:<44} {path.stat().st_size / 1e6:8.2f} MB")
    for path in files:
        card = path.with_suffix(".json")
        if path.suffix != ".safetensors" or not card.is_file():
            continue
        print(f"\nWeights {path.name}")
        for key, value in json.loads(card.read_text(encoding="utf-8")).items():
            text = json.dumps(value) if isinstance(value, (dict, list)) else str(value)
            print(f"  {key:<18} {text if len(text) <= 70 else text[:67] + '...'}")
