"""Fixtures shared by the tests of simulations."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def writers():
    """Functions that write tiny snapshots, from the module ``writers`` beside this one."""
    path = Path(__file__).with_name("writers.py")
    spec = spec_from_file_location("snapshot_writers", path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
