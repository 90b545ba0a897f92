import numpy as np
import pytest
from astropy import units as u
from numpy.testing import assert_allclose, assert_array_equal

from astrofractal.mass.features import CONTRASTS, aperture_contrasts
from astrofractal.mass.measures import (
    PROFILES,
    aperture_mass,
    appearance,
    radial_profiles,
    virial_mass,
)


@pytest.mark.parametrize(
    "function",
    [
        radial_profiles,
        aperture_contrasts,
        appearance,
    ],
    ids=["profiles", "contrasts", "appearance"],
)
def test_symmetries_of_the_sky(mapset, function):
    images = mapset.images[:3]
    expected = function(images)
    assert np.isfinite(expected).all()
    turned = np.rot90(images, axes=(2, 3))[..., ::-1].copy()
    turned[:, 1] *= -1
    assert_allclose(function(turned), expected, rtol=2e-3, atol=2e-3)


def test_shapes_and_absent_channels(mapset):
    images = mapset.images[:2].copy()
    images[:, 1] = np.nan
    profiles = radial_profiles(images)
    assert profiles.shape == (2, 6 * len(PROFILES))
    assert np.isnan(profiles[:, 6:12]).all()
    assert np.isfinite(np.delete(profiles, range(6, 12), axis=1)).all()
    contrasts = aperture_contrasts(images)
    assert contrasts.shape == (2, len(CONTRASTS))
    assert_array_equal(np.isnan(contrasts[0]), np.array(CONTRASTS) == "velocity")


def test_masked_pixels_do_not_count(mapset):
    images = mapset.images[:2].copy()
    expected = radial_profiles(images)
    images[:, :, :8] = np.nan
    assert_allclose(radial_profiles(images)[:, :5], expected[:, :5], rtol=1e-5)
    assert np.isfinite(radial_profiles(images)).all()


def test_classical_masses():
    images = np.empty((1, 3, 64, 64))
    images[:, 0], images[:, 1], images[:, 2] = 22, 0, 0.5
    pixel = 0.5 / 64 * u.pc
    # 5 sigma^2 R / G with G = 0.0043 pc (km/s)^2 / Msun
    assert_allclose(virial_mass(images, pixel), [5 * 0.25 * 0.1 / 0.0043009] * u.solMass, rtol=1e-4)
    # 224 Msun/pc2 over pi 0.01 pc2
    assert_allclose(aperture_mass(images, pixel), [7.04] * u.solMass, rtol=0.02)
    with pytest.raises(ValueError, match="radius"):
        aperture_mass(images, pixel, radius=0.001 * u.pc)


def test_white_noise_is_rough():
    noise = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
    noise[:, 0] += 22
    roughness = appearance(noise)[0, [2, 6, 9]]
    assert_allclose(roughness, 0, atol=0.05)
