"""Fine-tuning: continue to train a pretrained encoder on labeled maps."""

from __future__ import annotations

import copy
import numbers
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from astropy import units as u
from astropy.table import QTable
from sklearn.linear_model import Ridge
from timm.optim import param_groups_layer_decay
from torch import nn

from astrofractal._utils.optional import require
from astrofractal._utils.progress import progress, quiet_lightning
from astrofractal._utils.random import keyed_generator
from astrofractal._utils.validation import at_least, positive_int
from astrofractal.encoder.backbone import suit_attention
from astrofractal.encoder.pooling import pool_tokens
from astrofractal.mapset import MapSet
from astrofractal.mass.features import FeatureSet
from astrofractal.mass.weights import protostar_weights

__all__ = [
    "SYMMETRIES",
    "FineTuned",
    "FreshViews",
    "draw_rows",
    "fine_tune",
    "hold_out",
    "make_views",
    "random_poses",
    "regress",
    "train_network",
]

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Literal

    import pytorch_lightning as pl

    from astrofractal._utils.annotations import ProgressBar
    from astrofractal.encoder import FractalEncoder

else:
    pl = require("pytorch_lightning", extra="pretrain")

#: Penalties of the linear probe that the head starts from, per view of a protostar; the middle one
#: where nothing is held out.
_PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0)

#: The ratio of the learning rates of a block and of the next one.
_LAYER_DECAY = 0.75

_WEIGHT_DECAY = 0.05

#: The largest shift of a view along each axis, in pixels of the map.
_JITTER = 0.5

#: The poses under which a mass does not change, one per row: quarter turns, whether it is mirrored,
#: the sign of the velocity, and a shift (x, y) in pixels.
SYMMETRIES = np.array(
    [(turns, mirror, sign, 0, 0) for mirror in (0, 1) for turns in range(4) for sign in (1, -1)],
    dtype=np.float32,
)


def fine_tune(
    encoder: FractalEncoder,
    maps: MapSet,
    *,
    blocks: int | Literal["all"] = 2,
    zoom: float = 4.0,
    weight_exponent: float = 1.0,
    validation: float | Sequence[str] | None = 0.15,
    n_views: int = 16,
    max_epochs: int = 20,
    patience: int = 5,
    batch_size: int = 64,
    learning_rate: float = 1e-4,
    precision: str = "32-true",
    random_state: int = 0,
    progress_bar: ProgressBar = False,
) -> FineTuned:
    """
    Continue to train an encoder on maps with known masses.

    A linear head starts as a ridge regression on the frozen tokens, so that the first steps do not
    spoil the pretrained features (Kumar et al. 2022, arXiv:2202.10054).  Then AdamW trains head and
    blocks, with learning rates that fall from the last block to the first, on views of the maps that
    are new in each epoch: turned or mirrored, with either sign of the velocity, and shifted by a part
    of a pixel.  The best epoch is chosen on whole clouds that are held out.

    Parameters
    ----------
    encoder : `~astrofractal.FractalEncoder`
        The encoder to start from, pretrained or random; a Vision Transformer.  It is not changed.

    maps : `~astrofractal.mapset.MapSet`
        Labeled maps.

    blocks : int or "all", optional
        How many of the last transformer blocks are trained, with the last normalization; 0 trains
        the head alone.

    zoom : float, optional
        The magnification of the map that the encoder is given.

    weight_exponent : float, optional
        A map is drawn with the number of maps of its protostar to the power of minus this: with 1
        all protostars are drawn equally often, with 0 all maps.

    validation : float, sequence of str or None, optional
        The names of the clouds that are held out, or the least part of the protostars for which
        whole clouds are taken at random; `None` holds out none and keeps the last epoch.

    n_views : int, optional
        Views of each protostar (on average) per epoch.

    max_epochs, patience : int, optional
        The number of epochs, and of those without improvement after which the training ends.

    batch_size : int, optional
        Views per step.

    learning_rate : float, optional
        Of the last block and of the head.

    precision : str, optional
        Lightning's precision; ``"bf16-mixed"`` is more than twice as fast on processors with
        instructions for it.

    random_state : int, optional
        The seed.

    progress_bar : bool or callable, optional
        Whether to show progress.

    Returns
    -------
    tuned : `FineTuned`
        The tuned encoder and network, and the history of the training.

    Raises
    ------
    ImportError
        If pytorch-lightning is not installed (the extra ``pretrain``).

    TypeError
        If ``maps`` is not a `~astrofractal.mapset.MapSet`.

    ValueError
        If ``blocks`` does not fit the encoder, or too few maps or clouds are left to train on.

    Notes
    -----
    A tuned encoder was trained on the masses of ``maps``: scores and intervals of a calibration on
    the same maps (``fit`` of `~astrofractal.StellarMassEstimator`) are too good.  Keep clouds apart
    for them.
    """
    if not isinstance(maps, MapSet):
        msg = f"maps must be a MapSet, got {type(maps).__name__}"
        raise TypeError(msg)
    counts = {"n_views": n_views, "max_epochs": max_epochs, "patience": patience}
    for name, value in (counts | {"batch_size": batch_size}).items():
        positive_int(name, value)
    generator = keyed_generator(random_state, "fine-tuning")
    held = _held_out(maps, validation, generator)
    network = _Network(encoder, blocks, zoom, maps.images.shape[-1]).to(encoder.device)
    views = FreshViews(
        torch.from_numpy(encoder.normalize(maps.images)),
        maps.log_masses,
        maps.protostars,
        zoom=zoom,
        size=maps.images.shape[-1],
        n_views=n_views,
        weight_exponent=weight_exponent,
        batch_size=batch_size,
        random_state=random_state,
    )
    rows, *drawn = views.part(~held).draw(generator)
    if len(np.unique(rows)) < 10:
        msg = f"maps must leave at least 10 to train on, got {len(np.unique(rows))}"
        raise ValueError(msg)
    known = views.part(held).draw(generator)[1:] if held.any() else None
    network.probe(*drawn, n_views, known)
    history, best_epoch = train_network(
        network,
        views.part(~held),
        network.parameter_groups(learning_rate),
        validation=known,
        max_epochs=max_epochs,
        patience=patience,
        precision=precision,
        device=encoder.device,
        random_state=random_state,
        progress_bar=progress_bar,
    )
    meta = {
        "blocks": blocks,
        "zoom": float(zoom),
        "n_maps": len(maps),
        "clouds": sorted(set(maps.clouds[~held].tolist())),
        "validation": sorted(set(maps.clouds[held].tolist())),
        "random_state": random_state,
        "from": encoder.weights_id,
    }
    history = QTable(rows=history)
    if known is not None:
        history["validation_rmse"] *= u.dex
    return FineTuned(network, network.encoder(meta), history, best_epoch, meta)


