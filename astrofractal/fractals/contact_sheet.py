"""Many flames in one picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from astrofractal._utils.atomic import atomic_path
from astrofractal._utils.validation import one_of
from astrofractal.fractals.stream import STREAM_RENDERINGS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    from astrofractal._utils.annotations import PathLike


__all__ = ["write_contact_sheet"]

_MAPS = ("inferno", "RdBu_r", "viridis")
_GAP = 2


def _grid(tiles, n_columns):
    """Lay out tiles of shape (size, size, 3) on white."""
    size = tiles[0].shape[0]
    n_rows = -(-len(tiles) // n_columns)
    sheet = np.ones((n_rows * (size + _GAP) + _GAP, n_columns * (size + _GAP) + _GAP, 3))
    for k, tile in enumerate(tiles):
        y, x = (_GAP + (size + _GAP) * i for i in divmod(k, n_columns))
        sheet[y : y + size, x : x + size] = tile[::-1]
    return sheet


def _stretch(channel, cmap, *, symmetric):
    """Color a channel between its extreme percentiles."""
    low, high = np.percentile(channel, [0.5, 99.5])
    if symmetric:
        middle = np.median(channel)
        half = max(high - middle, middle - low)
        low, high = middle - half, middle + half
    return cmap(np.clip((channel - low) / max(high - low, 1e-6), 0, 1))[..., :3]


def write_contact_sheet(
    images: Sequence[np.ndarray],
    path: PathLike,
    *,
    rendering: Literal["gas", "moments", "palette"] = "gas",
    n_columns: int = 8,
) -> None:
    """
    Write many flames as one PNG.

    Parameters
    ----------
    images : sequence of 3D `~numpy.ndarray`
        Images of shape (3, size, size).

    path : path-like
        The file to write.

    rendering : {"gas", "moments", "palette"}, optional
        What the channels are.  Those of ``"palette"`` are colors; those of the others are shown
        side by side, each image between its own extremes.

    n_columns : int, optional
        The number of images in a row.
    """
    from matplotlib import colormaps
    from matplotlib.image import imsave

    one_of("rendering", rendering, STREAM_RENDERINGS)
    if not len(images):
        msg = "images must not be empty"
        raise ValueError(msg)
    if rendering == "palette":
        sheet = _grid([np.moveaxis(image, 0, -1) for image in images], n_columns)
    else:
        sheet = np.concatenate(
            [
                _grid(
                    [_stretch(im[k], colormaps[name], symmetric=k == 1) for im in images], n_columns
                )
                for k, name in enumerate(_MAPS)
            ],
            axis=1,
        )
    with atomic_path(path) as temporary:
        imsave(temporary, sheet, format="png")
