"""Views of a flame that change what a mass does not depend on, and nothing else.

The random numbers of a view are functions of the seed, the image's number in the run and the view's
number alone, so that any number of processes draws the same views, on any device.
"""

import math
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F

from astrofractal.encoder import ChannelNormalization
from astrofractal.encoder.backbone import full_precision
from astrofractal.pretraining.random_numbers import Numbers

#: The magnification at which masses are estimated.
MASS_ZOOM = 4.0

# The symmetries of the square: what takes a point (x, y) of a view to one of the image.
_SYMMETRIES = torch.tensor(
    [[[c, -s], [s, c]] for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))]
    + [[[c, s], [s, -c]] for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))],
    dtype=torch.float32,
)


@dataclass(frozen=True)
class Geometry:
    """Where the views of a batch lie on their images."""

    zoom: torch.Tensor  # magnification: pixels of the view per pixel of the image
    center: torch.Tensor  # (batch, 2): (x, y) of the view's in pixels from the image's
    symmetry: torch.Tensor  # number of one of the eight rotations and reflections of the square
    sign: torch.Tensor  # -1 where the line of sight is reversed, else 1

    def tokens_in(self, other, grid):
        """Return the patches of these views that show those of other views of the same places."""
        return _same_patches(grid).to(self.symmetry.device)[self.symmetry, other.symmetry]


@cache
def _same_patches(grid):
    """Table (8, 8, grid**2): patch of a view with the first symmetry, for those with the second."""
    line = torch.arange(grid) - (grid - 1) / 2
    y, x = torch.meshgrid(line, line, indexing="ij")
    points = torch.stack([x.flatten(), y.flatten()])
    on_image = _SYMMETRIES @ points  # (8, 2, grid**2)
    back = _SYMMETRIES.transpose(1, 2)[:, None] @ on_image[None]  # orthogonal: inverse = transpose
    column, row = (back + (grid - 1) / 2).round().long().unbind(2)
    return row * grid + column


