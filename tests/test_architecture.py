"""The imports of the package point one way: that of the table in docs/architecture.rst."""

import ast
import re
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import astrofractal

ROOT = Path(astrofractal.__file__).parent
PAGE = Path(__file__).parents[1] / "docs" / "architecture.rst"
FILES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py"))
IDS = [path.as_posix() for path in FILES]


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
def tree(path):
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


MODULES = {module_of(path): path for path in FILES}


def imports(path):
    """Yield the module and the name of each import of ours, also of those inside functions."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((a.name, None) for a in node.names if a.name.startswith("astrofractal"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("astrofractal"):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if node.module == "astrofractal" and alias.name in astrofractal.__all__:
                    if not alias.name.startswith("__"):
                        yield getattr(astrofractal, alias.name).__module__, alias.name
                else:
                    yield (full, None) if full in MODULES else (node.module, alias.name)


def folder(module):
    return module.split(".")[1]


def test_the_table_is_complete_and_points_up():
    folders = {path.parts[0].removesuffix(".py") for path in FILES} - {"__init__"}
    assert set(table()) == folders
    seen = set()
    for name, allowed in table().items():
        assert allowed <= seen, f"{name} imports what is not above it"
        seen.add(name)


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_imports_are_allowed(path):
    if path.name == "__init__.py" and len(path.parts) == 1:
        return
    own = folder(module_of(path))
    used = {folder(module) for module, _ in imports(path) if module != "astrofractal"} - {own}
    assert used <= table()[own]


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


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_no_private_name_of_another_module(path):
    found = []
    for module, name in imports(path):
        private = [part for part in module.split(".")[2:] if part.startswith("_")]
        if private and private != ["_utils"] and folder(module) != folder(module_of(path)):
            found.append(module)
        if name is not None and name.startswith("_") and not name.startswith("__"):
            found.append(f"{module}.{name}")
    own = {
        node.name
        for node in ast.walk(tree(path))
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
    }
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            own.add(node.attr)
    for node in ast.walk(tree(path)):
        if not isinstance(node, ast.Attribute) or not re.match("_[^_]", node.attr):
            continue
        text = ast.unparse(node)
        if node.attr not in own and text not in EXTERNAL and not re.match("(self|cls)[.]_", text):
            found.append(text)
    assert found == []
