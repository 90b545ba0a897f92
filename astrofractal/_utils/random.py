"""Random numbers: every independent draw has a generator of its own."""

import hashlib

import numpy as np


def keyed_generator(random_state, key):
    """
    Return the generator of the draw that a key names.

    Two generators of one seed give the same permutation, so that what one draw selects another
    selects as well; the key makes them independent.
    """
    digest = hashlib.sha256(key.encode()).digest()
    return np.random.default_rng([random_state, *np.frombuffer(digest[:16], "<u4").tolist()])