@dataclass(repr=False)
class FineTuned:
    """
    What `fine_tune` returns.

    Attributes
    ----------
    encoder : `~astrofractal.FractalEncoder`
        The tuned encoder (with ``blocks=0``, equal to the one it started from).

    history : `~astropy.table.QTable`
        One row per epoch: ``epoch`` (0 is the linear probe), ``learning_rate``, ``loss``, and on the
        clouds held out ``validation_rmse`` (dex) and ``validation_r2``, in which protostars are weighted
        as in the training.

    best_epoch : int
        The epoch whose weights were kept.

    meta : dict
        What was trained on what.
    """

    network: nn.Module
    encoder: FractalEncoder
    history: QTable
    best_epoch: int
    meta: dict[str, Any]

    def __repr__(self):
        return (
            f"<FineTuned: blocks={self.meta['blocks']!r}, epoch {self.best_epoch} of "
            f"{len(self.history) - 1}, {self.encoder!r}>"
        )

    def predict(
        self, maps: MapSet | np.ndarray, *, n_views: int = 16, progress_bar: ProgressBar = False
    ) -> u.Quantity:
        """
        Predict the masses in maps by the network that was trained.

        Parameters
        ----------
        maps : `~astrofractal.mapset.MapSet` or 4D `~numpy.ndarray`, shape (n_maps, 3, width, width)
            Standard maps, or the model's channels of such.

        n_views : int, optional
            Over how many of the sixteen symmetric views the logarithm of the mass is averaged.

        progress_bar : bool or callable, optional
            Whether to show progress.

        Returns
        -------
        mass : `~astropy.units.Quantity`
            One mass per map.
        """
        if positive_int("n_views", n_views) > len(SYMMETRIES):
            msg = f"n_views must be at most {len(SYMMETRIES)}, got {n_views}"
            raise ValueError(msg)
        images = np.asarray(maps.images if isinstance(maps, MapSet) else maps)
        look = {"zoom": self.network.zoom, "size": images.shape[-1]}
        # Far apart in the list, so that few views differ in all three symmetries.
        poses = SYMMETRIES[np.arange(n_views) * 7 % len(SYMMETRIES)]
        log_mass = np.zeros(len(images))
        for start in progress(range(0, len(images), 64), progress_bar, desc="encode"):
            some = torch.from_numpy(self.encoder.normalize(images[start : start + 64]))
            for pose in poses:
                views = make_views(some, np.tile(pose, (len(some), 1)), **look)
                log_mass[start : start + 64] += regress(self.network, views) / n_views
        return 10**log_mass * u.solMass


