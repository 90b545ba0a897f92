"""The same map from every holder of maps, and what is refused."""

import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, Cutout2D, NDData, StdDevUncertainty
from astropy.wcs import FITSFixedWarning
from radio_beam import Beam

from astrofractal import GasMap
from astrofractal.exceptions import AstrofractalWarning


@pytest.fixture
def header(wcs):
    header = wcs.to_header()
    header["BUNIT"] = "cm-2"
    return header


@pytest.fixture
def three(numbers, header):
    """Three named extensions."""
    hdus = fits.HDUList([fits.PrimaryHDU()])
    for name, unit, data in zip(
        ("COLUMN_DENSITY", "V_LOS", "SIGMA_V"), ("cm-2", "km/s", "km s-1"), numbers, strict=True
    ):
        hdus.append(fits.ImageHDU(data.astype("f4"), header, name))
        hdus[-1].header["BUNIT"] = unit
    return hdus


def check(gas, numbers, n_channels):
    for name, expected in zip(gas.channels, numbers, strict=False):
        np.testing.assert_allclose(getattr(gas, name).value, expected, rtol=2e-3, atol=1e-6)
    assert len(gas.channels) == n_channels
    assert gas.to_sky(49.5, 39.5).ra.deg == pytest.approx(52.0)
    assert gas.distance == 300 * u.pc


def holders(tmp_path, numbers, header, wcs):
    column = numbers[0]
    image = fits.PrimaryHDU(column, header)
    image.writeto(tmp_path / "map.fits")
    yield tmp_path / "map.fits"
    yield str(tmp_path / "map.fits")
    yield image
    yield fits.HDUList([image])
    yield fits.ImageHDU(column.astype(">f4"), header)
    degenerate = fits.PrimaryHDU(column[None, None], header)
    degenerate.header.update({"CTYPE3": "FREQ", "CRVAL3": 1e11, "CTYPE4": "STOKES", "CRVAL4": 1})
    yield degenerate
    packed = fits.CompImageHDU((column / 1e18).astype("i4"), header)
    packed.header["BUNIT"] = "1e18 cm-2"
    packed.writeto(tmp_path / "packed.fits.gz")
    yield tmp_path / "packed.fits.gz"
    yield NDData(column, unit="cm-2", wcs=wcs)
    yield CCDData(column, unit="cm-2", wcs=wcs)


def test_column_density_from_every_holder(tmp_path, numbers, header, wcs):
    for data in holders(tmp_path, numbers, header, wcs):
        check(GasMap.read(data, distance=300 * u.pc), numbers, 1)


def test_three_extensions(tmp_path, numbers, three):
    check(GasMap.read(three, distance=300 * u.pc), numbers, 3)
    three.writeto(tmp_path / "three.fits")
    check(GasMap.read(tmp_path / "three.fits", distance=300 * u.pc), numbers, 3)
    for name, other in (("COLUMN_DENSITY", "N_H2"), ("V_LOS", "vlsr"), ("SIGMA_V", "Sigma")):
        three[name].name = other
    check(GasMap.read(three, distance=300 * u.pc), numbers, 3)


def test_cube_of_three_planes(numbers, header):
    hdu = fits.PrimaryHDU(np.stack(numbers), header)
    check(GasMap.read(hdu, distance=300 * u.pc), numbers, 3)
    fast = [numbers[0], 1e3 * numbers[1], 1e3 * numbers[2]]
    hdu = fits.PrimaryHDU(np.stack(fast), header)
    units = ("cm-2", "m/s", "m/s")
    check(GasMap.read(hdu, unit=units, distance=300 * u.pc), numbers, 3)
    with pytest.raises(u.UnitsError, match="dispersion has a median of .*unit="):
        GasMap.read(hdu)
    hdu.header["BUNIT"] = "cm-2, m/s, m/s"
    check(GasMap.read(hdu, distance=300 * u.pc), numbers, 3)


