"""Tests of what explains a mass: reference protostars that look alike, and the patches that matter."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from astropy import units as u

from astrofractal import StellarMassEstimator
from astrofractal.mapset import reference_maps
from astrofractal.mass import FeatureSet, plot_explanation
from astrofractal.mass.explanation import measure_sensitivity, occlude
from tests.factories import make_gas

ALL = ("column_density", "velocity", "dispersion")


def test_the_change_of_a_linear_prediction():
    """A prediction that is linear in one patch changes there by its mean less that around it."""
    image = np.random.default_rng(1).normal(size=(3, 64, 64))
    weights = np.random.default_rng(2).normal(size=(4, 4))

    def predict(images):
        return 3 * images[:, 1, 30:34, 34:38].reshape(-1, 16) @ weights.ravel()

    changes = occlude(image, predict, 4)
    around = image[1, 26:38, 30:42].sum() - image[1, 30:34, 34:38].sum()
    expected = 3 * (around / 128 * weights.sum() - np.sum(weights * image[1, 30:34, 34:38]))
    np.testing.assert_allclose(changes["velocity"][30:34, 34:38], expected)
    changes["velocity"][30:34, 34:38] = 0
    assert list(changes) == list(ALL)
    assert not any(change.any() for change in changes.values())


def test_missing_data_stay_missing():
    image = np.ones((3, 64, 64))
    image[:, :30] = np.nan
    image[0, 32, 32] = 5
    changes = occlude(image, lambda images: np.nanmax(images[:, 0], (1, 2)), 4, ALL[:1])
    assert list(changes) == ["column_density"]
    assert np.isnan(changes["column_density"][:30]).all()
    assert changes["column_density"][32, 32] == -4


@pytest.fixture(scope="module")
def contrasts(mapset):
    features = FeatureSet(pooling=None, contrasts=True)
    return StellarMassEstimator(features=features, regressor="ridge").fit(mapset, channels=[ALL])


def test_magnified_features_depend_on_the_center_alone(contrasts, mapset, monkeypatch):
    found = contrasts.sensitivity(mapset.images[0])
    assert list(found) == list(ALL)
    for change in found.values():
        assert change.unit == u.dex
        assert change.data[28:36, 28:36].any()
    monkeypatch.setattr("astrofractal.mass.explanation._MARGIN", 64)
    everywhere = measure_sensitivity(contrasts, mapset.images[0], 4, False)
    for name, change in everywhere.items():
        np.testing.assert_allclose(change.data, found[name].data, atol=1e-6)


def test_sensitivity_is_on_the_sky(estimator, mapset):
    images = 10.0 ** mapset.images[0, 0], *mapset.images[0, 1:]
    gas = make_gas(*images)
    found = estimator.sensitivity(gas, patch=8)
    assert found["dispersion"].wcs.wcs.compare(gas.wcs.wcs)
    # Masses of these maps are in the dispersion alone.
    most = {name: np.abs(change.data).max() for name, change in found.items()}
    assert max(most, key=most.get) == "dispersion"


def test_analogs(estimator, mapset):
    table = estimator.analogs(mapset.images[3], n=4)
    assert table["protostar"][0] == mapset.protostars[3]
    assert table["index"][0] == 3
    assert table["distance"][0] == pytest.approx(0, abs=0.02)
    assert u.isclose(table["mass"][0], mapset.masses[3])
    assert table["cloud"][0] == mapset.clouds[3]
    assert np.all(np.diff(table["distance"]) >= 0)
    assert len(set(table["protostar"])) == 4
    assert "image" not in table.colnames
    with pytest.raises(ValueError, match="gas must be one map, got MapSet"):
        estimator.analogs(mapset)


def test_clouds_that_are_left_out_are_no_analogs(estimator, mapset):
    other = estimator.leave_out("cloud0")
    row = int(np.flatnonzero(mapset.clouds == "cloud0")[0])
    assert "cloud0" not in other.analogs(mapset.images[row], n=20)["cloud"]


@pytest.mark.parametrize("images", [True, False])
def test_they_are_drawn(estimator, mapset, images):
    analogs = estimator.analogs(mapset.images[3], n=3)
    if images:
        analogs["image"] = mapset.images[analogs["index"]]
    figure = plot_explanation(analogs, estimator.sensitivity(mapset.images[3], patch=16))
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:3] == ["log N", "v", "sigma"]
    assert any(title.startswith(str(analogs["protostar"][0])) for title in titles)
    plt.close(figure)


def test_bundled_analogs_have_images():
    maps, estimator = reference_maps(), StellarMassEstimator().leave_out("cloud04", channels=[ALL])
    table = estimator.analogs(maps.images[maps.clouds != "cloud04"][7], n=2)
    np.testing.assert_array_equal(table["image"][0], maps.images[maps.clouds != "cloud04"][7])
    assert "image" not in str(table)
    assert "systematic" in estimator.meta
