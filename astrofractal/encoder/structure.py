"""Scale-space structure of a view: the targets of masked feature prediction (arXiv:2112.09133).

They are local levels and spreads in Gaussian apertures: column density, velocity, and the
logarithms of velocity dispersion and velocity scatter, each in the widest aperture and as the
contrast of every aperture with the next wider one, of unit variance over flames.
"""

import torch
import torch.nn.functional as F

from astrofractal.encoder.backbone import full_precision
from astrofractal.encoder.pooling import LATTICE, center_patches

#: Widths (standard deviations) of the Gaussian apertures in pixels.
APERTURES = (0.7, 1.4, 2.8, 5.6)

#: The number of targets of one point, four fields in each aperture, and of one patch.
N_CENTER_TARGETS = 4 * len(APERTURES)
N_STRUCTURE_TARGETS = N_CENTER_TARGETS * LATTICE**2

#: Standard deviations of the contrasts over flames: one row per field, narrow apertures first.
_SPREAD = ((0.06, 0.11, 0.16), (0.055, 0.10, 0.145), (0.09, 0.145, 0.18), (0.28, 0.27, 0.26))
_REACH = 14


def at_center(targets):
    """Return the targets at the center of each view, where four patches meet."""
    # targets (batch, n_patches, n_targets)
    grid = round(targets.shape[1] ** 0.5)
    patch = targets[:, center_patches(grid)[0]]
    return patch.unflatten(1, (-1, LATTICE, LATTICE))[:, :, -1, -1]


@torch.no_grad()
def structure_targets(views, patch_size, normalization):
    """Compute the targets of all patches."""
    # views (batch, 3, size, size)
    # Otherwise a contrast would be the difference of two rounded levels.
    with full_precision(views.device):
        fields = _fields(views, normalization)
        padded = F.pad(fields, (_REACH,) * 4, mode="replicate").flatten(0, 1)[:, None]
        means = F.conv2d(padded, _kernels(views)[:, None], stride=patch_size // (LATTICE - 1))
        means = means.unflatten(0, fields.shape[:2]).transpose(0, 1)
        targets = _targets(means, normalization.scale[1])
        return F.unfold(targets, LATTICE, stride=LATTICE - 1).transpose(1, 2)


@torch.no_grad()
def structure_at_center(views, normalization):
    """Compute the targets at the center of each view alone."""
    # views (batch, 3, size, size)
    margin = max(_REACH - views.shape[-1] // 2, 0)
    fields = F.pad(_fields(views, normalization), (margin,) * 4, mode="replicate")
    start = fields.shape[-1] // 2 - _REACH
    inner = slice(start, start + 2 * _REACH)
    with full_precision(views.device):
        means = torch.einsum("bfij,kij->fbk", fields[:, :, inner, inner], _kernels(views))
    return _targets(means[..., None, None], normalization.scale[1])[..., 0, 0]


def _fields(views, normalization):
    """Log column, velocity, its square and that of the dispersion: (batch, 4, size, size)."""
    _, v_scale, sigma_scale = normalization.scale
    velocity = v_scale * views[:, 1]
    dispersion = (sigma_scale * views[:, 2] + normalization.center[2]).clamp_min(0.02)
    return torch.stack([views[:, 0], velocity, velocity**2, dispersion**2], 1)


def _kernels(views):
    """Apertures, centered on pixel corners, where patches meet, hence of even size."""
    offsets = torch.arange(-_REACH, _REACH, dtype=views.dtype, device=views.device) + 0.5
    widths = torch.tensor(APERTURES, dtype=views.dtype, device=views.device)
    rows = torch.exp(-0.5 * (offsets / widths[:, None]) ** 2)
    rows = rows / rows.sum(1, keepdim=True)
    return rows[:, :, None] * rows[:, None, :]


def _targets(means, v_scale):
    """From means (4, batch, n_apertures, rows, columns) of the fields to (batch, 16, ...)."""
    column, mean, square, variance = means
    scatter = (square - mean**2).clamp_min(1e-4)
    velocity = torch.asinh(mean / v_scale)
    dispersion = torch.log(variance) + 2.0  # twice the logarithm, around 0.4 km/s
    levels = torch.stack([column, velocity, dispersion, 0.5 * torch.log(scatter) + 2.0], 1)
    spread = levels.new_tensor(_SPREAD)[:, :, None, None]
    contrasts = (levels[:, :, :-1] - levels[:, :, 1:]) / spread
    return torch.cat([levels[:, :, -1:], contrasts], 2).flatten(1, 2)
