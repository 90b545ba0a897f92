"""Estimate the masses of the protostars of a gas map.

FILE is a FITS map of the column density. Extensions V_LOS and SIGMA_V, three
planes, or --velocity and --dispersion add the velocities. --x-factor (a cube or
a line), --extinction, --dust and --abundance convert other maps.

The protostars are at --positions (a table, a DS9, CASA or FITS region file, or
RA,DEC in degrees), or at the peaks of the column density. With --cutouts each
FILE is a map centered on a protostar, or a set of labeled maps.

examples:
  astrofractal mass cloud.fits --distance 300 --report masses.html
  astrofractal mass N.fits --velocity v.fits --dispersion s.fits --distance 140
  astrofractal mass c18o.fits n2hp.fits --positions protostars.csv --combine
"""

from functools import cache

from astrofractal._utils.validation import refuse
from astrofractal.cli.options import (
    add_map_arguments,
    add_output,
    add_quantity,
    add_report,
    add_weights,
    catalog_path,
    check_files,
    check_inputs,
    given,
    quantity,
    read_map,
    setting,
    show_table,
)

HELP = "masses of protostars: a table with intervals and flags"

_MAX_RATIO = 1e6  # a larger "signal-to-noise ratio" is a column density whose unit was forgotten

#: What is meaningless for maps that are centered on their protostars.
_NOT_OF_CUTOUTS = ("positions", "columns", "min_separation", "threshold", "regions")

_SHOWN = (
    "id", "position", "n_maps", "mass_true", "mass", "mass_lower", "mass_upper", "trust",
    "ood_score", "flags",
)  # fmt: skip


def add_arguments(parser):
    parser.add_argument("FILE", nargs="+", help="the map (FITS)")
    add_output(parser, "FILE", "the table: .ecsv, .vot, .fits or .csv", type=catalog_path)
    parser.add_argument("--regions", metavar="FILE", help="write circles for DS9 (.reg)")
    add_report(parser)
    parser.add_argument(
        "--explain", action="store_true",
        help="with --report: what each mass is based on (ten seconds each)",
    )  # fmt: skip
    add_map_arguments(parser.add_argument_group("the map"))
    group = parser.add_argument_group("the protostars")
    group.add_argument("--positions", nargs="+", metavar="FILE|RA,DEC", help="default: peaks")
    group.add_argument(
        "--columns", nargs="+", metavar="NAME=COLUMN", type=setting(str),
        help="columns of --positions: ra=RA_peak dec=Dec_peak",
    )  # fmt: skip
    add_quantity(
        group, "--min-separation", "30 arcsec", "of two peaks, in pc or with a unit", bare="pc",
        check=False,
    )  # fmt: skip
    group.add_argument(
        "--threshold", type=quantity("5e22 cm-2", bare=float, check=False), metavar="VALUE",
        help="of a peak: a signal-to-noise ratio (default: 5), or a column density '5e22 cm-2'",
    )  # fmt: skip
    group.add_argument("--cutouts", action="store_true", help="each FILE is centered on one")
    group.add_argument(
        "--combine", action="store_true", help="combine several maps of one protostar"
    )
    group = parser.add_argument_group("the calibration")
    group.add_argument("--calibration", metavar="FILE", help="of 'astrofractal calibrate'")
    group.add_argument(
        "--match", action="store_true",
        help="calibrate on maps observed as this one was: beam, noise, ...",
    )  # fmt: skip
    add_quantity(
        group, "--largest-scale", "60 arcsec", "with --match: that an interferometer observed",
        bare="arcsec", check=False,
    )  # fmt: skip
    group.add_argument(
        "--prior", metavar="NAME|FILE",
        help="expected masses: kroupa, chabrier or a table of mass and number per decade (default: "
        "as in the calibration)",
    )  # fmt: skip
    add_weights(group, default=None)


def _check(args):
    """Refuse options that mean nothing together."""
    check_files(args, "output", "regions", "report")
    several = len(args.FILE) > 1
    maps = not args.cutouts
    refuse({
        "--match calibrates on the bundled maps: leave out --calibration, or make a matched "
        "calibration of your maps by 'astrofractal calibrate MAPS --telescope ...'":
            args.match and args.calibration is not None,
        "--largest-scale needs --match": args.largest_scale is not None and not args.match,
        "--explain needs --report and one FILE, without --cutouts":
            args.explain and (args.report is None or args.cutouts or several),
        "--match is not taken with --cutouts": args.match and args.cutouts,
        "--columns needs --positions": args.columns is not None and args.positions is None,
        f"one FILE is taken at a time, got {len(args.FILE)}; or add --combine or --cutouts":
            maps and several and not args.combine,
        "--combine needs several FILEs, or --cutouts": maps and args.combine and not several,
        "--combine needs --positions: peaks of different maps are different ones":
            maps and several and args.positions is None,
        "--threshold without a unit is a signal-to-noise ratio, not a column density":
            isinstance(args.threshold, float) and args.threshold > _MAX_RATIO,
    })  # fmt: skip
    for name in given(args, _NOT_OF_CUTOUTS if args.cutouts else ()):
        msg = f"--{name.replace('_', '-')} is not taken with --cutouts"
        raise ValueError(msg)
    for name in given(args, ("velocity", "dispersion") if maps and several else ()):
        msg = f"--{name} is for one FILE, got {len(args.FILE)}: give files that hold their own"
        raise ValueError(msg)
    check_inputs(*args.FILE, args.calibration)


