"""Estimate the masses of the protostars of a gas map.

FILE is a FITS map of the column density. Extensions V_LOS and SIGMA_V, three
planes, or --velocity and --dispersion add the velocities. With a conversion
factor FILE may be an extinction map, dust emission, an integrated line or a
position-position-velocity cube. Each mass has an interval, a column "trust"
(yes, doubt, no) and flags that give the reason.

The protostars are at --positions (a table, a DS9, CASA or FITS region file, or
RA,DEC in degrees), or at the peaks of the column density. Several FILEs of the
same protostars are combined by --combine. With --cutouts each FILE is a map
centered on a protostar, or a set of labeled maps.

examples:
  astrofractal mass cloud.fits --distance 300
  astrofractal mass N.fits --velocity v.fits --dispersion sigma.fits --distance 140 \\
      --positions protostars.csv --output masses.ecsv --regions masses.reg
  astrofractal mass nh3.fits --unit "dex(cm-2)" --no-data 0 --abundance 1e-8 --distance 138 \\
      --threshold "5e22 cm-2"
  astrofractal mass 13co.fits --x-factor "1e21 cm-2 / (K km/s)" --line-width "0.06 km/s" --distance 300
  astrofractal mass c18o.fits n2hp.fits --distance 300 --positions protostars.csv --combine
  astrofractal mass x.fits y.fits z.fits --cutouts --combine
  astrofractal mass cloud.fits --distance "0.3 kpc" --calibration my.astrofractal
"""

from functools import cache

from astrofractal.cli.options import (
    add_map_arguments,
    add_output,
    add_report,
    add_weights,
    check_output,
    check_report,
    number_or_quantity,
    quantity,
    read_map,
    show_table,
)

HELP = "masses of protostars: a table with intervals and flags"

_MAX_RATIO = 1e6  # a larger "signal-to-noise ratio" is a column density whose unit was forgotten


def add_arguments(parser):
    """Declare the arguments of ``astrofractal mass``."""
    parser.add_argument("file", metavar="FILE", nargs="+", help="the map (FITS)")
    add_output(parser, metavar="FILE", help="write the table: .ecsv, .vot, .fits or .csv")
    parser.add_argument("--regions", metavar="FILE", help="write circles for DS9 (.reg)")
    add_report(parser)
    parser.add_argument(
        "--explain", action="store_true",
        help="with --report: for each protostar the reference protostars that look alike, and the "
        "patches that its mass depends on (ten seconds each)",
    )  # fmt: skip
    parser.add_argument(
        "--level", type=float, default=0.68, help="probability of the intervals (default: 0.68)"
    )
    add_map_arguments(parser.add_argument_group("the map"))
    group = parser.add_argument_group("the protostars")
    group.add_argument(
        "--positions", metavar="FILE|RA,DEC", nargs="+", help="where they are (default: peaks)"
    )
    group.add_argument(
        "--columns", metavar="WHAT=NAME", nargs="+",
        help="names of the columns of --positions, such as ra=RA_peak dec=Dec_peak id=Core",
    )  # fmt: skip
    group.add_argument(
        "--min-separation", type=quantity("0.05 pc", bare="pc", check=False), metavar="D",
        help="of two peaks: in pc, or with a unit, such as '30 arcsec' (default: 0.05 pc)",
    )  # fmt: skip
    group.add_argument(
        "--threshold", type=number_or_quantity("5e22 cm-2", check=False), metavar="N",
        help="lowest peak: a signal-to-noise ratio (default: 5), or a column density such as "
        "'5e22 cm-2'",
    )  # fmt: skip
    group.add_argument("--max-sources", type=int, metavar="N", help="only the highest peaks")
    group.add_argument(
        "--cutouts", action="store_true", help="each FILE is centered on a protostar"
    )
    group.add_argument(
        "--combine", action="store_true",
        help="combine the masses of one protostar from several maps or cutouts",
    )  # fmt: skip
    group = parser.add_argument_group("the calibration")
    group.add_argument(
        "--calibration", metavar="FILE",
        help="a calibration of 'astrofractal calibrate' (default: the bundled one)",
    )  # fmt: skip
    group.add_argument(
        "--match", action="store_true",
        help="calibrate on reference maps observed as the map was: beam, noise, pixels, coverage",
    )  # fmt: skip
    group.add_argument(
        "--largest-scale", type=quantity("60 arcsec", bare="arcsec", check=False), metavar="SIZE",
        help="with --match: the largest scale that the map of an interferometer holds, such as "
        "'60 arcsec'",
    )  # fmt: skip
    group.add_argument(
        "--prior", metavar="NAME|FILE",
        help="the masses that are expected: kroupa, chabrier, flat, or a table of mass and number per "
        "decade (default: those of the reference protostars)",
    )  # fmt: skip
    add_weights(group, default=None)


