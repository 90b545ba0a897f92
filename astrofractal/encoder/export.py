"""The frozen encoder for other programs: ONNX, and folders of timm and the Hugging Face Hub."""

import inspect
import json
import logging
import warnings
from importlib.resources import files
from string import Template

from astrofractal._utils.atomic import atomic_path
from astrofractal._utils.optional import require
from astrofractal._utils.progress import quiet
from astrofractal._utils.reading import sha256
from astrofractal.encoder.backbone import DEFAULTS
from astrofractal.encoder.weights import CONFIG, HEADS_FILE, WEIGHTS_FILE

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
    is what `FractalEncoder.tokens` returns.  n is free; height and width are the encoder's
    ``image_size``.

    Parameters
    ----------
    encoder : `~astrofractal.encoder.FractalEncoder`
        The encoder.
    path : path-like
        The ``.onnx`` file.  It takes the extra ``onnx`` to write it.
    overwrite : bool, optional
        Whether an existing file may be replaced.

    Returns
    -------
    metadata : dict of str
        The file's metadata: ``card``, ``n_prefix_tokens`` and ``patch_size`` (JSON) and
        ``weights_id``.
    """
    import torch

    onnx = require("onnx", extra="onnx")
    require("onnxscript", extra="onnx")

    class Model(torch.nn.Module):
        """Normalization and backbone."""

        def __init__(self):
            super().__init__()
            self.backbone = encoder.model
            for name in ("center", "scale"):
                values = torch.tensor(getattr(encoder.normalization, name))
                self.register_buffer(name, values.reshape(1, -1, 1, 1))

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
    with (
        atomic_path(path, overwrite=overwrite) as temporary,
        warnings.catch_warnings(action="ignore"),
        quiet(logging.ERROR, "torch.onnx", "onnxscript", "onnx_ir"),
    ):
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
    Write an encoder as a folder for timm and the Hugging Face Hub.

    The folder contains ``config.json``, ``model.safetensors`` (32-bit), ``heads.safetensors`` where
    pretraining left heads, and ``README.md`` with the facts of the card.
    `~astrofractal.FractalEncoder.from_pretrained` reads it;
    ``timm.create_model("local-dir:FOLDER", pretrained=True)`` loads the network without astrofractal,
    and ``timm.create_model("hf_hub:OWNER/NAME", pretrained=True)`` once it is uploaded.  ``mean`` and
    ``std`` of the model's ``pretrained_cfg`` normalize physical channels; replace NaN by ``mean``.

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
        The content of ``config.json``.

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

    card, side = encoder.card, encoder.image_size
    config = {
        "architecture": _TIMM_NAMES.get(encoder.model_name, encoder.model_name),
        "num_classes": 0,
        "num_features": encoder.embed_dim,
        "model_args": _model_arguments(encoder),
        "pretrained_cfg": {
            "input_size": [encoder.in_chans, side, side],
            "fixed_input_size": False,
            "mean": list(encoder.normalization.center),
            "std": list(encoder.normalization.scale),
            "num_classes": 0,
            "license": "bsd-3-clause",
        },
        "astrofractal": {"weights_id": encoder.weights_id, "card": card},
    }
    state = {n: v.detach().cpu().contiguous() for n, v in encoder.state_dict().items()}
    backbone = {n: v for n, v in state.items() if n in encoder.model.state_dict()}
    heads = {n: v for n, v in state.items() if n not in backbone}
    with atomic_path(folder, overwrite=overwrite) as temporary:
        temporary.mkdir()
        checksums = config["astrofractal"]["sha256"] = {}
        for name, tensors in ((WEIGHTS_FILE, backbone), (HEADS_FILE, heads)):
            if tensors:
                save_file(tensors, temporary / name, metadata={"format": "pt"})
                (temporary / name).chmod(0o644)
                checksums[name] = sha256(temporary / name)
        text = json.dumps(config, indent=2) + "\n"
        (temporary / CONFIG).write_text(text, encoding="utf-8")
        (temporary / "README.md").write_text(_readme(encoder), encoding="utf-8")
    return config


def _model_arguments(encoder):
    """Return what timm needs to create the model with the same sizes."""
    arguments = {"num_classes": 0, "in_chans": encoder.in_chans}
    if encoder.model_name in _TIMM_NAMES:
        return arguments | DEFAULTS[encoder.model_name]
    known = inspect.signature(type(encoder.model).__init__).parameters
    if "img_size" in known:
        # Without it timm uses the side that its own settings of the architecture have, and
        # interpolates the position embedding to it and back.
        arguments["img_size"] = encoder.image_size
    if "dynamic_img_size" in known:
        arguments |= {"dynamic_img_size": True, "dynamic_img_pad": True}
    return arguments


def _readme(encoder):
    """Return a model card of the Hugging Face Hub, from the template next to this file."""
    card, stages, stage = encoder.card, [], encoder.card
    while stage is not None:
        seed = stage.get("recipe_values", stage).get("seed")
        stages.insert(0, f"{stage['recipe']} (seed {seed})")
        stage = stage.get("origin")
    template = (files("astrofractal.encoder") / "model_card.md").read_text(encoding="utf-8")
    return Template(template).substitute(
        architecture=card["architecture"],
        weights_id=encoder.weights_id,
        n_channels=encoder.in_chans,
        size=encoder.image_size,
        center=list(encoder.normalization.center),
        scale=list(encoder.normalization.scale),
        images_seen=f"{card['images_seen']:,}",
        stages=", ".join(stages),
    )
