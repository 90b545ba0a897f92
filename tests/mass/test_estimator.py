import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import NDData
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import KNeighborsRegressor

from astrofractal import FractalEncoder, GasMap, StellarMassEstimator
from astrofractal.exceptions import AstrofractalWarning
from astrofractal.flags import skill_flags
from astrofractal.mass import Calibration, FeatureSet, NoSkillWarning
from tests.factories import make_column, make_gas, make_mapset

PROFILES = FeatureSet(pooling=None, profiles=True)

ALL = ("column_density", "velocity", "dispersion")


def test_learns_what_the_maps_carry(estimator, new_maps):
    assert estimator.score(new_maps) > 0.8
    scores = estimator.evaluate(new_maps).scores(new_maps.masses, new_maps.protostars)
    assert scores["r2_protostar"] == estimator.score(new_maps)
    assert scores["rmse"] < 0.25
    assert 0.4 < scores["coverage_68_protostar"] <= scores["coverage_90_protostar"]
    with pytest.raises(ValueError, match="masses must have one entry per map"):
        estimator.score(new_maps, new_maps.masses[:2])
    assert estimator.calibrations_[ALL].skill_["r2"] > 0.8
    # Only the dispersion carries the mass.
    assert estimator.calibrations_["column_density",].skill_["r2"] < 0.2
    assert set(estimator.calibrations_) == {
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
    with pytest.warns(NoSkillWarning, match="no predictive power"):
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
    result = estimator.evaluate(new_maps)
    (lower, upper), (wide_lower, wide_upper) = (result.interval(level) for level in (0.68, 0.95))
    assert np.all((lower < result.log_mass) & (result.log_mass < upper))
    assert np.all((wide_lower <= lower) & (upper <= wide_upper))
    inside = (wide_lower < new_maps.log_masses) & (new_maps.log_masses < wide_upper)
    assert inside.mean() > 0.8
    ends = estimator.predict_interval(new_maps, 0.68)
    assert_allclose(np.log10([end.to_value(u.solMass) for end in ends]), [lower, upper])
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


@pytest.mark.parametrize(
    ("r2", "r2_protostar", "shown"),
    [(0.4, -0.1, -0.1), (0.4, 0.05, 0.05), (0.0, 0.15, None), (0.0, 0.3, None)],
)
def test_little_skill_is_none(estimator, new_maps, monkeypatch, r2, r2_protostar, shown):
    skill = estimator.calibrations_[ALL].skill_
    monkeypatch.setitem(skill, "r2", r2)
    monkeypatch.setitem(skill, "r2_protostar", r2_protostar)
    warns = shown is not None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = estimator.evaluate(new_maps[:2])
    assert [w.category is NoSkillWarning for w in caught] == [True] * warns
    assert ("no-skill" in result.flags[0]) == warns
    assert ("weak-skill" in result.flags[0]) == (0.1 <= r2_protostar < 0.25)
    assert result.without_skill == ({" + ".join(ALL): shown} if warns else {})


def test_bundled_calibrations_with_velocities_have_skill():
    found = StellarMassEstimator().calibrations_
    for channels, calibration in found.items():
        flags = skill_flags(calibration.skill_["r2_protostar"])
        assert flags == ([] if len(channels) > 1 else ["weak-skill"])


def test_combine(estimator, new_maps):
    result = estimator.evaluate(new_maps[:4])
    pairs = result.combine(["b", "b", "a", "a"])
    weights = 1 / result.half_width(0.68)[:2]
    assert_allclose(pairs.log_mass[0], np.average(result.log_mass[:2], weights=weights))
    assert pairs.n_maps.tolist() == [2, 2]
    assert len(result.combine()) == 1
    with pytest.raises(ValueError, match="protostars must have one entry per map"):
        result.combine([1, 2])


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
    assert "unlike-references" in result.flags[0]
    assert result.ood_score[0] > 1


@pytest.mark.filterwarnings("ignore::astrofractal.mass.NoSkillWarning")
def test_alike_maps_are_not_flagged(estimator, new_maps):
    assert (estimator.evaluate(new_maps).ood_score < 1).mean() > 0.9


@pytest.mark.filterwarnings("ignore::astrofractal.mass.NoSkillWarning")
def test_sparse_velocities_are_told(estimator, new_maps):
    images = new_maps.images[:4].copy()
    for image, rows in zip(images[1:], (13, 4, 3), strict=True):
        image[1, rows:] = np.nan  # of 64: enough, few, and too few
    with pytest.warns(AstrofractalWarning, match="known in 4.7 to 6.2 % of the pixels of 2 of 4"):
        result = estimator.evaluate(images)
    assert ["sparse-velocity" in flags for flags in result.flags] == [False, False, True, True]
    assert ["no-velocity" in flags for flags in result.flags] == [False, False, False, True]
    table = result.to_table()
    assert table["channels"].tolist() == ["N+v+sigma"] * 3 + ["N+sigma"]
    assert_allclose(table["velocity_known"], [1, 13 / 64, 4 / 64, 3 / 64])
    images[2, 1] = np.nan  # not there at all
    assert "sparse-velocity" not in estimator.evaluate(images[:3]).flags[2]


@pytest.mark.filterwarnings("ignore::astrofractal.mass.NoSkillWarning")
def test_velocities_that_end_before_the_cutout(estimator):
    velocity = np.zeros((80, 200))
    velocity[:, 60:] = np.nan
    gas = make_gas(make_column((80, 200), [(150, 40, 1e23, 8)]), velocity)
    with pytest.warns(AstrofractalWarning, match="known in 0 % of the pixels of 1 of 1 maps"):
        table = estimator.catalog(gas, [(150, 40)])
    assert "sparse-velocity" in table["flags"][0]
    assert table["velocity_known"][0] == 0


@pytest.mark.parametrize("where", [np.s_[..., 16:48, 16:48], np.s_[..., 20:40, 24:44]])
def test_map_smaller_than_a_cutout(estimator, new_maps, where):
    images = np.full_like(new_maps.images[:2], np.nan)
    images[0] = new_maps.images[0]
    images[1][where] = new_maps.images[1][where]
    with pytest.warns(AstrofractalWarning, match="1 of 2 maps are smaller than a cutout of 0.5 pc"):
        result = estimator.evaluate(images)
    assert np.isfinite(result.log_mass).all()
    assert np.isfinite(result.half_width(0.68)).all()
    assert not np.isnan(result.ood_score).any()
    assert ["unlike-references" in flags for flags in result.flags] == [False, True]


def test_maps_without_clouds(mapset, new_maps):
    estimator = StellarMassEstimator(features=PROFILES, regressor="ridge")
    with pytest.warns(AstrofractalWarning, match="clouds= is not given"):
        estimator.fit(mapset.images, mapset.masses, channels=[ALL])
    assert estimator.score(new_maps) > 0.8
    with pytest.raises(ValueError, match="clouds must be none"):
        estimator.leave_out("cloud0")


def test_leave_out(estimator):
    other = estimator.leave_out("cloud0")
    assert other.calibrations_[ALL].skill_["n_clouds"] == 2
    assert other.calibrations_[ALL].skill_["n_maps"] == 60
    assert estimator.calibrations_[ALL].skill_["n_clouds"] == 3
    assert "without-cloud0" in other.reference_id_
    with pytest.raises(ValueError, match="cloud9"):
        estimator.leave_out("cloud9")


def test_with_encoder(mapset):
    maps = mapset[:40]
    encoder = FractalEncoder(weights="random")
    features = FeatureSet("central", symmetrize=False, profiles=True)
    estimator = StellarMassEstimator(encoder, features=features)
    estimator.fit(maps, channels=[ALL])
    calibration = estimator.calibrations_[ALL]
    assert calibration.scaler_.blocks == [192, 30]
    assert estimator.predict(maps[:2]).shape == (2,)
    assert estimator.meta["weights_id"] == "random-0"
    assert "random-0" in repr(estimator)


def test_scikit_learn_manners(estimator, mapset):
    assert estimator.get_params() == {
        "encoder": None, "features": PROFILES, "regressor": "ridge", "weight_exponent": None,
        "prior": None,
    }  # fmt: skip
    new = clone(estimator)
    assert new.get_params() == estimator.get_params()
    with pytest.raises(NotFittedError):
        new.predict(mapset)
    assert new.set_params(regressor="svr").regressor == "svr"
    # What an option is worth is asked by fit, not by the constructor.
    StellarMassEstimator("no encoder", features=3, regressor="oracle", weight_exponent=-1)


def test_bundled_calibration_is_loaded_at_the_first_use():
    estimator = StellarMassEstimator()
    assert vars(estimator) == dict.fromkeys(estimator.get_params())
    assert ALL in estimator.calibrations_
    assert not clone(estimator).set_params(regressor="svr").__sklearn_is_fitted__()


OTHERS = {
    "encoder": FractalEncoder(weights="random", random_state=1),
    "features": FeatureSet(pooling=None, profiles=True),
    "regressor": ("ridge", "svr"),
    "weight_exponent": 1.0,
    "prior": "kroupa",
}


@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize("option", OTHERS)
def test_each_option_changes_the_fingerprint(mapset, option, fitted):
    maps = make_mapset(12, size=64)
    features = FeatureSet(symmetrize=False)
    one = StellarMassEstimator(FractalEncoder(weights="random"), features=features)
    other = clone(one).set_params(**{option: OTHERS[option]})
    same = clone(one)
    estimators = [one, same, other]
    if fitted:
        for estimator in estimators:
            estimator.fit(maps, channels=[ALL])
    prints = [estimator.fingerprint() for estimator in estimators]
    assert prints[0] == prints[1] != prints[2]
    assert repr(one) != repr(other)
    assert f"{option}=" in repr(one)


FEATURES = {
    "pooling": ("central",), "zoom": 2.0, "symmetrize": False, "profiles": True,
    "contrasts": True,
}  # fmt: skip


@pytest.mark.parametrize("option", FEATURES)
def test_each_feature_changes_the_fingerprint(option):
    one, other = FeatureSet(), FeatureSet(**{option: FEATURES[option]})
    assert StellarMassEstimator(features=one).fingerprint() != (
        StellarMassEstimator(features=other).fingerprint()
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "centrall"}, "pooling must be one of .* got 'centrall'"),
        ({"pooling": None}, "features must not be empty.*pooling=\\(\\)"),
        ({"zoom": 0.5}, "zoom must be a number of at least 1, got 0.5"),
    ],
)
def test_wrong_features_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        FeatureSet(**options)


