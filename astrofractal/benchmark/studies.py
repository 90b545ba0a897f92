"""What is asked beside the scores: few labels, beam and noise, symmetries."""

import time

import numpy as np
from astropy import units as u

from astrofractal._utils.progress import progress
from astrofractal.benchmark.methods import Method, magnified_methods
from astrofractal.benchmark.protocols import make_protocol
from astrofractal.benchmark.scoring import score
from astrofractal.mass.features import CHANNELS, FeatureSet
from astrofractal.observing import observe_images

__all__ = ["degradation_rows", "learning_rows", "symmetry_rows"]

_SIZES = (100, 300, 1000, 3000)
_FEW = 1000  # beyond that many labels only the strong methods are followed


def learning_rows(benchmark, protocol):
    """
    Score the main methods against the number of labeled maps.

    Parameters
    ----------
    benchmark : `~astrofractal.benchmark.Benchmark`
        The benchmark.

    protocol : `~astrofractal.benchmark.Protocol`
        The splits.

    Returns
    -------
    rows : list of dict
        Rows of the table of scores, the means over draws of the labeled maps.
    """
    smallest = min(len(train) for train, _ in protocol.splits)
    sizes = [n for n in _SIZES if n <= 1.1 * smallest]
    jobs = [(method, CHANNELS) for method in _followed(benchmark)]
    zoom = jobs[0][0].features.zoom
    for channels in (CHANNELS,) if benchmark.quick else (CHANNELS, CHANNELS[:1]):
        for source in ("fractal", "random"):
            jobs += [(method, channels) for method in magnified_methods(source, zoom)]
    rows, known = [], set()
    for method, channels in progress(jobs, benchmark.progress_bar, desc="learning curves"):
        key = (method.name, str(method.features), method.regressor_label, channels)
        if key in known:
            continue
        known.add(key)
        strong = method.name.startswith(("default", "hand-crafted"))
        for n in sizes:
            if n <= _FEW or strong:
                rows += benchmark.journal.attempt(
                    f"{method.name} with {n} labels",
                    _learning_row,
                    benchmark,
                    protocol,
                    method,
                    channels,
                    n,
                )
    return rows


def _followed(benchmark):
    """Return the default and its opponents."""
    methods = benchmark.methods()
    names = ("default", "default with random ViT", "default without ViT", "hand-crafted profiles")
    return [m for m in methods if m.name in names]


def _learning_row(benchmark, protocol, method, channels, n):
    draws = []
    for draw in range(1 if benchmark.quick else 3):
        result = benchmark.evaluate(method, protocol, channels, n_labels=n, draw=draw)
        draws.append(benchmark.method_row(method, protocol, result, channels))
    numbers = [k for k, v in draws[0].items() if isinstance(v, float)]
    row = draws[0] | {k: float(np.mean([d[k] for d in draws])) for k in numbers}
    return [benchmark.journal.row("learning", row | {"n_labels": n})]


def degradation_rows(benchmark, levels):
    """
    Score the default and its opponent against beam and noise.

    Parameters
    ----------
    benchmark : `~astrofractal.benchmark.Benchmark`
        The benchmark, of few maps: each level is encoded anew.

    levels : list of tuple
        Pairs of ``"beam"`` (FWHM in pixels) or ``"signal-to-noise"`` and a number.

    Returns
    -------
    rows : list of dict
        ``kind``, ``level``, ``matched`` (whether the reference maps were degraded alike),
        ``method`` and scores.
    """
    protocol = make_protocol("leave-cloud-out", benchmark.maps, random_state=benchmark.random_state)
    methods = [
        m
        for m in benchmark.methods()
        if (m.name, m.regressor_label) == ("hand-crafted profiles", "ridge") or m.name == "default"
    ]
    rows = []
    for kind, level in progress(levels, benchmark.progress_bar, desc="degradation"):
        seen = benchmark.cache.sibling(_observed(benchmark, kind, level))
        for method in methods:
            rows += benchmark.journal.attempt(
                f"{method.name} at {kind} {level}",
                _degraded,
                benchmark,
                method,
                protocol,
                (kind, float(level)),
                seen,
            )
    return rows


def _degraded(benchmark, method, protocol, where, seen):
    rows = []
    for matched in (False, True):
        predicted = np.full(len(benchmark.y), np.nan)
        for train, test in protocol.splits:
            calibration = benchmark.calibrate(
                method, CHANNELS, train, protocol.groups, seen if matched else None
            )
            predicted[test] = benchmark.predict(calibration, method, test, seen)[0]
        scores = score(
            benchmark.y, predicted, protocol.resampled, random_state=benchmark.random_state
        )
        row = {
            "kind": where[0],
            "level": where[1],
            "matched": matched,
            "method": method.name,
            **{k: scores[k] for k in ("r2", "r2_err", "rmse", "rmse_err")},
        }
        rows.append(benchmark.journal.row("degradation", row))
    return rows


def _observed(benchmark, kind, level):
    if kind == "beam":
        return observe_images(benchmark.maps.images, beam=level * u.pix)
    velocity = 0.4 / level * u.km / u.s
    return observe_images(
        benchmark.maps.images,
        noise=1 / level,
        velocity_noise=velocity,
        dispersion_noise=velocity,
        random_state=benchmark.random_state,
    )


def symmetry_rows(benchmark):
    """
    Measure what features cost and gain that are averaged over the symmetries of the sky.

    Parameters
    ----------
    benchmark : `~astrofractal.benchmark.Benchmark`
        The benchmark, of few maps: sixteen views of each are encoded.

    Returns
    -------
    rows : list of dict
        ``method``, ``features``, ``regressor``, ``n_views`` and scores.
    """
    protocol = make_protocol("leave-cloud-out", benchmark.maps, random_state=benchmark.random_state)
    default = benchmark.methods()[0].features
    rows = []
    for source in ("fractal", "random"):
        poolings = {("central",), default.pooling or ("central",)}
        if "structure" not in benchmark.cache.encoder(source).heads:
            poolings = {p for p in poolings if "structure" not in p}
        for symmetrize in (False, True):
            benchmark.cache.forget(source)  # so that the time is that of all forward passes
            start = time.perf_counter()
            for pooling in sorted(poolings):
                features = FeatureSet(pooling=pooling, zoom=default.zoom, symmetrize=symmetrize)
                benchmark.cache.features(source, features)
            seconds = time.perf_counter() - start
            for pooling in sorted(poolings):
                features = FeatureSet(pooling=pooling, zoom=default.zoom, symmetrize=symmetrize)
                for regressor in ("knn", "ridge"):
                    method = Method(f"{source} ViT", source, features, regressor)
                    result = benchmark.evaluate(method, protocol)
                    row = benchmark.method_row(method, protocol, result)
                    row = {k: row[k] for k in ("method", "regressor", "r2", "r2_err", "rmse")}
                    row |= {
                        "pooling": "+".join(pooling),
                        "n_views": 16 if symmetrize else 1,
                        "encode_time": seconds,
                    }
                    rows.append(benchmark.journal.row("symmetry", row))
    return rows
