"""
Masses behind your telescope
============================

The bundled calibration knows sharp maps without noise. A beam of a few pixels, noise and missing
pixels change what a mass looks like, and a calibration that does not know it is wrong without a
warning in its interval. `~astrofractal.StellarMassEstimator.matched` calibrates on reference maps
that were observed as your map was.
"""

import matplotlib.pyplot as plt
import numpy as np
from astropy import units as u
from astropy.table import QTable

from astrofractal import GasMap, StellarMassEstimator
from astrofractal.data import data_path
from astrofractal.mapset import reference_maps
from astrofractal.observing import Telescope

# %%
# The bundled cloud at 300 pc, behind a telescope with a beam of 6" (1.1 pixels of the reference
# maps) and with noise, that of the column density relative to it.

path = data_path("example_cloud.fits")
gas = GasMap.read(path)
seen = Telescope(
    beam=6 * u.arcsec,
    noise=0.03,
    velocity_noise=0.05 * u.km / u.s,
    dispersion_noise=0.05 * u.km / u.s,
).observe(gas, random_state=1)
seen

# %%
figure = plt.figure(figsize=(10, 4.6), layout="constrained")
for part, title, one in zip(figure.subfigures(1, 2), ("simulated", "observed"), (gas, seen)):
    one.plot("column_density", figure=part)
    part.axes[0].set_title(title)

# %%
# The calibration that matches
# ----------------------------
# Beam, pixels, noise, channels and coverage are measured on the map. The cloud itself is left out
# of the reference maps, and few of these are used, to be quick. The skill is that on clouds held
# out, *behind this telescope*.

sinks = QTable.read(path, hdu="SINKS")
sinks.rename_column("sink", "id")
positions = sinks["id", "ra", "dec"]
maps = reference_maps()
maps = maps[maps.clouds != "cloud04"]
matched = StellarMassEstimator().matched(seen, positions, maps=maps, n_maps=600)
skill = matched.calibrations_[seen.channels].skill_
print(f"R2 per protostar {skill['r2_protostar']:.2f}, per map {skill['r2']:.2f}")
print(f"the 68 % interval holds {skill['coverage_68_protostar']:.0%} of the protostars")

# %%
# Where the skill is below 0.2 the masses carry the flag ``no-skill``, and intervals are as wide as
# the spread of the reference masses: this telescope cannot weigh protostars. That is a result,
# too.

table = matched.catalog(seen, positions)
table["true"] = sinks["mass"]
table["true"].info.format = ".3g"
table["id", "true", "mass", "mass_lower", "mass_upper", "flags"]

# %%
# Which beam would do?
# --------------------
# The same with other beams, before time is asked for at a telescope.

beams = [3, 12, 24] * u.arcsec
scores = []
for beam in beams:
    blurred = Telescope(beam=beam, noise=0.03, velocity_noise=0.05 * u.km / u.s).observe(gas)
    one = StellarMassEstimator().matched(blurred, positions, maps=maps, n_maps=600)
    skill = one.calibrations_[blurred.channels].skill_
    scores.append((skill["r2_protostar"], skill["r2"]))
figure, axes = plt.subplots(figsize=(5.8, 4.4), layout="constrained")
for values, label, marker in zip(np.transpose(scores), ("per protostar", "per map"), "os"):
    axes.plot(beams, values, marker + "-", label=label)
axes.axhline(0, color="gray", lw=1)
axes.set(xscale="log", xlabel="beam at 300 pc [arcsec]", ylabel="R$^2$, unseen clouds")
axes.set_xticks(beams.value, [f"{beam:g}" for beam in beams.value])
axes.set_xticks([], minor=True)
axes.legend()
