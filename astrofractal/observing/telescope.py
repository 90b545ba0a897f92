"""A telescope: beam, pixels, filter and noise, measured on a map and applied to others."""

from __future__ import annotations

from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales
from radio_beam import Beam
from radio_beam.utils import BeamError
from scipy.interpolate import make_interp_spline

from astrofractal._utils.identity import fingerprint
from astrofractal._utils.random import keyed_generator
from astrofractal._utils.validation import at_least, one_of
from astrofractal.gasmap import GasMap
from astrofractal.gasmap.checks import check_length, check_quantity, need_distance, need_wcs
from astrofractal.gasmap.moments import (
    CHANNEL_SETS,
    CHANNEL_UNITS,
    CHANNELS,
    STANDARD_SHAPE,
    STANDARD_WIDTH,
    channels_of,
    keep_channels,
    mean_velocity,
    transform,
)
from astrofractal.gasmap.noise import column_steps, median_error, pixel_noise
from astrofractal.gasmap.resample import overlaps, replaced
from astrofractal.gasmap.units import to_column_density, to_velocity
from astrofractal.observing.beam import (
    Pixels,
    add_noise,
    blurred,
    convolver,
    correlate,
    filtered_errors,
    high_pass,
    noise_level,
    parse_beam,
)
from astrofractal.observing.spectra import Spectrometer, through

if TYPE_CHECKING:
    from typing import Self

    from regions import Region

    from astrofractal._utils.annotations import MapSource, Positions


#: The noise of maps, and what describes a spectrometer.
_OF_MAPS = ("noise", "velocity_noise", "dispersion_noise")
_OF_SPECTRA = ("channel_width", "channel_noise", "line_width", "snr")


