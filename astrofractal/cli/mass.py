"""Weigh the protostars of a gas map.

FILE is a FITS map of the column density; extensions V_LOS and SIGMA_V, or a cube of three planes, add
the velocities, or --velocity and --dispersion name their files. With a conversion factor it may be an
extinction map, dust emission, an integrated line or a position-position-velocity cube. Each mass
comes with an interval, a score that tells how unlike the simulations the map is (above 1: beware) and
flags.

The protostars are at --positions (a table with ra and dec, l and b, or x and y; a DS9 or CASA region
file; or RA,DEC in degrees), or at the peaks of the column density.

With --cutouts each FILE is a map centerd on a protostar, or a set of labeled maps; --combine median
combines them (lines of sight or epochs of one protostar).

With --calibrate no map is weighed: labeled maps (a file, a folder, or 'reference' for the bundled ones)
calibrate an encoder, and --save keeps the calibration for --calibration.

examples:
  astrofractal mass cloud.fits --distance 300
  astrofractal mass N.fits --velocity v.fits --dispersion sigma.fits --distance 140 \\
      --positions protostars.csv --output masses.ecsv --regions masses.reg
  astrofractal mass nh3.fits --log10 --no-data 0 --abundance 1e-8 --distance 138 --threshold 5e22
  astrofractal mass 13co.fits --x-factor "1e21 cm-2 / (K km/s)" --line-width "0.06 km/s" --distance 300
  astrofractal mass x.fits y.fits z.fits --cutouts --combine median
  astrofractal mass --calibrate MAPS --save my.astrofractal
"""

from astrofractal.cli._maps import add_map_arguments, read_map

NAME = "mass"
HELP = "weigh protostars: a table of masses with intervals and flags"


