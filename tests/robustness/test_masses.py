"""Masses do not depend on how a map is written, nor on who else computes."""

import gc
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from astropy import constants as const
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import NDData
from numpy.testing import assert_allclose

from astrofractal import FractalEncoder, GasMap, StellarMassEstimator
from astrofractal.mass import FeatureSet
from astrofractal.surveys import LazyMap, survey_catalog
from tests.factories import DISTANCE, make_column, make_header, make_mapset, make_wcs
from tests.robustness.cases import THOROUGH

SHAPE = (110, 130)
PEAKS = [(50.0, 48.0), (82.0, 60.0)]
ALL = ("column_density", "velocity", "dispersion")
UNITS = ("cm-2", "km/s", "km/s")

pytestmark = pytest.mark.filterwarnings("ignore::astrofractal.mass.NoSkillWarning")


@pytest.fixture(scope="module")
def estimator():
    """An estimator whose features are of the network as well, and quick."""
    encoder = FractalEncoder(weights="random")
    features = FeatureSet(("central", "scatter"), symmetrize=False, profiles=True)
    estimator = StellarMassEstimator(encoder, features=features, regressor="ridge")
    return estimator.fit(make_mapset(36, n_maps=1), channels=[ALL])


@pytest.fixture(scope="module")
def planes():
    """Column density, velocity and dispersion, exact in 32 bit."""
    column = make_column(SHAPE, [(x, y, 1e23, 4) for x, y in PEAKS], roughness=0.2)
    rng = np.random.default_rng(1)
    velocity = rng.standard_normal((11, 13)).repeat(10, 0).repeat(10, 1) * 0.3
    dispersion = 0.2 + 0.1 * rng.random(SHAPE) + column / 1e24
    return [plane.astype(np.float32) for plane in (column, velocity, dispersion)]


@pytest.fixture(scope="module")
def masses(estimator, planes):
    return estimator.catalog(as_gas(planes), PEAKS)["mass"]


def as_gas(planes, units=UNITS, **options):
    options = {"wcs": make_wcs(SHAPE), "distance": DISTANCE, **options}
    return GasMap(*(p * u.Unit(unit) for p, unit in zip(planes, units)), **options)


def as_file(path, planes, units=UNITS, kind=fits.ImageHDU, **options):
    names = ("COLUMN_DENSITY", "V_LOS", "SIGMA_V")
    hdus = [
        kind(plane, make_header(SHAPE, BUNIT=unit), name=name, **options)
        for plane, unit, name in zip(planes, units, names)
    ]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    return GasMap.read(path, distance=DISTANCE)


def equal(found, masses):
    assert_allclose(np.log10(found.to_value(u.solMass)), np.log10(masses.value), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "units",
    [("m-2", "m/s", "cm/s"), ("1e20 cm-2", "km/s", "m/s"), ("g/cm2", "pc/Myr", "km/s"),
     ("solMass/pc2", "km/h", "km/s")],
)  # fmt: skip
def test_units(estimator, planes, masses, tmp_path, units):
    per_molecule = 2.8 * (const.m_p + const.m_e)
    own = [planes[0] * u.cm**-2, planes[1] * u.km / u.s, planes[2] * u.km / u.s]
    own = [plane.astype(float) for plane in own]
    if not u.Unit(units[0]).is_equivalent(u.cm**-2):
        own[0] = own[0] * per_molecule
    own = [plane.to_value(unit) for plane, unit in zip(own, units)]
    equal(estimator.catalog(as_gas(own, units), PEAKS)["mass"], masses)
    equal(estimator.catalog(as_file(tmp_path / "a.fits", own, units), PEAKS)["mass"], masses)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8"])
def test_byte_order_and_precision(estimator, planes, masses, dtype):
    equal(estimator.catalog(as_gas([p.astype(dtype) for p in planes]), PEAKS)["mass"], masses)


