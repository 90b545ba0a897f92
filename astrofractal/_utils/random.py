"""Random numbers: every independent draw has a generator of its own."""

import hashlib

import numpy as np


def keyed_generator(random_state, key):
    """Return the generator of the draw that a key names, which is independent of those of other keys."""
    digest = hashlib.sha256(key.encode()).digest()
    return np.random.default_rng([random_state, *np.frombuffer(digest[:16], "<u4").tolist()])
