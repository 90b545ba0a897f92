"""Dense features: one feature vector every few pixels of a map of any size."""

from dataclasses import dataclass

import numpy as np

from astrofractal._utils.progress import progress
from astrofractal._utils.validation import positive_int

__all__ = ["DenseFeatures", "dense_features"]


@dataclass(frozen=True)
class DenseFeatures:
    """Features on a regular grid of square cells."""

    values: np.ndarray  # (rows, columns, n_features), zero where not valid
    valid: np.ndarray  # (rows, columns), False where no window with enough good pixels is
    origin: tuple  # pixel (y, x) where the first cell begins, negative where it sticks out
    stride: int  # side of a cell in pixels
    n_windows: int  # windows that went through the encoder
    #: Covariance (n_features, n_features) of the tokens of different windows about the mean of their
    #: cell: what a feature owes to the window and its orientation instead of the gas.
    scatter: np.ndarray | None = None


def dense_features(
    encoder,
    array,
    *,
    stride=None,
    step=None,
    anchor=(0, 0),
    min_good_fraction=0.1,
    turn=False,
    transform=None,
    with_scatter=False,
    dtype=np.float32,
    progress_bar=False,
):
    """Encode overlapping windows of a map and blend their patch tokens."""
    # array (n_channels, height, width)
    array = np.asarray(array)
    if array.ndim != 3 or 0 in array.shape:
        msg = f"array must have the shape (n_channels, height, width), got {array.shape}"
        raise ValueError(msg)
    window, patch = encoder.image_size, encoder.patch_size
    stride = positive_int("stride", patch if stride is None else stride)
    if patch % stride:
        msg = f"stride must divide the patch size of {patch} pixels, got {stride}"
        raise ValueError(msg)
    phases = patch // stride
    if step is None:
        step = max(window // max(2, phases) // patch, 1) * patch
    step = positive_int("step", step)
    if step % stride or step + stride * (phases > 1) > window:
        msg = (
            f"step must be a multiple of stride={stride} and leave no gap between windows of "
            f"{window} pixels, got {step}"
        )
        raise ValueError(msg)
    if not 0 <= min_good_fraction <= 1:
        msg = f"min_good_fraction must be between 0 and 1, got {min_good_fraction!r}"
        raise ValueError(msg)

    good = np.isfinite(array[0])
    filled = _fill(array[: encoder.in_chans])
    axes = [
        _Axis(length, window, step, stride, phases, point)
        for length, point in zip(good.shape, anchor, strict=True)
    ]
    windows = _useful_windows(good, axes, min_good_fraction)
    blender = _Blender(axes, patch // stride, window // patch, dtype, with_squares=with_scatter)
    squares = 0.0
    batches = range(0, len(windows), encoder.batch_size)
    for start in progress(batches, progress_bar, desc="dense features"):
        batch = windows[start : start + encoder.batch_size]
        turns = [_orientation(axes, *place) if turn else 0 for place in batch]
        images = np.stack(
            [
                _turned(filled[:, axes[0].index(y)][:, :, axes[1].index(x)], own, (1, 2))
                for (y, x), own in zip(batch, turns, strict=True)
            ]
        )
        tokens = encoder.patch_features(images)
        if transform is not None:
            tokens = transform(tokens)
        for (y, x), token, own in zip(batch, tokens, turns, strict=True):
            token = _turned_back(token, own)
            weight = blender.add(y, x, token, _share_seen(good, axes, y, x, patch))
            if with_scatter:
                token = token.reshape(len(weight), -1).astype(np.float64)
                squares = squares + (token.T * weight) @ token
    none = np.zeros((1, 1, 1, encoder.embed_dim), np.float32)
    values, valid = blender.finish((none if transform is None else transform(none)).shape[-1])
    scatter = None
    if with_scatter and windows:
        scatter = (squares - blender.squares) / blender.total_weight
    origin = (axes[0].first_cell, axes[1].first_cell)
    return DenseFeatures(values, valid, origin, stride, len(windows), scatter)


class _Axis:
    """Windows and cells along one axis of the map, anchored to a point."""

    def __init__(self, length, window, step, stride, phases, anchor):
        self.length, self.window, self.stride = length, window, stride
        # Window k begins at k steps, plus (k mod phases) strides where steps are whole patches:
        # neighbors have other phases.
        shift = stride if phases > 1 and step % (stride * phases) == 0 else 0
        gap = step + shift
        # Windows stick out of the map by half at most; whatever the steps, all pixels are covered.
        needed = min(window - max(gap, window // 2) + 1, length)
        first = -((anchor + 2 * window) // step) - 2
        last = (length - anchor + 2 * window) // step + 2
        begins = {anchor + k * step + (k % phases) * shift: k for k in range(first, last + 1)}
        self.number = {
            begin: number
            for begin, number in begins.items()
            if min(begin + window, length) - max(begin, 0) >= needed
        }
        self.windows = list(self.number)
        self.first_cell = anchor % stride - (stride if anchor % stride else 0)
        self.n_cells = -(-(length - self.first_cell) // stride)

    def index(self, begin):
        """Pixel indices of a window, reflected at the ends of the map."""
        index = np.arange(begin, begin + self.window)
        if self.length == 1:
            return np.zeros_like(index)
        index = np.abs(index) % (2 * self.length - 2)
        return np.where(index < self.length, index, 2 * self.length - 2 - index)

    def cells(self, begin):
        """Slices of the map's cells and of the window's cells that are the same ones."""
        start = (begin - self.first_cell) // self.stride
        stop = start + self.window // self.stride
        low, high = max(start, 0), min(stop, self.n_cells)
        return slice(low, high), slice(low - start, high - start)


def _useful_windows(good, axes, min_good_fraction):
    """List the (y, x) of the windows with enough good pixels, row by row."""
    total = np.pad(good, ((1, 0), (1, 0))).astype(np.int32).cumsum(0).cumsum(1)
    windows = []
    size = axes[0].window
    for y in axes[0].windows:
        y0, y1 = max(y, 0), min(y + size, axes[0].length)
        for x in axes[1].windows:
            x0, x1 = max(x, 0), min(x + size, axes[1].length)
            n_good = total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0]
            if n_good > 0 and n_good >= min_good_fraction * (y1 - y0) * (x1 - x0):
                windows.append((y, x))
    return windows


def _fill(array):
    """Replace missing values of each channel by the nearest good one."""
    from scipy.ndimage import distance_transform_edt

    filled = np.asarray(array, dtype=np.float32)
    nearest, nearest_of = None, None
    for number, channel in enumerate(filled):
        bad = ~np.isfinite(channel)
        if not bad.any() or bad.all():
            continue
        if filled is array:
            filled = filled.copy()
        if nearest is None or not np.array_equal(bad, nearest_of):
            nearest_of = bad
            nearest = distance_transform_edt(bad, return_distances=False, return_indices=True)
            nearest = tuple(index[bad] for index in nearest)
        filled[number][bad] = channel[nearest]
    return filled


def _share_seen(good, axes, y, x, patch):
    """Share of good pixels in each patch of a window."""
    seen = good[axes[0].index(y)][:, axes[1].index(x)]
    n = len(seen) // patch
    return seen.reshape(n, patch, n, patch).mean((1, 3))


def _orientation(axes, y, x):
    """One of eight orientations: all in turn along rows and columns, the same on any cut of a map."""
    return (axes[0].number[y] + 3 * axes[1].number[x]) % 8


def _turned(image, orientation, axes):
    """Quarter turns, and mirrored from the fourth orientation on."""
    image = np.rot90(image, orientation % 4, axes)
    return np.flip(image, axes[1]) if orientation >= 4 else image


def _turned_back(tokens, orientation):
    tokens = np.flip(tokens, 1) if orientation >= 4 else tokens
    return np.rot90(tokens, -(orientation % 4))


class _Blender:
    """Weighted mean of overlapping windows; only one band of windows is held in 32 bit."""

    def __init__(self, axes, spread, tokens_per_side, dtype, *, with_squares=False):
        self.rows, self.columns = axes
        self.spread, self.dtype = spread, dtype
        n_cells = tokens_per_side * spread
        fade = np.sin(np.pi * (np.arange(n_cells) + 0.5) / n_cells) ** 2
        self.fade = np.outer(fade, fade).astype(np.float32)
        self.height = n_cells
        self.top = 0  # the map's row of cells at the top of the band
        self.band = self.weight = self.values = None
        self.with_squares = with_squares
        self.squares, self.total_weight = 0.0, 0.0
        self.valid = np.zeros((self.rows.n_cells, self.columns.n_cells), dtype=bool)

    def _start(self, n_features):
        width = self.columns.n_cells
        self.band = np.zeros((self.height, width, n_features), np.float32)
        self.weight = np.zeros((self.height, width), np.float32)
        self.values = np.zeros((self.rows.n_cells, width, n_features), self.dtype)

    def _flush(self, top):
        """Finish the rows above ``top``, where no window will follow, and move the band there."""
        n_rows = min(top - self.top, self.height)
        stop = min(self.top + n_rows, self.rows.n_cells)
        done = slice(0, stop - self.top)
        weight = self.weight[done]
        self.valid[self.top : stop] = weight > 0
        mean = self.band[done] / np.where(weight > 0, weight, 1)[..., None]
        self.values[self.top : stop] = mean
        if self.with_squares:
            flat = mean.reshape(weight.size, -1).astype(np.float64)
            self.squares = self.squares + (flat.T * weight.ravel()) @ flat
            self.total_weight += float(weight.sum(dtype=np.float64))
        for buffer in (self.band, self.weight):
            buffer[:-n_rows] = buffer[n_rows:].copy() if n_rows < self.height else 0
            buffer[-n_rows:] = 0
        self.top = top

    def add(self, y, x, tokens, seen):
        """Add the tokens of one window, weighted by their share of good pixels; return their weights."""
        # tokens (rows, columns, features)
        if self.values is None:
            self._start(tokens.shape[-1])
        rows, own_rows = self.rows.cells(y)
        columns, own_columns = self.columns.cells(x)
        if rows.start > self.top:
            self._flush(rows.start)
        whole = self.fade * seen.repeat(self.spread, 0).repeat(self.spread, 1)
        weight = whole[own_rows, own_columns]
        if self.spread > 1:
            tokens = tokens.repeat(self.spread, 0).repeat(self.spread, 1)
        rows = slice(rows.start - self.top, rows.stop - self.top)
        self.band[rows, columns] += weight[..., None] * tokens[own_rows, own_columns]
        self.weight[rows, columns] += weight
        inside = np.zeros_like(whole)
        inside[own_rows, own_columns] = weight
        n = len(whole) // self.spread
        return inside.reshape(n, self.spread, n, self.spread).sum((1, 3)).ravel()

    def finish(self, n_features):
        """Return the features and where they are valid."""
        if self.values is None:
            self._start(n_features)
        self._flush(self.top + self.height)
        return self.values, self.valid
