"""The opponents that learn end to end from the labeled maps, and their stored predictions."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import Table

from astrofractal._utils.atomic import atomic_path
from astrofractal._utils.random import keyed_generator
from astrofractal._utils.validation import one_of
from astrofractal.benchmark.run import row_numbers
from astrofractal.encoder import ChannelNormalization, FractalEncoder
from astrofractal.mass.fine_tuning import fine_tune

__all__ = [
    "SUPERVISED",
    "Scratch",
    "Tuned",
    "make_network",
    "supervised_predictions",
    "train_supervised",
]

logger = logging.getLogger(__name__)

# The part of the protostars, in whole clouds, on which the best epoch is chosen.
_HELD = 0.12


@dataclass(frozen=True)
class Scratch:
    """
    A convolutional network that is trained from scratch.

    Parameters
    ----------
    make : str
        ``"cnn"``, four layers with 66,000 parameters, or the name of a timm model.

    zoom : float
        The magnification.

    size : int
        The width of a view in magnified pixels.

    learning_rate, n_views, max_epochs, patience, batch_size, weight_exponent, precision : optional
        As of `~astrofractal.mass.fine_tune`.
    """

    make: str
    zoom: float
    size: int
    learning_rate: float
    n_views: int = 32
    max_epochs: int = 8
    patience: int = 4
    batch_size: int = 128
    weight_exponent: float = 1.0
    precision: str = "32-true"


@dataclass(frozen=True)
class Tuned:
    """
    An encoder that is fine-tuned.

    Parameters
    ----------
    weights : str
        The weights of the `~astrofractal.FractalEncoder` that it starts from.

    blocks : int or "all"
        What is trained, see `~astrofractal.mass.fine_tune`.

    learning_rate, n_views, max_epochs, patience, weight_exponent, precision : optional
        As of `~astrofractal.mass.fine_tune`.

    n_test_views : int, optional
        Symmetric views over which predictions are averaged.
    """

    weights: str
    blocks: int | str
    learning_rate: float = 1e-4
    n_views: int = 8
    max_epochs: int = 5
    patience: int = 2
    n_test_views: int = 4
    weight_exponent: float = 0.5
    precision: str = "bf16-mixed"


#: Name to settings; cheapest first.  Maps are drawn as calibrations weigh them, but for "small CNN",
#: which sees each protostar equally often.
SUPERVISED = {
    "small CNN, n^-1/2": Scratch(
        "cnn",
        zoom=1.0,
        size=24,
        learning_rate=2e-3,
        max_epochs=20,
        patience=20,
        weight_exponent=0.5,
    ),
    "small CNN": Scratch("cnn", zoom=1.0, size=24, learning_rate=2e-3),
    "ViT fine-tuned, last block": Tuned("bundled", 1),
    "ResNet-18": Scratch(
        "resnet18",
        zoom=2.0,
        size=64,
        learning_rate=1e-3,
        n_views=16,
        weight_exponent=0.5,
        precision="bf16-mixed",
    ),
    "ViT fine-tuned, all blocks": Tuned("bundled", "all", max_epochs=8),
    "ViT from scratch": Tuned("random", "all", learning_rate=5e-4, max_epochs=20, patience=5),
}


def supervised_predictions(name, maps, splits, *, random_state=0, progress_bar=False):
    """Train a network on each split and predict its test maps."""
    # splits 1D
    settings = SUPERVISED[one_of("name", name, SUPERVISED)]
    run = _scratch if isinstance(settings, Scratch) else _tuned
    yield from run(settings, maps, splits, random_state, progress_bar)


def _tuned(settings, maps, splits, random_state, progress_bar):
    encoder = FractalEncoder(weights=settings.weights, random_state=random_state)
    for train, test in splits:
        tuned = fine_tune(
            encoder,
            maps[np.sort(train)],
            blocks=settings.blocks,
            validation=_HELD,
            n_views=settings.n_views,
            max_epochs=settings.max_epochs,
            patience=settings.patience,
            learning_rate=settings.learning_rate,
            weight_exponent=settings.weight_exponent,
            precision=settings.precision,
            random_state=random_state,
            progress_bar=progress_bar,
        )
        test = np.sort(test)
        mass = tuned.predict(maps[test], n_views=settings.n_test_views)
        yield test, np.log10(mass.to_value(u.solMass)), tuned.best_epoch


def _scratch(settings, maps, splits, random_state, progress_bar):
    import torch

    from astrofractal.mass.fine_tuning import (
        SYMMETRIES,
        FreshViews,
        draw_rows,
        hold_out,
        make_views,
        random_poses,
        regress,
        train_network,
    )

    look = {"zoom": settings.zoom, "size": settings.size}
    images = torch.from_numpy(ChannelNormalization()(maps.images))
    for train, test in splits:
        generator = keyed_generator(random_state, "views of a network")
        held = hold_out(maps.clouds[train], maps.protostars[train], _HELD, generator)
        held = np.isin(maps.clouds[train], held)
        rows, others = train[~held], train[held]
        counts = [
            settings.n_views * len(np.unique(maps.protostars[part])) for part in (rows, others)
        ]
        batches = FreshViews(
            images[rows],
            maps.log_masses[rows],
            maps.protostars[rows],
            counts[0],
            batch_size=settings.batch_size,
            exponent=settings.weight_exponent,
            random_state=random_state,
            **look,
        )
        exponent = settings.weight_exponent
        others = others[draw_rows(maps.protostars[others], counts[1], exponent, generator)]
        validation = make_views(images[others], random_poses(counts[1], 0.5, generator), **look)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(random_state)
            network = make_network(settings.make, maps.log_masses[rows].mean())
        _, best_epoch = train_network(
            network,
            batches,
            validation=(validation, maps.log_masses[others]),
            learning_rate=settings.learning_rate,
            max_epochs=settings.max_epochs,
            patience=settings.patience,
            precision=settings.precision,
            random_state=random_state,
            progress_bar=progress_bar,
        )
        total = np.zeros(len(test))
        for start in range(0, len(test), 256):
            some = test[start : start + 256]
            for pose in SYMMETRIES:
                views = make_views(images[some], np.tile(pose, (len(some), 1)), **look)
                total[start : start + 256] += regress(network, views) / len(SYMMETRIES)
        yield test, total, best_epoch


def make_network(kind, mean):
    """Make a network whose first guess is the mean mass."""
    from torch import nn

    if kind == "cnn":
        layers, width = [], 3
        for i, n in enumerate((32, 32, 64, 64)):
            convolution = nn.Conv2d(width, n, 3, stride=1 + i % 2, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(n), nn.GELU()]
            width = n
        last = nn.Linear(9 * width, 1)
        network = nn.Sequential(
            *layers, nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Dropout(0.1), last
        )
    else:
        import timm

        network = timm.create_model(kind, num_classes=1)
        last = network.get_classifier()
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, float(mean))
    return network


def train_supervised(maps, path, *, methods=None, seeds=(0,), clouds=None, progress_bar=False):
    """Train the opponents with each cloud held out, and store what they predict."""
    path = Path(path)
    rows = row_numbers(maps)
    every = np.unique(maps.clouds).tolist()
    for cloud in every if clouds is None else clouds:
        one_of("clouds", cloud, every)
    tables = [Table.read(path)] if path.exists() else []
    for method in SUPERVISED if methods is None else methods:
        one_of("methods", method, SUPERVISED)
        for seed in seeds:
            done = set()
            for table in tables:
                same = (table["method"] == method) & (table["seed"] == seed)
                done |= set(table["cloud"][same].tolist())
            left = [c for c in every if c not in done and (clouds is None or c in clouds)]
            if not left:
                continue
            splits = (
                (np.flatnonzero(maps.clouds != c), np.flatnonzero(maps.clouds == c)) for c in left
            )
            began = time.process_time()
            found = supervised_predictions(
                method, maps, splits, random_state=seed, progress_bar=progress_bar
            )
            for test, log_mass, best_epoch in found:
                new = Table()
                new["method"] = np.full(len(test), method)
                new["seed"] = seed
                new["cloud"], new["row"] = maps.clouds[test], rows[test]
                new["log_mass"] = log_mass.round(3)
                new["best_epoch"] = best_epoch
                new["minutes"] = round((time.process_time() - began) / 60, 1)
                began = time.process_time()
                tables.append(new)
                _write(tables, path)
                logger.info("%s, seed %d: %s", method, seed, maps.clouds[test[0]])
    return _write(tables, path)


def _write(tables, path):
    table = Table(np.concatenate([t.as_array() for t in tables]))
    for name, text in (
        ("row", "index of the map within the file of its cloud"),
        ("log_mass", "log10 of the mass in solMass, by a network trained on the other clouds"),
        ("best_epoch", "epoch that was kept, chosen on a cloud held out of the training ones"),
        ("minutes", "of the processor, for the training and the predictions of this cloud"),
    ):
        table[name].info.description = text
    # Scores per map and per protostar depend on it: compare methods at equal exponents.
    table.meta["weight_exponent"] = {
        name: SUPERVISED[name].weight_exponent for name in np.unique(table["method"]).tolist()
    }
    with atomic_path(path) as temporary:
        table.write(temporary, format="ascii.ecsv")
    return table
