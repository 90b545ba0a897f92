"""Cutouts: scale, position, averages, flags."""

import tracemalloc
from collections import Counter
from inspect import isfunction

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.nddata import NDData, StdDevUncertainty
from regions import CirclePixelRegion, PixCoord, RectanglePixelRegion

from astrofractal import GasMap
from astrofractal.gasmap import wcs as wcs_module
from tests.factories import make_wcs

PIXEL = 0.005 * u.pc
STEP = np.degrees(0.005 / 300)  # of a pixel of 0.005 pc at 300 pc


@pytest.fixture
def exact(numbers):
    """A map whose pixels are 0.005 pc wide."""
    units = (u.cm**-2, u.km / u.s, u.km / u.s)
    channels = [value * unit for value, unit in zip(numbers, units, strict=True)]
    return GasMap(*channels, wcs=make_wcs((80, 100), step=STEP), distance=300 * u.pc)


def test_same_scale_gives_the_same_pixels(exact):
    cutout = exact.cutout((49.5, 39.5), size=0.2 * u.pc, shape=(40, 40))
    part = exact[20:60, 30:70]
    for name in exact.channels:
        np.testing.assert_allclose(
            getattr(cutout, name).value, getattr(part, name).value, rtol=2e-5, atol=1e-6
        )
    assert cutout.flags == ()
    assert cutout.masked_fraction == 0
    assert cutout.pixel_scale.to_value(u.pc) == pytest.approx(0.005, rel=1e-6)
    assert cutout.to_sky(19.5, 19.5).separation(exact.to_sky(49.5, 39.5)).arcsec < 1e-6


def test_sky_positions_in_any_frame(exact):
    position = exact.to_sky(44.3, 41.8)
    by_pixel = exact.cutout((44.3, 41.8), size=0.1 * u.pc, shape=(16, 16))
    for frame in ("icrs", "galactic", "fk5"):
        by_sky = exact.cutout(position.transform_to(frame), size=0.1 * u.pc, shape=(16, 16))
        np.testing.assert_allclose(by_sky.to_array(), by_pixel.to_array(), atol=1e-5)
    angle = (0.1 / 300) * u.rad
    by_angle = exact.cutout((44.3, 41.8), size=angle, shape=(16, 16))
    np.testing.assert_allclose(by_angle.to_array(), by_pixel.to_array(), atol=1e-5)


@pytest.mark.parametrize("turn", [0, 30, 137])
@pytest.mark.parametrize("flip", [1, -1])
def test_north_is_up_whatever_the_pixels_do(turn, flip):
    """A star to the north-east of the center is at the upper left of the cutout."""
    wcs = make_wcs((120, 120), step=STEP)
    angle = np.radians(turn)
    wcs.wcs.pc = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    wcs.wcs.cdelt = [flip * STEP, STEP]
    wcs.wcs.set()
    center = SkyCoord(52.0, 31.0, unit="deg")
    star = center.spherical_offsets_by(15 * STEP * u.deg, 10 * STEP * u.deg)
    x0, y0 = wcs.world_to_pixel(star)
    y, x = np.mgrid[:120, :120]
    column = 1e21 + 1e23 * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 8)
    gas = GasMap(column / u.cm**2, wcs=wcs, distance=300 * u.pc)
    cutout = gas.cutout(center, size=0.205 * u.pc, shape=(41, 41))
    row, pixel = np.unravel_index(np.nanargmax(cutout.column_density.value), (41, 41))
    assert (pixel, row) == (20 - 15, 20 + 10)
    assert cutout.to_sky(pixel, row).separation(star) < STEP * u.deg


