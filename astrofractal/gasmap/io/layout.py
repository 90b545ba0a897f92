"""What the images of a file are: channels, their errors and masks, planes of parameters, cubes."""

import re
from functools import partial

import numpy as np
from astropy import units as u
from astropy.io import fits

from astrofractal._utils.validation import warn
from astrofractal.gasmap import wcs as _wcs
from astrofractal.gasmap.channel import error_factor
from astrofractal.gasmap.header import is_celestial, spectral_ctype
from astrofractal.gasmap.io.fits import EXTENSIONS, hdu_data, header_unit, is_hdu, label
from astrofractal.gasmap.moments import CHANNELS
from astrofractal.gasmap.units import logarithmic, parse_unit

#: Names of extensions (upper case, other characters dropped) that mean a channel.
CHANNEL_NAMES = {
    "column_density": (
        "COLUMNDENSITY", "COLUMN", "COLDENS", "COLDENSITY", "NH2", "N", "SURFACEDENSITY",
        "GASDENSITY", "LOGNH2", "LOGN", "LOGCOLUMNDENSITY",
    ),
    "velocity": (
        "VLOS", "VELOCITY", "VLSR", "V", "VCEN", "CENTROID", "MEANVELOCITY", "VELOCITYLOS",
        "MOM1", "MOMENT1", "VELO",
    ),
    "dispersion": (
        "SIGMAV", "DISPERSION", "VELOCITYDISPERSION", "SIGMA", "SIGV", "VDISP", "SIGMALOS",
        "LINEDISPERSION", "VELDISP", "SIGMAVLOS", "FWHM", "FWHMV", "LINEWIDTH", "MOM2", "MOMENT2",
    ),
}  # fmt: skip


def channel_name(text):
    """Return the channel that the name of an extension or plane means, or `None`."""
    plain = re.sub("[^A-Z0-9]", "", str(text).upper())
    for channel, names in CHANNEL_NAMES.items():
        if plain in names:
            return channel
    return None


def image_hdus(hdus, key=None):
    """Return the HDUs that hold images, distortion tables left out, or that of a number or name."""
    if key is not None:
        return [pick(hdus, key)]
    return [
        hdu
        for hdu in hdus
        if (is_hdu(hdu) or getattr(hdu, "is_image", False))
        and hdu.header.get("NAXIS", 0) > 0
        and hdu.name not in ("WCSDVARR", "D2IMARR", "TEL_COORD")
        and 0 not in hdu.shape
    ]


def pick(hdus, key):
    """Return the HDU of a number or name."""
    try:
        hdu = hdus[key]
    except (KeyError, IndexError):
        names = [hdu.name for hdu in hdus]
        msg = f"hdu {key!r} is not in the file, which has {names}"
        raise ValueError(msg) from None
    if not is_hdu(hdu) or not hdu.shape:
        msg = f"hdu {key!r} ({hdu.name}) holds no image"
        raise ValueError(msg)
    return hdu


def wide_axes(hdu):
    """Return the lengths of the axes of more than one pixel."""
    return [n for n in hdu.shape if n > 1]


def _wide_numbers(hdu):
    """Return the numbers (1-based) of the axes of more than one pixel, as FITS counts them."""
    return [axis for axis, n in enumerate(hdu.shape[::-1], start=1) if n > 1]


def spectral_length(hdu):
    """Return the channels along the spectral axis of an image; 0 without one."""
    spectral = (axis for axis in _wide_numbers(hdu) if spectral_ctype(hdu.header, axis))
    return next((hdu.shape[-axis] for axis in spectral), 0)


def parameter_names(hdu):
    """Return what the planes of a cube of parameters are called (PLANE1, PLANE2, ...)."""
    # pyspeckit counts from 0, others from 1
    keys = [key for key in hdu.header if re.fullmatch(r"PLANE\d+", key)]
    return [str(hdu.header[key]).strip() for key in sorted(keys, key=lambda key: int(key[5:]))]


