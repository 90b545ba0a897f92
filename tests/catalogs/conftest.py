import pytest

from tests.factories import make_mapset


@pytest.fixture(scope="session")
def estimator():
    """An estimator without a network, which is quick."""
    from astrofractal import StellarMassEstimator
    from astrofractal.mass import FeatureSet

    features = FeatureSet(pooling=None, profiles=True)
    return StellarMassEstimator(features=features, regressor="ridge").fit(make_mapset(90, n_maps=1))
