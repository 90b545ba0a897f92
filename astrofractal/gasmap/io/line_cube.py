"""Cubes of spectra, from files, spectral-cube and NDData: data, axes, unit and beam as one object."""

import os
import warnings
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from astropy import constants as const
from astropy import units as u
from astropy.io import fits
from astropy.nddata import NDData
from radio_beam import Beam, Beams

from astrofractal._utils.limits import check_size
from astrofractal._utils.optional import require
from astrofractal._utils.reading import reading
from astrofractal.gasmap import wcs as _wcs
from astrofractal.gasmap.channel import Channel, nddata_error
from astrofractal.gasmap.checks import check_band, plausible_beam
from astrofractal.gasmap.io import layout
from astrofractal.gasmap.io.fits import (
    header_beam,
    header_length,
    header_unit,
    is_file,
    label,
    opened,
)
from astrofractal.gasmap.io.registry import is_pair, refuse_unused
from astrofractal.gasmap.units import parse_unit

_VELOCITY = u.km / u.s


@dataclass
class LineCube:
    """Spectra on the sky; a slice of rows is read by ``rows(slice)``."""

    rows: Callable  #: returns (channel, row, column), float64
    shape: tuple
    axis: u.Quantity  #: the frequency, wavelength or velocity of each channel
    kind: str  #: CTYPE of that axis
    wcs: object  #: of the two celestial axes
    unit: object
    beam: object = None
    areas: object = None  #: solid angle of the beam of each channel, where it varies
    errors: Callable | None = None  #: as ``rows``, standard deviations; of one channel for a map
    rest: object = None
    distance: object = None

    def velocities(self, rest_frequency):
        """Return the velocities of the channels in km/s, and their frequencies or `None`."""
        axis, rest = self.axis, self.rest if rest_frequency is None else rest_frequency
        rest = None if rest is None else rest.to(u.Hz, u.spectral())
        if axis.unit.is_equivalent(_VELOCITY):
            optical = self.kind[:4] in ("VOPT", "FELO")
            convention = u.doppler_optical if optical else u.doppler_radio
            frequency = None if rest is None else axis.to(u.Hz, convention(rest))
            return axis.to_value(_VELOCITY), frequency
        if axis.unit == u.one and self.kind.startswith("ZOPT"):
            return (axis.value * const.c).to_value(_VELOCITY), None
        if not axis.unit.is_equivalent(u.Hz, u.spectral()):
            msg = f"the spectral axis of cube must be a velocity or a frequency, got {axis.unit}"
            raise u.UnitConversionError(msg)
        if rest is None:
            msg = f"cube, in {axis.unit}, has no rest frequency: give the rest_frequency of XFactor"
            raise ValueError(msg)
        frequency = axis.to(u.Hz, u.spectral())
        return frequency.to_value(_VELOCITY, u.doppler_radio(rest)), frequency


def is_casa_image(source):
    """Return whether a path is a folder as CASA writes images."""
    return isinstance(source, str | os.PathLike) and (Path(source) / "table.dat").is_file()


@contextmanager
def line_cube(cube, *, hdu=None, unit=None):
    """Return a context with the `LineCube` of a file or an object."""
    if is_pair(cube):
        data, wcs = cube
        meta = dict(wcs) if isinstance(wcs, fits.Header) else None
        wcs, unit_of = _wcs.read_wcs(wcs), getattr(data, "unit", None)
        cube = NDData(getattr(data, "value", data), unit=unit_of, wcs=wcs, meta=meta)
    elif is_casa_image(cube):
        with warnings.catch_warnings(), reading(cube):
            warnings.simplefilter("ignore")  # of Stokes axes and dates
            spectral_cube = require("spectral_cube", extra="cube")
            cube = spectral_cube.SpectralCube.read(os.fspath(cube), format="casa_image")
    if is_file(cube):
        with opened(cube) as hdus:
            yield _of_file(hdus, hdu, unit)
    elif hasattr(cube, "spectral_axis") and hasattr(cube, "filled_data"):
        refuse_unused(f"a {type(cube).__name__}", {"hdu": hdu, "unit": unit})
        yield _of_spectral_cube(cube)
    elif isinstance(cube, NDData):
        refuse_unused(f"a {type(cube).__name__}", {"hdu": hdu})
        yield _of_nddata(cube, unit)
    else:
        msg = f"cube must be a path, an HDU, a SpectralCube or NDData, got {type(cube).__name__}"
        raise TypeError(msg)


