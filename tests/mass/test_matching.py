"""Tests of calibrations that are matched to a map."""

import os
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import NDData, StdDevUncertainty

from astrofractal import GasMap, StellarMassEstimator
from astrofractal.exceptions import AstrofractalWarning
from astrofractal.gasmap.moments import CHANNEL_SETS
from astrofractal.mass import FeatureSet
from astrofractal.mass.files import write_matched
from astrofractal.observing import Telescope
from tests.factories import make_mapset

GAS = FeatureSet(pooling=None, profiles=True, contrasts=True)


def quick(**options):
    """An estimator that needs no network."""
    return StellarMassEstimator(features=GAS, **options)


def seen(mapset, *, random_state=0, **options):
    column, velocity, dispersion = mapset.images[0]
    gas = GasMap(
        10**column / u.cm**2,
        velocity * u.km / u.s,
        dispersion * u.km / u.s,
        pixel_scale=mapset.pixel_scale,
        distance=140 * u.pc,
    )
    return Telescope(beam=36 * u.arcsec, correlated=True, **options).observe(
        gas, random_state=random_state
    )


@pytest.fixture(scope="module")
def maps():
    return make_mapset(60, n_maps=1)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "astrofractal" / "matched"


def test_reference_maps_look_as_the_map(maps):
    footprint = np.ones((64, 64), bool)
    footprint[:, 50:] = False
    gas = seen(
        maps, noise=0.1, velocity_noise=0.05 * u.km / u.s, footprint=footprint, random_state=1
    )
    matched = quick().matched(gas, [(31.5, 31.5)], maps=maps)
    found = matched.telescope_
    assert found.correlated
    assert np.isclose(found.beam[0].to_value(u.pc), 36 / 206264.8 * 140, rtol=1e-3)
    assert np.isclose(found.noise, 0.1, rtol=0.3)
    assert np.isclose(found.velocity_noise.to_value(u.km / u.s), 0.05, rtol=0.01)
    assert found.channels == gas.channels
    assert set(matched.calibrations_) == set(CHANNEL_SETS)
    images = found.observe_images(maps.images)
    share = np.isfinite(images).mean((2, 3))
    assert np.allclose(share, 50 / 64, atol=0.01)
    assert not np.array_equal(images[0], images[1])
    assert matched.encoder_ is None
    assert matched.catalog(gas, [(31.5, 31.5)])["mass"][0] > 0 * u.solMass


def test_it_is_kept_for_the_same_map(maps):
    gas, estimator = seen(maps), quick()
    first = estimator.matched(gas, [(31.5, 31.5)], maps=maps)
    again = estimator.matched(gas, [(31.5, 31.5)], maps=maps)
    assert again.fingerprint() == first.fingerprint()
    other = estimator.matched(gas, [(31.5, 31.5)], maps=maps, random_state=1)
    assert other.fingerprint() != first.fingerprint()


def test_it_is_kept_on_disk(maps, folder, monkeypatch):
    gas, options = seen(maps), {"positions": [(31.5, 31.5)], "maps": maps}
    first = quick().matched(gas, **options)
    (path,) = folder.iterdir()

    def refuse(*args, **kwargs):
        msg = "it was fitted again"
        raise AssertionError(msg)

    with monkeypatch.context() as patch:
        patch.setattr(StellarMassEstimator, "fit", refuse)
        again = quick().matched(gas, **options)
        with pytest.raises(AssertionError, match="fitted again"):
            quick(prior="kroupa").matched(gas, **options)
        with pytest.raises(AssertionError, match="fitted again"):
            quick().matched(gas, **options, cache=False)
    assert again.fingerprint() == first.fingerprint()
    assert again.telescope_.fingerprint() == first.telescope_.fingerprint()
    path.write_bytes(b"damaged")
    assert quick().matched(gas, **options).fingerprint() == first.fingerprint()
    assert path.stat().st_size > 1000


def test_the_oldest_are_removed(estimator, folder):
    folder.mkdir(parents=True, mode=0o700)
    for number in range(70):
        (folder / f"{number:02d}.astrofractal").touch()
        os.utime(folder / f"{number:02d}.astrofractal", (number, number))
    write_matched(estimator, "new")
    names = {path.name for path in folder.iterdir()}
    assert len(names) == 64
    assert {"69.astrofractal", "new.astrofractal"} <= names
    assert "06.astrofractal" not in names


@pytest.mark.filterwarnings("ignore::astrofractal.mass.NoSkillWarning")
def test_a_catalog_tells_when_it_matters(maps):
    column = 10.0 ** maps.images[0, 0]
    options = {"pixel_scale": maps.pixel_scale, "distance": 140 * u.pc}
    holes = np.arange(64)[:, None] < np.full(64, 8)
    errors = StdDevUncertainty(np.full((64, 64), 2e21))
    seen = NDData(column, unit=u.cm**-2, mask=holes, uncertainty=errors)
    gas, estimator = GasMap(seen, beam=36 * u.arcsec, **options), StellarMassEstimator()
    with pytest.warns(AstrofractalWarning, match="the map has") as caught:
        estimator.catalog(gas, [(31.5, 31.5)])
    ((message, place),) = [
        (str(w.message), w.filename) for w in caught if "the map has" in str(w.message)
    ]
    assert place == __file__
    assert "a beam of 3.1 px of the reference maps, noise of" in message
    assert "12 % of a cutout without data" in message
    assert "R2 = " in message
    assert "factor of" in message
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="the map has")
        estimator.catalog(GasMap(column / u.cm**2, **options), [(31.5, 31.5)])
        estimator.matched(gas, [(31.5, 31.5)], maps=maps).catalog(gas, [(31.5, 31.5)])


