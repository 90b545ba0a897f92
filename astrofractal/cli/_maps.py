"""The arguments that say what a map is, for every subcommand that reads one."""

import re

__all__ = ["add_map_arguments", "read_map"]

#: What only separate maps, and only cubes, have: option and argument of the API.
_OF_MAPS = (
    "velocity", "dispersion", "column_density_error", "velocity_error", "dispersion_error",
    "abundance", "variance", "extinction_ratio", "dust_temperature", "dust_opacity", "frequency",
)  # fmt: skip
_OF_CUBES = ("rest_frequency", "velocity_convention", "velocity_range", "noise", "line_snr")
_NOT_OF_CUBES = (*_OF_MAPS, "log10", "no_data", "pixel_scale", "velocity_unit")


def add_map_arguments(group):
    """Declare the arguments of `read_map`."""
    group.add_argument("--velocity", metavar="FILE", help="map of the line-of-sight velocity")
    group.add_argument("--dispersion", metavar="FILE", help="map of the velocity dispersion")
    group.add_argument(
        "--variance", action="store_true", help="--dispersion is a variance (moment 2)"
    )
    for name in ("column-density", "velocity", "dispersion"):
        group.add_argument(f"--{name}-error", metavar="FILE", help="map of its standard deviation")
    group.add_argument("--hdu", metavar="NAME", help="extension that holds the map or cube")
    group.add_argument(
        "--distance", type=float, metavar="PC", help="distance in pc (default: the header's)"
    )
    group.add_argument(
        "--pixel-scale", metavar="LENGTH", help="width of a pixel without WCS, as '0.01 pc'"
    )
    group.add_argument("--unit", help="unit of the column density (or cube), in place of BUNIT")
    group.add_argument("--velocity-unit", metavar="UNIT", help="unit of both velocity maps")
    group.add_argument("--log10", action="store_true", help="the values are log10 of the column")
    group.add_argument(
        "--no-data", type=float, metavar="VALUE", help="a value that means 'nothing here', as 0"
    )
    group.add_argument(
        "--abundance", type=float, help="molecules per H2, where N is that of another molecule"
    )
    group.add_argument("--beam", type=float, metavar="ARCSEC", help="FWHM of the beam")
    group.add_argument(
        "--extinction-ratio", metavar="N/A",
        help="the map is an extinction: N(H2) per magnitude, as '9.4e20 cm-2 / mag'",
    )  # fmt: skip
    group.add_argument(
        "--dust-temperature", metavar="T|FILE", help="the map is dust emission: as '15 K', or a map"
    )
    group.add_argument(
        "--dust-opacity", metavar="KAPPA",
        help="per gram of gas and dust, as '0.02 cm2/g', or hildebrand, or hildebrand:BETA",
    )  # fmt: skip
    group.add_argument(
        "--frequency", metavar="NU", help="of the dust emission, as '850 um' or '350 GHz'"
    )
    group.add_argument(
        "--x-factor", metavar="X",
        help="FILE is a cube or an integrated line: N(H2) per K km/s, as '2e20 cm-2 / (K km/s)'",
    )  # fmt: skip
    group.add_argument(
        "--line-width", metavar="SIGMA",
        help="thermal and instrumental dispersion that is taken out, as '0.07 km/s'",
    )  # fmt: skip
    group.add_argument(
        "--rest-frequency", metavar="NU", help="of the cube's line, as '110.201354 GHz'"
    )
    group.add_argument(
        "--velocity-convention", choices=("radio", "optical", "relativistic"),
        help="how frequencies of the cube become velocities (default: radio)",
    )  # fmt: skip
    group.add_argument(
        "--velocity-range", nargs=2, metavar=("LOW", "HIGH"),
        help="the cube's line is between these, as '0 km/s' '12 km/s'",
    )  # fmt: skip
    group.add_argument(
        "--noise", metavar="RMS", help="of a channel of the cube, as '0.1 K' (default: measured)"
    )
    group.add_argument(
        "--line-snr", type=float, metavar="RATIO", help="lowest signal to noise of a line (4)"
    )


def read_map(args, path):
    """Read the map or cube at ``path`` as the arguments say."""
    from astropy import units as u

    try:
        return _read_map(args, path)
    except u.UnitConversionError as error:
        raise u.UnitConversionError(_in_options(error)) from error
    except ValueError as error:
        raise ValueError(_in_options(error)) from error


def _read_map(args, path):
    from astropy import units as u

    from astrofractal import GasMap

    options = {
        "distance": None if args.distance is None else args.distance * u.pc,
        "beam": None if args.beam is None else args.beam * u.arcsec,
        "unit": args.unit,
        "hdu": int(args.hdu) if args.hdu is not None and args.hdu.isdigit() else args.hdu,
        "x_factor": _quantity("--x-factor", args.x_factor, "2e20 cm-2 / (K km/s)"),
        "line_width": _quantity("--line-width", args.line_width, "0.07 km/s", u.km / u.s),
    }
    if _is_cube(args, path, options["hdu"]):
        return GasMap.from_cube(path, **options, **_cube_options(args))
    options |= {
        "log10": args.log10,
        "no_data": args.no_data,
        "pixel_scale": _quantity("--pixel-scale", args.pixel_scale, "0.01 pc", u.pc),
    }
    if args.velocity_unit is not None:
        options["unit"] = dict.fromkeys(("velocity", "dispersion"), args.velocity_unit)
        if args.unit is not None:
            options["unit"]["column_density"] = args.unit
    if not any(_given(args, name) for name in _OF_MAPS):
        return GasMap.read(path, **options)
    return GasMap.from_maps(
        path,
        args.velocity,
        args.dispersion,
        column_density_error=args.column_density_error,
        velocity_error=args.velocity_error,
        dispersion_error=args.dispersion_error,
        abundance=args.abundance,
        variance=args.variance,
        **_dust(args),
        extinction_ratio=_quantity(
            "--extinction-ratio", args.extinction_ratio, "9.4e20 cm-2 / mag"
        ),
        **options,
    )


