"""How much faster two workers are than one, on a folder of small maps.

Run it from the top of the source tree::

    python benchmarks/bench_surveys.py

It writes 64 cutout files, weighs them through a Dask cluster of one and of two workers with one
thread each, in turn, and prints the ratio of the throughputs.  The workers are warmed up first, so
that imports are not measured.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.wcs import WCS


def write_cutouts(folder, n_files):
    """Write maps of 64 x 64 pixels, 0.5 pc wide, around a core."""
    from astrofractal import GasMap

    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [52.0, 31.0]
    wcs.wcs.crpix = [32.5, 32.5]
    step = np.degrees(0.5 / 64 / 300)
    wcs.wcs.cdelt = [-step, step]
    y, x = np.mgrid[:64, :64] - 31.5
    for number in range(n_files):
        random = np.random.default_rng(number)
        column = 1e21 * 10 ** random.normal(0, 0.1, (64, 64))
        column += 5e22 * np.exp(-(x**2 + y**2) / random.uniform(10, 50))
        GasMap(
            column / u.cm**2,
            random.normal(0, 0.3, (64, 64)) * u.km / u.s,
            random.uniform(0.2, 0.5, (64, 64)) * u.km / u.s,
            wcs=wcs,
            distance=300 * u.pc,
        ).write(folder / f"core{number:03d}.fits")


def make_estimator():
    """Return the bundled estimator, or a small one in a source tree without the bundled files."""
    from astrofractal import FractalEncoder, StellarMassEstimator

    try:
        return StellarMassEstimator()
    except FileNotFoundError:
        from astrofractal.simulations import reference_maps

        encoder = FractalEncoder(weights="random")
        maps = reference_maps().thin(100)
        return StellarMassEstimator(encoder, symmetrize=True).fit(maps)


def throughput(estimator, folder, n_workers, repeats):
    """Return files per second, each time, of a cluster of ``n_workers``."""
    from distributed import Client, LocalCluster

    # inherited by the workers, which import numpy and torch only then
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = "1"
    from astrofractal.surveys import survey_catalog

    with (
        LocalCluster(
            n_workers=n_workers, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        files = sorted(folder.iterdir())
        survey_catalog(estimator, files[: 4 * n_workers], "center", client=client)
        rates = []
        for _ in range(repeats):
            start = time.perf_counter()
            table = survey_catalog(estimator, files, "center", client=client)
            rates.append(len(table) / (time.perf_counter() - start))
    return rates


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    estimator = make_estimator()
    with tempfile.TemporaryDirectory() as folder:
        write_cutouts(Path(folder), arguments.files)
        rates = {n: throughput(estimator, Path(folder), n, arguments.repeats) for n in (1, 2)}
    medians = {n: statistics.median(values) for n, values in rates.items()}
    print(
        json.dumps(
            {
                "n_files": arguments.files,
                "cores": os.cpu_count(),
                "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
                "files_per_second": {str(n): round(value, 2) for n, value in medians.items()},
                "ratio": round(medians[2] / medians[1], 2),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