def test_clouds_that_are_left_out_stay_out(maps, estimator):
    out = estimator.leave_out("cloud0")
    matched = out.matched(seen(maps), [(31.5, 31.5)], maps=maps)
    for calibration in matched.calibrations_.values():
        assert set(calibration.clouds_.tolist()) == {"cloud1", "cloud2"}
    with pytest.raises(ValueError, match="maps must be given, those of this calibration"):
        out.matched(seen(maps), [(31.5, 31.5)])


def test_features_are_chosen_by_their_scores(maps, tmp_path):
    telescope = Telescope(noise=0.1, velocity_noise=0.05 * u.km / u.s)
    matched = StellarMassEstimator().matched(telescope, maps=maps[:45])
    scores = matched.choice_["r2_protostar"]
    assert list(scores) == ["tokens + contrasts", "contrasts + profiles"]
    assert scores[matched.choice_["features"]] == max(scores.values())
    calibration = matched.calibrations_[telescope.channels]
    assert calibration.skill_["r2_protostar"] == max(scores.values())
    matched.save(tmp_path / "matched.astrofractal")
    again = StellarMassEstimator.load(tmp_path / "matched.astrofractal")
    assert again.choice_ == matched.choice_
    text = again.evaluate(maps[:1]).to_table(meta=again.meta).meta["matched"]
    network = "with" if "tokens" in matched.choice_["features"] else "without"
    assert text.startswith(f"{network} the network, by {matched.choice_['features']}")
    assert all(f"{name} {r2:.2f}" in text for name, r2 in scores.items())
    np.testing.assert_allclose(again.predict(maps[:3]), matched.predict(maps[:3]), rtol=1e-3)
    with pytest.raises(
        ValueError, match="positions and largest_scale must not be given with a Telescope"
    ):
        StellarMassEstimator().matched(telescope, [(31.5, 31.5)], maps=maps)


def test_noise_is_measured_as_it_is(maps):
    flat = GasMap(np.full((96, 96), 1e22) / u.cm**2, pixel_scale=0.01 * u.pc, distance=140 * u.pc)
    beam = 0.04 * u.pc / (140 * u.pc) * u.rad
    for noise, correlated in ((0.1, False), (1e21 / u.cm**2, True)):
        column = flat.column_density * np.geomspace(0.1, 10, 96)
        gas = Telescope(beam=beam, noise=noise, correlated=correlated).observe(
            flat.replace(column_density=column if noise == 0.1 else flat.column_density)
        )
        found = Telescope.measure(gas)
        assert found.correlated == correlated
        assert u.isclose(u.Quantity(found.noise), u.Quantity(noise), rtol=0.02)


@pytest.mark.parametrize("pixel", [0.6, 1.0])
def test_images_are_as_cutouts_of_the_map(pixel):
    """Roughness and scatter of flat gas with noise, from arrays and cut out of a map."""
    scale = 0.5 * u.pc / 64
    flat = np.full((200, 200), 22.0)
    options = {"noise": 0.1, "pixel_scale": pixel * scale}
    gas = GasMap(10**flat / u.cm**2, pixel_scale=scale, distance=140 * u.pc)
    gas = Telescope(**options).observe(gas)
    generator = np.random.default_rng(1)
    places = generator.uniform(60 / pixel, 140 / pixel, (40, 2))
    cut = np.stack([c.to_array()[0] for c in gas.cutouts(places)])
    image = np.full((40, 3, 64, 64), np.nan)
    image[:, 0] = 22
    image = Telescope(**options).observe_images(image)[:, 0]
    for measure in (np.std, lambda x, axis: np.std(np.diff(x), axis=axis)):
        one, other = measure(cut, axis=(1, 2)), measure(image, axis=(1, 2))
        assert np.mean(one) == pytest.approx(np.mean(other), rel=0.1)
        assert np.std(one) == pytest.approx(np.std(other), abs=0.1 * float(np.mean(other)))


def test_channels_that_the_map_lacks_are_left_out(maps):
    gas = GasMap(
        10 ** maps.images[0, 0] / u.cm**2, pixel_scale=maps.pixel_scale, distance=140 * u.pc
    )
    matched = quick().matched(gas, [(31.5, 31.5)], maps=maps)
    assert list(matched.calibrations_) == [("column_density",)]


@pytest.mark.filterwarnings("ignore::astrofractal.mass.NoSkillWarning")
@pytest.mark.parametrize("lacking", ["velocity", "dispersion"])
def test_cutouts_may_lack_what_the_telescope_observes(maps, lacking):
    gas = seen(maps, largest_scale=600 * u.arcsec)
    matched = quick().matched(gas, [(31.5, 31.5)], maps=maps)
    known = np.arange(64)[:, None] < np.full(64, 2)  # a strip at the border: too little to be used
    values = np.where(known, getattr(gas, lacking), np.nan)
    partly = gas.replace(**{lacking: values, f"{lacking}_uncertainty": None})
    with pytest.warns(AstrofractalWarning, match="velocity or dispersion are known in"):
        table = matched.catalog(partly, [(31.5, 31.5)])
    assert table["mass"][0] > 0 * u.solMass
    assert f"no-{lacking}" in table["flags"][0]


def test_a_matched_calibration_allows_for_the_beam(maps):
    gas, place = seen(maps), [(31.5, 31.5)]
    matched = quick().matched(gas, place, maps=maps)
    assert "beam" not in matched.catalog(gas, place)["flags"][0]
    assert "beam" in quick().fit(maps).catalog(gas, place)["flags"][0]


def test_positions_without_data(maps):
    with pytest.raises(ValueError, match="none of them has data"):
        quick().matched(seen(maps), [(500.0, 500.0)], maps=maps)
