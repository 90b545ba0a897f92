"""Poolings: how the tokens of a map become one feature vector."""

__all__ = ["POOLINGS", "pool_tokens"]


def _class(tokens, _grid, n_prefix):
    return tokens[:, 0] if n_prefix else tokens.mean(1)


def _patches(tokens, grid, n_prefix):
    return tokens[:, n_prefix:].unflatten(1, grid)


def _mean(tokens, _grid, n_prefix):
    return tokens[:, n_prefix:].mean(1)


def _central_slice(length, width):
    width = min(width + (length - width) % 2, length)
    start = (length - width) // 2
    return slice(start, start + width)


def _central(tokens, grid, n_prefix):
    rows, columns = (_central_slice(length, 2) for length in grid)
    return _patches(tokens, grid, n_prefix)[:, rows, columns].mean((1, 2))


def _surround(tokens, grid, n_prefix):
    patches = _patches(tokens, grid, n_prefix)
    inner = patches[:, *(_central_slice(length, 2) for length in grid)]
    outer = patches[:, *(_central_slice(length, 4) for length in grid)]
    n_ring = outer.shape[1] * outer.shape[2] - inner.shape[1] * inner.shape[2]
    if n_ring == 0:
        return inner.mean((1, 2))
    return (outer.sum((1, 2)) - inner.sum((1, 2))) / n_ring


#: Name to function of (tokens, grid, number of prefix tokens).
POOLINGS = {"class": _class, "mean": _mean, "central": _central, "surround": _surround}


def pool_tokens(tokens, grid, n_prefix_tokens, pooling):
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
        where the grid is odd), those of the protostar on which the map is centred;
        ``"surround"``: the mean of the ring of patch tokens around those.  Names joined by ``"+"``
        are concatenated.

    Returns
    -------
    features : 2D `torch.Tensor`, shape (n_images, n_features)
        The features.

    Raises
    ------
    ValueError
        If a name is unknown.
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
    return torch.cat([POOLINGS[name](tokens, grid, n_prefix_tokens) for name in names], dim=1)
