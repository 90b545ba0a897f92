"""Observing one map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.convolution import convolve_fft
from astropy.wcs.utils import proj_plane_pixel_scales
from radio_beam import Beam
from radio_beam.utils import BeamError

from astrofractal.gasmap import GasMap
from astrofractal.gasmap.checks import check_distance, need_distance, need_wcs
from astrofractal.gasmap.gas_moments import CHANNEL_UNITS
from astrofractal.gasmap.positions import pixel_direction
from astrofractal.observing.beam import beam_kernel, blurred, parse_beam, to_length
from astrofractal.observing.noise import add_noise, column_level, velocity_level

if TYPE_CHECKING:
    from regions import Region

    from astrofractal.gasmap.annotations import MapSource


__all__ = ["observe"]


def observe(
    gas: GasMap | MapSource,
    *,
    distance: u.Quantity | None = None,
    beam: Beam | u.Quantity | tuple[u.Quantity, ...] | None = None,
    pixel: u.Quantity | None = None,
    noise: u.Quantity | float | None = None,
    velocity_noise: u.Quantity | None = None,
    dispersion_noise: u.Quantity | None = None,
    correlated: bool = False,
    footprint: np.ndarray | Region | None = None,
    random_state: int | np.random.Generator = 0,
) -> GasMap:
    """
    Return a map as a telescope would see it.

    The steps are, in this order: distance, beam, pixel grid, noise, footprint.

    Parameters
    ----------
    gas : `~astrofractal.GasMap`, or what `~astrofractal.GasMap.read` takes
        The map, usually a simulated one.

    distance : `~astropy.units.Quantity`, optional
        Where the cloud is put; lengths in the cloud stay, angles change.

    beam : `~radio_beam.Beam`, `~astropy.units.Quantity` or tuple, optional
        The beam of the result, or its FWHM, an angle or a length, or (major, minor, position angle),
        the last from north to east (without a WCS: from the y axis, counter-clockwise).  A map
        that has a beam already, also an elliptical one, is convolved with what is missing.

    pixel : `~astropy.units.Quantity`, optional
        Width of the pixels of the result, an angle or a length.  A result on a new grid has north
        up and covers the same area.

    noise : `~astropy.units.Quantity` or float, optional
        Standard deviation of the column density in a pixel: a column density, or a fraction of
        the pixel's value.

    velocity_noise, dispersion_noise : `~astropy.units.Quantity`, optional
        Standard deviations of velocity and dispersion in a pixel.

    correlated : bool, optional
        Whether the noise is correlated over the beam (at the same standard deviation), as in maps
        with pixels smaller than the beam.

    footprint : 2D `~numpy.ndarray` of bool or `~regions.Region`, optional
        The part that is observed (`True` is observed), on the grid of the result, or a pixel or
        sky region.

    random_state : int or `~numpy.random.Generator`, optional
        The seed of the noise.

    Returns
    -------
    gas : `~astrofractal.GasMap`
        The observed map.  Its uncertainties are those of the noise that was added.  Column
        densities that the noise makes negative are masked.

    Raises
    ------
    ValueError
        If no convolution leads from the map's beam to the new one, the distance is needed and
        unknown, or the footprint has another shape.

    astropy.units.UnitsError
        If a unit does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from astrofractal import GasMap
    >>> from astrofractal.observing import observe
    >>> gas = GasMap(np.full((64, 64), 1e22) / u.cm**2, pixel_scale=0.01 * u.pc)
    >>> seen = observe(gas, distance=140 * u.pc, beam=36 * u.arcsec, noise=1e21 / u.cm**2)
    >>> print(f"{np.std(seen.column_density.value):.1e}")
    1.0e+21
    """
    gas = GasMap.read(gas)
    levels = (
        column_level(noise),
        velocity_level("velocity_noise", velocity_noise),
        velocity_level("dispersion_noise", dispersion_noise),
    )
    beam = parse_beam(beam)
    if distance is not None:
        gas = _moved(gas, check_distance(distance))
    if beam is not None:
        gas = _through_beam(gas, beam)
    if pixel is not None:
        gas = _on_grid(gas, pixel)
    gas = _with_noise(gas, levels, beam if correlated else None, random_state)
    if footprint is not None:
        gas = _within(gas, footprint)
    return gas


def _arrays(gas):
    """Return the three channels in double precision, NaN for absent ones."""
    nothing = np.full(gas.shape, np.nan)
    return tuple(
        getattr(gas, name).value.astype(np.float64) if name in gas.channels else nothing
        for name in CHANNEL_UNITS
    )


def _replaced(gas, arrays, errors=None, **changes):
    """Return a map with other channels (`None` stays absent), and errors by their names."""
    channels = {
        name: array * unit
        for (name, unit), array in zip(CHANNEL_UNITS.items(), arrays, strict=True)
        if name in gas.channels
    }
    for name in gas.channels:
        error = (errors or {}).get(name)
        channels[f"{name}_uncertainty"] = None if error is None else error * CHANNEL_UNITS[name]
    return gas.replace(**channels, **changes)


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


def _pixel_length(gas):
    """Return the width of a pixel in pc."""
    if not gas.has_pixel_scale and gas.wcs is not None:
        msg = "gas has no distance, which lengths need: give distance="
        raise ValueError(msg)
    return gas.pixel_scale


def _widths(gas, quantities, name):
    """Return angles or lengths in pixels of the map."""
    if gas.wcs is not None and all(one.unit.is_equivalent(u.rad) for one in quantities):
        width = np.sqrt(gas.pixel_solid_angle.to_value(u.sr))
        return [one.to_value(u.rad) / width for one in quantities]
    scale = _pixel_length(gas)
    lengths = [to_length(name, one, distance=gas.distance, pixel_scale=scale) for one in quantities]
    return [(length / scale).to_value(u.one) for length in lengths]


def _kernel(gas, beam):
    """Return the kernel that gives a map its new beam."""
    major, minor, angle = beam
    if gas.beam is not None:
        wanted = Beam(*_angles(gas, (major, minor)), angle)
        own = gas.beam
        ratios = [(w / o).to_value(u.one) for w, o in zip(_axes(wanted), _axes(own), strict=True)]
        turned = 0 if own.iscircular() else abs(np.sin((wanted.pa - own.pa).to_value(u.rad)))
        if np.allclose([*ratios, 1 + turned], 1, atol=1e-3):
            return None
        try:
            missing = wanted.deconvolve(own)
        except BeamError:
            msg = f"beam {wanted} does not cover that of the map, {own}: no convolution leads to it"
            raise ValueError(msg) from None
        major, minor, angle = missing.major, missing.minor, missing.pa
    pixels = _widths(gas, (major, minor), "beam")
    return beam_kernel(*pixels, angle=pixel_direction(gas, angle))


def _axes(beam):
    return beam.major, beam.minor


def _angles(gas, widths):
    """Return angles, or lengths as they are seen from the map's distance."""
    if widths[0].unit.is_equivalent(u.rad):
        return widths
    need_distance(gas, "a beam given as a length, for a map that has a beam")
    return [(width / gas.distance).to_value(u.one) * u.rad for width in widths]


