"""Networks that learn end to end from the labeled maps, and their stored predictions."""

import logging
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from astropy import units as u
from astropy.table import QTable, Table, vstack
from torch import nn

from astrofractal._utils.random import keyed_generator
from astrofractal._utils.validation import one_of
from astrofractal.benchmark.run import Journal, placed, row_numbers
from astrofractal.benchmark.scores import Bootstrap, with_error
from astrofractal.encoder import ChannelNormalization, FractalEncoder
from astrofractal.mass.fine_tuning import (
    FreshViews,
    fine_tune,
    hold_out,
    predict_views,
    train_network,
)

logger = logging.getLogger(__name__)

# The part of the protostars, in whole clouds, on which the best epoch is chosen.
_HELD = 0.12


@dataclass(frozen=True)
class Scratch:
    """A convolutional network that is trained from scratch, with the options of `fine_tune`."""

    make: str  # "cnn", four layers with 66,000 parameters, or the name of a timm model
    zoom: float  # magnification
    size: int  # width of a view in magnified pixels
    learning_rate: float
    n_views: int = 32
    max_epochs: int = 8
    patience: int = 4
    batch_size: int = 128
    weight_exponent: float = 1.0
    precision: str = "float32"


@dataclass(frozen=True)
class Tuned:
    """An encoder that is fine-tuned, with the options of `fine_tune`."""

    weights: str  # of the encoder that it starts from
    blocks: int | str
    learning_rate: float = 1e-4
    n_views: int = 8
    max_epochs: int = 5
    patience: int = 2
    weight_exponent: float = 0.5
    precision: str = "bfloat16"


# Symmetric views over which the predictions of fine-tuned encoders are averaged.
_N_TEST_VIEWS = 4

#: Name to settings; cheapest first.  Maps are drawn as calibrations weigh them, but for "small CNN",
#: which sees each protostar equally often.
SUPERVISED = {
    "small CNN, n^-1/2": Scratch(
        "cnn", 1.0, 24, 2e-3, max_epochs=20, patience=20, weight_exponent=0.5
    ),
    "small CNN": Scratch("cnn", 1.0, 24, 2e-3),
    "ViT fine-tuned, last block": Tuned("bundled", 1),
    "ResNet-18": Scratch(
        "resnet18", 2.0, 64, 1e-3, n_views=16, weight_exponent=0.5, precision="bfloat16"
    ),
    "ViT fine-tuned, all blocks": Tuned("bundled", "all", max_epochs=8),
    "ViT from scratch": Tuned("random", "all", learning_rate=5e-4, max_epochs=20, patience=5),
}


def supervised_predictions(name, maps, splits, *, random_state=0, progress_bar=False):
    """Train a network on each split and predict its test maps."""
    settings = SUPERVISED[one_of("name", name, SUPERVISED)]
    run = _scratch if isinstance(settings, Scratch) else _tuned
    yield from run(settings, maps, splits, random_state, progress_bar)


def _tuned(settings, maps, splits, random_state, progress_bar):
    encoder = FractalEncoder(weights=settings.weights, random_state=random_state)
    options = {name: value for name, value in vars(settings).items() if name != "weights"}
    options |= {"validation": _HELD, "random_state": random_state, "progress_bar": progress_bar}
    for train, test in splits:
        tuned, test = fine_tune(encoder, maps[np.sort(train)], **options), np.sort(test)
        mass = tuned.predict(maps[test], n_views=_N_TEST_VIEWS)
        yield test, np.log10(mass.to_value(u.solMass)), tuned.best_epoch


def _scratch(settings, maps, splits, random_state, progress_bar):
    look = {"zoom": settings.zoom, "size": settings.size}
    images = torch.from_numpy(ChannelNormalization()(maps.images))
    views = FreshViews(
        images,
        maps.log_masses,
        maps.protostars,
        n_views=settings.n_views,
        weight_exponent=settings.weight_exponent,
        batch_size=settings.batch_size,
        random_state=random_state,
        **look,
    )
    for train, test in splits:
        generator = keyed_generator(random_state, "views of a network")
        held = hold_out(maps.clouds[train], maps.protostars[train], _HELD, generator)
        validation = views.part(train[held]).draw(generator)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(random_state)
            network = make_network(settings.make, maps.log_masses[train[~held]].mean())
        _, best_epoch = train_network(
            network,
            views.part(train[~held]),
            [{"params": list(network.parameters()), "lr": settings.learning_rate}],
            validation=validation,
            max_epochs=settings.max_epochs,
            patience=settings.patience,
            precision=settings.precision,
            random_state=random_state,
            progress_bar=progress_bar,
        )
        yield test, predict_views(network, images[test], **look), best_epoch


