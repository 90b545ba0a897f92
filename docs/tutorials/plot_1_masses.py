"""
Masses of protostars
====================

**Question:** How close are the masses to the true ones in a cloud that the calibration has not
used?

**Answer:** Seven of ten true masses are inside the 68 % interval; the heaviest protostars are
underestimated, by up to a factor of five.
"""

from astropy import units as u
from astropy.io import fits
from astropy.table import QTable

from astrofractal import GasMap, StellarMassEstimator
from astrofractal.catalogs import plot_catalog, plot_intervals
from astrofractal.data import data_path
from astrofractal.mass import plot_explanation

path = data_path("example_cloud.fits")
gas = GasMap.read(path, distance=300 * u.pc)

# %%
# What to expect
# --------------
# There is a calibration for each combination of channels. Its scores were measured on clouds that
# were held out: R\ :sup:`2` of log10 M per protostar, and the share of true masses inside the
# intervals.

estimator = StellarMassEstimator()
for calibration in estimator.calibrations_.values():
    scores = calibration.skill_
    print(
        f"{' + '.join(calibration.channels)}:\n"
        f"    R2 {scores['r2_protostar']:.2f},"
        f" RMSE {scores['rmse_protostar']:.2f} dex,"
        f" inside the 68 % interval: {scores['coverage_68_protostar']:.0%}"
    )

# %%
# Masses
# ------
# The bundled cloud is part of the reference maps. It is left out of the calibration here, as if
# it were unknown; your own cloud needs no such step.

estimator = estimator.leave_out(
    fits.getval(path, "CLOUD"), channels=[gas.channels]
)
sinks = QTable.read(path, hdu="SINKS")
sinks.rename_column("sink", "id")
table = estimator.catalog(gas, sinks["id", "ra", "dec"])
table["id", "mass", "mass_lower", "mass_upper", "trust", "flags"]

# %%
# Stars are the true masses, squares have a flag.

table["mass_true"] = sinks["mass"]
_ = plot_intervals(table)

# %%
# The same on the map:

_ = plot_catalog(table, gas)

# %%
# Why this mass?
# --------------
# `~astrofractal.StellarMassEstimator.analogs` returns the reference protostars that are most
# similar for the calibration, `~astrofractal.StellarMassEstimator.sensitivity` the change of log M
# when a patch of one channel is replaced by its surroundings. Red patches: their structure makes
# the mass smaller; blue: larger. ``astrofractal mass --explain`` adds both to the report.

cutout = gas.cutout(table["position"][4], size=0.5 * u.pc, shape=(64, 64))
analogs = estimator.analogs(cutout, n=4)
_ = plot_explanation(analogs, estimator.sensitivity(cutout, patch=8))

# %%
# Without positions
# -----------------
# Without a table of positions, protostars are detected as peaks of the column density. Close
# pairs become one peak, and a peak need not contain a protostar.

found = estimator.catalog(
    gas, min_separation=0.05 * u.pc, threshold=3e22 / u.cm**2
)
found["id", "position", "mass", "mass_lower", "mass_upper", "trust"]

# %%
# Maps without velocities
# -----------------------
# A dust map is a column density alone. Its calibration has a low score, and every row has flags.

dust = GasMap(gas.column_density, wcs=gas.wcs, distance=gas.distance)
only_dust = StellarMassEstimator().catalog(dust, sinks["id", "ra", "dec"])
only_dust["id", "mass", "mass_lower", "mass_upper", "trust", "flags"]