def test_fingerprint_knows_the_maps(estimator, mapset):
    """Another regressor on the same maps had the same identity once."""
    again = clone(estimator).fit(mapset)
    assert again.fingerprint() == estimator.fingerprint()
    other = clone(estimator).set_params(regressor="svr").fit(mapset)
    assert other.reference_id_ == estimator.reference_id_
    assert other.meta["fingerprint"] != estimator.meta["fingerprint"]
    assert clone(estimator).fit(mapset[:80]).fingerprint() != estimator.fingerprint()
    assert estimator.leave_out("cloud0").fingerprint() != estimator.fingerprint()


def test_errors(mapset, estimator):
    with pytest.raises(ValueError, match="regressor must be one of"):
        StellarMassEstimator(regressor="oracle").fit(mapset)
    with pytest.raises(TypeError, match="features must be a FeatureSet, got str"):
        StellarMassEstimator(features="central").fit(mapset)
    with pytest.raises(ValueError, match="weight_exponent must be .* got -1"):
        StellarMassEstimator(weight_exponent=-1).fit(mapset)
    with pytest.raises(NotFittedError, match="not calibrated"):
        StellarMassEstimator(features=PROFILES).predict(mapset)
    with pytest.raises(ValueError, match="takes no sample_weight.*set weight_exponent=0"):
        StellarMassEstimator(
            features=PROFILES, regressor=KNeighborsRegressor(), weight_exponent=0.5
        ).fit(make_mapset(10)[:15])
    new = StellarMassEstimator(features=PROFILES, regressor="ridge")
    with pytest.raises(TypeError, match="masses must be a Quantity"):
        new.fit(mapset.images, mapset.masses.value)
    with pytest.raises(u.UnitConversionError, match="masses"):
        new.fit(mapset.images, mapset.masses.value * u.pc)
    with pytest.raises(ValueError, match="one entry per map"):
        new.fit(mapset.images, mapset.masses[:5])
    with pytest.raises(ValueError, match="at least 10"):
        new.fit(mapset[:5])
    images = mapset.images.copy()
    images[:, 1] = np.nan
    with pytest.raises(ValueError, match="not all maps have velocity"):
        new.fit(images, mapset.masses, mapset.clouds, channels=[ALL])
    with pytest.raises(ValueError, match="shape"):
        estimator.predict(mapset.images[:, :2])
    with pytest.raises(ValueError, match="map 1"):
        estimator.predict([mapset.gasmap(0), GasMap(np.ones((5, 5)) * 1e22 / u.cm**2)])


