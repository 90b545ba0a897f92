"""Tests of the distributions of masses that a calibration is made for."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable
from numpy.testing import assert_allclose

from astrofractal import StellarMassEstimator
from astrofractal.gasmap.moments import CHANNELS
from astrofractal.mass import PRIORS, NoSkillWarning, Prior
from astrofractal.mass.weights import as_prior, importance

TABLE = QTable({"mass": [0.1, 1.0, 10.0] * u.solMass, "number": [4.0, 2.0, 0.0]})


def test_functions_are_those_of_the_papers():
    mass = np.array([0.04, 0.0799, 0.0801, 0.4999, 0.5001, 2.0, 4.0])
    density = Prior("kroupa")(np.log10(mass))
    assert_allclose(density[[2, 4]], density[[1, 3]], rtol=2e-3)  # without a step
    assert_allclose(density[-1] / density[-2], 2**-1.3)
    assert_allclose(density[1] / density[0], (0.0799 / 0.04) ** 0.7)
    chabrier = Prior("chabrier")
    assert chabrier(np.log10(0.079)) == 1
    assert_allclose(chabrier(np.log10(0.079) + 0.69), np.exp(-0.5))
    assert_allclose(chabrier(1e-9), chabrier(-1e-9), rtol=1e-6)
    assert_allclose(chabrier(1.0) / chabrier(0.0), 10**-1.3)
    assert_allclose(as_prior(TABLE)([-2, -0.5, 0.5, 2]), [0, 3, 1, 0])


@pytest.mark.parametrize("name", PRIORS)
def test_reference_masses_follow_the_prior(name):
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 9, 3000)
    log_mass, stars = rng.normal(0, 0.4, 3000).repeat(counts), np.arange(3000).repeat(counts)
    weights = importance(Prior(name), log_mass, stars) / counts[stars]
    centers = np.linspace(-0.6, 0.6, 5)
    found = [weights[np.abs(log_mass - c) < 0.1].sum() for c in centers]
    expected = Prior(name)(centers)
    assert_allclose(found / np.sum(found), expected / expected.sum(), atol=0.03)
    assert 0.1 <= weights.max() * counts.max() <= 10 * counts.max()


def test_a_calibration_is_made_again(estimator, mapset, new_maps, tmp_path):
    low = QTable({"mass": [0.1, 1.0] * u.solMass, "number": [1.0, 1e-3]})
    found = estimator.with_prior(low)
    assert found.fingerprint() != estimator.fingerprint()
    # Where the maps tell little, masses are those that are expected.
    images = new_maps.images.copy()
    images[:, 1:] = np.nan
    with pytest.warns(NoSkillWarning):
        shift = np.log10(found.predict(images) / estimator.predict(images)).value
    assert shift.mean() < -0.1
    fitted = StellarMassEstimator(
        features=estimator.features, regressor="ridge", prior=low
    ).fit(mapset)  # fmt: skip
    assert_allclose(fitted.predict(new_maps), found.predict(new_maps), rtol=0.02)
    found.save(tmp_path / "a.astrofractal")
    loaded = StellarMassEstimator.load(tmp_path / "a.astrofractal")
    assert loaded.prior == as_prior(low)
    assert loaded.fingerprint() == found.fingerprint()
    assert_allclose(loaded.predict(new_maps), found.predict(new_maps))
    without = loaded.leave_out("cloud1", channels=[CHANNELS])
    assert next(iter(without.calibrations_.values())).prior == as_prior(low)
    again = found.with_prior(None)
    assert_allclose(again.predict(new_maps), estimator.predict(new_maps), rtol=1e-5)


def test_the_bias_at_the_ends_is_told(estimator, new_maps):
    calibration = next(iter(estimator.calibrations_.values()))
    low, _, high = calibration.end_bias
    assert low > 0 > high
    table = estimator.evaluate(new_maps[:2]).to_table()
    assert table.meta["end_bias"].startswith("N+v+sigma: +0.")


@pytest.mark.parametrize(
    ("prior", "error", "message"),
    [
        ("salpeter", ValueError, "one of kroupa, chabrier or a table, got 'salpeter'"),
        (3, TypeError, "got 3"),
        (QTable({"mass": [1.0]}), ValueError, "column 'number', it has mass"),
        (QTable({"mass": [1, 2] * u.pc, "number": [1, 2]}), u.UnitConversionError, "unit of mass"),
        (TABLE[:1], ValueError, "at least two masses"),
        (TABLE[::-1], ValueError, "increase"),
        (QTable({"mass": [1.0, 2.0], "number": [0.0, 0.0]}), ValueError, "one above"),
    ],
)
def test_wrong_priors(prior, error, message):
    with pytest.raises(error, match=message):
        StellarMassEstimator(prior=prior).fit([])


def test_a_prior_beyond_the_reference_masses(estimator):
    with pytest.raises(ValueError, match="and has none there"):
        estimator.with_prior(QTable({"mass": [900.0, 1000.0], "number": [1.0, 1.0]}))
