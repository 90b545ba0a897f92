import numpy as np
import pytest
from astropy import units as u

from astrofractal.mapset import MapSet


def make_mapset(n_maps=90, *, n_clouds=3, seed=0):
    """Maps in which the central dispersion follows the mass, and nothing else does."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64] - 31.5
    radius = np.hypot(x, y)
    log_mass = rng.normal(0, 0.5, n_maps)
    smooth = rng.standard_normal((n_maps, 2, 8, 8)).repeat(8, axis=2).repeat(8, axis=3)
    peak = np.exp(-radius / 10)
    images = np.empty((n_maps, 3, 64, 64), np.float32)
    images[:, 0] = 21.8 + 0.2 * smooth[:, 0] + peak
    images[:, 1] = 0.3 * smooth[:, 1]
    images[:, 2] = 0.2 + 0.2 * 10 ** (0.5 * log_mass[:, None, None]) * peak
    images[:, 2] *= 10 ** (0.03 * rng.standard_normal((n_maps, 64, 64)))
    return MapSet(
        images,
        10**log_mass * u.solMass,
        clouds=[f"cloud{i % n_clouds}" for i in range(n_maps)],
        sinks=[str(i) for i in range(n_maps)],
    )


@pytest.fixture(scope="session")
def mapset():
    return make_mapset()


@pytest.fixture(scope="session")
def new_maps():
    return make_mapset(20, n_clouds=1, seed=1)


@pytest.fixture(scope="session")
def estimator(mapset):
    from astrofractal import StellarMassEstimator

    return StellarMassEstimator(features="none", profiles="all", regressor="ridge").fit(mapset)
