"""Counter-based random numbers in torch, against the same arithmetic in Python's integers."""

import numpy as np
import pytest
import torch

from astrofractal.encoder.backbone import full_precision
from astrofractal.pretraining.random_numbers import Numbers


def _mix64(z):
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return z ^ z >> 31


def _mix32(x):
    x = (x ^ x >> 16) * 0x7FEB352D % 2**32
    x = (x ^ x >> 15) * 0x846CA68B % 2**32
    return x ^ x >> 16


def _expected(seed, image, view, draw, place):
    key = image
    for word in (seed, view, draw):
        key = _mix64((key * 0x9E3779B97F4A7C15 + word) % 2**64)
    first = _mix32((place * 0x9E3779B9 + key) % 2**32)
    return _mix32(first ^ key >> 32)


@pytest.mark.parametrize(("seed", "first", "view"), [(0, 0, 0), (4294967295, 10**9, 7)])
def test_bits_are_those_of_plain_integers(seed, first, view):
    numbers = Numbers(seed, range(first, first + 3), view)
    for draw in range(3):
        found = numbers.bits(50).numpy().view(np.uint32)
        expected = [
            [_expected(seed, first + i, view, draw, place) for place in range(50)] for i in range(3)
        ]
        np.testing.assert_array_equal(found, expected)


def test_numbers_of_an_image_do_not_depend_on_its_batch():
    one, many = Numbers(3, [5], 2), Numbers(3, range(8), 2)
    for draw in ("uniform", "normal", "uniform"):
        alone, among = (getattr(numbers, draw)(3, 7) for numbers in (one, many))
        assert alone.shape == (1, 3, 7)
        assert torch.equal(alone[0], among[5])


def test_numbers_are_uniform_and_normal_and_independent():
    uniform, normal = Numbers(0, range(500), 0), Numbers(0, range(500), 1)
    u, z = uniform.uniform(400).double(), normal.normal(399).double()
    assert 0 <= u.min() < u.max() < 1
    counts = np.histogram(u, 256, (0, 1))[0]
    assert ((counts - u.numel() / 256) ** 2 / (u.numel() / 256)).sum() < 255 + 4 * 22.6
    moments = [(z**power).mean().item() for power in range(1, 5)]
    assert moments == pytest.approx([0, 1, 0, 3], abs=0.04)
    for values in (u, z):  # images, and places of one draw
        for pairs in (values, values.T):
            assert abs(np.corrcoef(pairs)[np.triu_indices(len(pairs), 1)]).max() < 6 / 399**0.5
    assert abs(np.corrcoef(u[:, :399].flatten(), z.flatten())[0, 1]) < 0.01
    assert Numbers(0, [0], 0).normal().shape == (1,)


def test_a_view_does_not_draw_for_ever():
    numbers = Numbers(0, [0], 0)
    with pytest.raises(ValueError, match="more than 64 times"):
        for _ in range(65):
            numbers.bits(1)


def test_full_precision_switches_tf32_off_and_on_again():
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    try:
        with full_precision(torch.device("cuda")):
            assert torch.get_float32_matmul_precision() == "highest"
            assert not torch.backends.cudnn.allow_tf32
        assert torch.get_float32_matmul_precision() == "high"
        assert torch.backends.cudnn.allow_tf32
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
