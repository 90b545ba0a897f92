"""A SpectralCube of a FITS file, whatever its axes are called and in which order they come."""

import warnings

import numpy as np
from astropy.io import fits

from astrofractal.gasmap import wcs as _wcs
from astrofractal.gasmap.io.fits_files import (
    describe_cube,
    describe_extensions,
    header_beam,
    header_distance,
    header_unit,
    image_hdus,
    label,
    parameter_names,
    pick,
)
from astrofractal.gasmap.spelling import parse_unit

__all__ = ["load_cube"]

#: Channels narrower than this (m/s) are not in use.
_NARROWEST = 2.0


def load_cube(hdus, *, hdu, unit):
    """Return the SpectralCube of a file and the distance its header tells."""
    from spectral_cube import SpectralCube

    images = [pick(hdus, hdu)] if hdu is not None else image_hdus(hdus)
    cubes = [image for image in images if len(image.shape) >= 3] or images
    if not cubes:
        msg = f"cube holds no image; {describe_extensions(hdus)}"
        raise ValueError(msg)
    image = cubes[0]
    where = label(image, hdus)
    wcs = _wcs.read_wcs(image.header, hdus=hdus, name=where)
    if not wcs.has_celestial:
        msg = f"{where} {_wcs.describe_cube_axes(wcs)}"
        raise ValueError(msg.replace("two celestial axes", "a spectral axis"))
    axis = _wcs.spectral_axis(wcs)
    if len(image.shape) == 2:
        msg = f"{where} is a 2D map, not a cube: use GasMap.read or GasMap.from_maps"
        raise ValueError(msg)
    if parameter_names(image):
        raise ValueError(describe_cube(image, where))
    if axis is None:
        ctypes = ", ".join(repr(str(ctype)) for ctype in wcs.wcs.ctype)
        msg = f"{describe_cube(image, where)}; it has no spectral axis (CTYPE {ctypes})"
        raise ValueError(msg)
    header = image.header
    text = header_unit(image, hdus)
    if unit is None and not text:
        msg = f"{where} has no BUNIT: say what its intensities are with unit=, as in unit='K'"
        raise ValueError(msg)
    unit = parse_unit(unit if unit is not None else text, name=f"BUNIT of {where}", example="K")
    data, plain = _three_axes(image, wcs, axis, where)
    _check_channel_width(header, plain.header, axis, where)
    plain.header["BUNIT"] = unit.to_string("fits")
    for key in ("BMAJ", "BMIN", "BPA", "CASAMBM"):
        if key in header:
            plain.header[key] = header[key]
    tables = [one for one in hdus if one.name == "BEAMS"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if tables and header.get("CASAMBM"):
            cube = SpectralCube.read(fits.HDUList([plain, *tables]), format="fits")
        else:
            plain.header.pop("CASAMBM", None)
            cube = _plain_cube(data, plain.header, unit)
    return cube, header_distance(header, hdus)


def _check_channel_width(header, plain, axis, where):
    """Refuse velocities without a unit that are hardly in m/s, as the standard says they are."""
    width = plain.get("CDELT3", 1.0) * plain.get("PC3_3", 1.0)
    stated = str(header.get(f"CUNIT{axis + 1}", "")).strip()
    if not stated and plain.get("CUNIT3") == "m/s" and abs(width) < _NARROWEST:
        msg = (
            f"{where} has no CUNIT{axis + 1}, and its channels would be {abs(width):g} m/s wide: set "
            f"CUNIT{axis + 1} in its header, e.g. to 'km/s'"
        )
        raise ValueError(msg)


def _plain_cube(data, header, unit):
    """Make a SpectralCube without the reader, which insists on a beam for Jy/beam."""
    from spectral_cube import SpectralCube

    wcs = _wcs.read_wcs(header)
    return SpectralCube(
        data=data,
        wcs=wcs,
        header=header,
        meta={"BUNIT": unit.to_string()},
        beam=header_beam(header),
    )


def _three_axes(image, wcs, spectral, where):
    """Return the data as (spectral, y, x), and an HDU with the header of these three axes."""
    keep = [wcs.wcs.lng, wcs.wcs.lat]
    keep = [*sorted(keep), spectral]
    shape = image.shape
    others = [axis for axis in range(wcs.naxis) if axis not in keep]
    lengths = shape[::-1]
    surplus = [axis for axis in others if axis < len(lengths) and lengths[axis] > 1]
    if surplus:
        msg = (
            f"{where} must have two celestial axes and a spectral one, got data of shape {shape} "
            f"with the axes {[str(ctype) for ctype in wcs.wcs.ctype]}"
        )
        raise ValueError(msg)
    data = image.data
    order = [len(shape) - 1 - axis for axis in keep[::-1]]
    rest = [axis for axis in range(len(shape)) if axis not in order]
    data = np.transpose(data, [*rest, *order]).reshape([shape[axis] for axis in order])
    sub = wcs.sub([axis + 1 for axis in keep])
    header = sub.to_header()
    if sub.wcs.spec < 0:  # a name of no standard, as VELOCITY or VLSR
        header["CTYPE3"] = "VRAD"
        header.setdefault("CUNIT3", "m/s")
    return data, fits.PrimaryHDU(data, header=header)
