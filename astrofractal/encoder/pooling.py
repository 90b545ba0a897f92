"""Poolings: how the tokens of a map become one feature vector."""

__all__ = ["LATTICE", "POOLINGS", "pool_tokens"]

#: Apertures along a side of a patch in the structure readout: at its edges and its middle.
LATTICE = 3


def _class(tokens, _grid, n_prefix, _readout):
    return tokens[:, 0] if n_prefix else tokens.mean(1)


def _patches(tokens, grid, n_prefix):
    return tokens[:, n_prefix:].unflatten(1, grid)


def _mean(tokens, _grid, n_prefix, _readout):
    return tokens[:, n_prefix:].mean(1)


def _central_slice(length, width):
    width = min(width + (length - width) % 2, length)
    start = (length - width) // 2
    return slice(start, start + width)


def _inner(tokens, grid, n_prefix):
    rows, columns = (_central_slice(length, 2) for length in grid)
    return _patches(tokens, grid, n_prefix)[:, rows, columns]


def _central(tokens, grid, n_prefix, _readout):
    return _inner(tokens, grid, n_prefix).mean((1, 2))


def _quadrants(tokens, grid, n_prefix, _readout):
    return _inner(tokens, grid, n_prefix).flatten(1)


def _spread(tokens, grid, n_prefix, _readout):
    return _inner(tokens, grid, n_prefix).flatten(1, 2).std(1, correction=0)


def _surround(tokens, grid, n_prefix, _readout):
    patches = _patches(tokens, grid, n_prefix)
    inner = _inner(tokens, grid, n_prefix)
    outer = patches[:, *(_central_slice(length, 4) for length in grid)]
    n_ring = outer.shape[1] * outer.shape[2] - inner.shape[1] * inner.shape[2]
    if n_ring == 0:
        return inner.mean((1, 2))
    return (outer.sum((1, 2)) - inner.sum((1, 2))) / n_ring


def _structure(tokens, grid, n_prefix, readout):
    import torch

    if readout is None:
        msg = "pooling 'structure' needs weights with a structure readout; these have none"
        raise ValueError(msg)
    if any(length % 2 for length in grid):
        msg = f"pooling 'structure' needs an even number of patches along each side, got {grid}"
        raise ValueError(msg)
    found = readout(_inner(tokens, grid, n_prefix)).unflatten(-1, (-1, LATTICE, LATTICE))
    # The four tokens meet at the center of the map: the last lattice point of the upper left one,
    # the first of the lower right one.
    corners = [
        found[:, row, column, :, -(1 - row), -(1 - column)]
        for row in range(2)
        for column in range(2)
    ]
    return torch.stack(corners).mean(0)


#: Name to function of (tokens, grid, number of prefix tokens, structure readout).
POOLINGS = {
    "class": _class,
    "mean": _mean,
    "central": _central,
    "quadrants": _quadrants,
    "spread": _spread,
    "surround": _surround,
    "structure": _structure,
}


def pool_tokens(tokens, grid, n_prefix_tokens, pooling, readout=None):
    """
    Pool the tokens of each map into one vector.

    Parameters
    ----------
    tokens : 3D `torch.Tensor`, shape (n_images, n_tokens, embed_dim)
        Prefix tokens, then the patch tokens in row order.

    grid : tuple of int
        Rows and columns of patches.

    n_prefix_tokens : int
        The number of class and register tokens.

    pooling : str
        ``"class"``: the class token (the mean of all tokens where a model has none); ``"mean"``:
        the mean of the patch tokens; ``"central"``: the mean of the central 2 x 2 patch tokens (3
        where the grid is odd), those of the protostar on which the map is centerd; ``"spread"``:
        their standard deviation; ``"quadrants"``: the same tokens concatenated; ``"surround"``: the
        mean of the ring of patch tokens around those; ``"structure"``: the local moments of the gas
        at the center of the map that the pretrained readout finds in the central 2 x 2 tokens.
        Names joined by ``"+"`` are concatenated.

    readout : `torch.nn.Module`, optional
        The pretrained linear readout from a patch token to the local moments of its gas.

    Returns
    -------
    features : 2D `torch.Tensor`, shape (n_images, n_features)
        The features.

    Raises
    ------
    ValueError
        If a name is unknown, or ``"structure"`` is asked of weights without a readout.
    """
    import torch

    names = pooling.split("+")
    unknown = [name for name in names if name not in POOLINGS]
    if unknown:
        msg = (
            f"pooling must be one of {', '.join(map(repr, POOLINGS))} or several joined by '+', "
            f"got {pooling!r}"
        )
        raise ValueError(msg)
    arguments = (tokens, grid, n_prefix_tokens, readout)
    return torch.cat([POOLINGS[name](*arguments) for name in names], dim=1)