@dataclass(frozen=True, eq=False)
class Telescope:
    """
    A telescope, in what it does to maps of gas.

    The steps are, in this order: distance, beam, pixels, filter of an interferometer, noise,
    footprint.  With ``channel_width`` they are taken by each channel of a cube, in which every pixel
    has a Gaussian line, and the result holds the moments that `~astrofractal.GasMap.from_cube`
    computes.

    Parameters
    ----------
    beam : `~radio_beam.Beam`, `~astropy.units.Quantity` or tuple, optional
        The beam, or its FWHM, an angle or a length, or (major, minor, position angle), the last
        from north to east (without a WCS: from the y axis, counter-clockwise).  A map that has a
        beam already is convolved with what is missing.  Images also take pixels (``u.pix``).
    pixel_scale : `~astropy.units.Quantity`, optional
        Width of the pixels, an angle or a length.  A map on a new grid has north up and covers the
        same area.  Images come back on their own grid, interpolated from the telescope's pixels
        as cutouts of a map with such pixels are.
    noise : `~astropy.units.Quantity` or float, optional
        Standard deviation of the column density in a pixel: a column density, or a fraction of
        the pixel's value.
    velocity_noise, dispersion_noise : `~astropy.units.Quantity`, optional
        Standard deviations of velocity and dispersion in a pixel.
    correlated : bool, optional
        Whether the noise is correlated over the beam (at the same standard deviation), as in maps
        with pixels smaller than the beam.
    largest_scale : `~astropy.units.Quantity`, optional
        The scale, an angle or a length, beyond which an interferometer filters out emission: a
        source at the uv distance k keeps the part
        :math:`1 - \\exp(-(\\pi k L)^2 / (4 \\ln 2))` of its amplitude, so that a Gaussian of FWHM L
        keeps half of its peak.  Each channel is filtered: negative bowls remain.
    distance : `~astropy.units.Quantity`, optional
        Where the cloud is put; lengths in the cloud stay, angles change.
    channels : tuple of str, optional
        The channels that are observed.
    footprint : `~numpy.ndarray` of bool or `~regions.Region`, optional
        The part that is observed (`True` is observed): a region or an array of shape (ny, nx) on
        the grid of the result.  For images also one of shape (n_images, ny, nx), or several of
        shape (n, 3, ny, nx), of which each image gets one at random, turned and mirrored.
    channel_width : `~astropy.units.Quantity`, optional
        Width of the channels of a spectrometer.  Noise is then ``channel_noise`` alone.
    channel_noise : `~astropy.units.Quantity`, optional
        Standard deviation of the column density in one channel of a pixel: the noise in K times
        ``channel_width`` times the X-factor.
    line_width : `~astropy.units.Quantity`, optional
        The width of lines of gas at rest, which is subtracted from the dispersions, as
        `~astrofractal.GasMap.from_cube` takes it (with the part of a channel).
    snr : float, optional
        The signal-to-noise ratio of two channels that a line needs, as for ``from_cube``.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from astrofractal import GasMap
    >>> from astrofractal.observing import Telescope
    >>> telescope = Telescope(beam=36 * u.arcsec, noise=1e21 / u.cm**2, distance=140 * u.pc)
    >>> gas = GasMap(np.full((64, 64), 1e22) / u.cm**2, pixel_scale=0.01 * u.pc)
    >>> print(f"{np.std(telescope.observe(gas).column_density.value):.1e}")
    1.0e+21
    """

    beam: Beam | u.Quantity | tuple[u.Quantity, ...] | None = None
    pixel_scale: u.Quantity | None = None
    noise: u.Quantity | float | None = None
    velocity_noise: u.Quantity | None = None
    dispersion_noise: u.Quantity | None = None
    correlated: bool = False
    largest_scale: u.Quantity | None = None
    distance: u.Quantity | None = None
    channels: tuple[str, ...] = CHANNELS
    footprint: np.ndarray | Region | None = field(default=None, repr=False)
    channel_width: u.Quantity | None = None
    channel_noise: u.Quantity | None = None
    line_width: u.Quantity | None = None
    snr: float = 4.0

    def __post_init__(self):
        object.__setattr__(self, "beam", parse_beam(self.beam))
        object.__setattr__(self, "distance", check_length("distance", self.distance))
        object.__setattr__(self, "channels", tuple(self.channels))
        one_of("channels", self.channels, CHANNEL_SETS)
        self._levels()
        self._spectrometer()
        for name in ("pixel_scale", "largest_scale"):
            value, widths = getattr(self, name), (u.rad, u.pc, u.pix)
            if value is not None:
                what = "an angle or length"
                check_quantity(name, value, widths, "6 * u.arcsec", what=what, one=True)

    def fingerprint(self) -> str:
        """Return a digest of everything."""
        return fingerprint(*(getattr(self, name) for name in self.__dataclass_fields__))

    def _levels(self):
        """Return the levels of the noise in column density, velocity and dispersion."""
        noise = self.noise * u.one if isinstance(self.noise, Real) else self.noise
        relative = getattr(noise, "unit", None) == u.one
        convert = (lambda value, name: value) if relative else to_column_density
        column = noise_level("noise", noise, convert, "a column density or a fraction")
        what = "a velocity such as 0.05 * u.km / u.s"
        velocity = noise_level("velocity_noise", self.velocity_noise, to_velocity, what)
        dispersion = noise_level("dispersion_noise", self.dispersion_noise, to_velocity, what)
        return (0.0, column) if relative else (column, 0.0), velocity, dispersion

    def _spectrometer(self):
        """Return the spectrometer, `None` without one."""
        width = self.channel_width
        without = ("channel_noise", "line_width") if width is None else _OF_MAPS
        for name in without:
            if getattr(self, name) is not None:
                msg = f"{name}={getattr(self, name)} cannot be used with channel_width={width}"
                raise ValueError(msg)
        if width is None:
            return None
        what, example = "a velocity", "0.1 * u.km / u.s"
        check_quantity("channel_width", width, u.km / u.s, example, what=what, one=True)
        at_least("snr", self.snr, 0)
        noise = noise_level(
            "channel_noise", self.channel_noise, to_column_density, "a column density"
        )
        line_width = noise_level("line_width", self.line_width, to_velocity, what)
        return Spectrometer(to_velocity(width).value, noise, line_width, self.snr)

    @classmethod
    def measure(
        cls,
        gas: GasMap | MapSource,
        positions: Positions | None = None,
        *,
        largest_scale: u.Quantity | None = None,
    ) -> Self:
        """
        Return the telescope that a map was observed with, as far as the map shows it.

        Parameters
        ----------
        gas : `~astrofractal.GasMap`, or what `~astrofractal.GasMap.read` takes
            The map, with its uncertainties where they are known.
        positions : `~astropy.coordinates.SkyCoord` or pixels (n, 2), optional
            Protostars: the footprint is that of the 0.5 pc around each, and the channels are those
            that are known there.
        largest_scale : `~astropy.units.Quantity`, optional
            As the class takes it; maps do not show it.

        Returns
        -------
        telescope : `Telescope`
            Beam and pixels as lengths; the noise is a fraction where the uncertainties follow
            the column density.  For a map that `~astrofractal.GasMap.from_cube` made, the channels
            of the cube and their noise.

        Raises
        ------
        ValueError
            If no position has data around it.
        """
        gas = GasMap.read(gas)
        channels, footprint = gas.channels, None
        spectra = None if "other-pixel-scale" in gas.flags else gas.meta.get("spectra")
        if positions is not None:
            channels, footprint = _known_around(gas, positions, spectra)
        beam = None
        if gas.beam is not None and gas.distance is not None:
            major, minor, angle = parse_beam(gas.beam)
            beam = (*(a.to_value(u.rad) * gas.distance for a in (major, minor)), angle)
        if spectra is None:
            errors = (median_error(gas, name) for name in CHANNELS[1:])
            noise = dict(zip(_OF_MAPS, (_column_noise(gas), *errors), strict=True))
        else:
            noise = {name: spectra[name] for name in _OF_SPECTRA}
        return cls(
            beam,
            gas.pixel_scale.to(u.pc),
            **noise,
            correlated=beam is not None and _is_correlated(gas, beam),
            largest_scale=largest_scale,
            distance=gas.distance,
            channels=channels,
            footprint=footprint,
        )

    def observe(
        self, gas: GasMap | MapSource, *, random_state: int | np.random.Generator = 0
    ) -> GasMap:
        """
        Return a map as the telescope would see it.

        Parameters
        ----------
        gas : `~astrofractal.GasMap`, or what `~astrofractal.GasMap.read` takes
            The map, usually a simulated one.
        random_state : int or `~numpy.random.Generator`, optional
            The seed of the noise.

        Returns
        -------
        gas : `~astrofractal.GasMap`
            The observed map.  Its uncertainties are those of the map, taken through the same
            steps to first order, and of the noise that is added (with ``channel_width`` the latter
            alone).  Column densities that noise or filter make negative are masked.

        Raises
        ------
        ValueError
            If no convolution leads from the map's beam to the new one, the distance is needed and
            unknown, the footprint has another shape, or lines need a velocity or dispersion.
        """
        gas = GasMap.read(gas)
        seen, spectrometer = self._seen(gas), self._spectrometer()
        meta = {key: value for key, value in gas.meta.items() if key != "spectra"}
        if spectrometer is None:
            observed = self._with_noise(seen, random_state)
        else:
            if gas.channels != CHANNELS:
                msg = f"channel_width needs a map of all channels, got {gas.channels}"
                raise ValueError(msg)
            (column, velocity, dispersion), _ = _planes(gas)
            mean = mean_velocity(velocity, column)
            velocities, cube = spectrometer.lines(column, velocity - mean, dispersion)
            _, cube = self._seen_cube(gas, cube, spectrometer.channel_noise, random_state)
            observed = replaced(seen, *spectrometer.moments(cube, velocities + mean.item()))
            meta["spectra"] = {name: getattr(self, name) for name in _OF_SPECTRA}
            meta["spectra"]["observed"] = ~seen.mask
        return _of_channels(observed, self.channels).replace(meta=meta)

    def _seen_cube(self, gas, cube, noise, random_state):
        """Return the first channel of a cube as a map, and all of them (n, ny, nx), with noise."""
        gas = _of_channels(gas.replace(column_density_uncertainty=None), CHANNELS[:1])
        planes = [self._seen(gas.replace(column_density=one / u.cm**2)) for one in cube]
        data = np.array([one.column_density.value for one in planes])
        return planes[0], data + noise * self._random(planes[0], len(data), random_state)

    def _seen(self, gas):
        """Return a map as it is seen without noise."""
        if self.distance is not None:
            gas = _moved(gas, self.distance)
        if self.beam is not None:
            gas = _through_beam(gas, self.beam)
        if self.pixel_scale is not None:
            gas = _on_grid(gas, self.pixel_scale)
        kernel = Pixels.of(gas).kernel("largest_scale", parse_beam(self.largest_scale))
        if kernel is not None:
            channels, errors = _planes(gas)
            left = high_pass(*channels, kernel)
            gas = replaced(gas, left, filtered_errors(channels, errors, left))
        return gas if self.footprint is None else _within(gas, self.footprint)

    def _random(self, gas, n_planes, random_state):
        """Return noise of variance 1 on the pixels of a map (n_planes, ny, nx)."""
        random = np.random.default_rng(random_state).standard_normal((n_planes, *gas.shape))
        kernel = Pixels.of(gas).kernel("beam", self.beam) if self.correlated else None
        return correlate(random, kernel)

    def _with_noise(self, gas, random_state):
        """Return a map with noise, and uncertainties that contain it."""
        channels, errors = _planes(gas)
        (absolute, relative), *others = levels = self._levels()
        added = np.hypot(absolute, relative * channels[0]), *others
        errors = [
            np.hypot(np.zeros(gas.shape) if error is None else error, level)
            if np.any(np.asarray(level) > 0)
            else error
            for error, level in zip(errors, added, strict=True)
        ]
        noisy = add_noise(channels, levels, self._random(gas, 3, random_state))
        return replaced(gas, noisy, errors)

    def observe_cube(
        self,
        cube: fits.PrimaryHDU,
        *,
        noise: u.Quantity = 0 * u.K,
        random_state: int | np.random.Generator = 0,
    ) -> fits.PrimaryHDU:
        """
        Return a cube of an optically thin line as the telescope would see it.

        Beam, pixels, filter, distance and footprint apply to each channel.  The telescope's noise,
        which is that of maps, does not.

        Parameters
        ----------
        cube : `~astropy.io.fits.PrimaryHDU`
            Brightness temperatures (n_channels, ny, nx) without a beam, as
            `astrofractal.simulations.project` returns them with ``velocities``.
        noise : `~astropy.units.Quantity`, optional
            Standard deviation of the brightness temperature in a channel.
        random_state : int or `~numpy.random.Generator`, optional
            The seed of the noise.

        Returns
        -------
        cube : `~astropy.io.fits.PrimaryHDU`
            The cube, for `~astrofractal.GasMap.from_cube`.
        """
        header = cube.header
        distance = header["DISTANCE"] * u.pc if "DISTANCE" in header else self.distance
        plain = np.full(cube.shape[1:], 1e22) / u.cm**2
        gas = GasMap(plain, wcs=WCS(header).celestial, distance=distance)
        gas, data = self._seen_cube(gas, cube.data, noise.to_value(u.K), random_state)
        sky = gas.wcs.to_header()
        del sky["WCSAXES"]
        seen = fits.PrimaryHDU(data.astype(np.float32), header)
        seen.header.update(sky)
        seen.header.update({} if gas.beam is None else gas.beam.to_header_keywords())
        if gas.distance is not None:
            seen.header["DISTANCE"] = gas.distance.value
        return seen

    def observe_images(
        self,
        images: np.ndarray,
        *,
        size: u.Quantity = STANDARD_WIDTH,
        random_state: int | np.random.Generator = 0,
    ) -> np.ndarray:
        """
        Return images of physical channels as the telescope would see them.

        Parameters
        ----------
        images : 4D `~numpy.ndarray`
            Images of shape (n, 3, ny, nx) as `astrofractal.GasMap.to_array` gives them: log10 N(H2)
            in cm-2, velocity and dispersion in km/s; NaN where unknown.
        size : `~astropy.units.Quantity`, optional
            Width of an image along x, a length.
        random_state : int or `~numpy.random.Generator`, optional
            The seed of noise and footprints.

        Returns
        -------
        images : 4D `~numpy.ndarray`
            float32, of the same shape.  NaN where nothing is known or the column density is
            negative.  Velocities are relative to the column-weighted mean of the observed image.
            Pixels near the border are averages of what is inside.
        """
        images = np.asarray(images)
        if images.ndim != 4 or images.shape[1] != 3 or images.dtype.kind != "f":
            got = f"{images.dtype} of shape {images.shape}"
            msg = f"images must be a float array of shape (n, 3, ny, nx), got {got}"
            raise ValueError(msg)
        size = check_quantity("size", size, u.pc, "0.5 * u.pc", what="a length", one=True)
        generator = np.random.default_rng(random_state)
        seen = _image_footprints(self.footprint, images.shape, generator)
        phases = keyed_generator(len(images), "phases of the pixels").random((len(images), 2))
        plan = _ImagePlan(self, images.shape[2:], size)
        result = np.empty(images.shape, dtype=np.float32)
        batch = 256  # images at once, to limit the memory
        for start in range(0, len(images), batch):
            part = slice(start, start + batch)
            channels = plan(images[part].astype(np.float64), phases[part], generator)
            result[part] = _to_image(channels, True if seen is None else seen(part))
        return keep_channels(result, self.channels)


