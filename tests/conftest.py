"""What all tests share: the data that are too large, or not ours, to ship."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data():
    """
    Folder of simulated and observed data; tests that need it are skipped without it.

    It is named by the environment variable ASTROFRACTAL_SHARED_DATA, or is ``shared/data`` beside
    the checkout.
    """
    named = os.environ.get("ASTROFRACTAL_SHARED_DATA")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the shared data, not found in {folder} (ASTROFRACTAL_SHARED_DATA)")
    return folder
