"""Velocities and dispersions on another grid than the column density."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import NDData, StdDevUncertainty
from astropy.wcs.utils import pixel_to_pixel

from astrofractal import GasMap
from astrofractal.exceptions import AstrofractalWarning
from tests.factories import make_column, make_wcs

pytest.importorskip("reproject", reason="needs the extra cube", exc_type=ImportError)

SHAPE = (60, 80)
WCS = make_wcs(SHAPE, step=0.001)
Y, X = np.mgrid[:60, :80]


def column(values=None):
    return NDData(np.full(SHAPE, 1e22) if values is None else values, unit="cm-2", wcs=WCS)


def motion(values, wcs, error=None):
    deviation = None if error is None else StdDevUncertainty(np.full(values.shape, error))
    return NDData(values, unit="km/s", wcs=wcs, uncertainty=deviation)


def read(*maps, names="velocity and dispersion are", **options):
    with pytest.warns(AstrofractalWarning, match=f"{names} on another grid.*regridded") as caught:
        gas = GasMap.read(*maps, **options)
    assert {one.filename for one in caught} == {__file__}
    return gas


def on_sky(wcs, shape):
    """Return the pixels of the column density below those of another grid."""
    y, x = np.indices(shape)
    return pixel_to_pixel(wcs, WCS, x, y)


@pytest.mark.parametrize("frame", ["icrs", "galactic"])
def test_coarser_and_turned(frame):
    """A map of another telescope, in another frame, that covers a part of the column density."""
    shape = (16, 20)
    options = {"step": 0.003, "turn": 25}
    if frame == "galactic":
        center = SkyCoord(52, 31, unit="deg").galactic
        options |= {"ctype": ("GLON-TAN", "GLAT-TAN"), "crval": (center.l.deg, center.b.deg)}
    wcs = make_wcs(shape, **options)
    x, y = on_sky(wcs, shape)
    velocity, dispersion = 3 + 0.02 * x - 0.01 * y, 0.2 + 0.001 * x
    gas = read(column(), motion(velocity, wcs, 0.05), NDData(dispersion * 1e3, unit="m/s", wcs=wcs))
    px, py = pixel_to_pixel(WCS, wcs, X, Y)
    covered = (px > -0.5) & (px < 19.5) & (py > -0.5) & (py < 15.5)
    assert 0.3 < covered.mean() < 0.8
    # the footprint is that of the map, but for pixels that its border halves
    assert (covered != np.isfinite(gas.velocity.value)).sum() < 0.02 * covered.sum()
    inner = (px > 1) & (px < 18) & (py > 1) & (py < 14)
    expected = 3 + 0.02 * X - 0.01 * Y
    np.testing.assert_allclose(gas.velocity.value[inner], expected[inner], atol=2e-3)
    # the velocities differ within the interpolation's reach, by 0.02 km/s
    np.testing.assert_allclose(gas.dispersion.value[inner], (0.2 + 0.001 * X)[inner], atol=0.01)
    np.testing.assert_allclose(gas.velocity_uncertainty.value[inner], 0.05, rtol=1e-5)
    assert gas.wcs.wcs.compare(WCS.wcs)
    assert not gas.mask.any()
    assert gas.meta["regridded"] == "velocity, dispersion"


def test_finer_velocities_become_dispersion():
    """What the velocities in a pixel differ by is part of its dispersion."""
    shape = (240, 320)
    wcs = make_wcs(shape, step=0.00025)
    stripes = np.where(np.indices(shape)[1] % 2, 1.0, -1.0)
    gas = read(column(), motion(3 + stripes, wcs), motion(np.full(shape, 0.5), wcs))
    inner = (slice(2, -2), slice(2, -2))
    np.testing.assert_allclose(gas.velocity.value[inner], 3, atol=0.05)
    np.testing.assert_allclose(gas.dispersion.value[inner], np.hypot(0.5, 1), atol=0.02)


def test_velocities_are_weighted_by_the_gas():
    """Momentum is kept: faint gas within a wide pixel counts little."""
    values = make_column(SHAPE, [(40, 30, 2e23, 3)], background=1e20)
    shape = (20, 26)
    wcs = make_wcs(shape, step=0.003)
    x, _ = on_sky(wcs, shape)
    velocity = 0.1 * (x - 40)
    gas = read(column(values), motion(velocity, wcs), names="velocity is")
    good = np.isfinite(gas.velocity.value)
    momentum = (values * gas.velocity.value)[good].sum() / values[good].sum()
    expected = (values * 0.1 * (X - 40))[good].sum() / values[good].sum()
    assert momentum == pytest.approx(expected, abs=0.02)


def test_logarithms_variances_and_blanks(tmp_path):
    shape = (20, 28)
    wcs = make_wcs(shape, step=0.003)
    variance = np.full(shape, 0.09)
    variance[:5] = -99
    header = wcs.to_header()
    header["BUNIT"] = "km2/s2"
    fits.writeto(tmp_path / "mom2.fits", variance, header)
    gas = read(
        column(np.full(SHAPE, 22.0)),
        dispersion=tmp_path / "mom2.fits",
        names="dispersion is",
        unit="dex(cm-2)",
        dispersion_kind="variance",
        no_data=-99,
        line_width=0.1 * u.km / u.s,
    )
    np.testing.assert_allclose(gas.dispersion.value[20:], np.sqrt(0.08), rtol=1e-5)
    assert np.isnan(gas.dispersion.value[:12]).all()


def test_maps_that_do_not_meet():
    wcs = make_wcs(SHAPE, step=0.001, crval=(53.0, 31.0))
    with pytest.raises(ValueError, match="do not overlap"):
        GasMap.read(column(), motion(0.1 * X, wcs))
    with pytest.raises(ValueError, match=r"shape \(3, 3\).*no WCS"):
        GasMap.read(column(), np.ones((3, 3)) * u.km / u.s)
