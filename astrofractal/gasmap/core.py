"""The class GasMap."""

from functools import partial

import numpy as np
from astropy import units as u

from astrofractal.gasmap import wcs as _wcs
from astrofractal.gasmap.channels import Channel, column_channel, velocity_channel, why_empty
from astrofractal.gasmap.checks import check_beam, check_distance, check_length
from astrofractal.gasmap.cube import from_cube
from astrofractal.gasmap.maps import from_maps
from astrofractal.gasmap.positions import contains, cutout, cutouts, to_pixel, to_sky
from astrofractal.gasmap.reading import read
from astrofractal.gasmap.units import column_to_mass
from astrofractal.gasmap.writing import to_hdulist, write

__all__ = ["GasMap"]

_COLUMN = u.cm**-2
_VELOCITY = u.km / u.s
_NAMES = ("column_density", "velocity", "dispersion")


class GasMap:
    """
    A map of gas: column density and, where known, line-of-sight velocity and its dispersion.

    This is the only door for data: units, byte order, number types, masks, NaNs and the WCS are
    settled here, so that all that follows may rely on them.

    Parameters
    ----------
    column_density : `~astropy.units.Quantity` or `~astropy.nddata.NDData`
        2D column density: N(H2) (cm-2), or mass per area (g/cm2, Msun/pc2) which is converted with
        2.8 hydrogen masses per H2 molecule.  Axes of a single pixel beyond two are dropped.
        Values that are not finite or not positive, or above 1e29 cm-2, are masked.

    velocity : `~astropy.units.Quantity` or `~astropy.nddata.NDData`, optional
        2D mean line-of-sight velocity (km/s, m/s, ...), in any rest frame.

    dispersion : `~astropy.units.Quantity` or `~astropy.nddata.NDData`, optional
        2D velocity dispersion: a standard deviation, neither FWHM nor variance.  Negative values
        count as missing.

    wcs : `~astropy.wcs.WCS` or `~astropy.io.fits.Header`, optional
        The WCS; its celestial part is kept.  By default that of ``column_density`` if it is an
        `~astropy.nddata.NDData`.

    distance : `~astropy.units.Quantity`, optional
        Distance to the gas.

    mask : 2D `~numpy.ndarray` of bool, optional
        `True` is masked; joined with the masks that the data carry.

    beam : `~astropy.units.Quantity`, optional
        FWHM of the beam, an angle.

    meta : dict, optional
        Anything else.  ``meta["pixel_scale"]`` (a length) gives the scale of a map without WCS.

    Raises
    ------
    ValueError
        If the data are not 2D, disagree in shape, have no finite positive column density, or have
        a WCS without celestial axes.

    TypeError
        If a channel is neither Quantity nor NDData.

    astropy.units.UnitsError
        If a unit does not fit its parameter.

    Notes
    -----
    The arrays are kept in native byte order, column densities as float64 (their squares exceed
    single precision), velocities as float32, and are read-only.  Standard deviations
    are carried from `~astropy.nddata.NDData` with any uncertainty that can be represented as
    `~astropy.nddata.StdDevUncertainty`.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from astrofractal import GasMap
    >>> gas = GasMap(np.full((64, 64), 1e22) / u.cm**2, distance=300 * u.pc)
    >>> gas.shape
    (64, 64)
    >>> gas.channels
    ('column_density',)
    >>> gas.to_array().shape
    (3, 64, 64)
    """

    def __init__(
        self,
        column_density,
        velocity=None,
        dispersion=None,
        *,
        wcs=None,
        distance=None,
        mask=None,
        beam=None,
        meta=None,
    ):
        if isinstance(column_density, GasMap):
            msg = "column_density must be a Quantity or NDData, got a GasMap: use GasMap.read"
            raise TypeError(msg)
        given = dict(zip(_NAMES, (column_density, velocity, dispersion), strict=True))
        channels = {
            name: Channel.of(value, name) for name, value in given.items() if value is not None
        }
        if "column_density" not in channels:
            msg = "column_density must be a Quantity or NDData, got None"
            raise TypeError(msg)
        first = channels["column_density"]
        arrays, errors = {}, {}
        arrays["column_density"], errors["column_density"] = column_channel(first, _NAMES[0])
        shape = arrays["column_density"].shape
        for name in _NAMES[1:]:
            if name in channels:
                arrays[name], errors[name] = velocity_channel(
                    channels[name], name, positive=name == "dispersion"
                )
                if arrays[name].shape != shape:
                    msg = f"{name} has shape {arrays[name].shape}, column_density has {shape}"
                    raise ValueError(msg)
        if mask is not None:
            array = np.asarray(mask)
            if array.shape != shape or array.dtype.kind != "b":
                msg = (
                    f"mask must be a boolean array of shape {shape}, got {array.dtype} of shape "
                    f"{array.shape}"
                )
                raise ValueError(msg)
            arrays["column_density"][array] = np.nan
        if not np.isfinite(arrays["column_density"]).any():
            msg = (
                f"column_density has no finite positive value that is not masked (shape {shape}): "
                f"there is no gas in this map; {why_empty(first)}"
            )
            raise ValueError(msg)
        if wcs is None:
            wcs = first.wcs
        meta = dict(first.meta or {}) | dict(meta or {})
        if "pixel_scale" in meta:
            meta["pixel_scale"] = check_length("meta['pixel_scale']", meta["pixel_scale"])
        self._set(
            arrays,
            errors,
            wcs=None if wcs is None else _wcs.celestial_wcs(wcs),
            distance=check_distance(distance),
            beam=check_beam(beam),
            meta=meta,
        )

    def _set(self, arrays, errors, *, wcs, distance, beam, meta):
        """Take arrays (cm-2, km/s) that are known to be good."""
        masked = ~np.isfinite(arrays["column_density"])
        self._arrays, self._errors = {}, {}
        for name in _NAMES:
            for source, target in ((arrays, self._arrays), (errors, self._errors)):
                if source.get(name) is not None:
                    # single precision cannot hold the square of a column density in cm-2
                    dtype = np.float64 if name == "column_density" else np.float32
                    array = np.array(source[name], dtype=dtype)
                    array[masked] = np.nan
                    array.flags.writeable = False
                    target[name] = array
        masked.flags.writeable = False
        self._mask = masked
        self._celestial = wcs
        self._distance = distance
        self._beam = beam
        self._meta = meta

    @classmethod
    def _trusted(cls, arrays, errors, **attributes):
        """Make a map of arrays that are known to be good, even one that is masked throughout."""
        gas = cls.__new__(cls)
        gas._set(arrays, errors, **attributes)
        return gas

    def _quantity(self, arrays, name):
        array = arrays.get(name)
        unit = _COLUMN if name == "column_density" else _VELOCITY
        return None if array is None else array << unit

    @property
    def column_density(self):
        """Column density N(H2), 2D `~astropy.units.Quantity` in cm-2, NaN where masked."""
        return self._quantity(self._arrays, "column_density")

    @property
    def velocity(self):
        """Mean line-of-sight velocity, 2D `~astropy.units.Quantity` in km/s, or `None`."""
        return self._quantity(self._arrays, "velocity")

    @property
    def dispersion(self):
        """Velocity dispersion, 2D `~astropy.units.Quantity` in km/s, or `None`."""
        return self._quantity(self._arrays, "dispersion")

    @property
    def column_density_uncertainty(self):
        """Standard deviation of the column density in cm-2, or `None`."""
        return self._quantity(self._errors, "column_density")

    @property
    def velocity_uncertainty(self):
        """Standard deviation of the velocity in km/s, or `None`."""
        return self._quantity(self._errors, "velocity")

    @property
    def dispersion_uncertainty(self):
        """Standard deviation of the velocity dispersion in km/s, or `None`."""
        return self._quantity(self._errors, "dispersion")

    @property
    def mask(self):
        """2D boolean array, `True` where there is no usable column density."""
        return self._mask

    @property
    def wcs(self):
        """Celestial `~astropy.wcs.WCS` of two axes, or `None`."""
        if isinstance(self._celestial, partial):  # a cutout makes its WCS when it is asked for
            self._celestial = self._celestial()
        return self._celestial

    @property
    def distance(self):
        """Distance, `~astropy.units.Quantity` in pc, or `None`."""
        return self._distance

    @property
    def beam(self):
        """FWHM of the beam, `~astropy.units.Quantity` (an angle), or `None`."""
        return self._beam

    @property
    def meta(self):
        """Dictionary of anything else that is known about the map."""
        return self._meta

    @property
    def shape(self):
        """Shape (ny, nx)."""
        return self._mask.shape

    @property
    def channels(self):
        """Names of the channels that are present, column density first."""
        return tuple(name for name in _NAMES if name in self._arrays)

    @property
    def pixel_solid_angle(self):
        """Solid angle of the pixel at the center of the map, `~astropy.units.Quantity` in sr."""
        self._need_wcs("pixel_solid_angle")
        center = [(n - 1) / 2 for n in self.shape]
        angle = float(_wcs.pixel_solid_angle(self.wcs, center[1], center[0]))
        if not angle > 0:
            msg = f"the WCS does not reach the center of the map, pixel (x, y) = {center[::-1]}"
            raise ValueError(msg)
        return angle * u.sr

    @property
    def pixel_area(self):
        """Area of the pixel at the center of the map, `~astropy.units.Quantity` in pc2."""
        if "pixel_scale" in self.meta and (self._celestial is None or self.distance is None):
            return self.meta["pixel_scale"] ** 2
        self._need_wcs("pixel_area")
        self._need_distance("pixel_area")
        return self.pixel_solid_angle.value * self.distance**2

    @property
    def pixel_scale(self):
        """
        Width of the pixel at the center of the map, `~astropy.units.Quantity` in pc.

        It is the square root of the pixel's area, from WCS and distance, or what
        ``meta["pixel_scale"]`` says where one of these is missing.
        """
        return np.sqrt(self.pixel_area)

    @property
    def mass(self):
        """Mass of all gas that is not masked, `~astropy.units.Quantity` in solMass."""
        column = np.nansum(self._arrays["column_density"], dtype=np.float64) * _COLUMN
        return column_to_mass(column, self.pixel_area)

    def _need_wcs(self, what):
        if self.wcs is None:
            msg = (
                f"{what} needs a WCS, the map has none: give wcs= (or pixel_scale= to GasMap.read)"
            )
            raise ValueError(msg)

    def _need_distance(self, what):
        if self.distance is None:
            msg = f"{what} needs the distance, the map has none: give distance=, e.g. 300 * u.pc"
            raise ValueError(msg)

    def to_array(self):
        """
        Return the three channels that the models see.

        Returns
        -------
        array : 3D `~numpy.ndarray`
            float32 of shape (3, ny, nx): the decimal logarithm of N(H2) in cm-2, the velocity
            minus its column-weighted mean over the map in km/s, the dispersion in km/s.  NaN where
            masked; an absent channel is NaN throughout.
        """
        array = np.full((3, *self.shape), np.nan, dtype=np.float32)
        column = self._arrays["column_density"]
        array[0] = np.log10(column)
        if "velocity" in self._arrays:
            velocity = self._arrays["velocity"].astype(np.float64)
            known = np.isfinite(velocity)
            if known.any():
                weights = column[known]
                array[1] = velocity - np.average(velocity[known], weights=weights)
        if "dispersion" in self._arrays:
            array[2] = self._arrays["dispersion"]
        return array

    def __getitem__(self, item):
        """Return a part of the map, its WCS adapted: ``gas[y0:y1, x0:x1]``."""
        if not isinstance(item, tuple):
            item = (item,)
        item = item + (slice(None),) * (2 - len(item))
        if len(item) != 2 or not all(
            isinstance(part, slice) and part.step in (None, 1) for part in item
        ):
            msg = f"a GasMap takes one or two slices of step 1, gas[y0:y1, x0:x1], got {item!r}"
            raise IndexError(msg)
        rows, columns = (
            slice(*part.indices(n)[:2]) for part, n in zip(item, self.shape, strict=True)
        )
        if rows.start >= rows.stop or columns.start >= columns.stop:
            msg = f"the slice {item!r} holds no pixel of a map of shape {self.shape}"
            raise IndexError(msg)
        item = (rows, columns)
        return self._trusted(
            {name: array[item] for name, array in self._arrays.items()},
            {name: array[item] for name, array in self._errors.items()},
            wcs=None if self.wcs is None else self.wcs.slice(item),
            distance=self.distance,
            beam=self.beam,
            meta=dict(self.meta),
        )

    cutout = cutout
    cutouts = cutouts
    contains = contains
    to_pixel = to_pixel
    to_sky = to_sky
    read = classmethod(read)
    from_maps = classmethod(from_maps)
    from_cube = classmethod(from_cube)

    def to_hdulist(self):
        """
        Return the map as FITS extensions.

        Returns
        -------
        hdus : `~astropy.io.fits.HDUList`
            ``COLUMN_DENSITY``, ``V_LOS``, ``SIGMA_V`` and their ``..._ERROR``, as far as present.
        """
        return to_hdulist(self)

    def write(self, path, *, overwrite=False):
        """
        Write the map to a FITS file, which `read` reads.

        Parameters
        ----------
        path : path-like
            The file.

        overwrite : bool, optional
            Whether an existing file may be replaced.
        """
        write(self, path, overwrite=overwrite)

    def __repr__(self):
        parts = [f"{self.shape[0]} x {self.shape[1]} px", " + ".join(self.channels)]
        if "pixel_scale" in self.meta or (
            self._celestial is not None and self.distance is not None
        ):
            parts.append(f"{self.pixel_scale.value:.4g} pc/px")
        if self.distance is not None:
            parts.append(f"at {self.distance.value:.6g} pc")
        if self.wcs is None:
            parts.append("no WCS")
        if self._mask.any():
            parts.append(f"{self._mask.mean():.0%} masked")
        return f"<GasMap {', '.join(parts)}>"
