import pytest

from tests.factories import make_mapset


@pytest.fixture(scope="session")
def mapset():
    return make_mapset(90, n_maps=1)


@pytest.fixture(scope="session")
def new_maps():
    return make_mapset(20, n_maps=1, n_clouds=1, seed=1)


@pytest.fixture(scope="session")
def estimator(mapset):
    from astrofractal import StellarMassEstimator

    return StellarMassEstimator(features="none", profiles="all", regressor="ridge").fit(mapset)
