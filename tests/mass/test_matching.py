"""Tests of calibrations that are matched to a map."""

import os
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import NDData, StdDevUncertainty

from astrofractal import GasMap, StellarMassEstimator
from astrofractal.exceptions import AstrofractalWarning
from astrofractal.mass.files import write_matched
from astrofractal.observing import Telescope
from tests.factories import make_mapset


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
    matched = StellarMassEstimator().matched(gas, [(31.5, 31.5)], maps=maps)
    found = matched.telescope_
    assert np.isclose(found.beam[0].to_value(u.pc), 36 / 206264.8 * 140, rtol=1e-3)
    assert np.isclose(found.noise, 0.1, rtol=0.3)
    assert np.isclose(found.velocity_noise.to_value(u.km / u.s), 0.05, rtol=0.01)
    assert list(matched.calibrations_) == [found.channels] == [gas.channels]
    images = found.observe_images(maps.images)
    share = np.isfinite(images).mean((2, 3))
    assert np.allclose(share, 50 / 64, atol=0.01)
    assert not np.array_equal(images[0], images[1])
    assert matched.encoder_ is None
    assert matched.catalog(gas, [(31.5, 31.5)])["mass"][0] > 0 * u.solMass


def test_it_is_kept_for_the_same_map(maps):
    gas, estimator = seen(maps), StellarMassEstimator()
    first = estimator.matched(gas, [(31.5, 31.5)], maps=maps)
    assert estimator.matched(gas, [(31.5, 31.5)], maps=maps) is first
    other = estimator.matched(gas, [(31.5, 31.5)], maps=maps, random_state=1)
    assert other.fingerprint() != first.fingerprint()


def test_it_is_kept_on_disk(maps, folder, monkeypatch):
    gas, options = seen(maps), {"positions": [(31.5, 31.5)], "maps": maps}
    first = StellarMassEstimator().matched(gas, **options)
    (path,) = folder.iterdir()

    def refuse(*args, **kwargs):
        msg = "it was fitted again"
        raise AssertionError(msg)

    with monkeypatch.context() as patch:
        patch.setattr(StellarMassEstimator, "fit", refuse)
        again = StellarMassEstimator().matched(gas, **options)
        with pytest.raises(AssertionError, match="fitted again"):
            StellarMassEstimator(prior="kroupa").matched(gas, **options)
        with pytest.raises(AssertionError, match="fitted again"):
            StellarMassEstimator().matched(gas, **options, cache=False)
    assert again.fingerprint() == first.fingerprint()
    assert again.telescope_.fingerprint() == first.telescope_.fingerprint()
    path.write_bytes(b"damaged")
    assert StellarMassEstimator().matched(gas, **options).fingerprint() == first.fingerprint()
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
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="the map has")
        estimator.catalog(GasMap(column / u.cm**2, **options), [(31.5, 31.5)])
        estimator.matched(gas, [(31.5, 31.5)], maps=maps).catalog(gas, [(31.5, 31.5)])


def test_clouds_that_are_left_out_stay_out(maps, estimator, monkeypatch):
    monkeypatch.setattr("astrofractal.mass.estimator.reference_maps", lambda: maps)
    matched = estimator.leave_out("cloud0").matched(seen(maps), [(31.5, 31.5)])
    (calibration,) = matched.calibrations_.values()
    assert set(calibration.groups_.tolist()) == {"cloud1", "cloud2"}


def test_channels_that_the_map_lacks_are_left_out(maps):
    gas = GasMap(
        10 ** maps.images[0, 0] / u.cm**2, pixel_scale=maps.pixel_scale, distance=140 * u.pc
    )
    matched = StellarMassEstimator().matched(gas, [(31.5, 31.5)], maps=maps)
    assert list(matched.calibrations_) == [("column_density",)]


def test_positions_without_data(maps):
    with pytest.raises(ValueError, match="none of them has data"):
        StellarMassEstimator().matched(seen(maps), [(500.0, 500.0)], maps=maps)
