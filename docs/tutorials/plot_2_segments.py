"""
Regions of a cloud
==================

`~astrofractal.segmentation.FeatureSegmenter` divides the gas of a map into regions of like structure,
without a label.
"""

import matplotlib.pyplot as plt
from astropy import units as u
from astropy.table import QTable

from astrofractal import FeatureSegmenter, GasMap
from astrofractal.data import data_path

path = data_path("example_cloud.fits")
gas = GasMap.read(path, distance=300 * u.pc)
result = FeatureSegmenter(n_views=4).segment(gas)
figure = plt.figure(figsize=(13, 5.2), layout="constrained")
_ = result.plot(figure=figure)

# %%
# On the left the column density with the densest regions, in the middle all regions, on the right the
# principal components of the tokens as red, green and blue: the figure of the published method.  Only
# gas above the background is divided; the level is measured from the map.

print(result.meta["background"])

# %%
# The table
# ---------
# Regions are numbered from thin to dense gas.  ``character`` names the two measures in which a region
# differs most from the rest.

print(result.table)

# %%
# Where the protostars are
# ------------------------

sinks = QTable.read(path, hdu="SINKS")
at = result.label_at((sinks["x"].value, sinks["y"].value))
labels = result.labels.data
gas_labels = labels[labels > 0]
for row in result.table:
    here = row["label"]
    print(
        f"region {here} ({row['character']}): {(at == here).sum()} protostars, "
        f"{(gas_labels == here).mean():.0%} of the gas"
    )

# %%
# What the components follow
# --------------------------
# The Spearman correlation of what was clustered with what an astronomer would measure: eight components
# of the tokens, contrasts on three scales, velocity and dispersion.

result.correlations

# %%
# One region as a map
# -------------------
# A region is a map of its own, and regions can be written for other programs.

densest = result.cutout(result.n_segments)
print(densest)
print(result.regions[0])
