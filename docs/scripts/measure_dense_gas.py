"""Measure calibrations for lines that trace only a part of the gas, with clouds held out.

    python docs/scripts/measure_dense_gas.py ../shared/data

compares all gas along the line of sight with (a) the column of gas with n(H2) > 1e5 cm-3 in five clouds
(``fields/``; the velocities remain those of all gas, because no others were kept) and (b) gas within
0.25 pc of each protostar in twelve clouds (``mhd_slab/``), one map per protostar.  It prints a table:
R2 and bias (dex) per protostar and the share of masses inside the 68 % interval, for a calibration on
the same kind of map and for one on all gas.  Features are hand-made; it takes a few minutes of one core.
"""

import argparse
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable
from sklearn.metrics import r2_score

from astrofractal import GasMap, StellarMassEstimator
from astrofractal.mapset import MapSet
from astrofractal.mass import FeatureSet

FEATURES = FeatureSet(pooling=None, contrasts=True, profiles=True)
SETS = [("column_density",), ("column_density", "velocity", "dispersion")]


def field_maps(folder):
    """Return maps of all gas and of dense gas around the protostars of whole clouds."""
    every, dense = [], []
    for path in sorted(folder.glob("*.fits")):
        gas = GasMap.read(path)
        column = fits.getdata(path, "DENSE_COLUMN")
        part = gas.replace(column_density=np.where(column > 0, column, np.nan) / u.cm**2)
        sinks = QTable.read(path, hdu="SINKS")
        positions = SkyCoord(sinks["ra"], sinks["dec"])
        cloud = path.name.split("_")[0]
        labels = {
            "masses": sinks["mass"], "clouds": [cloud] * len(sinks),
            "protostars": [f"{cloud}/{sink}" for sink in sinks["sink"]],
        }  # fmt: skip
        both = [[one.to_array() for one in g.cutouts(positions)] for g in (gas, part)]
        for sets, images in zip((every, dense), both, strict=True):
            sets.append(MapSet(np.array(images), **labels))
    return MapSet.concatenate(every), MapSet.concatenate(dense)


def scores(train, test, channels):
    """Return R2, bias and coverage per protostar of clouds that the calibration has not seen."""
    fitted = StellarMassEstimator(features=FEATURES).fit(train, channels=[channels])
    mass, lower, upper = np.empty((3, len(test)))
    for cloud in np.unique(test.clouds):
        rows = test.clouds == cloud
        result = fitted.leave_out(cloud, channels=[channels]).evaluate(test[rows])
        mass[rows], (lower[rows], upper[rows]) = result.log_mass, result.interval(0.68)
    true = test.log_masses
    _, index, counts = np.unique(test.protostars, return_inverse=True, return_counts=True)
    weights = 1 / counts[index]
    r2 = r2_score(true, mass, sample_weight=weights)
    inside = np.average((lower <= true) & (true <= upper), weights=weights)
    return r2, np.average(mass - true, weights=weights), inside


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="the folder with fields/, mhd/ and mhd_slab/")
    args = parser.parse_args()
    pairs = {"n > 1e5 cm-3": field_maps(args.data / "fields")}
    pairs["within 0.25 pc"] = tuple(
        MapSet.read(args.data / name).limit(1) for name in ("mhd", "mhd_slab")
    )
    print("gas,channels,calibrated_on,maps,protostars,r2,bias,coverage_68")
    for name, (every, part) in pairs.items():
        for channels in SETS:
            for on, train, test, what in (
                ("all gas", every, every, "all"),
                ("the same gas", part, part, name),
                ("all gas", every, part, name),
            ):
                numbers = [f"{number:.2f}" for number in scores(train, test, channels)]
                code = "".join(c[0].replace("c", "N").replace("d", "s") for c in channels)
                n = len(np.unique(test.protostars))
                print(what, code, on, len(test), n, *numbers, sep=",", flush=True)


if __name__ == "__main__":
    main()
