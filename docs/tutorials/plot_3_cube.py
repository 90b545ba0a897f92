"""
From a spectral cube to masses
==============================

**Question:** How do I get masses from a position-position-velocity cube?

**Answer:** `~astrofractal.gasmap.GasMap.from_cube` makes the three maps; noise and thermal width
change the masses little.

This tutorial needs the extra ``cube``.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable

from astrofractal import GasMap, StellarMassEstimator
from astrofractal.data import data_path
from astrofractal.gasmap import XFactor
from astrofractal.simulations import thermal_dispersion

# %%
# A synthetic cube
# ----------------
# An optically thin line of the bundled cloud, without a beam: each pixel has a Gaussian line with
# the velocity and dispersion of its gas, broadened by the thermal motion of the molecule, and
# noise. With your own cube, start at the next section.

path = data_path("example_cloud.fits")
sinks = QTable.read(path, hdu="SINKS")
positions = SkyCoord(sinks["ra"], sinks["dec"])
truth = GasMap.read(path).cutout(positions[0], size=1 * u.pc, shape=(128, 128))

x_factor = 5e21 / (u.cm**2 * u.K * u.km / u.s)
thermal = thermal_dispersion(10 * u.K, molecular_weight=29)  # N2H+
axis = np.arange(-4, 4, 0.1) * u.km / u.s
width = np.hypot(truth.dispersion, thermal)
offset = ((axis[:, None, None] - truth.velocity) / width).to_value("")
integral = (truth.column_density / x_factor).to("K km/s")
lines = (
    integral / (np.sqrt(2 * np.pi) * width) * np.exp(-(offset**2) / 2)
).to_value("K")
noise = np.random.default_rng(0).normal(scale=0.1, size=lines.shape)

header = truth.wcs.to_header()
header.update(
    WCSAXES=3, CTYPE3="VRAD", CUNIT3="km/s", BUNIT="K", SPECSYS="LSRK"
)
header.update(CRPIX3=1, CRVAL3=axis[0].value, CDELT3=0.1)
folder = tempfile.TemporaryDirectory()
cube = Path(folder.name) / "cube.fits"
fits.writeto(cube, (lines + noise).astype("float32"), header)

# %%
# Three maps
# ----------
# The X-factor converts the integrated intensity to a column density of H2; it depends on the
# line, so that there is no default. ``line_width`` is the thermal width of the molecule, which is
# subtracted in quadrature. Spectra without a signal are masked.

gas = GasMap.from_cube(
    cube, column=XFactor(x_factor), distance=300 * u.pc, line_width=thermal
)
gas

# %%
# One spectrum with the moments of its line, and the three maps.

y, x = 64, 64
figure, axes = plt.subplots(figsize=(5.5, 3.6), layout="constrained")
axes.step(axis, (lines + noise)[:, y, x], where="mid", color="black", lw=1)
axes.axvline(gas.velocity[y, x].value, color="#0072B2", label="mean velocity")
sigma = np.hypot(gas.dispersion[y, x], thermal)
low, high = (
    (gas.velocity[y, x] - sigma).value,
    (gas.velocity[y, x] + sigma).value,
)
axes.axvspan(low, high, color="#0072B2", alpha=0.2, label="± dispersion")
axes.set(xlabel="v [km s$^{-1}$]", ylabel="T [K]")
axes.legend()

_ = gas.plot()

# %%
# Masses
# ------
# The protostars in the middle of this cube, with the true masses and the masses from the maps
# without noise. The cloud is left out of the calibration.

estimator = StellarMassEstimator().leave_out(
    "cloud04", channels=[gas.channels]
)
inside = positions.separation(positions[0]) < 3 * u.arcmin
sinks.rename_column("sink", "id")
table = estimator.catalog(gas, sinks["id", "ra", "dec"][inside])
ideal = estimator.catalog(truth, sinks["id", "ra", "dec"][inside])
table["without_noise"], table["true"] = ideal["mass"], sinks["mass"][inside]
table["true"].info.format = ".3g"
table[
    "id", "true", "without_noise", "mass", "mass_lower", "mass_upper", "trust"
]
