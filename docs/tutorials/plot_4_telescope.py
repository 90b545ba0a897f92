r"""
Masses behind your telescope
============================

**Question:** What are masses worth when the map has a beam and noise?

**Answer:** R\ :sup:`2` falls with the beam and is near zero above 0.03 pc;
`~astrofractal.StellarMassEstimator.matched` calibrates for your telescope.
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
# The bundled cloud at 300 pc, observed with a beam of 6" (0.009 pc) and noise: 3 % in column
# density, 0.05 km/s in velocity and dispersion.

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
for part, title, one in zip(
    figure.subfigures(1, 2), ("simulated", "observed"), (gas, seen)
):
    one.plot("column_density", figure=part)
    part.axes[0].set_title(title)

# %%
# Uncertainties
# -------------
# Uncertainties of a map go through beam and pixels as its channels do, to first order. Along a row
# through a core, the dispersion with an error of 0.1 km/s in each pixel, before and after a beam of
# 12"; points are the scatter of 50 noisy maps that were observed.

core = gas.cutout((160, 190), size=0.5 * u.pc, shape=(64, 64))
error = np.full(core.shape, 0.1) * u.km / u.s
core = core.replace(dispersion_uncertainty=error)
telescope = Telescope(beam=12 * u.arcsec)
random = np.random.default_rng(0)
scatter = np.std(
    [
        telescope.observe(
            core.replace(
                dispersion=core.dispersion
                + random.normal(size=core.shape) * error
            )
        ).dispersion.value[32]
        for _ in range(50)
    ],
    axis=0,
)
figure, axes = plt.subplots(figsize=(5.8, 3.4), layout="constrained")
axes.plot(error[32], "--", color="0.5", label="before")
axes.plot(telescope.observe(core).dispersion_uncertainty[32], label="after")
axes.plot(scatter, ".", color="black", label="scatter of 50 maps")
axes.set(xlabel="pixel", ylabel="error of the dispersion [km s$^{-1}$]")
axes.set(yscale="log")
axes.legend()

# %%
# A matched calibration
# ---------------------
# ``matched`` measures beam, pixels, noise, channels and coverage of the map, observes the
# reference maps in the same way, and calibrates on the result. It compares two sets of features
# on clouds that are held out: tokens of the network with contrasts, and hand-made features
# without the network. Only the latter are used here, to be quick; leave ``features`` out for the
# choice. The cloud itself is left out of the reference maps.

sinks = QTable.read(path, hdu="SINKS")
sinks.rename_column("sink", "id")
positions = sinks["id", "ra", "dec"]
maps = reference_maps()
maps = maps[maps.clouds != "cloud04"]
estimator = StellarMassEstimator(
    features=FeatureSet(pooling=None, contrasts=True, profiles=True)
)
matched = estimator.matched(seen, positions, maps=maps)
skill = matched.calibrations_[seen.channels].skill_
print(
    f"R2 per protostar {skill['r2_protostar']:.2f}, per map {skill['r2']:.2f}"
)
print(
    "the 68 % interval contains "
    f"{skill['coverage_68_protostar']:.0%} of the protostars"
)

# %%
# Where R\ :sup:`2` per protostar is low, rows have the flag ``no-skill`` or ``weak-skill``, and
# intervals are as wide as the distribution of the reference masses.

table = matched.catalog(seen, positions)
table["true"] = sinks["mass"]
table["true"].info.format = ".3g"
table["id", "true", "mass", "mass_lower", "mass_upper", "trust", "flags"]

# %%
# Which beam is small enough?
# ---------------------------
# A `~astrofractal.observing.Telescope` can be matched without a map, before you request time.

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
for values, label, marker in zip(
    np.transpose(scores), ("per protostar", "per map"), "os"
):
    axes.plot(beams, values, marker + "-", label=label)
axes.axhline(0, color="gray", lw=1)
axes.set(
    xscale="log",
    xlabel="beam at 300 pc [arcsec]",
    ylabel="R$^2$, clouds held out",
)
axes.set_xticks(beams.value, [f"{beam:g}" for beam in beams.value])
axes.set_xticks([], minor=True)
axes.legend()
