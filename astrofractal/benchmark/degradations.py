"""Maps as they are seen less well: noise, beam, pixels, masks, centers that are off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy import units as u
from scipy.ndimage import gaussian_filter

from astrofractal.gasmap.moments import CHANNEL_SETS, CHANNELS, STANDARD_WIDTH
from astrofractal.mapset import MapSet
from astrofractal.observing import observe_images

__all__ = ["DEGRADATIONS", "Degradation"]


@dataclass(frozen=True)
class Degradation:
    """
    One way and degree of seeing less.

    Parameters
    ----------
    kind : str
        ``"none"``, ``"signal-to-noise"``, ``"beam"`` (FWHM in pixels), ``"pixels"`` (the width of a
        pixel in pixels), ``"mask"`` (the part of the map that is masked), ``"off-center"`` (pixels) or
        ``"channels"`` (the number that is left).

    level : float
        How much.

    channels : tuple of str, optional
        The channels that are left.
    """

    kind: str
    level: float
    channels: tuple = CHANNELS

    def apply(self, maps: MapSet, *, random_state: int = 0) -> MapSet:
        """
        Degrade maps.

        Parameters
        ----------
        maps : `~astrofractal.mapset.MapSet`
            The maps; they are not changed.

        random_state : int, optional
            The seed of noise, masks and directions.

        Returns
        -------
        degraded : `~astrofractal.mapset.MapSet`
            The same protostars.  Missing channels are left to the method that does not see them.
        """
        if self.kind in ("none", "channels"):
            return maps
        images = self._images(maps.images, np.random.default_rng(random_state))
        return MapSet(
            images, maps.masses, clouds=maps.clouds, protostars=maps.protostars, times=maps.times,
            axes=maps.axes, represents=maps.represents, pixel_scale=maps.pixel_scale,
        )  # fmt: skip

    def _images(self, images, generator):
        if self.kind == "signal-to-noise":
            velocity = 0.4 / self.level * u.km / u.s  # of the typical dispersion, 0.4 km/s
            noise = {"velocity_noise": velocity, "dispersion_noise": velocity}
            noise["random_state"] = generator
            return observe_images(images, noise=1 / self.level, **noise)
        if self.kind == "beam":
            return observe_images(images, beam=self.level * u.pix)
        if self.kind == "pixels":
            return observe_images(images, pixel=self.level * STANDARD_WIDTH / images.shape[-1])
        if self.kind == "mask":
            return _masked(images, self.level, generator)
        return _shifted(images, int(self.level), generator)


def _masked(images, part, generator):
    """Blank ragged islands, some six pixels wide, of each map."""
    field = gaussian_filter(generator.standard_normal(images[:, 0].shape), (0, 3, 3))
    hidden = field < np.quantile(field, part, axis=(1, 2), keepdims=True)
    return np.where(hidden[:, None], np.nan, images)


def _shifted(images, distance, generator):
    """Move each map along one axis or the other; the border is repeated."""
    padded = np.pad(images, [(0, 0), (0, 0), (distance, distance), (distance, distance)], "edge")
    ny, nx = images.shape[2:]
    moved = np.empty_like(images)
    for i, k in enumerate(generator.integers(4, size=len(images))):
        y, x = distance + distance * np.array([(1, 0), (-1, 0), (0, 1), (0, -1)][k])
        moved[i] = padded[i, :, y : y + ny, x : x + nx]
    return moved


#: What the study of degradations goes through, the most telling first.
DEGRADATIONS = (
    Degradation("none", 0),
    Degradation("signal-to-noise", 10),
    Degradation("beam", 4),
    Degradation("channels", 1, CHANNELS[:1]),
    Degradation("off-center", 1),
    Degradation("pixels", 2),
    Degradation("signal-to-noise", 3),
    Degradation("mask", 0.3),
    Degradation("beam", 2),
    Degradation("off-center", 2),
    Degradation("beam", 8),
    Degradation("signal-to-noise", 30),
    Degradation("pixels", 4),
    Degradation("mask", 0.1),
    *(Degradation("channels", 2, channels) for channels in CHANNEL_SETS if len(channels) == 2),
)
