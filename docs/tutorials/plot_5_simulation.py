"""
Calibrate on your own simulation
================================

**Question:** How do I calibrate on the particles of my own simulation?

**Answer:** Project them around the protostars, fit, and score on a simulation that was left out.

The snapshots are toys made of random numbers, not physical simulations, so that the tutorial is
fast; with your files, ``read_snapshot(path)`` replaces the function ``toy``. It needs the extras
``simulations`` and ``cube``.
"""

import matplotlib.pyplot as plt
import numpy as np
from astropy import constants as const
from astropy import units as u
from astropy.table import QTable
from matplotlib.colors import LogNorm

from astrofractal import GasMap, StellarMassEstimator
from astrofractal.gasmap import XFactor
from astrofractal.mapset import MapSet
from astrofractal.mass import FeatureSet
from astrofractal.observing import Telescope
from astrofractal.simulations import (
    Snapshot,
    map_set,
    project,
    thermal_dispersion,
)

# %%
# Snapshots
# ---------
# Each toy protostar is in a core of gas of a similar mass, whose motions balance the gravity of
# both.


def toy(name, seed, n_stars=10, n_gas=600):
    """Return a snapshot of random cores with stars in them."""
    random = np.random.default_rng(seed)
    stars = 10 ** random.uniform(-1, 1, n_stars)
    cores = stars * 10 ** random.normal(0.3, 0.2, n_stars)
    places = random.uniform(-1, 1, (n_stars, 3))
    radius = (
        np.abs(random.normal(scale=0.08, size=(n_stars, n_gas, 1))) + 0.003
    )
    direction = random.normal(size=(n_stars, n_gas, 3))
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    total = (stars + cores)[:, None, None] * u.solMass
    speed = np.sqrt(const.G * total / (radius * u.pc)).to_value("km/s") / 2
    velocities = speed * random.normal(size=direction.shape)
    return Snapshot(
        positions=(places[:, None] + radius * direction).reshape(-1, 3) * u.pc,
        masses=np.repeat(cores / n_gas, n_gas) * u.solMass,
        velocities=velocities.reshape(-1, 3) * u.km / u.s,
        smoothing_lengths=(0.01 + 0.2 * radius).reshape(-1) * u.pc,
        sinks=QTable({
            "sink": np.arange(n_stars), "mass": stars * u.solMass,
            **dict(zip("xyz", places.T * u.pc)),
        }),
        name=name,
    )  # fmt: skip


snapshots = [toy(f"run{k}", seed=k) for k in range(5)]
gas = project(
    snapshots[0], line_of_sight="z", size=2.5 * u.pc, shape=(200, 200)
)
_ = gas.plot("column_density", norm=LogNorm(1e20, 3e22))

# %%
# Labeled maps
# ------------
# One map of each sink particle along each axis, with the name of its simulation: maps of one
# cloud must not be on both sides of a test. ``maps.write("maps.fits")`` saves them.

maps = MapSet.concatenate([map_set(snapshot) for snapshot in snapshots])
maps

# %%
# Calibration
# -----------
# With hand-made features, which is fast; ``StellarMassEstimator().fit(maps)`` uses the
# network. Each cloud is predicted by a calibration on the others.

features = FeatureSet(pooling=None, profiles=True, contrasts=True)
estimator = StellarMassEstimator(features=features, regressor="ridge").fit(
    maps
)
for channels, calibration in estimator.calibrations_.items():
    skill = calibration.skill_
    print(
        f"{' + '.join(channels)}: R2 per protostar {skill['r2_protostar']:.2f}"
    )

# %%
# Toys are easy, because their gas is made from the masses of their stars; real clouds are not
# (:doc:`/understand/accuracy`). Estimates for a toy that was not used in the calibration:

new = map_set(toy("new", seed=99), lines_of_sight="z")
table = estimator.evaluate(new).to_table(level=0.68)
mass = table["mass"]
figure, axes = plt.subplots(figsize=(4.6, 4.4), layout="constrained")
bars = [mass - table["mass_lower"], table["mass_upper"] - mass]
axes.errorbar(
    new.masses.value,
    mass.value,
    yerr=[bar.value for bar in bars],
    fmt="o",
    capsize=2,
    color="#0072B2",
)
axes.axline((1, 1), (10, 10), ls="--", color="0.3")
axes.set(xscale="log", yscale="log")
_ = axes.set(
    xlabel="true mass [M$_\\odot$]", ylabel="estimated mass [M$_\\odot$]"
)

# %%
# A cube behind a telescope
# -------------------------
# With ``velocities``, ``project`` makes a cube of an optically thin line; ``densities`` restricts it
# to the gas that the line traces. `~astrofractal.observing.Telescope.observe_cube` adds beam and
# noise, and `~astrofractal.gasmap.GasMap.from_cube` computes the moments as from observed spectra.

star = snapshots[0].sinks[0]
x_factor = 1e21 / (u.cm**2 * u.K * u.km / u.s)
cube = project(
    snapshots[0],
    velocities=np.arange(-4, 4.05, 0.1) * u.km / u.s,
    center=u.Quantity([star["x"], star["y"], star["z"]]),
    thermal=thermal_dispersion(10 * u.K, molecular_weight=29),
    x_factor=x_factor,
    distance=300 * u.pc,
)
seen = Telescope(beam=12 * u.arcsec).observe_cube(cube, noise=0.2 * u.K)
gas = GasMap.from_cube(seen, column=XFactor(x_factor))

# %%
# One channel and the spectrum at the star, as simulated and as observed; then the map.

figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
channel = 40 + 5
for ax, one, title in zip(axes, (cube, seen), ("simulated", "observed")):
    image = ax.imshow(
        one.data[channel], origin="lower", vmax=seen.data[channel].max()
    )
    ax.set(title=f"{title}, v = 0.5 km/s", xticks=[], yticks=[])
    figure.colorbar(image, ax=ax, label="T [K]")
    velocity = np.arange(-4, 4.05, 0.1)
    axes[2].step(velocity, one.data[:, 32, 32], where="mid", label=title)
axes[2].set(xlabel="v [km s$^{-1}$]", ylabel="T [K]")
axes[2].legend()

_ = gas.plot()
