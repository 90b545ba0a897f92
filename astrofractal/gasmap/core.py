"""The class GasMap."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import NDData, StdDevUncertainty
from astropy.wcs import WCS
from radio_beam import Beam

from astrofractal._utils.annotations import MapSource
from astrofractal._utils.identity import fingerprint
from astrofractal._utils.reading import reading
from astrofractal._utils.validation import one_of
from astrofractal.flags import FLAGS
from astrofractal.gasmap import checks
from astrofractal.gasmap import wcs as _wcs
from astrofractal.gasmap.channel import Channel, column_channel, velocity_channel, why_empty
from astrofractal.gasmap.column import ColumnConversion, XFactor
from astrofractal.gasmap.io import ammonia_survey, maps  # noqa: F401 (they register readers)
from astrofractal.gasmap.io.cubes import read_cube
from astrofractal.gasmap.io.fits import meta_header, to_hdulist, write
from astrofractal.gasmap.io.objects import add_object
from astrofractal.gasmap.io.registry import (
    MapParts,
    ReadOptions,
    read_source,
    refuse_unused,
    with_formats,
)
from astrofractal.gasmap.moments import CHANNEL_UNITS, CHANNELS, mean_velocity
from astrofractal.gasmap.plotting import html, plot
from astrofractal.gasmap.positions import contains, cutout, cutouts, to_pixel, to_sky
from astrofractal.gasmap.units import column_to_mass, to_column_density, to_velocity
from astrofractal.gasmap.wcs import as_fits_wcs

#: The unit of each array of a map.
_PLANE_UNITS = CHANNEL_UNITS | {f"{name}_uncertainty": CHANNEL_UNITS[name] for name in CHANNELS}


class GasMap:
    """
    A map of gas: column density and, where known, line-of-sight velocity and its dispersion.

    Parameters
    ----------
    column_density : `~astropy.units.Quantity` or `~astropy.nddata.NDData`
        2D column density: N(H2) (cm-2), or mass per area (2.8 hydrogen masses per H2 molecule).
        Values that are not finite, not positive or above 1e29 cm-2 are masked.
    velocity : `~astropy.units.Quantity` or `~astropy.nddata.NDData`, optional
        2D mean line-of-sight velocity (km/s, m/s, ...), in any rest frame.
    dispersion : `~astropy.units.Quantity` or `~astropy.nddata.NDData`, optional
        2D velocity dispersion: a standard deviation.  Negative values count as missing.
    wcs : `~astropy.wcs.WCS` or `~astropy.io.fits.Header`, optional
        The WCS, by default that of ``column_density``; its celestial part is kept.
    distance : `~astropy.units.Quantity`, optional
        Distance to the gas.
    mask : 2D `~numpy.ndarray` of bool, optional
        `True` is masked; joined with the masks of the data.
    beam : `~radio_beam.Beam` or `~astropy.units.Quantity`, optional
        The beam; a Quantity is the FWHM of a round one.
    pixel_scale : `~astropy.units.Quantity`, optional
        Width of a pixel (a length), for a map that has no WCS or no distance.
    flags : sequence of str, optional
        Warnings attached to the map, names of `~astrofractal.flags.FLAGS`.
    meta : dict, optional
        Anything else.

    Raises
    ------
    ValueError
        If the shapes disagree, there is no positive column density, or the WCS is not celestial.
    TypeError
        If a channel is neither Quantity nor NDData.
    astropy.units.UnitsError
        If a unit does not fit its parameter.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from astrofractal import GasMap
    >>> gas = GasMap(np.full((64, 64), 1e22) / u.cm**2, distance=300 * u.pc)
    >>> gas.channels
    ('column_density',)
    >>> gas.to_array().shape
    (3, 64, 64)
    """

    def __init__(
        self,
        column_density: u.Quantity | NDData,
        velocity: u.Quantity | NDData | None = None,
        dispersion: u.Quantity | NDData | None = None,
        *,
        wcs: WCS | fits.Header | None = None,
        distance: u.Quantity | None = None,
        mask: np.ndarray | None = None,
        beam: Beam | u.Quantity | None = None,
        pixel_scale: u.Quantity | None = None,
        flags: Sequence[str] = (),
        meta: dict[str, Any] | None = None,
    ) -> None:
        if isinstance(column_density, GasMap):
            msg = "column_density must be a Quantity or NDData, got a GasMap: use GasMap.read"
            raise TypeError(msg)
        first = Channel.of(column_density, "column_density")
        planes = {}
        for name, value in zip(CHANNELS, (first, velocity, dispersion), strict=True):
            if value is None:
                continue
            convert = column_channel if name == "column_density" else velocity_channel
            planes[name], planes[f"{name}_uncertainty"] = convert(Channel.of(value, name), name)
            shape = planes["column_density"].shape
            if planes[name].shape != shape:
                msg = f"{name} has shape {planes[name].shape}, column_density has {shape}"
                raise ValueError(msg)
        column = planes["column_density"]
        if mask is not None:
            mask = np.asarray(mask)
            if mask.shape != shape or mask.dtype.kind != "b":
                got = f"{mask.dtype} of shape {mask.shape}"
                msg = f"mask must be a boolean array of shape {shape}, got {got}"
                raise ValueError(msg)
            column[mask] = np.nan
        if not np.isfinite(column).any():
            msg = f"column_density has no finite positive value: {why_empty(first)}"
            raise ValueError(msg)
        checks.check_motions(planes)
        parts = MapParts(
            {"column_density": first},
            wcs=first.wcs if wcs is None else wcs,
            distance=checks.check_length("distance", distance),
            beam=checks.check_beam(beam),
            pixel_scale=checks.check_length("pixel_scale", pixel_scale),
        )
        if parts.wcs is not None:
            parts.wcs, parts.meta = as_fits_wcs(parts.wcs, shape)
        add_object(column_density, parts, shape)
        self._set(
            planes,
            wcs=parts.wcs,
            distance=parts.distance,
            beam=checks.plausible_beam(parts.beam, parts.wcs, shape),
            pixel_scale=parts.pixel_scale,
            flags=_check_flags(flags),
            meta=dict(first.meta or {}) | parts.meta | dict(meta or {}),
        )

    def _set(self, planes, **parts):
        """Store arrays (cm-2, km/s) and the other parts of a map, which have been checked."""
        masked = ~np.isfinite(planes["column_density"])
        masked.flags.writeable = False
        self._mask = masked
        self._planes = {}
        for name in _PLANE_UNITS:
            if planes.get(name) is not None:
                # single precision cannot hold the square of a column density in cm-2
                dtype = np.float64 if name.startswith("column_density") else np.float32
                array = np.array(planes[name], dtype=dtype)
                array[masked] = np.nan
                array.flags.writeable = False
                self._planes[name] = array
        self._parts = parts
        scale, wcs = parts["pixel_scale"], parts["wcs"]
        # a function that makes the WCS is not called to compare scales
        if scale is not None and self._is_placed and not callable(wcs):
            parts["pixel_scale"] = None
            if not checks.same_scale(scale, self.pixel_scale):
                given = f"WCS and distance give {self.pixel_scale:.4g}"
                msg = f"pixel_scale is {scale}, but {given}: leave one of the three out"
                raise ValueError(msg)

    def replace(self, **changes: Any) -> GasMap:
        """
        Return a copy of the map with some parts replaced, whose values are taken as they are.

        Parameters
        ----------
        **changes : dict
            Any of ``column_density``, ``velocity``, ``dispersion`` and their ``..._uncertainty``
            (2D `~astropy.units.Quantity`, or `None` to leave one out), and of ``wcs`` (also a
            function without arguments that makes it when needed), ``distance``, ``beam``,
            ``pixel_scale``, ``flags`` and ``meta``.

        Returns
        -------
        gas : `~astrofractal.GasMap`
            The copy; a ``pixel_scale`` that a new WCS or distance replaces is dropped.

        Raises
        ------
        TypeError
            If there is no such part.
        ValueError
            If the channels disagree in shape, or a ``pixel_scale`` contradicts WCS and distance.
        """
        planes = dict(self._planes)
        for name in _PLANE_UNITS:
            if name in changes:
                convert = to_column_density if name.startswith("column_density") else to_velocity
                value = changes.pop(name)
                planes[name] = None if value is None else convert(value, name=name).value
        converters: dict[str, Callable] = {
            "wcs": lambda wcs: wcs if wcs is None or callable(wcs) else _wcs.celestial_wcs(wcs),
            "distance": partial(checks.check_length, "distance"),
            "beam": checks.check_beam,
            "pixel_scale": partial(checks.check_length, "pixel_scale"),
            "flags": _check_flags,
            "meta": dict,
        }
        unknown = set(changes) - set(converters)
        if unknown:
            msg = f"a GasMap has no {', '.join(map(repr, sorted(unknown)))} to replace"
            raise TypeError(msg)
        parts = self._parts | {name: converters[name](value) for name, value in changes.items()}
        moved = parts["wcs"] is not None and parts["distance"] is not None
        moved &= "wcs" in changes or "distance" in changes
        if moved and "pixel_scale" not in changes:
            parts["pixel_scale"] = None
        if planes["column_density"] is None:
            msg = "column_density must be a Quantity, got None"
            raise TypeError(msg)
        shapes = {np.shape(array) for array in planes.values() if array is not None}
        if len(shapes) > 1:
            msg = f"the channels and uncertainties of a map must have one shape, got {shapes}"
            raise ValueError(msg)
        new = type(self).__new__(type(self))
        new._set(planes, **parts | {"meta": dict(parts["meta"])})
        return new

    def _quantity(self, name):
        array = self._planes.get(name)
        return None if array is None else array << _PLANE_UNITS[name]

    @property
    def column_density(self) -> u.Quantity:
        """Column density N(H2), 2D `~astropy.units.Quantity` in cm-2, NaN where masked."""
        return self._quantity("column_density")

    @property
    def velocity(self) -> u.Quantity | None:
        """Mean line-of-sight velocity, 2D `~astropy.units.Quantity` in km/s, or `None`."""
        return self._quantity("velocity")

    @property
    def dispersion(self) -> u.Quantity | None:
        """Velocity dispersion, 2D `~astropy.units.Quantity` in km/s, or `None`."""
        return self._quantity("dispersion")

    @property
    def column_density_uncertainty(self) -> u.Quantity | None:
        """Standard deviation of the column density in cm-2, or `None`."""
        return self._quantity("column_density_uncertainty")

    @property
    def velocity_uncertainty(self) -> u.Quantity | None:
        """Standard deviation of the velocity in km/s, or `None`."""
        return self._quantity("velocity_uncertainty")

    @property
    def dispersion_uncertainty(self) -> u.Quantity | None:
        """Standard deviation of the velocity dispersion in km/s, or `None`."""
        return self._quantity("dispersion_uncertainty")

    @property
    def mask(self) -> np.ndarray:
        """2D boolean array, `True` where there is no usable column density."""
        return self._mask

    @property
    def masked_fraction(self) -> float:
        """Fraction of the pixels that are masked, a float."""
        return float(self._mask.mean())

    @property
    def wcs(self) -> WCS | None:
        """Celestial `~astropy.wcs.WCS` of two axes, or `None`."""
        if callable(self._parts["wcs"]):  # a cutout makes its WCS when it is asked for
            self._parts["wcs"] = self._parts["wcs"]()
        return self._parts["wcs"]

    @property
    def distance(self) -> u.Quantity | None:
        """Distance, `~astropy.units.Quantity` in pc, or `None`."""
        return self._parts["distance"]

    @property
    def beam(self) -> Beam | None:
        """The beam, `~radio_beam.Beam`, or `None`."""
        return self._parts["beam"]

    @property
    def flags(self) -> tuple[str, ...]:
        """What to beware of: tuple of names of `~astrofractal.flags.FLAGS`."""
        return self._parts["flags"]

    @property
    def meta(self) -> dict[str, Any]:
        """Dictionary of anything else that is known about the map."""
        return self._parts["meta"]

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (ny, nx)."""
        return self._mask.shape

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels that are present, column density first."""
        return tuple(name for name in CHANNELS if name in self._planes)

    @property
    def pixel_solid_angle(self) -> u.Quantity:
        """Solid angle of the pixel at the center of the map, `~astropy.units.Quantity` in sr."""
        checks.need_wcs(self, "pixel_solid_angle")
        angle = _wcs.central_solid_angle(self.wcs, self.shape)
        if not angle > 0:
            center = [(n - 1) / 2 for n in self.shape[::-1]]
            msg = f"the WCS does not reach the center of the map, pixel (x, y) = {center}"
            raise ValueError(msg)
        return angle * u.sr

    @property
    def has_pixel_scale(self) -> bool:
        """Whether the width of a pixel is known: from WCS and distance, or as it was given."""
        if self._parts["pixel_scale"] is not None:
            return True
        return self._is_placed and _wcs.central_solid_angle(self.wcs, self.shape) > 0

    @property
    def _is_placed(self):
        """Whether WCS and distance are known, which give the scale of a map."""
        return self._parts["wcs"] is not None and self.distance is not None

    @property
    def pixel_scale(self) -> u.Quantity:
        """Width of the pixel at the center of the map in pc; `ValueError` where it is unknown."""
        return np.sqrt(self.pixel_area)

    @property
    def pixel_area(self) -> u.Quantity:
        """Area of the pixel at the center of the map, `~astropy.units.Quantity` in pc2."""
        if self._parts["pixel_scale"] is not None:
            return self._parts["pixel_scale"] ** 2
        checks.need_wcs(self, "pixel_area")
        checks.need_distance(self, "pixel_area")
        return self.pixel_solid_angle.value * self._parts["distance"] ** 2

    @property
    def mass(self) -> u.Quantity:
        """Mass of all gas that is not masked, `~astropy.units.Quantity` in solMass."""
        column = np.nansum(self._planes["column_density"], dtype=np.float64)
        return column_to_mass(column * CHANNEL_UNITS["column_density"], self.pixel_area)

    def to_array(self) -> np.ndarray:
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
        column = self._planes["column_density"]
        array[0] = np.log10(column)
        if "velocity" in self._planes:
            velocity = self._planes["velocity"].astype(np.float64)
            array[1] = velocity - mean_velocity(velocity, column)
        if "dispersion" in self._planes:
            array[2] = self._planes["dispersion"]
        return array

    def __getitem__(self, item: slice | tuple[slice, ...]) -> GasMap:
        """Return a part of the map, its WCS adapted: ``gas[y0:y1, x0:x1]``."""
        item = item if isinstance(item, tuple) else (item,)
        item = item + (slice(None),) * (2 - len(item))
        good = [isinstance(part, slice) and part.step in (None, 1) for part in item]
        if good != [True, True]:
            msg = f"a GasMap takes one or two slices of step 1, gas[y0:y1, x0:x1], got {item!r}"
            raise IndexError(msg)
        rows, columns = (
            slice(*part.indices(n)[:2]) for part, n in zip(item, self.shape, strict=True)
        )
        if rows.start >= rows.stop or columns.start >= columns.stop:
            msg = f"the slice {item!r} holds no pixel of a map of shape {self.shape}"
            raise IndexError(msg)
        planes = {name: self._quantity(name)[rows, columns] for name in self._planes}
        wcs = None if self.wcs is None else self.wcs.slice((rows, columns))
        return self.replace(**planes, wcs=wcs)

    cutout = cutout
    cutouts = cutouts
    contains = contains
    plot = plot
    to_hdulist = to_hdulist
    to_pixel = to_pixel
    to_sky = to_sky
    write = write
    _repr_html_ = html

    @with_formats
    @classmethod
    def read(
        cls,
        source: GasMap | MapSource,
        velocity: MapSource | None = None,
        dispersion: MapSource | None = None,
        *,
        uncertainty: dict[str, MapSource] | None = None,
        column: ColumnConversion | None = None,
        distance: u.Quantity | None = None,
        beam: Beam | u.Quantity | None = None,
        pixel_scale: u.Quantity | None = None,
        unit: Any = None,
        hdu: int | str | None = None,
        no_data: float | None = None,
        dispersion_kind: str | None = None,
        line_width: u.Quantity | None = None,
        format: str | None = None,
    ) -> GasMap:
        """
        Read a map from a file or from data in memory.

        ``GasMap.read.list_formats()`` lists the formats, ``GasMap.read.help("fits")`` describes one.

        Parameters
        ----------
        source : path-like, HDU, `~astropy.io.fits.HDUList`, `~astropy.nddata.NDData`, GasMap, ...
            The column density, and perhaps velocities, errors and a mask: what the formats describe,
            ``(data, wcs)`` or ``(data, header)``, where the WCS replaces that of the data, or a
            `GasMap`, returned as it is (with ``distance``, ``beam`` and ``pixel_scale`` if given).
        velocity, dispersion : path-like, HDU, NDData or Quantity, optional
            Maps of the mean velocity and of the velocity dispersion, or cubes of fitted parameters.
            Those on another grid are regridded to that of the column density, with a warning.
        uncertainty : dict, optional
            Maps of the standard deviation of ``"column_density"``, ``"velocity"`` or
            ``"dispersion"``.
        column : `~astrofractal.gasmap.XFactor`, `~astrofractal.gasmap.Extinction`, \
                `~astrofractal.gasmap.DustEmission` or `~astrofractal.gasmap.Abundance`, optional
            How to convert the map of another quantity to N(H2).
        distance, beam, pixel_scale : optional
            As the class takes them.  By default those of the header: ``DISTANCE`` and ``PIXSCALE``
            have a comment ``[pc]``.
        unit : unit, str, or sequence or dict of these, optional
            Unit of the column density, or of each map (in order, or by name); replaces ``BUNIT``.
            ``"dex(cm-2)"`` is that of a decimal logarithm.
        hdu : int or str, optional
            The extension with the column density.
        no_data : float, optional
            A value that marks missing data, in all maps and errors.
        dispersion_kind : {"sigma", "fwhm", "variance", "doppler"}, optional
            What ``dispersion`` holds.  By default the header decides, else a standard deviation.
        line_width : `~astropy.units.Quantity`, optional
            Subtracted from the dispersions in quadrature: see `from_cube`.
        format : str, optional
            A name of ``GasMap.read.list_formats()``.  By default it follows from ``source``.

        Raises
        ------
        OSError
            If a file is missing, damaged or no FITS.
        ValueError
            If the data are no map of the sky, or cannot use one of the options.
        astropy.units.UnitsError
            If a unit does not fit.

        Notes
        -----
        Uncertainties do not contain the error of the conversion to N(H2), which is systematic.
        Regridding (by reproject, the extra ``cube``) does not match beams.  ``meta["regridded"]``
        names the channels.

        Examples
        --------
        >>> from astropy import units as u
        >>> from astrofractal import GasMap
        >>> from astrofractal.data import data_path
        >>> GasMap.read(data_path("example_cloud.fits"))
        <GasMap 320 x 320 px, column_density + velocity + dispersion, 0.007812 pc/px, at 300 pc>
        """
        options = ReadOptions.of(locals())
        if isinstance(source, GasMap):
            usable = ("distance", "beam", "pixel_scale")
            given = options.given()
            unused = {name: value for name, value in given.items() if name not in usable}
            refuse_unused("a GasMap", unused)
            return source.replace(**given) if given else source
        return cls._of(source, read_source, format, options)

    @classmethod
    def from_cube(
        cls,
        cube: Any,
        *,
        column: XFactor | None = None,
        distance: u.Quantity | None = None,
        unit: Any = None,
        hdu: int | str | None = None,
        beam: Beam | u.Quantity | None = None,
        velocity_range: u.Quantity | None = None,
        noise: u.Quantity | None = None,
        snr: float = 4.0,
        line_width: u.Quantity | None = None,
        progress_bar: Any = False,
    ) -> GasMap:
        """
        Make a map of the moments of a position-position-velocity cube.

        Parameters
        ----------
        cube : path-like, HDU, `~astropy.io.fits.HDUList`, `~spectral_cube.SpectralCube` or NDData
            The cube (also a folder of CASA, with the extra ``cube``), in K, Jy/beam or another
            surface brightness.  Axes of one pixel are dropped.
        column : `~astrofractal.gasmap.XFactor`
            N(H2) per integrated intensity and, where the header has none, the rest frequency.
        distance, unit, hdu, beam : optional
            See `read`; ``unit`` is that of the intensity.
        velocity_range : `~astropy.units.Quantity`, optional
            Two velocities: channels outside are used for the noise only.
        noise : `~astropy.units.Quantity`, optional
            The rms of a channel, one value or a map.  By default that of the uncertainties of the
            cube (an extension such as ``VARIANCE``), or else the median of the negative values of
            each spectrum, divided by -0.6745.
        snr : float, optional
            A run of channels above 1.5 times the noise counts if two adjacent ones are above ``snr``
            times the noise.  It is widened by a quarter of its length on both sides, for the wings.
        line_width : `~astropy.units.Quantity`, optional
            Subtracted from the dispersions in quadrature: the thermal motion of the molecule
            (`~astrofractal.simulations.thermal_dispersion`) and the spectrometer (a channel's width
            / sqrt(12)), neither of which is in the reference maps.
        progress_bar : bool or callable, optional
            Whether to show progress.

        Returns
        -------
        gas : `GasMap`
            The map, with uncertainties from the noise.  Spectra without signal are masked.

        Raises
        ------
        ValueError
            If the data are no cube of the sky, or no spectrum has signal.
        astropy.units.UnitsError
            If ``column`` does not fit the intensities.

        Notes
        -----
        With the intensity T of channels of width dv and the X-factor X,

        .. math::

            N = X \\sum T\\,dv, \\quad v = \\frac{\\sum T v_i\\,dv}{\\sum T\\,dv}, \\quad
            \\sigma^2 = \\frac{\\sum T (v_i - v)^2\\,dv}{\\sum T\\,dv} - \\sigma_\\mathrm{line}^2 .

        Frequencies and wavelengths become velocities in the radio convention.
        Where the noise of adjacent channels is correlated, the errors are 20 to 40 % too small.

        Examples
        --------
        >>> import numpy as np
        >>> from astropy import units as u
        >>> from astropy.io import fits
        >>> from astrofractal import GasMap
        >>> from astrofractal.gasmap import XFactor
        >>> v = np.arange(-2, 2, 0.1)[:, None, None]
        >>> line = 5 * np.exp(-((v - 0.3) ** 2) / (2 * 0.4**2)) * np.ones((1, 16, 16))
        >>> noise = np.random.default_rng(0).normal(scale=0.1, size=line.shape)
        >>> axes = dict(
        ...     CTYPE1="RA---TAN", CTYPE2="DEC--TAN", CTYPE3="VRAD", CUNIT3="km/s", BUNIT="K"
        ... )
        >>> axes |= dict(CDELT1=-1e-3, CDELT2=1e-3, CRPIX3=1, CRVAL3=-2, CDELT3=0.1)
        >>> cube = fits.PrimaryHDU(line + noise, fits.Header(axes))
        >>> x_factor = XFactor(2e21 * u.cm**-2 / (u.K * u.km / u.s))
        >>> gas = GasMap.from_cube(cube, column=x_factor, distance=300 * u.pc)
        >>> print(f"{np.median(gas.velocity):.2f}, {np.median(gas.dispersion):.2f}")
        0.30 km / s, 0.40 km / s
        """
        options = ReadOptions.of(locals())
        return cls._of(cube, read_cube, options)

    @classmethod
    def _of(cls, source, read, *arguments):
        """Make a map of what a reader finds; errors name the file, if it comes from one."""
        path = source if isinstance(source, str | os.PathLike) else None
        with reading(path, otherwise=None):
            parts = read(source, *arguments)
            names = ("wcs", "distance", "beam", "pixel_scale", "meta")
            channels = (parts.channels.get(name) for name in CHANNELS)
            return cls(*channels, **{name: getattr(parts, name) for name in names})

    def fingerprint(self) -> str:
        """Return a digest of all that measurements on the map depend on, so without ``meta``."""
        beam = {} if self.beam is None else self.beam.to_header_keywords()
        return fingerprint(
            self._planes,
            _wcs.content(self.wcs),
            self.distance,
            # degrees and arcseconds differ in the last digit
            {key: f"{value:.12g}" for key, value in beam.items()},
            self._parts["pixel_scale"],
            self.flags,
        )

    def to_nddata(self, channel: str = "column_density") -> NDData:
        """
        Return one channel as `~astropy.nddata.NDData`.

        Parameters
        ----------
        channel : {"column_density", "velocity", "dispersion"}, optional
            The channel.

        Returns
        -------
        data : `~astropy.nddata.NDData`
            Values with unit, mask (`True` is masked), WCS, standard deviation where it is known,
            and a FITS header as ``meta``, with distance and beam.
        """
        one_of("channel", channel, self.channels)
        values = getattr(self, channel)
        deviation = getattr(self, f"{channel}_uncertainty")
        return NDData(
            values.value.copy(),
            unit=values.unit,
            mask=~np.isfinite(values.value),
            wcs=self.wcs,
            uncertainty=None if deviation is None else StdDevUncertainty(deviation.value.copy()),
            meta=meta_header(self),
        )

    def __repr__(self):
        parts = [f"{self.shape[0]} x {self.shape[1]} px", " + ".join(self.channels)]
        if self.has_pixel_scale:
            parts.append(f"{self.pixel_scale.value:.4g} pc/px")
        if self.distance is not None:
            parts.append(f"at {self.distance.value:.6g} pc")
        if self.wcs is None:
            parts.append("no WCS")
        if self._mask.any():
            parts.append(f"{self._mask.mean():.0%} masked")
        return f"<GasMap {', '.join(parts)}>"


def _check_flags(flags):
    return tuple(one_of("flags", flag, FLAGS) for flag in flags)
