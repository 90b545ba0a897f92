"""Supervised training of networks on labeled maps: views, batches and one loop on Lightning."""

import copy

import numpy as np
import torch
import torch.nn.functional as F

from astrofractal._utils.lightning import quiet_lightning
from astrofractal._utils.optional import require
from astrofractal._utils.progress import progress
from astrofractal.mass.validation import protostar_weights

pl = require("pytorch_lightning", extra="pretrain")

__all__ = [
    "SYMMETRIES",
    "FreshViews",
    "KeptViews",
    "draw_rows",
    "hold_out",
    "make_views",
    "random_poses",
    "regress",
    "train_network",
]

#: The poses under which a mass does not change, one per row: quarter turns, whether it is mirrored,
#: the sign of the velocity, and a shift (x, y) in pixels.
SYMMETRIES = np.array(
    [(turns, mirror, sign, 0, 0) for mirror in (0, 1) for turns in range(4) for sign in (1, -1)],
    dtype=np.float32,
)


def random_poses(n, jitter, generator):
    """
    Draw poses: a symmetry of the sky and of the velocity, and a shift below a pixel.

    Parameters
    ----------
    n : int
        The number of poses.

    jitter : float
        The largest shift along each axis, in pixels of the map.

    generator : `~numpy.random.Generator`
        The source of random numbers.

    Returns
    -------
    poses : 2D `~numpy.ndarray`, shape (n, 5)
        As `SYMMETRIES`.
    """
    poses = SYMMETRIES[generator.integers(len(SYMMETRIES), size=n)]
    poses[:, 3:] = generator.uniform(-jitter, jitter, (n, 2))
    return poses


def make_views(images, poses, *, zoom, size):
    """
    Turn, mirror, shift and magnify maps in one interpolation (bicubic).

    Parameters
    ----------
    images : 4D `torch.Tensor`, shape (n, 3, width, width)
        Normalized maps.

    poses : 2D `~numpy.ndarray`, shape (n, 5)
        As `SYMMETRIES`.

    zoom : float
        Pixels of a view per pixel of the map.

    size : int
        The width of a view in its own pixels.

    Returns
    -------
    views : 4D `torch.Tensor`, shape (n, 3, size, size)
        About the center of the map.
    """
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
    """
    Draw maps with a probability that does not favor protostars with many maps.

    The draw is systematic: each map comes as often as its weight says, within one.

    Parameters
    ----------
    protostars : array-like
        The protostar of each map.

    n : int
        The number of draws.

    exponent : float
        A map's weight is the number of maps of its protostar to the power of minus this: with 1 each
        protostar is drawn equally often, with 0 each map.

    generator : `~numpy.random.Generator`
        The source of random numbers.

    Returns
    -------
    rows : 1D `~numpy.ndarray` of int
        In random order.
    """
    _, index = np.unique(protostars, return_inverse=True)
    order = generator.permutation(len(index))
    order = order[np.argsort(index[order], kind="stable")]
    ends = np.cumsum(protostar_weights(protostars, exponent)[order])
    points = (np.arange(n) + generator.random()) * (ends[-1] / n)
    rows = order[np.minimum(np.searchsorted(ends, points), len(order) - 1)]
    return generator.permutation(rows)


def hold_out(clouds, protostars, part, generator):
    """
    Choose whole clouds, at random, that hold at least a part of the protostars.

    Parameters
    ----------
    clouds, protostars : array-like
        Of each map.

    part : float
        The part of the protostars that is wanted.

    generator : `~numpy.random.Generator`
        The source of random numbers.

    Returns
    -------
    names : list of str
        At least one cloud, never all.

    Raises
    ------
    ValueError
        If there is one cloud only.
    """
    clouds, protostars = np.asarray(clouds), np.asarray(protostars)
    names = np.unique(clouds)
    if len(names) < 2:
        msg = (
            "validation needs maps of at least two clouds, one of which is held out, got only "
            f"{names.tolist()}; validation=None trains without"
        )
        raise ValueError(msg)
    sizes = {name: len(np.unique(protostars[clouds == name])) for name in names}
    chosen, held = [], 0
    for name in generator.permutation(names)[:-1].tolist():
        chosen.append(name)
        held += sizes[name]
        if held >= part * sum(sizes.values()):
            break
    return chosen