def _of_channels(gas, channels):
    """Return a map without its other channels."""
    unseen = [name for name in gas.channels if name not in channels]
    parts = (f"{name}{end}" for name in unseen for end in ("", "_uncertainty"))
    return gas.replace(**dict.fromkeys(parts))


def _known_around(gas, positions, spectra):
    """Return the channels that most cutouts have, and where they are known or spectra were taken."""
    cutouts = gas.cutouts(positions, size=STANDARD_WIDTH, shape=STANDARD_SHAPE)
    kept = [i for i, c in enumerate(cutouts) if not c.mask.all() and "outside" not in c.flags]
    if not kept:
        msg = "positions: none of them has data around it on the map"
        raise ValueError(msg)
    images = np.stack([cutouts[i].to_array() for i in kept])
    found = channels_of(images)
    channels = max(CHANNEL_SETS, key=lambda c: (found.count(c), len(c)))
    if spectra is not None:  # noise will hide lines of the reference maps as well
        taken = spectra["observed"] if spectra["observed"].shape == gas.shape else True
        taken = np.broadcast_to(np.where(taken, 1e22, np.nan), gas.shape)
        gas = _of_channels(gas, CHANNELS[:1]).replace(column_density=taken / u.cm**2)
        cutouts = gas.cutouts(positions, size=STANDARD_WIDTH, shape=STANDARD_SHAPE)
        images[:] = np.stack([cutouts[i].column_density.value for i in kept])[:, None]
    return channels, np.isfinite(images[[set(channels) <= set(names) for names in found]])


