"""Centering: whether a map is centered on the local peak of its gas, and where that is."""

import numpy as np
from scipy.ndimage import gaussian_filter

__all__ = ["PEAKS", "is_off_center", "peak_offset"]

#: What may be peaked at a protostar: the column density, or the column density times the square of
#: the velocity dispersion.
PEAKS = ("column", "kinematic")

_REACH = 3.0  # px of the standard map
_SMOOTHING = 0.7
_TOLERANCE = 1.01  # one px, and rounding


def peak_offset(image, kind):
    """
    Find the local peak around the center of a map.

    Parameters
    ----------
    image : 3D `~numpy.ndarray`, shape (3, ny, nx)
        The model's channels; NaN where there is no data.

    kind : {"column", "kinematic"}
        See `PEAKS`.

    Returns
    -------
    dx, dy : float
        From the center to the highest pixel within three pixels of it, after smoothing by a
        Gaussian of 0.7 px; zero where that is within one pixel or nothing is known.
    """
    ny, nx = image.shape[1:]
    y, x = np.mgrid[:ny, :nx] - np.array([(ny - 1) / 2, (nx - 1) / 2])[:, None, None]
    near = np.s_[max(ny // 2 - 8, 0) : ny // 2 + 8, max(nx // 2 - 8, 0) : nx // 2 + 8]
    log_n, _, dispersion = (channel[near] for channel in image)
    value = log_n
    if kind == "kinematic":
        value = 10.0 ** (log_n - 22) * dispersion**2
    known = np.isfinite(value)
    if not known.any():
        return 0.0, 0.0
    weight = gaussian_filter(known.astype(float), _SMOOTHING)
    lowest = value[known].min()
    smooth = gaussian_filter(np.where(known, value - lowest, 0).astype(float), _SMOOTHING)
    inside = known & (np.hypot(x, y)[near] <= _REACH)
    if not inside.any():
        return 0.0, 0.0
    best = np.argmax(np.where(inside, smooth / np.maximum(weight, 1e-6), -np.inf))
    dx, dy = float(x[near].flat[best]), float(y[near].flat[best])
    return (dx, dy) if np.hypot(dx, dy) > _TOLERANCE else (0.0, 0.0)


def is_off_center(image):
    """
    Tell whether no local peak is within one pixel of the center.

    Parameters
    ----------
    image : 3D `~numpy.ndarray`, shape (3, ny, nx)
        The model's channels.

    Returns
    -------
    off : bool
        Whether the peak of the column density lies farther off, and that of the column density
        times the square of the dispersion too, where this is known.
    """
    kinds = PEAKS if np.isfinite(image[2]).any() else PEAKS[:1]
    return all(any(peak_offset(image, kind)) for kind in kinds)