def test_scale_is_local_on_wide_fields():
    """On a plate carree map at 60 degrees of latitude, a pixel is half as wide along x."""
    wcs = make_wcs((200, 400), step=0.02, ctype=("GLON-CAR", "GLAT-CAR"), crval=(30.0, 0.0))
    wcs.wcs.crpix = [200.5, 100.5 - 60 / 0.02]
    wcs.wcs.set()
    y, x = np.mgrid[:200, :400]
    column = 1e21 * (1 + 0.01 * x + 0.003 * y)
    gas = GasMap(column / u.cm**2, wcs=wcs, distance=100 * u.pc)
    assert gas.pixel_solid_angle.to_value(u.deg**2) == pytest.approx(0.02**2 / 2, rel=1e-3)
    size = np.tan(np.radians(0.64) / 2) * 2 * 100 * u.pc
    cutout = gas.cutout((200, 100), size=size, shape=(32, 32))
    expected = SkyCoord(gas.to_sky(200, 100))
    for pixel in ((0, 0), (31, 31), (0, 31), (15.5, 15.5)):
        sky = cutout.to_sky(*pixel)
        px, py = gas.wcs.world_to_pixel(sky)
        value = cutout.column_density.value
        here = 1e21 * (1 + 0.01 * px + 0.003 * py)
        got = value[int(pixel[1]), int(pixel[0])] if float(pixel[0]).is_integer() else None
        if got is not None:
            assert got == pytest.approx(here, rel=2e-3)
    assert cutout.to_sky(15.5, 15.5).separation(expected).arcsec < 1e-3


def test_positions_across_the_seam_of_a_cylindrical_map():
    wcs = make_wcs((20, 60), step=0.5, ctype=("GLON-CAR", "GLAT-CAR"), crval=(0.0, 0.0))
    wcs.wcs.crpix = [381.0, 10.5]  # the map lies at longitudes 160 to 190
    wcs.wcs.set()
    gas = GasMap(np.full((20, 60), 1e21) / u.cm**2, wcs=wcs, distance=100 * u.pc)
    positions = SkyCoord([178.0, 182.0], [0.0, 0.0], unit="deg", frame="galactic")
    assert gas.contains(positions).all()
    cutouts = gas.cutouts(positions, size=4 * u.deg, shape=(8, 8))
    assert [cutout.masked_fraction for cutout in cutouts] == [0, 0]


def test_averaging_keeps_the_mass_and_weights_velocities():
    rng = np.random.default_rng(0)
    column = rng.lognormal(size=(64, 64)) * 1e21
    velocity, dispersion = rng.normal(5, 1, (64, 64)), rng.uniform(0.1, 0.3, (64, 64))
    gas = GasMap(
        column / u.cm**2,
        velocity * u.km / u.s,
        dispersion * u.km / u.s,
        wcs=make_wcs((64, 64), step=STEP),
        distance=300 * u.pc,
    )
    cutout = gas.cutout((31.5, 31.5), size=64 * PIXEL, shape=(16, 16))
    assert cutout.flags == ("other-pixel-scale",)

    def block(array):
        return array.reshape(16, 4, 16, 4).sum(axis=(1, 3))

    total = block(column)
    mean = block(column * velocity) / total
    square = block(column * (dispersion**2 + velocity**2)) / total - mean**2
    np.testing.assert_allclose(cutout.column_density.value, total / 16, rtol=1e-4)
    np.testing.assert_allclose(cutout.velocity.value, mean, atol=1e-4)
    np.testing.assert_allclose(cutout.dispersion.value, np.sqrt(square), rtol=1e-3)


@pytest.mark.parametrize("ratio", [3, 10])
def test_averaging_of_a_turned_map(ratio):
    """The general path agrees with the plain one where both apply, and removes noise alike."""
    rng = np.random.default_rng(1)
    wcs = make_wcs((240, 240), step=STEP)
    wcs.wcs.pc = [[np.cos(0.6), -np.sin(0.6)], [np.sin(0.6), np.cos(0.6)]]
    wcs.wcs.set()
    column = 1e21 * (10 + rng.normal(size=(240, 240)))
    gas = GasMap(column / u.cm**2, column / 1e21 * u.km / u.s, wcs=wcs, distance=300 * u.pc)
    n = 150 // ratio
    cutout = gas.cutout((119.5, 119.5), size=n * ratio * PIXEL, shape=(n, n))
    values = cutout.column_density.value / 1e21
    assert values.mean() == pytest.approx(10, abs=0.1)
    assert values.std() == pytest.approx(1 / ratio, rel=0.25)