def _convolver(kernel):
    def spread(planes):
        return np.stack(
            [
                convolve_fft(
                    plane,
                    kernel,
                    boundary="fill",
                    fill_value=0.0,
                    normalize_kernel=True,
                    allow_huge=True,
                )
                for plane in planes
            ]
        )

    return spread


def _through_beam(gas, beam):
    """Return the map convolved to a beam."""
    kernel = _kernel(gas, beam)
    arrays = _arrays(gas)
    if kernel is not None:
        arrays = blurred(*arrays, _convolver(kernel))
    major, minor, angle = beam
    seen = None
    if gas.distance is not None or major.unit.is_equivalent(u.rad):
        seen = Beam(*(axis.to(u.arcsec) for axis in _angles(gas, (major, minor))), angle)
    return _replaced(gas, arrays, beam=seen)


def _on_grid(gas, pixel):
    """Return the map on pixels of another width."""
    if not isinstance(pixel, u.Quantity) or not pixel.isscalar or not pixel.value > 0:
        msg = f"pixel must be a positive angle or length such as 6 * u.arcsec, got {pixel!r}"
        raise TypeError(msg)
    (width,) = _widths(gas, (pixel,), "pixel")
    ny, nx = gas.shape
    scales = (1.0, 1.0)
    if gas.wcs is not None:
        sides = proj_plane_pixel_scales(gas.wcs)
        scales = sides / np.sqrt(np.prod(sides))
    shape = [
        max(int(n * scale / width + 0.01), 1)
        for n, scale in zip((ny, nx), scales[::-1], strict=True)
    ]
    if gas.wcs is not None and pixel.unit.is_equivalent(u.rad):
        size = 2 * np.arctan(shape[1] * pixel.to_value(u.rad) / 2) * u.rad
    else:
        length = to_length("pixel", pixel, distance=gas.distance, pixel_scale=_pixel_length(gas))
        size = shape[1] * length
    cutout = gas.cutout(((nx - 1) / 2, (ny - 1) / 2), size=size, shape=shape)
    return cutout.replace(flags=gas.flags, meta=gas.meta)


