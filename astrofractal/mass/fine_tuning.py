"""Fine-tuning: continue to train a pretrained encoder on labeled maps."""

from __future__ import annotations

import copy
import numbers
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from astropy import units as u
from astropy.table import QTable
from sklearn.linear_model import Ridge
from timm.optim import param_groups_layer_decay
from torch import nn

from astrofractal._utils.annotations import ProgressBar
from astrofractal._utils.progress import progress
from astrofractal._utils.random import keyed_generator
from astrofractal._utils.validation import one_of, positive_int
from astrofractal.encoder import FractalEncoder
from astrofractal.encoder.backbone import suit_attention
from astrofractal.encoder.pooling import pool_tokens
from astrofractal.mapset import MapSet
from astrofractal.mass.features import FeatureSet
from astrofractal.mass.weights import protostar_weights

#: Penalties of the linear probe that the head starts from, per view of a protostar.
_PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0)

#: The ratio of the learning rates of a block and of the next one.
_LAYER_DECAY = 0.75

_WEIGHT_DECAY = 0.05

#: The largest shift of a view along each axis, in pixels of the map.
_JITTER = 0.5

_LEAST_MAPS = 10

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
    weight_exponent: float = 1.0,
    validation: float | Sequence[str] = 0.15,
    n_views: int = 16,
    max_epochs: int = 20,
    patience: int = 5,
    learning_rate: float = 1e-4,
    precision: str = "float32",
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
        How many of the last transformer blocks are trained, with the last normalization.
    weight_exponent : float, optional
        A map is drawn with the number of maps of its protostar to the power of minus this: with 1
        all protostars are drawn equally often, with 0 all maps.
    validation : float or sequence of str, optional
        The names of the clouds that are held out, or the least part of the protostars for which
        whole clouds are taken at random.
    n_views, max_epochs, patience : int, optional
        Views of each protostar (on average) per epoch; the number of epochs, and of those without
        improvement after which the training ends.
    learning_rate : float, optional
        Of the last block and of the head.
    precision : {"float32", "bfloat16"}, optional
        ``"bfloat16"`` is more than twice as fast on processors with instructions for it.
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
    TypeError, ValueError, FloatingPointError
        If ``maps`` is no MapSet, ``blocks`` does not fit the encoder, too few maps or clouds are left
        to train on, or the training diverges.

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
    for name, value in counts.items():
        positive_int(name, value)
    one_of("precision", precision, ("float32", "bfloat16"))
    generator = keyed_generator(random_state, "fine-tuning")
    held = hold_out(maps.clouds, maps.protostars, validation, generator)
    if (~held).sum() < _LEAST_MAPS:
        msg = f"maps must leave at least {_LEAST_MAPS} to train on, got {(~held).sum()}"
        raise ValueError(msg)
    network = _Network(encoder, blocks, maps.images.shape[-1]).to(encoder.device)
    views = FreshViews(
        torch.from_numpy(encoder.normalization(maps.images)),
        maps.log_masses,
        maps.protostars,
        zoom=network.zoom,
        size=maps.images.shape[-1],
        n_views=n_views,
        weight_exponent=weight_exponent,
        random_state=random_state,
    )
    drawn, known = views.part(~held).draw(generator), views.part(held).draw(generator)
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
    notes = {
        "blocks": blocks,
        "zoom": network.zoom,
        "n_maps": len(maps),
        "clouds": np.unique(maps.clouds[~held]).tolist(),
        "validation": np.unique(maps.clouds[held]).tolist(),
        "random_state": random_state,
        "from": encoder.weights_id,
    }
    state = {name: value.detach().cpu() for name, value in network.model.state_dict().items()}
    recipe = f"{encoder.card['recipe'] or 'random'}-tuned"
    tuned = encoder.with_weights(state, recipe=recipe, fine_tuning=notes)
    return FineTuned(network, tuned, history, best_epoch)