def _column_noise(gas):
    """Return the noise of the column density: a fraction where it follows it, or absolute."""
    if gas.column_density_uncertainty is not None:
        error = gas.column_density_uncertainty.value
        ratio = error / gas.column_density.value
        good = np.isfinite(ratio) & (error > 0)
        error, ratio = np.log10(error[good]), np.log10(ratio[good])
        if good.any() and np.std(ratio) < np.std(error):
            return float(min(10 ** np.median(ratio), 1.0))
    return pixel_noise(gas) / u.cm**2


def _is_correlated(gas, beam):
    """Return whether neighboring pixels have noise in common, as the beam would give it."""
    distant, near = column_steps(gas), column_steps(gas, lag=1)
    sigma = (beam[1] / gas.pixel_scale).to_value(u.one) / np.sqrt(8 * np.log(2))
    one, two = np.exp(-np.array([1, 4]) / (4 * max(sigma, 1e-3) ** 2))
    expected = np.sqrt(1 - (4 * one - two) / 3)  # of the second difference, relative to white noise
    return bool(near < distant * np.sqrt(expected))


def _planes(gas):
    """Return channels and errors in double precision: NaN for an absent channel, `None` for an error."""
    nothing = np.full(gas.shape, np.nan)
    channels, errors = [], []
    for name in CHANNELS:
        channel, error = getattr(gas, name), getattr(gas, f"{name}_uncertainty")
        channels.append(nothing if channel is None else channel.value.astype(np.float64))
        errors.append(None if error is None else error.value.astype(np.float64))
    return channels, errors


