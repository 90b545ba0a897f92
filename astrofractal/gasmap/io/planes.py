"""Cubes of fitted parameters, as pyspeckit writes them."""

from __future__ import annotations

import re

import numpy as np
from astropy.io import fits

from astrofractal.gasmap.channel import clean_numbers
from astrofractal.gasmap.io.fits import hdu_data, image_hdus, label, parameter_names, pick
from astrofractal.gasmap.moments import CHANNELS
from astrofractal.gasmap.units import logarithmic

__all__ = ["channels_of_planes"]

#: What the planes of a cube of parameters are called (upper case, without the number of a component).
_PLANES = {
    "column_density": ("COLUMN", "NTOT", "NCOL", "N", "N_NH3", "NNH3", "LOGN"),
    "velocity": ("VELOCITY", "XOFF_V", "CENTER", "SHIFT", "VLSR", "V"),
    "dispersion": ("SIGMA", "WIDTH", "SIGMA_V", "SIGV", "DISPERSION", "FWHM"),
}

_EXTENSIONS = dict(zip(CHANNELS, ("COLUMN_DENSITY", "V_LOS", "SIGMA_V"), strict=True))


def channels_of_planes(hdus, key=None):
    """Return the planes of a cube of fitted parameters as extensions with the names of channels."""
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
    names = parameter_names(image)
    if len(names) != len(data):
        msg = (
            f"{where} has {len(data)} planes, but {len(names)} cards PLANE1, ..., so that it is unclear "
            "which is which: correct these cards, or give the planes one by one"
        )
        raise ValueError(msg)
    for name, index in found.items():
        values = clean_numbers(data[index], where)
        values[values == 0] = np.nan
        channel = name.removesuffix("_ERROR")
        unit = "km s-1"
        if channel == _EXTENSIONS["column_density"]:
            column = data[found[channel]]
            unit = "dex(cm-2)" if logarithmic(column[column != 0]) else "cm-2"
        plane = fits.ImageHDU(values, header, name=name)
        plane.header["BUNIT"] = unit
        plane.header["BTYPE"] = names[index]
        planes.append(plane)
    return planes


def _named_planes(image):
    """Return the index of the plane of each channel and error, by the name of its extension."""
    keys = [key for key in image.header if re.fullmatch(r"PLANE\d+", key)]
    first = min(int(key[5:]) for key in keys)  # pyspeckit counts from 0, others from 1
    names = {int(key[5:]) - first: str(image.header[key]).strip() for key in keys}
    found = {}
    for index, text in names.items():
        error = text[:1] == "e" and text[1:2].isupper()
        plain = re.sub(r"_?0$", "", (text[1:] if error else text).upper())
        for channel, words in _PLANES.items():
            if plain in words:
                found.setdefault(_EXTENSIONS[channel] + "_ERROR" * error, index)
    several = [name for name in names.values() if re.search(r"[A-Za-z_]1$", name)]
    if found and several:
        msg = (
            f"{image.name or 'the cube'} holds fits of several components ({several[0]!r} ...), which "
            "are no moments of the line: give a fit of one component, or a cube of spectra to "
            "GasMap.from_cube"
        )
        raise ValueError(msg)
    return found
