"""ONNX: the frozen encoder for programs that have no PyTorch."""

import json
import logging
import warnings

from astrofractal._utils.atomic import atomic_path
from astrofractal._utils.optional import require

__all__ = ["export_onnx"]


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