def run(args):
    """Run ``astrofractal mass``."""
    from astrofractal.catalogs.files import check_suffix

    if args.output is not None:
        check_suffix(args.output)
    check_output("--output", args.output, overwrite=args.overwrite)
    check_output("--regions", args.regions, overwrite=args.overwrite)
    check_report(args.report, overwrite=args.overwrite)
    if args.match and args.calibration is not None:
        msg = (
            "--match calibrates on the bundled maps: leave out --calibration, or make a matched "
            "calibration of your maps by 'astrofractal calibrate MAPS --telescope ...'"
        )
        raise ValueError(msg)
    if args.largest_scale is not None and not args.match:
        msg = "--largest-scale needs --match"
        raise ValueError(msg)
    if args.explain and (args.report is None or args.cutouts or len(args.file) > 1):
        msg = "--explain needs --report and one FILE, without --cutouts"
        raise ValueError(msg)
    if args.cutouts:
        _estimate_cutouts(args)
    else:
        _estimate_maps(args)


def _estimator(args):
    estimator = _calibrated(args)
    if args.prior is None:
        return estimator
    return (
        estimator.set_params(prior=args.prior) if args.match else estimator.with_prior(args.prior)
    )


def _calibrated(args):
    from astrofractal import FractalEncoder, StellarMassEstimator
    from astrofractal.mapset import reference_maps

    encoder = None if args.weights is None else FractalEncoder(weights=args.weights)
    if args.calibration is not None:
        return StellarMassEstimator.load(args.calibration, encoder=encoder)
    if encoder is None:
        return StellarMassEstimator()
    if args.match:
        return StellarMassEstimator(encoder)  # calibrated for each map
    return StellarMassEstimator(encoder).fit(reference_maps(), progress_bar=not args.quiet)


def _positions(texts):
    """Return a path, or the sky positions that were written out."""
    if len(texts) == 1 and "," not in texts[0]:
        return texts[0]
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    try:
        pairs = [[float(part) for part in text.split(",")] for text in texts]
        ra, dec = zip(*pairs, strict=True)
        return SkyCoord(list(ra), list(dec), unit=u.deg)
    except ValueError as error:  # also of a declination beyond the poles
        msg = f"--positions must be one file or RA,DEC in degrees, got {' '.join(texts)!r}"
        raise ValueError(msg) from error


def _places(args):
    """Return the positions that were given, or `None`."""
    from astrofractal.catalogs.positions import resolve_positions

    if args.positions is None:
        if args.columns is not None:
            msg = "--columns needs --positions"
            raise ValueError(msg)
        return None
    columns = None
    if args.columns is not None:
        columns = dict(text.partition("=")[::2] for text in args.columns)
    return resolve_positions(_positions(args.positions), columns=columns)


def _estimate_maps(args):
    from astrofractal.catalogs import combine

    several = len(args.file) > 1
    if several and not args.combine:
        msg = f"one FILE is taken at a time, got {len(args.file)}; or add --combine or --cutouts"
        raise ValueError(msg)
    if args.combine and not several:
        msg = "--combine needs several FILEs, or --cutouts"
        raise ValueError(msg)
    places = _places(args)
    if several and places is None:
        msg = "--combine needs --positions: peaks of different maps are different ones"
        raise ValueError(msg)
    for name in ("velocity", "dispersion"):
        if several and getattr(args, name) is not None:
            msg = f"--{name} is for one FILE, got {len(args.file)}: give files that hold their own"
            raise ValueError(msg)
    estimator = cache(lambda: _estimator(args))  # not made before a map is found good
    found = [_estimate_map(args, path, places, estimator) for path in args.file]
    tables, maps, estimators = zip(*found, strict=True)
    if several:
        for table in tables:
            table["id"] = [str(name) for name in table["id"]]  # of one list: the same ones
    _finish(args, combine(tables) if several else tables[0], maps, estimators)


def _estimate_map(args, path, positions, make_estimator):
    from astrofractal.catalogs.positions import nothing_to_measure

    gas = read_map(args, path)
    if gas.wcs is None or gas.distance is None:
        gas.pixel_scale  # noqa: B018 - raises the error that says what is missing
    if isinstance(args.threshold, float) and args.threshold > _MAX_RATIO:
        msg = f"--threshold without a unit is a signal-to-noise ratio, got {args.threshold:g}"
        raise ValueError(msg)
    names = ("min_separation", "threshold", "max_sources")
    options = {n: getattr(args, n) for n in names if getattr(args, n) is not None}
    if positions is not None:
        reason = nothing_to_measure(gas, positions.where)
        if reason is not None:
            msg = f"--positions: {reason}"
            raise ValueError(msg)
    estimator = make_estimator()
    if args.match:
        estimator = estimator.matched(
            gas, positions, largest_scale=args.largest_scale, progress_bar=not args.quiet
        )
    table = estimator.catalog(
        gas, positions, level=args.level, progress_bar=not args.quiet, **options
    )
    if not args.quiet:
        print(f"{gas!r}")
    return table, gas, estimator