def test_unit_may_be_given(numbers, header):
    del header["BUNIT"]
    hdu = fits.PrimaryHDU(numbers[0] / 1e21, header)
    for data, example in (
        (numbers[0], "unit='cm-2'"),
        (np.log10(numbers[0]), r"unit='dex\(cm-2\)'"),
        (numbers[0] / 1e21, r"'1e21 cm-2', .* \(their median is"),
    ):
        with pytest.raises(ValueError, match=f"has no BUNIT: give the unit of .*{example}"):
            GasMap.read(fits.PrimaryHDU(data, header))
    check(GasMap.read(hdu, unit=1e21 * u.cm**-2, distance=300 * u.pc), numbers, 1)
    check(GasMap.read(hdu, unit="1e21 cm-2", distance=300 * u.pc), numbers, 1)
    check(GasMap.read(hdu, unit={"column_density": "1e21 cm-2"}, distance=300 * u.pc), numbers, 1)
    with pytest.raises(ValueError, match="unit must be one of .*got 'colum'"):
        GasMap.read(hdu, unit={"colum": "cm-2"})
    with pytest.raises(ValueError, match="is not a unit"):
        GasMap.read(hdu, unit="cubits")


def test_missing_unit_of_a_velocity(three):
    del three["V_LOS"].header["BUNIT"]
    with pytest.raises(ValueError, match="V_LOS.* has no BUNIT.*unit={'velocity': 'km/s'}"):
        GasMap.read(three)
    gas = GasMap.read(three, unit={"velocity": "m/s"})
    assert gas.velocity.value.max() < 0.01


def test_integers_with_scale_and_blank(tmp_path, numbers, header):
    path = tmp_path / "integers.fits"
    data = np.round(numbers[0] / 1e18).astype("i4")
    data[0, 0] = -1
    fits.PrimaryHDU(data, header).writeto(path)
    with fits.open(path, mode="update", do_not_scale_image_data=True) as hdus:
        hdus[0].header["BSCALE"] = 1e18
        hdus[0].header["BLANK"] = -1
    gas = GasMap.read(path)
    assert gas.mask[0, 0]
    np.testing.assert_allclose(gas.column_density.value[1:], numbers[0][1:], rtol=1e-3)


def test_errors_and_masks_of_extensions(three, numbers):
    three.append(fits.ImageHDU(np.full((80, 100), 1e20), name="COLUMN_DENSITY_ERROR"))
    three.append(fits.ImageHDU(np.full((80, 100), 20.0), name="V_LOS_ERR"))
    three[-1].header["BUNIT"] = "m/s"
    mask = np.zeros((80, 100), np.uint8)
    mask[3, 4] = 1
    three.append(fits.ImageHDU(mask, name="MASK"))
    gas = GasMap.read(three)
    assert gas.mask.sum() == 1
    assert gas.mask[3, 4]
    assert np.nanmax(gas.column_density_uncertainty.value) == pytest.approx(1e20)
    assert np.nanmax(gas.velocity_uncertainty.value) == pytest.approx(0.02)
    assert gas.dispersion_uncertainty is None


def test_file_of_ccddata(tmp_path, numbers, wcs):
    data = CCDData(
        numbers[0],
        unit="cm-2",
        wcs=wcs,
        mask=numbers[0] < 1.001e21,
        uncertainty=StdDevUncertainty(numbers[0] / 10),
    )
    data.write(tmp_path / "ccd.fits")
    gas = GasMap.read(tmp_path / "ccd.fits")
    assert 0 < gas.mask.sum() == data.mask.sum()
    ratio = gas.column_density_uncertainty / gas.column_density
    np.testing.assert_allclose(ratio[~gas.mask], 0.1, rtol=1e-5)


def test_astropy_reads_what_is_written(tmp_path, gas):
    gas = gas.replace(column_density_uncertainty=gas.column_density / 10)
    gas.write(tmp_path / "gas.fits")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        data = CCDData.read(
            tmp_path / "gas.fits", hdu="COLUMN_DENSITY", hdu_uncertainty="COLUMN_DENSITY_ERROR"
        )
    assert data.unit == u.cm**-2
    np.testing.assert_array_equal(data.data, gas.column_density.value)
    np.testing.assert_array_equal(data.uncertainty.array, gas.column_density_uncertainty.value)
    assert GasMap.read(data, distance=gas.distance).shape == gas.shape


