"""Measure what masses are worth behind telescopes: beams, signal-to-noise, channels and positions.

    python docs/scripts/measure_telescopes.py astrofractal/data/telescopes.csv --fields FIELDS

calibrates for each telescope (`StellarMassEstimator.matched`) and writes one row for each: R2 per
protostar and per map on clouds held out, the factor of the root-mean-square error per protostar, and
the part of the protostars within the 68 % intervals.  FIELDS are whole clouds with a table of their
sinks: the telescope observes them, and a calibration without the cloud counts how many of its
protostars are out of distribution.  A row with the network takes about five minutes; --features gas
leaves it out.  A row is replaced when it is measured: the others stay as they are.
"""

import argparse
import csv
import warnings
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table

from astrofractal import GasMap, StellarMassEstimator
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
LARGEST_SCALES = (0.1, 0.05)  # pc, of an interferometer with a beam of 1 px
DISTANCES = (140, 300, 450) * u.pc
KEYS = ("channels", "beam_px", "signal_to_noise", "position_error_px", "largest_scale_pc")
MARGIN = 32  # pixels: protostars nearer to the border of a field have no whole cutout


def rows():
    """Yield channels, beam, signal-to-noise, error of the position (pixels) and largest scale (pc)."""
    for beam in BEAMS:
        for ratio in RATIOS:
            yield ALL, beam, ratio, 0, 0
    for channels in OTHER:
        yield channels, 0, 30, 0, 0
    for shift in SHIFTS:
        yield ALL, 0, 30, shift, 0
    for scale in LARGEST_SCALES:
        yield ALL, 1, 30, 0, scale


def labels(channels, beam, ratio, shift, scale):
    """Return the entries of a row that say which one it is, as they are written."""
    letters = {N: "N", V: "v", SIGMA: "s"}
    values = ("".join(letters[name] for name in channels), beam, ratio, shift, scale)
    return dict(zip(KEYS, map(str, values), strict=True))


def telescope(channels, beam, ratio, scale):
    """Return the telescope of one row."""
    velocity = 0.4 / ratio * u.km / u.s
    return Telescope(
        beam * PIXEL if beam else None,
        PIXEL,
        noise=1 / ratio,
        velocity_noise=velocity,
        dispersion_noise=velocity,
        correlated=bool(beam),
        largest_scale=scale * u.pc if scale else None,
        channels=channels,
    )


def protostars(path, gas, shift):
    """Return the positions of the sinks of a field, off by some pixels to the east."""
    sinks = Table.read(path, hdu="SINKS")
    places = SkyCoord(sinks["ra"], sinks["dec"], unit="deg")
    x, y = gas.to_pixel(places)
    ny, nx = gas.shape
    inside = (np.minimum(x, y) > MARGIN) & (x < nx - MARGIN) & (y < ny - MARGIN)
    return gas.to_sky(np.asarray(x)[inside] + shift, np.asarray(y)[inside])


def out_of_distribution(matched, seen_by, fields, shift):
    """Return the part of the protostars of whole clouds, each left out, that are out of distribution."""
    flags = []
    for path in sorted(fields.glob("*_z.fits")):
        gas = GasMap.read(path)
        places = protostars(path, gas, shift)
        without = matched.leave_out(
            path.name.partition("_")[0]
        )  # a filter may leave fewer channels
        flags += without.catalog(seen_by.observe(gas), places)["flags"].tolist()
    return np.mean(["unlike-references" in one.split(",") for one in flags])


def measure(estimator, maps, fields, channels, beam, ratio, shift, scale):
    """Return one row of the table."""
    if shift:
        maps = off_center(maps, shift)
    seen_by = telescope(channels, beam, ratio, scale)
    matched = estimator.matched(seen_by, maps=maps)
    skill = matched.calibrations_[channels].skill_
    length = (beam * PIXEL).to_value(u.pc)
    angles = [(beam * PIXEL / d).to_value(u.one) * u.rad for d in DISTANCES]
    ood = np.nan if fields is None else out_of_distribution(matched, seen_by, fields, shift)
    return {
        **labels(channels, beam, ratio, shift, scale),
        "beam_pc": f"{length:.4f}",
        **{
            f"beam_arcsec_{d.value:g}pc": f"{a.to_value(u.arcsec):.1f}"
            for d, a in zip(DISTANCES, angles)
        },
        "features": "contrasts + profiles" if estimator.features else matched.choice_["features"],
        "r2_protostar": f"{skill['r2_protostar']:.2f}",
        "r2_map": f"{skill['r2']:.2f}",
        "factor": f"{10 ** skill['rmse_protostar']:.1f}",
        "coverage_68": f"{skill['coverage_68_protostar']:.2f}",
        "ood": f"{ood:.2f}",
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("output", type=Path, help="the table, .csv")
    parser.add_argument("--fields", type=Path, help="folder of whole clouds")
    parser.add_argument("--features", choices=("chosen", "gas"), default="chosen")
    parser.add_argument(
        "--only", type=int, nargs="+", metavar="ROW", help="by number, in this order"
    )
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    features = None
    if args.features == "gas":
        features = FeatureSet(pooling=None, contrasts=True, profiles=True)
    estimator, maps = StellarMassEstimator(features=features), reference_maps().limit(2)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    every, found = list(rows()), {}
    if args.output.exists():
        with args.output.open(newline="", encoding="utf-8") as file:
            found = {tuple(row[key] for key in KEYS): row for row in csv.DictReader(file)}
    for number in range(len(every)) if args.only is None else args.only:
        row = measure(estimator, maps, args.fields, *every[number])
        print(number, row, flush=True)
        found[tuple(row[key] for key in KEYS)] = row
        places = [tuple(labels(*one).values()) for one in every]
        with args.output.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(row), lineterminator="\n")
            writer.writeheader()
            writer.writerows(found[place] for place in places if place in found)


if __name__ == "__main__":
    main()
