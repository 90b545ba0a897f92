"""Counter-based random numbers: a value is a function of a key and a counter, nothing else."""

import numpy as np

from astrofractal._utils.compiled import njit

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S40 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(40)
_ONE = np.uint64(1)
_SCALE = np.float32(2.0**-24)
_H1, _H2 = np.uint32(0x7FEB352D), np.uint32(0x846CA68B)
_T16, _T15 = np.uint32(16), np.uint32(15)


@njit(nogil=True)
def mix64(z):
    """Scramble 64 bits (the finalizer of SplitMix64; Steele, Lea & Flood 2014)."""
    z = (z ^ (z >> _S30)) * _M1
    z = (z ^ (z >> _S27)) * _M2
    return z ^ (z >> _S31)


@njit(nogil=True)
def derive_key(key, word):
    """Return a new key that depends on every bit of ``key`` and ``word``."""
    return mix64(mix64(key + _GOLDEN) ^ (np.uint64(word) * _GOLDEN + _ONE))


@njit(nogil=True)
def uniform(key, counter):
    """Return the ``counter``-th float32 in [0, 1) of a key."""
    return np.float32(mix64(key + np.uint64(counter + 1) * _GOLDEN) >> _S40) * _SCALE


@njit(nogil=True, forceinline=True)
def bits32(z):
    """Scramble 32 bits, in a form that compilers vectorize (hash by C. Wellons, public domain)."""
    # Numba carries products of 32-bit integers in 64 bits; the low 32 bits are the ones to use.
    z = (z ^ (z >> _T16)) * _H1
    z = (z ^ (z >> _T15)) * _H2
    return z ^ (z >> _T16)


def key_of(*words):
    """Return the key of a sequence of integers, as `numpy.uint64`."""
    key = 0
    for word in words:
        key = int(derive_key(np.uint64(key), np.uint64(int(word) & 0xFFFFFFFFFFFFFFFF)))
    return np.uint64(key)