def test_masked_pixels_have_no_weight(numbers):
    column = numbers[0].copy()
    column[38:42, 48:52] = np.nan
    gas = GasMap(
        column / u.cm**2,
        numbers[1] * u.km / u.s,
        wcs=make_wcs((80, 100), step=STEP),
        distance=300 * u.pc,
    )
    cutout = gas.cutout((49.5, 39.5), size=20 * PIXEL, shape=(20, 20))
    assert cutout.flags == ("masked",)
    assert cutout.masked_fraction == pytest.approx(16 / 400)
    coarse = gas.cutout((49.5, 39.5), size=40 * PIXEL, shape=(5, 5))
    assert not coarse.mask.any()
    block = column[36:44, 46:54]
    assert coarse.column_density.value[2, 2] == pytest.approx(np.nanmean(block), rel=1e-3)


def test_edges_are_flagged(exact):
    cutout = exact.cutout((2, 40), size=0.1 * u.pc, shape=(20, 20))
    assert cutout.flags == ("edge",)
    # seven or eight of twenty columns are off the map
    assert cutout.masked_fraction == pytest.approx(0.375, abs=0.03)


def test_beam_and_coarse_pixels_are_flagged(numbers):
    options = {"wcs": make_wcs((80, 100), step=STEP), "distance": 300 * u.pc}
    sharp = GasMap(numbers[0] / u.cm**2, beam=2 * STEP * u.deg, **options)
    blunt = GasMap(numbers[0] / u.cm**2, beam=4 * STEP * u.deg, **options)
    assert sharp.cutout((50, 40), size=0.1 * u.pc, shape=(20, 20)).flags == ()
    assert blunt.cutout((50, 40), size=0.1 * u.pc, shape=(20, 20)).flags == ("beam",)
    fine = blunt.cutout((50, 40), size=0.1 * u.pc, shape=(80, 80))
    assert fine.flags == ("other-pixel-scale", "beam")


def test_off_the_map(exact):
    with pytest.raises(ValueError, match=r"position \(300, 40\) is not on the map.*\(80, 100\)"):
        exact.cutout((300, 40))
    far = SkyCoord(252, -31, unit="deg")
    with pytest.raises(ValueError, match="is not on the map"):
        exact.cutout(far)
    cutouts = exact.cutouts(SkyCoord([52, 232], [31, -31], unit="deg"), size=0.1 * u.pc)
    assert "outside" not in cutouts[0].flags
    assert "outside" in cutouts[1].flags
    assert cutouts[1].masked_fraction == 1
    assert np.isnan(cutouts[1].to_array()).all()


def test_wrong_arguments(exact, numbers):
    with pytest.raises(ValueError, match=r"positions must be .*\(n, 2\), got shape \(3, 4\)"):
        exact.cutouts(np.zeros((3, 4)))
    with pytest.raises(TypeError, match="positions must be a SkyCoord or pixels"):
        exact.cutouts("here")
    with pytest.raises(ValueError, match="position must be one SkyCoord or pixel"):
        exact.cutout(SkyCoord([1, 2], [3, 4], unit="deg"))
    with pytest.raises(u.UnitsError, match="size must be a length or an angle"):
        exact.cutout((50, 40), size=3 * u.s)
    with pytest.raises(TypeError, match="size must be a Quantity"):
        exact.cutout((50, 40), size=3)
    with pytest.raises(ValueError, match="shape"):
        exact.cutout((50, 40), shape=(0, 3))
    bare = GasMap(numbers[0] / u.cm**2)
    with pytest.raises(ValueError, match="needs a WCS"):
        bare.cutout((50, 40))
    with pytest.raises(ValueError, match="SkyCoord needs a WCS"):
        GasMap(numbers[0] / u.cm**2, pixel_scale=PIXEL).cutout(SkyCoord("0d 0d"))
    with pytest.raises(ValueError, match="needs the distance"):
        GasMap(numbers[0] / u.cm**2, wcs=exact.wcs).cutout((50, 40))
    assert exact.cutouts([]) == []


def test_without_wcs_the_pixel_scale_is_enough(numbers):
    gas = GasMap(numbers[0] / u.cm**2, pixel_scale=PIXEL)
    cutout = gas.cutout((49.5, 39.5), size=0.1 * u.pc, shape=(20, 20))
    np.testing.assert_allclose(
        cutout.column_density.value, gas.column_density.value[30:50, 40:60], rtol=1e-5
    )
    assert cutout.wcs is None
    assert cutout.pixel_scale.to_value(u.pc) == pytest.approx(0.005)


