"""Sphinx configuration: sphinx-astropy's, and what is ours."""

import builtins
import contextlib
import io
import os
import re
import sys
import urllib.error
import urllib.request
import warnings
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

from astropy.table import Table
from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx_astropy.conf.v3 import *
from sphinx_automodapi import utils as automodapi_utils

import astrofractal
from astrofractal.cli import COMMANDS, main
from astrofractal.flags import FLAGS

os.environ.setdefault("OMP_NUM_THREADS", "1")
# The tutorials, some of which are run by other processes, must show no warnings of an import.
warnings.filterwarnings("ignore", category=DeprecationWarning)
os.environ.setdefault("PYTHONWARNINGS", "ignore::DeprecationWarning")

project = "astrofractal"
author = "The Astrofractal Developers"
copyright = f"2026, {author}"
release = astrofractal.__version__
version = ".".join(release.split(".")[:2])

extensions += ["sphinx_design", "sphinx_gallery.gen_gallery"]
# Parts that other pages include, and sources of other builders.
exclude_patterns += ["cards/*.rst", "changes/*", "research/benchmark/*.rst"]
exclude_patterns += ["research/tables/*.rst", "tutorials"]
rst_epilog += """
.. |paper| replace:: Hirashima, Nozaki & Harada (2025)
.. _paper: https://arxiv.org/abs/2510.24159
"""

html_title = f"astrofractal {version}"
html_last_updated_fmt = ""
html_static_path = ["_static"]
html_css_files = ["astrofractal.css"]
html_sidebars = {"**": ["components/sst-sidebar-nav.html"]}
html_logo = "_static/logo.svg"
html_favicon = "_static/logo.svg"
_REPOSITORY = "https://github.com/astrofractal/astrofractal"
html_theme_options = {
    "logo": {"text": "astrofractal", "alt_text": ""},
    # The theme's own navigation bar is that of the Astropy project, and so is its counter of visits.
    "navbar_start": "components/navbar-logo.html",
    "navbar_links": [
        ["Get started", "get_started", 0],
        ["How-to", "howto/index", 0],
        ["Understand", "understand/index", 0],
        ["Reference", "reference/index", 0],
        ["Research", "research/index", 0],
    ],
    "navbar_end": ["theme-switcher", "navbar-icon-links"],
    "icon_links": [
        {"name": "Repository", "url": _REPOSITORY, "icon": "fa-brands fa-github"},
        {"name": "Issues", "url": f"{_REPOSITORY}/issues", "icon": "fa-solid fa-bug"},
        {
            "name": "PyPI",
            "url": "https://pypi.org/project/astrofractal",
            "icon": "fa-brands fa-python",
        },
    ],
    "footer_links": [["Code of conduct", "code_of_conduct", 0], ["Cite", "citing", 0]],
    "goatcounter_analytics_url": False,
    "pygments_light_style": "tango",
    "pygments_dark_style": "monokai",
}
html_context = {"default_mode": "auto"}
copybutton_exclude = ".linenos, .gp, .go"

# -- References --------------------------------------------------------------------------------

automodsumm_inherited_members = False
numpydoc_show_class_members = False
autodoc_typehints = "none"  # the docstrings say more: shapes, units

_PACKAGES = {
    "python": "https://docs.python.org/3/",
    "numpy": "https://numpy.org/doc/stable/",
    "astropy": "https://docs.astropy.org/en/stable/",
    "matplotlib": "https://matplotlib.org/stable/",
    "photutils": "https://photutils.readthedocs.io/en/stable/",
    "regions": "https://astropy-regions.readthedocs.io/en/stable/",
    "sklearn": "https://scikit-learn.org/stable/",
    "scipy": "https://docs.scipy.org/doc/scipy/",
    "torch": "https://docs.pytorch.org/docs/stable/",
    "dask": "https://docs.dask.org/en/stable/",
    "spectral_cube": "https://spectral-cube.readthedocs.io/en/stable/",
    "radio_beam": "https://radio-beam.readthedocs.io/en/latest/",
}


