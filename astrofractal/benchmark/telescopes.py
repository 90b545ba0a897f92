"""The studies "telescopes" and "weights": what masses are worth on maps as telescopes show them."""

import csv
from functools import partial
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table

from astrofractal._utils.progress import progress
from astrofractal._utils.validation import one_of
from astrofractal.benchmark.defaults import FEATURES
from astrofractal.benchmark.encoded import FeatureStore
from astrofractal.benchmark.methods import HAND_MADE, HAND_MADE_FEATURES, Method
from astrofractal.benchmark.scorer import Scorer, make_protocol
from astrofractal.benchmark.scores import Bootstrap, with_error
from astrofractal.benchmark.studies import off_center, with_images
from astrofractal.encoder import FractalEncoder
from astrofractal.encoder.pooling import effective_rank
from astrofractal.gasmap import GasMap
from astrofractal.gasmap.moments import CHANNELS, STANDARD_SHAPE, STANDARD_WIDTH
from astrofractal.mapset import reference_maps
from astrofractal.mass import StellarMassEstimator
from astrofractal.observing import Telescope

_PIXEL = STANDARD_WIDTH / STANDARD_SHAPE[1]
_DISTANCES = (140, 300, 450) * u.pc
_LETTERS = dict(zip("Nvs", CHANNELS))
_KEYS = ("channels", "beam_px", "signal_to_noise", "position_error_px", "largest_scale_pc")
#: Values of these keys; the signal-to-noise ratio is that of N, and of a dispersion of 0.4 km/s.
_ROWS = (
    *(("Nvs", beam, ratio, 0, 0) for beam in (0, 1, 2, 3) for ratio in (30, 10, 3)),
    *((channels, 0, 30, 0, 0) for channels in ("N", "Nv", "Ns")),
    *(("Nvs", 0, 30, shift, 0) for shift in (1, 2)),
    *(("Nvs", 1, 30, 0, scale) for scale in (0.1, 0.05)),
)
_MARGIN = 32  # pixels: protostars nearer to the border of a field have no whole cutout


def run_telescopes(journal, maps, *, parts=None, quick=False, progress_bar=False):
    """Match a calibration to each telescope; other rows of a table stay as they are."""
    features = HAND_MADE_FEATURES if quick else None
    estimator, labeled = StellarMassEstimator(features=features), reference_maps().limit(2)
    fields = {Path(path): GasMap.read(path) for path in maps}
    every = [tuple(map(str, row)) for row in _ROWS]
    numbers = range(len(every)) if parts is None else [int(part) for part in parts]
    for number in numbers:
        one_of("parts", number, range(len(every)))
    found, path = {}, journal.folder / "telescopes.csv"
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            found = {tuple(row[key] for key in _KEYS): row for row in csv.DictReader(file)}
    for number in progress(numbers, progress_bar):
        found[every[number]] = _measure(estimator, labeled, fields, *_ROWS[number])
        journal.keep(path.name, QTable(rows=[found[row] for row in every if row in found]))


def _telescope(letters, beam, ratio, scale=0):
    """Return the telescope of a row: beam in pixels, signal-to-noise ratio, largest scale in pc."""
    velocity = 0.4 / ratio * u.km / u.s
    return Telescope(
        beam * _PIXEL if beam else None, _PIXEL,
        noise=1 / ratio, velocity_noise=velocity, dispersion_noise=velocity,
        correlated=bool(beam), largest_scale=scale * u.pc if scale else None,
        channels=tuple(_LETTERS[letter] for letter in letters),
    )  # fmt: skip


