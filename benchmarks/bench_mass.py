"""Overhead of the masses: `predict` against the same passes of the same network on the same maps.

    python benchmarks/bench_mass.py [--n-maps 4096] [--weights random] [--turn 512]

Prints the ratio of the times, of the clock on the wall and of the processor (which other work on the
same machine disturbs less).  The two take turns every few hundred maps, so that a machine whose speed
drifts slows both down; the ratio is the median over the turns.
"""

import argparse
import time

import numpy as np
import torch
from astropy import units as u

from astrofractal import FractalEncoder, GasMap, StellarMassEstimator
from astrofractal.mapset import reference_maps


def count_views(model, predict):
    """Return how many passes of the network each map takes, one for each symmetry of the sky."""
    bare, seen = model.forward_features, []

    def counted(images):
        seen.append(len(images))
        return bare(images)

    model.forward_features = counted
    predict()
    model.forward_features = bare
    return sum(seen)


def time_cutouts():
    """Print how many cutouts per second come out of a map."""
    rng = np.random.default_rng(0)
    shape = (1024, 1024)
    planes = [10 ** rng.normal(22, 0.3, shape), rng.normal(0, 1, shape), rng.uniform(0.1, 1, shape)]
    units = (u.cm**-2, u.km / u.s, u.km / u.s)
    pixel = 0.5 * u.pc / 64
    gas = GasMap(*(p * unit for p, unit in zip(planes, units, strict=True)), pixel_scale=pixel)
    positions = rng.uniform(40, 980, (1000, 2))
    gas.cutouts(positions[:10])
    began = time.process_time()
    gas.cutouts(positions)
    rate = len(positions) / (time.process_time() - began)
    print(f"cutouts: {rate:.0f} per second and core (target: at least 1000)")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-maps", type=int, default=4096)
    parser.add_argument("--weights", help="calibrate these on 200 maps; default: the bundled ones")
    parser.add_argument("--turn", type=int, default=512, help="maps in one turn")
    args = parser.parse_args()
    time_cutouts()
    reference = reference_maps()
    if args.weights:
        encoder = FractalEncoder(weights=args.weights)
        channels = [("column_density", "velocity", "dispersion")]
        estimator = StellarMassEstimator(encoder).fit(reference[::13], channels=channels)
    else:
        estimator = StellarMassEstimator()
    rows = np.arange(args.n_maps) % len(reference)
    gases = [reference.gasmap(i) for i in rows]
    model, images = (
        estimator.encoder_.model,
        estimator.encoder_.normalization(reference.images[rows]),
    )
    images = torch.from_numpy(images)

    def forward(start, end):
        with torch.inference_mode():
            for i in range(start, end, 64):
                for _ in range(n_views):
                    model.forward_features(images[i : min(i + 64, end)])

    def predict(start, end):
        estimator.predict(gases[start:end])

    n_views = count_views(model, lambda: predict(0, 1))
    forward(0, 16)
    clocks = {"wall": time.perf_counter, "processor": time.process_time}
    times = {(name, clock): [] for name in ("forward", "predict") for clock in clocks}
    for start in range(0, args.n_maps, args.turn):
        end = min(start + args.turn, args.n_maps)
        for name, function in (("forward", forward), ("predict", predict)):
            before = {clock: now() for clock, now in clocks.items()}
            function(start, end)
            for clock, now in clocks.items():
                times[name, clock].append(now() - before[clock])
    for clock in clocks:
        one, other = (np.array(times[name, clock]) for name in ("forward", "predict"))
        print(
            f"{clock} time: forward {one.sum():.2f} s, predict {other.sum():.2f} s, "
            f"ratio {np.median(other / one):.3f} (target: at most 1.05)"
        )


if __name__ == "__main__":
    main()
