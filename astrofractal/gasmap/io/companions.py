"""Images that accompany a map in its file: uncertainties under many names, masks and weights."""

import re

import numpy as np
from astropy import units as u

from astrofractal._utils.validation import warn
from astrofractal.gasmap.channel import clean_numbers, error_factor
from astrofractal.gasmap.io.fits import (
    channel_name,
    hdu_data,
    header_unit,
    image_hdus,
    label,
    wide_axes,
)
from astrofractal.gasmap.unit_text import parse_unit

__all__ = ["as_deviation", "find_error", "find_mask", "main_images"]

#: Words for an uncertainty in the name of an extension, and what it holds.
_WORDS = {
    "deviation": "UNCERTAINT(?:Y|IES)|UNCERT|UNC|ERRORS?|ERRS?|STD(?:_?DEV)?|STDEV|RMS|NOISE",
    "inverse": "INV(?:ERSE)?_?VAR(?:IANCE)?|IVAR",
    "variance": "VARIANCES?|VAR|STAT",
}

#: Short words that mean an uncertainty only before the name of a channel, as in E_N or SIGMA_NH2.
_BEFORE_CHANNEL = re.compile(r"^(?:E_?|D_|SIGMA_)(?=.)")

#: Classes of uncertainties: of NDData (UTYPE), and of ESO's standard (HDUCLAS3).
_CLASSES = {
    "STDDEVUNCERTAINTY": "deviation", "VARIANCEUNCERTAINTY": "variance", "INVERSEVARIANCE": "inverse",
    "RMSE": "deviation", "MSE": "variance", "INVMSE": "inverse",
}  # fmt: skip

_MASK = re.compile(r"(?:.*_)?MASK")

#: Images that say how much was observed: zero where nothing was, as the footprint of reproject.
_WEIGHT = re.compile(
    r"(?:.*_)?(?:FOOTPRINT|COVERAGE|COV|WEIGHTS?|WHT|EXPOSURE|EXPTIME|EXP|N_?HITS)"
)

#: Images beside a map that are none of these.
_OTHER = re.compile(
    r"(?:.*_)?(?:SNR|S_N|FLAGS?|DQ|QUAL|QUALITY|CONTEXT|CTX|CHI2|RESIDUALS?|MODEL|AREA|CON|"
    r"BACKGROUND|BKG|PSF)|VAR_.*"
)


def _plain(name):
    """Return the name of an extension in capitals, its words separated by underscores."""
    return re.sub("[^A-Z0-9]+", "_", str(name).upper()).strip("_")


def _statistic(hdu):
    """Return what kind of uncertainty an image holds, and of what; (`None`, "") for other images."""
    name = _plain(hdu.name)
    if channel_name(name) is not None:  # SIGMA_V is a dispersion, no uncertainty of V
        return None, ""
    kind, owner = None, ""
    for word, names in _WORDS.items():
        found = re.fullmatch(rf"(?:{names})(?:_(?P<a>.+))?|(?P<b>.+?)_(?:{names})", name)
        if found:
            kind, owner = word, found["a"] or found["b"] or ""
            break
    joined = re.fullmatch("(.+)(?:ERROR|ERR|UNCERT)", name)
    if kind is None and joined:
        kind, owner = "deviation", joined[1]
    short = _BEFORE_CHANNEL.sub("", name)
    if kind is None and short != name and channel_name(short) is not None:
        kind, owner = "deviation", short
    stated = str(hdu.header.get("UTYPE") or hdu.header.get("HDUCLAS3") or "").strip().upper()
    if stated and (kind is not None or str(hdu.header.get("HDUCLAS2", "")).strip() == "ERROR"):
        kind = _CLASSES.get(stated, "unknown")
    return kind, owner


def main_images(hdus):
    """Return the images of a file that are no uncertainties, masks or weights of others."""
    return [
        hdu
        for hdu in image_hdus(hdus)
        if _statistic(hdu)[0] is None
        and not any(mark.fullmatch(_plain(hdu.name)) for mark in (_MASK, _WEIGHT, _OTHER))
    ]


