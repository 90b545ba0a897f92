"""
Masses of protostars
====================

The masses of the protostars of the bundled cloud, with intervals, beside the truth, which is known
because the cloud is simulated.
"""

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable

from astrofractal import GasMap, StellarMassEstimator
from astrofractal.catalogs import plot_catalog, plot_intervals
from astrofractal.data import data_path

path = data_path("example_cloud.fits")
gas = GasMap.read(path, distance=300 * u.pc)
estimator = StellarMassEstimator()

# %%
# What to expect
# --------------
# Each combination of channels has its own calibration, chosen by what a map has. Its skill was
# measured on clouds that were left out: R\ :sup:`2` of log10 M, and how many of the true masses
# lie within the intervals.

for calibration in estimator.calibrations_.values():
    skill = calibration.skill_
    print(
        f"{' + '.join(calibration.channels)}:\n"
        f"    R2 {skill['r2']:.2f}, RMSE {skill['rmse']:.2f} dex,"
        f" 68 % interval holds {skill['coverage_68']:.0%}"
    )

# %%
# Masses
# ------
# This cloud is one of those that the bundled calibration knows. To treat it as an unknown one it is
# left out here; a cloud of yours needs no such step.

estimator = estimator.leave_out(fits.getval(path, "CLOUD"), channels=[gas.channels])
sinks = QTable.read(path, hdu="SINKS")
sinks.rename_column("sink", "id")
table = estimator.catalog(gas, sinks["id", "ra", "dec"])
shown = ["id", "mass", "mass_lower", "mass_upper", "ood_score", "flags"]
table[shown]

# %%
# The interval is the result; the mass is its center. Stars are the true masses, squares what a flag
# warns of.

table["mass_true"] = sinks["mass"]
_ = plot_intervals(table)

# %%
# Where they are.

_ = plot_catalog(table, gas)

# %%
# Without positions
# -----------------
# Protostars are looked for at peaks of the column density. The detection has its own limits: close
# pairs merge, and a peak need not hold a protostar.

found = estimator.catalog(gas, min_separation=0.05 * u.pc, threshold=3e22 / u.cm**2)
found["id", "position", "mass", "mass_lower", "mass_upper"]

# %%
# Maps without velocities
# -----------------------
# A dust map has a column density alone. Its calibration is another, and says what it is worth: where
# it has no skill on a cloud unseen, a warning and a flag say so.

dust = GasMap(gas.column_density, wcs=gas.wcs, distance=gas.distance)
full = StellarMassEstimator()
only_dust = full.catalog(dust, sinks["id", "ra", "dec"])
width = np.log10(only_dust["mass_upper"] / only_dust["mass_lower"]).value
print(f"flags: {only_dust['flags'][0]}")
print(f"width of the 68 % interval: {np.median(width):.2f} dex")
