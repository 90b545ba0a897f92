"""
A survey of many maps
=====================

**Question:** How do I process a folder of maps, and continue after an interruption?

**Answer:** `~astrofractal.surveys.survey_catalog` saves each finished map; the same call
processes only what is new.

On a cluster, pass ``client=`` (:doc:`/howto/surveys`).
"""

import tempfile
from pathlib import Path

from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable

from astrofractal import GasMap, StellarMassEstimator
from astrofractal.catalogs import plot_intervals
from astrofractal.data import data_path
from astrofractal.surveys import survey_catalog

# %%
# A folder of cutouts, each centered on a protostar.

path = data_path("example_cloud.fits")
gas = GasMap.read(path)
sinks = QTable.read(path, hdu="SINKS")[:5]
folder = Path(tempfile.mkdtemp())
(folder / "cutouts").mkdir()
for name, position in zip(sinks["sink"], SkyCoord(sinks["ra"], sinks["dec"])):
    gas.cutout(position, size=0.6 * u.pc, shape=(80, 80)).write(
        folder / "cutouts" / f"core{name:02d}.fits"
    )
print(*sorted(file.name for file in folder.glob("cutouts/*")))

# %%
# One call for all maps. ``"center"``: the protostar is at the center of each map.

estimator = StellarMassEstimator().leave_out(
    "cloud04", channels=[gas.channels]
)
table = survey_catalog(
    estimator, folder / "cutouts", "center", output=folder / "survey"
)
table["map", "mass", "mass_lower", "mass_upper", "trust"]

# %%
# A second call processes only the new file: maps are identified by their content, and the
# estimator by its fingerprint.

gas.cutout((100, 200), size=0.6 * u.pc, shape=(80, 80)).write(
    folder / "cutouts" / "new.fits"
)
table = survey_catalog(
    estimator, folder / "cutouts", "center", output=folder / "survey"
)
print(
    *sorted(
        file.relative_to(folder).as_posix() for file in folder.glob("survey/*")
    )
)

# %%
# The catalog is an astropy table:

table.sort("mass")
table["id"] = table["map"]
_ = plot_intervals(table)
