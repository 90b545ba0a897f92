"""Sphinx configuration: sphinx-astropy's, and what is ours."""

import builtins
import os
import sys
import urllib.error
import urllib.request
import warnings
from importlib import import_module

from sphinx_astropy.conf.v3 import *

import astrofractal

os.environ.setdefault("OMP_NUM_THREADS", "1")
# The tutorials must show the results and not the progress of an import.
warnings.filterwarnings("ignore", category=DeprecationWarning)

project = "astrofractal"
author = "The Astrofractal Developers"
copyright = f"2026, {author}"
release = astrofractal.__version__
version = ".".join(release.split(".")[:2])

extensions += ["sphinx_design", "sphinx_gallery.gen_gallery"]
exclude_patterns += ["benchmark/*.rst", "cards/*.rst", "tutorials"]
exclude_patterns += ["method/pretraining_runs.rst", "method/pretraining_invariant.rst"]
exclude_patterns += ["method/pretraining_ablation.rst"]
rst_epilog += """
.. |paper| replace:: Hirashima, Nozaki & Harada (2025)
.. _paper: https://arxiv.org/abs/2510.24159
"""

html_title = f"astrofractal {version}"
html_last_updated_fmt = ""
html_static_path = ["_static"]
html_theme_options = {
    "logo": {"text": "astrofractal"},
    "navbar_end": ["navbar-icon-links"],
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


# Each project on its own: one slow host must not cost the links to all others. Without a network (the
# first host does not answer, nor does the second) the rest is not asked.
intersphinx_mapping = {}
for _name, _url in _PACKAGES.items():
    if _reachable(_url):
        intersphinx_mapping[_name] = (_url, None)
    elif _name == "numpy" and not intersphinx_mapping:
        break

nitpicky = True
_ELSEWHERE = (
    "astropy", "dask", "distributed", "lightly", "matplotlib", "mpl_toolkits", "numba", "numpy",
    "np", "onnx", "onnxruntime", "pandas", "photutils", "pytorch_lightning", "lightning", "regions",
    "reproject", "safetensors", "sarracen", "scipy", "sklearn", "spectral_cube", "timm", "torch",
    "torchvision", "tqdm", "yt", "zarr", "radio_beam",
)  # fmt: skip
nitpick_ignore_regex = [
    (r"py:.*", rf"({'|'.join(_ELSEWHERE)})(\..*)?"),
    (r"py:.*", rf"({'|'.join(sorted(sys.stdlib_module_names))})(\..*)?"),
    (r"py:.*", rf"({'|'.join(name for name in dir(builtins) if name[0] != '_')})(\..*)?"),
    (r"py:(class|obj)", r"(optional|array-like|path-like|callable|iterable|sequence|generator)"),
]

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
    "show_signature": False,
    "min_reported_time": 0,
    "matplotlib_animations": False,
    "capture_repr": ("_repr_html_", "__repr__"),
    "default_thumb_file": None,
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


def setup(app):
    """Register what this file adds to Sphinx."""
    app.connect("missing-reference", _resolve)
