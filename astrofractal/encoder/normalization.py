"""The fixed physical normalization of the model's channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from typing import Any


__all__ = ["ChannelNormalization"]


@dataclass(frozen=True)
class ChannelNormalization:
    """
    Affine normalization of the physical channels, ``(value - center) / scale``.

    It is the same for every map: a minimum-to-maximum stretch of each map would throw away the
    amplitude of the column density and of the velocities, which carries the mass.

    Parameters
    ----------
    center : tuple of float, optional
        One value a channel: log10 of N(H2) in cm-2, line-of-sight velocity and velocity
        dispersion in km/s.

    scale : tuple of float, optional
        One positive value per channel, in the same units.

    Examples
    --------
    >>> import numpy as np
    >>> from astrofractal.encoder import ChannelNormalization
    >>> images = np.full((1, 3, 8, 8), [[[22.5]], [[0.4]], [[0.4]]])
    >>> ChannelNormalization()(images)[0, :, 0, 0].tolist()
    [1.0, 1.0, 0.0]
    """

    center: tuple = (22.0, 0.0, 0.4)
    scale: tuple = (0.5, 0.4, 0.25)

    def __post_init__(self):
        object.__setattr__(self, "center", tuple(float(value) for value in self.center))
        object.__setattr__(self, "scale", tuple(float(value) for value in self.scale))
        if len(self.center) != len(self.scale):
            msg = (
                f"center and scale must have one value per channel, got {self.center}, {self.scale}"
            )
            raise ValueError(msg)
        if not all(value > 0 for value in self.scale):
            msg = f"scale must be positive, got {self.scale}"
            raise ValueError(msg)

    @property
    def n_channels(self) -> int:
        """The number of channels."""
        return len(self.center)

    def __call__(self, images):
        """Normalize a batch of maps."""
        # images (n_images, n_channels, height, width)
        images = np.asarray(images, dtype=np.float32)
        if images.ndim != 4 or images.shape[1] != self.n_channels:
            msg = (
                f"images must have the shape (n_images, {self.n_channels}, height, width), "
                f"got {images.shape}"
            )
            raise ValueError(msg)
        center = np.array(self.center, dtype=np.float32)[:, None, None]
        scale = np.array(self.scale, dtype=np.float32)[:, None, None]
        normalized = (images - center) / scale
        return np.where(np.isfinite(normalized), normalized, np.float32(0))

    def to_dict(self) -> dict[str, Any]:
        """Return the values as a dictionary for the weights' card."""
        return {"center": list(self.center), "scale": list(self.scale)}