def _reachable(url):
    """Return whether an inventory answers."""
    request = urllib.request.Request(url + "objects.inv", method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=3):
            return True
    except (urllib.error.URLError, OSError):
        return False


# Each project on its own, all asked at once: one slow host costs its own links, and says so, and not
# those to all others.
with ThreadPoolExecutor(len(_PACKAGES)) as _pool:
    _answers = dict(zip(_PACKAGES, _pool.map(_reachable, _PACKAGES.values())))
intersphinx_mapping = {name: (_PACKAGES[name], None) for name in _PACKAGES if _answers[name]}
if len(intersphinx_mapping) < len(_PACKAGES):
    _missing = ", ".join(name for name in _PACKAGES if not _answers[name])
    logging.getLogger(__name__).info(f"no links to the documentation of {_missing}: no answer")

toc_object_entries_show_parents = "hide"  # `fit`, not `StellarMassEstimator.fit`
nitpicky = True
_ELSEWHERE = (
    "astropy", "dask", "distributed", "matplotlib", "numba", "numpy", "photutils",
    "pytorch_lightning", "radio_beam", "regions", "scipy", "sklearn", "spectral_cube", "timm",
    "torch", "zarr",
)  # fmt: skip
nitpick_ignore_regex = [
    (r"py:.*", rf"({'|'.join(_ELSEWHERE)})(\..*)?"),
    (r"py:.*", rf"({'|'.join(sorted(sys.stdlib_module_names))})(\..*)?"),
    (r"py:.*", rf"({'|'.join(name for name in dir(builtins) if name[0] != '_')})(\..*)?"),
    (r"py:(class|obj)", r"(optional|array-like|path-like|callable|iterable|sequence|generator)"),
]

# Formulas are MathML, which browsers show themselves: MathJax would have to come over the network.
html_math_renderer = "mathml"

# -- Tutorials: scripts that are run at every build --------------------------------------------

sphinx_gallery_conf = {
    "examples_dirs": ["tutorials"],
    "gallery_dirs": ["generated/tutorials"],
    "filename_pattern": r"\.py$",
    "ignore_pattern": r"__init__\.py",
    "abort_on_example_error": True,
    "remove_config_comments": True,
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,
    "show_signature": False,
    "parallel": True,  # as many at once as -j of Sphinx allows
    "min_reported_time": 0,
    "matplotlib_animations": False,
    "capture_repr": ("_repr_html_", "__repr__"),
    "default_thumb_file": None,
    # Notebooks and requirements are on the branch that .github/workflows/notebooks.yml writes.
    "binder": {
        "org": "astrofractal",
        "repo": "astrofractal",
        "branch": "notebooks",
        "binderhub_url": "https://mybinder.org",
        "dependencies": ["tutorials/requirements.txt"],
        "notebooks_dir": "notebooks",
        "use_jupyter_lab": True,
    },
}
suppress_warnings += ["config.cache"]
if "sklearn" not in intersphinx_mapping:  # methods inherited from it refer to its glossary
    suppress_warnings += ["ref.ref", "ref.term"]

# -- Figures drawn by the pages ----------------------------------------------------------------

plot_formats = [("png", 130)]
plot_html_show_formats = False
plot_html_show_source_link = False
plot_rcparams = {"savefig.bbox": "tight"}
plot_apply_rcparams = True
plot_include_source = True


# -- References to what is documented elsewhere ----------------------------------------------------