def _moved(gas, distance):
    """Return the map at another distance: the same lengths, other angles."""
    beam, wcs = gas.beam, gas.wcs
    if gas.distance is not None:
        ratio = (gas.distance / distance).to_value(u.one)
        if beam is not None:
            beam = Beam(beam.major * ratio, beam.minor * ratio, beam.pa)
        if wcs is not None and ratio != 1:
            if wcs.has_distortion:
                msg = "distance cannot change for a map with a distorted WCS: cut it out first"
                raise ValueError(msg)
            wcs = wcs.deepcopy()
            if wcs.wcs.has_cd():
                wcs.wcs.cd = wcs.wcs.cd * ratio
            else:
                wcs.wcs.cdelt = wcs.wcs.cdelt * ratio
            wcs.wcs.set()
    return gas.replace(wcs=wcs, beam=beam, distance=distance)


def _through_beam(gas, beam):
    """Return the map convolved to a beam."""
    *axes, angle = beam
    wanted, missing = None, beam
    if not axes[0].unit.is_equivalent(u.rad):
        if gas.beam is not None:
            need_distance(gas, "a beam given as a length, for a map that has a beam")
        if gas.distance is not None:
            axes = [(axis / gas.distance).to_value(u.one) * u.rad for axis in axes]
    if axes[0].unit.is_equivalent(u.rad):
        wanted = Beam(*(axis.to(u.arcsec) for axis in axes), angle)
        if gas.beam is not None:
            missing = _missing(wanted, gas.beam)
    channels, errors = _planes(gas)
    kernel = Pixels.of(gas).kernel("beam", missing)
    if kernel is not None:
        # noise is taken as independent from pixel to pixel, or as correlated over the map's beam
        independent = 1 / (kernel**2).sum()
        if gas.beam is not None:
            independent = min(independent, (wanted.sr / gas.beam.sr).to_value(u.one))
        channels, errors = blurred(channels, kernel, errors, independent)
    return replaced(gas, channels, errors, beam=wanted)


