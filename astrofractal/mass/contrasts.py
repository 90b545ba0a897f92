"""Aperture contrasts: what the network's structure readout estimates, computed exactly."""

from __future__ import annotations

import numpy as np
import torch

from astrofractal.encoder import ChannelNormalization
from astrofractal.encoder.encoder import magnify
from astrofractal.encoder.structure import n_center_targets, structure_at_center
from astrofractal.gasmap.gas_moments import CHANNELS
from astrofractal.mass.profiles import batched

__all__ = ["CONTRASTS", "aperture_contrasts"]

#: The channel that each of the contrasts needs.
CONTRASTS = tuple(
    np.repeat(["column_density", "velocity", "dispersion", "velocity"], n_center_targets() // 4)
)
_SIGNED = slice(n_center_targets() // 4, n_center_targets() // 2)


@batched
def aperture_contrasts(images: np.ndarray, zoom: float = 4.0) -> np.ndarray:
    """
    Measure the gas in four nested Gaussian apertures around the protostar, without a network.

    These are the targets of the structure readout, computed on the map itself; see
    `~astrofractal.encoder.structure.structure_at_center`.  They do not change when the sky is
    rotated or mirrored or the line of sight is reversed: of the velocity the absolute value is
    taken.

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
