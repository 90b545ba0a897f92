"""Files written by other packages of the field: pyspeckit and bettermoments."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from astrofractal import GasMap
from astrofractal.exceptions import AstrofractalWarning
from astrofractal.gasmap import XFactor
from tests.factories import make_header

SHAPE = (4, 5)
VELOCITY, SIGMA, PEAK = 1.5, 0.3, 5.0
X_FACTOR = XFactor(1e21 * u.cm**-2 / (u.K * u.km / u.s))
LINE = PEAK * SIGMA * np.sqrt(2 * np.pi)  # K km/s


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a cube of a Gaussian line."""
    folder = tmp_path_factory.mktemp("packages")
    v = np.arange(-3, 6, 0.1)[:, None, None]
    noise = np.random.default_rng(0).normal(0, 0.02, (90, *SHAPE))
    data = PEAK * np.exp(-((v - VELOCITY) ** 2) / 2 / SIGMA**2) + noise
    axis = {"CTYPE3": "VRAD", "CUNIT3": "km/s", "CRPIX3": 1.0, "CRVAL3": -3.0, "CDELT3": 0.1}
    header = make_header(SHAPE, BUNIT="K", RESTFRQ=110.201354e9, BMAJ=0.004, BMIN=0.003, **axis)
    fits.writeto(folder / "cube.fits", data, header)
    fits.writeto(folder / "column.fits", np.full(SHAPE, 1e22), make_header(SHAPE))
    return folder


def run(folder, *command):
    """Run another package in a process of its own, where its warnings and styles do no harm."""
    subprocess.run([sys.executable, "-W", "ignore", *command], cwd=folder, check=True)


PYSPECKIT = """
import matplotlib; matplotlib.use("Agg")
import numpy as np, pyspeckit
cube = pyspeckit.Cube("cube.fits")
cube.fiteach(guesses=[4.0, 1.4, 0.4], errmap=np.full((4, 5), 0.02), signal_cut=0, multicore=1)
cube.write_fit("fit.fits")
"""


def test_parameters_fitted_by_pyspeckit(folder):
    """Its planes are AMPLITUDE, SHIFT, WIDTH and their errors, counted from PLANE0."""
    if importlib.util.find_spec("pyspeckit") is None:
        pytest.skip("needs pyspeckit")
    run(folder, "-c", PYSPECKIT)
    fit = folder / "fit.fits"
    assert fits.getheader(fit)["PLANE1"] == "SHIFT"
    gas = GasMap.read(folder / "column.fits", velocity=fit, dispersion=fit)
    np.testing.assert_allclose(gas.velocity.value, VELOCITY, atol=0.01)
    np.testing.assert_allclose(gas.dispersion.value, SIGMA, atol=0.01)
    assert 0 < np.median(gas.velocity_uncertainty.value) < 0.01
    own = GasMap.from_cube(folder / "cube.fits", column=X_FACTOR)
    np.testing.assert_allclose(gas.velocity.value, own.velocity.value, atol=0.02)


def moments_as_bettermoments_writes_them(folder):
    """Write files with its names, units and headers."""
    values = {
        "M0": (LINE * 1e3, "K m/s"), "dM0": (19.0, "K m/s"), "gv0": (VELOCITY * 1e3, "m/s"),
        "dgv0": (0.7, "m/s"), "M2": (SIGMA * 1e3, "m/s"), "dM2": (3.0, "m/s"),
        "gdV": (np.sqrt(2) * SIGMA * 1e3, "m/s"),
    }  # fmt: skip
    for name, (value, unit) in values.items():
        header = make_header(SHAPE, BUNIT=unit, BMAJ=0.004, BMIN=0.003, BPA=0.0)
        header["COMMENT"] = "made with bettermoments"
        fits.writeto(folder / f"cube_{name}.fits", np.full(SHAPE, value), header)


BETTERMOMENTS = """
import sys
from bettermoments.collapse_cube import main
line = ["-firstchannel", "33", "-lastchannel", "57"]
for method in ("zeroth", "second", "gaussian"):
    sys.argv = ["bettermoments", "cube.fits", "-method", method, "-rms", "0.02", "--silent"]
    sys.argv += line if method == "second" else []
    main()
"""


def moments_by_bettermoments(folder):
    if importlib.util.find_spec("bettermoments") is None:
        pytest.skip("needs bettermoments")
    fits.writeto(folder / "cube.fits", *fits.getdata(folder.parent / "cube.fits", header=True))
    run(folder, "-c", BETTERMOMENTS)


@pytest.mark.parametrize("write", [moments_as_bettermoments_writes_them, moments_by_bettermoments])
def test_moments_of_bettermoments(folder, write):
    path = folder / write.__name__
    path.mkdir()
    write(path)
    gas = GasMap.read(
        path / "cube_M0.fits",
        velocity=path / "cube_gv0.fits",
        dispersion=path / "cube_M2.fits",
        uncertainty={
            "column_density": path / "cube_dM0.fits",
            "velocity": path / "cube_dgv0.fits",
            "dispersion": path / "cube_dM2.fits",
        },
        column=X_FACTOR,
    )
    assert np.median(gas.column_density.value) == pytest.approx(1e21 * LINE, rel=0.01)
    assert np.median(gas.column_density_uncertainty.value) == pytest.approx(1.9e19, rel=0.02)
    assert np.median(gas.velocity.value) == pytest.approx(VELOCITY, abs=0.01)
    assert np.median(gas.dispersion.value) == pytest.approx(SIGMA, rel=0.02)
    with pytest.warns(AstrofractalWarning, match=r"doppler by their header \(cube_gdV\)"):
        fitted = GasMap.read(folder / "column.fits", dispersion=path / "cube_gdV.fits")
    assert np.median(fitted.dispersion.value) == pytest.approx(SIGMA, rel=0.01)
