r"""
Train a network of your own
===========================

**Question:** How do I train a network on the labeled maps, and is it better than the default?

**Answer:** `~astrofractal.mapset.MapSet.to_torch` gives a data set for PyTorch and Lightning. A
small network is worse than the default on clouds that were held out.

Training needs the extra ``pretrain``.
"""

import logging

import matplotlib.pyplot as plt
import numpy as np
import pytorch_lightning as pl
import torch
from sklearn.metrics import r2_score, root_mean_squared_error
from torch import nn
from torch.utils.data import DataLoader, WeightedRandomSampler

from astrofractal import StellarMassEstimator
from astrofractal.mapset import reference_maps

# %%
# The data
# --------
# Two of the twelve simulated clouds are held out as a whole: maps of one protostar are near-copies,
# and a random split would make any network look good. Each protostar has up to two maps here, and
# is drawn equally often. Your own maps work in the same way: ``MapSet.read("folder")``.

maps = reference_maps()
held_out = np.isin(maps.clouds, ["cloud02", "cloud16"])
train, test = maps[~held_out].limit(2), maps[held_out]
_, index, counts = np.unique(
    train.protostars, return_inverse=True, return_counts=True
)
train, test

# %%
# The network
# -----------
# Four convolutions, 60,000 parameters, on the central 0.25 pc. Maps are turned at random.


class Network(pl.LightningModule):
    """A small convolutional network that returns log10 M."""

    def __init__(self, images, log_masses):
        super().__init__()
        scale = [
            torch.tensor(f(images, axis=(0, 2, 3))) for f in (np.mean, np.std)
        ]
        self.center, self.width = (one[:, None, None] for one in scale)
        layers, n_before = [], 3
        for n in (16, 32, 64, 64):
            layers += [nn.Conv2d(n_before, n, 3, stride=2, padding=1)]
            layers += [nn.BatchNorm2d(n), nn.GELU()]
            n_before = n
        last = nn.Linear(n, 1)
        nn.init.constant_(last.bias, log_masses.mean())
        pool = nn.AdaptiveAvgPool2d(1)
        self.layers = nn.Sequential(
            *layers, pool, nn.Flatten(), nn.Dropout(0.3), last
        )

    def forward(self, images):
        inner = ((images - self.center) / self.width)[..., 16:48, 16:48]
        return self.layers(inner)[:, 0]

    def training_step(self, batch):
        images, masses, _, _ = batch
        images = torch.rot90(images, int(torch.randint(4, ())), (2, 3))
        return nn.functional.mse_loss(self(images), masses.log10())

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(
            self.parameters(), 2e-3, weight_decay=0.05
        )
        steps = self.trainer.estimated_stepping_batches
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
pl.seed_everything(1, verbose=False)
network = Network(train.images, train.log_masses)
sampler = WeightedRandomSampler(1 / counts[index], len(train))
trainer = pl.Trainer(
    max_epochs=24,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(
    network, DataLoader(train.to_torch(), batch_size=32, sampler=sampler)
)

# %%
# The score
# ---------
# R\ :sup:`2` and root-mean-square error of log10 M with the same weight for each protostar, as
# ``astrofractal evaluate`` prints them. The default's predictions of the same clouds were made
# without them, when it was calibrated.

network.eval()
with torch.inference_mode():
    mine = np.concatenate(
        [
            network(batch[0]).numpy()
            for batch in DataLoader(test.to_torch(), 64)
        ]
    )
default = StellarMassEstimator().calibrations_[
    ("column_density", "velocity", "dispersion")
]
theirs = default.predicted_[np.isin(default.clouds_, ["cloud02", "cloud16"])]
_, index, counts = np.unique(
    test.protostars, return_inverse=True, return_counts=True
)
true, weight = test.log_masses, 1 / counts[index]
figure, axes = plt.subplots(1, 2, figsize=(8.4, 4.2), layout="constrained")
for ax, name, found in zip(axes, ("small network", "default"), (mine, theirs)):
    r2 = r2_score(true, found, sample_weight=weight)
    rmse = root_mean_squared_error(true, found, sample_weight=weight)
    print(f"{name}: R2 {r2:.2f}, rms error {rmse:.2f} dex per protostar")
    ax.scatter(true, found, s=20 * weight, alpha=0.6)
    ax.axline((0, 0), slope=1, ls="--", color="0.3")
    ax.set(title=f"{name}, R$^2$ = {r2:.2f}", xlabel="true log M [M$_\\odot$]")
    ax.set(
        xlim=(-1.4, 1.6),
        ylim=(-1.4, 1.6),
        ylabel="estimated log M [M$_\\odot$]",
    )
