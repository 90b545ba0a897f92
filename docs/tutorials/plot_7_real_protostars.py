r"""
Observed protostars
===================

**Question:** Do the masses agree with dynamical masses of observed protostars?

**Answer:** This cannot be decided yet: the maps at hand are too coarse, and R\ :sup:`2` of their
calibrations is near or below zero.

The table is that of :doc:`/understand/real_protostars`, with a calibration matched to each map;
:download:`download it </understand/tables/real_protostars.ecsv>` to run this notebook.
"""

from pathlib import Path

import numpy as np
from astropy.table import QTable

from astrofractal.catalogs import compare

path = Path("../understand/tables/real_protostars.ecsv")
found = QTable.read(path if path.is_file() else path.name)
found[
    "object",
    "map",
    "estimate",
    "lower",
    "upper",
    "dynamical_mass",
    "r2_protostar",
]

# %%
# Compare
# -------
# `~astrofractal.catalogs.compare` matches a catalog with a table of masses, by name or position.

catalog = QTable()
catalog["id"], catalog["mass"] = found["object"], found["estimate"]
catalog["mass_lower"], catalog["mass_upper"] = found["lower"], found["upper"]
catalog.meta["level"] = 0.68
masses = QTable()
masses["id"], masses["mass"] = found["object"], found["dynamical_mass"]
masses["mass_error"] = found["dynamical_mass_error"]
comparison = compare(catalog, masses)
comparison

# %%
_ = comparison.plot()

# %%
# Interpretation
# --------------
# Most intervals contain the dynamical mass, because they are wide and not because the masses are
# good. An R\ :sup:`2` below 0 is worse than the mean mass. Read these numbers together:

width = np.log10(found["upper"] / found["lower"]).value
print(
    f"median of |log ratio|: {np.median(np.abs(found['ratio_dex'])):.2f} dex"
)
print(f"median width of the intervals: {np.median(width):.2f} dex")
print(f"best R2 of the calibrations: {found['r2_protostar'].max():.2f}")