def _exists(name):
    """Return whether a dotted name is something of this package."""
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:n]))
        except ImportError:
            continue
        for part in parts[n:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def _resolve(app, env, node, contnode):
    """
    Send `astrofractal.GasMap` and its like to where the class is documented.

    What exists but has no page of its own is shown without a link.
    """
    target = node.get("reftarget", "")
    for name in (target, f"astrofractal.{target}", f"{node.get('py:module')}.{target}"):
        package, _, rest = name.partition(".")
        if package != "astrofractal":
            continue
        top, _, attribute = rest.partition(".")
        if top in astrofractal._HOMES:
            name = f"{astrofractal._HOMES[top]}.{top}" + (f".{attribute}" if attribute else "")
        found = env.domains["py"].resolve_xref(
            env, node["refdoc"], app.builder, "obj", name, node, contnode
        )
        if found is not None or _exists(name):
            return contnode if found is None else found
    return None


class CommandLineHelp(SphinxDirective):
    """A section for each command with what its ``--help`` prints."""

    def run(self):
        os.environ["COLUMNS"], columns = "84", os.environ.get("COLUMNS")
        sections = []
        for name in ("", *COMMANDS):
            output = io.StringIO()
            with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
                main([name, "--help"][not name :])
            title = f"astrofractal {name}".strip()
            block = nodes.literal_block(text=output.getvalue(), language="text")
            box = nodes.container("", block, classes=["command-help"])
            sections.append(nodes.section("", nodes.title(text=title), box, names=[title]))
            self.state.document.note_explicit_target(sections[-1])
        if columns is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = columns
        return sections


class Study(SphinxDirective):
    """The figure and the table of a study; a sentence where it was not measured yet."""

    required_arguments = 1  # the ECSV file, relative to the page

    def run(self):
        folder = Path(self.env.doc2path(self.env.docname)).parent
        path = folder / self.arguments[0]
        figure = str(Path(self.arguments[0]).with_suffix(".png"))
        self.env.note_dependency(str(path))
        lines = [] if path.exists() else ["The table is part of the next release."]
        if (folder / figure).exists():
            lines += [f".. image:: {figure}", "    :alt: The table as a figure", ""]
        if path.exists():
            table = Table.read(path)
            lines += [".. list-table::", "    :header-rows: 1", ""]
            columns = [[name, *table[name].pformat(-1, show_name=False)] for name in table.colnames]
            for row in zip(*columns):
                lines += [f"    {'*' if i == 0 else ' '} - {c}" for i, c in enumerate(row)]
        return self.parse_text_to_nodes("\n".join(lines))


_object_type = automodapi_utils.get_object_type


def _listed_type(app, obj, parent):
    """Leave fields, which a class describes as parameters, and scikit-learn's requests out of lists."""
    kind = _object_type(app, obj, parent)
    is_field = kind == "attribute" and not isinstance(obj, property)
    is_request = re.fullmatch(r"set_\w+_request", getattr(obj, "__name__", ""))
    return "not listed" if is_field or is_request else kind


automodapi_utils.get_object_type = _listed_type


class FlagTable(SphinxDirective):
    """The table of `astrofractal.flags.FLAGS`: name, trust, meaning and what to do."""

    def run(self):
        rows = [("Flag", "Trust", "Meaning", "What to do")]
        rows += [
            (f"``{flag.name}``", flag.trust, flag.description, flag.remedy)
            for flag in FLAGS.values()
        ]
        lines = [".. list-table::", "    :header-rows: 1", "    :widths: 16 9 40 35", ""]
        for row in rows:
            for mark, cell in zip(("    * - ", *["      - "] * 3), row):
                lines.append(mark + cell)
        return self.parse_text_to_nodes("\n".join(lines))


def _visit_math(translator, node):
    """Write a formula in a line of text."""
    translator.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def _visit_displayed_math(translator, node):
    """Write a formula on lines of its own."""
    translator.body.append(f'<div class="math">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def _without_fonts_from_elsewhere(app, exception):
    """Remove the import of fonts from the style sheet of the theme."""
    for path in Path(app.outdir).glob("_static/sunpy_style.css"):
        path.write_text(re.sub(r"@import url\([^)]*\);", "", path.read_text("utf-8")), "utf-8")


def setup(app):
    """Register what this file adds to Sphinx."""
    app.connect("missing-reference", _resolve)
    app.connect("build-finished", _without_fonts_from_elsewhere)
    app.add_directive("command-line-help", CommandLineHelp)
    app.add_directive("study", Study)
    app.add_directive("flag-table", FlagTable)
    app.add_html_math_renderer("mathml", (_visit_math, None), (_visit_displayed_math, None))
