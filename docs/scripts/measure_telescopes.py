"""Measure what masses are worth behind telescopes: beams, signal-to-noise, channels and positions.

    python docs/scripts/measure_telescopes.py astrofractal/data/telescopes.csv

calibrates for each telescope (`StellarMassEstimator.matched`) and writes one row for each: R2 per
protostar and per map on clouds held out, the factor of the root-mean-square error per protostar, and
the part of the protostars within the 68 % intervals.  --features gas leaves out the network, which
takes a minute or two per row.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from astropy import units as u

from astrofractal import StellarMassEstimator
from astrofractal.benchmark import off_center
from astrofractal.mapset import reference_maps
from astrofractal.mass import FeatureSet
from astrofractal.observing import Telescope

PIXEL = 0.5 * u.pc / 64
N, V, SIGMA = "column_density", "velocity", "dispersion"
ALL = (N, V, SIGMA)
BEAMS = (0, 1, 2, 3)  # pixels of 0.0078 pc
RATIOS = (30, 10, 3)  # signal-to-noise of N, and of a dispersion of 0.4 km/s
OTHER = ((N,), (N, V), (N, SIGMA))
SHIFTS = (1, 2)  # errors of positions in pixels
DISTANCES = (140, 300, 450) * u.pc


def rows():
    """Yield beam (pixels), signal-to-noise, channels and error of the position (pixels)."""
    for beam in BEAMS:
        for ratio in RATIOS:
            yield beam, ratio, ALL, 0
    for channels in OTHER:
        yield 0, 30, channels, 0
    for shift in SHIFTS:
        yield 0, 30, ALL, shift


def telescope(beam, ratio, channels):
    """Return the telescope of one row."""
    velocity = 0.4 / ratio * u.km / u.s
    return Telescope(
        beam * PIXEL if beam else None,
        PIXEL,
        noise=1 / ratio,
        velocity_noise=velocity,
        dispersion_noise=velocity,
        correlated=bool(beam),
        channels=channels,
    )


def measure(estimator, maps, beam, ratio, channels, shift):
    """Return one row of the table."""
    if shift:
        maps = off_center(maps, shift)
    matched = estimator.matched(telescope(beam, ratio, channels), maps=maps)
    skill = matched.calibrations_[channels].skill_
    length = (beam * PIXEL).to_value(u.pc)
    angles = [(beam * PIXEL / d).to_value(u.one) * u.rad for d in DISTANCES]
    return {
        "channels": {N: "N", V: "v", SIGMA: "s"}[channels[0]]
        + "".join({V: "v", SIGMA: "s"}[name] for name in channels[1:]),
        "beam_px": beam,
        "beam_pc": f"{length:.4f}",
        **{
            f"beam_arcsec_{d.value:g}pc": f"{a.to_value(u.arcsec):.1f}"
            for d, a in zip(DISTANCES, angles)
        },
        "signal_to_noise": ratio,
        "position_error_px": shift,
        "features": "contrasts + profiles" if estimator.features else matched.choice_["features"],
        "r2_protostar": f"{skill['r2_protostar']:.2f}",
        "r2_map": f"{skill['r2']:.2f}",
        "factor": f"{10 ** skill['rmse_protostar']:.1f}",
        "coverage_68": f"{skill['coverage_68_protostar']:.2f}",
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("output", type=Path, help="the table, .csv")
    parser.add_argument("--features", choices=("chosen", "gas"), default="chosen")
    args = parser.parse_args()
    features = None
    if args.features == "gas":
        features = FeatureSet(pooling=None, contrasts=True, profiles="all")
    estimator, maps = StellarMassEstimator(features=features), reference_maps().limit(2)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    found = []
    for row in rows():
        found.append(measure(estimator, maps, *row))
        print(found[-1], flush=True)
        with args.output.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(found[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(found)
    factors = np.array([float(one["factor"]) for one in found])
    print(f"factors from {factors.min():.1f} to {factors.max():.1f}")


if __name__ == "__main__":
    main()
