"""Headers, maps of gas and labeled map sets of known content, for all tests."""

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS

from astrofractal import GasMap
from astrofractal.mapset import MapSet

DISTANCE = 300 * u.pc
STEP = np.degrees(0.5 / 64 / 300)  # degrees: a pixel of a standard map at that distance


def make_wcs(
    shape, *, step=STEP, ctype=("RA---TAN", "DEC--TAN"), crval=(52.0, 31.0), turn=0.0, flip=False
):
    """
    Return a celestial WCS about the middle of a map.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    step : float
        Size of a pixel in degrees.
    ctype, crval : tuple
        Kinds of the axes, and the sky at the middle in degrees.
    turn : float
        Angle by which the pixels are turned, in degrees.
    flip : bool
        Whether the first axis increases with the longitude, against the custom.
    """
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = list(ctype)
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crval = list(crval)
    wcs.wcs.crpix = [(shape[1] + 1) / 2, (shape[0] + 1) / 2]
    wcs.wcs.cdelt = [step if flip else -step, step]
    if turn:
        a = np.radians(turn)
        wcs.wcs.pc = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
    wcs.wcs.set()
    return wcs


def make_header(shape, *, step=STEP, **cards):
    """Return a FITS header with such a WCS and ``BUNIT``; a card that is None is left out."""
    header = {
        "CTYPE1": "RA---TAN", "CRVAL1": 52.0, "CRPIX1": (shape[-1] + 1) / 2, "CDELT1": -step,
        "CTYPE2": "DEC--TAN", "CRVAL2": 31.0, "CRPIX2": (shape[-2] + 1) / 2, "CDELT2": step,
        "BUNIT": "cm-2",
    } | cards  # fmt: skip
    return fits.Header({key: value for key, value in header.items() if value is not None})


def make_column(shape, cores=(), *, background=1e21, roughness=0.0, seed=0):
    """
    Return column densities in cm-2: Gaussian cores on an even background.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    cores : iterable of tuple
        ``(x, y, height, width)`` of each: pixels, cm-2, and the standard deviation in pixels.
    background : float
        Column density away from the cores, in cm-2.
    roughness : float
        Relative standard deviation of the background, from pixel to pixel.
    seed : int
        Of the roughness.
    """
    y, x = np.indices(shape)
    column = background * (1 + roughness * np.random.default_rng(seed).standard_normal(shape))
    for x0, y0, height, width in cores:
        column += height * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * width**2))
    return column


def make_gas(column, velocity=None, dispersion=None, *, wcs=True, distance=DISTANCE, **options):
    """
    Return a `~astrofractal.GasMap` from plain numbers in cm-2 and km/s.

    ``wcs`` is one, or True for that of `make_wcs`, or None.
    """
    return GasMap(
        column / u.cm**2,
        None if velocity is None else velocity * u.km / u.s,
        None if dispersion is None else dispersion * u.km / u.s,
        wcs=make_wcs(column.shape) if wcs is True else wcs,
        distance=distance,
        **options,
    )


def make_mapset(n_protostars=45, *, n_maps=2, n_clouds=3, seed=0, size=64, **options):
    """
    Return a `~astrofractal.mapset.MapSet` in which the central dispersion follows the mass.

    Nothing else does: column density and velocity are a peak and random structure.

    Parameters
    ----------
    n_protostars, n_maps, n_clouds : int
        Protostars, maps of each, and clouds among which the protostars are dealt in turn.
    seed : int
        Of everything random.
    size : int
        Pixels along a side.
    **options
        Passed to `~astrofractal.mapset.MapSet`.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    peak = np.exp(-np.hypot(x, y) * 6.4 / size)
    protostar = np.arange(n_protostars).repeat(n_maps)
    n = len(protostar)
    log_mass = rng.normal(0, 0.5, n_protostars)[protostar]
    smooth = rng.standard_normal((n, 2, 8, 8)).repeat(size // 8, axis=2).repeat(size // 8, axis=3)
    images = np.empty((n, 3, size, size), np.float32)
    images[:, 0] = 21.8 + 0.2 * smooth[:, 0] + peak
    images[:, 1] = 0.3 * smooth[:, 1]
    images[:, 2] = 0.2 + 0.2 * 10 ** (0.5 * log_mass[:, None, None]) * peak
    images[:, 2] *= 10 ** (0.03 * rng.standard_normal((n, size, size)))
    return MapSet(
        images,
        10**log_mass * u.solMass,
        clouds=[f"cloud{i % n_clouds}" for i in protostar],
        protostars=[str(i) for i in protostar],
        **options,
    )
