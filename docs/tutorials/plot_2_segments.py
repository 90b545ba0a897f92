"""
Segments of a cloud
===================

**Question:** Which parts of a cloud have a similar structure, and where are the protostars?

**Answer:** `~astrofractal.segmentation.FeatureSegmenter` divides the gas into segments without
labels; the protostars are in the densest one.
"""

import matplotlib.pyplot as plt
from astropy import units as u
from astropy.table import QTable
from scipy.stats import spearmanr

from astrofractal import FeatureSegmenter, FractalEncoder, GasMap
from astrofractal.data import data_path

path = data_path("example_cloud.fits")
gas = GasMap.read(path, distance=300 * u.pc)
result = FeatureSegmenter(n_views=4).segment(gas)
figure = plt.figure(figsize=(13, 5.2), layout="constrained")
_ = result.plot(figure=figure)

# %%
# Left: the column density with the densest segments. Middle: all segments. Right: principal
# components of the tokens as red, green and blue. Only gas above the background is divided; the
# level is measured from the map.
#
# The table
# ---------
# Segments are numbered from thin to dense gas. ``character`` names the two measurements in which
# a segment differs most from the rest.

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
        f"segment {here} ({row['character']}): {(at == here).sum()} protostars, "
        f"{(gas_labels == here).mean():.0%} of the gas"
    )

# %%
# What was clustered
# ------------------
# Spearman correlations of the clustered quantities (components of the tokens, contrasts of log N
# on three scales, velocity and dispersion) with quantities that an astronomer would measure:

result.correlations

# %%
# The picture of the paper
# ------------------------
# The paper shows the first three principal components of the patch tokens as red, green and blue.
# The place of a patch in the window that the network gets is among them, hence the grid on the left.
# The segmenter covers each pixel by several windows in different orientations and uses what these
# agree in.

pictures = {
    "components of the patch tokens": FractalEncoder().components(gas).data,
    "components of the segmenter": result.rgb.data,
}
figure, axes = plt.subplots(1, 2, figsize=(9, 4.8), layout="constrained")
for ax, (title, picture) in zip(axes, pictures.items()):
    ax.imshow(picture, origin="lower")
    ax.set(title=title, xticks=[], yticks=[])

# %%
# Spearman correlations of red, green and blue with the maps, in the gas that was divided:

use = labels > 0
for title, picture in pictures.items():
    print(title)
    for name in gas.channels:
        values = getattr(gas, name).value[use]
        found = [
            spearmanr(picture[use, i], values).statistic for i in range(3)
        ]
        print(f"    {name:15}", *(f"{r:6.2f}" for r in found))

# %%
# One segment as a map
# --------------------
# A segment can be cut out as a map of its own. ``result.write("folder")`` writes labels, tables
# and regions for other programs.

result.cutout(result.n_segments)
