"""Calibrate masses on labeled maps.

MAPS is a file or a folder of labeled maps (those that 'astrofractal project'
writes), or 'reference' for the bundled ones. The features that the frozen
network finds in them are related to the masses, once per set of channels; what
is printed is the skill in clouds that were left out. With --output the
calibration is kept for 'astrofractal mass --calibration'.

examples:
  astrofractal calibrate MAPS --output my.astrofractal
  astrofractal calibrate reference --weights mine.safetensors --output my.astrofractal
  astrofractal calibrate reference --telescope beam="20 arcsec" distance="140 pc" noise=0.1 \\
      --output matched.astrofractal
  astrofractal calibrate MAPS --regressor ridge svr --output my.astrofractal
"""

from astrofractal.cli.options import add_output, add_weights, check_output

HELP = "calibrate masses on labeled maps"


def add_arguments(parser):
    """Declare the arguments of ``astrofractal calibrate``."""
    parser.add_argument("maps", metavar="MAPS", help="labeled maps, or 'reference'")
    add_output(parser, metavar="FILE", help="the calibration to write (.astrofractal)")
    parser.add_argument("--write-maps", metavar="FILE", help="write the maps that are used (.fits)")
    parser.add_argument("--subsample", type=int, metavar="N", help="use N maps that represent all")
    parser.add_argument(
        "--regressor", nargs="+", metavar="NAME",
        help="knn, ridge, kernel_ridge or svr; several are averaged "
        "(default: the bundled one's)",
    )  # fmt: skip
    parser.add_argument(
        "--telescope", nargs="+", metavar="NAME=VALUE",
        help="calibrate for a telescope: beam, pixel_scale, noise, velocity_noise, "
        "dispersion_noise, largest_scale, distance",
    )  # fmt: skip
    add_weights(parser)


def _telescope(texts):
    """Return the telescope of NAME=VALUE."""
    from astropy import units as u

    from astrofractal.observing import Telescope

    names = (
        "beam", "pixel_scale", "noise", "velocity_noise", "dispersion_noise", "largest_scale",
        "distance",
    )  # fmt: skip
    options = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in names:
            msg = f"--telescope must be among {', '.join(names)} with a value, got {text!r}"
            raise ValueError(msg)
        try:
            options[name] = u.Quantity(value)
        except TypeError:
            msg = f'--telescope {name} must be a value such as {name}="20 arcsec", got {text!r}'
            raise ValueError(msg) from None
    return Telescope(**options, correlated="beam" in options)


def run(args):
    """Run ``astrofractal calibrate``."""
    from astrofractal import FractalEncoder, StellarMassEstimator
    from astrofractal.mapset import MapSet, reference_maps

    if args.output is None and args.write_maps is None:
        msg = "one of --output and --write-maps is needed"
        raise ValueError(msg)
    check_output("--output", args.output, overwrite=args.overwrite)
    check_output("--write-maps", args.write_maps, overwrite=args.overwrite)
    maps = reference_maps() if args.maps == "reference" else MapSet.read(args.maps)
    if args.subsample is not None:
        maps = maps.subsample(args.subsample)
    if args.write_maps is not None:
        maps.write(args.write_maps, overwrite=args.overwrite)
        maps = MapSet.read(args.write_maps)  # quantized: calibrate on what others will read
    if args.output is None:
        if not args.quiet:
            print(f"{maps!r} written to {args.write_maps}")
        return
    estimator = StellarMassEstimator(
        FractalEncoder(weights=args.weights),
        regressor=None if args.regressor is None else tuple(args.regressor),
    )
    if args.telescope is not None:
        telescope = _telescope(args.telescope)
        estimator = estimator.matched(telescope, maps=maps, progress_bar=not args.quiet)
    else:
        estimator.fit(maps, progress_bar=not args.quiet)
    estimator.save(args.output, overwrite=args.overwrite)
    if not args.quiet:
        _report(maps, estimator)
        print(f"written to {args.output}")


def _report(maps, estimator):
    print(f"{maps!r}\n{estimator!r}\nleave-cloud-out:")
    names = ("r2_protostar", "r2", "rmse", "coverage_68", "coverage_90")
    print(f"  {'channels':<38} {' '.join(f'{name:>12}' for name in names)}   features, regressor")
    for channels, calibration in estimator.calibrations_.items():
        numbers = " ".join(f"{calibration.skill_[name]:12.2f}" for name in names)
        print(
            f"  {' + '.join(channels):<38} {numbers}   {calibration.features}, "
            f"{calibration.regressor}"
        )
