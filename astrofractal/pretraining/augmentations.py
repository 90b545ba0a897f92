"""Views of a flame that change what a mass does not depend on, and nothing else.

All randomness comes from one generator a step, drawn for the whole (global) batch and then cut to the
images of this process, so that a run on several processes sees the same views as a run on one.
The amplitude of the channels is never jittered: it is what tells two clouds apart.
"""

import math

import torch
import torch.nn.functional as F

__all__ = ["ViewSampler"]


class ViewSampler:
    """
    Draw augmented views of a batch of flames.

    Parameters
    ----------
    recipe : `~astrofractal.pretraining.Recipe`
        Gives ``image_size``, ``max_shift``, ``scale_min``, ``blur_probability``, ``noise``,
        ``border_probability``, ``drop_velocity_probability``, ``zoom_probability``, ``zoom_max`` and
        ``rendering``.

    step : int
        The optimizer step, which seeds the views together with the recipe's seed.

    share : slice, optional
        The images of the global batch that this process holds.
    """

    def __init__(self, recipe, step, share=slice(None)):
        self.recipe = recipe
        self.share = share
        self.is_gas = recipe.rendering == "gas"
        self.generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)

    def uniform(self, *shape, low=0.0, high=1.0):
        """Draw uniform numbers of shape ``(batch, *shape)`` and return this process's share."""
        values = torch.rand(self.recipe.batch_size, *shape, generator=self.generator)
        return (low + (high - low) * values)[self.share]

    def chance(self, probability):
        """Draw one boolean an image, shaped to multiply a batch of images."""
        return (self.uniform() < probability)[:, None, None, None]

    def geometric(self, images):
        """
        Shift, scale, rotate and mirror; reverse the line of sight.

        Parameters
        ----------
        images : 4D `torch.Tensor`, shape (batch, n_channels, source_size, source_size)
            Normalized flames.

        Returns
        -------
        views : 4D `torch.Tensor`, shape (batch, n_channels, image_size, image_size)
            The views.
        """
        views = self._scaled(images) if self.recipe.scale_min < 1 else self._shifted(images)
        if self.recipe.zoom_probability:
            magnified = self.chance(self.recipe.zoom_probability)
            views = torch.where(magnified, self._zoomed(images), views)
        views = torch.where(self.chance(0.5), views.flip(-1), views)
        views = torch.where(self.chance(0.5), views.flip(-2), views)
        views = torch.where(self.chance(0.5), views.transpose(-1, -2), views)
        reversed_sight = self.chance(0.5)
        if self.is_gas:
            views[:, 1:2] = torch.where(reversed_sight, -views[:, 1:2], views[:, 1:2])
        return views

    def _shifted(self, images):
        size, source = self.recipe.image_size, images.shape[-1]
        reach = min(self.recipe.max_shift, (source - size) // 2)
        # The cube keeps most views nearly centerd, as gas maps are on their protostar.
        shift = (reach * self.uniform(2, low=-1, high=1) ** 3).round().long()
        start = (source - size) // 2 + shift
        pixels = torch.arange(size)
        rows, columns = (start[:, axis, None] + pixels for axis in range(2))
        which = torch.arange(len(images))[:, None, None]
        return images.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None]].permute(
            0, 3, 1, 2
        )

    def _scaled(self, images):
        # Random resized crop: a square of an area fraction between scale_min and one.
        side = self.uniform(low=self.recipe.scale_min, high=1.0).sqrt()
        center = self.uniform(2, low=-1, high=1) * (1 - side)[:, None]
        theta = torch.zeros(len(images), 2, 3)
        theta[:, 0, 0] = theta[:, 1, 1] = side
        theta[:, :, 2] = center
        shape = (*images.shape[:2], self.recipe.image_size, self.recipe.image_size)
        grid = F.affine_grid(theta, shape, align_corners=False).to(images)
        return F.grid_sample(images, grid, mode="bilinear", align_corners=False)

    def _zoomed(self, images):
        # Magnified about the center, where the accretion point is: the few pixels around a protostar
        # then fill whole patches, as they do in the magnified maps that masses are read from.
        recipe, source = self.recipe, images.shape[-1]
        zoom = torch.exp(self.uniform(high=math.log(recipe.zoom_max)))
        shift = recipe.max_shift * self.uniform(2, low=-1, high=1) ** 3
        theta = torch.zeros(len(images), 2, 3)
        theta[:, 0, 0] = theta[:, 1, 1] = recipe.image_size / source / zoom
        theta[:, :, 2] = 2 * shift / source / zoom[:, None]
        shape = (*images.shape[:2], recipe.image_size, recipe.image_size)
        grid = F.affine_grid(theta, shape, align_corners=False).to(images)
        return F.grid_sample(images, grid, mode="bicubic", align_corners=False)

    @torch.autocast("cpu", enabled=False)
    def degraded(self, views):
        """
        Make clean views look observed: beam, noise, ragged borders, missing velocities.

        Parameters
        ----------
        views : 4D `torch.Tensor`
            Clean views.

        Returns
        -------
        degraded : 4D `torch.Tensor`
            Views of the same shape; zero, the normalization's center, stands for no data.
        """
        recipe = self.recipe
        width = 0.5 + 1.5 * torch.rand((), generator=self.generator).item()
        views = torch.where(self.chance(recipe.blur_probability), _blurred(views, width), views)
        level = self.uniform(3, low=0, high=recipe.noise)[:, : views.shape[1], None, None]
        noise = torch.randn(recipe.batch_size, *views.shape[1:], generator=self.generator)[
            self.share
        ]
        views = views + level * noise
        views = torch.where(self._border(views), 0.0, views)
        dropped = self.chance(recipe.drop_velocity_probability)
        which = self.uniform()[:, None, None]
        if self.is_gas:  # a third each: velocity, dispersion, both
            velocity, dispersion = which < 2 / 3, which > 1 / 3
            absent = torch.stack([torch.zeros_like(velocity), velocity, dispersion], 1)
            views = torch.where(dropped & absent, 0.0, views)
        return views

    def _border(self, views):
        size = views.shape[-1]
        angle = self.uniform(low=0, high=2 * torch.pi)[:, None, None]
        edge = self.uniform(low=0.15, high=0.5)[:, None, None] * size
        y, x = torch.meshgrid(
            torch.arange(size) - size / 2, torch.arange(size) - size / 2, indexing="ij"
        )
        outside = (torch.cos(angle) * x + torch.sin(angle) * y > edge)[:, None]
        return self.chance(self.recipe.border_probability) & outside

    def scattered_tokens(self, grid, n_keep):
        """
        Draw patch tokens all over each image for the student to see.

        Parameters
        ----------
        grid : int
            Patches along a side.

        n_keep : int
            The number of tokens kept.

        Returns
        -------
        order : 2D `torch.Tensor`, shape (batch, grid**2)
            A permutation of the token indices an image; the first ``n_keep`` are kept.  The central
            2 x 2 tokens, where a protostar will be, are kept in at least half of the images.
        """
        middle = torch.zeros(grid, grid)
        middle[(grid - 1) // 2 : grid // 2 + 1, (grid - 1) // 2 : grid // 2 + 1] = 1
        keys = self.uniform(grid * grid)
        return _kept_first(keys - (self.uniform() < 0.5)[:, None] * middle.flatten(), n_keep)

    def block_tokens(self, grid, side):
        """
        Draw a square block of patch tokens an image for the student to see.

        Parameters
        ----------
        grid : int
            Patches along a side.

        side : int
            Patches along a side of the block.

        Returns
        -------
        order : 2D `torch.Tensor`, shape (batch, grid**2)
            A permutation of the token indices an image; the first ``side**2`` are kept.  The block is
            in the middle of the image for half of the images.
        """
        keys = self.uniform(grid * grid)
        window = self.window_tokens(grid, side)
        start = (grid - side) // 2
        rows = (torch.arange(start, start + side)[:, None] * grid).expand(side, side)
        middle = (rows + torch.arange(start, start + side)).flatten()
        kept = torch.where((self.uniform() < 0.5)[:, None], middle, window)
        return _kept_first(keys.scatter_add(1, kept, -torch.ones(kept.shape)), side**2)

    def window_tokens(self, grid, side):
        """
        Draw a square window of patch tokens an image: a local crop at its true place and scale.

        Parameters
        ----------
        grid : int
            Patches along a side of the image.

        side : int
            Patches along a side of the window.

        Returns
        -------
        kept : 2D `torch.Tensor`, shape (batch, side**2)
            Token indices.
        """
        start = (self.uniform(2) * (grid - side + 1)).long()
        offsets = torch.arange(side)
        rows, columns = (start[:, axis, None] + offsets for axis in range(2))
        return (rows[:, :, None] * grid + columns[:, None]).flatten(1)


def _kept_first(keys, n_keep):
    """Permutations with the smallest keys first, the kept and the hidden tokens each in order."""
    order = keys.argsort(1)
    return torch.cat([order[:, :n_keep].sort(1).values, order[:, n_keep:]], 1)


def _blurred(images, width):
    reach = max(1, int(3 * width + 0.5))
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / width) ** 2)
    kernel = (kernel / kernel.sum()).to(images)
    n_channels = images.shape[1]
    row = kernel.expand(n_channels, 1, 1, -1)
    padded = F.pad(images, (reach,) * 4, mode="replicate")
    return F.conv2d(
        F.conv2d(padded, row, groups=n_channels), row.transpose(-1, -2), groups=n_channels
    )