def find_error(hdus, hdu, name, channel, unit, *, plane=None):
    """Return the standard deviation of a channel (or a plane) from its own extension, or `None`."""
    alone = plane is not None or name == "column_density" or len(main_images(hdus)) == 1
    images = [(other, *_statistic(other)) for other in image_hdus(hdus) if other is not hdu]
    images = [one for one in images if one[1] is not None]
    own = {_plain(hdu.name), "" if alone else None}
    own_error = _plain(hdu.header.get("ERRDATA", ""))
    matching = [
        (other, kind)
        for other, kind, owner in images
        if owner in own or channel_name(owner) == name or _plain(other.name) == own_error != ""
    ]
    matching.sort(key=lambda one: getattr(one[0], "ver", 1) != getattr(hdu, "ver", 1))
    for other, kind in matching:
        where = label(other, hdus)
        if wide_axes(other) != wide_axes(hdu):
            _unused(where, f"has shape {other.shape}, its map {hdu.shape}")
        elif kind == "unknown":
            _unused(where, f"is of a class that is no standard deviation ({other.header['UTYPE']})")
        else:
            values = clean_numbers(hdu_data(other, hdus), where)
            values = values.reshape(-1, *channel.values.shape)[plane or 0]
            text = "" if unit is not None else str(other.header.get("BUNIT", "") or "").strip()
            try:
                return _deviation(values, kind, text, channel)
            except ValueError as error:  # of units as well
                _unused(where, f"cannot be converted ({error})")
    if images and not matching and alone and len(main_images(hdus)) == 1:
        names = ", ".join(other.name for other, *_ in images)
        _unused(names, f"has no name that belongs to {hdu.name or 'the map'}")
    return None


def as_deviation(hdu, hdus, channel):
    """Return the standard deviations in a file of their own, in the unit of a channel."""
    where = label(hdu, hdus)
    kind = _statistic(hdu)[0] or "deviation"
    if kind == "unknown":
        msg = f"{where} is of a class that is no standard deviation ({hdu.header['UTYPE']})"
        raise ValueError(msg)
    values = clean_numbers(np.squeeze(hdu_data(hdu, hdus)), where)
    text, physical = header_unit(hdu, hdus), getattr(channel.unit, "physical_unit", None)
    if physical is not None and text not in ("", "dex") and parse_unit(text) == physical:
        text = ""  # a header that was copied: the numbers are in dex
    return _deviation(values, kind, text, channel)


def _unused(where, reason):
    msg = f"the uncertainty in {where} is not used: it {reason}"
    warn(msg)


def _deviation(values, kind, text, channel):
    """Return standard deviations in the unit of a channel from numbers of a kind and a unit."""
    own, factor = channel.unit, 1.0
    if not isinstance(own, u.function.FunctionUnitBase) and text and text != "dex":
        stated = parse_unit(text, name="BUNIT")
        if isinstance(stated, u.UnitBase) and stated.is_equivalent(own**2):
            kind, factor = "variance", np.sqrt(stated.to(own**2))
            text = ""
    if text and kind == "deviation":
        factor = error_factor(text, channel, name="BUNIT")
    with np.errstate(invalid="ignore", divide="ignore"):
        if kind == "inverse":
            values = 1 / values
        if kind != "deviation":
            values = np.sqrt(values)
        return np.where(values >= 0, values, np.nan) * factor


def find_mask(hdus, hdu, shape):
    """Return the mask of a channel of a shape from its own extension, or `None`."""
    masks = []
    for other in image_hdus(hdus):
        name = _plain(other.name)
        is_mask = name in ("MASK", f"{_plain(hdu.name)}_MASK")
        if other is hdu or not (is_mask or _WEIGHT.fullmatch(name)):
            continue
        if wide_axes(other) == [n for n in shape if n > 1]:
            data = hdu_data(other, hdus).reshape(shape)
            masks.append(data.astype(bool) if is_mask else ~(data > 0))
        else:
            msg = (
                f"{label(other, hdus)} has shape {other.shape}, {label(hdu, hdus)} has "
                f"{hdu.shape}: the mask is not used"
            )
            warn(msg)
    return np.any(masks, axis=0) if masks else None