def _of_file(hdus, key, unit):
    """Return the cube of a file."""
    images = layout.image_hdus(hdus, key)
    if key is None:
        images = layout.main_images(hdus) or images
    cubes = [image for image in images if len(image.shape) >= 3] or images
    if not cubes:
        msg = f"cube holds no image; {layout.describe_extensions(hdus)}"
        raise ValueError(msg)
    image = cubes[0]
    header, where = image.header, label(image, hdus)
    wcs = _wcs.read_wcs(header, hdus=hdus, name=where)
    if len(image.shape) == 2 and wcs.has_celestial:
        msg = f"{where} is a 2D map, not a cube: use GasMap.read"
        raise ValueError(msg)
    if not layout.parameter_names(image) and not wcs.has_celestial:
        msg = f"{where} {_wcs.describe_cube_axes(header)}"
        raise ValueError(msg.replace("two celestial axes", "a spectral axis"))
    if layout.parameter_names(image) or wcs.wcs.spec < 0:
        msg = f"{where} {layout.describe_cube(image)}"
        raise ValueError(msg)
    given = unit is not None
    unit = unit if given else header_unit(image, hdus)
    if not unit:
        msg = f"{where} has no BUNIT: give the unit of its intensities, as in unit='K'"
        raise ValueError(msg)
    unit = parse_unit(unit, name=f"BUNIT of {where}", example="K")
    _check_memory(image)
    found = _of_axes(image.data, wcs, unit, where)
    card = f"CUNIT{wcs.wcs.spec + 1}"
    check_band(found.axis, unit_card=card, stated=bool(header.get(card)), where=where)
    found.distance, found.beam = header_length("DISTANCE", header, hdus), header_beam(header)
    tables = [one for one in hdus if one.name == "BEAMS" and isinstance(one, fits.BinTableHDU)]
    if found.beam is None and tables:
        beams = _beams(tables[0], found.axis.size, where)
        found.beam, found.areas = _middle(beams, beams.sr), beams.sr
    found.beam = plausible_beam(found.beam, found.wcs, found.shape[1:], where=where)
    found.errors = _errors_of(hdus, image, wcs, found, stated=not given)
    return found


def _errors_of(hdus, image, wcs, cube, *, stated):
    """Return what reads rows of the errors of a cube from an extension, or `None` without one."""
    shapes = [layout.wide_axes(image), [n for n in cube.shape[1:] if n > 1]]
    options = {"stated": stated, "shapes": shapes}
    unit = Channel(np.ones(1), cube.unit)
    for other, convert in layout.error_images(hdus, image, "column_density", unit, **options):
        _check_memory(other)
        if layout.wide_axes(other) == shapes[0]:
            data = _ordered(np.reshape(other.data, image.shape), wcs, label(other, hdus))
        else:
            data = np.reshape(other.data, (1, *cube.shape[1:]))
        return lambda part: convert(_rows_of(data, part))
    return None


def _rows_of(data, part):
    """Return rows of data (channel, row, column) as native float64."""
    return np.asarray(data[:, part, :], dtype=np.float64)


def _check_memory(image):
    """Refuse a cube that takes too much memory: one that is not scaled is read in parts."""
    n_pixels, n_voxels = np.prod(image.shape[-2:], dtype=float), np.prod(image.shape, dtype=float)
    scaled = isinstance(image, fits.CompImageHDU) or "BSCALE" in image.header
    check_size(n_pixels * 120 + scaled * n_voxels * 8, "the cube")  # bytes, of the moments too


def _ordered(data, wcs, where):
    """Return data whose axes a WCS describes, in any order, as (channel, row, column)."""
    x, y = sorted((wcs.wcs.lng, wcs.wcs.lat))
    keep = [axis for axis in (wcs.wcs.spec, y, x) if 0 <= axis < data.ndim]
    others = np.delete(data.shape[::-1], keep)
    if len(keep) < 3 or (others > 1).any():
        got = f"{[str(ctype) for ctype in wcs.wcs.ctype]} of shape {data.shape}"
        msg = f"{where} must have two celestial axes and a spectral one, got {got}"
        raise ValueError(msg)
    data = np.moveaxis(data, [data.ndim - 1 - axis for axis in keep], (0, 1, 2))
    return data.reshape(data.shape[:3])  # of axes of one pixel, no copy


