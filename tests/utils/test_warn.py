"""Warnings point at the line of the user's code."""

import inspect
import warnings

import numpy as np
import pytest

from astrofractal import StellarMassEstimator
from astrofractal.catalogs import find_protostars
from astrofractal.exceptions import AstrofractalWarning
from astrofractal.mass import FeatureSet
from tests.factories import make_column, make_gas, make_mapset


def said(function, *arguments, **options):
    """Return what a call warns of; each warning must point at the line of the call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        line = inspect.currentframe().f_lineno + 1
        function(*arguments, **options)
    assert {(w.filename, w.lineno) for w in caught} == {(__file__, line)}
    assert all(issubclass(w.category, AstrofractalWarning) for w in caught)
    return " | ".join(str(w.message) for w in caught)


def test_detection():
    assert "threshold" in said(find_protostars, make_gas(np.full((70, 70), 1e21)))


@pytest.mark.parametrize("progress_bar", [False, True])
def test_masses(progress_bar):
    features, options = FeatureSet(pooling=None, profiles=True), {"progress_bar": progress_bar}
    estimator = StellarMassEstimator(features=features, regressor="ridge").fit(make_mapset(18))
    column = make_column((100, 100), [(50, 50, 1e23, 4)], roughness=0.05)
    velocity = np.full(column.shape, np.nan)
    velocity[46:54] = np.random.default_rng(0).normal(0, 0.3, (8, 100))
    gas = make_gas(column, velocity)
    text = said(estimator.catalog, gas, [(50, 50)], **options)
    assert "have no predictive power" in text
    assert "velocity or dispersion are known in" in text
    assert "2 given span" in said(estimator.catalog, gas, [(900, 50), (950, 50)], **options)
    small = make_gas(column[35:65, 35:65])
    assert "smaller than a cutout" in said(estimator.catalog, small, [(15, 15)], **options)
    for method in (estimator.predict, estimator.evaluate):
        assert "have no predictive power" in said(method, gas, **options)
