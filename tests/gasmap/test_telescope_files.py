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
    with pytest.warns(AstrofractalWarning, match=f"{key} = 0, which is no equinox") as caught:
        gas = GasMap.read(hdu)
    assert {one.filename for one in caught} == {__file__}
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


@pytest.mark.parametrize("shape", [SHAPE, (1, *SHAPE), (1, 1, *SHAPE)])
def test_masks_with_axes_of_one_pixel_count(shape):
    mask = np.zeros(SHAPE, np.uint8)
    mask[3:5, 2] = 1
    hdus = fits.HDUList([fits.PrimaryHDU()])
    hdus.append(fits.ImageHDU(np.full(SHAPE, 1e22), make_header(SHAPE), name="COLUMN_DENSITY"))
    hdus.append(fits.ImageHDU(mask.reshape(shape), name="MASK"))
    np.testing.assert_array_equal(GasMap.read(hdus).mask, mask.astype(bool))


def test_a_mask_of_another_shape_warns():
    hdus = fits.HDUList([fits.PrimaryHDU()])
    hdus.append(fits.ImageHDU(np.full(SHAPE, 1e22), make_header(SHAPE), name="COLUMN_DENSITY"))
    hdus.append(fits.ImageHDU(np.ones((3, 3), np.uint8), name="MASK"))
    with pytest.warns(AstrofractalWarning, match="the mask is not used") as caught:
        GasMap.read(hdus)
    assert {one.filename for one in caught} == {__file__}


@pytest.mark.parametrize("no_data", [-999.9, 1.1e20, -1e300])
@pytest.mark.parametrize("dtype", [">f4", ">f8"])
def test_no_data_in_single_precision(no_data, dtype):
    values = np.full(SHAPE, 1e22)
    values[1, 2] = no_data
    with np.errstate(over="ignore"):
        hdu = fits.PrimaryHDU(values.astype(dtype), make_header(SHAPE))
    assert GasMap.read(hdu, no_data=no_data).mask.sum() == 1
