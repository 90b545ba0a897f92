"""Pages, docstrings and messages use plain English words."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: Animism, German idiom and private words, which readers of a page cannot look up.
WORDS = re.compile(
    r"\b(opponents?|told by|go(es)? on with|the published head|what was aimed|beside|forgets?|knows)\b",
    re.IGNORECASE,
)


def texts():
    """Return the pages and the modules, but for research notes and what a build has made."""
    pages = [ROOT / "README.rst", ROOT / "CHANGES.rst", ROOT / "CONTRIBUTING.rst"]
    pages += sorted((ROOT / "docs").rglob("*.rst"))
    pages += sorted((ROOT / "astrofractal").rglob("*.py"))
    made = ("_build", "generated", "api", "research")
    return [path for path in pages if not set(path.relative_to(ROOT).parts) & set(made)]


def test_words():
    if not (ROOT / "docs").is_dir():
        pytest.skip("the pages are not here")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in texts()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if WORDS.search(line)
    ]
    assert found == []
