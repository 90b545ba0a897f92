"""What the package says of itself agrees with itself."""

import ast
import configparser
import re
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


# The source distribution does not hold what serves the repository alone.
needs_repository = pytest.mark.skipif(
    not (ROOT / ".zenodo.json").is_file(), reason="needs the repository"
)


def config(name):
    parser = configparser.ConfigParser()
    parser.read(ROOT / name, encoding="utf-8")
    return parser


@needs_repository
def test_files_that_repeat_setup_cfg_are_generated():
    script = ROOT / "tools/make_metadata.py"
    found = subprocess.run(
        [sys.executable, script, "--check"], capture_output=True, text=True, check=False
    )
    assert found.stdout.strip() == ""  # otherwise run it without --check
    assert found.returncode == 0


def test_classifiers_are_the_versions_that_are_tested():
    versions = re.findall(r"Python :: (3\.\d+)", config("setup.cfg")["metadata"]["classifiers"])
    tested = re.search(r"py\{([\d,]+)\}-test\n", config("tox.ini")["tox"]["envlist"])[1]
    assert [v.replace(".", "") for v in versions] == tested.split(",")


@needs_repository
def test_jobs_are_environments_of_tox():
    known = set()
    for line in config("tox.ini")["tox"]["envlist"].split():
        head, _, rest = line.partition("{")
        inside, _, tail = rest.partition("}")
        known |= {head + part + tail for part in inside.split(",")}
    path = ROOT / ".github/workflows/ci.yml"
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    run = {
        (system, name)
        for job in jobs.values()
        for entry in yaml.safe_load(job.get("with", {}).get("envs", "[]"))
        for system, name in entry.items()
        if system in ("linux", "macos", "windows")
    }
    assert {name for _, name in run} <= known
    assert {system for system, _ in run} == {"linux", "macos", "windows"}
    for python in ("py311", "py312", "py313"):
        assert any(name.startswith(f"{python}-test") for _, name in run)
    for kind in ("oldestdeps", "devdeps", "alldeps", "build_docs", "linkcheck", "codestyle"):
        assert any(kind in name for _, name in run)


def required():
    """Return the lower bounds of what the package needs, by name."""
    return dict(
        re.findall(r"^([\w-]+)>=(\S+)$", config("setup.cfg")["options"]["install_requires"], re.M)
    )


def imported(path):
    """Yield the packages that a file imports, those of type checkers included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.partition(".")[0]


def test_what_is_imported_is_declared():
    setup = config("setup.cfg")
    declared = set(required())
    for extra in ("pretrain", "cube", "simulations", "dask", "hats", "onnx", "benchmark"):
        declared |= set(
            re.findall(r"^([\w-]+)", setup["options.extras_require"][extra].strip(), re.M)
        )
    names = {"sklearn": "scikit-learn", "mpl_toolkits": "matplotlib", "llvmlite": "numba"}
    found = {
        names.get(name, name.replace("_", "-"))
        for path in (ROOT / "astrofractal").rglob("*.py")
        for name in imported(path)
        if name not in sys.stdlib_module_names and name != "astrofractal"
    }
    assert found <= declared


def test_the_wheel_stays_below_30_mb():
    paths = [path for path in (ROOT / "astrofractal/data").iterdir() if path.is_file()]
    assert sum(len(zlib.compress(path.read_bytes())) for path in paths) < 29e6


@needs_repository
def test_the_paper_has_the_numbers_of_the_pages_and_its_references():
    paper = (ROOT / "paper/paper.md").read_text(encoding="utf-8")
    body = paper.split("---\n", 2)[2]
    names = ("understand/accuracy", "research/flames", "research/paper_table")
    pages = "".join((ROOT / f"docs/{name}.rst").read_text(encoding="utf-8") for name in names)
    scores = re.search(r"\(the default\)\*\* +(\d\.\d\d) +(\d\.\d\d) ", pages).groups()
    assert f"R^2^ = {' ± '.join(scores)} of the logarithm" in body
    numbers = set(re.findall(r"\d\.\d\d(?: ± \d\.\d\d)?", body)) - {" ± ".join(scores)}
    assert len(numbers) >= 5
    assert all(number in pages for number in numbers)
    maps = re.search(r"[\d,]+ maps of \d+ protostars", body).group()
    assert maps in pages
    bibliography = (ROOT / "paper/paper.bib").read_text(encoding="utf-8")
    keys = set(re.findall(r"^@\w+\{(\w+),", bibliography, re.M))
    assert set(re.findall(r"@(\w+)", body)) == keys
    headings = re.findall(r"^# (.+)$", body, re.M)
    assert headings == [
        "Summary", "Statement of need", "State of the field", "Software design",
        "Research impact statement", "AI usage disclosure", "Acknowledgements", "References",
    ]  # fmt: skip


def test_changes_have_names_that_towncrier_takes():
    kinds = "general|feature|bugfix|api"
    for path in (ROOT / "docs/changes").iterdir():
        assert path.name in {"README.rst", "template.rst.jinja"} or re.fullmatch(
            rf"(\d+|\+[\w-]+)\.({kinds})\.rst", path.name
        )
    assert ".. towncrier release notes start\n" in (ROOT / "CHANGES.rst").read_text("utf-8")
