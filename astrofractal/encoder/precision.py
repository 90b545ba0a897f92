"""Full 32-bit arithmetic for what rounding would spoil."""

from contextlib import contextmanager

import torch

__all__ = ["full_precision"]


@contextmanager
def full_precision(device):
    """
    Compute in 32 bits while the block runs: neither in half precision nor in TF32.

    A protostar leaves contrasts of one per cent, which half precision does not resolve, nor TF32,
    ten bits that GPUs put in the place of 32-bit products and convolutions.

    Parameters
    ----------
    device : `torch.device`
        Where the block computes.
    """
    with torch.autocast(device.type, enabled=False):
        if device.type != "cuda":
            yield
            return
        before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before[0])
            torch.backends.cudnn.allow_tf32 = before[1]