def _measure(estimator, labeled, fields, letters, beam, ratio, shift, scale):
    """Return one row of the table, as it is written."""
    telescope = _telescope(letters, beam, ratio, scale)
    maps = off_center(labeled, shift) if shift else labeled
    matched = estimator.matched(telescope, maps=maps)
    skill = matched.calibrations_[telescope.channels].skill_
    flags = []
    for path, gas in fields.items():  # each cloud is left out of the calibration
        x, y = sinks(path, gas)
        ny, nx = gas.shape
        inside = (np.minimum(x, y) > _MARGIN) & (x < nx - _MARGIN) & (y < ny - _MARGIN)
        places = gas.to_sky(x[inside] + shift, y[inside])
        without = matched.leave_out(path.name.partition("_")[0])
        flags += without.catalog(telescope.observe(gas), places)["flags"].tolist()
    ood = np.mean(["unlike-references" in one.split(",") for one in flags]) if flags else np.nan
    angles = [(beam * _PIXEL / d).to_value(u.one) * u.rad.to(u.arcsec) for d in _DISTANCES]
    return {
        **dict(zip(_KEYS, map(str, (letters, beam, ratio, shift, scale)))),
        "beam_pc": f"{beam * _PIXEL.to_value(u.pc):.4f}",
        **{f"beam_arcsec_{d.value:g}pc": f"{a:.1f}" for d, a in zip(_DISTANCES, angles)},
        "features": HAND_MADE if estimator.features else matched.choice_["features"],
        "r2_protostar": f"{skill['r2_protostar']:.2f}",
        "r2_map": f"{skill['r2']:.2f}",
        "factor": f"{10 ** skill['rmse_protostar']:.1f}",
        "coverage_68": f"{skill['coverage_68_protostar']:.2f}",
        "ood": f"{ood:.2f}",
    }


def sinks(path, gas):
    """Return the pixels (x, y) of the protostars of a simulated cloud."""
    table = Table.read(path, hdu="SINKS")
    x, y = gas.to_pixel(SkyCoord(table["ra"], table["dec"], unit="deg"))
    return np.asarray(x), np.asarray(y)


#: Beam in pixels and signal-to-noise ratio of the conditions of weights.
_CONDITIONS = {
    "clean": None, "sn10": (0, 10), "beam2": (2, 30), "beam2_sn10": (2, 10), "beam4": (4, 30),
}  # fmt: skip


def run_weights(
    journal, maps, *, weights=("random", "bundled"), parts=tuple(_CONDITIONS), n_per_protostar=2,
    features_cache=None, progress_bar=False,
):  # fmt: skip
    """Measure the lead of weights over hand-made features, each cloud predicted by the others."""
    for part in parts:
        one_of("parts", part, _CONDITIONS)
    maps = maps.limit(n_per_protostar)
    makers = {source: partial(FractalEncoder, weights=source) for source in weights}
    store = FeatureStore(makers, folder=features_cache, progress_bar=progress_bar)
    rows = {None: {"weights": "hand-made", "images_seen": 0}}
    for source in weights:
        images_seen = store.encoder(source).card["images_seen"]
        rows[source] = {"weights": Path(source).stem, "images_seen": images_seen}
    for part in parts:
        scorer = Scorer(_observed(maps, _CONDITIONS[part]), store)
        reference = _scores(scorer, HAND_MADE)
        for source, row in rows.items():
            both, alone, rank = reference, [np.nan], np.nan
            if source is not None:
                both = _scores(scorer, "tokens + contrasts", source)
                alone = _scores(scorer, "tokens", source)
                rank = effective_rank(scorer.features(_method("tokens", source))[0])
            if part == "clean":
                row["rank"] = rank
            row |= {f"r2_{part}": both[0], f"tokens_{part}": alone[0]}
            row |= with_error(f"lead_{part}", both - reference)
        journal.keep("flames", QTable(rows=list(rows.values())))


def _observed(maps, condition):
    """Return maps as a telescope shows them, one of each protostar; all of them without one."""
    if condition is None:
        return maps
    seen = with_images(maps, _telescope("Nvs", *condition).observe_images(maps.images))
    _, first, index = np.unique(maps.protostars, return_index=True, return_inverse=True)
    one = seen[first]
    one.represents = np.bincount(index, maps.represents)
    return one


def _method(features, source):
    """Return the method of some features with the default's regressor."""
    return Method(features, FEATURES[features], "kernel_ridge", source, weight_exponent=0.6)


def _scores(scorer, features, source=None):
    """Return R2 per protostar by the default's regressor, and that of resampled protostars."""
    maps, method = scorer.maps, _method(features, source)
    log_mass = scorer.evaluate(method, make_protocol("leave-cloud-out", maps)).log_mass
    bootstrap = Bootstrap(maps.protostars, maps.clouds, represents=maps.represents)
    return bootstrap.scores(maps.log_masses, log_mass)["r2_protostar"]