class ViewSampler:
    """Draw augmented views of a batch of flames."""

    def __init__(self, recipe, step, share=slice(None), *, view=0, device="cpu"):
        self.recipe = recipe
        self.device = torch.device(device)
        self.is_gas = recipe.images.rendering == "gas"
        first = step * recipe.batch_size
        images = range(first, first + recipe.batch_size)[share]
        self.numbers = Numbers(recipe.seed, images, view, self.device)

    def uniform(self, *shape, low=0.0, high=1.0):
        """Draw uniform numbers of shape ``(batch, *shape)``."""
        return low + (high - low) * self.numbers.uniform(*shape)

    def log_uniform(self, low, high):
        """Draw one number per image, uniform in the logarithm."""
        return low * torch.exp(self.uniform(high=math.log(high / low)))

    def chance(self, probability):
        """Draw one boolean per image, shaped to multiply a batch of images."""
        return (self.uniform() < probability)[:, None, None, None]

    def geometry(self, source_size):
        """Draw a place on each image, a symmetry of the square and the sense of the line of sight."""
        views = self.recipe.views
        margin = (source_size - views.image_size) // 2
        # The cube keeps most views nearly centered, as gas maps are on their protostar.
        offset = self.uniform(2, low=-1, high=1) ** 3
        center = (min(views.max_shift, margin) * offset).round()
        if views.scale_min < 1:  # random resized crops: a square of a part of the area
            side = self.uniform(low=views.scale_min, high=1.0).sqrt()
            center = 0.5 * source_size * self.uniform(2, low=-1, high=1) * (1 - side)[:, None]
            zoom = views.image_size / source_size / side
        else:
            zoom = torch.ones(len(center), device=self.device)
        if views.zoom_probability:
            magnified = self.uniform() < views.zoom_probability
            free = self.log_uniform(1.0, views.zoom_max)
            fixed = self.uniform() < views.mass_zoom_probability
            zoom = torch.where(magnified, torch.where(fixed, MASS_ZOOM, free), zoom)
            center = torch.where(magnified[:, None], views.jitter * offset, center)
        return Geometry(zoom, center, *self._symmetry())

    def _symmetry(self):
        symmetry = self.uniform(high=8).long().clamp_max(7)
        return symmetry, torch.where(self.uniform() < 0.5, -1.0, 1.0)

    def symmetric(self, geometry):
        """Draw other views of the same places: turned, reversed, moved by a part of a pixel."""
        moved = geometry.center + self.uniform(2, low=-0.5, high=0.5)
        return Geometry(geometry.zoom, moved, *self._symmetry())

    def local(self, geometry):
        """Draw crops of half the width or less in the inner half of views, magnified by 1 to 2."""
        zoom = geometry.zoom * torch.exp(self.uniform(low=-0.35, high=0.7))
        reach = 0.25 * self.recipe.views.image_size / geometry.zoom
        center = geometry.center + reach[:, None] * self.uniform(2, low=-1, high=1)
        return Geometry(zoom, center, *self._symmetry())

    def cut(self, images, geometry, size=None):
        """Cut views out of a batch of images, by bicubic interpolation."""
        # images (batch, n_channels, source_size, source_size)
        size, source = size or self.recipe.views.image_size, images.shape[-1]
        with full_precision(images.device):
            scale = size / source / geometry.zoom
            turn = scale[:, None, None] * _SYMMETRIES.to(scale.device)[geometry.symmetry]
            theta = torch.cat([turn, 2 * geometry.center[:, :, None] / source], 2)
            grid = F.affine_grid(theta, (*images.shape[:2], size, size), align_corners=False)
            views = F.grid_sample(
                images, grid, mode="bicubic", padding_mode="border", align_corners=False
            )
            if self.is_gas:
                views[:, 1] *= geometry.sign[:, None, None]
        return views

    def degraded(self, images):
        """Make clean images look observed: beam, noise, ragged borders, missing velocities."""
        views, is_map = self.recipe.views, self.recipe.images.source == "maps"
        with full_precision(self.device):
            blurred = self.chance(views.blur_probability)
            # From the full width at half maximum to the standard deviation.
            width = self.log_uniform(0.5, views.beam_max) / 2.3548
            width = torch.where(blurred[:, 0, 0, 0], width, 1e-3)
            through = _through_beam if self.is_gas else _blurred
            seen = through(images, width, math.ceil(2.5 * views.beam_max / 2.3548))
            seen = torch.where(blurred, seen, images)
            level = views.noise * self.uniform(images.shape[1])[:, :, None, None]
            if views.signal_to_noise_min:
                noisy = self.chance(views.noise_probability)
                ratio = self.log_uniform(views.signal_to_noise_min, 100.0)[:, None, None, None]
                level = level + torch.where(noisy, self._noise_levels(seen) / ratio, 0.0)
            seen = seen + level * self.numbers.normal(*images.shape[1:])
            seen = torch.where(self._border(images.shape[-1]), 0.0, seen)
            dropped = self.chance(views.drop_velocity_probability)
            which = self.uniform()[:, None, None]
            if self.is_gas:  # a third each: velocity, dispersion, both
                velocity, dispersion = which < 2 / 3, which > 1 / 3
                absent = torch.stack([torch.zeros_like(velocity), velocity, dispersion], 1)
                seen = torch.where(dropped & absent, 0.0, seen)
            # Where a map had no data there are none now.
            return torch.where(images == 0, 0.0, seen) if is_map else seen

    def _noise_levels(self, images):
        """Standard deviations at a signal-to-noise ratio of one, in normalized units."""
        if not self.is_gas:
            return torch.ones(1, device=self.device)
        # The noise is that of the median column density: in the logarithm 1 / ln(10) there, less where
        # there is more gas, and no more than 3 times as much where there is less.
        column = images[:, :1]
        median = column.flatten(1).median(1).values[:, None, None, None]
        relative = (10.0 ** (_DEX * (median - column))).clamp_max(3.0)
        level = relative / math.log(10) / _DEX
        # A velocity is known to the width of the line, some 0.4 km/s, over the ratio.
        velocity, dispersion = (torch.full_like(level, 0.4 / scale) for scale in (_KMS, _SIGMA))
        return torch.cat([level, velocity, dispersion], 1)

    def _border(self, size):
        """No data beyond a ragged line, in ``border_probability`` of the images."""
        angle = self.uniform(high=2 * math.pi)[:, None, None]
        # Up to a quarter of the narrowest view of the inner part stays clear of it.
        edge = self.uniform(low=0.04, high=0.5)[:, None, None] * size
        waves = self.uniform(2, 2)
        line = torch.arange(size, device=self.device) - (size - 1) / 2
        y, x = torch.meshgrid(line, line, indexing="ij")
        along = torch.cos(angle) * x + torch.sin(angle) * y
        across = torch.cos(angle) * y - torch.sin(angle) * x
        for k in range(2):
            amplitude, phase = waves[:, k, :1, None], waves[:, k, 1:, None]
            turns = across / (12.0 / (k + 1)) + phase
            along = along + 3.0 / (k + 1) * amplitude * torch.sin(2 * math.pi * turns)
        return self.chance(self.recipe.views.border_probability) & (along > edge)[:, None]

    def scattered_tokens(self, grid, n_keep):
        """Draw patch tokens all over each image for the student to see."""
        keys = self.uniform(grid * grid)
        middle = self._middle(grid, 2 - grid % 2)
        return _kept_first(keys - (self.uniform() < 0.5)[:, None] * middle, n_keep)

    def block_tokens(self, grid, side):
        """Draw a square block of patch tokens per image for the student to see."""
        keys = self.uniform(grid * grid)
        window = self.window_tokens(grid, side)
        block = torch.zeros_like(keys).scatter_(1, window, 1.0)
        block = torch.where((self.uniform() < 0.5)[:, None], self._middle(grid, side), block)
        return _kept_first(keys - block, side**2)

    def central_tokens(self, grid, side, n_keep):
        """Draw the block of patch tokens in the middle of each image, and others from all over it."""
        return _kept_first(self.uniform(grid * grid) - self._middle(grid, side), n_keep)

    def window_tokens(self, grid, side):
        """Draw a square window of patch tokens per image."""
        start = (self.uniform(2) * (grid - side + 1)).long()
        offsets = torch.arange(side, device=self.device)
        rows, columns = (start[:, axis, None] + offsets for axis in range(2))
        return (rows[:, :, None] * grid + columns[:, None]).flatten(1)

    def _middle(self, grid, side):
        """One for the patches of the block in the middle, zero elsewhere."""
        inside = torch.zeros(grid, grid, device=self.device)
        start = (grid - side) // 2
        inside[start : start + side, start : start + side] = 1
        return inside.flatten()


