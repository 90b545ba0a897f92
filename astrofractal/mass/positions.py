"""Positions of protostars, from whatever describes them."""

import logging
import warnings
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table

from astrofractal._utils.tables import read_table

__all__ = ["nothing_to_measure", "resolve_positions", "to_icrs"]

logger = logging.getLogger(__name__)

_SKY_COLUMNS = (
    ("ra", "dec"), ("raj2000", "dej2000"), ("_raj2000", "_dej2000"), ("ra_icrs", "de_icrs"),
    ("ra_deg", "dec_deg"), ("radeg", "dedeg"), ("ra2000", "dec2000"),
    ("right_ascension", "declination"),
)  # fmt: skip
_GALACTIC_COLUMNS = (("l", "b"), ("glon", "glat"))
_PIXEL_COLUMNS = (("x", "y"), ("xcentroid", "ycentroid"), ("x_centroid", "y_centroid"),
                  ("x_peak", "y_peak"))  # fmt: skip
_REGION_SUFFIXES = {".reg": "ds9", ".crtf": "crtf"}


def resolve_positions(gas, positions):
    """
    Turn any description of positions into what `GasMap.cutouts` takes.

    Parameters
    ----------
    gas : `~astrofractal.GasMap`
        The map.

    positions : object
        As `~astrofractal.StellarMassEstimator.catalog` takes it.

    Returns
    -------
    positions : `~astropy.coordinates.SkyCoord` or 2D `~numpy.ndarray`
        Sky positions, or pixels of shape (n, 2).

    names : list or None
        The names of the positions, where they have any.
    """
    if isinstance(positions, SkyCoord):
        return positions.reshape(-1), None
    if isinstance(positions, (str, Path)) or hasattr(positions, "__fspath__"):
        path = Path(positions)
        if not path.is_file():
            msg = f"positions: no such file {str(path)!r}"
            raise FileNotFoundError(msg)
        if path.suffix in _REGION_SUFFIXES:
            from regions import Regions

            try:
                positions = Regions.read(path, format=_REGION_SUFFIXES[path.suffix])
            except Exception as error:  # the parsers raise whatever they stumble over
                msg = f"positions: cannot read the regions of {str(path)!r}: {error}"
                raise ValueError(msg) from error
            return _from_regions(positions, str(path))
        return _from_table(_read_table(path), str(path))
    if isinstance(positions, Table) or hasattr(positions, "colnames"):
        return _from_table(positions, "the table")
    if type(positions).__module__.split(".")[0] == "regions":
        return _from_regions(positions, "positions")
    if isinstance(positions, u.Quantity):
        msg = "positions must be a SkyCoord, a table, regions or pixels, got a Quantity"
        raise TypeError(msg)
    try:
        array = np.atleast_2d(np.asarray(positions, dtype=float))
    except (TypeError, ValueError) as error:
        msg = f"positions must be a SkyCoord, a table, regions or pixels (n, 2), got {positions!r}"
        raise TypeError(msg) from error
    if array.size == 0:
        return np.empty((0, 2)), None
    if array.ndim != 2 or array.shape[1] != 2:
        msg = f"positions given as pixels must have the shape (n, 2), got {np.shape(positions)}"
        raise ValueError(msg)
    return array, None


def _read_table(path):
    options = {".csv": {"format": "ascii.csv"}, ".txt": {"format": "ascii"}}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", u.UnitsWarning)
            return read_table(path, **options.get(path.suffix, {}))
    except Exception as error:  # the readers raise whatever they stumble over
        msg = f"positions: cannot read a table from {str(path)!r}: {error}"
        raise ValueError(msg) from error


def _from_table(table, where):
    lower = {name.lower(): name for name in reversed(table.colnames)}
    names = next((list(table[lower[n]]) for n in ("id", "name", "source") if n in lower), None)
    for name in table.colnames:
        if isinstance(table[name], SkyCoord):
            return table[name].reshape(-1), names
    for pairs, frame in ((_SKY_COLUMNS, "icrs"), (_GALACTIC_COLUMNS, "galactic")):
        for first, second in pairs:
            if first in lower and second in lower:
                lon, lat = table[lower[first]], table[lower[second]]
                return _sky(lon, lat, frame, where), names
    for first, second in _PIXEL_COLUMNS:
        if first in lower and second in lower:
            pixels = [np.asarray(table[lower[c]], dtype=float) for c in (first, second)]
            return np.column_stack(pixels), names
    msg = (
        f"positions: {where} has no column of positions: it needs a SkyCoord, ra and dec, l and b, "
        f"or x and y (0-based pixels), and has {', '.join(table.colnames) or 'no columns'}"
    )
    raise ValueError(msg)


