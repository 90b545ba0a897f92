"""Cubes as other programs write them: the right line, or one message that names what to change."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import NDData
from astropy.wcs import WCS

from astrofractal import GasMap
from astrofractal.exceptions import AstrofractalWarning
from astrofractal.gasmap import XFactor
from tests.factories import make_header

SHAPE = (9, 10)
VELOCITY = np.arange(0, 10, 0.1)
X_FACTOR = XFactor(1e21 * u.cm**-2 / (u.K * u.km / u.s))
REST = 110.201354e9
COLUMN = 1e21 * 5 * 0.5 * np.sqrt(2 * np.pi)


def line(velocity=VELOCITY, sigma=0.5):
    """A line of 5 K at 5 km/s with noise, (channel, y, x)."""
    noise = np.random.default_rng(0).normal(scale=0.02, size=(len(velocity), *SHAPE))
    profile = 5 * np.exp(-((velocity[:, None, None] - 5.0) ** 2) / 2 / sigma**2)
    return (profile + noise).astype("f4")


def cube(data=None, **cards):
    axis = {"CTYPE3": "VRAD", "CUNIT3": "km/s", "CRPIX3": 1.0, "CRVAL3": 0.0, "CDELT3": 0.1}
    header = make_header(SHAPE, step=2 / 3600, **({"BUNIT": "K"} | axis | cards))
    return fits.PrimaryHDU(line() if data is None else data, header)


def read(data, **options):
    options = {"column": X_FACTOR, "distance": 300 * u.pc} | options
    return GasMap.from_cube(data, **options)


def check(gas, sigma=0.5):
    assert np.nanmedian(gas.column_density.value) == pytest.approx(COLUMN * sigma / 0.5, rel=0.01)
    assert np.nanmedian(gas.velocity.value) == pytest.approx(5.0, abs=0.01)
    assert np.nanmedian(gas.dispersion.value) == pytest.approx(sigma, rel=0.02)


@pytest.mark.parametrize(
    "cards",
    [
        {"CDELT1": None, "CDELT2": None, "CD1_1": -2 / 3600, "CD2_2": 2 / 3600},
        {"CDELT1": None, "CDELT2": None, "CDELT3": None, "CD1_1": -2 / 3600, "CD2_2": 2 / 3600,
         "CD3_3": 0.1},
        {"CDELT3": None, "CD3_3": 0.1},
        {"CDELT3": 1.0, "PC3_3": 0.1},
        {"CTYPE4": "", "CRVAL4": 0.0, "CDELT4": 0.0, "CRPIX4": 0.0, "CROTA4": 0.0},
        {"CTYPE4": "STOKES", "CRVAL4": "I", "CDELT4": 0.0},
        {"CTYPE3": "LINEAR"},
        {"CTYPE3": ""},
        {"CTYPE3": "VELO-LSR", "CUNIT3": None, "CDELT3": 100.0},
        {"CTYPE3": "LINEAR", "CUNIT3": "Hz", "CRVAL3": REST, "CDELT3": -0.1 / 299792.458 * REST,
         "RESTFRQ": REST},
        {"CTYPE3": "FREQ", "CUNIT3": "GHz", "CRVAL3": REST / 1e9,
         "CDELT3": -0.1 / 299792.458 * REST / 1e9, "RESTFRQ": REST},
        {"BUNIT": "mK"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("reader", [read, lambda hdu: GasMap.read(hdu, column=X_FACTOR)])
def test_axes_of_other_programs(reader, cards):
    hdu = cube(**cards)
    if "CTYPE4" in cards:
        hdu.data = hdu.data[None]
    if "BUNIT" in cards:
        hdu.data = hdu.data * 1000
    check(reader(hdu))


def test_an_ifu_cube_without_a_spectral_ctype():
    """CTYPE3 = LINEAR in Angstrom: read as wavelengths."""
    rest = 6562.8
    step = rest * 0.1 / 299792.458
    cards = {"CTYPE3": "LINEAR", "CUNIT3": "Angstrom", "CRVAL3": rest, "CDELT3": step}
    column = XFactor(X_FACTOR.value, rest_frequency=rest * u.AA)
    check(read(cube(**cards), column=column))
    with pytest.raises(ValueError, match="no rest frequency"):
        read(cube(**cards))


@pytest.mark.parametrize(
    ("cards", "match"),
    [
        ({"CTYPE3": "VELO-LSR", "CUNIT3": None, "CDELT3": 2.5}, "no CUNIT3.*2.5 m/s.*'km/s'"),
        ({"CUNIT3": None, "CDELT3": 20.0}, "no CUNIT3.*20 m/s.*band of 2000 m/s"),
        ({"CUNIT3": "m/s"}, "wrong unit.*0.1 m/s wide.*set CUNIT3"),
        ({"CTYPE3": "FREQ", "CUNIT3": None, "CRVAL3": 110.2, "CDELT3": 1e-4}, "CUNIT3.*'GHz'"),
        ({"CTYPE3": "WAVE", "CUNIT3": None, "CRVAL3": 6560.0}, "no CUNIT3.*'Angstrom'"),
        ({"CDELT3": None}, "no CDELT3: set it to the width of a channel"),
        ({"CDELT3": 0.0}, "CDELT3 = 0: set it to the width of a channel"),
        ({"CDELT3": "0.1"}, "has the text CDELT3 = '0.1'"),
        ({"CRVAL3": "0.0"}, "has the text CRVAL3"),
        ({"CTYPE3": "NONSENSE", "CUNIT3": None}, "no spectral axis.*NONSENSE.*correct CTYPE"),
        ({"CUNIT3": "pc", "CTYPE3": "DISTANCE", "CRVAL3": 100.0}, "no spectral axis.*DISTANCE"),
        (
            {"CTYPE3": "FREQ", "CUNIT3": "GHz", "CRVAL3": 90.0, "CDELT3": 0.5, "RESTFRQ": REST},
            "channels that are .* km/s wide.*continuum",
        ),
        ({"CUNIT3": "km/s", "CDELT3": 150.0}, "150 km/s wide"),
        (
            {"CTYPE3": "WAVE", "CUNIT3": "Angstrom", "CRVAL3": 6000.0, "CDELT3": 1.25,
             "RESTWAV": 6562.8e-10, "NAXIS3": 400},
            "give velocity_range=",
        ),
    ],
)  # fmt: skip
def test_cubes_that_are_refused(cards, match):
    data = line(np.arange(0, 40, 0.1)) if cards.pop("NAXIS3", None) else None
    with pytest.raises(ValueError, match=match) as caught:
        read(cube(data, **cards))
    assert "damaged" not in str(caught.value)
    assert len(str(caught.value)) < 330


def test_dispersions_of_no_cold_gas_are_refused():
    velocity = np.arange(-2000, 2000, 50.0)
    data = line(velocity, sigma=300.0)
    with pytest.raises(u.UnitsError, match="dispersion has a median of .* km/s"):
        read(cube(data, CRVAL3=-2000.0, CDELT3=50.0))


def casa_cube(flagged=5, **cards):
    """A cube in Jy/beam with a beam of 8 arcsec in each channel; flagged ones have 0 and no data."""
    widths = np.full(100, 8.0, "f4")
    widths[:flagged] = 0
    kelvin = (1 * u.Jy / u.beam).to_value(
        u.K,
        u.brightness_temperature(REST * u.Hz, (np.pi * 64 / 4 / np.log(2)) * u.arcsec**2),
    )
    hdu = cube(line() / kelvin, BUNIT="Jy/beam", RESTFRQ=REST, CASAMBM=True, **cards)
    hdu.data[:flagged] = np.nan
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("BMAJ", "E", "arcsec", array=widths),
            fits.Column("BMIN", "E", "arcsec", array=widths),
            fits.Column("BPA", "E", "deg", array=0 * widths),
            fits.Column("CHAN", "J", array=np.arange(100)),
            fits.Column("POL", "J", array=np.zeros(100, int)),
        ],
        name="BEAMS",
    )
    table.header.update(NCHAN=100, NPOL=1)
    return fits.HDUList([hdu, table])


@pytest.mark.parametrize("flagged", [0, 5])
def test_a_beam_for_each_channel(flagged):
    gas = read(casa_cube(flagged))
    check(gas)
    assert gas.beam.major.to_value(u.arcsec) == pytest.approx(8)


def test_a_table_of_beams_of_other_channels_is_refused():
    hdus = casa_cube()
    hdus[1].data = hdus[1].data[:90]
    with pytest.raises(ValueError, match="100 channels, but its table BEAMS has 90: give beam="):
        read(hdus)


@pytest.mark.parametrize("use_dask", [False, True])
@pytest.mark.parametrize("flagged", [0, 5])
@pytest.mark.filterwarnings(
    "ignore::UserWarning", "ignore::astropy.utils.exceptions.AstropyWarning"
)
def test_spectral_cube_with_varying_beams_and_dask(tmp_path, use_dask, flagged):
    module = pytest.importorskip("spectral_cube", exc_type=ImportError)
    if use_dask:
        pytest.importorskip("dask")
    casa_cube(flagged).writeto(tmp_path / "varying.fits")
    cube().writeto(tmp_path / "plain.fits")
    for name in ("varying", "plain"):
        own = module.SpectralCube.read(tmp_path / f"{name}.fits", use_dask=use_dask)
        gas = read(own)
        check(gas)
        np.testing.assert_allclose(
            gas.velocity.value, read(tmp_path / f"{name}.fits").velocity.value, atol=1e-4
        )
    assert gas.beam is None
    again = module.SpectralCube.read(tmp_path / "plain.fits", use_dask=use_dask)
    again.write(tmp_path / "again.fits")
    check(read(tmp_path / "again.fits"))


def test_nddata_of_three_axes():
    hdu = cube()
    data = hdu.data.copy()
    data[:, 0, 0] = 1e3
    mask = np.zeros(data.shape, bool)
    mask[:, 0, 0] = True
    beam = {"BMAJ": 8 / 3600, "BMIN": 8 / 3600, "BPA": 0.0}
    gas = read(NDData(data, unit="K", wcs=WCS(hdu.header), mask=mask, meta=beam))
    check(gas)
    assert gas.mask[0, 0]
    assert gas.beam.major.to_value(u.arcsec) == pytest.approx(8)
    with pytest.raises(ValueError, match="has no unit: give unit="):
        read(NDData(data, wcs=WCS(hdu.header)))


def test_beams_wider_than_the_map_are_left_out():
    """18 degrees, where 18 arcsec are meant."""
    with pytest.warns(AstrofractalWarning, match="beam of .* left out.*BMAJ is in degrees"):
        assert read(cube(BMAJ=18.0, BMIN=18.0, BPA=0.0)).beam is None
    with (
        pytest.warns(AstrofractalWarning, match="left out"),
        pytest.raises(ValueError, match="no beam: give beam="),
    ):
        read(cube(BMAJ=18.0, BMIN=18.0, BUNIT="Jy/beam", RESTFRQ=REST))
