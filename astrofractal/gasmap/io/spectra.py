"""Moments of spectra: noise, the mask of what is signal, the moments and their errors."""

import numpy as np
from scipy import ndimage

__all__ = ["moments", "signal_mask", "spectrum_noise"]

#: Median of the absolute value of the negative half of a Gaussian, in units of its sigma.
_HALF_NORMAL = 0.6744897501960817


def spectrum_noise(data):
    """
    Return the noise of each spectrum, from its negative values.

    Spectra with fewer than five of them are taken as free of noise.
    """
    n_negative = (data < 0).sum(axis=0)
    # Sorted along memory, negative values come first: many times faster than a median beside NaN.
    spectra = np.moveaxis(np.fmin(data, 0), 0, -1)
    spectra = np.sort(np.ascontiguousarray(spectra), axis=-1)
    middle = (np.maximum(n_negative - 1, 0) // 2, n_negative // 2)
    middle = np.minimum(np.stack(middle, axis=-1), len(data) - 1)
    median = -np.take_along_axis(spectra, middle, axis=-1).mean(axis=-1)
    return np.where(n_negative >= 5, median / _HALF_NORMAL, 0.0)


def signal_mask(data, noise, *, snr=4.0, snr_edge=1.5, widen=0.25):
    """
    Return where spectra have signal.

    Parameters
    ----------
    data : 3D `~numpy.ndarray`
        Intensities, the spectral axis first.

    noise : 2D `~numpy.ndarray`
        The rms of a channel.

    snr, snr_edge : float, optional
        A run of channels above ``snr_edge`` times the noise counts if two adjacent channels of it
        are above ``snr`` times the noise.

    widen : float, optional
        Fraction of its length by which each run is widened on both sides, rounded up.

    Returns
    -------
    mask : 3D `~numpy.ndarray` of bool
        `True` where there is signal.
    """
    with np.errstate(invalid="ignore"):
        core = data > snr * noise
        edge = data > snr_edge * noise
    seed = np.zeros_like(core)
    pair = core[1:] & core[:-1]
    seed[1:] |= pair
    seed[:-1] |= pair
    along = np.zeros((3, 3, 3), bool)
    along[:, 1, 1] = True
    mask = ndimage.binary_propagation(seed, structure=along, mask=edge | seed)
    return _widened(mask, widen) & np.isfinite(data)


def _widened(mask, fraction):
    """Return the runs of a mask along its first axis, widened by a fraction of their length."""
    if not fraction:
        return mask
    n_channels = mask.shape[0]
    flat = mask.reshape(n_channels, -1).T
    steps = np.diff(np.pad(flat, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    (spectrum, start), end = np.nonzero(steps == 1), np.nonzero(steps == -1)[1]
    pad = np.ceil(fraction * (end - start)).astype(int)
    count = np.zeros((flat.shape[0], n_channels + 1), dtype=np.int32)
    np.add.at(count, (spectrum, np.maximum(start - pad, 0)), 1)
    np.add.at(count, (spectrum, np.minimum(end + pad, n_channels)), -1)
    return (count.cumsum(axis=1)[:, :-1] > 0).T.reshape(mask.shape)


def moments(data, velocity, width, noise, levels, *, use):
    """Return W, its error, v, its error, sigma and its error, (6, ny, nx), NaN without signal."""
    snr, snr_edge, widen = levels
    shape = data.shape[1:]
    noise = np.broadcast_to(noise, shape)
    with np.errstate(invalid="ignore"):
        core = (data > snr * noise) & use[:, None, None]
    # Most of the sky is empty: the others need no more than this.
    there = (core[1:] & core[:-1]).any(axis=0)
    planes = np.full((6, *shape), np.nan)
    data, noise = np.where(use[:, None], data[:, there], np.nan), noise[there]
    mask = signal_mask(data[..., None], noise[:, None], snr=snr, snr_edge=snr_edge, widen=widen)
    mask = mask[..., 0]
    dv, v = width[:, None], velocity[:, None]
    weights = np.where(mask, data, 0) * dv
    with np.errstate(invalid="ignore", divide="ignore"):
        total = weights.sum(axis=0)
        total = np.where(total > 0, total, np.nan)
        mean = (weights * v).sum(axis=0) / total
        offset = np.where(mask, v - mean, 0)
        square = (weights * offset**2).sum(axis=0) / total
        sigma = np.sqrt(np.where(square > 0, square, np.nan))
        element = mask * dv**2
        total_error = noise * np.sqrt(element.sum(axis=0))
        mean_error = noise * np.sqrt((element * offset**2).sum(axis=0)) / total
        spread = np.where(mask, offset**2 - square, 0)
        sigma_error = noise * np.sqrt((element * spread**2).sum(axis=0)) / (2 * total * sigma)
    planes[:, there] = total, total_error, mean, mean_error, sigma, sigma_error
    return planes