@dataclass
class FineTuned:
    """
    What `fine_tune` returns.

    Attributes
    ----------
    encoder : `~astrofractal.FractalEncoder`
        The tuned encoder.
    history : `~astropy.table.QTable`
        One row per epoch: ``epoch`` (0 is the linear probe), ``learning_rate``, ``loss``, and on the
        clouds held out ``validation_rmse`` (dex) and ``validation_r2``, in which protostars are weighted
        as in the training.
    best_epoch : int
        The epoch whose weights were kept.
    """

    network: nn.Module = field(repr=False)
    encoder: FractalEncoder
    history: QTable = field(repr=False)
    best_epoch: int

    def predict(
        self, maps: MapSet | np.ndarray, *, n_views: int = 16, progress_bar: ProgressBar = False
    ) -> u.Quantity:
        """
        Predict the mass in each map by the network that was trained.

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
        masses : `~astropy.units.Quantity`, shape (n_maps,)
        """
        positive_int("n_views", n_views)
        images = np.asarray(maps.images if isinstance(maps, MapSet) else maps)
        log_mass = predict_views(
            self.network,
            torch.from_numpy(self.encoder.normalization(images)),
            zoom=self.network.zoom,
            size=images.shape[-1],
            n_views=n_views,
            progress_bar=progress_bar,
        )
        return 10**log_mass * u.solMass


