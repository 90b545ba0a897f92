"""Overhead of the masses: `predict` beside the forward pass of the same network on the same maps.

    python benchmarks/bench_mass.py [--n-maps 4096] [--weights random] [--turn 512]

Prints the ratio of the times, of the clock on the wall and of the processor (which other work on the
same machine disturbs less).  The two take turns every few hundred maps, so that a machine whose speed
drifts slows both down; the ratio is the median over the turns.
"""

import argparse
import time

import numpy as np
import torch

from astrofractal import FractalEncoder, StellarMassEstimator
from astrofractal.mapset import reference_maps


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-maps", type=int, default=4096)
    parser.add_argument("--weights", help="calibrate these on 200 maps; default: the bundled ones")
    parser.add_argument("--turn", type=int, default=512, help="maps in one turn")
    args = parser.parse_args()
    reference = reference_maps()
    if args.weights:
        encoder = FractalEncoder(weights=args.weights)
        channels = [("column_density", "velocity", "dispersion")]
        estimator = StellarMassEstimator(encoder).fit(reference.subsample(200), channels=channels)
    else:
        estimator = StellarMassEstimator()
    rows = np.arange(args.n_maps) % len(reference)
    gases = [reference.gasmap(i) for i in rows]
    model, images = estimator.encoder_.model, estimator.encoder_.normalize(reference.images[rows])
    images = torch.from_numpy(images)

    def forward(start, end):
        with torch.inference_mode():
            for i in range(start, end, 64):
                model.forward_features(images[i : min(i + 64, end)])

    def predict(start, end):
        estimator.predict(gases[start:end])

    forward(0, 64)
    predict(0, 64)
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
            f"ratio {np.median(other / one):.3f} (target: at most 1.10)"
        )


if __name__ == "__main__":
    main()