@pytest.mark.parametrize("read", [GasMap.read, GasMap])
def test_cutouts_of_astropy(numbers, wcs, read):
    column = numbers[0] / u.cm**2
    cutout = Cutout2D(column, (60, 10), (20, 30), wcs=wcs)
    gas = read(cutout, distance=300 * u.pc)
    np.testing.assert_array_equal(gas.column_density, column[cutout.slices_original])
    x, y = cutout.to_cutout_position((58, 12))
    assert gas.to_sky(x, y).separation(wcs.pixel_to_world(58, 12)).arcsec < 1e-6


def test_cutouts_across_the_border(numbers, wcs):
    cutout = Cutout2D(numbers[0], (99, 10), (20, 30), wcs=wcs, mode="partial", fill_value=1e22)
    gas = GasMap.read(cutout, unit="cm-2", distance=300 * u.pc)
    outside = np.ones((20, 30), bool)
    outside[cutout.slices_cutout] = False
    assert 0 < outside.mean() < 1
    np.testing.assert_array_equal(gas.mask, outside)
    with pytest.raises(ValueError, match="no unit"):
        GasMap.read(cutout)


def test_several_images(numbers, header):
    def image(name, unit):
        hdu = fits.ImageHDU(numbers[0], header, name)
        hdu.header["BUNIT"] = unit
        return hdu

    hdus = fits.HDUList([fits.PrimaryHDU(), image("FIRST", "cm-2"), image("SECOND", "K")])
    assert GasMap.read(hdus).shape == (80, 100)
    hdus["SECOND"].header["BUNIT"] = "cm-2"
    with pytest.raises(ValueError, match=r"holds 2 images.*FIRST.*SECOND.*hdu="):
        GasMap.read(hdus)
    assert GasMap.read(hdus, hdu="SECOND").shape == (80, 100)
    assert GasMap.read(hdus, hdu=1).shape == (80, 100)
    with pytest.raises(ValueError, match="hdu 'THIRD' is not in the file"):
        GasMap.read(hdus, hdu="THIRD")
    with pytest.raises(ValueError, match="no image of a column density"):
        GasMap.read(fits.HDUList([fits.PrimaryHDU()]))


def test_map_is_returned_as_it_is(gas):
    assert GasMap.read(gas) is gas
    far = GasMap.read(gas, distance=1 * u.kpc)
    assert far.distance == 1000 * u.pc
    assert far.pixel_scale.value == pytest.approx(gas.pixel_scale.value * 10 / 3)


def test_distance_and_beam_of_the_header(numbers, header):
    header["BMAJ"], header["BMIN"], header["BPA"] = 0.004, 0.001, 30.0
    hdu = fits.PrimaryHDU(numbers[0], header)
    hdu.header["DISTANCE"] = (140.0, "[pc] Hyades and all that")
    gas = GasMap.read(hdu)
    assert gas.distance == 140 * u.pc
    assert gas.beam == Beam(0.004 * u.deg, 0.001 * u.deg, 30 * u.deg)
    assert GasMap.read(hdu, beam=5 * u.arcsec).beam == Beam(5 * u.arcsec)
    header["BMAJ"], header["BMIN"] = 0.001, 0.004  # a header whose axes are swapped
    swapped = GasMap.read(fits.PrimaryHDU(numbers[0], header))
    assert swapped.beam == Beam(0.004 * u.deg, 0.001 * u.deg, 120 * u.deg)
    hdu.header.comments["DISTANCE"] = "unit unknown"
    assert GasMap.read(hdu).distance is None  # not guessed


def test_log10_and_no_data(numbers, header):
    values = np.log10(numbers[0])
    values[:5] = -1
    hdu = fits.PrimaryHDU(values, header)
    with pytest.raises(ValueError, match="unit=.dex"):
        GasMap.read(hdu, no_data=-1)
    gas = GasMap.read(hdu, no_data=-1, unit="dex(cm-2)")
    assert gas.mask[:5].all()
    np.testing.assert_allclose(gas.column_density.value[5:], numbers[0][5:], rtol=1e-5)
    hdu.header["BUNIT"] = "log10(cm-2)"
    gas = GasMap.read(hdu, no_data=-1)
    np.testing.assert_allclose(gas.column_density.value[5:], numbers[0][5:], rtol=1e-5)


