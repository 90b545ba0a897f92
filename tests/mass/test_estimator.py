import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import NDData
from numpy.testing import assert_allclose

from astrofractal import FractalEncoder, GasMap, StellarMassEstimator
from astrofractal.mass import NoSkillWarning

ALL = ("column_density", "velocity", "dispersion")


def test_learns_what_the_maps_carry(estimator, new_maps):
    r2, rmse = estimator.score(new_maps)
    assert r2 > 0.8
    assert rmse < 0.25
    assert estimator.calibrations[ALL].skill["r2"] > 0.8
    # Only the dispersion carries the mass.
    assert estimator.calibrations["column_density",].skill["r2"] < 0.2
    assert set(estimator.calibrations) == {
        ("column_density",), ("column_density", "velocity"), ("column_density", "dispersion"), ALL
    }  # fmt: skip


def test_predict_kinds_of_input(estimator, new_maps):
    gases = [new_maps.gasmap(i) for i in range(3)]
    masses = estimator.predict(gases)
    assert masses.unit == u.solMass
    assert masses.shape == (3,)
    assert_allclose(estimator.predict(new_maps[:3]), masses, rtol=1e-2)
    assert_allclose(estimator.predict(new_maps.images[:3]), masses, rtol=1e-2)
    assert_allclose(estimator.predict(gas for gas in gases), masses, rtol=1e-3)
    one = estimator.predict(gases[0])
    assert one.isscalar
    assert_allclose(one, masses[0], rtol=1e-3)
    column = NDData(gases[0].column_density)
    with pytest.warns(NoSkillWarning, match="no skill"):
        assert estimator.predict(column).isscalar


def test_wide_map_is_cut_out(estimator, new_maps):
    image = np.pad(new_maps.images[0], ((0, 0), (18, 18), (18, 18)), mode="edge")
    scale = {"pixel_scale": 0.5 / 64 * u.pc}
    channels = (10.0 ** image[0] / u.cm**2, image[1] * u.km / u.s, image[2] * u.km / u.s)
    wide = GasMap(*channels, **scale)
    assert_allclose(estimator.predict(wide), estimator.predict(new_maps[:1])[0], rtol=0.1)
    with pytest.raises(ValueError, match="needs a WCS and a distance"):
        estimator.predict(GasMap(*channels))


def test_interval(estimator, new_maps):
    lower, upper = estimator.predict_interval(new_maps, 0.68)
    wide_lower, wide_upper = estimator.predict_interval(new_maps, 0.95)
    mass = estimator.predict(new_maps)
    assert np.all((lower < mass) & (mass < upper))
    assert np.all((wide_lower <= lower) & (upper <= wide_upper))
    inside = (wide_lower < new_maps.masses) & (new_maps.masses < wide_upper)
    assert inside.mean() > 0.8
    with pytest.raises(ValueError, match="level"):
        estimator.predict_interval(new_maps, 68)


def test_channels_choose_the_calibration(estimator, new_maps):
    images = new_maps.images[:4].copy()
    images[1, 1] = np.nan
    images[2, 2] = np.nan
    images[3, 1:] = np.nan
    with pytest.warns(NoSkillWarning):
        result = estimator.evaluate(images)
    used = [c.channels for c in result.calibrations]
    assert used == [ALL, ALL[::2], ALL[:2], ALL[:1]]
    assert "no-velocity" in result.flags[1]
    assert "no-dispersion" in result.flags[2]
    assert {"no-velocity", "no-dispersion", "no-skill"} <= set(result.flags[3])
    # Without skill the interval is nearly as wide as the masses spread.
    assert result.half_width(0.68)[3] > 1.5 * result.half_width(0.68)[0]


