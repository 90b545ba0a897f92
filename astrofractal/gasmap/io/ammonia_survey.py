"""Files of the GBT Ammonia Survey (GAS): their names, and fits of lines in a cube of parameters."""

from __future__ import annotations

import os
import re
from pathlib import Path

from astrofractal.gasmap.channel import clean_numbers
from astrofractal.gasmap.io.fits import hdu_data, opened
from astrofractal.gasmap.io.maps import image_of, read_line_maps
from astrofractal.gasmap.io.planes import channels_of_planes
from astrofractal.gasmap.io.registry import refuse_unused
from astrofractal.gasmap.moments import CHANNELS
from astrofractal.gasmap.units import logarithmic

__all__ = ["read_gas_survey", "survey_files"]

#: L1688_N_NH3_DR1_rebase3_flag.fits of the first release, L1688_NH3_N_all_rebase3_masked.fits of later
#: ones; a line other than NH3 has another name before the quantity.
_FILE = re.compile(
    r"(?P<region>.+?)_(?:(?P<error>e?)(?P<first>N)_NH3|NH3_(?P<late_error>e?)(?P<second>N(?:col)?)"
    r"|(?:NH3_)?(?P<motion_error>e?)(?P<motion>Vlsr|Sigma|sigma_v))(?:_(?P<release>.*?))?"
    r"\.fits?(?:\.gz|\.fz)?"
)

_CUBE = re.compile(r"(?P<region>.+?)_parameter_maps(?:_(?P<release>.*?))?\.fits?(?:\.gz|\.fz)?")

#: Folders in which the survey keeps its maps.
_FOLDERS = ("", "parameterMaps/", "*/", "*/parameterMaps/")


def survey_files(folder, *, region=None, release=None):
    """Return the files of a folder of the GBT Ammonia Survey."""
    folder = Path(folder)
    paths = sorted({path for part in _FOLDERS for path in folder.glob(f"{part}*.fit*")})
    sets, cubes = {}, {}
    for path in paths:
        match = _FILE.fullmatch(path.name)
        cube = _CUBE.fullmatch(path.name)
        if match:
            group = (match["region"], match["release"] or "")
            sets.setdefault(group, {}).setdefault(_quantity(match), path)
        elif cube:
            group = (cube["region"], cube["release"] or "")
            cubes.setdefault(group, {"column_density": path})
    complete = {group: files for group, files in sets.items() if set(CHANNELS) <= set(files)}
    sets = complete or cubes or sets
    chosen = {
        group: files
        for group, files in sets.items()
        if region in (None, group[0]) and (release is None or release in group[1])
    }
    names = ", ".join(" ".join(filter(None, group)) for group in sets)
    if not sets:
        msg = (
            f"{str(folder)!r} holds no maps of the GBT Ammonia Survey, such as "
            "L1688_N_NH3_DR1_rebase3_flag.fits, L1688_Vlsr_... and L1688_Sigma_...: give the maps to "
            "GasMap.from_maps one by one"
        )
        raise ValueError(msg)
    if len(chosen) != 1:
        asked = f"region={region!r}, release={release!r}"
        hint = "give region= and release=" if chosen else f"none is of {asked}"
        msg = f"{str(folder)!r} holds the maps of {names}: {hint}"
        raise ValueError(msg)
    (files,) = chosen.values()
    missing = [name for name in CHANNELS if name not in files] if sets is not cubes else []
    if missing:
        have = ", ".join(path.name for path in files.values())
        msg = f"{str(folder)!r} has no map of the {missing[0].replace('_', ' ')} beside {have}"
        raise ValueError(msg)
    return files


def _quantity(match):
    """Return which map a file holds."""
    motion = match["motion"]
    error = match["error"] or match["late_error"] or match["motion_error"]
    name = "column_density" if motion is None else "dispersion"
    if motion == "Vlsr":
        name = "velocity"
    return f"{name}_uncertainty" if error else name


def read_gas_survey(
    data,
    *,
    abundance,
    region=None,
    release=None,
    line_width=None,
    distance=None,
    beam=None,
    meta=None,
):
    """Make a `~astrofractal.GasMap` of the ammonia maps of the GBT Ammonia Survey (GAS)."""
    if abundance is None:
        msg = "the maps hold N(NH3), not N(H2): give abundance=, NH3 molecules per H2 as in 1e-8"
        raise ValueError(msg)
    files, log10 = {"column_density": data}, False
    if isinstance(data, str | os.PathLike) and Path(data).is_dir():
        files = survey_files(data, region=region, release=release)
    else:
        refuse_unused("one file", {"region": region, "release": release})
    if len(files) > 1:
        log10 = _is_logarithm(files["column_density"])
    else:
        _check_planes(files["column_density"])
    return read_line_maps(
        **files,
        log10=log10,
        no_data=0,
        abundance=abundance,
        line_width=line_width,
        distance=distance,
        beam=beam,
        meta=meta,
    )


def _is_logarithm(path):
    """Return whether a map holds logarithms of a column density."""
    with opened(path) as hdus:
        values = clean_numbers(hdu_data(image_of(hdus, "column_density"), hdus), str(path))
    return logarithmic(values[values != 0])


def _check_planes(data):
    """Refuse what is not a cube of parameters with a column density."""
    with opened(data) as hdus:
        planes = channels_of_planes(hdus)
        if planes is None or "COLUMN_DENSITY" not in planes:
            msg = (
                f"{hdus.filename() or 'data'} is no cube of fitted parameters with a column density "
                "(no PLANE card of its header is COLUMN or NTOT): give a folder of maps, or the maps "
                "to GasMap.from_maps one by one"
            )
            raise ValueError(msg)