class _Network(nn.Module):
    """A Vision Transformer and a linear head."""

    def __init__(self, encoder, blocks, zoom, width):
        super().__init__()
        n_blocks = _check_blocks(encoder, blocks)
        at_least("zoom", zoom, 1)
        self.origin, self.zoom, self.n_blocks = encoder, zoom, n_blocks
        self.model = copy.deepcopy(encoder.model).requires_grad_(blocks == "all")
        if n_blocks:
            for layer in (*self.model.blocks[-n_blocks:], self.model.norm):
                layer.requires_grad_(True)
        self.pooling = FeatureSet().pooling
        self.grid = (-(-width // encoder.patch_size),) * 2
        n_patches = self.grid[0] * self.grid[1]
        suit_attention(self.model.blocks, n_patches)
        some = torch.zeros(1, n_patches + encoder.n_prefix_tokens, encoder.embed_dim)
        n_features = self._pool(some).shape[1]
        self.head = nn.Linear(n_features, 1)
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(n_features))

    def _pool(self, tokens):
        return pool_tokens(tokens, self.grid, self.origin.n_prefix_tokens, self.pooling).float()

    def pooled(self, views):
        """Return the pooled features of views (n, 3, width, width)."""
        return self._pool(self.model.forward_features(views))

    def forward(self, views):
        """Return log10 masses, shape (n,)."""
        return self.head((self.pooled(views) - self.mean) / self.scale)[:, 0]

    def probe(self, views, log_masses, views_per_star, known):
        """Start the head as ridge regression on the features as they are."""
        features = regress(self, views, self.pooled)
        mean, scale = features.mean(0), features.std(0) + 1e-6
        probes = [
            Ridge(penalty * views_per_star).fit((features - mean) / scale, log_masses)
            for penalty in (_PENALTIES if known else _PENALTIES[2:3])
        ]
        if known:  # the penalty with the least error on the clouds held out
            held = (regress(self, known[0], self.pooled) - mean) / scale
            probes.sort(key=lambda probe: np.mean((probe.predict(held) - known[1].numpy()) ** 2))
        with torch.no_grad():
            for tensor, value in (
                (self.mean, mean),
                (self.scale, scale),
                (self.head.weight, probes[0].coef_),
                (self.head.bias, probes[0].intercept_),
            ):
                tensor.copy_(torch.as_tensor(value))

    def parameter_groups(self, learning_rate):
        """Return the parameters for AdamW: rates by layer, no decay of vectors and tokens."""
        undecayed = [
            n for n, _ in self.model.named_parameters() if "token" in n or "pos_embed" in n
        ]
        groups = param_groups_layer_decay(
            self.model, _WEIGHT_DECAY, undecayed, layer_decay=_LAYER_DECAY
        )
        for group in groups:
            group["lr"] = learning_rate * group.pop("lr_scale")
        head = {"params": [self.head.weight], "lr": learning_rate}
        offset = {"params": [self.head.bias], "lr": learning_rate, "weight_decay": 0.0}
        return [*groups, head, offset]

    def encoder(self, notes):
        """Return the encoder in its present state."""
        if self.n_blocks == 0:
            return self.origin
        recipe = f"{self.origin.card['recipe'] or 'random'}-tuned"
        state = {name: value.detach().cpu() for name, value in self.model.state_dict().items()}
        return self.origin.with_weights(state, recipe=recipe, fine_tuning=notes)


def _check_blocks(encoder, blocks):
    """Return the number of blocks that are trained."""
    layers = getattr(encoder.model, "blocks", None)
    if layers is None or not hasattr(encoder.model, "forward_intermediates"):
        msg = f"encoder must be a Vision Transformer to be fine-tuned, got {encoder.model_name!r}"
        raise ValueError(msg)
    if isinstance(blocks, str) and blocks == "all":
        return len(layers)
    whole = isinstance(blocks, numbers.Integral) and not isinstance(blocks, bool)
    if not whole or not 0 <= blocks < len(layers):
        msg = (
            f"blocks must be 'all' or an integer from 0 to {len(layers) - 1} for "
            f"{encoder.model_name!r}, got {blocks!r}"
        )
        raise ValueError(msg)
    return int(blocks)


def _held_out(maps, validation, generator):
    """Return which maps are held out."""
    if validation is None:
        return np.zeros(len(maps), bool)
    if isinstance(validation, numbers.Real):
        if not 0 < validation < 1:
            msg = f"validation must be between 0 and 1, or names of clouds, got {validation!r}"
            raise ValueError(msg)
        validation = hold_out(maps.clouds, maps.protostars, validation, generator)
    names = [validation] if isinstance(validation, str) else [str(name) for name in validation]
    have = set(maps.clouds.tolist())
    if not names or not have.issuperset(names):
        msg = f"validation must name clouds of the maps ({', '.join(sorted(have))}), got {names!r}"
        raise ValueError(msg)
    return np.isin(maps.clouds, names)


def random_poses(n, jitter, generator):
    """Draw poses: a symmetry of the sky and of the velocity, and a shift below a pixel."""
    poses = SYMMETRIES[generator.integers(len(SYMMETRIES), size=n)]
    poses[:, 3:] = generator.uniform(-jitter, jitter, (n, 2))
    return poses


def make_views(images, poses, *, zoom, size):
    """Turn, mirror, shift and magnify maps in one interpolation (bicubic)."""
    # images (n, 3, width, width); poses (n, 5)
    turns, mirror, sign, *shift = torch.from_numpy(np.ascontiguousarray(poses.T, np.float32))
    angle = turns * (torch.pi / 2)
    flip = 1 - 2 * mirror
    cosine, sine = torch.cos(angle).round(), torch.sin(angle).round()
    width = images.shape[-1]
    turned = torch.stack([cosine * flip, -sine, sine * flip, cosine], 1).reshape(-1, 2, 2)
    shifted = torch.stack(shift, 1)[:, :, None] * (2 / width)
    theta = torch.cat([turned * (size / (zoom * width)), shifted], 2).to(images)
    grid = F.affine_grid(theta, (len(images), images.shape[1], size, size), align_corners=False)
    views = F.grid_sample(images, grid, mode="bicubic", align_corners=False)
    views[:, 1] *= sign.to(images)[:, None, None]
    return views


def draw_rows(protostars, n, exponent, generator):
    """Draw maps with a probability that does not favor protostars with many maps."""
    _, index = np.unique(protostars, return_inverse=True)
    order = generator.permutation(len(index))
    order = order[np.argsort(index[order], kind="stable")]
    ends = np.cumsum(protostar_weights(protostars, exponent)[order])
    points = (np.arange(n) + generator.random()) * (ends[-1] / n)
    rows = order[np.minimum(np.searchsorted(ends, points), len(order) - 1)]
    return generator.permutation(rows)


def hold_out(clouds, protostars, part, generator):
    """Choose whole clouds, at random, that hold at least a part of the protostars."""
    names = generator.permutation(np.unique(clouds))
    if len(names) < 2:
        msg = (
            "validation needs maps of at least two clouds, one of which is held out, got only "
            f"{names.tolist()}; validation=None trains without"
        )
        raise ValueError(msg)
    protostars = np.asarray(protostars)
    counts = np.cumsum([len(np.unique(protostars[clouds == name])) for name in names])
    enough = np.searchsorted(counts, part * counts[-1]) + 1
    return names[: min(enough, len(names) - 1)].tolist()


@dataclass
class FreshViews:
    """Batches of views that are drawn anew in each epoch."""

    images: torch.Tensor  # normalized, (n_maps, 3, width, width)
    log_masses: np.ndarray
    protostars: np.ndarray
    zoom: float
    size: int
    n_views: int  # of a protostar, on average
    weight_exponent: float = 1.0
    batch_size: int = 64
    random_state: int = 0

    def __post_init__(self):
        self.log_masses = torch.as_tensor(np.asarray(self.log_masses), dtype=torch.float32)
        self.n = self.n_views * len(np.unique(self.protostars))
        self.epoch = 0

    def __len__(self):
        return -(-self.n // self.batch_size)

    def part(self, rows):
        """Return the views of some of the maps."""
        names = ("images", "log_masses", "protostars")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    def __iter__(self):
        generator = keyed_generator(self.random_state, f"epoch {self.epoch}")
        self.epoch += 1
        rows = draw_rows(self.protostars, self.n, self.weight_exponent, generator)
        for some in np.array_split(rows, len(self)):
            yield self._views(some, generator), self.log_masses[some]

    def draw(self, generator):
        """Return the rows of the maps that are drawn, a view of each, and their log10 masses."""
        rows = draw_rows(self.protostars, self.n, self.weight_exponent, generator)
        return rows, self._views(rows, generator), self.log_masses[rows]

    def _views(self, rows, generator):
        poses = random_poses(len(rows), _JITTER, generator)
        return make_views(self.images[rows], poses, zoom=self.zoom, size=self.size)


def regress(network, inputs, function=None, *, batch_size=256):
    """Return what a network, or a function of it, makes of inputs, in evaluation mode."""
    function = network if function is None else function
    device = next(network.parameters()).device
    training = network.training
    network.eval()
    with torch.inference_mode():
        parts = [function(part.to(device).float()) for part in inputs.split(batch_size)]
    network.train(training)
    return torch.cat(parts).reshape(len(inputs), -1).squeeze(1).double().cpu().numpy()


class _Training(pl.LightningModule):
    """Mean squared error, AdamW, a warm-up and half a cosine; keeps the state of the best epoch."""

    def __init__(self, network, groups, validation, *, scatter, n_steps, patience, bar):
        super().__init__()
        self.network, self.groups, self.validation = network, groups, validation
        self.scatter, self.n_steps, self.patience, self.bar = scatter, n_steps, patience, bar
        self.history, self.best, self.best_state, self.best_epoch = [], np.inf, None, 0

    def training_step(self, batch, _batch_index):
        inputs, log_masses = batch
        error = (self.network(inputs).flatten().float() - log_masses) / self.scatter
        loss = error.square().mean()
        self.log("loss", loss, on_step=False, on_epoch=True, batch_size=len(inputs))
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.groups, weight_decay=_WEIGHT_DECAY)
        warm = max(1, self.n_steps // 10)

        def rate(step):
            if step < warm:
                return (step + 1) / warm
            return 0.5 * (1 + np.cos(np.pi * min(1.0, (step - warm) / max(1, self.n_steps - warm))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_epoch_end(self):
        epoch = self.current_epoch + 1
        rate = max(group["lr"] for group in self.optimizers().param_groups)
        self.score(epoch, float(self.trainer.callback_metrics["loss"]), float(rate))
        next(self.bar, None)
        if self.validation is not None and epoch - self.best_epoch >= self.patience:
            self.trainer.should_stop = True

    def score(self, epoch, loss, rate):
        """Add a row to the history, and keep the state if it is the best one."""
        row = {"epoch": epoch, "learning_rate": rate, "loss": loss}
        error = -float(epoch)  # without validation, the last epoch is the best one
        if self.validation is not None:
            inputs, log_masses = self.validation
            log_masses = log_masses.numpy()
            error = float(np.mean((regress(self.network, inputs) - log_masses) ** 2))
            row["validation_rmse"] = error**0.5
            row["validation_r2"] = 1 - error / max(float(np.var(log_masses)), 1e-12)
        self.history.append(row)
        if not np.isfinite(error):
            msg = f"the training diverged in epoch {epoch}: try a smaller learning_rate"
            raise FloatingPointError(msg)
        if error < self.best:
            self.best, self.best_epoch = error, epoch
            self.best_state = copy.deepcopy(self.network.state_dict())


def train_network(
    network,
    batches,
    groups,
    *,
    validation,
    max_epochs,
    patience,
    precision="32-true",
    device="cpu",
    random_state=0,
    progress_bar=False,
):
    """Train a network to estimate log10 masses, and leave it in its best state."""
    # groups as AdamW takes them; validation (views, log10 masses) or None
    device = torch.device(device)
    network.to(device)
    bar = iter(progress(range(max_epochs), progress_bar, desc="train"))
    next(bar, None)
    training = _Training(
        network,
        groups,
        validation,
        scatter=max(float(batches.log_masses.std(correction=0)), 1e-6),
        n_steps=max_epochs * len(batches),
        patience=patience,
        bar=bar,
    )
    training.score(0, np.nan, 0.0)
    with quiet_lightning(), torch.random.fork_rng():
        torch.manual_seed(random_state)
        trainer = pl.Trainer(
            max_epochs=max_epochs,
            precision=precision,
            accelerator={"cuda": "gpu"}.get(device.type, device.type),
            devices=1 if device.index is None else [device.index],
            gradient_clip_val=1.0,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(training, batches)
    network.to(device).load_state_dict(training.best_state)
    network.eval()
    return training.history, training.best_epoch
