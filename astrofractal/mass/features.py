"""What the regressors are given: pooled features of the encoder, and physics by name."""

from dataclasses import dataclass

import numpy as np
import torch

from astrofractal._utils.annotations import ProgressBar
from astrofractal._utils.validation import at_least
from astrofractal.encoder import ChannelNormalization, FractalEncoder
from astrofractal.encoder.encoder import magnify
from astrofractal.encoder.pooling import check_pooling
from astrofractal.encoder.structure import N_CENTER_TARGETS, structure_at_center
from astrofractal.gasmap.moments import CHANNELS, keep_channels
from astrofractal.mass.measures import N_RINGS, PROFILES, batched, radial_profiles

#: The channel that each of the contrasts needs.
CONTRASTS = tuple(
    np.repeat(["column_density", "velocity", "dispersion", "velocity"], N_CENTER_TARGETS // 4)
)

_SIGNED = slice(N_CENTER_TARGETS // 4, N_CENTER_TARGETS // 2)


@batched
def aperture_contrasts(images: np.ndarray, zoom: float = 4.0) -> np.ndarray:
    """
    Measure the gas in four nested Gaussian apertures around the protostar, without a network.

    They do not change when the sky is rotated or mirrored or the line of sight is reversed: of the
    velocity the absolute value is taken.

    Parameters
    ----------
    images : 4D `~numpy.ndarray`, shape (n_maps, 3, ny, nx)
        The model's channels; NaN where there is no data.
    zoom : float, optional
        The magnification about the center; the apertures are 0.7 to 5.6 px wide after it.

    Returns
    -------
    contrasts : 2D float32 `~numpy.ndarray`, shape (n_maps, 16)
        Of log column density, velocity, log dispersion and log scatter of the velocity in turn: the
        level in the widest aperture, and the differences of each aperture from the next wider one.
        Those of an absent channel are NaN.
    """
    normalization = ChannelNormalization()
    views = magnify(torch.from_numpy(normalization(images)), zoom)
    contrasts = structure_at_center(views, normalization).numpy()
    contrasts[:, _SIGNED] = np.abs(contrasts[:, _SIGNED])
    known = np.isfinite(images).any((2, 3))
    contrasts[~known[:, [CHANNELS.index(name) for name in CONTRASTS]]] = np.nan
    return contrasts


@dataclass(frozen=True)
class FeatureSet:
    """
    Which features a map is described by.

    Parameters
    ----------
    pooling : tuple of str, optional
        The poolings of the encoder's tokens; see `~astrofractal.encoder.pooling.pool_tokens`.  One
        name may stand for a tuple of one.  Empty or `None`: the encoder is not used.
    zoom : float, optional
        The magnification about the protostar, of the map that the encoder receives and for the
        contrasts; see `~astrofractal.FractalEncoder.encode`.
    symmetrize : bool, optional
        Whether the encoder's features are averaged over the sixteen symmetries of the sky.  Without
        it the encoder processes each map once, in a sixteenth of the time.
    profiles, contrasts : bool, optional
        Whether the thirty `~astrofractal.mass.radial_profiles` and the sixteen
        `~astrofractal.mass.aperture_contrasts` are added.

    Raises
    ------
    ValueError
        If a pooling is unknown, ``zoom`` is below one, or there is no feature at all.

    Examples
    --------
    >>> from astrofractal.mass import FeatureSet
    >>> str(FeatureSet(profiles=True))
    'central+scatter@4x(symmetrized)+profiles'
    """

    pooling: tuple[str, ...] | str | None = ("central", "scatter")
    zoom: float = 4.0
    symmetrize: bool = True
    profiles: bool = False
    contrasts: bool = False

    def __post_init__(self):
        object.__setattr__(self, "pooling", check_pooling(self.pooling) if self.pooling else ())
        object.__setattr__(self, "profiles", bool(self.profiles))  # a tuple in older files
        at_least("zoom", self.zoom, 1)
        if not (self.pooling or self.profiles or self.contrasts):
            msg = f"features must not be empty: give pooling, profiles or contrasts, got {self!r}"
            raise ValueError(msg)

    def __str__(self):
        parts = []
        if self.pooling:
            magnified = f"@{self.zoom:g}x" if self.zoom != 1 else ""
            parts.append("+".join(self.pooling) + magnified)
            parts[0] += "(symmetrized)" if self.symmetrize else ""
        return "+".join(parts + [n for n in ("profiles", "contrasts") if getattr(self, n)])

    def compute(
        self,
        images: np.ndarray,
        channels: tuple[str, ...],
        *,
        encoder: FractalEncoder | None = None,
        encoded: np.ndarray | None = None,
        progress_bar: ProgressBar = False,
    ) -> tuple[np.ndarray, list[int]]:
        """
        Return the features of maps, NaN where there is no data, and the number of each kind.

        Parameters
        ----------
        images, channels : 4D `~numpy.ndarray`, shape (n_maps, 3, ny, nx), and tuple of str
            The model's channels, and which of them to use.
        encoder, encoded : `~astrofractal.FractalEncoder` or 2D `~numpy.ndarray`
            What encodes the maps, or its features where they are known already.
        progress_bar : bool or callable, optional
            Whether to show progress.

        Returns
        -------
        features, blocks : 2D float32 `~numpy.ndarray`, shape (n_maps, n_features), and list of int
            The encoder's features, then profiles and contrasts.
        """
        images = keep_channels(images, channels)
        if self.pooling and encoded is None:
            if encoder is None:
                msg = f"encoder must be given for the pooled features {self.pooling}"
                raise ValueError(msg)
            encoded = encoder.encode(
                images,
                pooling=self.pooling,
                zoom=self.zoom,
                symmetrize=self.symmetrize,
                progress_bar=progress_bar,
            )
        parts = [np.asarray(encoded)] if self.pooling else []
        physics = []
        if self.profiles:
            keep = np.repeat([name in channels for name in PROFILES.values()], N_RINGS)
            physics.append(radial_profiles(images)[:, keep])
        if self.contrasts:
            keep = np.isin(CONTRASTS, channels)
            physics.append(aperture_contrasts(images, self.zoom)[:, keep])
        if physics:
            parts.append(np.hstack(physics))
        return np.hstack(parts).astype(np.float32), [part.shape[1] for part in parts]
