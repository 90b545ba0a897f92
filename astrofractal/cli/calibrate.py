"""Calibrate masses on labeled maps.

MAPS is a file or a folder of labeled maps, as 'astrofractal project' writes
them, or 'reference' for the bundled ones. The features that the frozen network
computes are related to the masses, once per set of channels. The scores that
are printed are those of clouds left out of the calibration.

examples:
  astrofractal calibrate MAPS --output my.astrofractal
  astrofractal calibrate reference --output matched.astrofractal \\
      --telescope beam="20 arcsec" distance="140 pc" noise=0.1
"""

from astrofractal.cli.options import (
    add_output,
    add_weights,
    as_quantity,
    check_files,
    check_inputs,
    setting,
)

HELP = "calibrate masses on labeled maps"

#: Fields of `Telescope` that are numbers, with or without a unit.
_TELESCOPE = (
    "beam", "pixel_scale", "noise", "velocity_noise", "dispersion_noise", "largest_scale",
    "distance", "channel_width", "channel_noise", "line_width",
)  # fmt: skip


def add_arguments(parser):
    parser.add_argument("MAPS", help="labeled maps, or 'reference'")
    add_output(parser, "FILE", "the calibration to write (.astrofractal)", required=True)
    parser.add_argument(
        "--regressor", nargs="+", metavar="NAME",
        help="knn, ridge, kernel_ridge or svr; several are averaged (default: the bundled one's)",
    )  # fmt: skip
    parser.add_argument(
        "--telescope", nargs="+", metavar="NAME=VALUE", type=setting(as_quantity, _TELESCOPE),
        help=f"calibrate for a telescope: {', '.join(_TELESCOPE)}",
    )  # fmt: skip
    add_weights(parser)


def run(args):
    check_files(args, "output")
    check_inputs(None if args.MAPS == "reference" else args.MAPS)
    from astrofractal import FractalEncoder, StellarMassEstimator
    from astrofractal.mapset import MapSet, reference_maps
    from astrofractal.observing import Telescope

    maps = reference_maps() if args.MAPS == "reference" else MapSet.read(args.MAPS)
    regressor = None if args.regressor is None else tuple(args.regressor)
    estimator = StellarMassEstimator(FractalEncoder(weights=args.weights), regressor=regressor)
    if args.telescope is None:
        estimator.fit(maps, progress_bar=not args.quiet)
    else:
        options = dict(args.telescope)
        telescope = Telescope(**options, correlated="beam" in options)
        estimator = estimator.matched(telescope, maps=maps, progress_bar=not args.quiet)
    estimator.save(args.output, overwrite=args.overwrite)
    if args.quiet:
        return
    print(f"{maps!r}\n{estimator!r}\nclouds left out:")
    names = ("r2_protostar", "r2", "rmse", "coverage_68", "coverage_90")
    print(f"  {'channels':<38} {' '.join(f'{name:>12}' for name in names)}   features, regressor")
    for channels, calibration in estimator.calibrations_.items():
        numbers = " ".join(f"{calibration.skill_[name]:12.2f}" for name in names)
        kind = f"{calibration.features}, {calibration.regressor}"
        print(f"  {' + '.join(channels):<38} {numbers}   {kind}")
    print(f"written to {args.output}")
