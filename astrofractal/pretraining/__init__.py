"""Pretraining of the encoder by DINOv2 on fractal flames."""

from astrofractal.pretraining.recipe import (
    Images,
    Optimizer,
    Recipe,
    Terms,
    Views,
    recipe_names,
)

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


def __getattr__(name):
    # The training loop needs torch, pytorch-lightning and lightly; recipes do not.
    if name == "pretrain":
        from astrofractal.pretraining.run import pretrain

        return pretrain
    if name == "export_run":
        from astrofractal.pretraining.lineage import export_run

        return export_run
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
