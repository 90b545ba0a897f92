"""
Regions of a cloud
==================

`~astrofractal.segmentation.FeatureSegmenter` divides a map into regions whose gas looks alike to the
network, without a label.
"""

import matplotlib.pyplot as plt
import numpy as np
from astropy import units as u
from astropy.table import QTable

from astrofractal import FeatureSegmenter, GasMap
from astrofractal.data import data_path

path = data_path("example_cloud.fits")
gas = GasMap.read(path, distance=300 * u.pc)
result = FeatureSegmenter(n_segments=4, n_views=8).segment(gas)
figure = plt.figure(figsize=(9.5, 4.8), layout="constrained")
_ = result.plot(figure=figure)

# %%
# Regions are numbered from thin to dense gas. Masses are sums over the label map, with the distance
# and the mean molecular weight stated in the table's ``meta``.

names = ["label", "n_islands", "area", "gas_mass", "virial_parameter"]
table = result.table[names]
for name in names[2:]:
    table[name].info.format = ".3g"
table

# %%
# What the components follow
# --------------------------
# The Spearman correlation of each component with what an astronomer would measure says what the
# network saw.

correlations = result.correlations
for name in correlations.colnames[1:]:
    correlations[name].info.format = ".2f"
correlations

# %%
# Where the protostars are
# ------------------------

sinks = QTable.read(path, hdu="SINKS")
labels = result.labels.data
x, y = (np.rint(sinks[name]).astype(int) for name in "xy")
at = labels[y, x]
for number in range(1, result.n_segments + 1):
    n = np.count_nonzero(at == number)
    share = np.mean(labels == number)
    print(f"region {number}: {n} protostars, {share:.0%} of the map")

# %%
# Masks are arrays, and regions can be drawn, written and read by other programs.

figure = gas.plot("column_density", cmap="gray_r")
densest = result.masks[result.n_segments]
figure.axes[0].contour(densest, levels=[0.5], colors="#D55E00")
print(result.regions[0])
