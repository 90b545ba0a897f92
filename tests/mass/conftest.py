import pytest

from astrofractal.mass import FeatureSet
from tests.factories import make_mapset

PROFILES = FeatureSet(pooling=None, profiles=True)


@pytest.fixture(scope="session")
def mapset():
    return make_mapset(90, n_maps=1)


@pytest.fixture(scope="session")
def new_maps():
    return make_mapset(20, n_maps=1, n_clouds=1, seed=1)


@pytest.fixture(scope="session")
def estimator(mapset):
    from astrofractal import StellarMassEstimator

    return StellarMassEstimator(features=PROFILES, regressor="ridge").fit(mapset)
