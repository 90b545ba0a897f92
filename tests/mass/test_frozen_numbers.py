"""Masses, intervals and scores of the bundled cloud, as a change of the code must leave them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from astrofractal import GasMap, StellarMassEstimator
from astrofractal.data import data_path

#: log10 of mass, mass_lower and mass_upper in solMass, and ood_score, of the first sources.
FROZEN = np.array(
    [
        [0.585, 0.008, 1.161, 0.645],
        [-0.397, -0.669, -0.125, 0.642],
        [-0.478, -0.714, -0.241, 0.790],
        [-0.291, -0.596, 0.014, 0.983],
        [-0.526, -0.817, -0.235, 1.245],
        [0.436, -0.139, 1.011, 0.534],
        [-0.561, -0.884, -0.238, 1.447],
        [0.180, -0.466, 0.827, 0.585],
        [0.299, -0.369, 0.967, 0.611],
        [0.389, -0.244, 1.022, 0.593],
        [-0.172, -0.577, 0.232, 0.912],
        [-0.492, -0.762, -0.221, 0.637],
    ]
)


@pytest.fixture(scope="module")
def table():
    gas = GasMap.read(data_path("example_cloud.fits"))
    return StellarMassEstimator().catalog(gas, max_sources=len(FROZEN))


@pytest.mark.parametrize("column", ["mass", "mass_lower", "mass_upper"])
def test_masses_and_intervals_of_the_bundled_cloud(table, column):
    i = ["mass", "mass_lower", "mass_upper"].index(column)
    assert_allclose(np.log10(table[column].to_value("solMass")), FROZEN[:, i], atol=0.01)


def test_scores_of_the_bundled_cloud(table):
    assert_allclose(table["ood_score"], FROZEN[:, 3], atol=0.02)