def run(args):
    _check(args)
    from astrofractal.catalogs import write_catalog, write_regions
    from astrofractal.catalogs.columns import closing_lines

    table, maps, estimator = _estimate_cutouts(args) if args.cutouts else _estimate_maps(args)
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
    show_table(table, _SHOWN)
    print("\n".join(closing_lines(table)))
    for path in (args.output, args.regions, args.report):
        if path is not None:
            print(f"written to {path}")


def _estimator(args):
    from astrofractal import FractalEncoder, StellarMassEstimator
    from astrofractal.mapset import reference_maps

    encoder = None if args.weights is None else FractalEncoder(weights=args.weights)
    if args.calibration is not None:
        estimator = StellarMassEstimator.load(args.calibration, encoder=encoder)
    else:
        estimator = StellarMassEstimator(encoder)
        if encoder is not None and not args.match:  # which calibrates for each map
            estimator.fit(reference_maps(), progress_bar=not args.quiet)
    if args.prior is None:
        return estimator
    return (
        estimator.set_params(prior=args.prior) if args.match else estimator.with_prior(args.prior)
    )


def _positions(args):
    """Return the positions that were given, or `None`."""
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    from astrofractal.catalogs.positions import resolve_positions

    texts = args.positions
    if texts is None:
        return None
    columns = None if args.columns is None else dict(args.columns)
    if len(texts) == 1 and "," not in texts[0]:
        return resolve_positions(texts[0], columns=columns)
    try:
        pairs = [[float(part) for part in text.split(",")] for text in texts]
        ra, dec = zip(*pairs, strict=True)
        places = SkyCoord(list(ra), list(dec), unit=u.deg)
    except ValueError as error:  # also of a declination beyond the poles
        msg = f"--positions must be one file or RA,DEC in degrees, got {' '.join(texts)!r}"
        raise ValueError(msg) from error
    return resolve_positions(places, columns=columns)


def _estimate_maps(args):
    """Return the catalog, the maps and the estimators (one per map)."""
    from astrofractal.catalogs import combine

    places = _positions(args)
    estimator = cache(lambda: _estimator(args))  # not made before a map is found good
    found = [_estimate_map(args, path, places, estimator) for path in args.FILE]
    tables, maps, estimators = zip(*found, strict=True)
    if len(tables) == 1:
        return tables[0], maps, estimators
    for table in tables:
        table["id"] = [str(name) for name in table["id"]]  # of one list: the same ones
    return combine(tables), maps, estimators


def _estimate_map(args, path, positions, make_estimator):
    from astrofractal.catalogs.positions import nothing_to_measure

    gas = read_map(args, path)
    if gas.wcs is None or gas.distance is None:
        gas.pixel_scale  # noqa: B018 - raises the error that says what is missing
    reason = None if positions is None else nothing_to_measure(gas, positions.where)
    refuse({f"--positions: {reason}": reason})
    estimator, shown = make_estimator(), not args.quiet
    if args.match:
        estimator = estimator.matched(
            gas, positions, largest_scale=args.largest_scale, progress_bar=shown
        )
    detection = given(args, ("min_separation", "threshold"))
    table = estimator.catalog(gas, positions, progress_bar=shown, **detection)
    if shown:
        print(f"{gas!r}")
    return table, gas, estimator


def _estimate_cutouts(args):
    """Return the catalog, no map and the estimator."""
    from pathlib import Path

    from astrofractal.mapset import MapSet
    from astrofractal.mapset.files import is_map_set

    labeled = None
    if len(args.FILE) == 1 and is_map_set(Path(args.FILE[0])):
        maps = labeled = MapSet.read(args.FILE[0])
        names, groups = [f"{args.FILE[0]}[{i}]" for i in range(len(maps))], maps.protostars.tolist()
    else:
        maps = (read_map(args, path) for path in args.FILE)  # one batch in memory at a time
        names, groups = list(args.FILE), ["combined"] * len(args.FILE)
    estimator = _estimator(args)
    result = estimator.evaluate(maps, progress_bar=not args.quiet)
    if args.combine:
        result, names = result.combine(groups), list(dict.fromkeys(groups))
    table = result.to_table(meta=estimator.meta)
    table.add_column(names, 0, "id")
    if labeled is not None:
        _add_truth(table, labeled, combined=args.combine)
    return table, (), estimator


def _add_truth(table, maps, *, combined):
    """Add the true masses of labeled maps, of combinations the mean of log10 mass."""
    import numpy as np

    log_masses = maps.log_masses
    if combined:
        _, first, index = np.unique(maps.protostars, return_index=True, return_inverse=True)
        log_masses = (np.bincount(index, log_masses) / np.bincount(index))[np.argsort(first)]
    where = table.colnames.index("mass")
    table.add_column(10**log_masses * table["mass"].unit, where, "mass_true")
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
        cutout = gas.cutout(place, shape=estimator.map_shape)
        figure = Figure(figsize=(10, 5.5), layout="constrained")
        plot_explanation(estimator.analogs(cutout), estimator.sensitivity(cutout), figure=figure)
        figure.suptitle(f"{row['id']}: {row['mass']:.3g}", parse_math=False)
        yield figure
