"""Speed and memory of the segmenter, as ratios.

    python benchmarks/bench_segmentation.py              # a 256 x 256 px map
    python benchmarks/bench_segmentation.py --size 1024  # minutes
    python benchmarks/bench_segmentation.py --size 1024 --no-encoder   # all but the network

The time of `FeatureSegmenter.segment` is divided by that of as many forward passes of constant images
afterwards ("raw passes") and by that of its own ones ("own passes"), all in CPU seconds of one process;
the memory is the peak of the process.
"""

import argparse
import resource
import sys
import time

import numpy as np
from astropy import units as u

from astrofractal import FeatureSegmenter, FractalEncoder, GasMap


class NoEncoder:
    """Stands in for the network: repeats the mean of each patch."""

    def __init__(self, encoder):
        for name in ("image_size", "patch_size", "embed_dim", "in_chans", "batch_size"):
            setattr(self, name, getattr(encoder, name))
        self.normalization, self.weights_id = encoder.normalization, "none"

    def fingerprint(self):
        return "none"

    def patch_features(self, images):
        n, size, patch = len(images), self.image_size, self.patch_size
        images = self.normalization(images).reshape(
            n, 3, size // patch, patch, size // patch, patch
        )
        means = np.moveaxis(images.mean((3, 5)), 1, -1)
        return np.tile(means, self.embed_dim // 3).astype(np.float32)


class Stopwatch:
    """Adds up the time that a function takes."""

    def __init__(self, function):
        self.function, self.total = function, 0.0

    def __call__(self, *args, **options):
        start = time.process_time()
        try:
            return self.function(*args, **options)
        finally:
            self.total += time.process_time() - start


def example(size):
    """Return a map of turbulent gas: a power-law random field."""
    rng = np.random.default_rng(0)
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing="ij"))
    k[0, 0] = np.inf
    fields = []
    for _ in range(3):
        noise = rng.standard_normal(k.shape) + 1j * rng.standard_normal(k.shape)
        field = np.fft.irfft2(noise * k**-1.7, s=(size, size)).astype(np.float32)
        fields.append(field / field.std())
    column = 10 ** (22 + 0.4 * fields[0]) / u.cm**2
    kms = u.km / u.s
    return GasMap(column, 0.5 * fields[1] * kms, 0.3 * np.exp(0.3 * fields[2]) * kms)


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--weights", default="random")
    parser.add_argument("--no-encoder", action="store_true")
    args = parser.parse_args()
    gas = example(args.size)
    encoder = FractalEncoder(weights=args.weights)
    if args.no_encoder:
        encoder = NoEncoder(encoder)
    segmenter = FeatureSegmenter(encoder=encoder, min_area=64)
    segmenter.segment(gas[:128, :128])  # imports
    inside = Stopwatch(encoder.patch_features)
    encoder.patch_features = inside
    start = time.process_time()
    result = segmenter.segment(gas)
    whole = time.process_time() - start
    encoder.patch_features = inside.function
    n_windows = result.meta["n_windows"]
    size = encoder.image_size
    images = np.zeros((encoder.batch_size, 3, size, size), np.float32) + 22
    start = time.process_time()
    done = 0
    while done < min(n_windows, 20 * encoder.batch_size):
        encoder.patch_features(images)
        done += len(images)
    raw = (time.process_time() - start) * n_windows / done
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak /= 2**30 if sys.platform == "darwin" else 2**20
    print(f"map                   {args.size} x {args.size} px, {n_windows} windows")
    print(f"raw forward passes    {raw:.2f} s of CPU")
    print(f"segment / raw passes  {whole / raw:.3f}   ({whole:.2f} s of CPU)")
    print(f"segment / own passes  {whole / inside.total:.3f}")
    print(f"peak memory           {peak:.2f} GiB")


if __name__ == "__main__":
    main()
