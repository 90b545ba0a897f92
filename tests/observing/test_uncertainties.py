"""Uncertainties through a telescope, against Monte Carlo."""

import numpy as np
import pytest
from astropy import units as u

from astrofractal.gasmap.moments import CHANNELS
from astrofractal.observing import Telescope
from tests.factories import STEP, make_gas

SHAPE = (36, 36)
PIXEL = STEP * u.deg
INNER = (slice(6, -6), slice(6, -6))


@pytest.fixture
def gas():
    """A core with a gradient of velocity, in which each channel has its own uncertainty."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    square = (x - 18) ** 2 + (y - 18) ** 2
    column = 1e21 + 1e22 * (np.exp(-square / 200) + 3 * np.exp(-square / 18))
    gas = make_gas(column, 0.05 * (x - 18.0), 0.3 + 0.01 * y)
    return gas.replace(
        column_density_uncertainty=0.05 * gas.column_density,
        velocity_uncertainty=np.full(SHAPE, 0.06) * u.km / u.s,
        dispersion_uncertainty=np.full(SHAPE, 0.04) * u.km / u.s,
    )


def scatter(gas, telescope, *, n=80):
    """Return the standard deviation of each channel over noisy maps (3, ny, nx)."""
    rng = np.random.default_rng(0)
    seen = []
    for seed in range(n):
        noisy = {
            name: getattr(gas, name)
            + rng.standard_normal(SHAPE) * getattr(gas, f"{name}_uncertainty")
            for name in CHANNELS
        }
        one = telescope.observe(gas.replace(**noisy), random_state=seed)
        seen.append([getattr(one, name).value for name in CHANNELS])
    return np.std(seen, axis=0)


def errors(gas):
    return np.array([getattr(gas, f"{name}_uncertainty").value for name in CHANNELS])


NOISE = {"noise": 3e20 / u.cm**2, "velocity_noise": 40 * u.m / u.s}


@pytest.mark.parametrize(
    "options",
    [
        {"beam": 3 * PIXEL},
        {"beam": (5 * PIXEL, 2 * PIXEL, 30 * u.deg), **NOISE},
        {"beam": 5 * PIXEL, "pixel_scale": 2 * PIXEL, **NOISE},
        {"pixel_scale": 3 * PIXEL},
        {"largest_scale": 30 * PIXEL},
        {"beam": 3 * PIXEL, "distance": 150 * u.pc, **NOISE},
    ],
    ids=["beam", "elliptical beam and noise", "beam, pixels, noise", "pixels", "filter", "moved"],
)
def test_uncertainties_are_those_of_monte_carlo(gas, options):
    telescope = Telescope(**options)
    found, expected = errors(telescope.observe(gas)), scatter(gas, telescope)
    ratio = (found / expected)[:, *(INNER if found.shape[1:] == SHAPE else np.s_[3:-3, 3:-3])]
    if "largest_scale" in options:  # where something is left
        ratio = ratio[:, 10:15, 10:15]
    for one in ratio:
        assert np.median(one) == pytest.approx(1, abs=0.07)
    np.testing.assert_allclose(ratio, 1, atol=0.4)  # 8 % is the scatter of 80 maps


def test_two_beams_are_one(gas):
    """The noise of the first map is correlated over its beam and falls by the ratio of the areas."""
    twice = Telescope(beam=8 * PIXEL).observe(Telescope(beam=5 * PIXEL).observe(gas))
    once = Telescope(beam=8 * PIXEL).observe(gas)
    for name in CHANNELS:
        two, one = (getattr(g, f"{name}_uncertainty").value[12:-12, 12:-12] for g in (twice, once))
        np.testing.assert_allclose(two, one, rtol=0.15)


def test_what_is_absent_stays_absent(gas):
    telescope = Telescope(beam=3 * PIXEL, noise=0.1)
    bare = gas.replace(**dict.fromkeys((f"{name}_uncertainty" for name in CHANNELS), None))
    seen = telescope.observe(bare)
    assert seen.velocity_uncertainty is None
    np.testing.assert_allclose(
        seen.column_density_uncertainty[INNER],
        0.1 * Telescope(beam=3 * PIXEL).observe(bare).column_density[INNER],
    )
    without = telescope.observe(gas.replace(velocity=None, velocity_uncertainty=None))
    assert without.velocity_uncertainty is None
    assert np.isfinite(without.dispersion_uncertainty.value).all()


def test_a_map_without_coordinates(gas):
    plain = gas.replace(wcs=None, pixel_scale=0.01 * u.pc)
    seen = Telescope(beam=0.03 * u.pc).observe(plain)
    on_sky = Telescope(beam=3 * PIXEL).observe(gas)
    np.testing.assert_allclose(errors(seen), errors(on_sky), rtol=1e-3)
