"""Matching a calibration to a map: reference maps observed as the map was."""

from dataclasses import dataclass

import numpy as np
from astropy import units as u

from astrofractal._utils.identity import fingerprint
from astrofractal.gasmap.gas_moments import CHANNELS, STANDARD_SHAPE, STANDARD_WIDTH
from astrofractal.mass.features import CHANNEL_SETS, FeatureSet, channels_of
from astrofractal.mass.noise import median_error, pixel_noise
from astrofractal.observing import observe_images

__all__ = ["MATCHED_FEATURES", "Observation", "unlike_references"]

_STANDARD_PIXEL = STANDARD_WIDTH / STANDARD_SHAPE[1]

#: Even a calibration on maps that were degraded alike loses a seventh to a third of its R2 per
#: protostar with noise of 10 %, a beam of 2 px or cutouts of which 10 % are blank, and nearly all
#: with pixels of twice the width: what one on sharp maps says of its skill and its intervals is then
#: not true.
_LARGEST_BEAM, _LARGEST_PIXEL, _LARGEST_NOISE, _LARGEST_HOLES = 2.0, 1.5, 0.1, 0.1

#: Measures of the gas alone: behind a beam of 2.7 px and under noise, leave-cloud-out R2 is 0.15
#: with them, 0.12 with the encoder's features averaged over the sky beside them, and 0.08 with
#: those of one view, which take a sixteenth of the time.
MATCHED_FEATURES = FeatureSet(pooling=None, profiles="all", contrasts=True)


@dataclass(frozen=True)
class Observation:
    """
    How a map was observed, in what matters for the masses of its protostars.

    Parameters
    ----------
    channels : tuple of str
        The channels that the map has.

    beam : tuple of `~astropy.units.Quantity` or None
        Major and minor axis (FWHM, lengths) and position angle.

    pixel : `~astropy.units.Quantity`
        Width of a pixel, a length.

    noise : float
        Standard deviation of the column density in a pixel, relative to it.

    velocity_noise, dispersion_noise : `~astropy.units.Quantity` or None
        Standard deviations in a pixel.

    footprints : 4D `~numpy.ndarray` of bool, shape (n, 3, ny, nx)
        Where the channels of cutouts around the protostars are known.
    """

    channels: tuple
    beam: tuple | None
    pixel: u.Quantity
    noise: float
    velocity_noise: u.Quantity | None
    dispersion_noise: u.Quantity | None
    footprints: np.ndarray

    @classmethod
    def measure(cls, gas, positions, *, size, shape):
        """
        Measure how a map was observed.

        Parameters
        ----------
        gas : `~astrofractal.GasMap`
            The map.

        positions : `~astropy.coordinates.SkyCoord` or 2D `~numpy.ndarray`
            The protostars, as `~astrofractal.mass.positions.resolve_positions` returns them.

        size, shape : `~astropy.units.Quantity`, tuple of int
            Width and shape of a cutout.

        Returns
        -------
        observation : `Observation`
            Errors are medians over the cutouts of the uncertainties of the map; where it has none,
            the noise of the column density is the scatter of pixels about the mean of two neighbors
            three pixels away, and that of the velocities is left out.

        Raises
        ------
        ValueError
            If no position has data around it.
        """
        cutouts = [c for c in gas.cutouts(positions, size=size, shape=shape) if not c.mask.all()]
        cutouts = [c for c in cutouts if "outside" not in c.flags]
        if not cutouts:
            msg = "positions: none of them has data around it on the map"
            raise ValueError(msg)
        images = np.stack([c.to_array() for c in cutouts])
        found = channels_of(images)
        channels = max(CHANNEL_SETS, key=lambda c: (found.count(c), len(c)))
        beam = None
        if gas.beam is not None and gas.distance is not None:
            axes = [
                a.to_value(u.rad) * gas.distance.to(u.pc) for a in (gas.beam.major, gas.beam.minor)
            ]
            beam = (*axes, gas.beam.pa)
        velocities = [
            median_error(gas, getattr(gas, f"{name}_uncertainty", None)) for name in CHANNELS[1:]
        ]
        return cls(
            channels,
            beam,
            gas.pixel_scale.to(u.pc),
            _relative_noise(gas),
            *(None if v is None else v * u.km / u.s for v in velocities),
            np.isfinite(images[[set(channels) <= set(names) for names in found]]),
        )

    def fingerprint(self):
        """Return a digest of everything."""
        return fingerprint(*(getattr(self, name) for name in self.__dataclass_fields__))

    def __call__(self, images, random_state=0):
        """
        Return images as they would look on the map.

        Parameters
        ----------
        images : 4D `~numpy.ndarray`, shape (n, 3, ny, nx)
            The model's channels, sharp and complete.

        random_state : int, optional
            The seed of noise and footprints.

        Returns
        -------
        images : 4D float32 `~numpy.ndarray`
            Through the beam, on the pixels, with the noise, each within one of the footprints in a
            random orientation.
        """
        scale = STANDARD_WIDTH / images.shape[-1]
        seen = observe_images(
            images,
            beam=self.beam,
            pixel=self.pixel if self.pixel > 1.05 * scale else None,
            noise=self.noise,
            velocity_noise=self.velocity_noise,
            dispersion_noise=self.dispersion_noise,
            correlated=self.beam is not None,
            random_state=random_state,
        )
        random = np.random.default_rng(random_state)
        for image in seen:
            known = self.footprints[random.integers(len(self.footprints))]
            known = np.rot90(known, random.integers(4), (1, 2))
            image[~(known[:, ::-1] if random.integers(2) else known)] = np.nan
        return seen


def unlike_references(gas, known):
    """
    Tell in what a map was observed worse than reference maps can stand.

    Parameters
    ----------
    gas : `~astrofractal.GasMap`
        The map.

    known : 1D array-like
        The part of the pixels of each cutout that has a column density.

    Returns
    -------
    reasons : list of str
        Beam, pixels, noise and coverage, where they cost skill that a calibration on sharp and
        complete maps does not know to be lost; see ``docs/benchmark/limits_maps.rst``.
    """
    reasons = []
    if gas.distance is not None and gas.beam is not None:
        beam = gas.beam.major.to_value(u.rad) * gas.distance.to(u.pc) / _STANDARD_PIXEL
        if beam >= _LARGEST_BEAM:
            reasons.append(f"a beam of {beam:.1f} px of the reference maps")
    if gas.has_pixel_scale and gas.pixel_scale > _LARGEST_PIXEL * _STANDARD_PIXEL:
        reasons.append(f"pixels of {gas.pixel_scale / _STANDARD_PIXEL:.1f} px")
    if gas.column_density_uncertainty is not None:  # without it the structure of the gas counts
        noise = _relative_noise(gas)
        if noise > _LARGEST_NOISE:
            reasons.append(f"noise of {100 * noise:.0f} % of the column density")
    missing = 1 - np.median(known) if len(known) else 0.0
    if missing > _LARGEST_HOLES:
        reasons.append(f"{100 * missing:.0f} % of a cutout without data")
    return reasons


def _relative_noise(gas):
    column = np.where(gas.mask, np.nan, gas.column_density.value.astype(float))
    return float(min(pixel_noise(gas) / np.nanmedian(column), 1.0))