def _estimate_cutouts(args):
    from astrofractal.mapset import MapSet

    if args.match:
        msg = "--match is not taken with --cutouts"
        raise ValueError(msg)
    taken = (
        "positions",
        "columns",
        "min_separation",
        "threshold",
        "max_sources",
        "regions",
    )
    for name in taken:
        if getattr(args, name) is not None:
            msg = f"--{name.replace('_', '-')} is not taken with --cutouts"
            raise ValueError(msg)
    if len(args.file) == 1 and _is_mapset(args.file[0]):
        maps = labeled = MapSet.read(args.file[0])
        names, groups = [f"{args.file[0]}[{i}]" for i in range(len(maps))], maps.protostars.tolist()
    else:
        labeled = None
        maps = (read_map(args, path) for path in args.file)  # one batch in memory at a time
        names, groups = list(args.file), ["combined"] * len(args.file)
    estimator = _estimator(args)
    result = estimator.evaluate(maps, progress_bar=not args.quiet)
    if args.combine:
        result, names = result.combine(groups), list(dict.fromkeys(groups))
    table = result.to_table(level=args.level, meta=estimator.meta)
    table.add_column(names, 0, "id")
    if labeled is not None:
        _add_truth(table, labeled, combined=args.combine)
    _finish(args, table, (), estimator)


def _add_truth(table, maps, *, combined):
    """Add the true masses of labeled maps, of combinations the mean of log10 mass."""
    import numpy as np

    log_masses = maps.log_masses
    if combined:
        _, first, index = np.unique(maps.protostars, return_index=True, return_inverse=True)
        log_masses = (np.bincount(index, log_masses) / np.bincount(index))[np.argsort(first)]
    masses = 10**log_masses * table["mass"].unit
    table.add_column(masses, table.colnames.index("mass"), "mass_true")
    table["mass_true"].info.format = ".3g"
    table["mass_true"].info.description = "true mass of the label"


def _explanations(table, gas, estimator):
    """Yield a figure for each protostar that has a mass."""
    import numpy as np
    from matplotlib.figure import Figure

    from astrofractal.mass import plot_explanation

    for row in table:
        if np.any(getattr(row["mass"], "mask", False)):
            continue
        place = (float(row["x"]), float(row["y"]))
        cutout = gas.cutout(place, size=estimator.size, shape=estimator.map_shape)
        figure = Figure(figsize=(10, 5.5), layout="constrained")
        plot_explanation(estimator.analogs(cutout), estimator.sensitivity(cutout), figure=figure)
        figure.suptitle(f"{row['id']}: {row['mass']:.3g}", parse_math=False)
        yield figure


def _is_mapset(path):
    from pathlib import Path

    from astropy.io import fits

    from astrofractal._utils.limits import open_bounded

    if Path(path).is_dir():
        return True
    if not Path(path).is_file():
        return False
    try:
        with open_bounded(path) as file, fits.open(file) as hdus:
            return "LOG_NH2" in hdus and "SINKS" in hdus
    except Exception:  # whatever it is, the reader of a map says so
        return False


def _finish(args, table, maps, estimator):
    from astrofractal.catalogs import write_catalog, write_regions
    from astrofractal.catalogs.columns import closing_lines

    if args.output is not None:
        write_catalog(table, args.output, overwrite=args.overwrite)
    if args.regions is not None:
        write_regions(table, args.regions, overwrite=args.overwrite)
    if args.report is not None:
        from astrofractal.report import write_report

        write_report(
            args.report,
            catalog=table,
            maps=maps,
            estimator=estimator,
            explanations=_explanations(table, maps[0], estimator[0]) if args.explain else (),
            command=args.command,
            overwrite=args.overwrite,
        )
    if args.quiet:
        return
    shown = (
        "id",
        "position",
        "n_maps",
        "mass_true",
        "mass",
        "mass_lower",
        "mass_upper",
        "trust",
        "ood_score",
        "flags",
    )
    show_table(table, shown)
    print("\n".join(closing_lines(table)))
    for path in (args.output, args.regions, args.report):
        if path is not None:
            print(f"written to {path}")
