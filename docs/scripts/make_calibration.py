"""Make the bundled reference maps and the bundled calibration, once the weights have changed.

    python docs/scripts/make_calibration.py MAPS [--weights NEW.safetensors] [--per-protostar 6]
    python docs/scripts/make_cards.py

MAPS is the folder of all labeled maps.  The weights and their card replace the bundled ones, at most
N maps of each protostar become the bundled reference maps, and each combination of channels is
calibrated on them.  Tokens are kept in a cache (half an hour of one core where it is empty).
The scores that are printed, of clouds left out, are those that the pages quote; docs/cards and the
frozen numbers of tests/mass/test_frozen_numbers.py change with them.
"""

import argparse
import hashlib
import shutil
from pathlib import Path

import numpy as np

from astrofractal import FractalEncoder, StellarMassEstimator
from astrofractal.data import data_path
from astrofractal.mapset import MapSet

WEIGHTS = data_path("astrofractal_vit_tiny_patch8_64.safetensors")
MAPS = data_path("reference_maps.fits")
CALIBRATION = data_path("stellar_mass.astrofractal")


class CachedEncoder(FractalEncoder):
    """The bundled encoder, which keeps what it has computed."""

    folder = None

    def encode(self, images, *, progress_bar=False, **options):
        """Return the features of maps, from the cache where they are there."""
        key = hashlib.sha256(f"{self.fingerprint()} {options}".encode())
        key.update(np.ascontiguousarray(images))
        path = self.folder / f"{key.hexdigest()[:24]}.npy"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            features = super().encode(images, progress_bar=progress_bar, **options)
            np.save(path, features)
        return np.load(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("maps", help="a folder of labeled maps")
    parser.add_argument("--weights", type=Path, help="new weights, next to their card")
    parser.add_argument("--per-protostar", type=int, default=6, metavar="N", help="maps, at most")
    parser.add_argument("--cache", type=Path, default=Path("runs/tokens"), help="folder of tokens")
    args = parser.parse_args()
    if args.weights is not None:
        shutil.copyfile(args.weights, WEIGHTS)
        shutil.copyfile(args.weights.with_suffix(".json"), WEIGHTS.with_suffix(".json"))
    MapSet.read(args.maps).limit(args.per_protostar).write(MAPS, overwrite=True)
    maps = MapSet.read(MAPS)  # quantized, as others will read them
    CachedEncoder.folder = args.cache
    estimator = StellarMassEstimator(CachedEncoder())
    estimator.fit(maps, progress_bar=True)
    estimator.save(CALIBRATION, overwrite=True)
    print(repr(maps))
    for channels, calibration in estimator.calibrations_.items():
        skill = calibration.skill_
        thirds = ", ".join(f"{held:.2f}" for held in skill["coverage_68_thirds"])
        print(
            f"{' + '.join(channels)}: R2 {skill['r2_protostar']:.3f} +- "
            f"{skill['r2_protostar_err']:.3f} per protostar, {skill['r2']:.3f} per map; 68 % "
            f"intervals contain {skill['coverage_68_protostar']:.2f} ({thirds} by thirds)"
        )


if __name__ == "__main__":
    main()