def _sky(lon, lat, frame, where):
    try:
        if np.asarray(lon).dtype.kind in "US":
            hours = any(c in str(lon[0]) for c in ":hms ")
            unit = (u.hourangle if hours else u.deg, u.deg)
            return SkyCoord(np.asarray(lon), np.asarray(lat), unit=unit, frame=frame)
        lon, lat = (
            u.Quantity(np.asarray(c), getattr(c, "unit", None) or u.deg) for c in (lon, lat)
        )
        return SkyCoord(lon, lat, frame=frame)
    except (ValueError, TypeError, u.UnitsError) as error:
        msg = f"positions: cannot read the coordinates of {where}: {error}"
        raise ValueError(msg) from error


def _from_regions(regions, where):
    regions = [regions] if hasattr(regions, "meta") else list(regions)
    if not regions:
        return np.empty((0, 2)), None
    centers = []
    for region in regions:
        center = getattr(region, "center", None)
        if center is None:
            msg = (
                f"positions: {type(region).__name__} of {where} has no center; points, circles, "
                "ellipses, rectangles and annuli have one"
            )
            raise ValueError(msg)
        centers.append(center)
    labels = [r.meta.get("text") or r.meta.get("label") or "" for r in regions]
    labels = labels if all(labels) else None
    on_sky = [isinstance(c, SkyCoord) for c in centers]
    if all(on_sky):
        centers = [c.icrs for c in centers]
        return SkyCoord([c.ra for c in centers], [c.dec for c in centers]), labels
    if any(on_sky):
        msg = f"positions: {where} mixes sky and pixel regions"
        raise ValueError(msg)
    return np.array([[c.x, c.y] for c in centers], dtype=float), labels


def nothing_to_measure(gas, positions):
    """
    Tell why none of the positions can be measured on a map.

    Parameters
    ----------
    gas : `~astrofractal.GasMap`
        The map.

    positions : `~astropy.coordinates.SkyCoord` or 2D `~numpy.ndarray`
        As `resolve_positions` returns them.

    Returns
    -------
    reason : str or None
        With the ranges of the map and of the positions; `None` where one lies on the map.
    """
    if len(positions) == 0:
        return "no position is given: the table or the region file has none that could be read"
    if gas.contains(positions).any():
        return None
    ny, nx = gas.shape
    if isinstance(positions, SkyCoord):
        x, y = np.meshgrid(np.linspace(-0.5, nx - 0.5, 9), np.linspace(-0.5, ny - 0.5, 9))
        where, given = (_sky_range(sky) for sky in (gas.to_sky(x, y), positions))
    else:
        where = f"x from 0 to {nx - 1}, y from 0 to {ny - 1}"
        low, high = np.nanmin(positions, axis=0), np.nanmax(positions, axis=0)
        given = f"x from {low[0]:.6g} to {high[0]:.6g}, y from {low[1]:.6g} to {high[1]:.6g}"
    return (
        f"no position is on the map, which spans {where}; the {len(positions)} given span {given}"
    )


def _sky_range(sky):
    """Return the ranges of right ascension and declination as text."""
    ra, dec = (angle.value[np.isfinite(angle.value)] for angle in to_icrs(sky))
    if not len(ra):
        return "nothing on the sky"
    if np.ptp(ra) > 180:  # across the meridian
        ra = (ra + 180) % 360 - 180
    return (
        f"right ascension {ra.min():.5g} to {ra.max():.5g} and declination {dec.min():.5g} to "
        f"{dec.max():.5g} deg (ICRS)"
    )


def to_icrs(sky):
    """
    Return right ascensions and declinations.

    Parameters
    ----------
    sky : `~astropy.coordinates.SkyCoord`
        Positions; a frame that cannot be transformed keeps its own numbers.

    Returns
    -------
    ra, dec : `~astropy.units.Quantity`
        In degrees.
    """
    try:
        sky = sky.icrs
    except Exception:
        logger.info("the frame %s cannot be transformed to ICRS", sky.frame.name)
    lon, lat = sky.spherical.lon.to(u.deg), sky.spherical.lat.to(u.deg)
    return u.Quantity(lon, u.deg).reshape(-1), u.Quantity(lat, u.deg).reshape(-1)