def check_shape(hdu, where, *, three_planes=False):
    """Refuse an image that is neither a map nor, if these are allowed, three planes."""
    wide, channels = _wide_numbers(hdu), spectral_length(hdu)
    what = None
    if channels and len(wide) == 1:
        what = f"is a spectrum of {channels} channels, not a map of the sky"
    elif channels and len(wide) == 2:
        ctypes = ", ".join(repr(str(hdu.header.get(f"CTYPE{axis}", ""))) for axis in wide)
        what = _wcs.DIAGRAM.format(ctypes)
    elif len(hdu.shape) < 2:
        what = f"must be a 2D map, got {len(hdu.shape)}D data of shape {hdu.shape}"
    elif len(wide) > 2 and not (three_planes and is_three_planes(hdu)):
        what = describe_cube(hdu)
    if what:
        msg = f"{where} {what}"
        raise ValueError(msg)


def is_three_planes(hdu):
    """Return whether an image has three planes that can be column density, v and sigma."""
    shape = [n for n in hdu.shape[:-2] if n > 1]
    named = [channel_name(name) for name in parameter_names(hdu)]
    return shape == [3] and named in ([], list(CHANNELS)) and not _planes_of(hdu)


def _planes_of(hdu):
    """Say what the planes of a picture or a polarization map are, else return `None`."""
    ctypes = [str(hdu.header.get(f"CTYPE{axis}", "")) for axis in range(1, len(hdu.shape) + 1)]
    lengths = dict(zip(ctypes, hdu.shape[::-1], strict=True))
    if any(word in ctype.upper() for ctype in ctypes for word in ("RGB", "COLOR", "COLOUR")):
        return "a picture in colors"
    if hdu.header.get("BITPIX") == 8 and "BSCALE" not in hdu.header:
        return "a picture in colors (8 bits per pixel)"
    if lengths.get("STOKES", 0) > 1:
        return "a set of Stokes planes"
    return None


def describe_cube(hdu):
    """Say what an image of more than two axes is."""
    names, wide = parameter_names(hdu), _wide_numbers(hdu)
    if names:
        planes = f"is a cube of parameters (planes {', '.join(names)})"
        return f"{planes}: give column=Abundance(...) for fitted lines, else the planes one by one"
    if len(wide) == 3 and _planes_of(hdu):
        return f"is {_planes_of(hdu)} of shape {hdu.shape}, not a map of the gas"
    if spectral_length(hdu):
        return f"is a position-position-velocity cube of shape {hdu.shape}: use GasMap.from_cube"
    if len(wide) == 3:
        others = (axis for axis in wide[2:] + wide[:2] if not is_celestial(hdu.header, axis))
        card = f"CTYPE{next(others, 3)}"
        text = f"{card} = {str(hdu.header.get(card, ''))!r}"
        return f"is a cube of parameters, or has no spectral axis ({text}): correct {card}, CUNIT"
    return f"must be a 2D map, got {len(wide)}D data of shape {hdu.shape}"


def describe_extensions(hdus):
    """Say what the extensions of a file are, where none of them is a map."""
    if any(str(hdu.header.get("PIXTYPE", "")).strip().upper() == "HEALPIX" for hdu in hdus):
        return "it is a HEALPix map, which must be projected on a plane first (as reproject does)"
    kinds = []
    for index, hdu in enumerate(hdus):
        if isinstance(hdu, fits.BinTableHDU | fits.TableHDU) and not is_hdu(hdu):
            kind = "a table"
        else:
            kind = "an image" if hdu.header.get("NAXIS", 0) else "empty"
        kinds.append(f"{hdu.name or index} ({kind})")
    return f"its extensions are {', '.join(kinds)}"


#: What the planes of a cube of parameters are called (upper case, without the number of a component).
_PLANES = {
    "column_density": ("COLUMN", "NTOT", "NCOL", "N", "N_NH3", "NNH3", "LOGN"),
    "velocity": ("VELOCITY", "XOFF_V", "CENTER", "SHIFT", "VLSR", "V"),
    "dispersion": ("SIGMA", "WIDTH", "SIGMA_V", "SIGV", "DISPERSION", "FWHM"),
}


