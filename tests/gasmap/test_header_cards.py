"""Header cards as other programs write them: read as they are meant, or refused by their name."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from astrofractal import GasMap
from astrofractal.exceptions import AstrofractalWarning
from tests.factories import make_header

SHAPE = (12, 10)
CENTER = SkyCoord(52.0, 31.0, unit="deg")
SCALE = np.radians(0.001) * 300  # pc


def column(shape=SHAPE, **cards):
    cards = {"EQUINOX": 2000.0, "RADESYS": "FK5"} | cards
    return fits.PrimaryHDU(np.full(shape, 1e22), make_header(SHAPE, step=0.001, **cards))


def read(hdu):
    return GasMap.read(hdu, distance=300 * u.pc)


def check(gas):
    """Check the place and the pixel scale."""
    assert gas.to_sky(4.5, 5.5).icrs.separation(CENTER) < 0.2 * u.arcsec
    assert gas.pixel_scale.value == pytest.approx(SCALE, rel=1e-4)


@pytest.mark.parametrize(
    "cards",
    [
        {"CTYPE3": "", "CDELT3": 0.0, "CRPIX3": 0.0, "CRVAL3": 0.0, "CROTA3": 0.0},
        {"CTYPE3": "STOKES", "CDELT3": 0.0, "CRVAL3": "I"},
        {"CTYPE3": "FREQ", "CDELT3": 0.0, "CUNIT3": "channels"},
        {"CTYPE3": "VRAD", "PC3_3": 0.0, "PC1_3": 0.0},
        {"CTYPE3": "VRAD", "CRVAL3": "unknown"},
        {"CTYPE3": "VELO-LSR", "CDELT3": 0.0, "CUNIT3": "km/s", "CRPIX3": "0"},
    ],
)
@pytest.mark.parametrize("shape", [SHAPE, (1, *SHAPE), (1, 1, *SHAPE)])
def test_the_cards_of_axes_of_one_pixel_do_not_count(cards, shape):
    check(read(column(shape, **cards)))


@pytest.mark.parametrize(
    "cards",
    [
        {"CDELT1": None, "CD1_1": -0.001},
        {"CDELT2": None, "CD2_2": 0.001},
        {"CDELT1": None, "CDELT2": None, "CD1_1": -0.001, "CD2_2": 0.001},
        {"CDELT1": 1.0, "CDELT2": 1.0, "CD1_1": -0.001, "CD2_2": 0.001},
        {"CD1_1": -0.001, "CD2_2": 0.001},
        {"CDELT1": 1.0, "CDELT2": 1.0, "PC1_1": -0.001, "PC2_2": 0.001},
    ],
)
def test_steps_in_a_matrix_or_without_it(cards):
    check(read(column(**cards)))


def test_steps_that_disagree_are_warned_of():
    with pytest.warns(AstrofractalWarning, match=r"CDELT1 = -0.01, and a step of 0.001 by its CD"):
        check(read(column(CDELT1=-0.01, CD1_1=-0.001, CD2_2=0.001)))


@pytest.mark.parametrize(
    "key",
    [
        "CRVAL1", "CRVAL2", "CDELT1", "CRPIX2", "CD1_1", "PC2_2", "CROTA2", "LONPOLE", "BMAJ", "RESTFRQ",
        "BZERO", "BSCALE",
    ],
)  # fmt: skip
def test_numbers_stored_as_text_are_refused_by_name(key):
    hdu = column()
    hdu.header[key] = "1.5E-4"
    with pytest.raises(ValueError, match=f"has the text {key} = '1.5E-4'.*remove its quotes"):
        GasMap.read(hdu)


def test_texts_that_mean_nothing_are_left_out():
    check(read(column(BMAJ="", BPA=" ", RESTFRQ="", CROTA2="")))


@pytest.mark.parametrize("key", ["CRVAL1", "CRPIX2", "PC1_1", "CDELT2"])
def test_infinite_numbers_are_refused_when_reading(tmp_path, key):
    header = make_header(SHAPE, **{key: 1.0})
    card = f"{key:8}=               1E+400"
    text = header.tostring(sep="\n").replace(header.cards[key].image.rstrip(), card)
    header = fits.Header.fromstring(text, sep="\n")
    with pytest.raises(ValueError, match=f"{key} "):
        GasMap.read(fits.PrimaryHDU(np.full(SHAPE, 1e22), header))


@pytest.mark.parametrize("name", ["crpix", "crval", "cdelt"])
def test_a_wcs_with_infinite_numbers_is_refused(name):
    wcs = WCS(make_header(SHAPE))
    setattr(wcs.wcs, name, [np.inf, 1.0])
    with pytest.raises(ValueError, match="must be finite|WCS"):
        GasMap(np.full(SHAPE, 1e22) / u.cm**2, wcs=wcs)


@pytest.mark.parametrize("frame", ["J2000", "GAPPT", "NONSENSE"])
def test_unknown_frames_are_refused(frame):
    with pytest.raises(ValueError, match=f"RADESYS = '{frame}'.*ICRS"):
        GasMap.read(column(RADESYS=frame))
    wcs = WCS(make_header(SHAPE))
    wcs.wcs.radesys = frame
    with pytest.raises(ValueError, match=f"RADESYS = '{frame}'"):
        GasMap(np.full(SHAPE, 1e22) / u.cm**2, wcs=wcs)


@pytest.mark.parametrize(
    "cards",
    [
        {"RADESYS": "icrs", "EQUINOX": None},
        {"RADESYS": "ICRS", "EPOCH": 1955.31, "EQUINOX": None},
        {"EPOCH": 2014.62},  # EQUINOX is 2000
        {"EQUINOX": "J2000"},
        {"EQUINOX": "2000.0", "RADESYS": None},
    ],
)
def test_frames_that_are_meant(cards):
    check(read(column(**cards)))


@pytest.mark.parametrize("frame", [None, "FK5"])
@pytest.mark.parametrize(
    ("cards", "match"),
    [
        ({"EPOCH": 2014.62}, "EPOCH = 2014.62, which is no equinox"),
        ({"EPOCH": 1955.31}, "EPOCH = 1955.31, which is no equinox"),
        ({"EPOCH": 0.0}, "EPOCH = 0, which is no equinox"),
        ({"EQUINOX": -1.0}, "EQUINOX = -1, which is no equinox"),
        ({"EQUINOX": 20000.0}, "EQUINOX = 20000, which is no equinox"),
        ({"EQUINOX": 2457000.5}, "EQUINOX = 2457000, which is no|2.457e\\+06, which is no"),
        ({"EQUINOX": "unknown"}, "EQUINOX = 'unknown', which is no equinox"),
    ],
)
def test_what_is_no_equinox_moves_no_map(frame, cards, match):
    with pytest.warns(AstrofractalWarning, match=match):
        gas = read(column(**({"RADESYS": frame, "EQUINOX": None} | cards)))
    check(gas)


def test_an_unusual_equinox_is_used_with_a_warning():
    with pytest.warns(AstrofractalWarning, match="EQUINOX = 2014.62: correct it, if"):
        gas = read(column(RADESYS=None, EQUINOX=2014.62))
    assert gas.to_sky(4.5, 5.5).icrs.separation(CENTER) > 5 * u.arcmin


@pytest.mark.parametrize(
    ("cards", "match"),
    [
        ({"CDELT1": 0.0}, "CDELT1 = 0: set it to the pixel scale"),
        ({"CDELT1": None}, r"no pixel scale \(neither CDELT nor CD"),
        ({"CDELT1": None, "CD2_2": 0.001}, "no pixel scale"),
    ],
)
def test_maps_without_a_step_are_refused(cards, match):
    with pytest.raises(ValueError, match=match):
        read(column(**cards))
