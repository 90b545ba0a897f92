r"""
Train the opponents of the benchmark that learn end to end, each cloud held out once.

    python docs/scripts/train_supervised.py MAPS docs/research/benchmark/supervised.ecsv \
        [--methods "small CNN"] [--seeds 0 1 2] [--clouds cloud01]

MAPS is a folder of map sets (`astrofractal.mapset.MapSet`).  A run that was interrupted goes on.
"""

import argparse
import logging

import torch

from astrofractal.benchmark.supervised import SUPERVISED, train_supervised
from astrofractal.mapset import MapSet

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("maps")
    parser.add_argument("output")
    parser.add_argument("--methods", nargs="+", choices=list(SUPERVISED))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--clouds", nargs="+")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train_supervised(
        MapSet.read(options.maps),
        options.output,
        methods=options.methods,
        seeds=options.seeds,
        clouds=options.clouds,
    )