def channels_of_planes(hdus, key=None):
    """Return the planes of a cube of fitted parameters as extensions with the names of channels."""
    images = image_hdus(hdus, key)
    found = _named_planes(images[0]) if images and len(images[0].shape) > 2 else {}
    if not found:
        return None
    image = images[0]
    data = hdu_data(image, hdus)
    data = data.reshape(-1, *data.shape[-2:])
    header = image.header.copy()
    for card in [card for card in header if re.fullmatch(r"PLANE\d+|BUNIT|EXTNAME", card)]:
        del header[card]
    planes = fits.HDUList([fits.PrimaryHDU()])
    names = parameter_names(image)
    if len(names) != len(data):
        cards = f"{len(names)} cards PLANE1, ..."
        where = label(image, hdus)
        msg = f"{where} has {len(data)} planes, but {cards}: correct them, or give single planes"
        raise ValueError(msg)
    for name, index in found.items():
        values = np.where(data[index] == 0, np.nan, data[index])
        channel = name.removesuffix("_ERROR")
        unit = "km s-1"
        if channel == EXTENSIONS["column_density"]:
            unit = "dex(cm-2)" if logarithmic(data[found[channel]]) else "cm-2"
        plane = fits.ImageHDU(values, header, name=name)
        plane.header["BUNIT"] = unit
        plane.header["BTYPE"] = names[index]
        planes.append(plane)
    return planes


def _named_planes(image):
    """Return the index of the plane of each channel and error, by the name of its extension."""
    names, found = parameter_names(image), {}
    for index, text in enumerate(names):
        error = text[:1] == "e" and text[1:2].isupper()
        plain = re.sub(r"_?0$", "", (text[1:] if error else text).upper())
        for channel, words in _PLANES.items():
            if plain in words:
                found.setdefault(EXTENSIONS[channel] + "_ERROR" * error, index)
    several = [name for name in names if re.search(r"[A-Za-z_]1$", name)]
    if found and several:
        what = f"fits of several components ({several[0]!r} ...)"
        msg = f"{image.name or 'the cube'} holds {what}: give a fit of one component"
        raise ValueError(msg)
    return found


#: Words for an uncertainty in the name of an extension, and what it holds.
_WORDS = {
    "deviation": "UNCERTAINT(?:Y|IES)|UNCERT|UNC|ERRORS?|ERRS?|STD(?:_?DEV)?|STDEV|RMS|NOISE",
    "inverse": "INV(?:ERSE)?_?VAR(?:IANCE)?|IVAR",
    "variance": "VARIANCES?|VAR|STAT",
}

#: The names of uncertainties, with that of what they are of (as in N_ERR, ERR_N, NERR).
_STATISTICS = [
    (kind, re.compile(rf"(?:{words})(?:_(?P<after>.+))?|(?P<before>.+?)_(?:{words})"))
    for kind, words in _WORDS.items()
] + [("deviation", re.compile("(?P<before>.+)(?P<after>ERROR|ERR|UNCERT)"))]

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

#: Other images in the file of a map.
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
    short = _BEFORE_CHANNEL.sub("", name)
    found = [(word, match) for word, pattern in _STATISTICS if (match := pattern.fullmatch(name))]
    if found:
        kind, match = found[0]
        owner = match["before"] or match["after"] or ""
    elif short != name and channel_name(short) is not None:
        kind, owner = "deviation", short
    stated = _stated_class(hdu)
    if stated and (kind is not None or str(hdu.header.get("HDUCLAS2", "")).strip() == "ERROR"):
        kind = _CLASSES.get(stated, "unknown")
    return kind, owner


def _stated_class(hdu):
    """Return the class of uncertainties that a header states, in capitals."""
    return str(hdu.header.get("UTYPE") or hdu.header.get("HDUCLAS3") or "").strip().upper()


def main_images(hdus):
    """Return the images of a file that are no uncertainties, masks or weights of others."""
    return [
        hdu
        for hdu in image_hdus(hdus)
        if _statistic(hdu)[0] is None
        and not any(mark.fullmatch(_plain(hdu.name)) for mark in (_MASK, _WEIGHT, _OTHER))
    ]


