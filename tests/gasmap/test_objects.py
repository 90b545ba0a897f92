"""Objects of other packages: what they say of beam, distance and WCS is read, and comes back."""

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, NDData, StdDevUncertainty
from radio_beam import Beam

from astrofractal import GasMap
from astrofractal.exceptions import AstrofractalWarning
from astrofractal.gasmap import XFactor
from tests.factories import make_header, make_wcs

SHAPE = (12, 10)
Y, X = np.mgrid[:12, :10]
COLUMN = 1e22 * (1 + 0.1 * X)
DISTANCE = 300 * u.pc
BEAM = Beam(10 * u.arcsec, 8 * u.arcsec, 30 * u.deg)
X_FACTOR = XFactor(2e21 * u.cm**-2 / (u.K * u.km / u.s))


def column_map(**options):
    options = {"wcs": make_wcs(SHAPE), "distance": DISTANCE, "beam": BEAM} | options
    error = StdDevUncertainty(COLUMN / 10)
    return GasMap(NDData(COLUMN, unit="cm-2", uncertainty=error), **options)


def whole_map():
    velocity, dispersion = 3 + 0.1 * X, 0.3 + 0.01 * Y
    return GasMap(
        COLUMN / u.cm**2,
        velocity * u.km / u.s,
        dispersion * u.km / u.s,
        wcs=make_wcs(SHAPE),
        distance=DISTANCE,
        beam=BEAM,
    )


@pytest.mark.parametrize("read", [GasMap, GasMap.read])
@pytest.mark.parametrize("cls", [NDData, CCDData])
def test_a_round_trip_through_nddata_returns_an_equal_map(read, cls):
    gas = column_map()
    data = cls(gas.to_nddata())
    assert data.meta["distance"] == DISTANCE.value
    assert data.meta["bmaj"] == BEAM.major.to_value(u.deg)
    again = read(data)
    assert again.fingerprint() == gas.fingerprint()
    assert again.meta == gas.meta
    bare = column_map(wcs=None, distance=None, beam=None, pixel_scale=0.01 * u.pc)
    assert read(cls(bare.to_nddata())).fingerprint() == bare.fingerprint()


def test_a_channel_is_written_by_ccddata_and_read_again(tmp_path):
    meta = {"object": "B5", "wcs_fit_error": 0.25, "size": 0.5 * u.pc, "name\n": "x", "n": np.nan}
    gas = column_map().replace(meta=meta)
    data = gas.to_nddata()
    assert data.meta["WCS_FIT_ERROR"] == 0.25
    CCDData(data).write(tmp_path / "one.fits")
    for again in (
        GasMap.read(tmp_path / "one.fits"),
        GasMap.read(CCDData.read(tmp_path / "one.fits")),
    ):
        assert again.distance == DISTANCE
        assert again.beam == gas.beam
        assert again.meta["object"] == "B5"
        np.testing.assert_array_equal(again.column_density, gas.column_density)
        np.testing.assert_array_equal(
            again.column_density_uncertainty, gas.column_density_uncertainty
        )


def test_a_round_trip_through_a_projection_returns_an_equal_map():
    spectral_cube = pytest.importorskip("spectral_cube", exc_type=ImportError)
    gas = column_map().replace(column_density_uncertainty=None)
    data = spectral_cube.Projection(
        gas.column_density, wcs=gas.wcs, beam=BEAM, meta={"distance": DISTANCE}
    )
    assert GasMap.read(data).fingerprint() == gas.fingerprint()
    without = spectral_cube.Projection(gas.column_density, wcs=gas.wcs)
    assert GasMap.read(without).beam is None


def test_each_extension_of_a_file_has_distance_and_beam(tmp_path):
    gas = whole_map()
    gas.write(tmp_path / "gas.fits")
    assert GasMap.read(tmp_path / "gas.fits").fingerprint() == gas.fingerprint()
    for name in ("COLUMN_DENSITY", "V_LOS", "SIGMA_V"):
        header = fits.getheader(tmp_path / "gas.fits", name)
        assert header["DISTANCE"] == 300
        assert header["BMAJ"] == pytest.approx(10 / 3600)
    one = CCDData.read(tmp_path / "gas.fits", hdu="COLUMN_DENSITY", unit="cm-2")
    again = GasMap.read(one)
    assert again.distance == DISTANCE
    assert again.beam.minor.to_value(u.arcsec) == pytest.approx(8)


@pytest.mark.parametrize("name", ["x.asdf", "x", "x.fits.txt", "x.h5"])
def test_a_file_of_another_kind_is_not_written(tmp_path, name):
    with pytest.raises(ValueError, match=r"path must end in one of \.fits, .*got '.*x"):
        whole_map().write(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["crpix", "pc"])
