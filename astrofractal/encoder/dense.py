"""Dense features: one feature vector every few pixels of a map of any size."""

from dataclasses import dataclass

import numpy as np

from astrofractal._utils.progress import progress
from astrofractal._utils.validation import positive_int

__all__ = ["DenseFeatures", "dense_features"]


@dataclass(frozen=True)
class DenseFeatures:
    """
    Features on a regular grid of square cells.

    Parameters
    ----------
    values : 3D `~numpy.ndarray`, shape (rows, columns, n_features)
        The features; zero where ``valid`` is `False`.

    valid : 2D bool `~numpy.ndarray`, shape (rows, columns)
        `False` in the cells that no window with enough good pixels covers.

    origin : tuple of int
        Pixel index (y, x) of the first pixel of the first cell.  It can be negative: the cells are
        anchored to ``anchor`` and the first one may stick out of the map.

    stride : int
        Side of a cell in pixels.

    n_windows : int
        The number of windows that went through the encoder.

    positions : 3D `~numpy.ndarray`, shape (rows, columns, embed_dim), optional
        What was subtracted from the tokens because of their position in the window.
    """

    values: np.ndarray
    valid: np.ndarray
    origin: tuple
    stride: int
    n_windows: int
    positions: np.ndarray | None = None


def dense_features(
    encoder,
    array,
    *,
    stride=None,
    step=None,
    anchor=(0, 0),
    min_good_fraction=0.1,
    transform=None,
    center_positions=False,
    dtype=np.float32,
    progress_bar=False,
):
    """
    Encode overlapping windows of a map and blend their patch tokens.

    Windows of the encoder's own size cover the map, each pixel by about four of them.  A token is
    spread over the cells of its patch, and the tokens that fall on one cell are averaged with
    weights that fade to the border of their window (a Hann window), where the encoder sees only
    one side of a structure.  With a ``stride`` smaller than the patch, neighboring windows are
    displaced by a fraction of a patch, so that the cells see their surroundings through patches of
    several phases.

    Parameters
    ----------
    encoder : `~astrofractal.encoder.FractalEncoder`
        The encoder; ``image_size``, ``patch_size``, ``embed_dim``, ``in_chans``, ``batch_size`` and
        ``patch_features`` are used.

    array : 3D `~numpy.ndarray`, shape (n_channels, height, width)
        Physical channels as `astrofractal.GasMap.to_array` returns them.  Pixels that are not finite
        in the first channel are bad.  A channel that is nowhere finite is left to the encoder;
        elsewhere missing values are replaced by the nearest good one before encoding, and outside
        the map it is continued by reflection.

    stride : int, optional
        Side of a cell in pixels, a divisor of the patch size; the patch size by default.

    step : int, optional
        Mean distance between neighboring windows in pixels, a multiple of ``stride``.  By default
        half a window, or less if the phases of ``stride`` need it.

    anchor : tuple of int, optional
        A pixel (y, x), inside the map or not, on which a window begins.  Maps cut from one map agree
        where their anchors are the same point of the sky.

    min_good_fraction : float, optional
        A window with a smaller share of good pixels is left out.

    transform : callable, optional
        Applied to the tokens, 4D array (n_windows, rows, columns, embed_dim), before they are
        blended; a linear projection keeps the memory small.

    center_positions : bool, optional
        Subtract from the tokens the mean over all windows of the tokens at the same position in
        the window, less the mean over all positions: a Vision Transformer also tells where in its
        window a token is, which draws the grid of the windows on the map.  The
        means are shrunk by what they owe to chance, to zero where windows are few.

    dtype : `~numpy.dtype`, optional
        Type of the result; sums are made in 32 bit.

    progress_bar : bool or callable, optional
        Whether to show progress.

    Returns
    -------
    features : `~astrofractal.encoder.dense.DenseFeatures`
        The features, on cells that cover the map.

    Raises
    ------
    ValueError
        If ``array`` is not 3D, or ``stride`` or ``step`` do not fit the patch and the window.
    """
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
    blender = _Blender(axes, patch // stride, window // patch, dtype)
    positions = _Positions() if center_positions else None
    batches = range(0, len(windows), encoder.batch_size)
    for start in progress(batches, progress_bar, desc="dense features"):
        batch = windows[start : start + encoder.batch_size]
        images = np.stack([filled[:, axes[0].index(y)][:, :, axes[1].index(x)] for y, x in batch])
        tokens = encoder.patch_features(images)
        if transform is not None:
            tokens = transform(tokens)
        for (y, x), token in zip(batch, tokens, strict=True):
            seen = _share_seen(good, axes, y, x, patch)
            blender.add(y, x, token, seen)
            if center_positions:
                positions.add(token, seen)
    n_features = encoder.embed_dim
    if transform is not None:
        n_features = transform(np.zeros((1, 1, 1, n_features), np.float32)).shape[-1]
    values, valid = blender.finish(n_features)
    means = None
    if center_positions and windows:
        means = positions.means()
        # Blending is linear: take the blended means from the blended tokens.
        offset = _Blender(axes, patch // stride, window // patch, dtype, subtract_from=values)
        for y, x in windows:
            offset.add(y, x, means, _share_seen(good, axes, y, x, patch))
        values, _ = offset.finish(n_features)
    origin = (axes[0].first_cell, axes[1].first_cell)
    return DenseFeatures(values, valid, origin, stride, len(windows), means)


class _Axis:
    """Windows and cells along one axis of the map, anchored to a point."""

    def __init__(self, length, window, step, stride, phases, anchor):
        self.length, self.window, self.stride = length, window, stride
        # Window k begins at k steps plus (k mod phases) strides: neighbors have other phases.
        gap = step + (stride if phases > 1 else 0)
        needed = min(window - gap + 1, length)
        first = -((anchor + 2 * window) // step) - 2
        last = (length - anchor + 2 * window) // step + 2
        begins = (anchor + k * step + (k % phases) * stride for k in range(first, last + 1))
        self.windows = [
            begin for begin in begins if min(begin + window, length) - max(begin, 0) >= needed
        ]
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


class _Positions:
    """Means of the tokens at each position in the window."""

    # Windows overlap and gas has large structures: of so many windows one counts as independent.
    N_ALIKE = 8

    def __init__(self):
        self.total, self.weight, self.squares, self.n_windows = 0.0, 0.0, 0.0, 0

    def add(self, tokens, seen):
        self.total = self.total + seen[..., None] * tokens
        self.weight = self.weight + seen
        self.squares += float((seen * (tokens.astype(np.float64) ** 2).sum(-1)).sum())
        self.n_windows += 1

    def means(self):
        """Means less the mean of all, shrunk by what chance makes of them (James & Stein 1961)."""
        weight = self.weight.sum()
        mean = self.total / np.maximum(self.weight, 1e-12)[..., None]
        overall = self.total.sum((0, 1)) / weight
        deviation = np.where(self.weight[..., None] > 0, mean - overall, 0)
        spread = (self.weight * (deviation**2).sum(-1)).sum() / weight
        scatter = max(self.squares / weight - (overall**2).sum() - spread, 0.0)
        chance = scatter * self.N_ALIKE / self.n_windows
        kept = max(0.0, 1 - chance / spread) if spread > 0 else 0.0
        return (kept * deviation).astype(np.float32)


class _Blender:
    """Weighted mean of overlapping windows; only one band of windows is held in 32 bit."""

    def __init__(self, axes, spread, tokens_per_side, dtype, *, subtract_from=None):
        self.rows, self.columns = axes
        self.spread, self.dtype = spread, dtype
        n_cells = tokens_per_side * spread
        fade = np.sin(np.pi * (np.arange(n_cells) + 0.5) / n_cells) ** 2
        self.fade = np.outer(fade, fade).astype(np.float32)
        self.height = n_cells
        self.top = 0  # the map's row of cells at the top of the band
        self.band = self.weight = self.values = None
        self.former = subtract_from
        self.valid = np.zeros((self.rows.n_cells, self.columns.n_cells), dtype=bool)

    def _start(self, n_features):
        width = self.columns.n_cells
        self.band = np.zeros((self.height, width, n_features), np.float32)
        self.weight = np.zeros((self.height, width), np.float32)
        self.values = self.former
        if self.values is None:
            self.values = np.zeros((self.rows.n_cells, width, n_features), self.dtype)

    def _flush(self, top):
        """Finish the rows above ``top``, where no window will follow, and move the band there."""
        n_rows = min(top - self.top, self.height)
        stop = min(self.top + n_rows, self.rows.n_cells)
        done = slice(0, stop - self.top)
        weight = self.weight[done]
        self.valid[self.top : stop] = weight > 0
        mean = self.band[done] / np.where(weight > 0, weight, 1)[..., None]
        if self.former is None:
            self.values[self.top : stop] = mean
        else:
            self.values[self.top : stop] -= mean.astype(self.dtype)
        for buffer in (self.band, self.weight):
            buffer[:-n_rows] = buffer[n_rows:].copy() if n_rows < self.height else 0
            buffer[-n_rows:] = 0
        self.top = top

    def add(self, y, x, tokens, seen):
        """Add the tokens (rows, columns, features) of one window, weighted by what they saw."""
        if self.values is None:
            self._start(tokens.shape[-1])
        rows, own_rows = self.rows.cells(y)
        columns, own_columns = self.columns.cells(x)
        if rows.start > self.top:
            self._flush(rows.start)
        weight = self.fade * seen.repeat(self.spread, 0).repeat(self.spread, 1)
        weight = weight[own_rows, own_columns]
        if self.spread > 1:
            tokens = tokens.repeat(self.spread, 0).repeat(self.spread, 1)
        rows = slice(rows.start - self.top, rows.stop - self.top)
        self.band[rows, columns] += weight[..., None] * tokens[own_rows, own_columns]
        self.weight[rows, columns] += weight

    def finish(self, n_features):
        """Return the features and where they are valid."""
        if self.values is None:
            self._start(n_features)
        self._flush(self.top + self.height)
        return self.values, self.valid