def test_uncertainties_fall_when_pixels_are_averaged(numbers):
    data = NDData(numbers[0], unit="cm-2", uncertainty=StdDevUncertainty(np.full((80, 100), 1e20)))
    options = {"wcs": make_wcs((80, 100), step=STEP), "distance": 300 * u.pc}
    same = GasMap(data, **options).cutout((50, 40), size=20 * PIXEL, shape=(20, 20))
    np.testing.assert_allclose(same.column_density_uncertainty.value, 1e20, rtol=1e-5)
    coarse = GasMap(data, **options).cutout((50, 40), size=40 * PIXEL, shape=(10, 10))
    np.testing.assert_allclose(coarse.column_density_uncertainty.value, 0.25e20, rtol=1e-3)
    beam = GasMap(data, beam=4 * STEP * u.deg, **options)
    correlated = beam.cutout((50, 40), size=40 * PIXEL, shape=(10, 10))
    np.testing.assert_allclose(correlated.column_density_uncertainty.value, 1e20, rtol=0.1)


def test_other_shapes(exact):
    cutout = exact.cutout((49.5, 39.5), size=0.2 * u.pc, shape=(20, 40))
    np.testing.assert_allclose(
        cutout.column_density.value, exact.column_density.value[30:50, 30:70], rtol=1e-4
    )


def test_a_region_is_cut_out_by_its_bounding_box(exact):
    region = RectanglePixelRegion(PixCoord(30, 20), width=10.6, height=6.6)
    cutout = exact.cutout(region)
    assert cutout.shape == (7, 11)
    np.testing.assert_array_equal(cutout.velocity, exact.velocity[17:24, 25:36])
    assert cutout.to_sky(5, 3).separation(exact.to_sky(30, 20)) < 1e-6 * u.arcsec
    on_sky = exact.cutout(region.to_sky(exact.wcs))
    assert on_sky.fingerprint() == cutout.fingerprint()
    edge = exact.cutout(CirclePixelRegion(PixCoord(0, 0), radius=5.2))
    assert edge.shape == (6, 6)
    with pytest.raises(ValueError, match="is not on the map, whose shape .* is \\(80, 100\\)"):
        exact.cutout(CirclePixelRegion(PixCoord(-50, 0), radius=5))
    with pytest.raises(ValueError, match="size and shape must not be given with a region"):
        exact.cutout(region, size=0.3 * u.pc)


@pytest.mark.parametrize("sky", [True, False])
def test_many_cutouts_ask_the_wcs_as_often_as_two(gas, monkeypatch, sky):
    """All positions go through the WCS together, and a cutout makes its own WCS only when asked."""
    calls = Counter()

    def counted(name, function):
        def call(*args, **kwargs):
            calls[name] += 1
            return function(*args, **kwargs)

        return call

    for name, function in vars(wcs_module).copy().items():
        if isfunction(function) and not name.startswith("_"):
            monkeypatch.setattr(wcs_module, name, counted(name, function))
    x, y = np.random.default_rng(0).uniform(20, 60, (2, 200))
    positions = gas.to_sky(x, y) if sky else np.stack([x, y], axis=1)
    found = []
    for part in (positions[:2], positions):
        calls.clear()
        assert len(gas.cutouts(part)) == len(part)
        found.append(dict(calls))
    assert found[0] == found[1]
    assert found[0]["degrees_to_pixel"] <= 2
    assert "tangent_wcs" not in found[0]


def test_a_cutout_works_on_its_own_part_of_the_map():
    shape = (1500, 1500)
    column = np.full(shape, 1e21) * u.cm**-2
    speed = np.full(shape, 0.3) * u.km / u.s
    large = GasMap(column, speed, speed, wcs=make_wcs(shape, step=STEP), distance=300 * u.pc)
    options = {"size": 0.2 * u.pc, "shape": (40, 40)}
    large.cutouts([(700, 700)], **options)
    tracemalloc.start()
    try:
        large.cutouts([(600, 600), (900, 900)], **options)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < np.prod(shape)  # not even a mask of the whole, one byte per pixel
