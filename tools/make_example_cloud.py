"""Make the bundled example cloud from one simulated cloud on the sky.

    python tools/make_example_cloud.py cloud04_x.fits astrofractal/data/example_cloud.fits

The input has the extensions ``COLUMN_DENSITY`` (cm-2), ``V_LOS`` and ``SIGMA_V`` (km/s) with a
celestial WCS, the table ``SINKS`` and ``DISTANCE`` (pc) in the primary header.  The output keeps
them as compressed float32: column densities to a relative precision of 2.4e-4, velocities to
2 m/s, far below what a telescope measures.
"""

import argparse

import numpy as np
from astropy.io import fits

from astrofractal._utils.atomic import atomic_path

MANTISSA_BITS = 11
VELOCITY_STEP = 2.0**-9  # km/s


def round_relative(values, bits=MANTISSA_BITS):
    """Keep ``bits`` bits of each float32's mantissa, so that gzip has something to compress."""
    drop = 23 - bits
    integers = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return (((integers + (1 << (drop - 1))) >> drop) << drop).view(np.float32)


def round_absolute(values, step=VELOCITY_STEP):
    """Round to a multiple of ``step``."""
    return (np.round(np.asarray(values, dtype=np.float64) / step) * step).astype(np.float32)


def make(source, target):
    """Write the compact copy ``target`` of the cloud in ``source``."""
    with fits.open(source) as hdus:
        for hdu in hdus:
            for keyword in ("CHECKSUM", "DATASUM"):
                hdu.header.remove(keyword, ignore_missing=True)
        primary = fits.PrimaryHDU(header=hdus[0].header)
        primary.header["COMMENT"] = "Example cloud of astrofractal: simulated, not observed."
        planes = [
            fits.CompImageHDU(
                rounding(hdus[name].data),
                header=hdus[name].header,
                compression_type="GZIP_2",
                quantize_level=0,
            )
            for name, rounding in (
                ("COLUMN_DENSITY", round_relative),
                ("V_LOS", round_absolute),
                ("SIGMA_V", round_absolute),
            )
        ]
        sinks = fits.BinTableHDU(hdus["SINKS"].data, header=hdus["SINKS"].header)
        with atomic_path(target) as temporary:
            fits.HDUList([primary, *planes, sinks]).writeto(temporary, checksum=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", help="FITS file of a whole cloud")
    parser.add_argument("target", help="FITS file to write")
    arguments = parser.parse_args()
    make(arguments.source, arguments.target)
