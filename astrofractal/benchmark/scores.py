"""Scores of predicted log10 masses, per map and per protostar, and differences between methods."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from astrofractal._utils.random import keyed_generator


class Bootstrap:
    """
    Resamplings of clouds, and of the protostars in each of them.

    A protostar is resampled with all its maps, each of which may represent several (see
    `~astrofractal.mapset.MapSet.limit`).  The first "resampling" is the sample itself.
    """

    def __init__(
        self,
        protostars: np.ndarray,
        clouds: np.ndarray,
        *,
        n_draws: int = 1000,
        random_state: int = 0,
        represents: np.ndarray | None = None,
    ) -> None:
        self._represents = np.ones(len(protostars)) if represents is None else represents
        _, first, self._index = np.unique(protostars, return_index=True, return_inverse=True)
        cloud = np.asarray(clouds)[first]
        members = [np.flatnonzero(cloud == name) for name in np.unique(cloud)]
        generator = keyed_generator(random_state, "bootstrap")
        self._counts = np.zeros((n_draws + 1, len(first)))
        self._counts[0] = 1
        for row in self._counts[1:]:
            for k in generator.integers(len(members), size=len(members)):
                n = len(members[k])
                row[members[k]] += generator.multinomial(n, np.full(n, 1 / n))

    def scores(self, true: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
        """Return R2 and RMSE of each resampling, with maps and with protostars of equal weight."""
        maps = self._represents
        n_maps = np.bincount(self._index, maps)[self._index]
        centered, squared = true - true.mean(), (true - predicted) ** 2
        found = {}
        for suffix, weight in (("", maps), ("_protostar", maps / n_maps)):
            one, level, square, error = (
                self._counts @ np.bincount(self._index, weight * values)
                for values in (1.0, centered, centered**2, squared)
            )
            variance = square - level**2 / one
            with np.errstate(invalid="ignore", divide="ignore"):
                found[f"r2{suffix}"] = np.where(variance > 1e-12, 1 - error / variance, np.nan)
            found[f"rmse{suffix}"] = np.sqrt(error / one)
        return found


def with_error(name, values):
    """Return the value of a sample as ``name``, and its scatter over resamplings as ``name_err``."""
    return {name: float(values[0]), f"{name}_err": float(np.nanstd(values[1:]))}


def score(
    true: np.ndarray, predicted: np.ndarray, bootstrap: Bootstrap, *, protostars: np.ndarray
) -> dict[str, Any]:
    """Return the scores of log10 masses, each with its standard deviation (``_err``)."""
    scores: dict[str, Any] = {}
    for name, values in bootstrap.scores(true, predicted).items():
        scores |= with_error(name, values)
    return scores | {"n_effective": effective_sample_size(predicted - true, protostars)}


def effective_sample_size(residual, protostars):
    """Return the number of independent maps that the maps are worth."""
    # residual 1D; protostars 1D
    _, index, n = np.unique(protostars, return_inverse=True, return_counts=True)
    if len(n) < 2 or n.max() == 1:
        return float(len(residual))
    mean = np.bincount(index, residual) / n
    between = (n * (mean - residual.mean()) ** 2).sum() / (len(n) - 1)
    within = ((residual - mean[index]) ** 2).sum() / (n.sum() - len(n))
    typical = (n.sum() - (n**2).sum() / n.sum()) / (len(n) - 1)
    correlation = (between - within) / max(between + (typical - 1) * within, 1e-12)
    return float(n.sum() ** 2 / (n * (1 + (n - 1) * np.clip(correlation, 0, 1))).sum())


def paired_rows(
    true: np.ndarray,
    predictions: dict[str, np.ndarray],
    pairs: Iterable[tuple[str, str]],
    *,
    protostars: np.ndarray,
    clouds: np.ndarray,
    represents: np.ndarray | None = None,
    n_draws: int = 1000,
    random_state: int = 0,
) -> Iterator[dict[str, Any]]:
    """
    Yield the differences of R2 of pairs of methods on the same maps, for all clouds and for each.

    ``predictions`` has the log10 masses of each method, ``pairs`` the names of a method and of the one
    that it is compared with; both are resampled together.
    """
    pairs = list(pairs)
    for cloud in ("all", *np.unique(clouds).tolist()):
        rows = np.ones(len(true), bool) if cloud == "all" else clouds == cloud
        bootstrap = Bootstrap(
            protostars[rows], clouds[rows], n_draws=n_draws, random_state=random_state,
            represents=None if represents is None else represents[rows],
        )  # fmt: skip
        names = dict.fromkeys(name for pair in pairs for name in pair)
        found = {name: bootstrap.scores(true[rows], predictions[name][rows]) for name in names}
        for method, reference in pairs:
            row = {
                "method": method,
                "reference": reference,
                "cloud": cloud,
                "n_maps": int(rows.sum()),
                "n_protostars": len(np.unique(protostars[rows])),
            }
            for name in ("r2_protostar", "r2"):
                row |= with_error(name, found[method][name] - found[reference][name])
            yield row