def add_arguments(parser):
    """Declare the arguments of ``astrofractal mass``."""
    parser.add_argument("file", metavar="FILE", nargs="*", help="the map (FITS)")
    parser.add_argument(
        "--output", metavar="FILE", help="write the table: .ecsv, .vot, .fits or .csv"
    )
    parser.add_argument("--regions", metavar="FILE", help="write circles of DS9 (.reg)")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.add_argument(
        "--level", type=float, default=0.68, help="probability of the intervals (default: 0.68)"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no table")
    add_map_arguments(parser.add_argument_group("the map"))
    group = parser.add_argument_group("the protostars")
    group.add_argument(
        "--positions", metavar="FILE|RA,DEC", nargs="+", help="where they are (default: peaks)"
    )
    group.add_argument(
        "--min-separation", type=float, metavar="PC", help="of two peaks (default: 0.05)"
    )
    group.add_argument(
        "--threshold", type=float, metavar="N", help="lowest peak in cm-2 (default: 3e22)"
    )
    group.add_argument(
        "--snr", type=float, metavar="RATIO", help="lowest peak as signal to noise, instead"
    )
    group.add_argument("--max-sources", type=int, metavar="N", help="only the highest peaks")
    group.add_argument("--cutouts", action="store_true", help="each FILE is centerd on a protostar")
    group.add_argument(
        "--combine", choices=("median", "mean"), help="combine the cutouts of one protostar"
    )
    group = parser.add_argument_group("the calibration")
    group.add_argument(
        "--calibration", metavar="FILE", help="a calibration of --save (default: the bundled one)"
    )
    group.add_argument(
        "--encoder", metavar="WEIGHTS", help="weights other than the bundled ones, or 'random'"
    )
    group.add_argument("--calibrate", metavar="MAPS", help="calibrate on labeled maps")
    group.add_argument("--save", metavar="FILE", help="where --calibrate keeps the calibration")
    group.add_argument("--regressor", metavar="NAME", help="with --calibrate: another regressor")
    group.add_argument("--features", metavar="NAME", help="with --calibrate: another pooling")
    group.add_argument(
        "--thin", type=int, metavar="N", help="with --calibrate: use N maps that represent all"
    )
    group.add_argument(
        "--write-maps", metavar="FILE", help="with --calibrate: write the maps that are used"
    )


def run(args):
    """Run ``astrofractal mass``."""
    if args.calibrate is not None:
        _calibrate(args)
        return
    if args.save is not None:
        msg = "--save needs --calibrate"
        raise ValueError(msg)
    if not args.file:
        msg = "FILE is needed: the map, or --calibrate"
        raise ValueError(msg)
    _check_outputs(args)
    if args.cutouts:
        _weigh_cutouts(args)
    else:
        _weigh_map(args)


def _check_outputs(args):
    """Refuse before the work what would fail after it."""
    from pathlib import Path

    from astrofractal.mass.catalog import check_suffix

    if args.output is not None:
        check_suffix(args.output)
    for name in ("output", "regions", "save", "write_maps"):
        path = getattr(args, name)
        if path is not None and Path(path).exists() and not args.overwrite:
            msg = f"--{name.replace('_', '-')} {path!r} exists: add --overwrite"
            raise FileExistsError(msg)


def _encoder(args):
    if args.encoder is None:
        return None
    from astrofractal import FractalEncoder

    return FractalEncoder(weights=args.encoder)


def _estimator(args):
    from astrofractal import StellarMassEstimator
    from astrofractal.mapset import reference_maps

    encoder = _encoder(args)
    if args.calibration is not None:
        return StellarMassEstimator.load(args.calibration, encoder=encoder)
    if encoder is None:
        return StellarMassEstimator()
    return StellarMassEstimator(encoder).fit(reference_maps(), progress_bar=not args.quiet)


def _calibrate(args):
    from astrofractal import StellarMassEstimator
    from astrofractal.mapset import MapSet, reference_maps

    if args.file:
        msg = f"FILE is not taken with --calibrate, got {args.file[0]!r}"
        raise ValueError(msg)
    if args.save is None and args.write_maps is None:
        msg = "--calibrate needs --save FILE"
        raise ValueError(msg)
    _check_outputs(args)
    maps = reference_maps() if args.calibrate == "reference" else MapSet.read(args.calibrate)
    if args.thin is not None:
        maps = maps.subsample(args.thin)
    if args.write_maps is not None:
        maps.write(args.write_maps, overwrite=args.overwrite)
        # What is written is quantized: calibrate on what others will read.
        maps = MapSet.read(args.write_maps)
    if args.save is None:
        print(f"{maps!r} written to {args.write_maps}")
        return
    encoder = _encoder(args)
    if encoder is None:
        from astrofractal import FractalEncoder

        encoder = FractalEncoder()
    estimator = StellarMassEstimator(encoder, regressor=args.regressor, features=args.features)
    estimator.fit(maps, progress_bar=not args.quiet)
    estimator.save(args.save, overwrite=args.overwrite)
    if args.quiet:
        return
    print(f"{maps!r}\n{estimator!r}\nleave-cloud-out:")
    print(f"  {'channels':<38} {'R2':>6} {'RMSE':>6} {'68 %':>6} {'90 %':>6}   features, regressor")
    for channels, calibration in estimator.calibrations.items():
        skill = calibration.skill
        print(
            f"  {' + '.join(channels):<38} {skill['r2']:6.2f} {skill['rmse']:6.2f} "
            f"{skill['coverage_68']:6.2f} {skill['coverage_90']:6.2f}   {calibration.features}, "
            f"{calibration.regressor}"
        )
    print(f"written to {args.save}")


def _positions(texts):
    """Return a path, or the sky positions that were written out."""
    if texts is None or (len(texts) == 1 and "," not in texts[0]):
        return texts and texts[0]
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    try:
        pairs = [[float(part) for part in text.split(",")] for text in texts]
        ra, dec = zip(*pairs, strict=True)
    except ValueError as error:
        msg = f"--positions must be one file or RA,DEC in degrees, got {' '.join(texts)!r}"
        raise ValueError(msg) from error
    return SkyCoord(list(ra), list(dec), unit=u.deg)


def _weigh_map(args):
    from astropy import units as u

    if len(args.file) > 1:
        msg = f"one FILE is weighed at a time, got {len(args.file)}; or add --cutouts"
        raise ValueError(msg)
    if args.combine is not None:
        msg = "--combine needs --cutouts"
        raise ValueError(msg)
    gas = read_map(args, args.file[0])
    if gas.wcs is None or gas.distance is None:
        gas.pixel_scale  # noqa: B018 - raises the error that says what is missing
    options = {}
    if args.min_separation is not None:
        options["min_separation"] = args.min_separation * u.pc
    if args.threshold is not None:
        options["threshold"] = args.threshold * u.cm**-2
    if args.snr is not None:
        if args.threshold is not None:
            msg = "--snr and --threshold exclude each other"
            raise ValueError(msg)
        options["threshold"] = args.snr
    if args.max_sources is not None:
        options["max_sources"] = args.max_sources
    positions = _positions(args.positions)
    table = _estimator(args).catalog(
        gas, positions, level=args.level, progress_bar=not args.quiet, **options
    )
    if not args.quiet:
        print(f"{gas!r}")
    _finish(args, table)


def _weigh_cutouts(args):
    import numpy as np
    from astropy import units as u
    from astropy.table import QTable

    from astrofractal.mapset import MapSet
    from astrofractal.mass.catalog import describe_no_skill

    for name in ("positions", "min_separation", "threshold", "snr", "max_sources", "regions"):
        if getattr(args, name) is not None:
            msg = f"--{name.replace('_', '-')} is not taken with --cutouts"
            raise ValueError(msg)
    if len(args.file) == 1 and _is_mapset(args.file[0]):
        maps = MapSet.read(args.file[0])
        names, groups = [f"{args.file[0]}[{i}]" for i in range(len(maps))], maps.sinks
    else:
        maps = (read_map(args, path) for path in args.file)  # one batch in memory at a time
        names, groups = list(args.file), np.full(len(args.file), "combined")
    estimator = _estimator(args)
    result = estimator.evaluate(maps, progress_bar=not args.quiet)
    half = result.half_width(args.level)
    table = QTable({"id": names})
    numbers = {
        "mass": result.log_mass,
        "mass_lower": result.log_mass - half,
        "mass_upper": result.log_mass + half,
    }
    flags = [",".join(flags) for flags in result.flags]
    ood = result.ood_score
    if args.combine is not None:
        function = {"median": np.median, "mean": np.mean}[args.combine]
        rows = {g: np.flatnonzero(groups == g) for g in dict.fromkeys(groups.tolist())}
        numbers = {k: [function(v[r]) for r in rows.values()] for k, v in numbers.items()}
        ood = np.array([function(ood[r]) for r in rows.values()])
        flags = [
            ",".join(dict.fromkeys(f for i in r for f in result.flags[i])) for r in rows.values()
        ]
        table = QTable({"id": list(rows)})
        table["n_maps"] = [len(r) for r in rows.values()]
    for name, values in numbers.items():
        table[name] = 10 ** np.asarray(values) * u.solMass
        table[name].info.format = ".3g"
    table["ood_score"] = ood
    table["ood_score"].info.format = ".2f"
    table["flags"] = np.array(flags, dtype=str)
    table.meta.update(estimator.meta, level=args.level)
    if result.without_skill:
        table.meta["no_skill"] = describe_no_skill(result.without_skill)
    _finish(args, table)


def _is_mapset(path):
    from pathlib import Path

    from astropy.io import fits

    if Path(path).is_dir():
        return True
    if not Path(path).is_file():
        return False
    try:
        with fits.open(path) as hdus:
            return "LOG_NH2" in hdus and "SINKS" in hdus
    except OSError:
        return False


def _finish(args, table):
    from astrofractal.mass.catalog import write_catalog, write_regions

    if args.output is not None:
        write_catalog(table, args.output, overwrite=args.overwrite)
    if args.regions is not None:
        write_regions(table, args.regions, overwrite=args.overwrite)
    if args.quiet:
        return
    print("\n".join(table.pformat(max_lines=-1, max_width=-1)))
    if "no_skill" in table.meta:
        print(
            f"NO SKILL: masses from {table.meta['no_skill']} are little more than the mean of the "
            "reference masses; give --velocity and --dispersion, or do not use them"
        )
    for path in (args.output, args.regions):
        if path is not None:
            print(f"written to {path}")
