"""Tables of protostars: where they are, how a catalog looks, is written, combined and compared."""

from astrofractal._utils.optional import lazy_names

_HOMES = {
    "Catalog": "astrofractal.catalogs.columns",
    "Comparison": "astrofractal.catalogs.comparison",
    "combine": "astrofractal.catalogs.combination",
    "compare": "astrofractal.catalogs.comparison",
    "find_protostars": "astrofractal.catalogs.detection",
    "plot_catalog": "astrofractal.catalogs.plotting",
    "plot_intervals": "astrofractal.catalogs.plotting",
    "write_catalog": "astrofractal.catalogs.files",
    "write_hats": "astrofractal.catalogs.files",
    "write_regions": "astrofractal.catalogs.files",
}

__all__ = list(_HOMES)

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