def _of_axes(data, wcs, unit, where):
    """Return the cube of an array whose axes a WCS describes."""
    data = _ordered(data, wcs, where)
    spectral = wcs.sub([wcs.wcs.spec + 1])
    values = spectral.wcs_pix2world(np.arange(len(data))[:, None], 0)[:, 0]
    return LineCube(
        rows=partial(_rows_of, data),
        shape=data.shape,
        axis=values << u.Unit(spectral.wcs.cunit[0]),
        kind=str(spectral.wcs.ctype[0]),
        wcs=_wcs.celestial_wcs(wcs, name=where),
        unit=unit,
        rest=_rest(wcs),
    )


def _rest(wcs):
    """Return the rest frequency or wavelength of a WCS, or `None`."""
    if wcs.wcs.restfrq > 0:
        return wcs.wcs.restfrq * u.Hz
    return wcs.wcs.restwav * u.m if wcs.wcs.restwav > 0 else None


def _beams(table, n_channels, where):
    """Return the beam of each channel; it is NaN where a channel was flagged."""
    rows = table.data
    if "POL" in table.columns.names:
        rows = rows[rows["POL"] == rows["POL"].min()]
    if len(rows) != n_channels:
        msg = f"{where} has {n_channels} channels, but its table BEAMS has {len(rows)}: give beam="
        raise ValueError(msg)
    axes = []
    for name, default in (("BMAJ", u.arcsec), ("BMIN", u.arcsec), ("BPA", u.deg)):
        unit = table.columns[name].unit
        axes.append(np.array(rows[name], float) << (u.Unit(unit) if unit else default))
    good = (axes[0] > 0) & (axes[1] > 0) & np.isfinite(axes[2])
    return Beams(*(np.where(good, axis, np.nan) for axis in axes))


def _middle(beams, areas):
    """Return the beam of median area."""
    order = np.argsort(areas)  # NaN last
    n_good = int(np.isfinite(areas).sum())
    if not n_good:
        return None
    one = order[n_good // 2]
    return Beam(beams.major[one].to(u.arcsec), beams.minor[one].to(u.arcsec), beams.pa[one])


def _of_spectral_cube(cube):
    """Return the cube of a `~spectral_cube.SpectralCube`, also of dask."""
    from spectral_cube.utils import NoBeamError

    beam, areas = None, None
    if hasattr(cube, "beams"):
        beams = cube.unmasked_beams
        areas = np.where(beams.sr > 0, beams.sr, np.nan)
        beam = _middle(beams, areas)
    else:
        with suppress(NoBeamError):
            beam = cube.beam
    return LineCube(
        rows=lambda rows: np.asarray(cube.filled_data[:, rows, :].value, dtype=np.float64),
        shape=cube.shape,
        axis=u.Quantity(cube.spectral_axis),
        kind=str(cube.wcs.wcs.ctype[cube.wcs.wcs.spec]),
        wcs=_wcs.celestial_wcs(cube.wcs, name="cube"),
        unit=cube.unit,
        beam=beam,
        areas=areas,
        rest=_rest(cube.wcs),
    )


def _of_nddata(cube, unit):
    """Return the cube of NDData, as that of ndcube."""
    unit = cube.unit if unit is None else parse_unit(unit)
    if unit is None or cube.wcs is None:
        missing = "unit: give unit=, as in unit='K'" if unit is None else "WCS"
        msg = f"cube, a {type(cube).__name__}, has no {missing}"
        raise ValueError(msg)
    wcs = _wcs.read_wcs(cube.wcs, name="cube")
    data = np.asarray(cube.data)
    if cube.mask is not None:
        data = np.where(cube.mask, np.nan, data)
    found = _of_axes(data, wcs, u.Unit(unit), "cube")
    error = nddata_error(cube, "cube")
    if error is not None:
        found.errors = partial(_rows_of, _ordered(error, wcs, "cube"))
    found.beam = getattr(cube, "beam", None)
    if found.beam is None:
        found.beam = header_beam(cube.meta.get("header", cube.meta))
    return found