def _missing(wanted, own):
    """Return the beam that leads from one to another as (major, minor, angle), `None` from equals."""
    ratios = [wanted.major / own.major, wanted.minor / own.minor]
    turned = 0 if own.iscircular() else abs(np.sin((wanted.pa - own.pa).to_value(u.rad)))
    if np.allclose([*ratios, 1 + turned], 1, atol=1e-3):
        return None
    try:
        return parse_beam(wanted.deconvolve(own))
    except BeamError:
        msg = f"beam {wanted} does not cover that of the map, {own}: no convolution leads to it"
        raise ValueError(msg) from None


def _on_grid(gas, pixel):
    """Return the map on pixels of another width."""
    width = Pixels.of(gas).count("pixel_scale", pixel)
    ny, nx = gas.shape
    scales = np.ones(2)
    if gas.wcs is not None:
        sides = proj_plane_pixel_scales(gas.wcs)
        scales = sides / np.sqrt(np.prod(sides))
    shape = [max(int(n * scale / width + 0.01), 1) for n, scale in zip((ny, nx), scales[::-1])]
    if gas.wcs is not None and pixel.unit.is_equivalent(u.rad):
        size = 2 * np.arctan(shape[1] * pixel.to_value(u.rad) / 2) * u.rad
    else:
        size = shape[1] * width * gas.pixel_scale
    cutout = gas.cutout(((nx - 1) / 2, (ny - 1) / 2), size=size, shape=shape)
    return cutout.replace(flags=gas.flags, meta=gas.meta)