def test_a_wcs_that_fits_cannot_hold_is_not_written(tmp_path, name):
    gas = whole_map()
    if name == "pc":
        gas.wcs.wcs.pc = [[np.inf, 0], [0, 1]]
    else:
        gas.wcs.wcs.crpix = [np.inf, 1]
    with pytest.raises(ValueError, match=f"the WCS of the map has {name.upper()} = .*inf"):
        gas.write(tmp_path / "x.fits")
    assert not list(tmp_path.iterdir())


def test_beams_of_headers_and_dictionaries_are_read():
    cards = {"BMAJ": 10 / 3600, "BMIN": 8 / 3600, "BPA": 30.0, "OBJECT": "B5"}
    for meta in (cards, fits.Header(cards), {key.lower(): value for key, value in cards.items()}):
        gas = GasMap.read(NDData(COLUMN, unit="cm-2", wcs=make_wcs(SHAPE), meta=meta))
        assert gas.beam.major.to_value(u.arcsec) == pytest.approx(10)
        assert gas.meta["object"] == "B5"
    header = fits.Header(cards)
    header["DISTANCE"] = (0.3, "[kpc]")
    gas = GasMap.read(CCDData(COLUMN, unit="cm-2", wcs=make_wcs(SHAPE), meta=header))
    assert gas.distance == DISTANCE


def test_given_options_replace_what_an_object_says():
    data = column_map().to_nddata()
    with pytest.warns(AstrofractalWarning, match="DISTANCE = 300 pc, but distance=140 pc is used"):
        gas = GasMap.read(data, distance=140 * u.pc, beam=20 * u.arcsec)
    assert gas.distance == 140 * u.pc
    assert gas.beam.major == 20 * u.arcsec


@pytest.mark.parametrize("unit", [None, "cm-2"])
def test_three_channels_in_one_array_are_a_map(unit):
    gas = whole_map()
    planes = np.stack([COLUMN, gas.velocity.value, gas.dispersion.value])
    mask = np.zeros(SHAPE, bool)
    mask[0] = True
    data = NDData(planes, unit=unit, wcs=gas.wcs, mask=mask, meta={"beam": BEAM})
    units = {} if unit else {"unit": ("cm-2", "km/s", "km/s")}
    again = GasMap.read(data, distance=DISTANCE, **units)
    assert again.channels == gas.channels
    assert again.mask[0].all()
    assert again.beam == BEAM
    np.testing.assert_allclose(again.velocity[1:], gas.velocity[1:])
    images = GasMap.read((gas.to_array(), gas.wcs), unit=("dex(cm-2)", "km/s", "km/s"))
    np.testing.assert_allclose(images.column_density, gas.column_density, rtol=1e-5)


def test_arrays_are_read_with_a_wcs_or_a_header():
    gas = column_map(beam=None)
    for where in (gas.wcs, gas.wcs.to_header(), gas.wcs.low_level_wcs):
        for values, unit in ((COLUMN, "cm-2"), (COLUMN / u.cm**2, None)):
            again = GasMap.read((values, where), unit=unit, distance=DISTANCE)
            np.testing.assert_allclose(again.column_density, gas.column_density)
            assert again.pixel_scale == gas.pixel_scale


def test_lazy_arrays_are_read():
    dask_array = pytest.importorskip("dask.array")
    lazy = dask_array.from_array(COLUMN, chunks=5)
    for data in ((lazy, make_wcs(SHAPE)), NDData(lazy, wcs=make_wcs(SHAPE))):
        np.testing.assert_allclose(GasMap.read(data, unit="cm-2").column_density.value, COLUMN)


def test_open_files_are_read(tmp_path):
    gas = whole_map()
    gas.write(tmp_path / "gas.fits")
    with (tmp_path / "gas.fits").open("rb") as file:
        assert GasMap.read(file).fingerprint() == gas.fingerprint()
    content = (tmp_path / "gas.fits").read_bytes()
    assert GasMap.read(io.BytesIO(content)).fingerprint() == gas.fingerprint()
    with pytest.raises(OSError, match="no FITS file"):
        GasMap.read(io.BytesIO(b"these are words " * 300))


