"""
The fractals behind the network
===============================

**Question:** What was the network pretrained on?

**Answer:** Fractal flames, rendered as column density, velocity and dispersion; no cloud,
observed or simulated.

Rendering needs the extra ``pretrain``.
"""

import matplotlib.pyplot as plt
import numpy as np

from astrofractal.fractals import FlameStream

stream = FlameStream(seed=2, size=96, n_points=60_000)

# %%
# A stream has no end, and image *i* is a function of the seed and *i* alone. The log of the column
# density of the first twelve flames:

figure, axes = plt.subplots(3, 4, figsize=(9, 6), layout="constrained")
for i, ax in enumerate(axes.flat):
    image = ax.imshow(stream[i][0], origin="lower", cmap="viridis")
    ax.set(title=f"flame {i}", xticks=[], yticks=[])
    figure.colorbar(image, ax=ax, shrink=0.8)

# %%
# One flame, as in the input of the network. The velocity is the mean of a tracer that each point
# carries, and the dispersion its scatter within a pixel.

labels = (
    ("log$_{10}$ N(H$_2$) [cm$^{-2}$]", "viridis"),
    ("v$_{los}$ [km s$^{-1}$]", "RdBu_r"),
    ("$\\sigma_v$ [km s$^{-1}$]", "magma"),
)
figure, axes = plt.subplots(1, 3, figsize=(9, 3.6), layout="constrained")
for ax, channel, (label, cmap) in zip(axes, stream[2], labels, strict=True):
    image = ax.imshow(channel, origin="lower", cmap=cmap)
    ax.set(xticks=[], yticks=[])
    figure.colorbar(image, ax=ax, label=label, orientation="horizontal")

# %%
# The physical scales of each image are drawn once, and differ between images as they differ
# between clouds.

for i in range(4):
    column, velocity, dispersion = stream[i]
    print(
        f"flame {i}: log N {column.min():.1f} to {column.max():.1f},"
        f" v over {np.ptp(velocity):.1f} km/s,"
        f" mean sigma {dispersion.mean():.2f} km/s"
    )

# %%
# A small pretraining
# -------------------
# The bundled weights have seen hundreds of thousands of images (:doc:`/research/pretraining`).
# This run uses 48, to show the steps: train without labels, export the weights, share and use them.

import tempfile
from pathlib import Path

from astrofractal import FractalEncoder, GasMap
from astrofractal.data import data_path
from astrofractal.encoder.export import export_timm
from astrofractal.pretraining import export_run, pretrain

folder = Path(tempfile.mkdtemp())
run = pretrain(
    "compact", output=folder / "run", n_images=48, batch_size=8, n_points=5000,
    n_workers=0, precision="32-true",
)  # fmt: skip
export_run(run, folder / "mine.safetensors")
export_timm(
    FractalEncoder(weights=folder / "mine.safetensors"), folder / "mine"
)

# %%
# ``export_timm`` writes a folder for timm and the Hugging Face Hub
# (``hf upload OWNER/NAME folder``), and ``from_pretrained`` reads it, or ``"OWNER/NAME"``. The first
# three principal components of the tokens of the bundled cloud, as red, green and blue:

gas = GasMap.read(data_path("example_cloud.fits"))[64:256, 64:256]
encoder = FractalEncoder.from_pretrained(folder / "mine")
figure, axes = plt.subplots(1, 2, figsize=(8, 4.2), layout="constrained")
axes[0].imshow(np.log10(gas.column_density.value), origin="lower")
axes[1].imshow(encoder.components(gas).data, origin="lower")
for ax, title in zip(axes, ("log N(H$_2$)", "components of the tokens")):
    ax.set(title=title, xticks=[], yticks=[])
