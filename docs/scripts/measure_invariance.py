"""Measure how far masses depend on what they should not: the orientation of the sky, pixels, signs.

    python docs/scripts/measure_invariance.py ../shared/data/fields

takes protostars in fields and prints the change of log10 of the default's mass, its median and its
largest modulus, when the sky is rotated by an angle, when it is mirrored, when the velocities change
their sign and when every pixel is split into four. A rotation goes through the WCS, so that the cutout
is interpolated from pixels that lie askew.
"""

import argparse
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from astrofractal import GasMap, StellarMassEstimator

ANGLES = (15, 30, 45, 90)


def turned(gas, angle=0.0, mirrored=False):
    """Return the map with its sky turned about the same pixel."""
    header = gas.wcs.to_header()
    scale = np.abs(gas.wcs.proj_plane_pixel_scales()[0].to_value("deg"))
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    matrix = np.array([[-cosine, sine], [sine, cosine]]) * scale
    if mirrored:
        matrix[:, 0] *= -1
    wcs = WCS(header)
    wcs.wcs.cdelt = (1, 1)
    wcs.wcs.pc = matrix
    return gas.replace(wcs=wcs)


def split(gas):
    """Return the map with every pixel in four, without its WCS."""
    parts = {name: np.repeat(np.repeat(getattr(gas, name), 2, 0), 2, 1) for name in gas.channels}
    return GasMap(**parts, pixel_scale=gas.pixel_scale / 2)


def plain(gas):
    """Return the map without its WCS."""
    parts = {name: getattr(gas, name) for name in gas.channels}
    return GasMap(**parts, pixel_scale=gas.pixel_scale)


def protostars(path, gas, margin=40):
    """Return pixels (x, y) of the sinks that are not at the border."""
    with fits.open(path) as hdus:
        sinks = hdus["SINKS"].data
        x, y = gas.wcs.world_to_pixel_values(sinks["ra"], sinks["dec"])
    ny, nx = gas.shape
    inside = (x > margin) & (y > margin) & (x < nx - margin) & (y < ny - margin)
    return np.transpose([x, y])[inside]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("fields", type=Path, help="a folder of fields with a table of their sinks")
    parser.add_argument("--per-field", type=int, default=6, metavar="N", help="protostars of each")
    args = parser.parse_args()
    estimator, random = StellarMassEstimator(), np.random.default_rng(0)
    found = {}

    def add(name, gas, pixels):
        cutouts = gas.cutouts(pixels)
        masses = estimator.predict(cutouts)
        found.setdefault(name, []).extend(np.log10(masses.value))

    for path in sorted(args.fields.glob("*.fits")):
        gas = GasMap.read(path)
        pixels = random.permutation(protostars(path, gas))[: args.per_field]
        add("0", turned(gas), pixels)
        for angle in ANGLES:
            add(f"{angle} degrees", turned(gas, angle), pixels)
        add("mirrored", turned(gas, mirrored=True), pixels)
        add("sign of the velocity", turned(gas).replace(velocity=-gas.velocity), pixels)
        add("without WCS", plain(gas), pixels)
        add("pixels in four", split(gas), 2 * pixels + 0.5)
        print(path.stem, len(pixels), flush=True)
    for name, values in found.items():
        reference = "without WCS" if name == "pixels in four" else "0"
        change = np.abs(np.subtract(values, found[reference]))
        print(f"{name}: median {np.median(change):.4f}, largest {change.max():.4f} dex")
    print(f"{len(values)} protostars")


if __name__ == "__main__":
    main()
