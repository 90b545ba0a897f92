"""Dense features: one feature vector every few pixels of a map of any size, and their components."""

from dataclasses import dataclass
from math import gcd

import numpy as np
from astropy.nddata import NDData

from astrofractal._utils.progress import progress
from astrofractal._utils.validation import positive_int


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
    window, patch = encoder.image_size, encoder.patch_size
    stride = patch if stride is None else stride
    if stride < 1 or patch % stride:
        msg = f"stride must divide the patch size of {patch} pixels, got {stride}"
        raise ValueError(msg)
    if step is None:  # about half a window, at all places within a patch
        numbers = range(1, max(window // 2 // stride, 1) + 1)
        step = stride * max(n for n in numbers if gcd(n, patch // stride) == 1)
    if step % stride or not 0 < step <= window:
        msg = f"step must be a multiple of stride={stride} and leave no gap in {window} px, got {step}"
        raise ValueError(msg)

    good = np.isfinite(array[0])
    axes = [
        _Axis(length, window, step, stride, point)
        for length, point in zip(good.shape, anchor, strict=True)
    ]
    windows = [
        (y, x)
        for y in axes[0].number
        for x in axes[1].number
        if _is_useful(good[max(y, 0) : y + window, max(x, 0) : x + window], min_good_fraction)
    ]
    # Windows that stick out of the map contain its reflection.
    around = ((0, 0), (window, window), (window, window))
    filled = np.pad(_fill(array[: encoder.in_chans]), around, mode="reflect")
    good = np.pad(good, around[1:], mode="reflect")
    n_features, squares = encoder.embed_dim, 0.0
    if transform is not None:
        n_features = transform(np.zeros((1, 1, 1, n_features), np.float32)).shape[-1]
    blender = _Blender(
        axes, patch // stride, window // patch, n_features, dtype, with_squares=with_scatter
    )
    batches = range(0, len(windows), encoder.batch_size)
    for start in progress(batches, progress_bar, desc="dense features"):
        images, turns, seen = [], [], []
        for y, x in windows[start : start + encoder.batch_size]:
            place = slice(y + window, y + 2 * window), slice(x + window, x + 2 * window)
            # All orientations in turn along rows and columns, the same ones on any cut of a map.
            turns.append((axes[0].number[y] + 3 * axes[1].number[x]) % 8 if turn else 0)
            images.append(_turned(filled[:, *place], turns[-1], (1, 2)))
            n = window // patch
            seen.append(good[place].reshape(n, patch, n, patch).mean((1, 3)))
        tokens = encoder.patch_features(np.stack(images))
        if transform is not None:
            tokens = transform(tokens)
        for (y, x), token, own, share in zip(windows[start:], tokens, turns, seen):
            token = _turned_back(token, own)
            weight = blender.add(y, x, token, share)
            if with_scatter:
                token = token.reshape(len(weight), -1).astype(np.float64)
                squares = squares + (token.T * weight) @ token
    values, valid = blender.finish()
    scatter = None
    if with_scatter and windows:
        scatter = (squares - blender.squares) / blender.total_weight
    origin = (axes[0].first_cell, axes[1].first_cell)
    return DenseFeatures(values, valid, origin, stride, len(windows), scatter)


class _Axis:
    """Windows and cells along one axis of the map, anchored to a point."""

    def __init__(self, length, window, step, stride, anchor):
        self.window, self.stride = window, stride
        # Windows stick out of the map by half at most; whatever the steps, all pixels are covered.
        needed = min(window - max(step, window // 2) + 1, length)
        first = -((anchor + 2 * window) // step) - 2
        last = (length - anchor + 2 * window) // step + 2
        #: Number of a window by the pixel where it begins.
        self.number = {
            anchor + k * step: k
            for k in range(first, last + 1)
            if min(anchor + k * step + window, length) - max(anchor + k * step, 0) >= needed
        }
        self.first_cell = anchor % stride - (stride if anchor % stride else 0)
        self.n_cells = -(-(length - self.first_cell) // stride)

    def cells(self, begin):
        """Slices of the map's cells and of the window's cells that are the same ones."""
        start = (begin - self.first_cell) // self.stride
        stop = start + self.window // self.stride
        low, high = max(start, 0), min(stop, self.n_cells)
        return slice(low, high), slice(low - start, high - start)


def _is_useful(good, min_good_fraction):
    """Return whether enough pixels of a window are good."""
    return np.count_nonzero(good) >= max(1, min_good_fraction * good.size)


def _fill(array):
    """Replace missing values of each channel by the nearest good one."""
    from scipy.ndimage import distance_transform_edt

    filled = np.array(array, dtype=np.float32)
    nearest, nearest_of = None, None
    for number, channel in enumerate(filled):
        bad = ~np.isfinite(channel)
        if not bad.any() or bad.all():
            continue
        if nearest is None or not np.array_equal(bad, nearest_of):
            nearest_of = bad
            nearest = distance_transform_edt(bad, return_distances=False, return_indices=True)
            nearest = tuple(index[bad] for index in nearest)
        filled[number][bad] = channel[nearest]
    return filled


def _turned(image, orientation, axes):
    """Quarter turns, and mirrored from the fourth orientation on."""
    image = np.rot90(image, orientation % 4, axes)
    return np.flip(image, axes[1]) if orientation >= 4 else image


def _turned_back(tokens, orientation):
    tokens = np.flip(tokens, 1) if orientation >= 4 else tokens
    return np.rot90(tokens, -(orientation % 4))


class _Blender:
    """Weighted mean of overlapping windows; only one band of windows is held in 32 bit."""

    def __init__(self, axes, spread, tokens_per_side, n_features, dtype, *, with_squares):
        self.rows, self.columns = axes
        self.spread, self.with_squares = spread, with_squares
        self.height = tokens_per_side * spread
        fade = np.sin(np.pi * (np.arange(self.height) + 0.5) / self.height) ** 2
        self.fade = np.outer(fade, fade).astype(np.float32)
        self.top = 0  # the map's row of cells at the top of the band
        n_rows, width = self.rows.n_cells, self.columns.n_cells
        self.band = np.zeros((self.height, width, n_features), np.float32)
        self.weight = np.zeros((self.height, width), np.float32)
        self.values = np.zeros((n_rows, width, n_features), dtype)
        self.valid = np.zeros((n_rows, width), dtype=bool)
        self.squares, self.total_weight = 0.0, 0.0

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

    def finish(self):
        """Return the features and where they are valid."""
        self._flush(self.top + self.height)
        return self.values, self.valid


def principal_components(encoder, gas, n, *, progress_bar=False):
    """Return the first ``n`` components of the patch tokens of a map, from 0 to 1, on its pixels."""
    from sklearn.decomposition import PCA

    n = positive_int("n", n)
    array = gas.to_array()
    dense = dense_features(encoder, array, progress_bar=progress_bar)
    tokens = dense.values[dense.valid].astype(np.float64)
    if n > min(tokens.shape):
        msg = f"n must be at most {min(tokens.shape)}, the tokens or their features, got {n}"
        raise ValueError(msg)
    with np.errstate(invalid="ignore"):  # tokens that are all the same
        model = PCA(n, svd_solver="covariance_eigh").fit(tokens)
    cells = np.full((*dense.valid.shape, n), np.nan)
    cells[dense.valid] = model.transform(tokens)
    height, width = gas.shape
    pixels = cells.repeat(dense.stride, 0).repeat(dense.stride, 1)[:height, :width]
    pixels[~np.isfinite(array[0])] = np.nan
    good = np.isfinite(pixels[..., 0])
    column = array[0][good] - array[0][good].mean()
    for k in range(n):
        values = pixels[good, k]
        # The sign of a component is arbitrary: brighter where there is more gas.
        values *= -1 if values @ column < 0 else 1
        low, high = np.percentile(values, [1, 99])
        pixels[good, k] = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    ratios = np.nan_to_num(model.explained_variance_ratio_)
    meta = {"explained_variance_ratio": ratios, "weights_id": encoder.weights_id}
    return NDData(pixels.astype(np.float32), wcs=gas.wcs, mask=np.isnan(pixels), meta=meta)