def make_network(kind, mean):
    """Make a network whose first guess is the mean mass."""
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
    """Train the networks with each cloud held out, and store what they predict."""
    path, every = Path(path), np.unique(maps.clouds).tolist()
    methods = list(SUPERVISED) if methods is None else methods
    clouds = every if clouds is None else [one_of("clouds", cloud, every) for cloud in clouds]
    rows, tables = row_numbers(maps), [Table.read(path)] if path.exists() else []
    for method in methods:
        one_of("methods", method, SUPERVISED)
    for method, seed in product(methods, seeds):
        known = (t[(t["method"] == method) & (t["seed"] == seed)] for t in tables)
        done = {cloud for table in known for cloud in table["cloud"].tolist()}
        left = [cloud for cloud in every if cloud in clouds and cloud not in done]
        splits = [
            (np.flatnonzero(maps.clouds != c), np.flatnonzero(maps.clouds == c)) for c in left
        ]
        options = {"random_state": seed, "progress_bar": progress_bar}
        began = time.process_time()
        for test, log_mass, best_epoch in supervised_predictions(method, maps, splits, **options):
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
    table = QTable(np.concatenate([t.as_array() for t in tables]))
    # Scores per map and per protostar depend on it: compare methods at equal exponents.
    names = np.unique(table["method"]).tolist()
    exponents = {name: SUPERVISED[name].weight_exponent for name in names}
    Journal(path.parent, {"weight_exponent": exponents}).keep(path.stem, table)
    return table


def run_networks(journal, maps, *, networks=(), seeds=(0,), parts=None, progress_bar=False):
    """Train networks where predictions lack, and score all of them, paired with the default."""
    folder = journal.folder
    if networks:
        options = {"methods": networks, "seeds": seeds, "clouds": parts}
        train_supervised(maps, folder / "supervised.ecsv", **options, progress_bar=progress_bar)
    paths = [folder / f"{name}.ecsv" for name in ("supervised", "supervised_clouds")]
    tables = [Table.read(path) for path in paths if path.exists()]
    if not tables or not (folder / "predictions.ecsv").exists():
        msg = f"{str(folder)!r} must have the predictions.ecsv of the benchmark; add networks to train"
        raise FileNotFoundError(msg)
    exponents = {n: x for t in tables for n, x in t.meta["weight_exponent"].items()}
    known = Table.read(folder / "predictions.ecsv")
    known = known[known["method"] == "default"]
    if len(known) != len(maps):
        msg = (
            f"MAPS must be the {len(known)} maps of {folder / 'predictions.ecsv'}, got {len(maps)}"
        )
        raise ValueError(msg)
    default = placed(maps, known)
    table = vstack(tables, metadata_conflicts="silent")
    for method in dict.fromkeys(table["method"].tolist()):
        own = table[table["method"] == method]
        seeds = [placed(maps, own[own["seed"] == seed]) for seed in np.unique(own["seed"])]
        known = [np.isfinite(predicted) for predicted in seeds]
        minutes = own["minutes"][(own["row"] == 0) & np.isfinite(own["minutes"])]
        for which in np.unique(known, axis=0):  # seeds with the same clouds
            same = [np.where(which, p, np.nan) for p, k in zip(seeds, known) if k[which].all()]
            row = {"method": method, "n_seeds": len(same), "weight_exponent": exponents[method]}
            row["minutes"] = float(np.mean(minutes)) if len(minutes) else np.nan
            journal.add("supervised_scores", [row | _compared(maps, same, default)])


def _compared(maps, seeds, default):
    """Return the mean scores of the seeds of a network, and its differences from the default."""
    mean = np.mean(seeds, axis=0)
    tested = np.isfinite(mean)
    protostars, clouds = maps.protostars[tested], maps.clouds[tested]
    bootstrap = Bootstrap(protostars, clouds, represents=maps.represents[tested])

    def scored(log_mass):
        return bootstrap.scores(maps.log_masses[tested], log_mass[tested])

    each, together, reference = [scored(one) for one in seeds], scored(mean), scored(default)
    both = scored((default + mean) / 2)  # what the default gains by the network
    row = {"n_clouds": len(np.unique(clouds)), "n_protostars": len(np.unique(protostars))}
    row["n_maps"] = int(tested.sum())
    for name in ("r2_protostar", "r2"):
        values = [float(one[name][0]) for one in each]
        row |= with_error(name, together[name]) | {name: float(np.mean(values))}
        row[f"{name}_scatter"] = float(np.std(values, ddof=1)) if len(values) > 1 else np.nan
        row |= with_error(f"beside_default_{name}", both[name] - reference[name])
        # The mean of the differences of the seeds, which share clouds and protostars.
        less = np.mean([one[name] - reference[name] for one in each], axis=0)
        row |= with_error(f"less_default_{name}", less)
    return row
