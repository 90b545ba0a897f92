"""Threads of this process share one setting of linear algebra, and leave it as it was."""

import pytest
import threadpoolctl

from astrofractal._utils.progress import one_blas_thread


@pytest.fixture
def blas(monkeypatch):
    """A library whose number of threads is that of the process."""
    state = {"threads": 8}

    class Limits:
        def __init__(self, limits, user_api):
            assert user_api == "blas"
            self.before, state["threads"] = state["threads"], limits

        def restore_original_limits(self):
            state["threads"] = self.before

    monkeypatch.setattr(threadpoolctl, "threadpool_limits", Limits)
    return state


def test_the_last_one_out_takes_the_limit_back(blas):
    first, second = one_blas_thread(), one_blas_thread()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert blas["threads"] == 1
    second.__exit__(None, None, None)
    assert blas["threads"] == 8


def test_an_error_takes_the_limit_back(blas):
    with pytest.raises(KeyError), one_blas_thread():
        raise KeyError
    assert blas["threads"] == 8