def _within(gas, footprint):
    """Return the map, masked outside a footprint."""
    if hasattr(footprint, "to_pixel"):
        need_wcs(gas, "a footprint given as a sky region")
        footprint = footprint.to_pixel(gas.wcs)
    if hasattr(footprint, "to_mask"):
        mask = footprint.to_mask(mode="center").to_image(gas.shape)
        footprint = np.zeros(gas.shape, bool) if mask is None else mask > 0
    footprint = _checked(footprint, gas.shape)
    seen = np.where(footprint, gas.column_density.value, np.nan)
    return gas.replace(column_density=seen * CHANNEL_UNITS["column_density"])


def _checked(footprint, *shapes):
    """Return a footprint as a boolean array that ends in one of the shapes."""
    footprint = np.asarray(footprint)
    if footprint.dtype.kind != "b" or footprint.shape not in shapes or not len(footprint):
        wanted, got = " or ".join(map(str, shapes)), f"{footprint.dtype} of shape {footprint.shape}"
        msg = f"footprint must be a region or a boolean array of shape {wanted}, got {got}"
        raise ValueError(msg)
    return footprint


def _to_image(channels, seen):
    """Return channels as an image of the model: log10 N, velocities about their mean."""
    # channels (n, ny, nx); seen True, or of shape (n, 1 or 3, ny, nx)
    column = channels[0]
    image = np.stack([np.log10(column), *channels[1:]], axis=1)
    image = np.where(np.isfinite(column)[:, None] & seen, image, np.nan)
    image[:, 1] -= mean_velocity(image[:, 1], 10.0 ** image[:, 0])
    return image


def _image_footprints(footprint, shape, generator):
    """Return a function from a slice of the images to where they are observed, or `None`."""
    if footprint is None:
        return None
    n_images, _, ny, nx = shape
    several = (*np.shape(footprint)[:1], 3, ny, nx)
    footprint = _checked(footprint, (ny, nx), (n_images, ny, nx), several)
    if footprint.shape == several:
        drawn = generator.integers([len(footprint), 4, 2], size=(n_images, 3))
        turned = [np.rot90(footprint, turns, (2, 3)) for turns in range(4)]
        return lambda part: np.stack(
            [turned[turns][which][..., :: 1 - 2 * flip] for which, turns, flip in drawn[part]]
        )
    footprint = np.broadcast_to(footprint, (n_images, ny, nx))
    return lambda part: footprint[part, None]


