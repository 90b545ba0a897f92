"""
A survey of many maps
=====================

`~astrofractal.surveys.survey_catalog` estimates masses on a folder of maps, keeps what is
finished, and goes on after an interruption; on a cluster it takes ``client=``
(:doc:`/howto/surveys`).
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
# One call for all of them. ``"center"`` says where the protostars are.

estimator = StellarMassEstimator().leave_out("cloud04", channels=[gas.channels])
table = survey_catalog(estimator, folder / "cutouts", "center", output=folder / "survey")
table["map", "mass", "mass_lower", "mass_upper", "ood_score", "flags"]

# %%
# The same call again does no map twice: maps are known by their content, and the estimator by its
# fingerprint. A new file is the only work.

gas.cutout((100, 200), size=0.6 * u.pc, shape=(80, 80)).write(folder / "cutouts" / "new.fits")
table = survey_catalog(estimator, folder / "cutouts", "center", output=folder / "survey")
print(*sorted(file.relative_to(folder).as_posix() for file in folder.glob("survey/*")))

# %%
# A catalog is an astropy table, and sorts as one.

table.sort("mass")
table["id"] = table["map"]
_ = plot_intervals(table)