# Flames rendered as gas have the default normalization.
_DEX, _KMS, _SIGMA = ChannelNormalization().scale

_SIGMA_CENTER = ChannelNormalization().center[2]


def _kept_first(keys, n_keep):
    """Permutations with the smallest keys first, the kept and the hidden tokens each in order."""
    order = keys.argsort(dim=1, stable=True)
    return torch.cat([order[:, :n_keep].sort(1).values, order[:, n_keep:]], 1)


def _through_beam(images, width, reach):
    """Gas behind a beam, which averages N, N v and N (sigma^2 + v^2)."""
    column = 10.0 ** (_DEX * images[:, 0])
    velocity = _KMS * images[:, 1]
    dispersion = (_SIGMA * images[:, 2] + _SIGMA_CENTER).clamp_min(0.01)
    sums = torch.stack([column, column * velocity, column * (dispersion**2 + velocity**2)], 1)
    column, first, second = _blurred(sums, width, reach).unbind(1)
    velocity = first / column
    dispersion = (second / column - velocity**2).clamp_min(1e-4).sqrt()
    return torch.stack(
        [column.log10() / _DEX, velocity / _KMS, (dispersion - _SIGMA_CENTER) / _SIGMA], 1
    )


def _blurred(images, width, reach):
    """Gaussian blur, a width (standard deviation in px) per image, of so many pixels to each side."""
    offset = torch.arange(-reach, reach + 1, device=images.device)
    kernel = torch.exp(-0.5 * (offset / width[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(images.shape[1], 0)
    kernel = kernel[:, None, None]
    planes = F.pad(images, (reach,) * 4, mode="replicate").flatten(0, 1)[None]
    n_planes = planes.shape[1]
    planes = F.conv2d(planes, kernel, groups=n_planes)
    planes = F.conv2d(planes, kernel.transpose(-1, -2), groups=n_planes)
    return planes[0].unflatten(0, images.shape[:2])