def test_little_column_density_is_suspected(numbers, header):
    hdu = fits.PrimaryHDU(numbers[0] / 1e8, header)
    with pytest.warns(AstrofractalWarning, match="little for H2.*column=Abundance"):
        GasMap.read(hdu)


@pytest.mark.parametrize("keep", [0, 100, 1000, 2880, 3000, 20000])
def test_truncated_files(tmp_path, numbers, header, keep):
    path = tmp_path / "short.fits"
    fits.PrimaryHDU(numbers[0], header).writeto(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(OSError, match=r"cannot read '.*short.fits': ") as info:
        GasMap.read(path)
    assert "\n" not in str(info.value)


def test_truncated_in_a_later_extension(tmp_path, three):
    path = tmp_path / "short.fits"
    three.writeto(path)
    whole = path.read_bytes()
    for keep in (len(whole) - 2880, len(whole) - 33 * 1024 - 500):
        path.write_bytes(whole[:keep])
        with pytest.raises(OSError, match="truncated or damaged"):
            GasMap.read(path)


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such file: '.*nowhere.fits'"):
        GasMap.read(tmp_path / "nowhere.fits")
    with pytest.raises(OSError, match="is a folder"):
        GasMap.read(tmp_path)
    (tmp_path / "words.fits").write_text("these are words\n" * 300)
    with pytest.raises(OSError, match="no FITS file"):
        GasMap.read(tmp_path / "words.fits")


def test_wrong_classes(numbers):
    with pytest.raises(TypeError, match="source must be a path.*got int: 3"):
        GasMap.read(3)
    with pytest.raises(ValueError, match="array without a unit.*unit="):
        GasMap.read(numbers[0])
    assert GasMap.read(numbers[0], unit="cm-2").shape == (80, 100)
    with pytest.raises(u.UnitsError, match="disagrees"):
        GasMap.read(NDData(numbers[0], unit="cm-2"), unit="m-2")
    assert GasMap.read(NDData(numbers[0]), unit="cm-2").shape == (80, 100)


def test_dimensions(header):
    with pytest.raises(ValueError, match=r"must be a 2D map, got 1D data of shape \(50,\)"):
        GasMap.read(fits.PrimaryHDU(np.ones(50)), unit="cm-2")
    with pytest.raises(ValueError, match=r"must be a 2D map, got 4D data of shape \(2, 3, 4, 5\)"):
        GasMap.read(fits.PrimaryHDU(np.ones((2, 3, 4, 5)), header))
    with pytest.raises(ValueError, match="is a cube of parameters"):
        GasMap.read(fits.PrimaryHDU(np.ones((12, 4, 5)), header))


def test_written_map_is_read_back(tmp_path, numbers, wcs):
    column = NDData(numbers[0], unit="cm-2", uncertainty=StdDevUncertainty(numbers[0] / 10))
    gas = GasMap(
        column,
        numbers[1] * u.km / u.s,
        numbers[2] * u.km / u.s,
        wcs=wcs,
        distance=300 * u.pc,
        beam=Beam(20 * u.arcsec, 12 * u.arcsec, 40 * u.deg),
        mask=numbers[0] > 2e22,
    )
    gas.write(tmp_path / "gas.fits")
    again = GasMap.read(tmp_path / "gas.fits")
    for name in (*gas.channels, "column_density_uncertainty"):
        np.testing.assert_array_equal(getattr(again, name), getattr(gas, name))
    assert again.distance == gas.distance
    assert again.beam == gas.beam
    assert again.to_sky(3, 4).separation(gas.to_sky(3, 4)).arcsec < 1e-6
    with pytest.raises(FileExistsError, match="overwrite"):
        gas.write(tmp_path / "gas.fits")
    gas.write(tmp_path / "gas.fits", overwrite=True)
    bare = GasMap(numbers[0] / u.cm**2, pixel_scale=0.01 * u.pc)
    bare.write(tmp_path / "bare.fits")
    assert GasMap.read(tmp_path / "bare.fits").pixel_scale == 0.01 * u.pc