def _with_noise(gas, levels, beam, random_state):
    """Return the map with noise and its uncertainties."""
    (absolute, relative), velocity_noise, dispersion_noise = levels
    arrays = _arrays(gas)
    random = np.random.default_rng(random_state).standard_normal((3, *gas.shape))
    if beam is not None:
        major, minor, angle = beam
        kernel = beam_kernel(
            *_widths(gas, (major, minor), "beam"), angle=pixel_direction(gas, angle)
        )
        if kernel is not None:
            gain = np.sqrt((kernel.array**2).sum())
            random = np.stack([_periodic(one, kernel.array) / gain for one in random])
    noisy = add_noise(arrays, levels, random)
    column = np.where(noisy[0] > 0, noisy[0], np.nan)
    errors = {
        "column_density": np.hypot(absolute, relative * arrays[0]),
        "velocity": np.full(gas.shape, velocity_noise),
        "dispersion": np.full(gas.shape, dispersion_noise),
    }
    wanted = {
        "column_density": bool(absolute or relative),
        "velocity": bool(velocity_noise),
        "dispersion": bool(dispersion_noise),
    }
    errors = {name: errors[name] for name in gas.channels if wanted[name]}
    return _replaced(gas, (column, *noisy[1:]), errors)


def _periodic(array, kernel):
    """Return a convolution that wraps around, which keeps the variance of noise at the border."""
    return convolve_fft(array, kernel, boundary="wrap", normalize_kernel=True, allow_huge=True)


def _within(gas, footprint):
    """Return the map, masked outside a footprint."""
    if hasattr(footprint, "contains"):
        footprint = _region_mask(gas, footprint)
    footprint = np.asarray(footprint)
    if footprint.shape != gas.shape or footprint.dtype.kind != "b":
        msg = (
            f"footprint must be a region or a boolean array of shape {gas.shape}, got "
            f"{footprint.dtype} of shape {footprint.shape}"
        )
        raise ValueError(msg)
    seen = np.where(footprint, gas.column_density.value, np.nan)
    return gas.replace(column_density=seen * CHANNEL_UNITS["column_density"])


def _region_mask(gas, region):
    if hasattr(region, "to_pixel"):
        need_wcs(gas, "a footprint given as a sky region")
        region = region.to_pixel(gas.wcs)
    from regions import PixCoord

    y, x = np.mgrid[: gas.shape[0], : gas.shape[1]]
    return region.contains(PixCoord(x, y))
