"""Warnings point at the line of the user's code."""

import numpy as np
import pytest

from astrofractal import StellarMassEstimator
from astrofractal.exceptions import AstrofractalWarning
from astrofractal.mass import FeatureSet, NoSkillWarning, find_protostars
from tests.factories import make_column, make_gas, make_mapset


def test_detection():
    with pytest.warns(AstrofractalWarning, match="threshold") as caught:
        find_protostars(make_gas(np.full((70, 70), 1e21)))
    assert caught[0].filename == __file__


@pytest.mark.parametrize(("method", "positions"), [("catalog", [[(35, 35)]]), ("predict", [])])
def test_no_skill(method, positions):
    features = FeatureSet(pooling=None, profiles="all")
    estimator = StellarMassEstimator(features=features, regressor="ridge").fit(make_mapset(18))
    gas = make_gas(make_column((70, 70), [(35, 35, 1e23, 4)], roughness=0.05))
    with pytest.warns(NoSkillWarning) as caught:
        getattr(estimator, method)(gas, *positions)
    assert {warning.filename for warning in caught} == {__file__}