class _Network(nn.Module):
    """A Vision Transformer of which the last blocks are trained, and a linear head."""

    def __init__(self, encoder, blocks, width):
        super().__init__()
        self.model = copy.deepcopy(encoder.model).requires_grad_(blocks == "all")
        layers = getattr(self.model, "blocks", None)
        if layers is None or not hasattr(self.model, "forward_intermediates"):
            msg = f"encoder must be a Vision Transformer (fine-tuning), got {encoder.model_name!r}"
            raise ValueError(msg)
        if blocks != "all":
            if not isinstance(blocks, numbers.Integral) or not 0 < blocks < len(layers):
                msg = f"blocks must be 'all' or from 1 to {len(layers) - 1}, got {blocks!r}"
                raise ValueError(msg)
            for layer in (*layers[-blocks:], self.model.norm):
                layer.requires_grad_(True)
        self.features, self.n_prefix = FeatureSet(), encoder.n_prefix_tokens
        self.zoom = self.features.zoom
        self.grid = (-(-width // encoder.patch_size),) * 2
        n_patches = self.grid[0] * self.grid[1]
        suit_attention(layers, n_patches)
        some = torch.zeros(1, n_patches + self.n_prefix, encoder.embed_dim)
        n_features = self._pool(some).shape[1]
        self.head = nn.Linear(n_features, 1)
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(n_features))

    def _pool(self, tokens):
        return pool_tokens(tokens, self.grid, self.n_prefix, self.features.pooling).float()

    def pooled(self, views):
        """Return the pooled features of views (n, 3, width, width)."""
        return self._pool(self.model.forward_features(views))

    def forward(self, views):
        """Return log10 masses, shape (n,)."""
        return self.head((self.pooled(views) - self.mean) / self.scale)[:, 0]

    def probe(self, views, log_masses, views_per_star, known):
        """Start the head as ridge regression, with the best penalty on the clouds held out."""
        features, held = (_apply(self, some, self.pooled) for some in (views, known[0]))
        mean, scale = features.mean(0), features.std(0) + 1e-6
        features, held = (features - mean) / scale, (held - mean) / scale
        probes = [Ridge(p * views_per_star).fit(features, log_masses) for p in _PENALTIES]
        best = min(probes, key=lambda one: np.mean((one.predict(held) - known[1].numpy()) ** 2))
        state = {"mean": mean, "scale": scale, "head.weight": best.coef_[None]}
        state["head.bias"] = np.atleast_1d(best.intercept_)
        self.load_state_dict({k: torch.as_tensor(v) for k, v in state.items()}, strict=False)

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


def hold_out(clouds, protostars, validation, generator):
    """Return which maps are of clouds held out: those named, or some with a part of the protostars."""
    names = known = np.unique(clouds)
    if isinstance(validation, numbers.Real):
        names = generator.permutation(known) if 0 < validation < 1 else known[:0]
        counts = np.cumsum([len(np.unique(protostars[clouds == name])) for name in names])
        enough = np.searchsorted(counts, validation * counts[-1]) + 1 if len(names) else 0
        names = names[: min(enough, len(names) - 1)]
    else:
        names = np.atleast_1d(validation)
    if not len(names) or not np.isin(names, known).all():
        msg = (
            f"validation must be names of the clouds of the maps ({', '.join(known)}), or between 0 "
            f"and 1 for maps of at least two clouds, got {validation!r}"
        )
        raise ValueError(msg)
    return np.isin(clouds, names)


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


@dataclass
class FreshViews:
    """Views of maps with their log10 masses, which are drawn anew in each epoch."""

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
        self.log_masses = torch.as_tensor(self.log_masses, dtype=torch.float32)
        self.n = self.n_views * len(np.unique(self.protostars))

    def __len__(self):
        return -(-self.n // self.batch_size)

    def part(self, rows):
        """Return the views of some of the maps."""
        names = ("images", "log_masses", "protostars")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    def epoch(self, number):
        """Yield the batches of an epoch."""
        generator = keyed_generator(self.random_state, f"epoch {number}")
        yield from self._batches(generator, len(self))

    def draw(self, generator):
        """Return all views of an epoch, and their log10 masses."""
        (everything,) = self._batches(generator, 1)
        return everything

    def _batches(self, generator, n_batches):
        rows = draw_rows(self.protostars, self.n, self.weight_exponent, generator)
        for some in np.array_split(rows, n_batches):
            poses = random_poses(len(some), _JITTER, generator)
            views = make_views(self.images[some], poses, zoom=self.zoom, size=self.size)
            yield views, self.log_masses[some]


def _apply(network, views, function=None):
    """Return what a network, or a function of it, makes of views, in evaluation mode."""
    function = network if function is None else function
    device = next(network.parameters()).device
    training = network.training
    network.eval()
    with torch.inference_mode():
        parts = [function(part.to(device).float()) for part in views.split(256)]
    network.train(training)
    return torch.cat(parts).reshape(len(views), -1).squeeze(1).double().cpu().numpy()


def predict_views(network, images, *, zoom, size, n_views=16, progress_bar=False):
    """Return log10 masses of normalized maps, averaged over symmetric views."""
    # Far apart in the list, so that few views differ in all three symmetries.
    poses = SYMMETRIES[np.arange(n_views) * 7 % len(SYMMETRIES)]
    log_masses = np.zeros(len(images))
    for start in progress(range(0, len(images), 64), progress_bar, desc="encode"):
        some = images[start : start + 64]
        for pose in poses:
            views = make_views(some, np.tile(pose, (len(some), 1)), zoom=zoom, size=size)
            log_masses[start : start + 64] += _apply(network, views) / n_views
    return log_masses


def train_network(
    network,
    views,
    groups,
    *,
    validation,
    max_epochs,
    patience,
    precision="float32",
    device="cpu",
    random_state=0,
    progress_bar=False,
):
    """Train a network to estimate log10 masses, and leave it in its best state."""
    # views FreshViews; groups as AdamW takes them; validation (views, log10 masses)
    device = torch.device(device)
    network.to(device).train()
    n_steps = max_epochs * len(views)
    warm = max(1, n_steps // 10)

    def rate(step):  # a warm-up, and half a cosine
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + np.cos(np.pi * min(1.0, (step - warm) / max(1, n_steps - warm))))

    optimizer = torch.optim.AdamW(groups, weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    scatter = max(float(views.log_masses.std(correction=0)), 1e-6)
    true, half = validation[1].numpy(), precision == "bfloat16"
    history, best, best_epoch, best_state = [], np.inf, 0, None
    with torch.random.fork_rng():
        torch.manual_seed(random_state)
        for epoch in progress(range(max_epochs + 1), progress_bar, desc="train"):
            losses = []
            for inputs, log_masses in views.epoch(epoch - 1) if epoch else ():
                with torch.autocast(device.type, torch.bfloat16, enabled=half):
                    found = network(inputs.to(device)).flatten().float()
                loss = ((found - log_masses.to(device)) / scatter).square().mean()
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                losses += [loss.item()] * len(inputs)
            error = np.mean((_apply(network, validation[0]) - true) ** 2)
            if not np.isfinite(error):
                msg = f"the training diverged in epoch {epoch}: try a smaller learning_rate"
                raise FloatingPointError(msg)
            history.append(
                {
                    "epoch": epoch,
                    "learning_rate": float(max(schedule.get_last_lr())),
                    "loss": np.mean(losses) if losses else np.nan,
                    "validation_rmse": error**0.5 * u.dex,
                    "validation_r2": 1 - error / max(np.var(true), 1e-12),
                }
            )
            if error < best:
                best, best_epoch = error, epoch
                best_state = copy.deepcopy(network.state_dict())
            elif epoch - best_epoch >= patience:
                break
    network.load_state_dict(best_state)
    network.eval()
    return QTable(rows=history), best_epoch
