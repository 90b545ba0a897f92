"""From a snapshot to a cube, through a telescope, to the map of its moments."""

import numpy as np
import pytest
from astropy import units as u

from astrofractal import GasMap
from astrofractal.gasmap import XFactor
from astrofractal.observing import Telescope
from astrofractal.simulations import Snapshot, project

KMS = u.km / u.s
X_FACTOR = 2e21 / u.cm**2 / (u.K * KMS)
VELOCITIES = np.arange(-4, 4.01, 0.1) * KMS


@pytest.fixture(scope="module")
def snapshot():
    """A core in which two clumps move apart."""
    random = np.random.default_rng(3)
    places = random.normal(scale=0.06, size=(4000, 3))
    speed = random.normal(scale=0.3, size=(4000, 3)) + 0.8 * np.sign(places[:, :1])
    return Snapshot(
        places * u.pc,
        np.full(4000, 0.01) * u.solMass,
        speed * KMS,
        smoothing_lengths=np.full(4000, 0.02) * u.pc,
    )


def seen_both_ways(snapshot, telescope, *, noise=0 * u.K):
    options = {
        "size": 0.5 * u.pc, "shape": (32, 32), "center": [0, 0, 0] * u.pc,
        "thermal": 0.1 * KMS, "distance": 300 * u.pc,
    }  # fmt: skip
    cube = project(snapshot, velocities=VELOCITIES, x_factor=X_FACTOR, **options)
    assert cube.header["NAXIS3"] == len(VELOCITIES)
    seen = telescope.observe_cube(cube, noise=noise)
    gas = GasMap.from_cube(seen, column=XFactor(X_FACTOR))
    return gas, telescope.observe(project(snapshot, **options)), seen


@pytest.mark.parametrize(
    "options",
    [
        {"beam": 20 * u.arcsec},
        {"beam": (30 * u.arcsec, 15 * u.arcsec, 40 * u.deg), "pixel_scale": 12 * u.arcsec},
        {"beam": 0.03 * u.pc, "distance": 140 * u.pc},
    ],
)
def test_moments_of_the_observed_cube_are_the_observed_map(snapshot, options):
    gas, expected, cube = seen_both_ways(snapshot, Telescope(**options))
    assert gas.shape == expected.shape
    assert gas.distance == expected.distance
    assert u.isclose(gas.beam.sr, expected.beam.sr, rtol=1e-6)
    assert gas.to_sky(3, 5).separation(expected.to_sky(3, 5)).arcsec < 1e-4
    assert cube.header["BUNIT"] == "K"
    middle = expected.column_density > 0.1 * np.nanmax(expected.column_density)
    for name, tolerance in (("velocity", 0.02), ("dispersion", 0.03)):
        difference = (getattr(gas, name) - getattr(expected, name)).value[middle]
        assert np.abs(difference).max() < tolerance
    ratio = (gas.column_density / expected.column_density).value[middle]
    np.testing.assert_allclose(ratio, 1, atol=0.03)


def test_an_interferometer_filters_each_channel(snapshot):
    """The sum of the channels is the filtered column density, also next to empty channels."""
    telescope = Telescope(beam=20 * u.arcsec, largest_scale=0.2 * u.pc)
    _, expected, cube = seen_both_ways(snapshot, telescope)
    column = (cube.data.sum(axis=0) * u.K * 0.1 * KMS * X_FACTOR).to("cm-2")
    most = np.nanmax(expected.column_density)
    bright = expected.column_density > 0.1 * most
    # pixels without gas are zero in the cube and unknown in the map
    assert u.allclose(column[bright], expected.column_density[bright], atol=0.03 * most)
    assert column.min() < -0.01 * most


def test_noise_is_that_of_the_spectra(snapshot):
    telescope = Telescope(beam=20 * u.arcsec, correlated=True)
    gas, expected, cube = seen_both_ways(snapshot, telescope, noise=0.2 * u.K)
    free = np.abs(VELOCITIES) > 3.5 * KMS
    noise = cube.data[free]
    assert noise.std() == pytest.approx(0.2, rel=0.05)
    assert np.corrcoef(noise[:, :, 1:].ravel(), noise[:, :, :-1].ravel())[0, 1] > 0.5
    bright = expected.column_density > 0.3 * np.nanmax(expected.column_density)
    pull = ((gas.velocity - expected.velocity) / gas.velocity_uncertainty).value[bright]
    assert 0.5 < 1.48 * np.median(np.abs(pull)) < 1.5
