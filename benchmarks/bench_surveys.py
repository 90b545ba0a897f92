"""How much faster two workers are than one, on a folder of small maps.

Run it from the top of the source tree::

    python benchmarks/bench_surveys.py

It writes 64 cutout files and estimates the masses in all of them through a Dask cluster of one worker
and through one of two, in turn, five times, and prints the median of the ratios of their throughputs.
Workers are processes of one thread.  Each runs over all files once before, so that imports are not
measured; that the estimator is sent to the workers is, for it is part of every survey.  On two idle
cores it takes less than a minute; a ratio means nothing on a machine that is busy with something else.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
import warnings
from contextlib import ExitStack
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
    from astrofractal.mass import FeatureSet

    try:
        return StellarMassEstimator()
    except FileNotFoundError:
        from astrofractal.mapset import reference_maps

        encoder = FractalEncoder(weights="random")
        maps = reference_maps()[::25]
        return StellarMassEstimator(encoder, features=FeatureSet()).fit(maps)


def start_cluster(stack, n_workers):
    """Return a client of a cluster of ``n_workers`` processes of one thread each."""
    from distributed import Client, LocalCluster

    cluster = LocalCluster(
        n_workers=n_workers, threads_per_worker=1, processes=True, dashboard_address=None
    )
    client = Client(stack.enter_context(cluster))
    return stack.enter_context(client)


def throughput(estimator, files, client):
    """Return files per second of a survey of all files."""
    from astrofractal.surveys import survey_catalog

    start = time.perf_counter()
    table = survey_catalog(estimator, files, "center", client=client)
    return len(table) / (time.perf_counter() - start)


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    # inherited by the workers, which import numpy and torch only then
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = "1"
    estimator = make_estimator()
    rates = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        write_cutouts(Path(folder), arguments.files)
        files = sorted(Path(folder).iterdir())
        clients = {n: start_cluster(stack, n) for n in rates}
        for client in clients.values():  # imports, and the first pass of the network
            throughput(estimator, files, client)
        for _ in range(arguments.repeats):
            for n, client in clients.items():
                rates[n].append(throughput(estimator, files, client))
    ratios = [two / one for one, two in zip(rates[1], rates[2], strict=True)]
    print(
        json.dumps(
            {
                "n_files": arguments.files,
                "cores": os.cpu_count(),
                "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
                "files_per_second": {
                    str(n): round(statistics.median(values), 2) for n, values in rates.items()
                },
                "ratios": [round(value, 2) for value in ratios],
                "ratio": round(statistics.median(ratios), 2),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