class TestGeneralizedWCS:
    """WCS objects that are no FITS WCS are fitted by one."""

    @pytest.fixture(autouse=True)
    def _needs_gwcs(self):
        pytest.importorskip("gwcs")

    def wcs(self, bend=0.0, projection="TAN"):
        import gwcs
        from astropy.coordinates import ICRS
        from astropy.modeling import models

        bend_x, bend_y = (
            models.Polynomial2D(2, **{f"c{name}": 1, "c1_1": bend}) for name in ("1_0", "0_1")
        )
        model = models.Shift(-4.5) & models.Shift(-5.5)
        model = model | models.Mapping((0, 1, 0, 1)) | bend_x & bend_y
        model = model | models.Scale(-0.001) & models.Scale(0.001) | models.Rotation2D(20)
        model = model | getattr(models, f"Pix2Sky_{projection}")()
        model = model | models.RotateNative2Celestial(52, 31, 180)
        pixels = gwcs.coordinate_frames.Frame2D(name="detector", unit=(u.pix, u.pix))
        sky = gwcs.coordinate_frames.CelestialFrame(
            reference_frame=ICRS(), name="icrs", unit=(u.deg, u.deg)
        )
        return gwcs.WCS([(pixels, model), (sky, None)])

    @pytest.mark.parametrize("projection", ["TAN", "CAR"])
    @pytest.mark.parametrize("as_option", [False, True])
    def test_positions_agree(self, projection, as_option):
        wcs = self.wcs(projection=projection)
        data = NDData(COLUMN, unit="cm-2", wcs=None if as_option else wcs)
        gas = GasMap(data, wcs=wcs) if as_option else GasMap.read(data, distance=DISTANCE)
        for x, y in ((0, 0), (9, 11), (3, 7)):
            assert gas.to_sky(x, y).separation(wcs.pixel_to_world(x, y)).arcsec < 0.01
        assert 0 < gas.meta["wcs_fit_error"] < 0.01

    def test_a_poor_fit_is_refused(self):
        with pytest.raises(
            ValueError, match=r"that no FITS WCS fits: the best is off by .* pixels"
        ):
            GasMap.read((COLUMN, self.wcs(bend=0.5)), unit="cm-2")

    def test_other_axes_are_refused(self):
        from astropy.wcs import WCS

        with pytest.raises(ValueError, match="no celestial WCS"):
            GasMap.read((COLUMN, WCS(naxis=2)), unit="cm-2")


class TestCubes:
    """Cubes of other packages."""

    @pytest.fixture(autouse=True)
    def _needs_spectral_cube(self):
        pytest.importorskip("spectral_cube", reason="needs the extra cube", exc_type=ImportError)

    def cube(self):
        cards = {
            "CTYPE3": "VRAD", "CUNIT3": "km/s", "CRVAL3": -2.0, "CRPIX3": 1.0, "CDELT3": 0.1,
            "BUNIT": "K", "RESTFRQ": 110.2e9,
        }  # fmt: skip
        v = np.arange(-2, 2, 0.1)[:, None, None]
        line = 5 * np.exp(-((v - 0.3) ** 2) / 0.32) * np.ones((1, *SHAPE))
        line += np.random.default_rng(0).normal(0, 0.1, line.shape)
        return fits.PrimaryHDU(line, make_header(line.shape, **cards))

    def check(self, gas, expected):
        for name in expected.channels:
            np.testing.assert_allclose(getattr(gas, name), getattr(expected, name), rtol=1e-6)

    def test_ndcubes_are_read(self):
        ndcube = pytest.importorskip("ndcube")
        hdu = self.cube()
        wcs = GasMap.from_cube(hdu, column=X_FACTOR).wcs
        from astropy.wcs import WCS

        meta = {"BMAJ": 10 / 3600, "BMIN": 8 / 3600, "BPA": 30.0}
        cube = ndcube.NDCube(hdu.data, wcs=WCS(hdu.header), unit=u.K, meta=meta)
        expected = GasMap.from_cube(hdu, column=X_FACTOR, distance=DISTANCE)
        for gas in (
            GasMap.from_cube(cube, column=X_FACTOR, distance=DISTANCE),
            GasMap.read(cube, column=X_FACTOR, distance=DISTANCE),
        ):
            self.check(gas, expected)
            assert gas.wcs.wcs.compare(wcs.wcs)
            assert gas.beam.major.to_value(u.arcsec) == pytest.approx(10)
        part = GasMap.from_cube(cube[:, 2:10, 3:], column=X_FACTOR)
        self.check(part, expected[2:10, 3:])

    def test_arrays_with_a_wcs_are_read(self):
        hdu = self.cube()
        expected = GasMap.from_cube(hdu, column=X_FACTOR)
        for read in (GasMap.from_cube, GasMap.read):
            self.check(read((hdu.data * u.K, hdu.header), column=X_FACTOR), expected)

    def test_folders_of_casa_are_read(self, tmp_path):
        spectral_cube = pytest.importorskip("spectral_cube")
        path = Path(spectral_cube.__file__).parent / "tests" / "data" / "basic.image"
        if not path.exists():
            pytest.skip("spectral-cube came without its test data")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of spectral-cube itself
            expected = spectral_cube.SpectralCube.read(path, format="casa_image")
        gas = GasMap.read(path, column=X_FACTOR, distance=DISTANCE)
        assert gas.shape == expected.shape[1:]
        assert GasMap.from_cube(path, column=X_FACTOR).shape == gas.shape
        (tmp_path / "broken.image").mkdir()
        (tmp_path / "broken.image" / "table.dat").write_bytes(b"nothing")
        with pytest.raises((OSError, ValueError), match=r"broken\.image"):
            GasMap.read(tmp_path / "broken.image", column=X_FACTOR)
