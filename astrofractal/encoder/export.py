"""The frozen encoder for other programs: ONNX, and folders of timm and the Hugging Face Hub."""

import inspect
import json
import logging
import warnings

from astrofractal._utils.atomic import atomic_path
from astrofractal._utils.optional import require

__all__ = ["export_onnx", "export_timm"]

#: Architectures of timm that ours are, given their own arguments.
_TIMM_NAMES = {
    "astrofractal_vit_tiny_patch8_64": "vit_tiny_patch16_224",
    "astrofractal_vit_large_patch16_336": "vit_large_patch16_224",
}


def export_onnx(encoder, path, *, overwrite=False):
    """
    Write an encoder as an ONNX model.

    The model has one input, ``images``, float32 (n, channels, height, width), of *physical*
    channels, NaN where there is no data: the normalization is part of it.  Its output, ``tokens``,
    is float32 (n, n_tokens, n_features): the class token, the register tokens and the patch tokens
    in row order, as `FractalEncoder.tokens` returns them.  n is free; height and width are the
    encoder's ``image_size``.

    Parameters
    ----------
    encoder : `~astrofractal.encoder.FractalEncoder`
        The encoder.

    path : path-like
        The ``.onnx`` file.

    overwrite : bool, optional
        Whether an existing file may be replaced.

    Returns
    -------
    metadata : dict of str
        What is written into the file's metadata: ``card``, ``n_prefix_tokens`` and ``patch_size``
        (JSON) and ``weights_id``.

    Raises
    ------
    ImportError
        If onnx is not installed (the extra ``onnx``).

    FileExistsError
        If the file exists and ``overwrite`` is `False`.
    """
    import torch

    onnx = require("onnx", extra="onnx")
    require("onnxscript", extra="onnx")
    normalization = encoder.normalization
    shape = (1, -1, 1, 1)

    class Model(torch.nn.Module):
        """Normalization and backbone."""

        def __init__(self):
            super().__init__()
            self.backbone = encoder.model
            self.register_buffer("center", torch.tensor(normalization.center).reshape(shape))
            self.register_buffer("scale", torch.tensor(normalization.scale).reshape(shape))

        def forward(self, images):
            known = torch.isfinite(images)
            images = (torch.where(known, images, self.center) - self.center) / self.scale
            return self.backbone.forward_features(images)

    model = Model().float().eval().to(encoder.device)
    side = encoder.image_size
    example = torch.zeros(2, encoder.in_chans, side, side, device=encoder.device)
    metadata = {
        "card": json.dumps(encoder.card),
        "weights_id": encoder.weights_id,
        "n_prefix_tokens": json.dumps(encoder.n_prefix_tokens),
        "patch_size": json.dumps(encoder.patch_size),
    }
    with atomic_path(path, overwrite=overwrite) as temporary, _Quiet():
        program = torch.onnx.export(
            model,
            (example,),
            input_names=["images"],
            output_names=["tokens"],
            dynamic_shapes={"images": {0: torch.export.Dim("n", min=1)}},
            dynamo=True,
            verbose=False,
        )
        proto = program.model_proto
        for key, value in metadata.items():
            proto.metadata_props.add(key=key, value=value)
        onnx.save(proto, str(temporary))
    return metadata


