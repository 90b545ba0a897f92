"""Scores of predicted log10 masses, with bootstrap error bars over whole groups."""

import numpy as np

from astrofractal.mass.validation import r2_score

__all__ = ["mass_range_scores", "score"]


def score(true, predicted, groups, *, half_68=None, half_90=None, n_bootstrap=300, random_state=0):
    """
    Score predictions.

    Parameters
    ----------
    true, predicted : 1D `~numpy.ndarray`
        log10 masses.

    groups : 1D `~numpy.ndarray`
        The cloud or protostar of each map: what the bootstrap resamples.

    half_68, half_90 : 1D `~numpy.ndarray`, optional
        Half the widths of the 68 % and 90 % intervals in dex.

    n_bootstrap : int, optional
        The number of resamplings.

    random_state : int, optional
        The seed.

    Returns
    -------
    scores : dict
        ``r2``, ``r2_err``, ``rmse``, ``rmse_err`` (dex), ``median_absolute_error`` (dex),
        ``coverage_68``, ``coverage_90`` (NaN without intervals).
    """
    residual = predicted - true
    generator = np.random.default_rng(random_state)
    _, index = np.unique(groups, return_inverse=True)
    members = [np.flatnonzero(index == i) for i in range(index.max() + 1)]
    r2, rmse = [], []
    for _ in range(n_bootstrap if len(members) > 1 else 0):
        chosen = generator.integers(0, len(members), len(members))
        rows = np.concatenate([members[i] for i in chosen])
        r2.append(r2_score(true[rows], predicted[rows]))
        rmse.append(np.sqrt(np.mean(residual[rows] ** 2)))
    halves = {"coverage_68": half_68, "coverage_90": half_90}
    return {
        "r2": r2_score(true, predicted),
        "r2_err": float(np.std(r2)) if r2 else np.nan,
        "rmse": float(np.sqrt(np.mean(residual**2))),
        "rmse_err": float(np.std(rmse)) if rmse else np.nan,
        "median_absolute_error": float(np.median(np.abs(residual))),
        **{
            name: np.nan if half is None else float(np.mean(np.abs(residual) <= half))
            for name, half in halves.items()
        },
    }


def mass_range_scores(true, predicted, half_68, *, edges=(-1.5, -0.5, 0.0, 0.5, 1.0, 1.6)):
    """
    Score predictions by the true mass.

    Parameters
    ----------
    true, predicted, half_68 : 1D `~numpy.ndarray`
        log10 masses, and half the widths of the 68 % intervals.

    edges : tuple of float, optional
        The edges of the ranges of log10 mass.

    Returns
    -------
    rows : list of dict
        ``log_mass_min``, ``log_mass_max``, ``n_maps``, ``bias``, ``rmse`` (dex), ``coverage_68``.
    """
    rows = []
    for low, high in zip(edges, edges[1:]):
        inside = (true >= low) & (true < high)
        if not inside.any():
            continue
        residual = (predicted - true)[inside]
        rows.append(
            {
                "log_mass_min": low,
                "log_mass_max": high,
                "n_maps": int(inside.sum()),
                "bias": float(residual.mean()),
                "rmse": float(np.sqrt(np.mean(residual**2))),
                "coverage_68": float(np.mean(np.abs(residual) <= half_68[inside])),
            }
        )
    return rows
