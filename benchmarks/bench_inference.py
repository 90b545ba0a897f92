"""
Is there a faster way through the network on this processor, and does it give the same masses?

    python benchmarks/bench_inference.py [--n-maps 16] [--turn 4]

The same maps are given to the estimator with the passes in 32 bit, in bfloat16 and by ONNX
Runtime with one thread, in turn; the time of the passes alone is compared, in CPU seconds, by the
median of the turns.
"""

import argparse
import copy
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from astropy import units as u

from astrofractal import StellarMassEstimator
from astrofractal.encoder.export import export_onnx
from astrofractal.mapset import reference_maps


def plain(encoder):
    """Return the passes as they are."""
    return encoder.model.forward_features


def in_bfloat16(encoder):
    """Return the passes of ``FractalEncoder(precision="bfloat16")``."""
    model = copy.deepcopy(encoder.model).bfloat16()
    return lambda images: model.forward_features(images.bfloat16())


def by_onnx_runtime(encoder):
    """Return passes by ONNX Runtime; the exported model takes channels that are not normalized."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "encoder.onnx"
        export_onnx(encoder, path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    center, scale = (
        np.reshape(values, (1, -1, 1, 1)).astype(np.float32)
        for values in (encoder.normalization.center, encoder.normalization.scale)
    )

    def run(images):
        tokens = session.run(None, {"images": images.numpy() * scale + center})[0]
        return torch.from_numpy(tokens)

    return run


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--n-maps", type=int, default=16)
    parser.add_argument("--turn", type=int, default=4, help="maps in one turn")
    args = parser.parse_args()
    torch.set_num_threads(1)
    reference = reference_maps()
    rows = np.linspace(0, len(reference) - 1, args.n_maps).astype(int)
    maps = [reference.gasmap(i) for i in rows]
    estimator = StellarMassEstimator()
    model = estimator.encoder_.model
    ways = {"float32": plain, "bfloat16": in_bfloat16, "ONNX Runtime": by_onnx_runtime}
    ways = {name: make(estimator.encoder_) for name, make in ways.items()}
    seconds, masses = ({name: [] for name in ways} for _ in range(2))
    spent = 0.0

    def watched(way):
        def run(images):
            nonlocal spent
            began = time.process_time()
            tokens = way(images)
            spent += time.process_time() - began
            return tokens

        return run

    for start in [-1, *range(0, args.n_maps, args.turn)]:  # the first one warms up
        turn = maps[:1] if start < 0 else maps[start : start + args.turn]
        for name, way in ways.items():
            model.forward_features, spent = watched(way), 0.0
            found = estimator.predict(turn)
            if start >= 0:
                seconds[name].append(spent)
                masses[name].append(np.log10(found.to_value(u.solMass)))
    base, expected = np.array(seconds["float32"]), np.concatenate(masses["float32"])
    print(f"{args.n_maps} maps, one thread, {torch.__version__}")
    for name in ways:
        gain = np.median(base / np.array(seconds[name]))
        away = np.abs(np.concatenate(masses[name]) - expected).max()
        print(
            f"{name:13s} {base.sum():.1f} s / {np.sum(seconds[name]):.1f} s of CPU: "
            f"{gain:.2f} times as fast, masses within {away:.4f} dex"
        )


if __name__ == "__main__":
    main()
