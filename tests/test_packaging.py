"""What the package says of itself agrees with itself."""

import configparser
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


# The source distribution does not hold what serves the repository alone.
needs_repository = pytest.mark.skipif(
    not (ROOT / ".zenodo.json").is_file(), reason="needs the repository"
)


def config(name):
    parser = configparser.ConfigParser()
    parser.read(ROOT / name, encoding="utf-8")
    return parser


def lower_bounds():
    setup = config("setup.cfg")
    extras = setup["options.extras_require"]
    lists = [setup["options"]["install_requires"]]
    lists += [extras[name] for name in extras if name != "docs"]
    found = re.findall(r"^([\w-]+)(?:\[\w+\])?>=([\d.]+)$", "\n".join(lists), re.M)
    return sorted(set(found))


@pytest.mark.parametrize(("name", "version"), lower_bounds())
def test_oldest_dependencies_are_those_of_setup_cfg(name, version):
    pins = dict(re.findall(r"oldestdeps: ([\w-]+)==(\S+)", config("tox.ini")["testenv"]["deps"]))
    assert (pins[name] + ".0").startswith(version + ".")


@needs_repository
def test_metadata_files():
    setup = config("setup.cfg")["metadata"]
    codemeta = json.loads((ROOT / "codemeta.json").read_text(encoding="utf-8"))
    zenodo = json.loads((ROOT / ".zenodo.json").read_text(encoding="utf-8"))
    assert codemeta["description"] == setup["description"]
    assert codemeta["codeRepository"] == setup["url"]
    assert codemeta["author"][0]["name"] == zenodo["creators"][0]["name"] == setup["author"]
    assert codemeta["license"].endswith(setup["license_expression"])
