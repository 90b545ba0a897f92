"""Files as other surveys and programs write them: what works, what is refused by name."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table

from astrofractal import GasMap
from astrofractal.exceptions import AstrofractalWarning
from astrofractal.gasmap import XFactor
from tests.factories import make_header

Y, X = np.mgrid[:24, :30]
COLUMN = 1e21 * (1 + 20 * np.exp(-((X - 15) ** 2 + (Y - 12) ** 2) / 50))
X_FACTOR = XFactor(1e21 * u.cm**-2 / (u.K * u.km / u.s))


def header(**cards):
    return make_header(COLUMN.shape, step=0.002, **cards)


def image(data=COLUMN, **cards):
    return fits.PrimaryHDU(data, header(**cards))


@pytest.mark.parametrize(
    "cards",
    [
        {"CDELT1": None, "CDELT2": None, "CD1_1": -0.002, "CD2_2": 0.002},
        {"PC1_1": 0.8, "PC1_2": -0.6, "PC2_1": 0.6, "PC2_2": 0.8},
        {"CROTA2": 30.0},
        {"CTYPE1": "RA---GLS", "CTYPE2": "DEC--GLS"},
        {"CTYPE1": "GLON-CAR", "CTYPE2": "GLAT-CAR", "CRVAL2": 0.0},
        {"CTYPE1": "ra---tan", "CTYPE2": "dec--tan"},
        {"CUNIT1": "DEGREE", "CUNIT2": "DEGREE"},
        {"EQUINOX": "J2000"},
        {"RADECSYS": "FK4", "EPOCH": 1950.0},
        {"CTYPE3": "FREQ", "CRVAL3": 1e11, "CTYPE4": "STOKES", "CRVAL4": 1.0},
    ],
)
def test_headers_that_work(cards):
    gas = GasMap.read(image(**cards), distance=300 * u.pc)
    expected = np.radians(0.002) * 300
    assert gas.pixel_scale.value == pytest.approx(expected, rel=1e-3)
    assert gas.to_sky(14.5, 11.5).spherical.lon.deg == pytest.approx(52.0)


def test_numbers_of_every_kind(tmp_path):
    for kind in ("f8", ">f4", "f4"):
        gas = GasMap.read(image(COLUMN.astype(kind)))
        np.testing.assert_allclose(gas.column_density.value, COLUMN, rtol=1e-6)
    for kind in ("i2", "u2", "i4"):
        gas = GasMap.read(image((COLUMN / 1e19).astype(kind), BUNIT="1e19 cm-2"))
        np.testing.assert_allclose(gas.column_density.value, COLUMN, rtol=0.011)
    data = COLUMN / 1e21
    data[:4] = np.nan
    packed = fits.CompImageHDU(data.astype("f4"), header(BUNIT="10^21 cm-2"))
    fits.HDUList([fits.PrimaryHDU(), packed]).writeto(tmp_path / "packed.fits")
    gas = GasMap.read(tmp_path / "packed.fits")
    assert gas.mask.sum() == 4 * 30
    np.testing.assert_allclose(gas.column_density.value[4:], COLUMN[4:], rtol=1e-2)


def test_unit_of_the_header_before_all_extensions():
    primary = fits.PrimaryHDU(header=fits.Header({"BUNIT": "cm-2"}))
    data = fits.ImageHDU(COLUMN, header(BUNIT=None))
    assert GasMap.read(fits.HDUList([primary, data])).shape == COLUMN.shape
    with pytest.raises(ValueError, match="has no BUNIT"):  # an image of its own
        GasMap.read(fits.HDUList([image(X * 1.0, BUNIT="K"), data]), hdu=1)


@pytest.mark.parametrize("blank", [-999.0, -1e30, 1e30, 3.4e38, np.inf, np.nan, 0.0])
def test_blanks_that_no_column_density_has(blank):
    data = COLUMN.copy()
    data[:3] = blank
    gas = GasMap.read(image(data.astype("f4")))
    assert gas.mask[:3].all()
    assert not gas.mask[3:].any()


def test_other_blanks_are_suspected():
    data = COLUMN.copy()
    data[:3] = 9999.0
    with pytest.warns(AstrofractalWarning, match="90 pixels .* no_data=9999"):
        GasMap.read(image(data))
    assert GasMap.read(image(data), no_data=9999).mask.sum() == 90
    data = np.log10(COLUMN)
    data[:3] = 0
    with pytest.warns(AstrofractalWarning, match="no_data=0"):
        GasMap.read(image(data), unit="dex(cm-2)")
    velocity = np.full(X.shape, 3.0)
    velocity[:3] = 1e20
    gas = GasMap(COLUMN / u.cm**2, velocity * u.km / u.s)
    assert np.isnan(gas.velocity[:3]).all()
    assert (gas.velocity[3:] == 3 * u.km / u.s).all()


@pytest.mark.parametrize(
    ("data", "cards", "match"),
    [
        (COLUMN * np.nan, {}, "no finite positive value: all its values are NaN"),
        (-COLUMN, {}, r"none of its values is positive \(-2"),
        (COLUMN, {"BUNIT": "10^21 cm-2"}, r"reach 2.1e\+43 cm-2: see its unit"),
        (COLUMN / 1e21, {}, "median of 2.97 cm-2, too little for gas: give unit='1e21 cm-2'"),
        (np.log10(COLUMN), {}, "looks like log10.*unit=.dex"),
        (COLUMN, {"BUNIT": "log10(cm-2)"}, "they are no logarithms"),
        (COLUMN, {"BUNIT": "N(H) cm-2"}, "counts hydrogen nuclei"),
        (COLUMN, {"BUNIT": "A_V"}, "column=Extinction"),
        (COLUMN, {"BUNIT": "K km/s"}, "column=XFactor"),
        (COLUMN, {"CDELT1": None, "CDELT2": None}, "no pixel scale"),
        (COLUMN, {"CTYPE1": "RA---XYZ", "CTYPE2": "DEC--XYZ"}, "Unrecognized projection code"),
        (COLUMN[0], {"CTYPE1": "VRAD"}, "is a spectrum of 30 channels"),
        (COLUMN[:, :1, None], {"CTYPE3": "VRAD"}, "is a spectrum of 24 channels"),
        (COLUMN[:, None], {"CTYPE3": "VELO-LSR"}, "is a position-velocity diagram"),
        (np.ones((3, 24, 30), "u1"), {"BUNIT": None}, "is a picture in colors"),
        (np.ones((24, 30, 3), "u1"), {"BUNIT": None}, "is a picture in colors"),
        (np.ones((3, 24, 30)), {"CTYPE3": "RGB"}, "is a picture in colors"),
        (np.ones((3, 24, 30)), {"CTYPE3": "COLOUR"}, "is a picture in colors"),
        (np.ones((3, 24, 30)), {"CTYPE3": "STOKES"}, "is a set of Stokes planes"),
        (
            np.ones((3, 24, 30)),
            {"PLANE1": "AMPLITUDE", "PLANE2": "SHIFT", "PLANE3": "WIDTH"},
            "cube of parameters.*AMPLITUDE, SHIFT, WIDTH",
        ),
        (
            np.ones((6, 24, 30)),
            {"CTYPE3": "VRAD"} | {f"PLANE{n}": f"P{n}" for n in range(1, 7)},
            "cube of parameters.*P1, P2",
        ),
    ],
)
def test_refused_by_name_of_the_reason(data, cards, match):
    with pytest.raises(ValueError, match=match):
        GasMap.read(image(data, **cards), distance=300 * u.pc)


def test_logarithm_that_is_none():
    with pytest.raises(
        ValueError, match=r"by its unit.*median of 2.965e\+21: they are no logarithms"
    ):
        GasMap.read(image(), unit="dex(cm-2)")


def test_files_without_images():
    table = fits.BinTableHDU(Table({"ra": [1.0]}))
    with pytest.raises(ValueError, match=r"no image.*PRIMARY \(empty\), 1 \(a table\)"):
        GasMap.read(fits.HDUList([fits.PrimaryHDU(), table]))
    table.header.update(PIXTYPE="HEALPIX", ORDERING="RING")
    with pytest.raises(ValueError, match="is a HEALPix map"):
        GasMap.read(fits.HDUList([fits.PrimaryHDU(), table]))


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
        (b"\x89HDF\r\n", "an HDF5 file"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "a pointer of Git LFS"),
        (b"", "empty"),
    ],
)
def test_files_of_other_kinds(tmp_path, start, kind):
    path = tmp_path / "map.fits"
    path.write_bytes(start + b" " * 3000 if start else b"")
    with pytest.raises(OSError, match=f"cannot read '.*map.fits': it is {kind}"):
        GasMap.read(path)


class TestCubes:
    """Spectral axes and units of cubes."""

    pytestmark = pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning")
    velocity = np.arange(-5, 5.01, 0.1)

    def cube(self, data=None, **cards):
        pytest.importorskip("spectral_cube", reason="needs the extra cube", exc_type=ImportError)
        if data is None:
            line = np.exp(-((self.velocity[:, None, None] - 0.5) ** 2) / (2 * 0.4**2))
            noise = np.random.default_rng(0).normal(0, 0.02, (self.velocity.size, 6, 5))
            data = 3 * line + noise
        axis = {
            "CTYPE3": "VRAD", "CRVAL3": -5e3, "CRPIX3": 1.0, "CDELT3": 100.0, "CUNIT3": "m/s",
            "BUNIT": "K", "RESTFRQ": 110.201354e9,
        }  # fmt: skip
        return image(data.astype("f4"), **(axis | cards))

    @pytest.mark.parametrize(
        "cards",
        [
            {"CUNIT3": None},
            {"CUNIT3": "KM/S", "CRVAL3": -5.0, "CDELT3": 0.1},
            {"CTYPE3": "VELO-LSR"},
            {"CTYPE3": "VELO-HEL", "RESTFRQ": None},
            {"CTYPE3": "velo-lsr"},
            {"CTYPE3": "VOPT"},
            {"CTYPE3": "FELO-HEL"},
            {"CTYPE3": "VELOCITY", "CUNIT3": None},
            {"CTYPE3": "VLSR"},
            {"CTYPE3": "Velocity"},
            {"CTYPE3": "FREQ", "CRVAL3": 110.203192e9, "CDELT3": -36759.22, "CUNIT3": "Hz"},
            {"CTYPE3": "FREQ-LSR", "CRVAL3": 110.203192e9, "CDELT3": -36759.22, "CUNIT3": None},
            {"BUNIT": "K (Tmb)"},
            {"BUNIT": "KELVIN"},
        ],
    )
    def test_axes_and_units(self, cards):
        gas = GasMap.from_cube(self.cube(**cards), column=X_FACTOR)
        assert np.median(gas.velocity.value) == pytest.approx(0.5, abs=0.02)
        assert np.median(gas.dispersion.value) == pytest.approx(0.4, abs=0.02)
        expected = 1e21 * 3 * 0.4 * np.sqrt(2 * np.pi)
        assert np.median(gas.column_density.value) == pytest.approx(expected, rel=0.02)

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"CUNIT3": None, "CRVAL3": -5.0, "CDELT3": 0.1}, "no CUNIT3.* 0.1 m/s wide"),
            ({"CTYPE3": "CHANNEL", "CUNIT3": None}, "no spectral axis.*CHANNEL"),
            ({"CTYPE3": "VRAD", "PLANE1": "TKIN"}, "cube of parameters"),
            ({"CTYPE1": "OFFSET", "CTYPE2": "OFFSET"}, "no celestial WCS"),
            ({"BUNIT": "JY/BEAM"}, "no beam: give beam="),
            ({"BUNIT": "K km/s"}, "got the unit K km / s"),
            ({"data": np.full((20, 6, 5), np.nan)}, "all of it is NaN"),
            ({"data": np.ones((2, 6, 5))}, "at least 3 channels"),
            ({"data": np.ones((20, 1, 1))}, "one spectrum"),
        ],
    )
    def test_refused(self, change, match):
        with pytest.raises(ValueError, match=match):
            GasMap.from_cube(self.cube(**change), column=X_FACTOR)

    def test_cube_is_no_map(self):
        with pytest.raises(
            ValueError, match=r"position-position-velocity cube.*column=XFactor\(\.\.\.\)"
        ):
            GasMap.read(self.cube())
