"""Poolings: how the tokens of a map become one feature vector."""

import torch

from astrofractal.encoder.weights import HEADS

__all__ = [
    "LATTICE",
    "POOLINGS",
    "center_features",
    "center_patches",
    "check_pooling",
    "mean_and_scatter",
    "pool_tokens",
]

#: Apertures along a side of a patch of the head "structure": at its edges and its middle.
LATTICE = 3


def center_patches(grid):
    """Return the indices of the central 2 x 2 patches."""
    first = (grid // 2 - 1) * (grid + 1)
    return torch.tensor([first, first + 1, first + grid, first + grid + 1])


def mean_and_scatter(tokens):
    """Return mean and standard deviation of a few tokens."""
    # tokens (n_images, n_tokens, embed_dim)
    tokens = tokens.float()
    # Not std(), whose gradient is infinite where tokens are equal.
    scatter = (tokens.var(1, correction=0) + 1e-8).sqrt()
    return torch.cat([tokens.mean(1), scatter], 1)


def center_features(tokens, grid, n_prefix):
    """Return mean and scatter of the central patch tokens, for the loss."""
    return mean_and_scatter(_inner(tokens, grid, n_prefix).flatten(1, 2))


def _class(tokens, _grid, n_prefix, _heads):
    return tokens[:, 0] if n_prefix else tokens.mean(1)


def _inner(tokens, grid, n_prefix):
    """Return the middle two rows and columns of an even grid, the middle one or three of an odd one."""
    widths = [min(2 + length % 2, length) for length in grid]
    starts = [(length - width) // 2 for length, width in zip(grid, widths)]
    rows, columns = (slice(start, start + width) for start, width in zip(starts, widths))
    return tokens[:, n_prefix:].unflatten(1, grid)[:, rows, columns]


def _central(tokens, grid, n_prefix, _heads):
    return _inner(tokens, grid, n_prefix).mean((1, 2))


def _scatter(tokens, grid, n_prefix, _heads):
    return _inner(tokens, grid, n_prefix).flatten(1, 2).std(1, correction=0)


def _protostar_mass(tokens, grid, n_prefix, heads):
    features = torch.cat([tokens[:, 0], center_features(tokens, grid, n_prefix)], 1)
    return heads["protostar_mass"](features)


def _structure(tokens, grid, n_prefix, heads):
    if any(length % 2 for length in grid):
        msg = f"pooling 'structure' needs an even number of patches along each side, got {grid}"
        raise ValueError(msg)
    found = heads["structure"](_inner(tokens, grid, n_prefix)).unflatten(-1, (-1, LATTICE, LATTICE))
    # The four tokens meet at the center of the map: the last lattice point of the upper left one,
    # the first of the lower right one.
    corners = [found[:, y, x, :, y - 1, x - 1] for y in range(2) for x in range(2)]
    return torch.stack(corners).mean(0)


#: Name to function of (tokens, grid, number of prefix tokens, pretrained heads).
POOLINGS = {
    "class": _class,
    "central": _central,
    "scatter": _scatter,
    "structure": _structure,
    "protostar_mass": _protostar_mass,
}


def check_pooling(pooling):
    """Return the names of poolings as a tuple."""
    names = (pooling,) if isinstance(pooling, str) else tuple(pooling)
    if not names or any(name not in POOLINGS for name in names):
        known = ", ".join(map(repr, POOLINGS))
        msg = f"pooling must be one of {known} or a tuple of several, got {pooling!r}"
        raise ValueError(msg)
    return names


def pool_tokens(tokens, grid, n_prefix_tokens, pooling, heads=None):
    """Pool the tokens of each map into one vector."""
    # tokens (n_images, n_tokens, embed_dim)
    names, heads = check_pooling(pooling), heads or {}
    for name in names:
        if name in HEADS and name not in heads:
            msg = f"pooling {name!r} needs weights with a head for it; these have none"
            raise ValueError(msg)
    return torch.cat([POOLINGS[name](tokens, grid, n_prefix_tokens, heads) for name in names], 1)
