"""The study "clouds": every method on the same splits of the same maps."""

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable

from astrofractal._utils.annotations import PathLike
from astrofractal._utils.atomic import atomic_path
from astrofractal._utils.progress import progress
from astrofractal._utils.validation import one_of, positive_int
from astrofractal.benchmark.encoded import FeatureStore, encoder_makers
from astrofractal.benchmark.methods import HAND_MADE, UNTRAINED, Method, list_methods
from astrofractal.benchmark.scorer import PROTOCOLS, Prediction, Scorer, make_protocol
from astrofractal.benchmark.scores import paired_rows
from astrofractal.benchmark.studies import (
    DEGRADATIONS,
    N_PROTOSTARS,
    degradation_rows,
    interval_table,
    learning_rows,
    paired_with,
    score_rows,
)
from astrofractal.gasmap.moments import CHANNELS
from astrofractal.mapset import MapSet

logger = logging.getLogger(__name__)

#: What the columns of the tables mean.
COLUMNS = {
    "protocol": "how the maps were split",
    "method": "what was scored",
    "reference": "what it is compared with",
    "features": "what the regressor was given",
    "regressor": "the regressor",
    "channels": "the channels that the method saw",
    "cloud": "all clouds together, or one",
    "n_maps": "the number of maps that were tested",
    "n_protostars": "the number of their protostars",
    "n_labels": "the number of protostars that the method was calibrated on",
    "n_draws": "draws of the labeled protostars that the row is the mean of",
    "maps": "maps of each labeled protostar",
    "n_effective": "independent maps that the maps are worth",
    "r2_protostar": "R2 of log10 mass, each protostar of the same weight (or the difference)",
    "rmse_protostar": "root-mean-square error of log10 mass, each protostar of the same weight",
    "r2": "R2 of log10 mass, each map of the same weight (or the difference)",
    "rmse": "root-mean-square error of log10 mass, each map of the same weight",
    "level": "FWHM or pixels in pixels, signal-to-noise, masked part, pixels off, channels left",
    "r2_published": "R2 of the paper, on other maps",
    "rmse_published": "root-mean-square error of the paper, on other maps",
    "r2_clouds": "R2, each map of the same weight, each cloud predicted by the others",
    "rmse_clouds": "root-mean-square error, each cloud predicted by the others",
    "r2_difference": "r2_protostar less that of the reference",
    "row": "the index of the map in the file of its cloud",
    "log_mass": "log10 of the mass in solar masses",
    "predicted": "its prediction, with that cloud held out",
    "half_68": "half the width of the 68 % interval",
    "half_90": "half the width of the 90 % interval",
    "best_epoch": "the epoch that was kept, chosen on a cloud held out of the training ones",
    "minutes": "of the processor, for training and prediction of one cloud",
    "n_chosen": "clouds for which the candidate is the best without them",
    "less_default_r2": "less the default on the same maps, the mean of the seeds",
    "beside_default_r2": "of the mean of default and network, less the default",
}

_DEX = {"rmse", "rmse_protostar", "rmse_published", "rmse_clouds", "half_68", "half_90"}


class Journal:
    """
    Writes tables to a folder as their rows come, and continues where one method fails.

    ``tables`` has the tables so far, ``failed`` what failed and how.  A name without a suffix is
    that of an ECSV file.
    """

    def __init__(self, folder: PathLike, meta: dict[str, Any]) -> None:
        self.folder, self.meta = Path(folder), meta
        self.tables: dict[str, QTable] = {}
        self.failed: list[str] = []
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._start = time.perf_counter()

    def add(self, name: str, rows: Iterable[dict[str, Any]]) -> None:
        """Add rows to a table."""
        known = self._rows.setdefault(name, [])
        known += rows
        if known:
            self.keep(name, QTable(rows=known))

    def keep(self, name: str, table: QTable) -> None:
        """Keep a whole table, with units, descriptions and formats of its columns."""
        for column in table.colnames:
            base = column.removesuffix("_err").removesuffix("_scatter")
            if table[column].dtype.kind == "f":
                table[column] = table[column].round(5)  # the rest would be noise
                table[column].info.format = ".3f"
            if base in _DEX:
                table[column] = u.Quantity(table[column], u.dex)
            described = COLUMNS.get(base, "")
            if base != column:
                over = "bootstraps" if column.endswith("_err") else "draws"
                described = f"standard deviation over {over}"
            table[column].info.description = described or None
        table.meta |= self.meta | {"failed": list(self.failed)}
        table.meta["minutes"] = round((time.perf_counter() - self._start) / 60, 1)
        self.tables[name] = table
        with atomic_path(self.folder / (name if "." in name else f"{name}.ecsv")) as temporary:
            table.write(temporary)

    @contextmanager
    def attempt(self, what: str, *, required: bool = False) -> Iterator[None]:
        """Note ``what`` failed if the block does, and continue after it unless it is required."""
        start = time.perf_counter()
        try:
            yield
        except Exception as error:  # hours of other methods must not be lost
            if required:
                raise
            logger.exception("%s failed", what)
            self.failed.append(f"{what}: {type(error).__name__}: {error}")
        else:
            logger.info("%s: %.1f s", what, time.perf_counter() - start)


#: The parts of the benchmark, in the order in which they are run.
PARTS = ("scores", "learning", "degradation", "intervals")

_FOLLOWED = (
    HAND_MADE,
    "default",
    UNTRAINED,
    "fractal tokens, symmetrized",
    "random tokens, symmetrized",
    "fractal tokens, symmetrized, + contrasts + profiles",
)


