"""A small encoder that is fast and whose features are understood, and maps to segment."""

import numpy as np
import pytest
from astropy import units as u

from astrofractal import GasMap
from astrofractal.encoder import ChannelNormalization
from tests.factories import make_wcs


class PatchMeans:
    """Each patch token holds the mean and the spread of the channels in its patch."""

    image_size = 32
    patch_size = 8
    embed_dim = 6
    in_chans = 3
    batch_size = 16
    model_name = "patch-means"
    weights_id = "patch-means"
    normalization = ChannelNormalization()

    def fingerprint(self):
        return "patch-means"

    def patch_features(self, images):
        side = self.image_size // self.patch_size
        images = self.normalization(images)
        patches = images.reshape(len(images), 3, side, self.patch_size, side, self.patch_size)
        both = np.concatenate([patches.mean((3, 5)), patches.std((3, 5))], axis=1)
        return np.moveaxis(both, 1, -1).astype(np.float32)


@pytest.fixture
def encoder():
    return PatchMeans()


def _make_gas(shape=(96, 80), *, wcs=True, distance=300 * u.pc, velocities=True, seed=1, nan=True):
    """Two round clumps on a thin background; a masked corner."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    column = 1e21 * (1 + 0.05 * rng.standard_normal(shape))
    for height, y0, x0, width in ((4e22, 0.3, 0.4, 7), (1e22, 0.7, 0.6, 10)):
        away = (y - y0 * shape[0]) ** 2 + (x - x0 * shape[1]) ** 2
        column += height * np.exp(-away / 2 / width**2)
    if nan:
        column[: shape[0] // 6, : shape[1] // 5] = np.nan
    motions = {}
    if velocities:
        motions["velocity"] = (5 + (x - shape[1] / 2) / shape[1]) * u.km / u.s
        motions["dispersion"] = np.full(shape, 0.3) * u.km / u.s
    return GasMap(
        column / u.cm**2, **motions, wcs=make_wcs(shape) if wcs else None, distance=distance
    )


@pytest.fixture
def make_gas():
    """The function that makes a map."""
    return _make_gas


@pytest.fixture
def gas():
    return _make_gas()
