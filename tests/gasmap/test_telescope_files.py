"""What telescopes and their packages deliver."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits

from astrofractal import GasMap
from astrofractal.exceptions import AstrofractalWarning
from tests.factories import make_header

SHAPE = (12, 10)


@pytest.mark.parametrize("key", ["EQUINOX", "EPOCH"])
def test_an_equinox_of_zero_is_none(key):
    hdu = fits.PrimaryHDU(np.full(SHAPE, 1e22), make_header(SHAPE, **{key: 0.0}))
    with pytest.warns(AstrofractalWarning, match=f"{key} = 0, which is no equinox"):
        gas = GasMap.read(hdu)
    center = gas.to_sky(4.5, 5.5)
    assert center.icrs.separation(SkyCoord(52.0, 31.0, unit="deg")) < 0.1 * u.arcsec


def test_projection_of_spectral_cube():
    module = pytest.importorskip(
        "spectral_cube", reason="needs the extra cube", exc_type=ImportError
    )
    values = np.full(SHAPE, 1e22)
    values[2, 3] = np.nan
    projection = module.Projection.from_hdu(fits.PrimaryHDU(values, make_header(SHAPE)))
    gas = GasMap(projection, distance=300 * u.pc)
    np.testing.assert_array_equal(gas.mask, np.isnan(values))
    assert gas.wcs is not None