def test_strides_and_ownership(estimator, planes, masses):
    """Views, in Fortran's order or read-only, are the same map."""
    views = [
        np.asfortranarray(planes[0]),
        np.repeat(planes[1], 2, axis=1)[:, ::2],
        planes[2].copy(),
    ]
    views[2].flags.writeable = False
    equal(estimator.catalog(as_gas(views), PEAKS)["mass"], masses)


@pytest.mark.parametrize("kind", ["plain", "tiled", "packed"])
def test_files(estimator, planes, masses, tmp_path, kind):
    options = {"kind": fits.CompImageHDU, "compression_type": "GZIP_2", "quantize_level": 0}
    path = tmp_path / f"a.fits{'.gz' if kind == 'packed' else ''}"
    gas = as_file(path, planes, **(options if kind == "tiled" else {}))
    equal(estimator.catalog(gas, PEAKS)["mass"], masses)


@pytest.mark.parametrize("frame", ["icrs", "galactic", "fk5", "fk4", "barycentricmeanecliptic"])
def test_frames_of_positions(estimator, planes, masses, frame):
    gas = as_gas(planes)
    sky = gas.to_sky(*np.transpose(PEAKS)).transform_to(frame)
    equal(estimator.catalog(gas, SkyCoord(sky))["mass"], masses)


def test_tiles(estimator, planes, masses):
    gas = LazyMap(
        *(NDData(p, unit=unit) for p, unit in zip(planes, UNITS)),
        wcs=make_wcs(SHAPE),
        distance=DISTANCE,
    )
    table = survey_catalog(estimator, gas, PEAKS, tile_shape=(40, 45))
    table.sort("id")
    equal(table["mass"], masses)


@pytest.mark.parametrize("garbage", [np.nan, np.inf, -np.inf, -1e30, 1e30, 0.0])
def test_what_is_under_a_mask(estimator, planes, garbage):
    mask = np.zeros(SHAPE, bool)
    mask[52:58, 52:60] = True
    clean = estimator.catalog(as_gas(planes, mask=mask), PEAKS)["mass"]
    with np.errstate(all="ignore"):
        dirty = [np.where(mask, np.float32(garbage), p) for p in planes]
    equal(estimator.catalog(as_gas(dirty, mask=mask), PEAKS)["mass"], clean)


def test_eight_threads_of_one_estimator(estimator):
    import torch

    maps = make_mapset(16, n_maps=1, seed=3).images
    single = [maps[i % 16 : i % 16 + 1] for i in range(24)]
    expected = [estimator.predict(one)[0] for one in single]
    n_threads = torch.get_num_threads()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(estimator.predict, single))
    equal(u.Quantity([mass[0] for mass in found]), u.Quantity(expected))
    assert torch.get_num_threads() == n_threads


def test_number_of_threads(estimator, planes, masses):
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2 if before == 1 else 1)
    try:
        equal(estimator.catalog(as_gas(planes), PEAKS)["mass"], masses)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_other_processes(estimator, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {method}")
    maps = make_mapset(4, n_maps=1, seed=3).images
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        found = pool.submit(estimator.predict, maps).result(timeout=300)
    equal(found, estimator.predict(maps))


def test_memory_and_descriptors_do_not_grow(estimator, planes, tmp_path):
    """Of maps that are read and weighed, nothing is left; 200 of them in a thorough run."""
    psutil = pytest.importorskip("psutil")
    gas = as_file(tmp_path / "a.fits", planes)
    gas.write(tmp_path / "b.fits")
    process = psutil.Process()

    def usage():
        gc.collect()
        files = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").is_dir() else 0
        return process.memory_info().rss, files, len(gc.get_objects())

    def once():
        estimator.predict(GasMap.read(tmp_path / "b.fits").cutout(PEAKS[0]))

    n_maps = 200 if THOROUGH else 25
    for _ in range(10):
        once()
    memory, files, objects = usage()
    for _ in range(n_maps):
        once()
    more_memory, more_files, more_objects = usage()
    assert more_files == files
    assert more_objects - objects < n_maps
    assert more_memory - memory < n_maps * 100_000  # one map is 170 kB
