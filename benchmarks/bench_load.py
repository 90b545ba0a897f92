"""
Time and memory of large inputs, and how both grow.

    python benchmarks/bench_load.py catalog 16384            # a position per 52 x 52 px: 1e5
    python benchmarks/bench_load.py catalog 1024 --bundled   # with the network: minutes
    python benchmarks/bench_load.py segment 4096
    python benchmarks/bench_load.py cube 50 --memory 4

Each call measures one size in a process of its own: CPU seconds, and the peak of the resident memory,
before (imports, calibration) and after.  Maps are Zarr groups, written to a temporary folder and read
tile by tile; of cubes nothing is written: all rows of the sky are one row in memory, with a line in one
spectrum of 20.  ``--memory`` is a limit of the address space (GiB), to which the operating system
holds the process.

Masses come from hand-made features, and segments from the means of patches, unless ``--bundled``
asks for the network: its passes (see `bench_mass.py`) would hide what the package adds.
"""

import argparse
import resource
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.wcs import WCS

#: Every so many pixels there is a protostar: 1e5 on 16,384 x 16,384 px.
SPACING = 51.8
BLOCK = 1024
DISTANCE = 300 * u.pc


def peak_memory():
    """Return the peak of the resident memory (GiB)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)


def plane(size):
    """Return a WCS whose pixels are those of the reference maps at the distance."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["GLON-CAR", "GLAT-CAR"]
    wcs.wcs.crval = [30.0, 0.0]
    wcs.wcs.crpix = [size / 2, size / 2]
    step = np.degrees(0.5 / 64 / DISTANCE.value)
    wcs.wcs.cdelt = [-step, step]
    return wcs


def block():
    """Return column density, velocity and dispersion of turbulent gas that repeats itself."""
    rng = np.random.default_rng(0)
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(BLOCK), np.fft.rfftfreq(BLOCK), indexing="ij"))
    k[0, 0] = np.inf
    fields = []
    for _ in range(3):
        noise = rng.standard_normal(k.shape) + 1j * rng.standard_normal(k.shape)
        field = np.fft.irfft2(noise * k**-1.7, s=(BLOCK, BLOCK)).astype(np.float32)
        fields.append(field / field.std())
    return 10 ** (22 + 0.4 * fields[0]), 0.5 * fields[1], 0.3 * np.exp(0.3 * fields[2])


def write_map(path, size):
    """Write a square map as a Zarr group, block by block."""
    import zarr

    planes = dict(zip(("column_density", "velocity", "dispersion"), block(), strict=True))
    group = zarr.open_group(str(path), mode="w")
    for name, values in planes.items():
        array = group.create_array(name, shape=(size, size), chunks=(512, 512), dtype="float32")
        for y in range(0, size, BLOCK):
            for x in range(0, size, BLOCK):
                array[y : y + BLOCK, x : x + BLOCK] = values[: size - y, : size - x]
    group.attrs["header"] = plane(size).to_header().tostring(sep="\n")


def catalog(folder, size, bundled):
    """Return what estimates masses all over a map."""
    from astrofractal import StellarMassEstimator
    from astrofractal.mapset import reference_maps
    from astrofractal.mass import FeatureSet
    from astrofractal.surveys import survey_catalog

    if bundled:
        estimator = StellarMassEstimator()
    else:
        features = FeatureSet(pooling=None, profiles=True, contrasts=True)
        estimator = StellarMassEstimator(features=features, regressor="ridge")
        channels = [("column_density", "velocity", "dispersion")]
        estimator.fit(reference_maps()[::13], channels=channels)
    where = np.arange(SPACING / 2, size - 0.5, SPACING)
    positions = np.stack(np.meshgrid(where, where), axis=-1).reshape(-1, 2)

    def run():
        table = survey_catalog(estimator, folder / "map.zarr", positions, distance=DISTANCE)
        return f"{len(table):,} masses", len(table)

    return run


def segment(folder, size, bundled):
    """Return what segments a map."""
    from astrofractal import FeatureSegmenter, FractalEncoder
    from astrofractal.surveys import LazyMap, survey_segment

    encoder = FractalEncoder()
    if not bundled:

        def means(images, **_):
            n, side, patch = len(images), encoder.image_size, encoder.patch_size
            shape = (n, 3, side // patch, patch, side // patch, patch)
            patches = encoder.normalization(images).reshape(shape).mean((3, 5))
            return np.tile(np.moveaxis(patches, 1, -1), encoder.embed_dim // 3)

        encoder.patch_features = means

    def run():
        gas = LazyMap.open_zarr(folder / "map.zarr", distance=DISTANCE)
        tiles = gas.tiles()
        parts = [gas.read(tile.rows, tile.columns) for tile in (tiles[0], tiles[-1])]
        segmenter = FeatureSegmenter(6, encoder=encoder).fit(parts)
        table = survey_segment(segmenter, gas, output=folder / "survey")
        return f"{len(table)} segments", size**2

    return run


def cube(gigabytes, n_channels):
    """Return what reduces a cube of so many 10^9 bytes to moments."""
    from spectral_cube import SpectralCube

    from astrofractal import GasMap
    from astrofractal.gasmap import XFactor

    size = round((gigabytes * 1e9 / 4 / n_channels) ** 0.5)
    rng = np.random.default_rng(0)
    row = 0.1 * rng.standard_normal((n_channels, 1, size), dtype=np.float32)
    line = np.exp(-0.5 * ((np.arange(n_channels) - n_channels / 2) / 6) ** 2)
    row[:, 0, ::20] += 3 * line[:, None]
    data = np.broadcast_to(row, (n_channels, size, size))  # each row of the sky is the same memory
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = ["GLON-CAR", "GLAT-CAR", "VRAD"]
    wcs.wcs.cunit = ["deg", "deg", "m/s"]
    wcs.wcs.cdelt = [-1e-3, 1e-3, 100.0]
    wcs.wcs.crpix = [size / 2, size / 2, n_channels / 2]
    x_factor = XFactor(2e20 * u.cm**-2 / (u.K * u.km / u.s))

    def run():
        lines = SpectralCube(data, wcs, meta={"BUNIT": "K"})
        GasMap.from_cube(lines, column=x_factor, distance=DISTANCE)
        return f"{n_channels} x {size} x {size}", n_channels * size**2

    return run


def main():
    """Measure and print one line."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("kind", choices=("catalog", "segment", "cube"))
    parser.add_argument("size", type=float, help="side in pixels, or 10^9 bytes of a cube")
    parser.add_argument("--bundled", action="store_true", help="with the bundled network")
    parser.add_argument("--channels", type=int, default=400, help="of a cube")
    parser.add_argument("--memory", type=float, help="limit of the address space in GiB")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.memory:
        limit = int(args.memory * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        if args.kind == "cube":
            run = cube(args.size, args.channels)
        else:
            args.size = int(args.size)
            write_map(folder / "map.zarr", args.size)
            make = catalog if args.kind == "catalog" else segment
            run = make(folder, args.size, args.bundled)
        before = peak_memory()
        began, clock = time.process_time(), time.perf_counter()
        done, n = run()
        seconds = time.process_time() - began
        print(
            f"{args.kind} {args.size:g}{' bundled' if args.bundled else ''}: {done}, "
            f"{seconds:.1f} s of CPU ({1e6 * seconds / n:.3g} us each), "
            f"{time.perf_counter() - clock:.0f} s on the clock, "
            f"peak {peak_memory():.2f} GiB (before: {before:.2f})"
        )


if __name__ == "__main__":
    main()
