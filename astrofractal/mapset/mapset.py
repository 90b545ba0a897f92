"""Labeled maps around protostars: in memory, on disk, and the set that the package ships."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from numpy.typing import ArrayLike

from astrofractal._utils.annotations import PathLike
from astrofractal._utils.identity import fingerprint
from astrofractal._utils.reading import reading
from astrofractal._utils.validation import positive_int
from astrofractal.data import data_path
from astrofractal.gasmap import GasMap
from astrofractal.gasmap.moments import STANDARD_SHAPE, STANDARD_WIDTH, mean_velocity
from astrofractal.mapset.files import read_parts, write_parts

if TYPE_CHECKING:
    from torch.utils.data import Dataset

_COLUMNS = (
    "images", "masses", "clouds", "protostars", "times", "axes", "positions", "represents",
)  # fmt: skip
_DEFAULT_PIXEL = STANDARD_WIDTH / STANDARD_SHAPE[1]


class MapSet:
    """
    Maps of gas, each centered on a protostar of known mass.

    Parameters
    ----------
    images : array-like
        4D array (n_maps, 3, ny, nx) of the model's channels: log10 of N(H2) in cm-2, velocity and
        dispersion in km/s, NaN where unknown.  The mean velocity of each map is subtracted.
    masses : `~astropy.units.Quantity`
        The (n_maps,) masses of the protostars.
    clouds : array-like of str
        The simulation that each map comes from: the unit that is held out whole.
    protostars : array-like of str
        The protostar that each map is centered on; the name of the cloud is put before it.
    times : `~astropy.units.Quantity`, optional
        The simulation time of each map.
    axes : array-like of str, optional
        The line of sight of each map ("x", "y", "z").
    positions : `~astropy.units.Quantity`, optional
        The (n_maps, 3) positions of the protostars in the simulation.
    represents : array-like, optional
        How many maps of a larger set each map stands for, see `limit`; one by default.
    pixel_scale : `~astropy.units.Quantity`, optional
        The width of a pixel; 0.5 pc / 64 by default.
    meta : dict, optional
        Anything else; ``meta["clouds"]`` maps the name of a cloud to its properties.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from astrofractal.mapset import MapSet
    >>> images = np.full((2, 3, 8, 8), 22.0)
    >>> maps = MapSet(images, [0.3, 2.0] * u.solMass, clouds=["a", "a"], protostars=["1", "2"])
    >>> maps
    <MapSet: 2 maps of 8 x 8 px, 2 protostars, 1 cloud>
    >>> maps[maps.masses > 1 * u.solMass].protostars.tolist()
    ['a/2']
    """

    def __init__(
        self,
        images: ArrayLike,
        masses: u.Quantity,
        *,
        clouds: ArrayLike,
        protostars: ArrayLike,
        times: u.Quantity | None = None,
        axes: ArrayLike | None = None,
        positions: u.Quantity | None = None,
        represents: ArrayLike | None = None,
        pixel_scale: u.Quantity = _DEFAULT_PIXEL,
        meta: dict[str, Any] | None = None,
    ) -> None:
        images = np.array(images, dtype=np.float32, order="C")
        if images.ndim != 4 or images.shape[1] != 3:
            msg = f"images must have the shape (n_maps, 3, ny, nx), got {images.shape}"
            raise ValueError(msg)
        n_maps = len(images)
        velocity = images[:, 1].astype(np.float64)
        column = np.power(10.0, images[:, 0], dtype=np.float64)
        images[:, 1] = velocity - mean_velocity(velocity, column)
        self.images = images
        self.masses = _quantity("masses", masses, u.solMass, (n_maps,))
        if not np.all(np.isfinite(self.masses) & (self.masses > 0)):
            msg = "masses must be finite and positive"
            raise ValueError(msg)
        self.clouds = _strings("clouds", clouds, n_maps)
        names = zip(self.clouds.tolist(), _strings("protostars", protostars, n_maps).tolist())
        self.protostars = np.array([s if s.startswith(f"{c}/") else f"{c}/{s}" for c, s in names])
        self.times = _quantity("times", times, u.Myr, (n_maps,))
        self.axes = _strings("axes", [""] * n_maps if axes is None else axes, n_maps)
        self.positions = _quantity("positions", positions, u.pc, (n_maps, 3))
        self.represents = np.array(np.ones(n_maps) if represents is None else represents, float)
        if self.represents.shape != (n_maps,) or not (self.represents > 0).all():
            msg = f"represents must have one positive number for each of the {n_maps} maps"
            raise ValueError(msg)
        self.pixel_scale = u.Quantity(pixel_scale).to(u.pc)
        self.meta = dict(meta or {})

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self):
        ny, nx = self.images.shape[2:]
        n_protostars, n_clouds = (len(set(x.tolist())) for x in (self.protostars, self.clouds))
        names = f"{n_protostars} protostars, {n_clouds} cloud{'s' if n_clouds != 1 else ''}"
        return f"<MapSet: {len(self)} maps of {nx} x {ny} px, {names}>"

    def __getitem__(self, index: int | slice | np.ndarray | list[int]) -> MapSet:
        """Return the selected maps as a `MapSet`; a single number gives a set of one."""
        rows = np.atleast_1d(np.arange(len(self))[index])
        new = object.__new__(MapSet)
        for name in _COLUMNS:
            setattr(new, name, getattr(self, name)[rows])
        new.pixel_scale = self.pixel_scale
        new.meta = dict(self.meta)
        if "clouds" in new.meta:
            kept = set(new.clouds.tolist())
            new.meta["clouds"] = {k: v for k, v in new.meta["clouds"].items() if k in kept}
        return new

    @property
    def log_masses(self) -> np.ndarray:
        """The decimal logarithm of the masses in solar masses, `~numpy.ndarray`."""
        return np.log10(self.masses.to_value(u.solMass))

    def fingerprint(self) -> str:
        """Return a digest of the maps and all that is known of them, but not of ``meta``."""
        return fingerprint({name: getattr(self, name) for name in (*_COLUMNS, "pixel_scale")})

    def gasmap(self, index: int) -> GasMap:
        """Return one map as a `~astrofractal.GasMap` without a WCS, with the set's pixel scale."""
        log_n, velocity, dispersion = self.images[index].astype(float)
        return GasMap(
            10**log_n * u.cm**-2,
            None if np.isnan(velocity).all() else velocity * u.km / u.s,
            None if np.isnan(dispersion).all() else dispersion * u.km / u.s,
            pixel_scale=self.pixel_scale,
        )

    def to_torch(self) -> Dataset:
        """
        Return the maps as a data set of PyTorch.

        Returns
        -------
        dataset : `torch.utils.data.Dataset`
            One tuple for each map: the image, a float32 tensor (3, ny, nx) that shares its memory
            with this set; the mass in solar masses; and the names of protostar and cloud, by which
            a set must be split.
        """
        import torch
        from torch.utils.data import StackDataset

        masses = torch.from_numpy(self.masses.value).float()
        names = self.protostars.tolist(), self.clouds.tolist()
        return StackDataset(torch.from_numpy(self.images), masses, *names)

    def limit(self, n_per_protostar: int) -> MapSet:
        """Keep at most so many maps of each protostar; ``represents`` counts the others."""
        positive_int("n_per_protostar", n_per_protostar)
        order = np.lexsort((self.axes, np.nan_to_num(self.times.value, nan=-1.0)))
        represents, rows = self.represents.copy(), []
        for protostar in np.unique(self.protostars):
            own = order[self.protostars[order] == protostar]
            kept = _spread(own, min(n_per_protostar, len(own)))
            represents[kept] *= represents[own].sum() / represents[kept].sum()
            rows.append(kept)
        chosen = np.sort(np.concatenate(rows))
        new = self[chosen]
        new.represents = represents[chosen]
        return new

    @classmethod
    def concatenate(cls, mapsets: Iterable[MapSet]) -> MapSet:
        """Join several sets, whose maps have the same shape and pixel size, in order."""
        mapsets = list(mapsets)
        if not mapsets:
            msg = "mapsets must hold at least one MapSet"
            raise ValueError(msg)
        first = mapsets[0]
        for other in mapsets[1:]:
            same = other.images.shape[1:] == first.images.shape[1:]
            if not same or not u.isclose(other.pixel_scale, first.pixel_scale, rtol=1e-4):
                shapes = f"{first.images.shape} and {other.images.shape}"
                scales = f"{first.pixel_scale:.4g} and {other.pixel_scale:.4g}"
                msg = f"mapsets must agree in shape and pixel size, got {shapes}, {scales}"
                raise ValueError(msg)
        new = first[:]
        for name in _COLUMNS:
            setattr(new, name, np.concatenate([getattr(m, name) for m in mapsets]))
        new.meta = {k: v for m in reversed(mapsets) for k, v in m.meta.items()}
        new.meta["clouds"] = {k: v for m in mapsets for k, v in m.meta.get("clouds", {}).items()}
        return new

    @classmethod
    def read(cls, path: PathLike) -> MapSet:
        """
        Read a file in the format of `astrofractal.mapset.files`, or all ``.fits`` of a folder.

        Raises
        ------
        OSError
            If there is no such file, or a file is not FITS or is truncated.
        ValueError
            If a file is FITS but not of this format.
        """
        path = Path(path)
        if path.is_dir():
            files = sorted(p for p in path.iterdir() if p.name.endswith((".fits", ".fits.gz")))
            if not files:
                msg = f"no .fits files in the folder {str(path)!r}"
                raise FileNotFoundError(msg)
            return cls.concatenate([cls.read(file) for file in files])
        with reading(path, otherwise=OSError):
            return cls(**read_parts(path))

    def write(self, path: PathLike, *, overwrite: bool = False) -> None:
        """
        Write all maps to one file, in the format of `astrofractal.mapset.files`.

        Raises
        ------
        FileExistsError
            If the file exists and ``overwrite`` is `False`.
        ValueError
            If a value does not fit into the quantized 16-bit integers.
        """
        write_parts(self, path, overwrite=overwrite)