def export_timm(encoder, folder, *, overwrite=False):
    """
    Write an encoder as a folder that timm loads, without astrofractal.

    The folder holds ``config.json``, ``model.safetensors`` (32-bit) and ``README.md`` with the facts of
    the card.  ``timm.create_model("local-dir:FOLDER", pretrained=True)`` loads it, and
    ``timm.create_model("hf_hub:OWNER/NAME", pretrained=True)`` once it is uploaded to the Hugging Face
    Hub.
    ``mean`` and ``std`` of the model's ``pretrained_cfg`` normalize physical channels; replace NaN by
    ``mean``.

    Parameters
    ----------
    encoder : `~astrofractal.encoder.FractalEncoder`
        The encoder.

    folder : path-like
        The folder to write.

    overwrite : bool, optional
        Whether an existing folder may be replaced.

    Returns
    -------
    config : dict
        What ``config.json`` holds.

    Raises
    ------
    FileExistsError
        If the folder exists and ``overwrite`` is `False`.

    Examples
    --------
    >>> import tempfile
    >>> from astrofractal import FractalEncoder
    >>> from astrofractal.encoder.export import export_timm
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     config = export_timm(FractalEncoder(), f"{folder}/encoder")
    >>> config["architecture"], config["num_features"]
    ('vit_tiny_patch16_224', 192)
    """
    from safetensors.torch import save_file

    from astrofractal.encoder import backbone as architecture

    name = encoder.model_name
    model_args = {"num_classes": 0, "in_chans": encoder.in_chans}
    if name in _TIMM_NAMES:
        model_args |= architecture.DEFAULTS[name]
    else:
        known = inspect.signature(type(encoder.model).__init__).parameters
        if "img_size" in known:
            # Without it timm takes the side that the class has by default, or that its own settings
            # of the architecture have, and interpolates the position embedding to it and back.
            model_args["img_size"] = encoder.image_size
        if "dynamic_img_size" in known:
            model_args |= {"dynamic_img_size": True, "dynamic_img_pad": True}
    side = encoder.image_size
    config = {
        "architecture": _TIMM_NAMES.get(name, name),
        "num_classes": 0,
        "num_features": encoder.embed_dim,
        "model_args": model_args,
        "pretrained_cfg": {
            "input_size": [encoder.in_chans, side, side],
            "fixed_input_size": False,
            "mean": list(encoder.normalization.center),
            "std": list(encoder.normalization.scale),
            "num_classes": 0,
            "license": "bsd-3-clause",
        },
        "astrofractal": {"weights_id": encoder.weights_id, "card": encoder.card},
    }
    state = {
        n: v.detach().cpu().float().contiguous() for n, v in encoder.model.state_dict().items()
    }
    with atomic_path(folder, overwrite=overwrite) as temporary:
        temporary.mkdir()
        save_file(state, temporary / "model.safetensors", metadata={"format": "pt"})
        text = json.dumps(config, indent=2) + "\n"
        (temporary / "config.json").write_text(text, encoding="utf-8")
        (temporary / "README.md").write_text(_readme(encoder), encoding="utf-8")
    return config


def _readme(encoder):
    """Return a model card of the Hugging Face Hub."""
    card, normalization = encoder.card, encoder.normalization
    stages, stage = [], card
    while stage is not None:
        seed = stage.get("recipe_values", stage).get("seed")
        stages.insert(0, f"{stage['recipe']} (seed {seed})")
        stage = stage.get("origin")
    return f"""---
library_name: timm
license: bsd-3-clause
pipeline_tag: image-feature-extraction
tags: [astronomy, star-formation, self-supervised-learning, fractals]
---
# {card["architecture"]}

## Model details

A Vision Transformer that learned from fractal flames, without a label, for maps of gas around
protostars: weights `{encoder.weights_id}` of astrofractal. Method: Hirashima, Nozaki & Harada 2025,
arXiv:2510.24159; the weights are not theirs.

Input: {encoder.in_chans} physical channels (of three: log10 N(H2) in cm-2, line-of-sight velocity
relative to the map's mean and velocity dispersion in km/s), {encoder.image_size} x {encoder.image_size}
pixels of 0.5 pc / 64, less {list(normalization.center)}, over {list(normalization.scale)}; 0 where
there are no data.

## Uses

Features of maps of gas. They are not masses: these need a calibration. Out of scope: natural images,
and maps whose beam is wider than a few pixels.

## Bias, risks and limitations

What the features are worth is measured on clouds that the calibration has not seen:
https://astrofractal.readthedocs.io, *Limitations* and *Model card*.

## How to get started

```python
import timm
import torch

model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()  # or "hf_hub:OWNER/NAME"
mean, std = (torch.tensor(model.pretrained_cfg[name]).reshape(1, -1, 1, 1) for name in ("mean", "std"))
tokens = model.forward_features((torch.where(torch.isfinite(maps), maps, mean) - mean) / std)
```

## Training details

{card["images_seen"]:,} images seen; recipes, the first stage first: {", ".join(stages)}. Every value
stands in `config.json`, under `astrofractal`.
"""


class _Quiet(warnings.catch_warnings):
    """Silence the deprecations and logs inside the exporter."""

    def __enter__(self):
        super().__enter__()
        warnings.simplefilter("ignore")
        self._loggers = [logging.getLogger(n) for n in ("torch.onnx", "onnxscript", "onnx_ir")]
        self._levels = [logger.level for logger in self._loggers]
        for logger in self._loggers:
            logger.setLevel(logging.ERROR)

    def __exit__(self, *details):
        for logger, level in zip(self._loggers, self._levels):
            logger.setLevel(level)
        return super().__exit__(*details)
