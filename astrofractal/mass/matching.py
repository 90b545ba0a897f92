"""Matching a calibration to a telescope: reference maps observed as a map was."""

from __future__ import annotations

import csv
import logging
import reprlib
from functools import partial

import numpy as np
from astropy import units as u

import astrofractal
from astrofractal._utils.identity import fingerprint
from astrofractal.catalogs.detection import find_protostars
from astrofractal.catalogs.positions import resolve_positions
from astrofractal.data import data_path
from astrofractal.gasmap import GasMap
from astrofractal.gasmap.moments import CHANNEL_SETS, STANDARD_SHAPE, STANDARD_WIDTH, channels_of
from astrofractal.gasmap.noise import median_error, pixel_noise
from astrofractal.mapset import MapSet
from astrofractal.mass.features import FeatureSet
from astrofractal.mass.files import read_matched, write_matched
from astrofractal.mass.measures import appearance
from astrofractal.mass.weights import as_prior
from astrofractal.observing import Telescope

logger = logging.getLogger(__name__)

_STANDARD_PIXEL = STANDARD_WIDTH / STANDARD_SHAPE[1]

#: Even a calibration on maps that were degraded alike loses a seventh to a third of its R2 per
#: protostar with noise of 10 %, a beam of 2 px or cutouts of which 10 % are blank, and nearly all
#: with pixels of twice the width: R2 and intervals of one on sharp maps are then not true.
_LARGEST_BEAM, _LARGEST_PIXEL, _LARGEST_NOISE, _LARGEST_HOLES = 2.0, 1.5, 0.1, 0.1

_GAS = FeatureSet(pooling=None, contrasts=True, profiles=True)

#: The features between which each match chooses.
CANDIDATES = {"tokens + contrasts": FeatureSet(contrasts=True), "contrasts + profiles": _GAS}


def as_telescope(gas, positions=None, *, largest_scale=None):
    """Return a telescope as it is, or that of a map, within the footprint around protostars."""
    if isinstance(gas, Telescope):
        if positions is not None or largest_scale is not None:
            given = f"{reprlib.repr(positions)} and {largest_scale}"
            msg = f"positions and largest_scale must not be given with a Telescope, got {given}"
            raise ValueError(msg)
        return gas
    gas = GasMap.read(gas)
    places = find_protostars(gas) if positions is None else resolve_positions(positions).where
    return Telescope.measure(gas, places, largest_scale=largest_scale)


def match(estimator, telescope, maps, *, random_state, cache, progress_bar):
    """Return an estimator like another one, calibrated on maps as a telescope shows them."""
    options = estimator.get_params(deep=False) | {"prior": as_prior(estimator.prior)}
    # Of ridge, support vectors and kernel ridge this one has the highest R2 per protostar.
    defaults = {"regressor": "kernel_ridge", "weight_exponent": 0.6}
    options |= {name: value for name, value in defaults.items() if options[name] is None}
    candidates = CANDIDATES if estimator.features is None else {"given": estimator.features}
    maps = maps.limit(2)
    # Two maps stand for the code that describes them: a calibration of another version of it is not
    # taken from the cache.
    two = telescope.observe_images(maps.images[:2], random_state=random_state)
    described, _ = _GAS.compute(two, telescope.channels)
    # Cutouts may lack what the telescope observes: a filter leaves no velocity, or a map ends.
    fewer = [c for c in CHANNEL_SETS if set(c) < set(telescope.channels)]
    key = fingerprint(
        telescope, maps, random_state, options, list(candidates), described, appearance(two),
        fewer, astrofractal.__version__,
    )  # fmt: skip
    load = partial(type(estimator).load, encoder=estimator.encoder)
    found = read_matched(key, load) if cache else None
    if found is None:
        seen = _observed(maps, telescope, random_state)

        def fitted(features, channels):
            new = type(estimator)(**options | {"features": features})
            return new.fit(seen, channels=channels, progress_bar=progress_bar)

        made = {name: fitted(one, [telescope.channels]) for name, one in candidates.items()}
        own = {name: one.calibrations_[telescope.channels] for name, one in made.items()}
        scores = {name: float(one.skill_["r2_protostar"]) for name, one in own.items()}
        best = max(scores, key=scores.get)
        found = made[best]
        found.calibrations_.update(fitted(_GAS, fewer).calibrations_ if fewer else {})
        found.choice_ = {"features": best, "r2_protostar": scores}
        if cache:
            write_matched(found, key)
    found.telescope_ = telescope
    logger.info("matched: %s", describe_choice(found.choice_))
    return found


