"""Masses, intervals and scores of the bundled cloud, as a change of the code must leave them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from astrofractal import GasMap, StellarMassEstimator
from astrofractal.data import data_path

#: log10 of mass, mass_lower and mass_upper in solMass, and ood_score, of the first sources.
FROZEN = np.array(
    [
        [0.646, 0.049, 1.244, 0.549],
        [-0.297, -0.715, 0.121, 0.576],
        [-0.445, -0.688, -0.202, 0.472],
        [-0.373, -0.619, -0.127, 0.653],
        [-0.540, -0.753, -0.327, 0.774],
        [0.205, -0.388, 0.799, 0.410],
        [-0.614, -0.867, -0.360, 1.039],
        [0.156, -0.409, 0.720, 0.478],
        [0.247, -0.351, 0.846, 0.499],
        [0.439, -0.157, 1.034, 0.451],
        [-0.133, -0.632, 0.366, 0.653],
        [-0.329, -0.682, 0.024, 0.456],
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
