"""What is asked: scores on unseen clouds, few labels, degraded maps, intervals."""

from functools import partial

import numpy as np
from astropy import units as u
from astropy.table import QTable
from scipy.ndimage import gaussian_filter

from astrofractal._utils.random import keyed_generator
from astrofractal.benchmark.methods import HAND_MADE
from astrofractal.benchmark.scorer import Scorer, make_protocol
from astrofractal.benchmark.scores import Bootstrap, score, with_error
from astrofractal.gasmap.moments import CHANNEL_SETS, CHANNELS, STANDARD_SHAPE, STANDARD_WIDTH
from astrofractal.mapset import MapSet
from astrofractal.observing import Telescope

#: The numbers of labeled protostars of the learning curves; `None`: all.
N_PROTOSTARS = (4, 8, 16, 32, 64, 128, None)


def _described(method, channels):
    return {
        "method": method.name,
        "features": str(method.features),
        "regressor": method.regressor_label,
        "channels": " + ".join(channels),
    }


def score_rows(scorer, method, protocol, prediction, *, random_state=0):
    """Score what a method predicted of the maps that were tested, all together, then each cloud."""
    maps, log_mass = scorer.maps, prediction.log_mass
    tested = np.isfinite(log_mass)
    for cloud in ("all", *np.unique(maps.clouds[tested]).tolist()):
        rows = tested if cloud == "all" else tested & (maps.clouds == cloud)
        protostars = maps.protostars[rows]
        options = {"represents": maps.represents[rows], "random_state": random_state}
        bootstrap = Bootstrap(protostars, maps.clouds[rows], **options)
        yield {
            "protocol": protocol.name,
            **_described(method, scorer.channels),
            "cloud": cloud,
            "n_maps": int(rows.sum()),
            "n_protostars": len(np.unique(protostars)),
            **score(maps.log_masses[rows], log_mass[rows], bootstrap, protostars=protostars),
            "n_labels": prediction.n_labels,
        }


def paired_with(methods):
    """List what each method is compared with: hand-made features, and its untrained twin."""
    pairs = []
    for method in methods:
        references = dict.fromkeys((HAND_MADE, method.twin))
        pairs += [(method.name, r) for r in references if r not in (None, method.name)]
    return pairs