def _given(args, name):
    return getattr(args, name) not in (None, False)


def _option(name):
    return "--" + name.replace("_", "-")


def _is_cube(args, path, hdu):
    """Return whether FILE is a cube; refuse arguments of the other kind."""
    from astrofractal.gasmap.fits_files import opened
    from astrofractal.gasmap.reading import cube_hdu

    asked = [name for name in _OF_CUBES if _given(args, name)]
    with opened(path) as hdus:
        cube = cube_hdu(hdus, hdu) is not None
    wrong = [name for name in _NOT_OF_CUBES if _given(args, name)] if cube else asked
    if wrong:
        kind = "a cube" if cube else "no cube"
        msg = f"{_option(wrong[0])} is not taken, {path!r} is {kind}"
        raise ValueError(msg)
    return cube and args.x_factor is not None


def _cube_options(args):
    """Return what only `GasMap.from_cube` takes."""
    from astropy import units as u

    options = {"noise": _quantity("--noise", args.noise, "0.1 K")}
    options["rest_frequency"] = _quantity(
        "--rest-frequency", args.rest_frequency, "110.201354 GHz", u.Hz, u.spectral()
    )
    if args.velocity_range is not None:
        ends = [
            _quantity("--velocity-range", text, "0 km/s", u.km / u.s)
            for text in args.velocity_range
        ]
        options["velocity_range"] = u.Quantity(ends)
    if args.velocity_convention is not None:
        options["velocity_convention"] = args.velocity_convention
    if args.line_snr is not None:
        options["snr"] = args.line_snr
    return options


def _dust(args):
    """Return what `GasMap.from_maps` needs for dust emission."""
    from pathlib import Path

    from astropy import units as u

    from astrofractal.gasmap import hildebrand_opacity

    frequency = _quantity("--frequency", args.frequency, "850 um", u.Hz, u.spectral())
    temperature = args.dust_temperature
    if temperature is not None and not Path(temperature).is_file():
        temperature = _quantity("--dust-temperature", temperature, "15 K", u.K)
    opacity = args.dust_opacity
    name, _, beta = (opacity or "").partition(":")
    if name == "hildebrand":
        if frequency is None:
            msg = "--dust-opacity hildebrand needs --frequency"
            raise ValueError(msg)
        try:
            opacity = hildebrand_opacity(frequency, beta=float(beta or 2))
        except ValueError as error:
            msg = f"--dust-opacity hildebrand:BETA needs a number, got {opacity!r}"
            raise ValueError(msg) from error
    else:
        opacity = _quantity("--dust-opacity", opacity, "0.02 cm2/g", u.cm**2 / u.g)
    return {"dust_temperature": temperature, "dust_opacity": opacity, "frequency": frequency}


def _quantity(option, text, example, unit=None, equivalencies=()):
    """Return the quantity that a text says, or raise an error that names the option."""
    from astropy import units as u

    if text is None:
        return None
    # astropy reads no quotient within brackets: "cm-2 / (K km/s)", "cm-2 (K km/s)^-1"
    plain = re.sub(r"\b(k?m)\s*/\s*s\b(?=[^(]*\))", r"\1 s-1", text)
    plain = re.sub(r"\s*\(([^()]*)\)\s*(?:\^|\*\*)?\(?-1\)?$", r" / (\1)", plain)
    try:
        quantity = u.Quantity(plain)
    except (TypeError, ValueError):
        quantity = None
    if quantity is None or quantity.unit == u.one:
        msg = f"{option} must be a number with a unit, as {example!r}, got {text!r}"
        raise ValueError(msg)
    if unit is not None and not quantity.unit.is_equivalent(unit, equivalencies):
        msg = f"{option} must be in a unit such as in {example!r}, got {text!r}"
        raise ValueError(msg)
    return quantity


def _in_options(error):
    """Return the message of the API with its arguments as options of the command."""
    text = re.sub(r"GasMap\.\w+\(\.\.\., (.*)\)", r"\1", str(error))
    text = re.sub(r"\bwcs= or |\(see GasMap\.\w+\)|to GasMap.read or GasMap.from_maps ", "", text)
    text = re.sub(r"\bunit=\{'(?:velocity|dispersion)': ('[^']*')\}", r"velocity_unit=\1", text)
    text = re.sub(r"\b(lower) snr\b", r"\1 line_snr=", text)
    names = (*_OF_MAPS, *_OF_CUBES, "x_factor", "line_width", "pixel_scale", "no_data", "log10",
             "velocity_unit", "unit", "beam", "distance", "hdu")  # fmt: skip
    text = re.sub(
        rf"\b({'|'.join(names)})=(\.\.\.|True)?(?=(\S?))",
        lambda match: _option(match[1]) + (" " if re.match(r"[\w'\"]", match[3]) else ""),
        text,
    )
    return " ".join(text.split())