class FreshViews:
    """
    Batches of views that are drawn anew in each epoch.

    Parameters
    ----------
    images : 4D `torch.Tensor`, shape (n_maps, 3, width, width)
        Normalized maps.

    log_masses : array-like
        log10 of the mass of each map.

    protostars : array-like
        The protostar of each map.

    n : int
        Views per epoch.

    zoom, size, jitter, exponent, batch_size : optional
        See `make_views`, `random_poses` and `draw_rows`.

    random_state : int, optional
        The seed.
    """

    def __init__(
        self,
        images,
        log_masses,
        protostars,
        n,
        *,
        zoom,
        size,
        jitter=0.5,
        exponent=1.0,
        batch_size=64,
        random_state=0,
    ):
        self.images = images
        self.log_masses = torch.as_tensor(np.asarray(log_masses), dtype=torch.float32)
        self.protostars, self.n, self.batch_size = protostars, n, batch_size
        self.zoom, self.size = zoom, size
        self.jitter, self.exponent = jitter, exponent
        self.random_state, self.epoch = random_state, 0

    def __len__(self):
        return -(-self.n // self.batch_size)

    def __iter__(self):
        generator = np.random.default_rng((self.random_state, self.epoch))
        self.epoch += 1
        rows = draw_rows(self.protostars, self.n, self.exponent, generator)
        for some in np.array_split(rows, len(self)):
            poses = random_poses(len(some), self.jitter, generator)
            views = make_views(self.images[some], poses, zoom=self.zoom, size=self.size)
            yield views, self.log_masses[some]


class KeptViews:
    """
    Batches of the same views in each epoch, in another order.

    Parameters
    ----------
    inputs : `torch.Tensor`
        What the network is given, one entry per view.

    log_masses : array-like
        log10 of the mass in each view.

    batch_size, random_state : int, optional
        Views per batch, and the seed of the order.
    """

    def __init__(self, inputs, log_masses, *, batch_size=64, random_state=0):
        self.inputs = inputs
        self.log_masses = torch.as_tensor(np.asarray(log_masses), dtype=torch.float32)
        self.batch_size, self.random_state, self.epoch = batch_size, random_state, 0

    def __len__(self):
        return -(-len(self.inputs) // self.batch_size)

    def __iter__(self):
        generator = np.random.default_rng((self.random_state, self.epoch))
        self.epoch += 1
        for some in np.array_split(generator.permutation(len(self.inputs)), len(self)):
            yield self.inputs[some].float(), self.log_masses[some]


def regress(network, inputs, *, batch_size=256):
    """
    Return what a network says of inputs, without gradients and in evaluation mode.

    Parameters
    ----------
    network : `torch.nn.Module`
        Its output has the shape (n,) or (n, 1).

    inputs : `torch.Tensor`
        One entry per view.

    batch_size : int, optional
        Views per forward pass.

    Returns
    -------
    outputs : 1D `~numpy.ndarray`
        In double precision.
    """
    device = next(network.parameters()).device
    training = network.training
    network.eval()
    with torch.inference_mode():
        parts = [network(part.to(device).float()).flatten() for part in inputs.split(batch_size)]
    network.train(training)
    return torch.cat(parts).double().cpu().numpy()


class _Regression(pl.LightningModule):
    """Mean squared error in units of the masses' spread, AdamW, a warm-up and half a cosine."""

    def __init__(self, network, groups, *, spread, weight_decay, n_steps):
        super().__init__()
        self.network = network
        self.groups, self.spread = groups, spread
        self.weight_decay, self.n_steps = weight_decay, n_steps

    def training_step(self, batch, _batch_index):
        inputs, log_masses = batch
        error = (self.network(inputs).flatten().float() - log_masses) / self.spread
        loss = error.square().mean()
        self.log("loss", loss, on_step=False, on_epoch=True, batch_size=len(inputs))
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.groups, weight_decay=self.weight_decay)
        warm = max(1, self.n_steps // 10)

        def rate(step):
            if step < warm:
                return (step + 1) / warm
            return 0.5 * (1 + np.cos(np.pi * min(1.0, (step - warm) / max(1, self.n_steps - warm))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class _KeepBest(pl.Callback):
    """Score after each epoch, keep the best state, and stop when there is none for long."""

    def __init__(self, network, validation, patience, bar, on_best):
        self.network, self.validation, self.patience = network, validation, patience
        self.bar, self.on_best = bar, on_best
        self.history, self.best, self.best_state, self.best_epoch = [], np.inf, None, 0

    def score(self, epoch, loss, rate):
        row = {"epoch": epoch, "learning_rate": rate, "loss": loss}
        error = -float(epoch)  # without validation, the last epoch is the best one
        if self.validation is not None:
            inputs, log_masses = self.validation
            residual = regress(self.network, inputs) - log_masses
            error = float(np.mean(residual**2))
            row["validation_rmse"] = error**0.5
            row["validation_r2"] = 1 - error / max(float(np.var(log_masses)), 1e-12)
        self.history.append(row)
        if not np.isfinite(error):
            msg = f"the training diverged in epoch {epoch}: try a smaller learning_rate"
            raise FloatingPointError(msg)
        if error < self.best:
            self.best, self.best_epoch = error, epoch
            self.best_state = copy.deepcopy(self.network.state_dict())
            if self.on_best is not None and epoch > 0:
                self.on_best(self.network)

    def on_train_epoch_end(self, trainer, _module):
        epoch = trainer.current_epoch + 1
        rate = max(group["lr"] for group in trainer.optimizers[0].param_groups)
        self.score(epoch, float(trainer.callback_metrics["loss"]), float(rate))
        next(self.bar, None)
        if self.validation is not None and epoch - self.best_epoch >= self.patience:
            trainer.should_stop = True


def train_network(
    network,
    batches,
    *,
    validation=None,
    groups=None,
    learning_rate=1e-3,
    weight_decay=0.05,
    max_epochs=30,
    patience=8,
    precision="32-true",
    device="cpu",
    on_best=None,
    random_state=0,
    progress_bar=False,
):
    """
    Train a network to tell log10 masses, and leave it in its best state.

    Parameters
    ----------
    network : `torch.nn.Module`
        Takes inputs and returns log10 masses, shape (n,) or (n, 1).

    batches : `FreshViews` or `KeptViews`
        What it is trained on.

    validation : tuple, optional
        Inputs (`torch.Tensor`) and log10 masses.  The state of the epoch with the smallest error is
        kept, the initial one included, and the training ends when ``patience`` epochs brought none.

    groups : list of dict, optional
        The parameters that are trained, as `torch.optim.AdamW` takes them; by default all, at
        ``learning_rate``.

    learning_rate, weight_decay, max_epochs, patience, precision, device : optional
        The training; ``precision`` is Lightning's.

    on_best : callable, optional
        Called with the network whenever an epoch is better than all before.

    random_state : int, optional
        Seed of whatever the network draws.

    progress_bar : bool or callable, optional
        Whether to show progress.

    Returns
    -------
    history : list of dict
        ``epoch``, ``learning_rate``, ``loss`` (training; in units of the spread of the masses,
        squared) and, with ``validation``, ``validation_rmse`` (dex) and ``validation_r2``.

    best_epoch : int
        The epoch whose state was kept; 0 is the initial one.
    """
    device = torch.device(device)
    network.to(device)
    log_masses = batches.log_masses
    spread = max(float(log_masses.std(correction=0)), 1e-6)
    bar = iter(progress(range(max_epochs), progress_bar, desc="train"))
    next(bar, None)
    keeper = _KeepBest(network, validation, patience, bar, on_best)
    keeper.score(0, np.nan, 0.0)
    groups = groups or [{"params": list(network.parameters()), "lr": learning_rate}]
    module = _Regression(
        network,
        groups,
        spread=spread,
        weight_decay=weight_decay,
        n_steps=max_epochs * len(batches),
    )
    with quiet_lightning(), torch.random.fork_rng():
        torch.manual_seed(random_state)
        trainer = pl.Trainer(
            max_epochs=max_epochs,
            precision=precision,
            accelerator={"cuda": "gpu"}.get(device.type, device.type),
            devices=1 if device.index is None else [device.index],
            gradient_clip_val=1.0,
            logger=False,
            callbacks=[keeper],
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(module, batches)
    network.to(device).load_state_dict(keeper.best_state)
    network.eval()
    return keeper.history, keeper.best_epoch