class _ImagePlan:
    """What a telescope does to images of a shape (ny, nx) and a width."""

    def __init__(self, telescope, shape, size):
        pixels = Pixels(size / shape[1], distance=telescope.distance)
        self.shape = self.noise_shape = shape
        self.levels, self.averages, self.pixel = telescope._levels(), None, None
        step = self.noise_width = 1.0
        if telescope.pixel_scale is not None:
            width = pixels.count("pixel_scale", telescope.pixel_scale)
            if width > 1.05:  # else the image stays on its grid
                step = self.noise_width = width
                self.averages = list(zip(*(_averages(n, width) for n in shape), strict=True))
                self.noise_shape = tuple(len(down) for down in self.averages[0])
            else:  # cutouts interpolate such pixels, which smooths gas and noise
                self.pixel, self.noise_width = width, max(width, 0.5)
                self.noise_shape = tuple(int(np.ceil(n / self.noise_width)) + 2 for n in shape)
        self.kernel = pixels.kernel("beam", telescope.beam)
        self.filter = pixels.kernel("largest_scale", parse_beam(telescope.largest_scale), step)
        self.spectrometer = telescope._spectrometer()
        noise_beam = telescope.beam if telescope.correlated else None
        self.noise_kernel = pixels.kernel("beam", noise_beam, self.noise_width)

    def __call__(self, batch, phases, generator):
        """Return the channels (n, ny, nx), column density in cm-2."""
        # batch (n, 3, ny, nx); phases (n, 2)
        if self.spectrometer is not None:
            found = [self._of_spectra(*one, generator) for one in zip(batch, phases, strict=True)]
            return np.stack(found, axis=1)
        channels = (10.0 ** batch[:, 0], batch[:, 1], batch[:, 2])
        if self.kernel is not None:
            channels, _ = blurred(channels, self.kernel)
        if self.averages is not None:
            channels = transform(*channels, _along(*self.averages[0]))
        elif self.pixel is not None:
            matrices = [_smoothing(n, self.pixel, p) for n, p in zip(self.shape, phases.T)]
            channels = transform(*channels, _along(*matrices))
        if self.filter is not None:
            channels = high_pass(*channels, self.filter)
        random = generator.standard_normal((len(batch), 3, *self.noise_shape))
        random = np.moveaxis(correlate(random, self.noise_kernel), 1, 0)
        if self.pixel is not None:
            rows, columns = (
                np.stack([_interpolation(n, self.noise_width, one) for one in phase])
                for n, phase in zip(self.shape, phases.T)
            )
            random = _along(rows, columns)(random) * self.pixel / self.noise_width
        channels = add_noise(channels, self.levels, random)
        return (
            channels if self.averages is None else transform(*channels, _along(*self.averages[1]))
        )

    def _of_spectra(self, image, phase, generator):
        """Return the channels (3, ny, nx) of one image as moments of a cube."""
        spectrometer, back, scale = self.spectrometer, None, 1.0
        velocities, cube = spectrometer.lines(10.0 ** image[0], *image[1:])
        if self.kernel is not None:
            cube = through(cube, convolver(self.kernel))
        if self.averages is not None:
            down, back = self.averages
            cube = through(cube, _along(*down), 0.5)
        elif self.pixel is not None:
            sides = list(zip(self.shape, phase, strict=True))
            back = [_interpolation(n, self.noise_width, one) for n, one in sides]
            down = [_finer(n, len(one.T), self.noise_width, p) for one, (n, p) in zip(back, sides)]
            cube = through(cube, _along(*down), 0.5)
            scale = self.pixel / self.noise_width
        if self.filter is not None:
            cube -= through(cube, convolver(self.filter))
        random = generator.standard_normal(cube.shape, dtype=cube.dtype)
        cube += spectrometer.channel_noise * scale * correlate(random, self.noise_kernel)
        channels, _ = spectrometer.moments(cube, velocities)
        return channels if back is None else transform(*channels, _along(*back))


def _along(rows, columns):
    return lambda planes: rows @ planes @ columns.swapaxes(-1, -2)


def _averages(n, width):
    """Return the matrices from ``n`` pixels to wider ones, and back by linear interpolation."""
    count = max(int(np.ceil(n / width - 1e-6)), 1)
    centers = (n - 1) / 2 + (np.arange(count) - (count - 1) / 2) * width
    back = (np.arange(n) - (n - 1) / 2) / width + (count - 1) / 2
    return overlaps(centers, width, n), overlaps(np.clip(back, 0, count - 1), 1.0, count)


def _smoothing(n, width, phase):
    """Return the matrices (n_images, n, n) that widen pixels as interpolation at a phase does."""
    side = (phase * (1 - phase) * width**2 / 2)[:, None, None]
    matrix = (1 - 2 * side) * np.eye(n) + side * (np.eye(n, k=1) + np.eye(n, k=-1))
    return matrix / matrix.sum(axis=-1, keepdims=True)


def _interpolation(n, width, phase):
    """Return the matrix from pixels of a width up to one, at a phase, to ``n`` pixels."""
    count = int(np.ceil(n / width)) + 2
    centers = (np.arange(n) - (n - 1) / 2) / width + (count - 1) / 2 + phase
    return overlaps(centers, max(1.0, 1 / width), count)


def _finer(n, count, width, phase):
    """Return the matrix from ``n`` pixels to those that `_interpolation` starts from."""
    # by splines through the sums up to each border, so that pixels remain averages
    sums = make_interp_spline(np.arange(n + 1) - 0.5, np.tri(n + 1, n, -1), k=min(n, 3))
    borders = (np.arange(count + 1) - count / 2 - phase) * width + (n - 1) / 2
    return np.diff(sums(np.clip(borders, -0.5, n - 0.5)), axis=0) / width
