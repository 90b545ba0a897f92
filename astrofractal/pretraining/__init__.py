"""Pretraining of the encoder by DINOv2 on fractal flames."""

from astrofractal.pretraining.recipe import Recipe, recipe_names

__all__ = ["Recipe", "export_run", "pretrain", "recipe_names"]


def __getattr__(name):
    # The training loop needs torch, pytorch-lightning and lightly; recipes do not.
    if name in {"pretrain", "export_run"}:
        from astrofractal.pretraining import run

        return getattr(run, name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