@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.filterwarnings("ignore::astrofractal.mass.NoSkillWarning")
def test_bundled_masses_do_not_know_the_orientation(n_channels):
    """Nor the sign of the velocity: rotations and reflections leave masses as they are."""
    from astrofractal.mapset import reference_maps

    image = reference_maps().images[:1].copy()
    image[:, n_channels:] = np.nan
    views = [np.rot90(m, k, (2, 3)) for m in (image, image[..., ::-1]) for k in range(4)]
    views = np.concatenate([v * s for v in views for s in (1, np.array([1, -1, 1])[:, None, None])])
    result = StellarMassEstimator().evaluate(views)
    assert np.ptp(result.log_mass) < 1e-4
    assert np.ptp(result.half_width(0.68)) < 1e-3


def test_masses_stay_within_the_reference_masses(estimator, new_maps):
    """A dispersion far beyond the reference maps gives no mass beyond 30 solar masses."""
    images = new_maps.images[:2].copy()
    images[0, 2] *= 1e4
    result = estimator.evaluate(images)
    lower, upper = result.interval(0.99)
    assert (lower >= np.log10(0.049)).all()
    assert (upper <= max(np.log10(30.03), estimator.calibrations_[ALL].y_.max())).all()
    assert "extrapolated" in result.flags[0]
    assert (lower <= result.log_mass).all()


