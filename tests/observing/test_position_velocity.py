"""The functions of the tutorial on position-velocity fits, on a Keplerian disk and on L1448."""

import ast
from pathlib import Path

import numpy as np
import pytest
from astropy import constants as const
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits

from astrofractal import GasMap
from astrofractal.gasmap import XFactor

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorials" / "plot_9_position_velocity.py"
L1448 = ROOT.parent / "shared" / "data" / "real" / "glue_l1448_13co.fits"

pytestmark = pytest.mark.skipif(not TUTORIAL.is_file(), reason="the source tree is not here")


@pytest.fixture(scope="module")
def recipe():
    """The imports and functions of the tutorial, without its calls."""
    tree = ast.parse(TUTORIAL.read_text(encoding="utf-8"))
    kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef)
    tree.body = [node for node in tree.body if isinstance(node, kinds)]
    names = {}
    exec(compile(tree, TUTORIAL.name, "exec"), names)
    return names


def measured(recipe, cube, velocities, motion, column, *, center, near, n, level, pixel):
    """Return the index and the mass of the ridge and of the edge."""
    middle, angle = recipe["gradient"](motion, column, center, near)
    offsets = np.arange(-n, n + 1)
    pv = recipe["diagram"](cube, center, angle, offsets)
    both = recipe["curves"](pv, velocities, middle, offsets, level)
    radius = offsets[offsets > 1] * pixel
    return [recipe["fit"](radius, speed) for speed in both]


@pytest.mark.parametrize("turn", [0, 40])
def test_a_keplerian_disk_seen_edge_on(recipe, turn):
    y, x = np.mgrid[:41, :41] - 20.0
    radius, pixel = np.hypot(x, y) + 1e-6, 0.001 * u.pc
    speed = np.sqrt(const.G * 1.3 * u.solMass / (radius * pixel)).to_value("km/s")
    angle = np.radians(turn)
    motion = speed * (x * np.cos(angle) + y * np.sin(angle)) / radius
    velocities = np.arange(-6, 6.01, 0.05)
    cube = np.exp(-(((velocities[:, None, None] - motion) / 0.05) ** 2) / 2)
    found = measured(
        recipe, cube, velocities, motion, np.ones_like(motion),
        center=(20, 20), near=18, n=18, level=0.05, pixel=pixel,
    )  # fmt: skip
    for index, mass in found:
        assert index == pytest.approx(0.5, abs=0.08)
        assert mass == pytest.approx(1.3, rel=0.3)
    assert found[0][1] < 1.3 < found[1][1]  # the ridge is a lower, the edge an upper bound


@pytest.mark.skipif(not L1448.is_file(), reason="the cube of L1448 is not here")
@pytest.mark.parametrize(
    ("position", "mass", "lower", "upper"),
    [
        ("03:25:36.50 +30:45:21.9", 3.7, 0.2, 62),  # IRS3A
        ("03:25:36.38 +30:45:14.7", 3.9, 0.2, 62),  # IRS3B
        ("03:25:38.875 +30:44:05.3", 6.8, 0.8, 60),  # L1448-mm
    ],
)
def test_the_table_of_l1448(recipe, position, mass, lower, upper):
    pytest.importorskip("spectral_cube", exc_type=ImportError)
    with fits.open(L1448) as hdus:
        hdus[0].header["EQUINOX"] = 2000.0
        header, data = hdus[0].header, np.nan_to_num(hdus[0].data.astype(float))
        gas = GasMap.from_cube(
            hdus[0], column=XFactor(6.2e20 / u.cm**2 / (u.K * u.km / u.s)), unit="K",
            line_width=0.06 * u.km / u.s, beam=46 * u.arcsec, distance=288 * u.pc,
        )  # fmt: skip
    channel = np.arange(header["NAXIS3"]) + 1 - header["CRPIX3"]
    velocities = (header["CRVAL3"] + channel * header["CDELT3"]) / 1e3
    x, y = gas.to_pixel(SkyCoord(position, unit=("hourangle", "deg")))
    (_, low), (_, high) = measured(
        recipe, data, velocities, gas.velocity.value, gas.column_density.value,
        center=(x[0], y[0]), near=4, n=8, level=3 * data[:5].std() / np.sqrt(3),
        pixel=gas.pixel_scale,
    )  # fmt: skip
    # the numbers of the tutorial, as they are rounded there
    assert low == pytest.approx(lower, abs=0.05)
    assert high == pytest.approx(upper, abs=0.5)
    assert np.sqrt(low * high) == pytest.approx(mass, abs=0.05)