@lru_cache(maxsize=1)
def reference_maps() -> MapSet:
    """
    Return the maps that the package ships for the calibration of masses, one object in all calls.

    They are projections of twelve magnetohydrodynamic simulations of collapsing clouds.

    Examples
    --------
    >>> from astrofractal.mapset import reference_maps
    >>> reference_maps()
    <MapSet: 2478 maps of 64 x 64 px, 451 protostars, 12 clouds>
    """
    return MapSet.read(data_path("reference_maps.fits"))


def _spread(order, n):
    """Take one of each of ``n`` runs of equal length, not always at the same place in it."""
    edges = np.arange(n + 1) * len(order) // n
    # The golden ratio spreads the places evenly: no axis is preferred.
    places = np.arange(1, n + 1) * (np.sqrt(5) - 1) / 2 % 1
    return order[edges[:-1] + (np.diff(edges) * places).astype(int)]


def _quantity(name, value, unit, shape):
    if value is None:
        return np.full(shape, np.nan) * unit
    value = u.Quantity(value)
    if not value.unit.is_equivalent(unit):
        got = "numbers without a unit" if value.unit == u.one else value.unit
        msg = f"{name} must be a Quantity in units of {unit}, got {got}"
        raise u.UnitConversionError(msg)
    value = value.to(unit).astype(float)
    if value.shape != shape:
        msg = f"{name} must have the shape {shape}, got {value.shape}"
        raise ValueError(msg)
    return value


def _strings(name: str, value: ArrayLike, n: int) -> np.ndarray:
    value = np.asarray(value).astype(str)
    if value.shape != (n,):
        msg = f"{name} must have one entry for each of the {n} maps, got the shape {value.shape}"
        raise ValueError(msg)
    return value