def test_arrays_pass_the_checks_of_maps(estimator, new_maps):
    one = estimator.predict(new_maps.images[0])
    assert one.isscalar
    assert_allclose(one, estimator.predict(new_maps.images[:1])[0])
    linear = new_maps.images[:2].copy()
    linear[:, 0] = 10.0 ** linear[:, 0]
    with pytest.raises(ValueError, match="log10 of the column density in cm-2, got values up to"):
        estimator.predict(linear)


def test_representations_tell_how_good_they_are(estimator, new_maps):
    calibration = estimator.calibrations_[ALL]
    assert f"R2 {calibration.skill_['r2_protostar']:.2f} +- " in repr(calibration)
    assert "not fitted" in repr(Calibration(ALL, PROFILES, "ridge"))
    assert repr(estimator.evaluate(new_maps[:2])) == "<Evaluation: 2 masses; flags: none>"


@pytest.mark.parametrize("clouds", [None, ["one"] * 90])
def test_fewer_than_two_clouds(mapset, clouds):
    """Protostars are held out in place of clouds, which a warning says."""
    new = StellarMassEstimator(features=PROFILES, regressor="ridge")
    with pytest.warns(AstrofractalWarning, match="too good for another cloud; add maps of other"):
        new.fit(mapset.images, mapset.masses, clouds, protostars=mapset.protostars, channels=[ALL])
    assert new.calibrations_[ALL].clouds_ is None
    assert new.calibrations_[ALL].skill_["r2_protostar"] > 0.5


@pytest.mark.filterwarnings("ignore::astrofractal.mass.NoSkillWarning")
def test_a_map_much_wider_than_a_cutout(estimator):
    column = np.full((320, 320), 1e22) / u.cm**2
    gas = GasMap(column, pixel_scale=0.5 * u.pc / 64, distance=140 * u.pc)
    with pytest.warns(AstrofractalWarning, match="2.5 pc wide is cut to the 0.5 pc .* use catalog"):
        assert estimator.predict(gas).isscalar


def test_repr_says_how_good_it_is(estimator):
    r2 = estimator.calibrations_[ALL].skill_["r2_protostar"]
    assert f"on unseen clouds, N+v+sigma: R2 {r2:.2f} and RMSE" in repr(estimator)
    assert "R2 0.32 and RMSE 0.38 dex per protostar" in repr(StellarMassEstimator())
    assert repr(StellarMassEstimator(regressor="ridge")).endswith("calibration: none: call fit")


def test_systematic_effects_are_stated(estimator):
    assert "twice the column density: -0.08 dex" in StellarMassEstimator().meta["systematic"]
    assert "systematic" not in estimator.meta
