"""Pretraining of the encoder by DINOv2 on fractal flames."""

from astrofractal._utils.optional import lazy_names
from astrofractal.pretraining.recipe import Images, Optimizer, Recipe, Terms, Views, recipe_names

__all__ = [
    "Images",
    "Optimizer",
    "Recipe",
    "Terms",
    "Views",
    "export_run",
    "pretrain",
    "recipe_names",
]

# The training loop needs torch, pytorch-lightning and lightly; recipes do not.
_HOMES = {
    "export_run": "astrofractal.pretraining.lineage",
    "pretrain": "astrofractal.pretraining.run",
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
