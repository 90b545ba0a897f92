"""Matching a calibration to a map: reference maps observed as the map was."""

import numpy as np
from astropy import units as u

from astrofractal.gasmap.moments import STANDARD_SHAPE, STANDARD_WIDTH
from astrofractal.gasmap.noise import pixel_noise
from astrofractal.mass.features import FeatureSet

__all__ = ["MATCHED_FEATURES", "unlike_references"]

_STANDARD_PIXEL = STANDARD_WIDTH / STANDARD_SHAPE[1]

#: Even a calibration on maps that were degraded alike loses a seventh to a third of its R2 per
#: protostar with noise of 10 %, a beam of 2 px or cutouts of which 10 % are blank, and nearly all
#: with pixels of twice the width: what one on sharp maps says of its skill and its intervals is then
#: not true.
_LARGEST_BEAM, _LARGEST_PIXEL, _LARGEST_NOISE, _LARGEST_HOLES = 2.0, 1.5, 0.1, 0.1

#: Measures of the gas alone: behind a beam of 2.7 px and under noise, leave-cloud-out R2 is 0.15
#: with them, 0.12 with the encoder's features averaged over the sky beside them, and 0.08 with
#: those of one view, which take a sixteenth of the time.
MATCHED_FEATURES = FeatureSet(pooling=None, profiles="all", contrasts=True)


def unlike_references(gas, known):
    """Tell in what a map was observed worse than reference maps can stand."""
    reasons = []
    if gas.distance is not None and gas.beam is not None:
        beam = gas.beam.major.to_value(u.rad) * gas.distance.to(u.pc) / _STANDARD_PIXEL
        if beam >= _LARGEST_BEAM:
            reasons.append(f"a beam of {beam:.1f} px of the reference maps")
    if gas.has_pixel_scale and gas.pixel_scale > _LARGEST_PIXEL * _STANDARD_PIXEL:
        reasons.append(f"pixels of {gas.pixel_scale / _STANDARD_PIXEL:.1f} px")
    if gas.column_density_uncertainty is not None:  # without it the structure of the gas counts
        column = np.where(gas.mask, np.nan, gas.column_density.value.astype(float))
        noise = min(pixel_noise(gas) / np.nanmedian(column), 1.0)
        if noise > _LARGEST_NOISE:
            reasons.append(f"noise of {100 * noise:.0f} % of the column density")
    missing = 1 - np.median(known) if len(known) else 0.0
    if missing > _LARGEST_HOLES:
        reasons.append(f"{100 * missing:.0f} % of a cutout without data")
    return reasons
