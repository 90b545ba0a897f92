"""Files of the GBT Ammonia Survey (GAS): their names, and fits of lines in a cube of parameters."""

import os
import re
from dataclasses import replace
from pathlib import Path

from astrofractal.gasmap.column import Abundance
from astrofractal.gasmap.io.fits import hdu_data, is_folder, opened
from astrofractal.gasmap.io.maps import image_of, read_fits
from astrofractal.gasmap.io.registry import register
from astrofractal.gasmap.moments import CHANNELS
from astrofractal.gasmap.units import logarithmic

#: L1688_N_NH3_DR1_rebase3_flag.fits of the first release, L1688_NH3_N_all_rebase3_masked.fits of later
#: ones, with an e before N, Vlsr or Sigma for errors; other lines have another name before these.
_FILE = re.compile(
    r"(?P<region>.+?)_(?P<line>NH3_)?(?P<error>e?)"
    r"(?P<map>(?(line)N(?:col)?|N_NH3)|Vlsr|Sigma|sigma_v)(?:_(?P<release>.*?))?"
    r"\.fits?(?:\.gz|\.fz)?"
)

_CUBE = re.compile(r"(?P<region>.+?)_parameter_maps(?:_(?P<release>.*?))?\.fits?(?:\.gz|\.fz)?")

#: Channels by the first letter of what a file holds.
_MAPS = {"N": "column_density", "V": "velocity", "S": "dispersion", "s": "dispersion"}


def survey_files(path):
    """Return the files of a folder of the survey, or of the set that a file in one belongs to."""
    folder = path if path.is_dir() else path.parent
    folders = ("", "parameterMaps/", "*/", "*/parameterMaps/")
    paths = sorted({path for part in folders for path in folder.glob(f"{part}*.fit*")})
    sets, cubes = {}, {}
    for one in paths:
        if match := _FILE.fullmatch(one.name):
            name = _MAPS[match["map"][0]] + "_uncertainty" * bool(match["error"])
            sets.setdefault((match["region"], match["release"] or ""), {}).setdefault(name, one)
        elif match := _CUBE.fullmatch(one.name):
            group = (match["region"], match["release"] or "")
            cubes.setdefault(group, {"column_density": one})
    complete = {group: files for group, files in sets.items() if set(CHANNELS) <= set(files)}
    sets = complete or cubes or sets
    if not sets:
        what = f"{str(folder)!r} is a folder that holds no maps of the GBT Ammonia Survey"
        msg = f"{what}, such as L1688_N_NH3_DR1_rebase3_flag.fits"
        raise IsADirectoryError(msg)
    chosen = [files for files in sets.values() if path == folder or path in files.values()]
    if len(chosen) != 1:
        names = ", ".join(" ".join(filter(None, group)) for group in sets)
        example = next(iter(sets.values()))["column_density"].name
        remedy = f"give a file, such as {example}, with format='gbt-ammonia'"
        msg = f"{str(path)!r} holds the maps of {names}: {remedy}"
        raise ValueError(msg)
    (files,) = chosen
    missing = [name for name in CHANNELS if name not in files] if sets is not cubes else []
    if missing:
        have = ", ".join(path.name for path in files.values())
        msg = f"{str(folder)!r} has no map of the {missing[0].replace('_', ' ')} next to {have}"
        raise ValueError(msg)
    return files


@register(
    "gbt-ammonia",
    identify=is_folder,
    unused=("velocity", "dispersion", "uncertainty", "unit", "hdu", "no_data", "dispersion_kind"),
)
def read_gas_survey(source, options):
    """
    Ammonia of the GBT Ammonia Survey (GAS): a folder of its maps, or a file of one set of maps.

    The maps and their errors are found by their names, as in any release; where a folder holds
    several regions or releases, a file chooses.  The column density is that of NH3, so that
    ``column=Abundance(...)`` is needed.
    """
    folder = isinstance(source, str | os.PathLike) and not _CUBE.fullmatch(Path(source).name)
    files = survey_files(Path(source)) if folder else {"column_density": source}
    if not isinstance(options.column, Abundance):
        msg = "the maps hold N(NH3), not N(H2): give column=Abundance(...), NH3 molecules per H2"
        raise ValueError(msg)
    options = replace(options, no_data=0)
    first = files.pop("column_density")
    if not files:
        return read_fits(first, options)
    motions = {name: files.pop(name) for name in CHANNELS[1:]}
    errors = {name.removesuffix("_uncertainty"): path for name, path in files.items()}
    with opened(first) as hdus:
        is_logarithm = logarithmic(hdu_data(image_of(hdus, "column_density"), hdus))
    unit = {"column_density": "dex(cm-2)"} if is_logarithm else None
    return read_fits(first, replace(options, **motions, uncertainty=errors, unit=unit))
