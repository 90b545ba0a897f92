"""Train a small network to tell masses hidden in flames, and ask it for those of simulated protostars.

    python docs/scripts/measure_protostars.py MAPS --output runs/hidden

It has never seen a simulation: flames get a star each (`astrofractal.fractals.add_protostars`), and a
CNN of 66,000 parameters, that of the benchmark, learns log10 of its mass from the central 24 px, under
the sky's symmetries and shifts below a pixel.  What it says of the labeled maps, averaged over the
sixteen symmetries, is scored by itself and beside contrasts and profiles, with one cloud held out at a
time and with few labeled protostars.  Interrupted, it goes on with the flames that it has.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from measure_weights import FEW, bootstrap, drawn, few_labels, left_out, physics

from astrofractal._utils.atomic import atomic_path
from astrofractal.benchmark.supervised import make_network
from astrofractal.encoder import ChannelNormalization
from astrofractal.fractals import FlameStream, add_protostars
from astrofractal.mapset import MapSet
from astrofractal.mass.fine_tuning import (
    SYMMETRIES,
    FreshViews,
    make_views,
    random_poses,
    regress,
    train_network,
)
from astrofractal.mass.weights import protostar_weights, r2_score

LOOK = {"zoom": 1.0, "size": 24}
WIDTH = 32
CHUNK = 1000


def flames(folder, n, seed):
    """Return the central pixels of flames with a star each, and log10 of its mass."""
    stream = FlameStream(seed, 96, 60_000, center="peak", n_images=n)
    parts = []
    for first in range(0, n, CHUNK):
        path = folder / f"flames-{seed}-{first}.npz"
        if not path.exists():
            images = np.empty((min(CHUNK, n - first), 3, WIDTH, WIDTH), np.float32)
            log_mass = np.empty(len(images))
            for k in range(len(images)):
                gas, log_mass[k] = add_protostars(np.asarray(stream[first + k]), seed, first + k)
                low = (gas.shape[-1] - WIDTH) // 2
                images[k] = gas[:, low : low + WIDTH, low : low + WIDTH]
            with atomic_path(path) as temporary, open(temporary, "wb") as file:
                np.savez(file, images=images, log_mass=log_mass)
            print(path, flush=True)
        with np.load(path) as found:
            parts.append((found["images"], found["log_mass"]))
    return tuple(np.concatenate(part) for part in zip(*parts))


def trained(folder, n, epochs, seed):
    """Return the network."""
    network = make_network("cnn", 0.0)
    path = folder / f"network-{n}-{epochs}-{seed}.pt"
    if path.exists():
        network.load_state_dict(torch.load(path, weights_only=True))
        return network.eval()
    images, log_mass = flames(folder, n, seed)
    images = torch.from_numpy(ChannelNormalization()(images))
    n_held = min(1000, n // 5)
    views = FreshViews(
        images[n_held:],
        log_mass[n_held:],
        np.arange(n - n_held),
        n - n_held,
        batch_size=128,
        random_state=seed,
        **LOOK,
    )
    poses = random_poses(n_held, 0.5, np.random.default_rng(seed))
    held = make_views(images[:n_held], poses, **LOOK), log_mass[:n_held]
    began = time.process_time()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make_network("cnn", log_mass.mean())
    history, best = train_network(
        network,
        views,
        validation=held,
        learning_rate=2e-3,
        max_epochs=epochs,
        patience=epochs,
        random_state=seed,
        on_best=lambda found: torch.save(found.state_dict(), path.with_suffix(".best")),
    )
    torch.save(network.state_dict(), path)
    minutes = (time.process_time() - began) / 60
    print(f"epoch {best} of {epochs}, {minutes:.1f} minutes of a core;", history[best], flush=True)
    return network


def asked(network, maps):
    """Return what the network says of maps, averaged over the symmetries."""
    images, total = ChannelNormalization()(maps.images), np.zeros(len(maps))
    for start in range(0, len(maps), 512):
        some = torch.from_numpy(images[start : start + 512])
        for pose in SYMMETRIES:
            views = make_views(some, np.tile(pose, (len(some), 1)), **LOOK)
            total[start : start + 512] += regress(network, views) / len(SYMMETRIES)
    return total[:, None]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("maps", help="a folder of map sets")
    parser.add_argument("--output", type=Path, default=Path("runs/hidden"))
    parser.add_argument("--n-images", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--per-protostar", type=int, default=3, metavar="N")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    network = trained(args.output, args.n_images, args.epochs, args.seed)
    maps, counts = drawn(MapSet.read(args.maps), args.per_protostar)
    told = asked(network, maps)
    np.savez(args.output / "told.npz", told=told, clouds=maps.clouds, protostars=maps.protostars)
    each = protostar_weights(maps.protostars, 1, counts)
    for name, w in (("map", counts), ("protostar", each)):
        covariance = np.cov(told[:, 0], maps.log_masses, aweights=w)
        correlation = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
        print(f"correlation per {name}: {correlation:.2f}")
    weights = protostar_weights(maps.protostars, 0.5, counts)
    exact = physics(maps, ChannelNormalization())
    everyone = np.ones(len(maps), bool)
    reference = None
    for name, x in (
        ("physics", exact),
        ("hidden mass, a line", told),
        ("hidden mass + physics", np.hstack([told, exact])),
    ):
        found = left_out(x, maps, weights)
        scores = [r2_score(maps.log_masses, found, w) for w in (counts, each)]
        line = f"{name}: {scores[0]:.3f} per map, {scores[1]:.3f} per protostar"
        if reference is None:
            reference = scores, found
        else:
            errors = bootstrap(maps, counts, found, reference[1])
            less = [f"{a - b:+.3f} +- {e:.3f}" for a, b, e in zip(scores, reference[0], errors)]
            line += f"; less physics {less[0]}, {less[1]}"
        few = [f"{n}: {few_labels(x, maps, counts, n, everyone):.2f}" for n in FEW]
        print(line, "; labels", *few, flush=True)


if __name__ == "__main__":
    main()
