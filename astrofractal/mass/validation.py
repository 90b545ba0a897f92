"""How predictions are validated: folds of whole clouds, weights of protostars, scores."""

import numbers

import numpy as np
from sklearn.utils.validation import check_array, check_consistent_length, validate_data

__all__ = [
    "check_training",
    "grouped_folds",
    "protostar_weights",
    "r2_score",
    "rmse_score",
    "scores",
    "weighted_quantile",
]


def protostar_weights(protostars, exponent, represents=None):
    """
    Return the weight of each map, so that protostars with many maps do not outweigh the others.

    Parameters
    ----------
    protostars : array-like
        The protostar of each map.

    exponent : float
        The weight is the number of maps of the protostar to the power of minus this: with 0 each
        map has the same weight, with 1 each protostar.

    represents : 1D `~numpy.ndarray`, optional
        How many maps each map stands for; see `~astrofractal.mapset.MapSet.limit`.

    Returns
    -------
    weights : 1D `~numpy.ndarray`
        Of mean one.
    """
    _, index = np.unique(protostars, return_inverse=True)
    represents = np.ones(len(index)) if represents is None else np.asarray(represents, float)
    counts = np.bincount(index, represents)
    weights = represents * counts[index] ** -float(exponent)
    return weights / weights.mean()


def r2_score(true, predicted, weights=None):
    """Return the (weighted) coefficient of determination of log10 masses."""
    true, predicted = np.asarray(true, float), np.asarray(predicted, float)
    spread = np.average((true - np.average(true, weights=weights)) ** 2, weights=weights)
    return float(1 - np.average((true - predicted) ** 2, weights=weights) / spread)


def rmse_score(true, predicted, weights=None):
    """Return the (weighted) root-mean-square error of log10 masses."""
    error = np.asarray(predicted, float) - np.asarray(true, float)
    return float(np.sqrt(np.average(error**2, weights=weights)))


def scores(true, predicted, protostars, represents=None):
    """
    Score predictions per map and per protostar.

    Parameters
    ----------
    true, predicted : 1D `~numpy.ndarray`
        log10 masses.

    protostars : array-like
        The protostar of each map.

    represents : 1D `~numpy.ndarray`, optional
        How many maps each map stands for.

    Returns
    -------
    scores : dict
        ``r2``, ``rmse`` and ``mae`` (mean absolute error) in which each map has the same weight;
        ``r2_protostar``, ``rmse_protostar`` in which each protostar has; errors in dex.
    """
    weights = protostar_weights(protostars, 1, represents)
    return {
        "r2": r2_score(true, predicted, represents),
        "r2_protostar": r2_score(true, predicted, weights),
        "rmse": rmse_score(true, predicted, represents),
        "rmse_protostar": rmse_score(true, predicted, weights),
        "mae": float(np.average(np.abs(np.asarray(predicted) - true), weights=represents)),
    }


def grouped_folds(groups, *, max_folds=12):
    """
    Number the folds so that no group is divided.

    Parameters
    ----------
    groups : array-like
        The group of each map.

    max_folds : int, optional
        With more groups than this, several share a fold.

    Returns
    -------
    folds : 1D `~numpy.ndarray` of int
        The fold of each map.
    """
    _, index, counts = np.unique(groups, return_inverse=True, return_counts=True)
    if len(counts) <= max_folds:
        return index
    # Large groups first, each to the fold that has the fewest maps: deterministic and balanced.
    fold_of, sizes = np.zeros(len(counts), int), np.zeros(max_folds, int)
    for group in np.argsort(-counts, kind="stable"):
        fold_of[group] = np.argmin(sizes)
        sizes[fold_of[group]] += counts[group]
    return fold_of[index]


def weighted_quantile(values, weights, level):
    """Return the smallest of ``values`` that at least ``level`` of the weight does not exceed."""
    order = np.argsort(values)
    cumulative = np.cumsum(np.asarray(weights, float)[order])
    place = np.searchsorted(cumulative, level * cumulative[-1] * (1 - 1e-9))
    return float(values[order[min(place, len(order) - 1)]])


def check_training(estimator, X, y, sample_weight, groups):
    """
    Validate what a regressor is fitted on, as scikit-learn does.

    Parameters
    ----------
    estimator : `~sklearn.base.BaseEstimator`
        The regressor.

    X, y, sample_weight, groups : array-like
        As ``fit`` takes them.

    Returns
    -------
    X, y, weights, groups : `~numpy.ndarray`
        Double precision, without the rows of weight zero; weights of mean one; groups or `None`.
    """
    X, y = validate_data(estimator, X, y, dtype=np.float64, y_numeric=True)
    weights = np.ones(len(y))
    if sample_weight is not None and not isinstance(sample_weight, numbers.Real):
        weights = check_array(sample_weight, ensure_2d=False, dtype=np.float64)
    check_consistent_length(y, weights)
    keep = weights > 0
    if weights.ndim != 1 or not keep.any() or (weights < 0).any():
        msg = "sample_weight must have one dimension and be positive or, for some maps, zero"
        raise ValueError(msg)
    groups = None if groups is None else np.asarray(groups)[keep]
    weights = weights[keep]
    return X[keep], y[keep].astype(float), weights / weights.mean(), groups
