"""The registry of flags against the code that sets them and the table that explains them."""

import re
from pathlib import Path

from astrofractal.flags import FLAGS

ROOT = Path(__file__).parents[1]


def test_documentation_explains_every_flag():
    page = (ROOT / "docs" / "user" / "flags.rst").read_text()
    rows = re.findall(r"\* - ``([\w-]+)``\n +- (.*)\n +- (.*)\n", page)
    assert rows == [(flag.name, flag.description, flag.set_by) for flag in FLAGS.values()]