def learning_rows(scorer, method, protocol, *, sizes=N_PROTOSTARS, random_state=0):
    """Score a method against the number of labeled protostars."""
    maps = scorer.maps
    for n in sizes:
        for kind in ("one", "all"):
            n_draws = max(2, min(8, 128 // n)) if n else 1 if kind == "all" else 4
            draws = []
            for draw in range(n_draws):
                generator = keyed_generator(random_state, f"labels {draw}")
                choose = partial(_draw, maps, n, kind, generator)
                result = scorer.evaluate(method, protocol, choose=choose)
                rows = np.isfinite(result.log_mass)
                once = Bootstrap(
                    maps.protostars[rows], maps.clouds[rows], n_draws=0,
                    represents=maps.represents[rows],
                )  # fmt: skip
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
    """Return the groups that distinguish few labels."""
    # protostars, clouds 1D
    names, index = np.unique(protostars, return_inverse=True)
    if len(names) >= n_least * len(np.unique(clouds)):
        return clouds
    return index % max(1, len(names) // n_least)


def _islands(part, n=64):
    """Return ragged islands, some six pixels wide, that cover a part of a map."""
    field = keyed_generator(0, "islands").standard_normal((n, *STANDARD_SHAPE))
    field = gaussian_filter(field, (0, 3, 3))
    hidden = field < np.quantile(field, part, axis=(1, 2), keepdims=True)
    return np.repeat(hidden[:, None], 3, axis=1)


def _noisy(ratio):
    """Return a telescope of a signal-to-noise ratio, of N and of the typical dispersion, 0.4 km/s."""
    velocity = 0.4 / ratio * u.km / u.s
    return Telescope(noise=1 / ratio, velocity_noise=velocity, dispersion_noise=velocity)


_PIXEL = STANDARD_WIDTH / STANDARD_SHAPE[1]

#: What the study of degradations goes through: kind, level and telescope.  The first ones matter most.
DEGRADATIONS = (
    ("none", 0, Telescope()),
    ("signal-to-noise", 10, _noisy(10)),
    ("beam", 4, Telescope(beam=4 * u.pix)),
    ("off-center", 1, Telescope()),
    ("pixels", 2, Telescope(pixel_scale=2 * _PIXEL)),
    ("signal-to-noise", 3, _noisy(3)),
    ("mask", 0.3, Telescope(footprint=~_islands(0.3))),
    ("beam", 2, Telescope(beam=2 * u.pix)),
    ("off-center", 2, Telescope()),
    ("beam", 8, Telescope(beam=8 * u.pix)),
    ("signal-to-noise", 30, _noisy(30)),
    ("pixels", 4, Telescope(pixel_scale=4 * _PIXEL)),
    ("mask", 0.1, Telescope(footprint=~_islands(0.1))),
    ("largest scale", 16, Telescope(largest_scale=16 * u.pix)),
    *(("channels", len(c), Telescope(channels=c)) for c in CHANNEL_SETS if c != CHANNELS),
)


def degraded(maps, kind, level, telescope, *, random_state=0):
    """Return labeled maps as a telescope, or a wrong position (kind "off-center"), shows them."""
    if kind in ("none", "channels"):
        return maps
    if kind == "off-center":
        return off_center(maps, level, random_state=random_state)
    return with_images(maps, telescope.observe_images(maps.images, random_state=random_state))


def off_center(maps, distance, *, random_state=0):
    """Return maps that are shifted by pixels along one axis or the other; the border is repeated."""
    images, d = maps.images, int(distance)
    padded = np.pad(images, [(0, 0), (0, 0), (d, d), (d, d)], "edge")
    ny, nx = images.shape[2:]
    moved = np.empty_like(images)
    generator = keyed_generator(random_state, "off center")
    for i, k in enumerate(generator.integers(4, size=len(images))):
        y, x = d + d * np.array([(1, 0), (-1, 0), (0, 1), (0, -1)][k])
        moved[i] = padded[i, :, y : y + ny, x : x + nx]
    return with_images(maps, moved)


def with_images(maps, images):
    """Return labeled maps with other images."""
    return MapSet(
        images, maps.masses, clouds=maps.clouds, protostars=maps.protostars, times=maps.times,
        axes=maps.axes, represents=maps.represents, pixel_scale=maps.pixel_scale,
    )  # fmt: skip


def degradation_rows(scorer, methods, degradation, *, random_state=0):
    """Score methods on maps that are seen less well, calibrated on maps that are seen alike."""
    kind, level, telescope = degradation
    maps = degraded(scorer.maps, *degradation, random_state=random_state)
    seen = Scorer(maps, scorer.store, channels=telescope.channels)
    protocol = make_protocol("leave-cloud-out", maps)
    bootstrap = Bootstrap(maps.protostars, maps.clouds, random_state=random_state)
    reference = None
    for method in methods:
        log_mass = seen.evaluate(method, protocol).log_mass
        found = bootstrap.scores(maps.log_masses, log_mass)
        reference = reference or found
        row = {"kind": kind, "level": float(level)}
        row |= _described(method, telescope.channels) | {"n_maps": len(maps)}
        row |= score(maps.log_masses, log_mass, bootstrap, protostars=maps.protostars)
        row["reference"] = methods[0].name
        row |= with_error("r2_difference", found["r2_protostar"] - reference["r2_protostar"])
        yield row


def interval_table(scorer, method, protocol):
    """Predict with intervals, as the package does for its users."""
    maps, result = scorer.maps, scorer.evaluate(method, protocol, intervals=True)
    table = QTable({"cloud": maps.clouds, "sink": maps.protostars, "log_mass": maps.log_masses})
    table["predicted"] = result.log_mass
    table["half_68"], table["half_90"] = result.half_68, result.half_90
    return table
