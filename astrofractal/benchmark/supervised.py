"""The opponents that learn everything from the labeled maps."""

import copy
import logging
import time

import numpy as np

from astrofractal._utils.progress import progress
from astrofractal._utils.validation import one_of

__all__ = ["SHARES", "SUPERVISED", "supervised_predictions"]

logger = logging.getLogger(__name__)

#: Names of the networks, and of their timm models.
SUPERVISED = {
    "supervised ResNet-18": "resnet18",
    "supervised ViT": "astrofractal_vit_tiny_patch8_64",
}

#: The part of the time for trainings that each network gets.
SHARES = {"supervised ResNet-18": 0.4, "supervised ViT": 0.6}

_RATES = {"supervised ResNet-18": 1e-3, "supervised ViT": 5e-4}


def supervised_predictions(
    name,
    maps,
    train,
    test,
    groups,
    *,
    seconds=120.0,
    max_epochs=40,
    batch_size=64,
    random_state=0,
    progress_bar=False,
):
    """
    Train a network from scratch on the labeled maps.

    AdamW with a warm-up and a cosine schedule; the rotations and reflections of the sky, the sign
    of the velocity and small shifts as augmentation; early stopping on a validation group, which
    keeps the best epoch; the number of epochs is what fits into the time given, and the precision
    is single or mixed with bfloat16, whichever the processor is faster in.

    Parameters
    ----------
    name : str
        One of ``SUPERVISED``.

    maps : `~astrofractal.mapset.MapSet`
        The labeled maps.

    train, test : `~numpy.ndarray`
        Indices of the maps that train and of those that test.

    groups : `~numpy.ndarray`
        One of the training groups (clouds, where these are held out) is the validation set: the one
        whose size is closest to a sixth of the maps.  Where there are many groups, a sixth of them.

    seconds : float, optional
        The time for the training.

    max_epochs, batch_size, random_state : int, optional
        The largest number of epochs, the size of a batch, the seed.

    progress_bar : bool or callable, optional
        Whether to show progress.

    Returns
    -------
    result : dict
        ``predicted`` (log10 masses), ``half_68``, ``half_90`` (dex, from the validation set),
        ``fit_time``, ``predict_time`` (s), ``n_epochs``.
    """
    import timm
    import torch

    import astrofractal.encoder  # noqa: F401 - registers the ViT with timm
    from astrofractal.encoder import ChannelNormalization

    one_of("name", name, SUPERVISED)
    start = time.perf_counter()
    generator = np.random.default_rng(random_state)
    validation = _validation(groups[train], generator)
    normalize = ChannelNormalization()
    images = torch.from_numpy(normalize(maps.images))
    center, scale = maps.log_masses[train].mean(), max(maps.log_masses[train].std(), 1e-6)
    target = torch.from_numpy(((maps.log_masses - center) / scale).astype(np.float32))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_state)
        model = timm.create_model(SUPERVISED[name], num_classes=1, in_chans=3)
    rows, held = train[~validation], train[validation]
    n_batches = max(1, len(rows) // batch_size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATES[name], weight_decay=0.05)
    model.train()
    ticks = {}
    for mixed in (False, True):
        for _ in range(2):  # the first one warms up
            tick = time.perf_counter()
            _step(model, optimizer, images[rows[:batch_size]], target[rows[:batch_size]], mixed)
            tick = time.perf_counter() - tick
            ticks[mixed] = min(tick, ticks.get(mixed, np.inf))
    mixed = ticks[True] < 0.9 * ticks[False]
    tick = ticks[mixed]
    logger.info("%s: %.3f s a step, mixed precision: %s", name, tick, mixed)
    # Where not even one epoch fits, a part of one: such a score says nothing.
    whole, n_batches = n_batches, min(n_batches, max(3, int(seconds / (1.1 * tick))))
    n_epochs = int(np.clip(seconds / (tick * n_batches * 1.1), 1, max_epochs))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: _cosine(step, n_epochs * n_batches)
    )
    best, best_state = np.inf, copy.deepcopy(model.state_dict())
    for _ in progress(range(n_epochs), progress_bar, desc=name):
        model.train()
        order = generator.permutation(rows)
        for i in range(n_batches):
            batch = order[i * batch_size : (i + 1) * batch_size]
            _step(model, optimizer, _augment(images[batch], generator), target[batch], mixed)
            schedule.step()
        error = np.mean((_predict(model, images, held) - target[held].numpy()) ** 2)
        if error < best:
            best, best_state = error, copy.deepcopy(model.state_dict())
        if time.perf_counter() - start > 1.5 * seconds:
            break
    model.load_state_dict(best_state)
    residual = scale * np.abs(_predict(model, images, held) - target[held].numpy())
    fit_time = time.perf_counter() - start
    start = time.perf_counter()
    predicted = center + scale * _predict(model, images, test)
    return {
        "predicted": predicted,
        "half_68": np.full(len(test), np.quantile(residual, 0.68)),
        "half_90": np.full(len(test), np.quantile(residual, 0.90)),
        "fit_time": fit_time,
        "predict_time": time.perf_counter() - start,
        "n_epochs": round(n_epochs * n_batches / whole, 2),
    }


def _validation(groups, generator):
    names, index, counts = np.unique(groups, return_inverse=True, return_counts=True)
    wanted = len(groups) / 6
    if len(names) <= 8:
        return index == int(np.argmin(np.abs(counts - wanted)))
    order = generator.permutation(len(names))
    chosen = order[np.cumsum(counts[order]) <= max(wanted, counts[order[0]])]
    return np.isin(index, chosen)


def _cosine(step, total):
    warm = max(1, total // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + np.cos(np.pi * min(1.0, (step - warm) / max(1, total - warm))))


def _step(model, optimizer, images, target, mixed):
    import torch

    with torch.autocast(images.device.type, torch.bfloat16, enabled=mixed):
        output = model(images)[:, 0]
    loss = torch.nn.functional.smooth_l1_loss(output.float(), target)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def _augment(images, generator):
    import torch

    images = torch.rot90(images, int(generator.integers(4)), (-2, -1))
    if generator.integers(2):
        images = images.flip(-1)
    shift = tuple(int(s) for s in generator.integers(-1, 2, 2))
    images = torch.roll(images, shift, (-2, -1)).clone()
    sign = torch.from_numpy(generator.choice([-1.0, 1.0], len(images)).astype(np.float32))
    images[:, 1] *= sign[:, None, None]
    return images


def _predict(model, images, rows):
    import torch

    model.eval()
    with torch.inference_mode():
        parts = [model(images[rows[i : i + 256]])[:, 0] for i in range(0, len(rows), 256)]
    return torch.cat(parts).numpy().astype(float)
