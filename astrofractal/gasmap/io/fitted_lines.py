"""Fits of lines as pyspeckit and the GBT Ammonia Survey (GAS) leave them: planes and file names."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits

from astrofractal.gasmap.channels import clean_numbers
from astrofractal.gasmap.gas_moments import CHANNELS
from astrofractal.gasmap.io.fits_files import hdu_data, image_hdus, label, parameter_names, pick
from astrofractal.gasmap.units import logarithmic

__all__ = ["channels_of_planes", "survey_files"]

#: What the planes of a cube of parameters are called (upper case, without the number of a component).
_PLANES = {
    "column_density": ("COLUMN", "NTOT", "NCOL", "N", "N_NH3", "NNH3", "LOGN"),
    "velocity": ("VELOCITY", "XOFF_V", "CENTER", "SHIFT", "VLSR", "V"),
    "dispersion": ("SIGMA", "WIDTH", "SIGMA_V", "SIGV", "DISPERSION"),
}
_EXTENSIONS = dict(zip(CHANNELS, ("COLUMN_DENSITY", "V_LOS", "SIGMA_V"), strict=True))

#: Above this median (km/s) dispersions are no dispersions in km/s.
_FAST = 50.0

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


def channels_of_planes(hdus, key=None):
    """
    Return the planes of a cube of fitted parameters as extensions with the names of channels.

    Parameters
    ----------
    hdus : `~astropy.io.fits.HDUList`
        A file.

    key : int or str, optional
        The extension that holds the cube.

    Returns
    -------
    planes : `~astropy.io.fits.HDUList` or `None`
        Column density in cm-2 or its logarithm, velocity and dispersion in km/s and their errors, as
        far as there are any, NaN where nothing was fitted (zero); `None` if there is no such cube.
    """
    images = [pick(hdus, key)] if key is not None else image_hdus(hdus)
    image = images[0] if images else None
    if image is None or len(image.shape) < 3 or not parameter_names(image):
        return None
    found = _named_planes(image)
    if not found:
        return None
    where = label(image, hdus)
    data = hdu_data(image, hdus)
    data = data.reshape(-1, *data.shape[-2:])
    header = image.header.copy()
    for card in [card for card in header if re.fullmatch(r"PLANE\d+|BUNIT|EXTNAME", card)]:
        del header[card]
    planes = fits.HDUList([fits.PrimaryHDU()])
    last = max(found.values())
    if last >= len(data):
        msg = f"{where} has {len(data)} planes, but its header names plane {last + 1}"
        raise ValueError(msg)
    for name, index in found.items():
        values = clean_numbers(data[index], where)
        values[values == 0] = np.nan
        channel = name.removesuffix("_ERROR")
        unit = "km s-1"
        if channel == _EXTENSIONS["column_density"]:
            column = data[found[channel]]
            unit = "dex(cm-2)" if logarithmic(column[column != 0]) else "cm-2"
        elif name == _EXTENSIONS["dispersion"]:
            _check_slow(values[np.isfinite(values)], where)
        plane = fits.ImageHDU(values, header, name=name)
        plane.header["BUNIT"] = unit
        planes.append(plane)
    return planes


def _check_slow(dispersions, where):
    """Refuse dispersions that are not in km/s."""
    if dispersions.size and np.median(dispersions) > _FAST:
        msg = f"{where} has dispersions of {np.median(dispersions):.4g}, too much for km/s"
        raise u.UnitsError(msg)


def _named_planes(image):
    """Return the index of the plane of each channel and error, by the name of its extension."""
    found = {}
    keys = [key for key in image.header if re.fullmatch(r"PLANE\d+", key)]
    for key in keys:
        text = str(image.header[key]).strip()
        error = text[:1] == "e" and text[1:2].isupper()
        plain = re.sub(r"_?0$", "", (text[1:] if error else text).upper())
        for channel, names in _PLANES.items():
            if plain in names:
                found.setdefault(_EXTENSIONS[channel] + "_ERROR" * error, int(key[5:]) - 1)
    several = [image.header[key] for key in keys if re.search(r"[A-Za-z_]1$", image.header[key])]
    if found and several:
        msg = (
            f"{image.name or 'the cube'} holds fits of several components ({several[0]!r} ...), which "
            "are no moments of the line: give a fit of one component, or a cube of spectra to "
            "GasMap.from_cube"
        )
        raise ValueError(msg)
    return found


def survey_files(folder, *, region=None, release=None):
    """
    Return the files of a folder of the GBT Ammonia Survey.

    Parameters
    ----------
    folder : path-like
        The folder; that of a region or the one around it.

    region : str, optional
        The region, where there are several.

    release : str, optional
        Part of the names of files behind the quantity ("DR1"), where there are several.

    Returns
    -------
    files : dict
        The path of each of ``"column_density"``, ``"velocity"``, ``"dispersion"`` and, where there are
        any, of their ``..._uncertainty``; or that of a cube of parameters as the column density.

    Raises
    ------
    ValueError
        If there are no such files, or several sets of them.
    """
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
