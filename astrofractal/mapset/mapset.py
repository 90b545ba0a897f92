"""Labeled maps around protostars: in memory, on disk, and the set that the package ships."""

import warnings
from functools import lru_cache
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable

from astrofractal._utils.atomic import atomic_path
from astrofractal._utils.validation import positive_int
from astrofractal.data import data_path
from astrofractal.gasmap.gas_moments import STANDARD_SHAPE, STANDARD_WIDTH, mean_velocity

__all__ = ["MapSet", "reference_maps"]

# Extension, unit and quantization step of each channel, in the model's order.
_EXTENSIONS = (
    ("LOG_NH2", "dex(cm-2)", 0.004),
    ("V_LOS", "km s-1", 0.01),
    ("SIGMA_V", "km s-1", 0.01),
)
_BLANK = -32768
_STRUCTURAL = {
    "SIMPLE", "BITPIX", "NAXIS", "EXTEND", "CHECKSUM", "DATASUM", "PIXSIZE", "CLOUD", "COMMENT",
    "HISTORY", "",
}  # fmt: skip
_DEFAULT_PIXEL = STANDARD_WIDTH / STANDARD_SHAPE[1]


class MapSet:
    """
    Maps of gas, each centered on a protostar of known mass.

    Parameters
    ----------
    images : array-like
        4D array (n_maps, 3, ny, nx) of the model's channels: log10 of N(H2) in cm-2, line-of-sight
        velocity and velocity dispersion in km/s.  Not-a-number where nothing is known.  The
        column-weighted mean velocity of each map is subtracted.

    masses : `~astropy.units.Quantity`
        The (n_maps,) masses of the protostars.

    clouds : array-like of str
        The simulation that each map comes from: the unit that is held out whole.

    sinks : array-like of str
        The protostar that each map is centered on.  The name of the cloud is put before it, so that
        names are unique across clouds.

    times : `~astropy.units.Quantity`, optional
        The simulation time of each map.

    axes : array-like of str, optional
        The line of sight of each map ("x", "y", "z").

    positions : `~astropy.units.Quantity`, optional
        The (n_maps, 3) positions of the protostars in the simulation.

    pixel_scale : `~astropy.units.Quantity`, optional
        The width of a pixel; 0.5 pc / 64 by default.

    meta : dict, optional
        Anything else; ``meta["clouds"]`` maps the name of a cloud to its properties.

    Notes
    -----
    **The format on disk** is one FITS file a cloud, or one for several clouds:

    - ``LOG_NH2``, ``V_LOS`` and ``SIGMA_V``: (n_maps, ny, nx) 16-bit integers, RICE-compressed; the
      physical value is the stored one times the header's ``QSCALE``, in ``BUNIT`` (dex(cm-2) of
      N(H2) with a mean molecular weight of 2.8 per H2, km/s, km/s).  A stored value equal to the
      header's ``QBLANK``, where that is given, is not a number.  A velocity extension may be
      absent.
    - ``SINKS``: a table with a row for each map: ``sink`` (identity within the cloud), ``time``,
      ``axis``, ``mass``, the position ``x``, ``y``, ``z`` and, where the file has several clouds,
      ``cloud``.
    - The primary header gives ``CLOUD`` (the name) and ``PIXSIZE`` (pc), and the properties of the
      cloud; a file of several clouds has these in a table ``CLOUDS``.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from astrofractal.mapset import MapSet
    >>> images = np.full((2, 3, 8, 8), 22.0)
    >>> maps = MapSet(images, [0.3, 2.0] * u.solMass, clouds=["a", "a"], sinks=["1", "2"])
    >>> maps
    <MapSet: 2 maps of 8 x 8 px, 2 protostars, 1 cloud>
    >>> maps[maps.masses > 1 * u.solMass].sinks.tolist()
    ['a/2']
    """

    def __init__(
        self,
        images,
        masses,
        *,
        clouds,
        sinks,
        times=None,
        axes=None,
        positions=None,
        pixel_scale=_DEFAULT_PIXEL,
        meta=None,
    ):
        images = np.array(images, dtype=np.float32, order="C")
        if images.ndim != 4 or images.shape[1] != 3:
            msg = f"images must have the shape (n_maps, 3, ny, nx), got {images.shape}"
            raise ValueError(msg)
        n_maps = len(images)
        self.images = _center_velocity(images)
        self.masses = _quantity("masses", masses, u.solMass, (n_maps,))
        if not np.all(np.isfinite(self.masses) & (self.masses > 0)):
            msg = "masses must be finite and positive"
            raise ValueError(msg)
        self.clouds = _strings("clouds", clouds, n_maps)
        sinks = _strings("sinks", sinks, n_maps)
        self.sinks = np.array(
            [s if s.startswith(f"{c}/") else f"{c}/{s}" for c, s in zip(self.clouds, sinks)],
            dtype=str,
        )
        if times is None:
            times = np.full(n_maps, np.nan) * u.Myr
        self.times = _quantity("times", times, u.Myr, (n_maps,))
        self.axes = _strings("axes", [""] * n_maps if axes is None else axes, n_maps)
        if positions is None:
            positions = np.full((n_maps, 3), np.nan) * u.pc
        self.positions = _quantity("positions", positions, u.pc, (n_maps, 3))
        self.pixel_scale = u.Quantity(pixel_scale).to(u.pc)
        self.meta = dict(meta or {})

    def __len__(self):
        return len(self.images)

    def __repr__(self):
        ny, nx = self.images.shape[2:]
        n_clouds = len(set(self.clouds.tolist()))
        return (
            f"<MapSet: {len(self)} maps of {nx} x {ny} px, {len(set(self.sinks.tolist()))} "
            f"protostars, {n_clouds} cloud{'s' if n_clouds != 1 else ''}>"
        )

    def __getitem__(self, index):
        """Return the selected maps as a `MapSet`; a single number gives a set of one."""
        index = np.arange(len(self))[index]
        index = np.atleast_1d(index)
        new = object.__new__(MapSet)
        for name in ("images", "masses", "clouds", "sinks", "times", "axes", "positions"):
            setattr(new, name, getattr(self, name)[index])
        new.pixel_scale = self.pixel_scale
        new.meta = dict(self.meta)
        if "clouds" in new.meta:
            kept = set(new.clouds.tolist())
            new.meta["clouds"] = {k: v for k, v in new.meta["clouds"].items() if k in kept}
        return new

    @property
    def log_masses(self):
        """The logarithm (base 10) of the masses in solar masses, `~numpy.ndarray`."""
        return np.log10(self.masses.to_value(u.solMass))

    def gasmap(self, index):
        """
        Return one map as a `~astrofractal.GasMap`.

        Parameters
        ----------
        index : int
            The number of the map.

        Returns
        -------
        gas : `~astrofractal.GasMap`
            Without a WCS, but with the set's ``pixel_scale``.
        """
        from astrofractal.gasmap import GasMap

        log_n, velocity, dispersion = self.images[index].astype(float)
        return GasMap(
            10**log_n * u.cm**-2,
            None if np.isnan(velocity).all() else velocity * u.km / u.s,
            None if np.isnan(dispersion).all() else dispersion * u.km / u.s,
            pixel_scale=self.pixel_scale,
        )

    def subsample(self, n_maps):
        """
        Return a smaller set in which masses, protostars, times and axes are mixed as in this one.

        The maps are put in the order of protostar, time and axis and cut into ``n_maps`` runs of
        equal length, and one map is taken from each run, not always at the same place in it.  No
        random numbers are drawn.  A calibration on a set in which every protostar has the same
        number of maps, whatever its age, would see fewer heavy ones and find masses too low.

        Parameters
        ----------
        n_maps : int
            The largest number of maps to keep.

        Returns
        -------
        maps : `MapSet`
            The smaller set, in the order of this one.
        """
        n_maps = positive_int("n_maps", n_maps)
        if n_maps >= len(self):
            return self[:]
        times = np.nan_to_num(self.times.value, nan=-1.0)
        order = np.lexsort((self.axes, times, self.sinks))
        edges = np.arange(n_maps + 1) * len(self) // n_maps
        # The golden ratio spreads the places evenly: no axis is preferred.
        places = np.arange(1, n_maps + 1) * (np.sqrt(5) - 1) / 2 % 1
        chosen = order[edges[:-1] + (np.diff(edges) * places).astype(int)]
        return self[np.sort(chosen)]

    @classmethod
    def concatenate(cls, mapsets):
        """
        Join several sets.

        Parameters
        ----------
        mapsets : iterable of `MapSet`
            Sets of maps of the same shape and pixel size.

        Returns
        -------
        maps : `MapSet`
            All maps, in order.
        """
        mapsets = list(mapsets)
        if not mapsets:
            msg = "mapsets must hold at least one MapSet"
            raise ValueError(msg)
        first = mapsets[0]
        for other in mapsets[1:]:
            same = other.images.shape[1:] == first.images.shape[1:]
            if not same or not u.isclose(other.pixel_scale, first.pixel_scale, rtol=1e-4):
                msg = (
                    "mapsets must agree in shape and pixel size, got "
                    f"{first.images.shape[2:]} at {first.pixel_scale:.4g} and "
                    f"{other.images.shape[2:]} at {other.pixel_scale:.4g}"
                )
                raise ValueError(msg)
        new = first[:]
        for name in ("images", "masses", "clouds", "sinks", "times", "axes", "positions"):
            setattr(new, name, np.concatenate([getattr(m, name) for m in mapsets]))
        new.meta = {k: v for m in reversed(mapsets) for k, v in m.meta.items()}
        new.meta["clouds"] = {k: v for m in mapsets for k, v in m.meta.get("clouds", {}).items()}
        return new

    @classmethod
    def read(cls, path):
        """
        Read a file, or all files ``*.fits`` of a folder.

        Parameters
        ----------
        path : path-like
            A file in the format of the class's notes, or a folder of such files.

        Returns
        -------
        maps : `MapSet`
            The maps; those of a folder in the order of the files' names.

        Raises
        ------
        FileNotFoundError
            If ``path`` does not exist or is a folder without FITS files.

        OSError
            If a file is not FITS or is truncated.

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
        if not path.exists():
            msg = f"no such file or folder: {str(path)!r}"
            raise FileNotFoundError(msg)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("error", message=".*truncated.*")
                with fits.open(path, memmap=False) as hdus:
                    return cls._from_hdus(hdus, path)
        except (OSError, UserWarning, EOFError, TypeError, IndexError) as error:
            msg = f"{str(path)!r} is not a readable FITS file: {error}"
            raise OSError(msg) from error

    @classmethod
    def _from_hdus(cls, hdus, path):
        if "LOG_NH2" not in hdus or "SINKS" not in hdus:
            have = ", ".join(h.name for h in hdus if h.name)
            msg = f"{str(path)!r} is not a map set: LOG_NH2 and SINKS are needed, there are {have}"
            raise ValueError(msg)
        primary = hdus[0].header
        table = QTable.read(hdus["SINKS"])
        channels = []
        for name, _, step in _EXTENSIONS:
            if name not in hdus:
                channels.append(np.full_like(channels[0], np.nan))
                continue
            stored = np.asarray(hdus[name].data)
            channel = stored.astype(np.float32) * np.float32(hdus[name].header.get("QSCALE", step))
            if "QBLANK" in hdus[name].header:
                channel[stored == hdus[name].header["QBLANK"]] = np.nan
            channels.append(channel)
        missing = [c for c in ("sink", "mass") if c not in table.colnames]
        if missing or len(table) != len(channels[0]) or len({c.shape for c in channels}) > 1:
            msg = (
                f"{str(path)!r} is not a map set: SINKS needs the columns sink and mass and a row "
                f"for each map, got {len(table)} rows of {table.colnames} for "
                f"{len(channels[0])} maps"
            )
            raise ValueError(msg)
        name = str(primary.get("CLOUD", path.name.split(".")[0]))
        clouds = table["cloud"] if "cloud" in table.colnames else np.full(len(table), name)
        clouds = np.char.strip(np.asarray(clouds, dtype=str))
        properties = {}
        if "CLOUDS" in hdus:
            for row in QTable.read(hdus["CLOUDS"]):
                properties[str(row["cloud"]).strip()] = {
                    k.upper(): getattr(row[k], "item", lambda k=k, row=row: row[k])()
                    for k in row.colnames
                    if k != "cloud"
                }
        else:
            cards = {k: v for k, v in primary.items() if k not in _STRUCTURAL}
            properties = {c: dict(cards) for c in np.unique(clouds).tolist()}
        has_position = {"x", "y", "z"} <= set(table.colnames)
        return cls(
            np.stack(channels, axis=1),
            _with_unit(table["mass"], u.solMass),
            clouds=clouds,
            sinks=np.char.strip(np.asarray(table["sink"]).astype(str)),
            times=_with_unit(table["time"], u.Myr) if "time" in table.colnames else None,
            axes=np.asarray(table["axis"], dtype=str) if "axis" in table.colnames else None,
            positions=np.stack([_with_unit(table[c], u.pc) for c in "xyz"], axis=1)
            if has_position
            else None,
            pixel_scale=primary.get("PIXSIZE", _DEFAULT_PIXEL.value) * u.pc,
            meta={"clouds": properties},
        )

    def write(self, path, *, overwrite=False):
        """
        Write all maps to one file, in the format of the class's notes.

        Parameters
        ----------
        path : path-like
            The file.  A file that is only partly written never stands under this name.

        overwrite : bool, optional
            Whether an existing file may be replaced.

        Raises
        ------
        FileExistsError
            If the file exists and ``overwrite`` is `False`.

        ValueError
            If a value does not fit into the quantized 16-bit integers.
        """
        names = list(dict.fromkeys(self.clouds.tolist()))
        properties = self.meta.get("clouds", {})
        primary = fits.PrimaryHDU()
        primary.header["PIXSIZE"] = (round(self.pixel_scale.value, 9), "[pc]")
        if len(names) == 1:
            primary.header["CLOUD"] = names[0]
            for key, value in properties.get(names[0], {}).items():
                primary.header[key] = value
        hdus = [primary]
        for channel, (name, unit, step) in zip(np.moveaxis(self.images, 1, 0), _EXTENSIONS):
            hdu = fits.CompImageHDU(
                _quantize(name, channel, step),
                name=name,
                compression_type="RICE_1",
                tile_shape=(1, *channel.shape[1:]),
            )
            hdu.header["QSCALE"] = (step, "physical = stored * QSCALE")
            hdu.header["QBLANK"] = (_BLANK, "stored value of not-a-number")
            hdu.header["BUNIT"] = unit
            hdus.append(hdu)
        table = QTable()
        if len(names) != 1:
            table["cloud"] = self.clouds
        local = [s.removeprefix(f"{c}/") for c, s in zip(self.clouds, self.sinks)]
        numeric = all(s.isdigit() for s in local)
        table["sink"] = np.array(local, dtype=np.int32 if numeric else str)
        table["time"] = self.times.astype(np.float32)
        table["axis"] = self.axes
        table["mass"] = self.masses.astype(np.float32)
        for i, name in enumerate("xyz"):
            table[name] = self.positions[:, i].astype(np.float32)
        hdus.append(fits.table_to_hdu(table))
        hdus[-1].name = "SINKS"
        if len(names) != 1 and any(properties.values()):
            keys = set.intersection(*(set(properties.get(n, {})) for n in names))
            keys = [k for k in properties[names[0]] if k in keys]
            clouds = QTable({"cloud": names})
            for key in keys:
                clouds[key.lower()] = [properties[n][key] for n in names]
            hdus.append(fits.table_to_hdu(clouds))
            hdus[-1].name = "CLOUDS"
        with atomic_path(path, overwrite=overwrite) as temporary:
            fits.HDUList(hdus).writeto(temporary, checksum=True)


@lru_cache(maxsize=1)
def reference_maps():
    """
    Return the maps that the package ships for the calibration of masses.

    They are a part of five magnetohydrodynamic simulations of collapsing clouds, projected through
    the whole box along three axes, 0.5 pc wide on 64 x 64 px.

    Returns
    -------
    maps : `MapSet`
        The bundled maps; the object is shared between calls.
    """
    return MapSet.read(data_path("reference_maps.fits"))


def _center_velocity(images):
    """Subtract the column-weighted mean velocity of each map, in place."""
    column = np.power(10.0, images[:, 0], dtype=np.float64)
    velocity = images[:, 1].astype(np.float64)
    images[:, 1] = velocity - mean_velocity(velocity, column)
    return images


def _quantize(name, channel, step):
    blank = ~np.isfinite(channel)
    scaled = np.rint(np.where(blank, 0.0, channel) / np.float64(step))
    if np.abs(scaled).max(initial=0) > 32767:
        msg = f"{name} has values beyond {32767 * step:g}, which do not fit the format"
        raise ValueError(msg)
    scaled[blank] = _BLANK
    return scaled.astype(np.int16)


def _with_unit(column, unit):
    return column.to(unit) if getattr(column, "unit", None) else np.asarray(column) * unit


def _quantity(name, value, unit, shape):
    value = u.Quantity(value)
    if value.unit == u.dimensionless_unscaled:
        msg = f"{name} must be a Quantity in units of {unit}, got numbers without a unit"
        raise u.UnitsError(msg)
    try:
        value = value.to(unit).astype(float)
    except u.UnitConversionError as error:
        msg = f"{name} must be a Quantity in units of {unit}, got {value.unit}"
        raise u.UnitConversionError(msg) from error
    if value.shape != shape:
        msg = f"{name} must have the shape {shape}, got {value.shape}"
        raise ValueError(msg)
    return value


def _strings(name, value, n):
    value = np.asarray(value).astype(str)
    if value.shape != (n,):
        msg = f"{name} must have one entry for each of the {n} maps, got the shape {value.shape}"
        raise ValueError(msg)
    return value