def describe_choice(choice):
    """Return in words which features a match chose, and the score of each set."""
    features = choice["features"]
    if features in CANDIDATES:
        network = "with" if CANDIDATES[features].pooling else "without"
        features = f"{network} the network, by {features}"
    scores = "; ".join(f"{name} {r2:.2f}" for name, r2 in choice["r2_protostar"].items())
    return f"{features} (R2 per protostar on unseen clouds: {scores})"


def _observed(maps, telescope, random_state):
    """Return labeled maps as a telescope shows them, those that keep all of its channels."""
    images = telescope.observe_images(maps.images, random_state=random_state)
    known = np.isfinite(images[:, 0]).any((1, 2))
    known &= [set(telescope.channels) <= set(channels) for channels in channels_of(images)]
    maps = maps[known]
    return MapSet(  # the velocities have a new mean
        images[known], maps.masses, clouds=maps.clouds, protostars=maps.protostars,
        represents=maps.represents, pixel_scale=maps.pixel_scale,
    )  # fmt: skip


def expected_score(gas):
    """Return what a matched calibration is worth for maps that are observed as one was, in words."""
    with data_path("telescopes.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    letters = {"column_density": "N", "velocity": "v", "dispersion": "s"}
    channels = "".join(letters[name] for name in gas.channels)
    rows = [
        r
        for r in rows
        if r["channels"] == channels and r["position_error_px"] == r["largest_scale_pc"] == "0"
    ]
    beam, ratio = _beam_pixels(gas), 1 / max(_relative_noise(gas), 0.01)
    for name in ("velocity", "dispersion"):
        error = median_error(gas, name)
        ratio = min(ratio, 0.4 / max(0 if error is None else error.value, 0.004))

    def distance(row):
        wider = max(beam, 0.5) / max(float(row["beam_px"]), 0.5)
        return np.hypot(np.log(wider), np.log(ratio / float(row["signal_to_noise"])))

    row = min(rows, key=distance)
    where = f"beam {row['beam_pc']} pc" if row["beam_px"] != "0" else "no beam"
    return (
        f"a matched calibration has R2 = {row['r2_protostar']} per protostar and a typical error of a "
        f"factor of {row['factor']} (channels {channels}, {where}, signal-to-noise "
        f"{row['signal_to_noise']})"
    )


def _beam_pixels(gas):
    """Return the FWHM of a map's beam in pixels of the reference maps, or 0."""
    if gas.distance is None or gas.beam is None:
        return 0.0
    length = gas.beam.major.to_value(u.rad) * gas.distance.to(u.pc)
    return (length / _STANDARD_PIXEL).to_value(u.one)


def _relative_noise(gas):
    column = np.where(gas.mask, np.nan, gas.column_density.value.astype(float))
    return float(min(pixel_noise(gas) / np.nanmedian(column), 1.0))


def unlike_references(gas, known):
    """Return in what a map was observed worse than the bundled calibration allows."""
    reasons = []
    beam = _beam_pixels(gas)
    if beam >= _LARGEST_BEAM:
        reasons.append(f"a beam of {beam:.1f} px of the reference maps")
    if gas.has_pixel_scale and gas.pixel_scale > _LARGEST_PIXEL * _STANDARD_PIXEL:
        reasons.append(f"pixels of {gas.pixel_scale / _STANDARD_PIXEL:.1f} px")
    if gas.column_density_uncertainty is not None:  # without it the structure of the gas counts
        noise = _relative_noise(gas)
        if noise > _LARGEST_NOISE:
            reasons.append(f"noise of {100 * noise:.0f} % of the column density")
    missing = 1 - np.median(known) if len(known) else 0.0
    if missing > _LARGEST_HOLES:
        reasons.append(f"{100 * missing:.0f} % of a cutout without data")
    return reasons
