"""No command reaches the network."""

import socket

import pytest


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