def error_images(hdus, hdu, name, channel, *, stated=True, alone=False, shapes=None):
    """Yield images with uncertainties of an image, and what converts each; warn of those not used."""
    # stated: whether their headers give their units; alone: whether the file has one image that they
    # can be of; shapes: those that are of use
    alone = alone or name == "column_density" or len(main_images(hdus)) == 1
    images = [(other, *_statistic(other)) for other in image_hdus(hdus) if other is not hdu]
    images = [one for one in images if one[1] is not None]
    own = {_plain(hdu.name), "" if alone else None}
    own_error = _plain(hdu.header.get("ERRDATA", ""))
    matching = [
        (other, kind)
        for other, kind, owner in images
        if owner in own or channel_name(owner) == name or _plain(other.name) == own_error != ""
    ]
    if images and not matching and alone and len(main_images(hdus)) == 1:
        names = ", ".join(other.name for other, *_ in images)
        warn_unused(names, f"has no name that belongs to {hdu.name or 'the map'}")
    matching.sort(key=lambda one: getattr(one[0], "ver", 1) != getattr(hdu, "ver", 1))
    for other, kind in matching:
        text = str(other.header.get("BUNIT", "") or "").strip() if stated else ""
        convert = partial(deviation, kind=kind, text=text, channel=channel)
        reason = None
        if wide_axes(other) not in (shapes or [wide_axes(hdu)]):
            reason = f"has shape {other.shape}, its map {hdu.shape}"
        elif kind == "unknown":
            reason = f"is of a class that is no standard deviation ({_stated_class(other)})"
        else:
            try:
                convert(np.ones(1))
            except ValueError as error:  # of units as well
                reason = f"cannot be converted ({error})"
        if reason:
            warn_unused(label(other, hdus), reason)
        else:
            yield other, convert


def find_error(hdus, hdu, name, channel, unit, *, plane=None):
    """Return the standard deviation of a channel (or a plane) from its own extension, or `None`."""
    options = {"stated": unit is None, "alone": plane is not None}
    for other, convert in error_images(hdus, hdu, name, channel, **options):
        values = hdu_data(other, hdus).reshape(-1, *channel.values.shape)
        return convert(values[plane or 0])
    return None


def as_deviation(hdu, hdus, channel):
    """Return the standard deviations in a file of their own, in the unit of a channel."""
    where = label(hdu, hdus)
    kind = _statistic(hdu)[0] or "deviation"
    if kind == "unknown":
        msg = f"{where} is of a class that is no standard deviation ({_stated_class(hdu)})"
        raise ValueError(msg)
    values = np.squeeze(hdu_data(hdu, hdus))
    text, physical = header_unit(hdu, hdus), getattr(channel.unit, "physical_unit", None)
    if physical is not None and text not in ("", "dex") and parse_unit(text) == physical:
        text = ""  # a header that was copied: the numbers are in dex
    return deviation(values, kind, text, channel)


def warn_unused(where, reason):
    """Warn of an uncertainty that is not used."""
    warn(f"the uncertainty in {where} is not used: it {reason}")


def deviation(values, kind, text, channel):
    """Return standard deviations in the unit of a channel from numbers of a kind and a unit."""
    factor = 1.0
    if text not in ("", "dex") and not channel.is_logarithm:
        stated, square = parse_unit(text, name="BUNIT"), channel.unit**2
        if isinstance(stated, u.UnitBase) and stated.is_equivalent(square):
            kind, factor, text = "variance", np.sqrt(stated.to(square)), ""
    if text and kind == "deviation":
        factor = error_factor(text, channel, name="BUNIT")
    with np.errstate(invalid="ignore", divide="ignore"):
        if kind == "inverse":
            values = 1 / values
        if kind != "deviation":
            values = np.sqrt(values)
        return np.where(values >= 0, values, np.nan) * factor


def find_mask(hdus, hdu, shape):
    """Return the mask of a channel of a shape from its own extension."""
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
            shapes = f"shape {other.shape}, {label(hdu, hdus)} has {hdu.shape}"
            warn(f"{label(other, hdus)} has {shapes}: the mask is not used")
    return np.any(masks, axis=0) if masks else np.zeros(shape, bool)
