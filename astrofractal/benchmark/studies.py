"""What is asked: scores on unseen clouds, few labels, degraded maps, intervals."""

from functools import partial

import numpy as np

from astrofractal.benchmark.methods import OPPONENT
from astrofractal.benchmark.scorer import Scorer, make_protocol
from astrofractal.benchmark.scores import Bootstrap, mass_range_scores, score
from astrofractal.mass.weights import protostar_weights

__all__ = [
    "N_PROTOSTARS",
    "degradation_rows",
    "interval_rows",
    "label_groups",
    "learning_rows",
    "paired_with",
    "score_rows",
]

#: The numbers of labeled protostars of the learning curves; `None`: all.
N_PROTOSTARS = (4, 8, 16, 32, 64, 128, None)


def _described(method, channels):
    return {
        "method": method.name,
        "features": str(method.features),
        "regressor": method.regressor_label,
        "channels": " + ".join(channels),
    }


def _scores(maps, log_mass, random_state):
    """Score the maps that were tested; all of them together, then each cloud."""
    tested = np.isfinite(log_mass)
    for cloud in ("all", *np.unique(maps.clouds[tested]).tolist()):
        rows = tested if cloud == "all" else tested & (maps.clouds == cloud)
        protostars = maps.protostars[rows]
        bootstrap = Bootstrap(protostars, maps.clouds[rows], random_state=random_state)
        yield {
            "cloud": cloud,
            "n_maps": int(rows.sum()),
            "n_protostars": len(np.unique(protostars)),
            **score(maps.log_masses[rows], log_mass[rows], bootstrap, protostars=protostars),
        }


def score_rows(scorer, method, protocol, prediction, *, random_state=0):
    """Score what a method predicted."""
    for scores in _scores(scorer.maps, prediction.log_mass, random_state):
        yield {
            "protocol": protocol.name,
            **_described(method, scorer.channels),
            **scores,
            "n_labels": prediction.n_labels,
            "fit_time": prediction.fit_time,
            "predict_time": prediction.predict_time,
        }


def paired_with(methods):
    """List what each method is compared with: the best formulas, profiles, and its random twin."""
    pairs = []
    for method in methods:
        references = dict.fromkeys((OPPONENT, "profiles", method.twin))
        pairs += [(method.name, r) for r in references if r not in (None, method.name)]
    return pairs


def learning_rows(scorer, method, protocol, *, sizes=N_PROTOSTARS, random_state=0):
    """Score a method against the number of labeled protostars."""
    maps = scorer.maps
    for n in sizes:
        for kind in ("one", "all"):
            n_draws = (
                1 if (n, kind) == (None, "all") else 4 if n is None else max(2, min(8, 128 // n))
            )
            draws = []
            for draw in range(n_draws):
                generator = np.random.default_rng((random_state, draw))

                choose = partial(_draw, maps, n, kind, generator)
                result = scorer.evaluate(method, protocol, choose=choose)
                rows = np.isfinite(result.log_mass)
                once = Bootstrap(maps.protostars[rows], maps.clouds[rows], n_draws=0)
                draws.append(once.scores(maps.log_masses[rows], result.log_mass[rows]))
            row = {**_described(method, scorer.channels), "maps": kind}
            row |= {"n_labels": result.n_labels, "n_draws": n_draws}
            for name in draws[0]:
                values = [found[name][0] for found in draws]
                row[name], row[f"{name}_scatter"] = float(np.mean(values)), float(np.std(values))
            yield row


def _draw(maps, n, kind, generator, train):
    """Draw ``n`` protostars of the maps ``train``, one map or all of each, and their groups."""
    protostars = maps.protostars
    order = generator.permutation(train)
    names, first = np.unique(protostars[order], return_index=True)
    picked = generator.permutation(len(names))[:n]
    if kind == "one":
        chosen = np.sort(order[first[picked]])
    else:
        chosen = train[np.isin(protostars[train], names[picked])]
    return chosen, label_groups(protostars[chosen], maps.clouds[chosen])


def label_groups(protostars, clouds, *, n_least=4):
    """Return the groups by which few labels are told apart."""
    # protostars, clouds 1D
    names, index = np.unique(protostars, return_inverse=True)
    if len(names) >= n_least * len(np.unique(clouds)):
        return clouds
    return index % max(1, len(names) // n_least)


def degradation_rows(scorer, methods, degradation, *, random_state=0):
    """Score methods on maps that are seen less well, calibrated on maps that are seen alike."""
    maps = degradation.apply(scorer.maps, random_state=random_state)
    seen = Scorer(maps, scorer.store, channels=degradation.channels)
    protocol = make_protocol("leave-cloud-out", maps)
    bootstrap = Bootstrap(maps.protostars, maps.clouds, random_state=random_state)
    reference = None
    for method in methods:
        log_mass = seen.evaluate(method, protocol).log_mass
        found = bootstrap.scores(maps.log_masses, log_mass)
        reference = reference or found
        row = {"kind": degradation.kind, "level": float(degradation.level)}
        row |= _described(method, degradation.channels) | {"n_maps": len(maps)}
        row |= score(maps.log_masses, log_mass, bootstrap, protostars=maps.protostars)
        difference = found["r2_protostar"] - reference["r2_protostar"]
        row |= {"reference": methods[0].name, "r2_difference": float(difference[0]),
                "r2_difference_err": float(np.nanstd(difference[1:]))}  # fmt: skip
        yield row


def interval_rows(scorer, method, protocol):
    """Predict with intervals, as the package does for its users."""
    maps, result = scorer.maps, scorer.evaluate(method, protocol, intervals=True)
    columns = {
        "cloud": maps.clouds.tolist(),
        "sink": maps.protostars.tolist(),
        "log_mass": maps.log_masses.tolist(),
        "predicted": result.log_mass.tolist(),
        "half_68": result.half_68.tolist(),
        "half_90": result.half_90.tolist(),
    }
    rows = [dict(zip(columns, values)) for values in zip(*columns.values())]
    weights = protostar_weights(maps.protostars, 1)
    ranges = mass_range_scores(maps.log_masses, result.log_mass, result.half_68, weights)
    return rows, list(ranges)
