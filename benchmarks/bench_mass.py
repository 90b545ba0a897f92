"""Overhead of the masses: `predict` beside the forward pass of the same network on the same maps.

    python benchmarks/bench_mass.py [--n-maps 4096] [--weights random] [--repeats 3]

Prints the ratio of the times, of the clock on the wall and of the processor (which other work on the
same machine disturbs less); each is the fastest of several runs that alternate.
"""

import argparse
import time

import numpy as np
import torch

from astrofractal import FractalEncoder, StellarMassEstimator
from astrofractal.simulations import reference_maps


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-maps", type=int, default=4096)
    parser.add_argument("--weights", help="calibrate these on 200 maps; default: the bundled ones")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    reference = reference_maps()
    if args.weights:
        encoder = FractalEncoder(weights=args.weights)
        channels = [("column_density", "velocity", "dispersion")]
        estimator = StellarMassEstimator(encoder).fit(reference.thin(200), channels=channels)
    else:
        estimator = StellarMassEstimator()
    rows = np.arange(args.n_maps) % len(reference)
    gases = [reference.gasmap(i) for i in rows]
    model, images = estimator.encoder.model, estimator.encoder.normalize(reference.images[rows])
    images = torch.from_numpy(images)

    def forward():
        with torch.inference_mode():
            for start in range(0, len(images), 64):
                model.forward_features(images[start : start + 64])

    def predict():
        estimator.predict(gases)

    forward()
    estimator.predict(gases[:64])
    clocks = {"wall": time.perf_counter, "processor": time.process_time}
    times = {name: {clock: [] for clock in clocks} for name in ("forward", "predict")}
    for _ in range(args.repeats):
        for name, function in (("forward", forward), ("predict", predict)):
            starts = {clock: now() for clock, now in clocks.items()}
            function()
            for clock, now in clocks.items():
                times[name][clock].append(now() - starts[clock])
    for clock in clocks:
        best = {name: min(values[clock]) for name, values in times.items()}
        print(
            f"{clock} time: forward {best['forward']:.2f} s, predict {best['predict']:.2f} s",
            end=", ",
        )
        print(f"ratio {best['predict'] / best['forward']:.3f} (target: at most 1.10)")


if __name__ == "__main__":
    main()
