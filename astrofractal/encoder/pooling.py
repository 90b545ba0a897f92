"""Poolings: how the tokens of a map become one feature vector."""

import torch

#: Token or statistic of tokens, or what a linear map from pretraining makes of them.
POOLINGS = ("class", "central", "scatter", "structure", "protostar_mass")

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


def _inner(tokens, grid, n_prefix):
    """Return the middle two rows and columns of an even grid, the middle one or three of an odd one."""
    widths = [min(2 + length % 2, length) for length in grid]
    starts = [(length - width) // 2 for length, width in zip(grid, widths)]
    rows, columns = (slice(start, start + width) for start, width in zip(starts, widths))
    return tokens[:, n_prefix:].unflatten(1, grid)[:, rows, columns]


def check_pooling(pooling):
    """Return the names of poolings as a tuple."""
    names = (pooling,) if isinstance(pooling, str) else tuple(pooling)
    if not names or any(name not in POOLINGS for name in names):
        known = ", ".join(map(repr, POOLINGS))
        msg = f"pooling must be one of {known} or a tuple of several, got {pooling!r}"
        raise ValueError(msg)
    return names


def _pool(name, tokens, grid, n_prefix, heads):
    if name == "class":
        return tokens[:, 0] if n_prefix else tokens.mean(1)
    inner = _inner(tokens, grid, n_prefix)
    if name == "central":
        return inner.mean((1, 2))
    if name == "scatter":
        return inner.flatten(1, 2).std(1, correction=0)
    if name not in heads:
        msg = f"pooling {name!r} needs weights with a head for it; these have none"
        raise ValueError(msg)
    if name == "protostar_mass":
        features = torch.cat([tokens[:, 0], mean_and_scatter(inner.flatten(1, 2))], 1)
        return heads[name](features)
    if any(length % 2 for length in grid):
        msg = f"pooling 'structure' needs an even number of patches along each side, got {grid}"
        raise ValueError(msg)
    found = heads[name](inner).unflatten(-1, (-1, LATTICE, LATTICE))
    # The four tokens meet at the center of the map: the last lattice point of the upper left one,
    # the first of the lower right one.
    corners = [found[:, y, x, :, y - 1, x - 1] for y in range(2) for x in range(2)]
    return torch.stack(corners).mean(0)


def pool_tokens(tokens, grid, n_prefix_tokens, pooling, heads=None):
    """Pool the tokens of each map into one vector."""
    # tokens (n_images, n_tokens, embed_dim)
    arguments = (tokens, grid, n_prefix_tokens, heads or {})
    return torch.cat([_pool(name, *arguments) for name in check_pooling(pooling)], dim=1)


@torch.no_grad()
def effective_rank(features):
    """Return the effective rank of a feature matrix, of its variances (after Roy & Vetterli 2007)."""
    # features (n_samples, n_features)
    features = torch.as_tensor(features).float()
    power = torch.linalg.svdvals(features - features.mean(0)).square()
    power = power / power.sum().clamp_min(1e-12)
    return torch.exp(-(power * power.clamp_min(1e-12).log()).sum()).item()
