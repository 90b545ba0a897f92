"""Principal components of patch tokens, the picture of the published method."""

import numpy as np
from astropy.nddata import NDData

from astrofractal._utils.validation import positive_int
from astrofractal.encoder.dense import dense_features

__all__ = ["principal_components"]


def principal_components(encoder, gas, n, *, progress_bar=False):
    """Return the first ``n`` components of the patch tokens of a map, from 0 to 1, on its pixels."""
    from sklearn.decomposition import PCA

    n = positive_int("n", n)
    array = gas.to_array()
    dense = dense_features(encoder, array, progress_bar=progress_bar)
    tokens = dense.values[dense.valid].astype(np.float64)
    if n > min(tokens.shape):
        msg = (
            f"n must be at most {min(tokens.shape)}, the number of tokens of the map or of their "
            f"features, got {n}"
        )
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
