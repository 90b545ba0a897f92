"""Uncertainties through cutouts and regridding, against Monte Carlo."""

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import NDData
from scipy.ndimage import gaussian_filter

from astrofractal import GasMap
from astrofractal.exceptions import AstrofractalWarning
from astrofractal.gasmap.moments import CHANNELS
from tests.factories import STEP, make_gas, make_wcs

SHAPE = (40, 40)
SIGMA = 1 / np.sqrt(8 * np.log(2))  # of a Gaussian of FWHM 1


def true_map(**options):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    column = 1e22 * np.exp(-((x - 20) ** 2 + (y - 20) ** 2) / 200)
    gas = make_gas(column, 0.05 * (x - 20.0), 0.3 + 0.01 * y, **options)
    return gas.replace(
        column_density_uncertainty=0.05 * gas.column_density,
        velocity_uncertainty=np.full(SHAPE, 0.06) * u.km / u.s,
        dispersion_uncertainty=np.full(SHAPE, 0.04) * u.km / u.s,
    )


def noisy(gas, rng, smooth=None):
    changes = {}
    for name in CHANNELS:
        noise = rng.standard_normal(SHAPE)
        if smooth:
            noise = gaussian_filter(noise, smooth, mode="wrap") * np.sqrt(4 * np.pi) * smooth
        changes[name] = getattr(gas, name) + noise * getattr(gas, f"{name}_uncertainty")
    return gas.replace(**changes)


def scatter(gas, cut, *, smooth=None, n=200):
    """Return the standard deviation of each channel over noisy maps."""
    rng = np.random.default_rng(0)
    cutouts = [cut(noisy(gas, rng, smooth)) for _ in range(n)]
    return {
        name: np.std([getattr(one, name).value for one in cutouts], axis=0) for name in CHANNELS
    }


@pytest.mark.parametrize("name", CHANNELS)
def test_uncertainties_of_averaged_pixels_are_those_of_monte_carlo(name):
    gas = true_map()

    def cut(gas):
        return gas.cutout((19.5, 19.5), size=40 * gas.pixel_scale, shape=(10, 10))

    ratio = getattr(cut(gas), f"{name}_uncertainty").value / scatter(gas, cut)[name]
    assert np.median(ratio) == pytest.approx(1, abs=0.03)
    np.testing.assert_allclose(ratio, 1, atol=0.25)  # 5 % is the scatter of 200 maps


@pytest.mark.parametrize("name", CHANNELS)
def test_uncertainties_that_a_beam_correlates_fall_with_its_area(name):
    """The noise has the beam as its autocorrelation, as that of an interferometer."""
    gas = true_map(beam=3 * STEP * u.deg)

    def cut(gas):
        return gas.cutout((19.5, 19.5), size=40 * gas.pixel_scale, shape=(4, 4))

    expected = scatter(gas, cut, smooth=3 * SIGMA / np.sqrt(2), n=100)[name]
    ratio = getattr(cut(gas), f"{name}_uncertainty").value / expected
    assert np.median(ratio) == pytest.approx(1.1, abs=0.1)  # a pixel has borders


@pytest.mark.parametrize("name", CHANNELS[1:])
def test_uncertainties_of_regridded_motions_are_those_of_monte_carlo(name):
    pytest.importorskip("reproject", exc_type=ImportError)
    fine, wide = true_map(), make_wcs((20, 20), step=2 * STEP)
    column = NDData(fine.column_density.value[::2, ::2], unit="cm-2", wcs=wide)

    def cut(gas):
        with pytest.warns(AstrofractalWarning, match="another grid"):
            return GasMap.read(column, gas.to_nddata("velocity"), gas.to_nddata("dispersion"))

    known = {"column_density_uncertainty": None}
    regridded = cut(fine.replace(**known))
    found = getattr(regridded, f"{name}_uncertainty").value
    expected = scatter(fine, cut, n=60)[name]
    assert np.median(found / expected) == pytest.approx(1, abs=0.06)
