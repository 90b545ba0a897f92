"""WCS of the real world: found, reduced, or refused by name of what it is."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import NDDataRef
from astropy.wcs import WCS, DistortionLookupTable

from astrofractal import GasMap
from tests.factories import make_header, make_wcs


def sky_header(**cards):
    return make_header((64, 64), step=0.001, **cards)


def image(header, shape=(64, 64)):
    y, x = np.mgrid[: shape[-2], : shape[-1]]
    data = np.broadcast_to(1e21 * (1 + 0.01 * x + 0.02 * y), shape)
    return fits.PrimaryHDU(np.array(data), header)


@pytest.mark.parametrize(
    "projection", ["TAN", "SIN", "ARC", "SFL", "CAR", "ZEA", "STG", "GLS", "NCP"]
)
@pytest.mark.parametrize("frame", [("RA--", "DEC-"), ("GLON", "GLAT"), ("ELON", "ELAT")])
def test_projections_and_frames(projection, frame):
    kinds = [f"{axis}-{projection}" for axis in frame]
    gas = GasMap.read(image(sky_header(CTYPE1=kinds[0], CTYPE2=kinds[1])), distance=100 * u.pc)
    x, y = 40.0, 25.0
    position = gas.to_sky(x, y)
    back = gas.to_pixel(position.icrs)
    np.testing.assert_allclose(np.ravel(back), [x, y], atol=1e-5)
    cutout = gas.cutout(position.icrs, size=0.02 * u.pc, shape=(9, 9))
    expected = 1e21 * (1 + 0.01 * x + 0.02 * y)
    assert cutout.column_density.value[4, 4] == pytest.approx(expected, rel=1e-4)
    assert cutout.to_sky(4, 4).icrs.separation(position.icrs).arcsec < 1e-4


def test_distortions_are_followed():
    header = sky_header(CTYPE1="RA---TAN-SIP", CTYPE2="DEC--TAN-SIP")
    header.update(A_ORDER=2, B_ORDER=2, A_2_0=2e-3, B_0_2=1e-3, A_1_1=5e-4)
    gas = GasMap.read(image(header), distance=100 * u.pc)
    full = WCS(header)
    expected = full.pixel_to_world(50, 50)
    assert gas.to_sky(50, 50).separation(expected).arcsec < 1e-6
    plain = WCS(sky_header()).pixel_to_world(50, 50)
    assert gas.to_sky(50, 50).separation(plain).arcsec > 1
    np.testing.assert_allclose(np.ravel(gas.to_pixel(expected)), [50, 50], atol=1e-3)
    cutout = gas.cutout(expected, size=0.01 * u.pc, shape=(5, 5))
    assert cutout.column_density.value[2, 2] == pytest.approx(2.5e21, rel=1e-3)
    part = gas[20:, 30:]
    assert part.to_sky(20, 30).separation(expected).arcsec < 1e-4


def test_tpv():
    header = sky_header(CTYPE1="RA---TPV", CTYPE2="DEC--TPV")
    header.update(PV1_0=0.0, PV1_1=1.0, PV1_4=0.5, PV2_0=0.0, PV2_1=1.0, PV2_4=0.3)
    gas = GasMap.read(image(header), distance=100 * u.pc)
    position = gas.to_sky(50, 50)
    np.testing.assert_allclose(np.ravel(gas.to_pixel(position)), [50, 50], atol=1e-3)


@pytest.mark.parametrize("key", ["EPOCH", "EQUINOX"])
def test_old_equinoxes(key):
    gas = GasMap.read(image(sky_header(**{key: 1950.0})))
    expected = SkyCoord(52.0, 31.0, unit="deg", frame="fk4").icrs
    assert gas.to_sky(31.5, 31.5).icrs.separation(expected).arcsec < 1


def test_units_of_minutes_and_matrix_of_cd():
    header = sky_header(CUNIT1="arcmin", CUNIT2="arcmin", CRVAL1=3120.0, CRVAL2=1860.0)
    header.update(CDELT1=-0.06, CDELT2=0.06)
    gas = GasMap.read(image(header))
    assert gas.to_sky(31.5, 31.5).ra.deg == pytest.approx(52.0)
    header = sky_header(CD1_1=-0.0008, CD1_2=0.0006, CD2_1=0.0006, CD2_2=0.0008)
    del header["CDELT1"], header["CDELT2"]
    gas = GasMap.read(image(header), distance=100 * u.pc)
    expected = np.radians(0.001) * 100
    assert gas.pixel_scale.to_value(u.pc) == pytest.approx(expected, rel=1e-5)


def test_four_axes_of_radio_images():
    header = sky_header(CTYPE3="FREQ", CRVAL3=2.3e10, CDELT3=1e6, CRPIX3=1.0)
    header.update(CTYPE4="STOKES", CRVAL4=1.0, CDELT4=1.0, CRPIX4=1.0)
    gas = GasMap.read(image(header, (1, 1, 64, 64)))
    assert gas.shape == (64, 64)
    assert gas.wcs.naxis == 2
    assert gas.to_sky(31.5, 31.5).ra.deg == pytest.approx(52.0)


def test_wcs_in_another_extension():
    primary = fits.PrimaryHDU(header=sky_header())
    del primary.header["BUNIT"]
    data = image(fits.Header({"BUNIT": "cm-2"}))
    hdus = fits.HDUList([primary, fits.ImageHDU(data.data, data.header, "N_H2")])
    assert GasMap.read(hdus).to_sky(31.5, 31.5).ra.deg == pytest.approx(52.0)
    other = fits.HDUList([fits.PrimaryHDU(), hdus[1], fits.ImageHDU(np.ones((9, 9)), sky_header())])
    with pytest.raises(ValueError, match="no celestial WCS"):  # of other pixels
        GasMap.read(other)


@pytest.mark.parametrize(
    ("cards", "match"),
    [
        ({"CTYPE1": "", "CTYPE2": ""}, "has no celestial WCS"),
        (
            {"CTYPE1": "LINEAR", "CTYPE2": "LINEAR"},
            r"no celestial WCS \(CTYPE 'LINEAR', 'LINEAR'\)",
        ),
        ({"CTYPE1": "OFFSET", "CTYPE2": "VRAD"}, "is a position-velocity diagram"),
        ({"CTYPE1": "RA---SIN", "CTYPE2": "VELO-LSR"}, "is a position-velocity diagram"),
        ({"CTYPE1": "OFFSET", "CTYPE2": "FREQ"}, "is a position-velocity diagram"),
    ],
)
def test_what_is_no_map_is_refused_by_name(cards, match):
    with pytest.raises(ValueError, match=match):
        GasMap.read(image(sky_header(**cards)))


def test_parameter_cubes_are_refused_by_name():
    header = sky_header(PLANE1="TKIN", PLANE2="TEX", PLANE3="COLUMN", PLANE4="SIGMA")
    with pytest.raises(
        ValueError, match=r"cube of parameters.*TKIN, TEX, COLUMN, SIGMA.*column=Abundance"
    ):
        GasMap.read(image(header, (4, 64, 64)))


def test_explicit_wcs_or_scale_overrides():
    hdu = image(sky_header(CTYPE1="", CTYPE2=""))
    gas = GasMap.read((hdu, make_wcs((64, 64))), distance=300 * u.pc)
    assert gas.to_sky(31.5, 31.5).ra.deg == pytest.approx(52.0)
    bare = GasMap.read(hdu, pixel_scale=0.01 * u.pc)
    assert bare.wcs is None
    assert bare.pixel_scale == 0.01 * u.pc


def test_broken_wcs_is_a_clear_error():
    header = sky_header(PC1_1=0.0, PC2_2=0.0)
    with pytest.raises(ValueError, match="WCS"):
        GasMap.read(image(header))


def test_position_out_of_reach_of_the_projection():
    gas = GasMap.read(image(sky_header(CTYPE1="RA---SIN", CTYPE2="DEC--SIN")), distance=100 * u.pc)
    positions = SkyCoord([52.0, 232.0], [31.0, -31.0], unit="deg")
    np.testing.assert_array_equal(gas.contains(positions), [True, False])
    cutouts = gas.cutouts(positions, size=0.02 * u.pc, shape=(8, 8))
    assert cutouts[0].masked_fraction == 0
    assert "outside" in cutouts[1].flags


def test_slices_of_nddata():
    header = sky_header(CTYPE3="VRAD", CRVAL3=0.0, CDELT3=100.0, CUNIT3="m/s", CRPIX3=1.0)
    cube = NDDataRef(np.full((5, 64, 64), 1e22), unit="cm-2", wcs=WCS(header))
    flat = NDDataRef(np.full((64, 64), 1e22), unit="cm-2", wcs=WCS(sky_header()))
    expected = WCS(sky_header()).pixel_to_world(7, 4)
    for data in (flat[4:20, 7:], cube[2, 4:20, 7:], cube[2:3, 4:20, 7:]):
        gas = GasMap(data)
        assert gas.shape == (16, 57)
        assert gas.to_sky(0, 0).separation(expected).arcsec < 1e-6


def test_lookup_tables_survive_writing(tmp_path):
    wcs = WCS(sky_header())
    table = np.linspace(-2, 2, 64 * 64, dtype=np.float32).reshape(64, 64)
    wcs.cpdis1 = DistortionLookupTable(table, (1.0, 1.0), (1.0, 1.0), (1.0, 1.0))
    wcs.cpdis2 = DistortionLookupTable(table.T.copy(), (1.0, 1.0), (1.0, 1.0), (1.0, 1.0))
    gas = GasMap(np.full((64, 64), 1e22) / u.cm**2, wcs=wcs)
    gas.write(tmp_path / "tables.fits")
    again = GasMap.read(tmp_path / "tables.fits")
    expected = wcs.pixel_to_world(50, 60)
    assert expected.separation(WCS(sky_header()).pixel_to_world(50, 60)).arcsec > 1
    assert again.to_sky(50, 60).separation(expected).arcsec < 1e-3
    np.testing.assert_allclose(np.ravel(again.to_pixel(expected)), [50, 60], atol=1e-3)