@pytest.mark.parametrize(("r2", "warns"), [(-0.2, True), (0.05, True), (0.25, False)])
def test_little_skill_is_none(estimator, new_maps, monkeypatch, r2, warns):
    monkeypatch.setitem(estimator.calibrations[ALL].skill, "r2", r2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = estimator.evaluate(new_maps[:2])
    assert [w.category is NoSkillWarning for w in caught] == [True] * warns
    assert ("no-skill" in result.flags[0]) == warns
    assert result.without_skill == ({" + ".join(ALL): r2} if warns else {})


def test_combine(estimator, new_maps):
    masses = estimator.predict(new_maps[:5])
    combined = estimator.predict(new_maps[:5], combine="median")
    assert combined.isscalar
    assert_allclose(combined, np.median(masses))
    pairs = estimator.predict(new_maps[:4], combine="mean", groups=["b", "b", "a", "a"])
    assert_allclose(pairs[0], np.sqrt(masses[0] * masses[1]))
    lower, upper = estimator.predict_interval(new_maps[:5], combine="median")
    assert lower < combined < upper
    with pytest.raises(ValueError, match="combine"):
        estimator.predict(new_maps, combine="sum")
    with pytest.raises(ValueError, match="groups"):
        estimator.predict(new_maps[:4], groups=[1, 1, 2, 2])


def photograph():
    from sklearn.datasets import load_sample_image

    return load_sample_image("china.jpg")[100:356:4, 200:456:4] / 255.0


def strange_maps(image):
    rng = np.random.default_rng(0)
    photo = photograph()
    noise = [22 + 0.4 * rng.standard_normal((64, 64)), rng.standard_normal((64, 64)) * 0.5]
    return {
        "photograph": [21.5 + photo[..., 0], photo[..., 1] - 0.5, photo[..., 2] * 0.6],
        "white noise": [*noise, 0.3 + 0.1 * rng.random((64, 64))],
        "blank": [np.full((64, 64), 22.0), np.zeros((64, 64)), np.full((64, 64), 0.4)],
        "per m2": [image[0] + 4, image[1], image[2]],
        "m/s": [image[0], image[1] * 1000, image[2] * 1000],
    }


@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize("kind", ["photograph", "white noise", "blank", "per m2", "m/s"])
@pytest.mark.filterwarnings("ignore::astrofractal.mass.NoSkillWarning")
def test_strange_maps_are_flagged(estimator, new_maps, kind, n_channels):
    image = np.array(strange_maps(new_maps.images[0])[kind])
    image[n_channels:] = np.nan
    if kind == "m/s" and n_channels == 1:
        pytest.skip("a column density has no velocity unit")
    result = estimator.evaluate(image[None])
    assert "ood" in result.flags[0]
    assert result.ood_score[0] > estimator.ood_threshold


@pytest.mark.filterwarnings("ignore::astrofractal.mass.NoSkillWarning")
def test_alike_maps_are_not_flagged(estimator, new_maps):
    assert (estimator.ood_score(new_maps) < estimator.ood_threshold).mean() > 0.9
    assert isinstance(estimator.ood_score(new_maps.gasmap(0)), float)


def test_observe_and_groups(mapset, new_maps):
    seen = []

    def observe(images):
        seen.append(images.shape)
        return images

    estimator = StellarMassEstimator(features="none", profiles=("dispersion",), regressor="ridge")
    estimator.fit(mapset.images, mapset.masses, channels=[ALL], observe=observe)
    assert seen == [mapset.images.shape]
    assert estimator.score(new_maps)[0] > 0.8
    with pytest.raises(ValueError, match="groups"):
        estimator.leave_out("cloud0")


def test_leave_out(estimator):
    other = estimator.leave_out("cloud0")
    assert other.calibrations[ALL].skill["n_groups"] == 2
    assert other.calibrations[ALL].skill["n_maps"] == 60
    assert estimator.calibrations[ALL].skill["n_groups"] == 3
    assert "without-cloud0" in other.reference_id
    with pytest.raises(ValueError, match="cloud9"):
        estimator.leave_out("cloud9")


def test_with_encoder(mapset):
    maps = mapset[:40]
    encoder = FractalEncoder(weights="random")
    estimator = StellarMassEstimator(encoder, features="central", profiles=("dispersion",))
    estimator.fit(maps, channels=[ALL])
    calibration = estimator.calibrations[ALL]
    assert calibration.scaler.blocks == [192, 6]
    assert estimator.predict(maps[:2]).shape == (2,)
    assert estimator.meta["weights_id"] == "random-0"
    assert "random-0" in repr(estimator)


def test_errors(mapset, estimator):
    with pytest.raises(ValueError, match="regressor must be one of"):
        StellarMassEstimator(regressor="oracle")
    with pytest.raises(ValueError, match="profiles must be among"):
        StellarMassEstimator(profiles=["temperature"])
    with pytest.raises(RuntimeError, match="not calibrated"):
        StellarMassEstimator(features="none", profiles="all").predict(mapset)
    new = StellarMassEstimator(features="none", profiles="all", regressor="ridge")
    with pytest.raises(TypeError, match="masses must be a Quantity"):
        new.fit(mapset.images, mapset.masses.value)
    with pytest.raises(u.UnitConversionError, match="masses"):
        new.fit(mapset.images, mapset.masses.value * u.pc)
    with pytest.raises(ValueError, match="one entry a map"):
        new.fit(mapset.images, mapset.masses[:5])
    with pytest.raises(ValueError, match="at least 10"):
        new.fit(mapset[:5])
    images = mapset.images.copy()
    images[:, 1] = np.nan
    with pytest.raises(ValueError, match="not all maps have velocity"):
        new.fit(images, mapset.masses, channels=[ALL])
    with pytest.raises(ValueError, match="shape"):
        estimator.predict(mapset.images[:, :2])
    with pytest.raises(ValueError, match="map 1"):
        estimator.predict([mapset.gasmap(0), GasMap(np.ones((5, 5)) * 1e22 / u.cm**2)])
