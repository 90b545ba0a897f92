"""
Masses behind your telescope
============================

The bundled calibration was made on sharp maps without noise. A beam of a few pixels, noise and missing
pixels change what a protostar of a given mass looks like. `~astrofractal.StellarMassEstimator.matched`
calibrates on reference maps that are observed as your map was.
"""

import matplotlib.pyplot as plt
import numpy as np
from astropy import units as u
from astropy.table import QTable

from astrofractal import GasMap, StellarMassEstimator
from astrofractal.data import data_path
from astrofractal.mapset import reference_maps
from astrofractal.mass import FeatureSet
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
# Beam, pixels, noise, channels and coverage are measured on the map. Here the cloud itself is left out
# of the reference maps. Two sets of features are compared on clouds that are held out, *behind
# this telescope*: the network's tokens with aperture contrasts, and contrasts with radial
# profiles, which need no network. The better one is used. To be quick, only the latter is
# calibrated here: leave ``features`` out for the choice.

sinks = QTable.read(path, hdu="SINKS")
sinks.rename_column("sink", "id")
positions = sinks["id", "ra", "dec"]
maps = reference_maps()
maps = maps[maps.clouds != "cloud04"]
estimator = StellarMassEstimator(features=FeatureSet(pooling=None, contrasts=True, profiles="all"))
matched = estimator.matched(seen, positions, maps=maps)
skill = matched.calibrations_[seen.channels].skill_
print(f"R2 per protostar {skill['r2_protostar']:.2f}, per map {skill['r2']:.2f}")
print(f"the 68 % interval contains {skill['coverage_68_protostar']:.0%} of the protostars")

# %%
# Where R2 per protostar is low, the masses carry the flag ``no-skill`` or ``weak-skill``, and intervals
# are as wide as the spread of the reference masses.

table = matched.catalog(seen, positions)
table["true"] = sinks["mass"]
table["true"].info.format = ".3g"
table["id", "true", "mass", "mass_lower", "mass_upper", "flags"]

# %%
# Which beam would do?
# --------------------
# A `~astrofractal.observing.Telescope` can be matched without a map, before time is requested.

beams = [3, 12, 24] * u.arcsec
scores = []
for beam in beams:
    telescope = Telescope(
        beam=beam,
        noise=0.03,
        velocity_noise=0.05 * u.km / u.s,
        correlated=True,
        distance=300 * u.pc,
    )
    one = estimator.matched(telescope, maps=maps.limit(1))
    skill = one.calibrations_[telescope.channels].skill_
    scores.append((skill["r2_protostar"], skill["r2"]))
figure, axes = plt.subplots(figsize=(5.8, 4.4), layout="constrained")
for values, label, marker in zip(np.transpose(scores), ("per protostar", "per map"), "os"):
    axes.plot(beams, values, marker + "-", label=label)
axes.axhline(0, color="gray", lw=1)
axes.set(xscale="log", xlabel="beam at 300 pc [arcsec]", ylabel="R$^2$, unseen clouds")
axes.set_xticks(beams.value, [f"{beam:g}" for beam in beams.value])
axes.set_xticks([], minor=True)
axes.legend()
