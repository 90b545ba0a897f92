"""What the regressors are given: pooled features of the encoder, and physics by name."""

from dataclasses import asdict, dataclass, replace

import numpy as np

from astrofractal.gasmap.gas_moments import CHANNELS
from astrofractal.mass.handcrafted import (
    MOMENTS,
    PROFILES,
    SCALARS,
    check_names,
    moments,
    physical_scalars,
    radial_profiles,
)

__all__ = ["CHANNELS", "CHANNEL_SETS", "FeatureSet", "channels_of", "for_encoder", "keep_channels"]

# A channel counts as present where it is known in more than this part of the map.
_LEAST_KNOWN = 0.25

#: The combinations of channels that have their own calibration.
CHANNEL_SETS = (
    ("column_density",),
    ("column_density", "velocity"),
    ("column_density", "dispersion"),
    CHANNELS,
)


def channels_of(images):
    """
    Tell which channels each map has.

    Parameters
    ----------
    images : 4D `~numpy.ndarray`, shape (n_maps, 3, ny, nx)
        The model's channels; an absent one is NaN throughout.  A velocity that is known in less
        than a quarter of the pixels counts as absent.

    Returns
    -------
    channels : list of tuple of str
        One of ``CHANNEL_SETS`` a map.
    """
    known = np.isfinite(images).mean((2, 3))
    there = known > np.maximum(_LEAST_KNOWN * known[:, :1], 0)
    there[:, 0] = True
    return [tuple(name for name, has in zip(CHANNELS, row) if has) for row in there]


def keep_channels(images, channels):
    """
    Blank the channels that are not wanted.

    Parameters
    ----------
    images : 4D `~numpy.ndarray`, shape (n_maps, 3, ny, nx)
        The model's channels.

    channels : tuple of str
        The names to keep.

    Returns
    -------
    images : 4D `~numpy.ndarray`
        The same array where nothing is to be blanked, a copy otherwise.
    """
    absent = [i for i, name in enumerate(CHANNELS) if name not in channels]
    if absent:
        images = np.array(images)
        images[:, absent] = np.nan
    return images


def for_encoder(features, encoder):
    """
    Return features that an encoder has: without a structure readout, the central tokens.

    Parameters
    ----------
    features : `~astrofractal.mass.FeatureSet`
        The features.

    encoder : `~astrofractal.FractalEncoder`
        The encoder.

    Returns
    -------
    features : `~astrofractal.mass.FeatureSet`
        The same ones, or with the pooling ``"central"``.
    """
    if features.pooling == "structure" and "structure" not in getattr(encoder, "heads", {}):
        return replace(features, pooling="central")
    return features


@dataclass(frozen=True)
class FeatureSet:
    """
    Which features a map is described by.

    Parameters
    ----------
    pooling : str or None, optional
        The pooling of the encoder's tokens, or several joined by ``"+"``; see
        `~astrofractal.FractalEncoder.encode`.  `None`: the encoder is not used.

    zoom : float, optional
        The magnification of the map that the encoder sees; see `~astrofractal.FractalEncoder.encode`.

    symmetrize : bool, optional
        Whether the encoder's features are averaged over the symmetries of the sky.

    profiles : tuple of str, optional
        Names of radial profiles; see `~astrofractal.mass.radial_profiles`.

    scalars : tuple of str, optional
        Names of physical scalars; see `~astrofractal.mass.physical_scalars`.

    moments : bool, optional
        Whether the moments and spectral slopes of the channels are added.
    """

    pooling: str | None = "central"
    zoom: float = 1.0
    symmetrize: bool = False
    profiles: tuple = ()
    scalars: tuple = ()
    moments: bool = False

    def __post_init__(self):
        for name, known in (("profiles", PROFILES), ("scalars", SCALARS)):
            value = getattr(self, name)
            value = tuple(known) if isinstance(value, str) and value == "all" else value
            value = (value,) if isinstance(value, str) else tuple(value or ())
            check_names(name, value, known)
            object.__setattr__(self, name, value)
        if not self.zoom >= 1:
            msg = f"zoom must be a number of at least 1, got {self.zoom!r}"
            raise ValueError(msg)
        if self.pooling is None and not (self.profiles or self.scalars or self.moments):
            msg = "features=None needs profiles or scalars: there is nothing else to learn from"
            raise ValueError(msg)

    def __str__(self):
        magnified = f"@{self.zoom:g}x" if self.zoom != 1 else ""
        parts = [self.pooling + magnified] if self.pooling else []
        if self.profiles:
            parts.append("profiles")
        if self.scalars:
            parts.append("scalars")
        if self.moments:
            parts.append("moments")
        return "+".join(parts) + ("(symmetrized)" if self.symmetrize and self.pooling else "")

    def to_dict(self):
        """Return the parameters as plain values."""
        return asdict(self)

    def compute(self, images, channels, *, encoder=None, encoded=None, progress_bar=False):
        """
        Compute the features of maps that have the same channels.

        Parameters
        ----------
        images : 4D `~numpy.ndarray`, shape (n_maps, 3, ny, nx)
            The model's channels.

        channels : tuple of str
            The channels to use; the others are ignored.

        encoder : `~astrofractal.FractalEncoder`, optional
            The encoder.

        encoded : 2D `~numpy.ndarray`, optional
            The encoder's features, where they are known already.

        progress_bar : bool or callable, optional
            Whether to show progress.

        Returns
        -------
        features : 2D float32 `~numpy.ndarray`, shape (n_maps, n_features)
            NaN where a feature has no data.

        blocks : list of int
            The number of features of each kind.
        """
        images = keep_channels(images, channels)
        parts = []
        if self.pooling is not None:
            if encoded is None:
                encoded = encoder.encode(
                    images,
                    pooling=self.pooling,
                    zoom=self.zoom,
                    symmetrize=self.symmetrize,
                    progress_bar=progress_bar,
                )
            parts.append(encoded)
        physics = []
        names = [name for name in self.profiles if PROFILES[name] in channels]
        if names:
            physics.append(radial_profiles(images, names))
        names = [name for name in self.scalars if SCALARS[name] in channels]
        if names:
            physics.append(physical_scalars(images, names))
        if self.moments:
            keep = [i for i, name in enumerate(MOMENTS) if name.startswith(channels)]
            physics.append(moments(images)[:, keep])
        if physics:
            parts.append(np.hstack(physics))
        if not parts:
            msg = f"none of the features can be computed from the channels {', '.join(channels)}"
            raise ValueError(msg)
        return np.hstack(parts).astype(np.float32), [part.shape[1] for part in parts]