def run_clouds(
    journal, maps, *, weights="bundled", parts=PARTS, methods=None, quick=False, n_per_protostar=None,
    features_cache=None, predictions=(), random_state=0, progress_bar=False,
):  # fmt: skip
    """Score methods on clouds left out, the default and hand-made features among them."""
    # predictions: paths of tables like predictions.ecsv
    for part in parts:
        one_of("parts", part, PARTS)
    random_state = positive_int("random_state", random_state, minimum=0)
    known = _external(predictions, maps)
    if quick:
        maps, known = maps.limit(2), {}
    headline = make_protocol("leave-cloud-out", maps)
    makers = encoder_makers(weights)
    store = FeatureStore(makers, folder=features_cache, progress_bar=progress_bar)
    scorer = Scorer(maps, store, n_per_protostar=n_per_protostar)
    methods = list_methods(store, CHANNELS) if methods is None else list(methods)
    followed = [m for name in _FOLLOWED for m in methods if m.name == name]
    journal.meta |= {
        "weights": store.encoder("fractal").fingerprint(),
        "n_clouds": len(np.unique(maps.clouds)),
        "n_maps": len(maps),
        "n_protostars": len(np.unique(maps.protostars)),
        "n_per_protostar": n_per_protostar,
        "quick": bool(quick),
        "random_state": random_state,
    }
    if "scores" in parts:
        _run_scores(journal, scorer, methods, known, random_state, progress_bar)
    if "learning" in parts:
        sizes = (8, 32) if quick else N_PROTOSTARS
        for method in progress(followed, progress_bar, desc="learning curves"):
            rows = learning_rows(scorer, method, headline, sizes=sizes, random_state=random_state)
            with journal.attempt(f"learning, {method.name}"):
                for row in rows:
                    journal.add("learning", [row])
    if "degradation" in parts:
        # One map of each protostar: every level is encoded anew.
        few = Scorer(maps.limit(1), store)
        levels = DEGRADATIONS[:3] if quick else DEGRADATIONS
        for level in progress(levels, progress_bar, desc="degradations"):
            with journal.attempt(f"{level[0]} {level[1]:g}"):
                for row in degradation_rows(few, followed, level, random_state=random_state):
                    journal.add("degradation", [row])
    if "intervals" in parts:
        with journal.attempt("intervals"):
            journal.keep("intervals", interval_table(scorer, methods[0], headline))


def _run_scores(journal, scorer, methods, known, random_state, progress_bar):
    """Score all methods, the known predictions among them, and compare them."""
    maps = scorer.maps
    given = [Method(name, "end to end", "trained network") for name in known]
    found = dict(known)
    for protocol in (make_protocol(name, maps, random_state=random_state) for name in PROTOCOLS):
        headline = protocol.name == PROTOCOLS[0]
        for method in progress([*methods, *given] if headline else methods, progress_bar):
            required = method.name in ("default", HAND_MADE)
            with journal.attempt(f"{method.name}, {protocol.name}", required=required):
                prediction = known.get(method.name) or scorer.evaluate(method, protocol)
                rows = score_rows(scorer, method, protocol, prediction, random_state=random_state)
                journal.add("scores", rows)
                if headline:
                    found[method.name] = prediction
        if not headline:
            continue
        masses = {name: prediction.log_mass for name, prediction in found.items()}
        table = QTable()
        table["cloud"] = np.tile(maps.clouds, len(found))
        table["row"] = np.tile(row_numbers(maps), len(found))
        table["log_mass"] = np.concatenate(list(masses.values()))
        table["method"] = np.repeat(list(found), len(maps))
        journal.keep("predictions", table)
        # A method may have failed.
        pairs = [pair for pair in paired_with([*methods, *given]) if found.keys() >= {*pair}]
        rows = paired_rows(
            maps.log_masses, masses, pairs, protostars=maps.protostars, clouds=maps.clouds,
            represents=maps.represents, random_state=random_state,
        )  # fmt: skip
        journal.add("paired", rows)


def row_numbers(maps):
    """Return the index of each map among those of its cloud."""
    rows = np.empty(len(maps), int)
    for cloud in np.unique(maps.clouds):
        rows[maps.clouds == cloud] = np.arange((maps.clouds == cloud).sum())
    return rows


def placed(maps: MapSet, table: QTable) -> np.ndarray:
    """Return the log10 mass of each map in a table by cloud and row, NaN where it has none."""
    index = {key: i for i, key in enumerate(zip(maps.clouds.tolist(), row_numbers(maps).tolist()))}
    found = np.full(len(maps), np.nan)
    for cloud, row, log_mass in table["cloud", "row", "log_mass"].iterrows():
        if (cloud, row) in index:
            found[index[cloud, row]] = log_mass
    return found


def _external(paths, maps):
    """Read the predictions of methods that were run elsewhere."""
    found = {}
    for path in paths:
        table = QTable.read(path)
        names = np.asarray(table["method"], dtype=object)
        if "seed" in table.colnames:
            names = names + ", seed " + table["seed"].astype(str).astype(object)
        for name in dict.fromkeys(names.tolist()):
            log_mass = placed(maps, table[names == name])
            if not np.isfinite(log_mass).all():
                msg = f"{str(path)!r} must have a log_mass for each of the {len(maps)} maps by {name!r}"
                raise ValueError(msg)
            found[name] = Prediction(log_mass)
    return found
