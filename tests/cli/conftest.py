"""No command reaches the network, and segments are made of few views."""

import socket
from functools import partial

import pytest

import astrofractal


class NoSocket(socket.socket):
    """A socket that is never opened."""

    def __init__(self, *args, **kwargs):
        msg = "a command opened a socket"
        raise AssertionError(msg)


@pytest.fixture(autouse=True, scope="module")
def _offline():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "socket", NoSocket)
        yield


@pytest.fixture(scope="module")
def few_views():
    """Four views of each pixel; the default is that of tests/segmentation and of README's commands."""
    quick = partial(astrofractal.FeatureSegmenter, n_views=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(astrofractal, "FeatureSegmenter", quick)
        yield
