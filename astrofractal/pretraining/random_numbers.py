"""Random numbers on any device: each a function of seed, image, view, draw and place alone."""

import math

import numpy as np
import torch

#: The most draws of one view.
_MAX_DRAWS = 64

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_M1, _M2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)

# As signed 32-bit integers, whose products wrap around.
_STEP, _A, _B = -0x61C88647, 0x7FEB352D, -0x7B935975


class Numbers:
    """Draw random numbers for a batch of images."""

    def __init__(self, seed, images, view, device="cpu"):
        key = np.asarray(images, dtype=np.uint64)[:, None]
        with np.errstate(over="ignore"):
            for word in (seed, view, np.arange(_MAX_DRAWS)):
                key = _mix64(key * _GOLDEN + np.asarray(word, dtype=np.uint64))
        halves = np.stack([key & np.uint64(0xFFFFFFFF), key >> np.uint64(32)])
        self._keys = torch.from_numpy(halves.astype(np.uint32).view(np.int32)).to(device)
        self._draw = 0

    def bits(self, n):
        """Draw 32 bits ``n`` times per image."""
        if self._draw == _MAX_DRAWS:
            msg = f"a view must not draw more than {_MAX_DRAWS} times"
            raise ValueError(msg)
        low, high = self._keys[:, :, self._draw, None]
        self._draw += 1
        place = torch.arange(n, dtype=torch.int32, device=self._keys.device)
        return _mix32(_mix32(place * _STEP + low).bitwise_xor_(high))

    def uniform(self, *shape):
        """Draw uniform numbers in [0, 1)."""
        bits = self.bits(math.prod(shape))
        return (_shifted(bits, 8).float() * 2.0**-24).reshape(len(bits), *shape)

    def normal(self, *shape):
        """Draw normal numbers (Box & Muller 1958), which are below 5.8 in size."""
        n = math.prod(shape)
        radius, angle = _shifted(self.bits(n + n % 2), 8).float().chunk(2, 1)
        radius = ((radius + 1.0) * 2.0**-24).log_().mul_(-2.0).sqrt_()
        angle = angle * (2.0 * math.pi * 2.0**-24)
        values = torch.cat([radius * angle.cos(), radius * angle.sin()], 1)
        return values[:, :n].reshape(len(values), *shape)


def _mix64(z):
    z = (z ^ (z >> np.uint64(30))) * _M1
    z = (z ^ (z >> np.uint64(27))) * _M2
    return z ^ (z >> np.uint64(31))


def _mix32(x):
    """Scramble 32 bits in place."""
    x ^= _shifted(x, 16)
    x *= _A
    x ^= _shifted(x, 15)
    x *= _B
    x ^= _shifted(x, 16)
    return x


def _shifted(x, n):
    """Shift to the right, with zeros from the left."""
    return (x >> n).bitwise_and_((1 << (32 - n)) - 1)
