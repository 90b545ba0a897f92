"""The imports of the package point one way: that of the table in docs/architecture.rst."""

import ast
import re
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import astrofractal
from astrofractal import _HOMES as HOMES

ROOT = Path(astrofractal.__file__).parent
PAGE = Path(__file__).parents[1] / "docs" / "architecture.rst"
FILES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py"))


@cache
def table():
    """Return what each folder may import, in the order of the page."""
    text = PAGE.read_text(encoding="utf-8").partition("What each folder may import")[2]
    rows = re.findall(
        r"^    \* - ``(\w+)``\n      - .*?\n      -(.*?)(?=^    \* |^\S)", text, re.M | re.S
    )
    return {name: set(re.findall(r"``(\w+)``", allowed)) for name, allowed in rows}


#: Names of other packages that have no public spelling.
EXTERNAL = {
    "backbone._pos_embed",
    "low_level._wcs",
    "sys._getframe",
    "view._slices_array",
    "view._wcs",
}


def module_of(path):
    """Return the dotted name of a file of the package."""
    parts = path.with_suffix("").parts
    return ".".join(("astrofractal", *parts)).removesuffix(".__init__")


@cache
def nodes(path):
    """Return all nodes of the syntax tree of a file."""
    return tuple(ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))))


MODULES = {module_of(path): path for path in FILES}


@cache
def imports(path):
    """Return the module and the name of each import of ours, also of those inside functions."""
    found = []
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found += [(a.name, None) for a in node.names if a.name.startswith("astrofractal")]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("astrofractal"):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if node.module == "astrofractal" and alias.name in HOMES:
                    if not alias.name.startswith("__"):
                        found.append((HOMES[alias.name], alias.name))
                else:
                    found.append((full, None) if full in MODULES else (node.module, alias.name))
    return found


def folder(module):
    return module.split(".")[1]


def test_the_table_is_complete_and_points_up():
    folders = {path.parts[0].removesuffix(".py") for path in FILES} - {"__init__"}
    assert set(table()) == folders
    seen = set()
    for name, allowed in table().items():
        assert allowed <= seen, f"{name} imports what is not above it"
        seen.add(name)


def test_imports_are_allowed():
    wrong = []
    for path in FILES:
        own = folder(module_of(path)) if path != Path("__init__.py") else None
        if own is None:
            continue
        used = {folder(module) for module, _ in imports(path) if module != "astrofractal"} - {own}
        wrong += [f"{path}: {name}" for name in used - table()[own]]
    assert wrong == []


def test_no_circle():
    edges = {
        module: {used for used, _ in imports(path)} - {module, "astrofractal"}
        for module, path in MODULES.items()
        if module != "astrofractal"
    }
    try:
        tuple(TopologicalSorter(edges).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def private_names(path):
    """Yield the private names of other modules that a file uses."""
    for module, name in imports(path):
        private = [part for part in module.split(".")[2:] if part.startswith("_")]
        if private and private != ["_utils"] and folder(module) != folder(module_of(path)):
            yield module
        if name is not None and name.startswith("_") and not name.startswith("__"):
            yield f"{module}.{name}"
    own, used = set(), []
    for node in nodes(path):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            own.add(node.name)
        elif isinstance(node, ast.Attribute):
            if isinstance(node.ctx, ast.Store):
                own.add(node.attr)
            if re.match("_[^_]", node.attr):
                used.append(node)
    for node in used:
        text = ast.unparse(node)
        if node.attr not in own and text not in EXTERNAL and not re.match("(self|cls)[.]_", text):
            yield text


def test_no_private_name_of_another_module():
    assert {path: found for path in FILES if (found := list(private_names(path)))} == {}
