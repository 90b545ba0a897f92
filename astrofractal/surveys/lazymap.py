"""Maps larger than memory: read tile by tile from Dask, Zarr or anything that can be sliced."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import NDData, StdDevUncertainty
from astropy.wcs import WCS
from numpy.typing import ArrayLike
from radio_beam import Beam

from astrofractal._utils.annotations import PathLike
from astrofractal._utils.atomic import atomic_path
from astrofractal._utils.limits import check_size
from astrofractal._utils.optional import require
from astrofractal._utils.reading import reading
from astrofractal._utils.validation import positive_int
from astrofractal.gasmap import GasMap
from astrofractal.gasmap.checks import check_beam, check_length
from astrofractal.gasmap.io.fits import to_header
from astrofractal.gasmap.io.maps import header_parts
from astrofractal.gasmap.moments import CHANNELS
from astrofractal.gasmap.units import parse_unit
from astrofractal.gasmap.wcs import celestial_wcs

_LONGEST_SIDE = 2**20

#: Units of arrays that have none.
_UNITS = dict(zip(CHANNELS, ("cm-2", "km/s", "km/s")))


@dataclass(frozen=True)
class Tile:
    """
    A part of a map.

    Parameters
    ----------
    rows, columns : slice
        The part that the tile covers; the tiles of a map do not overlap.
    outer_rows, outer_columns : slice
        The part that is read.
    """

    rows: slice
    columns: slice
    outer_rows: slice
    outer_columns: slice

    @property
    def name(self) -> str:
        """A name for files, from the first pixel."""
        return f"y{self.rows.start:06d}_x{self.columns.start:06d}"


class LazyMap:
    """
    A gas map that is read part by part.

    Parameters
    ----------
    column_density, velocity, dispersion : array or `~astropy.nddata.NDData`
        2D, of one shape: anything that can be sliced, such as a `dask.array.Array`, a `zarr.Array` or
        a `numpy.memmap`, in cm-2 and km/s; or an NDData around one, whose unit and standard
        deviations are kept.
    wcs : `~astropy.wcs.WCS`, optional
        The celestial WCS; taken from an NDData.
    distance, beam, pixel_scale : optional
        As `~astrofractal.GasMap` takes them.
    name : str, optional
        Name of the map in tables and files.

    Raises
    ------
    ValueError
        If the arrays are not 2D or differ in shape.

    Examples
    --------
    >>> import numpy as np
    >>> from astrofractal.surveys import LazyMap
    >>> gas = LazyMap(np.full((300, 500), 1e22), name="plane")
    >>> gas
    <LazyMap 'plane': 300 x 500 px, column_density>
    >>> [tile.name for tile in gas.tiles((256, 256), overlap=10)]
    ['y000000_x000000', 'y000000_x000256', 'y000256_x000000', 'y000256_x000256']
    >>> gas.read(slice(0, 20), slice(0, 30)).shape
    (20, 30)
    """

    def __init__(
        self,
        column_density: ArrayLike | NDData,
        velocity: ArrayLike | NDData | None = None,
        dispersion: ArrayLike | NDData | None = None,
        *,
        wcs: WCS | None = None,
        distance: u.Quantity | None = None,
        beam: Beam | u.Quantity | None = None,
        pixel_scale: u.Quantity | None = None,
        name: str = "map",
    ) -> None:
        self._channels = {}
        for channel, value in zip(CHANNELS, (column_density, velocity, dispersion)):
            if value is None:
                continue
            own = self._channels[channel] = _channel(channel, value)
            wcs = own.wcs if wcs is None else wcs
        shapes = {tuple(own.data.shape) for own in self._channels.values()}
        if len(shapes) != 1:
            msg = f"column_density, velocity and dispersion must have one shape, got {shapes}"
            raise ValueError(msg)
        self.shape = shapes.pop()
        self.wcs = None if wcs is None else celestial_wcs(getattr(wcs, "low_level_wcs", wcs))
        self.distance = check_length("distance", distance)
        self.beam = check_beam(beam)
        self.pixel_scale = check_length("pixel_scale", pixel_scale)
        self.name = str(name)
        self._path: Path | None = None  # of a Zarr group, for messages

    def __repr__(self):
        size = f"{self.shape[0]} x {self.shape[1]} px"
        return f"<LazyMap {self.name!r}: {size}, {', '.join(self._channels)}>"

    @classmethod
    def open_zarr(cls, path: PathLike, *, distance: u.Quantity | None = None) -> LazyMap:
        """
        Open a Zarr group as `write_zarr` makes it, as a map named after the file.

        Parameters
        ----------
        path : path-like
            The folder: arrays ``column_density``, and perhaps ``velocity``, ``dispersion`` and
            standard deviations (``..._uncertainty``), each with an attribute ``unit`` (cm-2 and km/s
            without); WCS, beam, distance and pixel scale are read from the group's ``header``, a
            FITS header as text.
        distance : `~astropy.units.Quantity`, optional
            Distance, in the place of the group's own.

        Raises
        ------
        ValueError, OSError
            If there is no such folder, or it is no such group, damaged or too large for memory.
        """
        zarr = require("zarr", extra="dask")
        address, path = str(path), Path(path)
        if not path.is_dir():
            msg = f"no folder {address!r}: a Zarr group must be a folder (addresses are not opened)"
            raise FileNotFoundError(msg)
        with reading(path):
            group = zarr.open_group(str(path), mode="r")
            header = fits.Header.fromstring(group.attrs.get("header", ""), sep="\n")
            parts = header_parts(header, distance=distance)
            names = ("wcs", "distance", "beam", "pixel_scale")
            options = {name: getattr(parts, name) for name in names}
            gas = cls(**_zarr_channels(group), **options, name=path.stem)
        gas._path = path
        return gas

    def read(self, rows: slice, columns: slice) -> GasMap | None:
        """
        Read a part of the map; `None` where it holds no usable pixel.

        Parameters
        ----------
        rows, columns : slice
            Pixels, with start and stop.
        """
        with reading(self._path):
            channels = {name: _part(own, rows, columns) for name, own in self._channels.items()}
            column = channels["column_density"].data
            if not np.any(np.isfinite(column) & (column > 0)):
                return None
            return GasMap(
                **channels,
                wcs=None if self.wcs is None else self.wcs[rows, columns],
                distance=self.distance,
                beam=self.beam,
                pixel_scale=self.pixel_scale,
            )

    def tiles(self, shape: tuple[int, ...] = (1024, 1024), *, overlap: int = 0) -> list[Tile]:
        """
        Divide the map row by row.

        Parameters
        ----------
        shape : tuple of int, optional
            Shape (ny, nx) of the tiles without overlap; the last ones are smaller.
        overlap : int, optional
            Pixels that are read beyond a tile on every side.
        """
        overlap = positive_int("overlap", overlap, minimum=0)
        sides = []
        for length, step in zip(self.shape, shape, strict=True):
            starts = range(0, length, positive_int("tile_shape", step))
            inner = [slice(start, min(start + step, length)) for start in starts]
            outer = [slice(max(s.start - overlap, 0), min(s.stop + overlap, length)) for s in inner]
            sides.append(list(zip(inner, outer, strict=True)))
        return [
            Tile(rows, columns, outer_rows, outer_columns)
            for rows, outer_rows in sides[0]
            for columns, outer_columns in sides[1]
        ]


def _channel(name, value):
    """Return NDData around an array that is not read yet."""
    data = value if isinstance(value, NDData) else NDData(value)
    if len(data.data.shape) != 2:
        msg = f"{name} must be 2D, got the shape {tuple(data.data.shape)}"
        raise ValueError(msg)
    error = data.uncertainty
    if error is not None:  # one that does not keep the NDData it came with
        error = type(error)(error.array, unit=error.unit, copy=False)
    options = {"wcs": data.wcs, "mask": data.mask, "uncertainty": error}
    return NDData(data.data, unit=data.unit or _UNITS[name], **options)


def _part(channel, rows, columns):
    """Return a part of a channel, read, without its WCS."""
    values, error = _load(channel.data, rows, columns), channel.uncertainty
    if channel.mask is not None:
        values = np.where(_load(channel.mask, rows, columns), np.nan, values)
    if error is not None:
        error = type(error)(_load(error.array, rows, columns), unit=error.unit)
    return NDData(values, unit=channel.unit, uncertainty=error)


def _zarr_channels(group):
    """Return the channels of a Zarr group as NDData around its arrays."""
    channels = {}
    for name in CHANNELS:
        if name not in group:
            continue
        array, error = group[name], group.get(f"{name}_uncertainty", None)
        _check_array(name, array)
        if error is not None:
            _check_array(name, error)
            error = StdDevUncertainty(error, copy=False)
        unit = parse_unit(array.attrs.get("unit", _UNITS[name]), name=name)
        channels[name] = NDData(array, unit=unit, uncertainty=error)
    if CHANNELS[0] not in channels:
        msg = f"it has no array {CHANNELS[0]!r}"
        raise ValueError(msg)
    return channels


def _check_array(name, array):
    """Refuse what is no array of numbers, or asks for too much memory or too many tiles."""
    if getattr(array, "dtype", np.dtype(object)).kind not in "fiu":
        msg = f"{name} must be an array of numbers"
        raise ValueError(msg)
    if max(array.shape, default=0) > _LONGEST_SIDE:
        msg = f"{name} must have at most {_LONGEST_SIDE} px on a side, got {array.shape}"
        raise ValueError(msg)
    # a chunk is unpacked whole, whatever part of it is read
    check_size(math.prod(array.chunks) * array.dtype.itemsize, f"a chunk of {name}")


def _load(array, rows, columns):
    part = array[rows, columns]
    if hasattr(part, "compute"):  # a task of a cluster runs its own graph, without asking for help
        part = part.compute(scheduler="synchronous")
    return np.asarray(part)


def write_zarr(
    gas: GasMap, path: PathLike, *, chunks: tuple[int, ...] = (512, 512), overwrite: bool = False
) -> None:
    """
    Write a map as a Zarr group, for surveys on many machines.

    Parameters
    ----------
    gas : `~astrofractal.GasMap`
        The map.
    path, overwrite : path-like and bool, optional
        The folder, and whether an existing one may be replaced.
    chunks : tuple of int, optional
        Shape of the chunks.
    """
    zarr = require("zarr", extra="dask")
    with atomic_path(path, overwrite=overwrite) as temporary:
        group = zarr.open_group(str(temporary), mode="w")
        planes = [name + suffix for suffix in ("", "_uncertainty") for name in gas.channels]
        for name in planes:
            values = getattr(gas, name)
            if values is None:
                continue
            chunk = tuple(min(c, n) for c, n in zip(chunks, values.shape))
            array = group.create_array(name, shape=values.shape, chunks=chunk, dtype="float32")
            array[:] = values.value.astype(np.float32)
            array.attrs["unit"] = values.unit.to_string()
        group.attrs["header"] = to_header(gas).tostring(sep="\n")
