"""What belongs to the whole process is as before after each call: generators, filters, threads."""

import random
import threading
import warnings

import numpy as np
import pytest

from astrofractal import FeatureSegmenter, GasMap, StellarMassEstimator
from astrofractal.data import data_path

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyUserWarning")


def state():
    numbers = np.random.mtrand._rand.get_state()[1:3]
    generators = [str(n) for n in numbers], random.getstate(), torch.get_rng_state().tolist()
    return *generators, list(warnings.filters), torch.get_num_threads()


@pytest.fixture(scope="module")
def gas():
    return GasMap.read(data_path("example_cloud.fits"))[100:164, 100:164]


def test_segments(gas):
    before = state()
    FeatureSegmenter(2).segment(gas)
    assert state() == before


def test_masses_in_several_threads(gas):
    estimator = StellarMassEstimator()
    estimator.predict(gas)
    before = state()
    for _ in range(2):
        threads = [threading.Thread(target=estimator.predict, args=(gas,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert state() == before
